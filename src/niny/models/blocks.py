"""The parts networks are made of: mlpconv (paper section 3.1), heads (3.2, 4.6), dropout, local and maxout layers.

ReLUs are modules of their own and never work in place, because attribution hooks need both sides of them.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from niny.errors import NinyError


class MLPConv(nn.Sequential):
    """A sliding perceptron: a k x k convolution, then 1x1 convolutions, a ReLU after each (equation 2).

    `layers` gives (name, feature maps) from the bottom up; the first is the k x k convolution. Maps N x in x H x W to
    N x out x H' x W'. `final_relu=False` leaves out the last ReLU; `batch_norm` puts one before every ReLU.
    """

    def __init__(
        self,
        channels: int,
        layers: list[tuple[str, int]],
        kernel: int,
        *,
        stride: int = 1,
        padding: int | None = None,
        final_relu: bool = True,
        batch_norm: bool = False,
    ) -> None:
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        for i, (name, maps) in enumerate(layers):
            size, step = (kernel, stride) if i == 0 else (1, 1)
            pad = (kernel // 2 if padding is None else padding) if i == 0 else 0
            parts[name] = nn.Conv2d(channels, maps, size, step, pad)
            if batch_norm:
                parts[f"norm_{name}"] = nn.BatchNorm2d(maps)
            if final_relu or i < len(layers) - 1:
                parts[f"relu_{name}"] = nn.ReLU()
            channels = maps
        super().__init__(parts)


BATCH_NORM = (nn.BatchNorm2d, nn.SyncBatchNorm)  # the latter in its place where processes share batches


class Dropout(nn.Module):
    """Dropout after Hinton et al.: each value survives training with probability 1 - rate.

    The authors' code masks in training and multiplies by 1 - rate in testing; `inverted=True` divides by 1 - rate in
    training and leaves testing alone, as PyTorch does. Both compute the same function when the weights that follow
    differ by that factor: W (m * x) = W' (m * x / (1 - rate)) for W' = (1 - rate) W. Then dL/dW' = dL/dW / (1 - rate),
    so equal training needs lr' = (1 - rate)^2 lr and lr' * decay' = lr * decay on these weights, started at W'.

    The rate is taken to the nearest 256th (one half is exact): see `survivors`.
    """

    def __init__(self, rate: float, inverted: bool = True) -> None:
        super().__init__()
        self.rate, self.inverted = rate, inverted
        self.level = round((1.0 - rate) * 256)  # a byte below it lets its value through
        if not 0 < self.level < 256:
            raise NinyError(f"dropout {rate:g}: a rate from 1/256 to 255/256 (without dropout: leave the layer out)")
        self.shared: tuple[int, slice] | None = None  # where processes share a batch: its size, and what x is of it

    def forward(self, x: Tensor) -> Tensor:
        keep = self.level / 256
        if self.training:
            masked = x * self.mask(x).to(x.dtype)  # once for both ways: a product with bools would convert in each
            return masked / keep if self.inverted else masked
        return x if self.inverted else x * keep

    def mask(self, x: Tensor) -> Tensor:
        """Processes that share a batch draw the mask of the whole: any number of them then trains alike."""
        if self.shared is None:
            return survivors(x, self.level)
        whole, mine = self.shared
        last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if last else torch.contiguous_format
        return survivors(x.new_empty((whole, *x.shape[1:])).contiguous(memory_format=layout), self.level)[mine]

    def extra_repr(self) -> str:
        return f"rate={self.rate}, inverted={self.inverted}"


def survivors(like: Tensor, level: int) -> Tensor:
    """A random mask, bool, in shape and layout of `like`; a value survives with probability level / 256.

    On a CPU it is drawn as random bytes, eight from each 64-bit number: drawing values one by one costs more than the
    convolutions of a narrow network. On a GPU drawing costs nothing once a compiler joins it to the product with x (a
    network that is fused by hand draws its own bytes: niny.training.fused).
    """
    if like.device.type == "cpu":
        return random_bytes(like) < level
    return torch.rand_like(like, dtype=torch.float32) < level / 256


def random_bytes(like: Tensor) -> Tensor:
    """Uniform random bytes in the shape and memory layout of a dense tensor, from its device's own generator."""
    words = torch.empty(-(-like.numel() // 8), dtype=torch.int64, device=like.device).random_(-(2**63), None)
    return words.view(torch.uint8)[: like.numel()].as_strided(like.shape, like.stride())


class GlobalAveragePool(nn.Module):
    """The paper's head (section 3.2): the logit of a class is the spatial mean of its map. N x K x H x W -> N x K.

    The mean of bfloat16 maps is float32: early in training the logits differ by less than bfloat16 can tell.
    """

    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean((2, 3), dtype=torch.promote_types(maps.dtype, torch.float32))


class FullyConnected(nn.Module):
    """The head that Table 5 puts in its place: all cells of all maps -> K logits, with or without dropout before it."""

    def __init__(self, features: int, classes: int, dropout: Dropout | None = None) -> None:
        super().__init__()
        self.dropout = dropout or nn.Identity()
        self.fc = nn.Linear(features, classes)

    def forward(self, maps: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.dropout(maps.flatten(1)))
        return logits


class LocallyConnected(nn.Module):
    """A convolution whose weights are not shared between places (section 4.6's local connection layer).

    N x C x S x S -> N x out x S x S for the one side S it was built for; `kernel` is odd and zero padded. A grid of
    images, N x C x aS x bS, is read tile by tile, each as if it stood alone. Raises ValueError for other sizes.
    """

    def __init__(self, channels: int, out: int, side: int, kernel: int) -> None:
        super().__init__()
        self.kernel, self.side = kernel, side
        self.weight = nn.Parameter(torch.zeros(out, channels * kernel * kernel, side * side))
        self.bias = nn.Parameter(torch.zeros(out, side * side))

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] % self.side or x.shape[3] % self.side:
            raise ValueError(f"a locally connected layer for {self.side} x {self.side} got {tuple(x.shape[2:])}")
        rows, columns = x.shape[2] // self.side, x.shape[3] // self.side
        tiles = x.unflatten(3, (columns, self.side)).unflatten(2, (rows, self.side)).permute(0, 2, 4, 1, 3, 5)
        patches = F.unfold(tiles.flatten(0, 2), self.kernel, padding=self.kernel // 2)
        out = torch.einsum("nkl,okl->nol", patches, self.weight) + self.bias
        grid = out.view(len(x), rows, columns, -1, self.side, self.side)
        return grid.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)


class ResponseNorm(nn.Module):
    """Krizhevsky et al.'s normalisation across channels: x (1 + alpha / size * sum of squares of neighbours)^-beta.

    The same function as torch.nn.LocalResponseNorm with k=1, whose pooling over channels costs more on a CPU than the
    convolutions around it; here the sum is a 1x1 convolution with a banded matrix of ones. Shapes stay as they are.
    """

    def __init__(self, channels: int, size: int = 9, alpha: float = 1e-3, beta: float = 0.75) -> None:
        super().__init__()
        self.neighbours: Tensor
        self.scale, self.beta = alpha / size, beta
        place = torch.arange(channels)
        near = (place[:, None] - place).abs() <= size // 2
        self.register_buffer("neighbours", near.float()[:, :, None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        sums = F.conv2d(x.square(), self.neighbours)
        return x * (1 + self.scale * sums).pow(-self.beta)

    def extra_repr(self) -> str:
        return f"scale={self.scale:.3g}, beta={self.beta}"


class Maxout(nn.Module):
    """The maximum over groups of `pieces` neighbouring channels: N x (out * pieces) x ... -> N x out x ..."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), -1, self.pieces, *x.shape[2:]).amax(2)
