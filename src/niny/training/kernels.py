"""Triton kernels for what a NIN's update would otherwise read and write once more: see niny.training.fused.

All tensors are dense and channels last: a map N x C x H x W lies in memory as rows of C values, one row a pixel. Each
function launches one kernel, and some a sum over what its programs left. Importing this needs Triton, which comes with
PyTorch's builds for CUDA; with TRITON_INTERPRET=1 the kernels run on a CPU, slowly and in float32 alone, which is how
the tests check them.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024  # values a program takes of flat work
NONE = 255  # in place of the number of a pixel in its window: no gradient goes back from here
PATCH_ALIGNMENT = 16  # columns: a matrix product wants rows of whole 16-byte words
ROWS, COLUMNS, DEPTH = 128, 64, 32  # a program's tile of a product or of sums


def pooled_side(side: int) -> int:
    """Of MaxPool2d(3, 2, ceil_mode=True): windows begin inside and are clipped at the far edge."""
    return -(-(side - 3) // 2) + 1


def dense(maps: Tensor) -> Tensor:
    """The same maps, which the kernels read as they lie in memory."""
    assert maps.is_contiguous(memory_format=torch.channels_last), f"not channels last: {tuple(maps.stride())}"
    return maps


def patches(x: Tensor, kernel: int) -> Tensor:
    """Every kernel x kernel neighbourhood of N x C x H x W as a row, zero padded: NHW x (kernel^2 C, rounded up)."""
    n, channels, height, width = dense(x).shape
    columns = -(-kernel * kernel * channels // PATCH_ALIGNMENT) * PATCH_ALIGNMENT
    out = x.new_empty(n * height * width, columns)
    grid = (triton.cdiv(out.numel(), BLOCK),)
    _patches[grid](x, out, out.numel(), height, width, channels, kernel, columns, BLOCK)
    return out


def bias_relu_(maps: Tensor, bias: Tensor) -> Tensor:
    """relu(maps + bias), in place; `maps` N x C x H x W."""
    dense(maps)
    _bias_relu[(triton.cdiv(maps.numel(), BLOCK),)](maps, bias, maps.numel(), maps.shape[1], BLOCK)
    return maps


def max_pool(maps: Tensor, random: Tensor | None, level: int, scale: float) -> tuple[Tensor, Tensor]:
    """3x3 pooling with stride 2 of maps that have been through a ReLU, and dropout of what comes out.

    A value survives, times `scale`, where its byte of `random` (in the layout of the result) is below `level`. Returns
    the maps and, for each value, which of its window's nine pixels it came from: NONE where it is 0 or was dropped.
    """
    n, channels, height, width = dense(maps).shape
    shape = (n, channels, pooled_side(height), pooled_side(width))
    out = torch.empty(shape, dtype=maps.dtype, device=maps.device, memory_format=torch.channels_last)
    origin = torch.empty(shape, dtype=torch.uint8, device=maps.device, memory_format=torch.channels_last)
    args = (out, origin, out.numel(), height, width, shape[2], shape[3], channels, level, scale)
    _max_pool[(triton.cdiv(out.numel(), BLOCK),)](
        maps, maps if random is None else random, *args, random is not None, BLOCK
    )
    return out, origin


def max_pool_backward(gradient: Tensor, origin: Tensor, height: int, width: int, scale: float) -> Tensor:
    """The gradient of `max_pool`'s maps, back through the ReLU before them too, from that of its result."""
    n, channels, rows, columns = dense(gradient).shape
    shape = (n, channels, height, width)
    out = torch.empty(shape, dtype=gradient.dtype, device=gradient.device, memory_format=torch.channels_last)
    grid = (triton.cdiv(out.numel(), BLOCK),)
    _max_pool_backward[grid](gradient, origin, out, out.numel(), height, width, rows, columns, channels, scale, BLOCK)
    return out


def relu_product(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """relu(rows @ weight' + bias), M x K, N x K and N -> M x N: a 1x1 convolution and its ReLU."""
    (m, k), n = rows.shape, len(weight)
    out = rows.new_empty(m, n)
    grid = (triton.cdiv(n, COLUMNS), triton.cdiv(m, ROWS))
    _relu_product[grid](rows, weight, bias, out, m, k, n, ROWS, COLUMNS, DEPTH, num_warps=4, num_stages=4)
    return out


def kept_sums(gradient: Tensor, origin: Tensor) -> Tensor:
    """Of each channel of N x C x H x W, the sum in float32 of values whose `origin` is not NONE: C."""
    channels = dense(gradient).shape[1]
    count = gradient.numel() // channels
    blocks = triton.cdiv(count, ROWS)
    sums = torch.empty(blocks, channels, dtype=torch.float32, device=gradient.device)
    _kept_sums[(blocks, triton.cdiv(channels, COLUMNS))](gradient, origin, sums, count, channels, ROWS, COLUMNS)
    return sums.sum(0)


def masked_product(gradient: Tensor, weight: Tensor, activations: Tensor) -> tuple[Tensor, Tensor]:
    """(gradient @ weight) where `activations` are above 0, and its sums over rows in float32.

    M x K, K x N, M x N -> M x N and N: back through a 1x1 convolution and the ReLU before it, and the gradient of the
    bias before that.
    """
    (m, k), n = gradient.shape, weight.shape[1]
    out = torch.empty_like(activations)
    blocks = triton.cdiv(m, ROWS)
    sums = torch.empty(blocks, n, dtype=torch.float32, device=out.device)
    grid = (triton.cdiv(n, COLUMNS), blocks)
    _masked_product[grid](
        gradient, weight, activations, out, sums, m, k, n, ROWS, COLUMNS, DEPTH, num_warps=4, num_stages=4
    )
    return out, sums.sum(0)


@triton.jit
def _patches(
    x: tl.tensor,
    out: tl.tensor,
    count: tl.tensor,
    height: tl.constexpr,
    width: tl.constexpr,
    channels: tl.constexpr,
    kernel: tl.constexpr,
    columns: tl.constexpr,
    block: tl.constexpr,
) -> None:
    at = tl.program_id(0) * block + tl.arange(0, block)
    row, column = at // columns, at % columns
    down, across = column // (kernel * channels), column // channels % kernel
    pixel_x, pixel_y = row % width, row // width % height
    source_y, source_x = pixel_y + down - kernel // 2, pixel_x + across - kernel // 2
    inside = (source_y >= 0) & (source_y < height) & (source_x >= 0) & (source_x < width)
    inside = inside & (column < kernel * kernel * channels) & (at < count)
    source = ((row // (width * height) * height + source_y) * width + source_x) * channels + column % channels
    tl.store(out + at, tl.load(x + source, mask=inside, other=0.0), mask=at < count)


@triton.jit
def _bias_relu(maps: tl.tensor, bias: tl.tensor, count: tl.tensor, channels: tl.constexpr, block: tl.constexpr) -> None:
    at = tl.program_id(0) * block + tl.arange(0, block)
    value = tl.load(maps + at, mask=at < count).to(tl.float32) + tl.load(bias + at % channels).to(tl.float32)
    value = tl.where(value < 0, 0.0, value)  # what is no number stays so
    tl.store(maps + at, value.to(maps.dtype.element_ty), mask=at < count)


@triton.jit
def _max_pool(
    maps: tl.tensor,
    random: tl.tensor,
    out: tl.tensor,
    origin: tl.tensor,
    count: tl.tensor,
    height: tl.constexpr,
    width: tl.constexpr,
    rows: tl.constexpr,
    columns: tl.constexpr,
    channels: tl.constexpr,
    level: tl.tensor,
    scale: tl.tensor,
    dropout: tl.constexpr,
    block: tl.constexpr,
) -> None:
    at = tl.program_id(0) * block + tl.arange(0, block)
    channel, pixel = at % channels, at // channels
    left, top = pixel % columns * 2, pixel // columns % rows * 2
    image = pixel // (columns * rows)
    best = tl.zeros((block,), tl.float32)
    came = tl.full((block,), 255, tl.int32)
    for number in tl.static_range(9):
        y, x = top + number // 3, left + number % 3
        inside = (y < height) & (x < width) & (at < count)
        value = tl.load(maps + ((image * height + y) * width + x) * channels + channel, mask=inside, other=0.0)
        value = value.to(tl.float32)
        better = (value > best) | (value != value)  # what is no number is passed on
        best = tl.where(better, value, best)
        came = tl.where(better, number, came)
    if dropout:
        kept = tl.load(random + at, mask=at < count, other=0) < level
        best = tl.where(kept | (best != best), best * scale, 0.0)
        came = tl.where(kept, came, 255)
    tl.store(out + at, best.to(out.dtype.element_ty), mask=at < count)
    tl.store(origin + at, came.to(tl.uint8), mask=at < count)


@triton.jit
def _max_pool_backward(
    gradient: tl.tensor,
    origin: tl.tensor,
    out: tl.tensor,
    count: tl.tensor,
    height: tl.constexpr,
    width: tl.constexpr,
    rows: tl.constexpr,
    columns: tl.constexpr,
    channels: tl.constexpr,
    scale: tl.tensor,
    block: tl.constexpr,
) -> None:
    at = tl.program_id(0) * block + tl.arange(0, block)
    channel, pixel = at % channels, at // channels
    x, y = pixel % width, pixel // width % height
    image = pixel // (width * height)
    total = tl.zeros((block,), tl.float32)
    for number in tl.static_range(4):  # the windows that a pixel may lie in
        row, column = y // 2 - number // 2, x // 2 - number % 2
        down, across = y - 2 * row, x - 2 * column
        inside = (row >= 0) & (column >= 0) & (row < rows) & (column < columns) & (down < 3) & (across < 3)
        inside = inside & (at < count)
        source = ((image * rows + row) * columns + column) * channels + channel
        came = tl.load(origin + source, mask=inside, other=255).to(tl.int32)
        value = tl.load(gradient + source, mask=inside, other=0.0).to(tl.float32)
        total += tl.where(came == 3 * down + across, value, 0.0)
    tl.store(out + at, (total * scale).to(out.dtype.element_ty), mask=at < count)


@triton.jit
def _kept_sums(
    gradient: tl.tensor,
    origin: tl.tensor,
    sums: tl.tensor,
    count: tl.tensor,
    channels: tl.constexpr,
    rows: tl.constexpr,
    columns: tl.constexpr,
) -> None:
    row = tl.program_id(0) * rows + tl.arange(0, rows)
    column = tl.program_id(1) * columns + tl.arange(0, columns)
    at, inside = row[:, None] * channels + column, (row < count)[:, None] & (column < channels)
    value = tl.load(gradient + at, mask=inside, other=0.0).to(tl.float32)
    kept = tl.load(origin + at, mask=inside, other=255) < 255
    total = tl.sum(tl.where(kept, value, 0.0), 0)
    tl.store(sums + tl.program_id(0) * channels + column, total, mask=column < channels)


@triton.jit
def _relu_product(
    inputs: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    out: tl.tensor,
    m: tl.tensor,
    k: tl.constexpr,
    n: tl.constexpr,
    rows: tl.constexpr,
    columns: tl.constexpr,
    depth: tl.constexpr,
) -> None:
    row = tl.program_id(1) * rows + tl.arange(0, rows)
    column = tl.program_id(0) * columns + tl.arange(0, columns)
    total = tl.zeros((rows, columns), tl.float32)
    for start in range(0, k, depth):
        inner = start + tl.arange(0, depth)
        a = tl.load(inputs + row[:, None] * k + inner, mask=(row < m)[:, None] & (inner < k), other=0.0)
        b = tl.load(weight + column * k + inner[:, None], mask=(column < n) & (inner < k)[:, None], other=0.0)
        total += tl.dot(a, b, input_precision="ieee")  # says nothing of bfloat16
    total += tl.load(bias + column, mask=column < n, other=0.0).to(tl.float32)
    total = tl.where(total < 0, 0.0, total)  # what is no number stays so
    at, inside = row[:, None] * n + column, (row < m)[:, None] & (column < n)
    tl.store(out + at, total.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _masked_product(
    gradient: tl.tensor,
    weight: tl.tensor,
    activations: tl.tensor,
    out: tl.tensor,
    sums: tl.tensor,
    m: tl.tensor,
    k: tl.constexpr,
    n: tl.constexpr,
    rows: tl.constexpr,
    columns: tl.constexpr,
    depth: tl.constexpr,
) -> None:
    row = tl.program_id(1) * rows + tl.arange(0, rows)
    column = tl.program_id(0) * columns + tl.arange(0, columns)
    total = tl.zeros((rows, columns), tl.float32)
    for start in range(0, k, depth):
        inner = start + tl.arange(0, depth)
        a = tl.load(gradient + row[:, None] * k + inner, mask=(row < m)[:, None] & (inner < k), other=0.0)
        b = tl.load(weight + inner[:, None] * n + column, mask=(inner < k)[:, None] & (column < n), other=0.0)
        total += tl.dot(a, b, input_precision="ieee")  # says nothing of bfloat16
    at, inside = row[:, None] * n + column, (row < m)[:, None] & (column < n)
    activation = tl.load(activations + at, mask=inside, other=0.0)
    total = tl.where(activation <= 0, 0.0, total)
    tl.store(out + at, total.to(out.dtype.element_ty), mask=inside)
    tl.store(sums + tl.program_id(1) * n + column, tl.sum(total, 0), mask=column < n)
