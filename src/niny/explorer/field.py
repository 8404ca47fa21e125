"""Which pixels a cell of a class map can see: its receptive field, from the windows of the layers below it.

Cell i of a map depends on the pixels `start + i * stride` to `start + i * stride + size - 1` along each axis of the
network's input, as far as they are in the image. Pooling in ceil mode only clips the last window, and moves none.
Preprocessing is not counted: contrast normalisation and whitening look at the whole image before the network does.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from torch import nn

from niny.models import Network
from niny.models.blocks import Dropout, LocallyConnected, Maxout, ResponseNorm

POINTWISE = (nn.ReLU, nn.BatchNorm2d, nn.Identity, Dropout, Maxout, ResponseNorm)


@dataclass(frozen=True)
class Field:
    """In pixels: how far apart two neighbours look, how wide a cell sees, where the first cell's view begins."""

    stride: int
    size: int
    start: int


class Window(NamedTuple):
    kernel: int
    stride: int
    padding: int
    dilation: int


def receptive_field(net: Network) -> Field | None:
    """The field of the class maps of `net`, the same along both axes; None for a layer that is not known here."""
    stride, size, start = 1, 1, 0
    for layer in _layers(net):
        if isinstance(layer, POINTWISE):
            continue
        window = _window(layer)
        if window is None:
            return None
        size += (window.kernel - 1) * window.dilation * stride
        start -= window.padding * stride
        stride *= window.stride
    return Field(stride, size, start)


def _layers(net: Network) -> Iterator[nn.Module]:
    """The layers that hold no others, in the order in which an image passes them; without the head."""
    for name in net.layer_names:
        yield from (layer for layer in net.get_submodule(name).modules() if not [*layer.children()])


def _window(layer: nn.Module) -> Window | None:
    if isinstance(layer, LocallyConnected):
        return Window(layer.kernel, 1, layer.kernel // 2, 1)
    if isinstance(layer, nn.AvgPool2d):
        return _square(layer.kernel_size, layer.stride, layer.padding, 1)
    if isinstance(layer, (nn.Conv2d, nn.MaxPool2d)):
        return _square(layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    return None


def _square(*lengths: int | str | tuple[int, ...]) -> Window | None:
    """Along one axis, where both are alike and all are numbers."""
    sides = [set(length) if isinstance(length, tuple) else {length} for length in lengths]
    known = [side.pop() for side in sides if len(side) == 1]
    numbers = [side for side in known if isinstance(side, int)]
    return Window(*numbers) if len(numbers) == len(lengths) else None
