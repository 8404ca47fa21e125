"""The networks whose stages are convolutions, ReLUs, a pool and dropout, with fewer passes through a GPU's memory.

At this size an update on a GPU is bound by memory: a batch's maps of conv1 alone are 50 MB, and layer by layer each map
is read and written once more for its bias, its ReLU and its mask, on the way up and on the way back. Here bias and ReLU
of a 1x1 convolution are part of the product that makes a map; pooling remembers in one byte where a value came from,
with the ReLU and dropout in it, so that a pool's maps are not kept; and going back, each product applies the ReLU
before it and sums the bias's gradient on its way out. Larger convolutions are cuDNN's, but for that of the images,
whose few channels it does badly: their neighbourhoods are rows of a product.

The function is that of the layers themselves in training, of a whole batch: the same products with float32 sums,
rounded less often in between.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from niny.models import Network
from niny.models.blocks import Dropout, random_bytes
from niny.training import kernels
from niny.training.joined import flat

FEW_CHANNELS = 4  # up to so many, a convolution is a product with rows of neighbourhoods
SPLITS = 32  # parts at most, in which a weight gradient's long sum is taken side by side
SHORTEST = 512  # rows of such a part


@dataclass(frozen=True)
class Stage:
    """A k x k convolution, 1x1 convolutions, a ReLU after each (the last may lack it); perhaps a pool and dropout."""

    convolutions: tuple[nn.Conv2d, ...]
    last_relu: bool
    pooled: bool
    dropout: Dropout | None

    @property
    def parameters(self) -> list[Tensor]:
        """Weight and bias of each convolution from the bottom up."""
        pairs = [(conv.weight, conv.bias) for conv in self.convolutions]
        return [p for weight, bias in pairs if bias is not None for p in (weight, bias)]  # all have one: see _is_plain


class FusedNetwork:
    """Logits, in training, of a network that `stages_of` can read: N x C x H x W in `dtype` -> N x K."""

    def __init__(self, net: Network, stages: Sequence[Stage], dtype: torch.dtype) -> None:
        self.net, self.stages = net, stages
        self.parameters = [p for stage in stages for p in stage.parameters]
        self.rounded = [torch.empty_like(p, dtype=dtype) for p in self.parameters]

    def __call__(self, images: Tensor) -> Tensor:
        assert self.net.training, "masks are on: ask the network itself when they shall be off"
        with torch.no_grad():
            torch._foreach_copy_(self.rounded, self.parameters)
        maps, rounded = images.contiguous(memory_format=torch.channels_last), iter(self.rounded)
        for stage in self.stages:
            mine = stage.parameters
            maps = _StageFunction.apply(maps, stage, [next(rounded) for _ in mine], *mine)
        logits: Tensor = self.net.head(maps)
        return logits


def fuse(net: Network, dtype: torch.dtype) -> FusedNetwork | None:
    """The same network with fused stages, or None where it has layers that these cannot express."""
    stages = stages_of(net)
    return FusedNetwork(net, stages, dtype) if stages else None


def stages_of(net: Network) -> list[Stage] | None:
    """The stages of a network from the bottom up, or None where its layers are no such stages."""
    layers = [layer for name in net.layer_names for layer in flat(getattr(net, name))]
    stages: list[Stage] = []
    while layers:
        taken = _take_stage(layers)
        if taken is None:
            return None
        stages.append(taken)
    inner = all(stage.last_relu and stage.pooled for stage in stages[:-1])
    return stages if inner else None


def _take_stage(layers: list[nn.Module]) -> Stage | None:
    """Take the layers of one stage from the front of the list."""
    convolutions: list[nn.Conv2d] = []
    relu = True
    while layers and isinstance(conv := layers[0], nn.Conv2d):
        if not _is_plain(conv, first=not convolutions) or not relu:
            return None
        convolutions.append(conv)
        layers.pop(0)
        relu = bool(layers) and isinstance(layers[0], nn.ReLU)
        if relu:
            layers.pop(0)
    pooled = bool(layers) and relu and _is_pool(layers[0])
    if pooled:
        layers.pop(0)
    dropout = None
    if pooled and layers and isinstance(last := layers[0], Dropout):
        dropout = last
        layers.pop(0)
    return Stage(tuple(convolutions), relu, pooled, dropout) if convolutions else None


def _is_plain(conv: nn.Conv2d, first: bool) -> bool:
    """Of stride 1, zero padded to the same size, with a bias; 1x1 unless it is a stage's first."""
    side = conv.kernel_size[0]
    square = conv.kernel_size == (side, side) and side % 2 == 1 and (first or side == 1)
    same = (conv.stride, conv.padding, conv.dilation) == ((1, 1), (side // 2, side // 2), (1, 1))
    return square and same and conv.groups == 1 and conv.padding_mode == "zeros" and conv.bias is not None


def _is_pool(layer: nn.Module) -> bool:
    """The pool of `kernels.max_pool`."""
    if not isinstance(layer, nn.MaxPool2d) or not layer.ceil_mode or layer.return_indices:
        return False
    return (layer.kernel_size, layer.stride, layer.padding, layer.dilation) == (3, 2, 0, 1)


class _StageFunction(torch.autograd.Function):
    """A stage and its gradient. Everything between its convolutions is rows: one a pixel."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, stage: Stage, rounded: list[Tensor], *parameters: Tensor) -> Tensor:
        weights, biases = rounded[::2], rounded[1::2]
        ctx.stage, ctx.shape, ctx.origin = stage, (x.shape[0], x.shape[2], x.shape[3]), None
        ctx.patched = stage.convolutions[0].in_channels <= FEW_CHANNELS and not ctx.needs_input_grad[0]
        if ctx.patched:
            x = kernels.patches(x, stage.convolutions[0].kernel_size[0])
        rows = [_first_rows(ctx, x, weights[0], biases[0])]
        for i, (weight, bias) in enumerate(zip(weights[1:], biases[1:], strict=True), 1):
            last = i == len(weights) - 1
            rows.append(_product(rows[-1], weight.flatten(1), bias, relu=not last or stage.last_relu))
        maps = _maps(rows[-1], ctx.shape)
        if stage.pooled:
            level, scale = _survival(stage.dropout)
            random = None if stage.dropout is None else _random_bytes(maps)
            maps, ctx.origin = kernels.max_pool(maps, random, level, scale)
            rows[-1] = rows[-1].new_empty(0)  # `origin` tells all that the way back asks of them
        ctx.save_for_backward(x, *weights, *rows)
        return maps

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        count = len(ctx.stage.convolutions)
        x, *saved = ctx.saved_tensors
        weights, rows = saved[:count], saved[count:]
        gradient, bias_gradient = _through_end(ctx, rows[-1], gradients[0])
        found: list[Any] = [None] * (2 * count)
        for i in reversed(range(1, count)):
            weight, below = weights[i], rows[i - 1]
            grown = _weight_gradient(gradient, below).as_strided(weight.shape, weight.stride())
            found[2 * i : 2 * i + 2] = grown, bias_gradient
            gradient, bias_gradient = kernels.masked_product(gradient, weight.flatten(1), below)
        input_gradient, grown = _through_first(ctx, x, gradient, weights[0])
        found[:2] = grown, bias_gradient
        return input_gradient, None, None, *found


def _first_rows(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Rows of a stage's first convolution, of maps or of their neighbourhoods."""
    stage: Stage = ctx.stage
    padding, relu = stage.convolutions[0].padding, stage.last_relu or len(stage.convolutions) > 1
    if ctx.patched:
        return _product(x, _patch_weight(weight), bias, relu)
    if not relu:
        return _rows(torch.conv2d(x, weight, bias, padding=padding))
    return _rows(kernels.bias_relu_(torch.conv2d(x, weight, padding=padding), bias))


def _through_end(ctx: Any, rows: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Back through dropout, pool and last ReLU: the gradients of the last convolution's sums and of its bias."""
    gradient = gradient.contiguous(memory_format=torch.channels_last)
    if ctx.origin is None:
        back = torch.where(rows <= 0, 0, _rows(gradient)) if ctx.stage.last_relu else _rows(gradient)
        return back, back.sum(0, dtype=torch.float32)
    scale = _survival(ctx.stage.dropout)[1]
    sums = kernels.kept_sums(gradient, ctx.origin) * scale
    _, height, width = ctx.shape
    return _rows(kernels.max_pool_backward(gradient, ctx.origin, height, width, scale)), sums


def _through_first(ctx: Any, x: Tensor, gradient: Tensor, weight: Tensor) -> tuple[Tensor | None, Tensor]:
    """The gradients of a stage's input, where it is wanted, and of its first weights."""
    if ctx.patched:
        return None, _from_patches(_weight_gradient(gradient, x), weight)
    wanted, padding = (ctx.needs_input_grad[0], True, False), list(ctx.stage.convolutions[0].padding)
    stride, dilation, transposed, output_padding, groups = [1, 1], [1, 1], False, [0, 0], 1
    settings = (stride, padding, dilation, transposed, output_padding, groups)
    maps = _maps(gradient, ctx.shape)
    input_gradient, grown, _ = torch.ops.aten.convolution_backward(maps, x, weight, None, *settings, wanted)
    return input_gradient, grown.float()


def _product(rows: Tensor, weight: Tensor, bias: Tensor, relu: bool) -> Tensor:
    """rows @ weight' + bias, M x K and N x K -> M x N, and perhaps its ReLU."""
    return kernels.relu_product(rows, weight, bias) if relu else torch.addmm(bias, rows, weight.t())


def _weight_gradient(gradient: Tensor, rows: Tensor) -> Tensor:
    """gradient' @ rows in float32, M x N and M x K -> N x K, the sum over M in parts that fill the device."""
    m = len(rows)
    parts = SPLITS
    while parts > 1 and (m % parts or m // parts < SHORTEST):
        parts //= 2
    a, b = gradient.view(parts, m // parts, -1).transpose(1, 2), rows.view(parts, m // parts, -1)
    if a.is_cuda:
        return torch.bmm(a, b, out_dtype=torch.float32).sum(0)
    return torch.bmm(a.float(), b.float()).sum(0)


def _patch_weight(weight: Tensor) -> Tensor:
    """N x C x k x k -> N x (k^2 C, rounded up): what multiplies a row of `kernels.patches`."""
    flat = weight.permute(0, 2, 3, 1).flatten(1)
    return nn.functional.pad(flat, (0, -flat.shape[1] % kernels.PATCH_ALIGNMENT))


def _from_patches(rows: Tensor, weight: Tensor) -> Tensor:
    """The other way: N x (k^2 C, rounded up) -> N x C x k x k, channels last as the weight is."""
    channels, side = weight.shape[1:3]
    maps: Tensor = rows[:, : channels * side * side].unflatten(1, (side, side, channels)).permute(0, 3, 1, 2)
    return maps.contiguous(memory_format=torch.channels_last)


def _survival(dropout: Dropout | None) -> tuple[int, float]:
    """Of 256, how many survive; and by what survivors are multiplied."""
    if dropout is None:
        return 256, 1.0
    return dropout.level, 256 / dropout.level if dropout.inverted else 1.0


def _random_bytes(maps: Tensor) -> Tensor:
    """A random byte for each value that pooling these maps will give, from the device's own generator."""
    n, channels, height, width = maps.shape
    shape = (n, channels, kernels.pooled_side(height), kernels.pooled_side(width))
    return random_bytes(torch.empty(shape, dtype=torch.uint8, device=maps.device, memory_format=torch.channels_last))


def _rows(maps: Tensor) -> Tensor:
    """N x C x H x W, channels last, as NHW x C: a view."""
    return maps.permute(0, 2, 3, 1).flatten(0, 2)


def _maps(rows: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """NHW x C as N x C x H x W, channels last: a view."""
    return rows.view(*shape, -1).permute(0, 3, 1, 2)
