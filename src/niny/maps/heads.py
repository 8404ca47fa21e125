"""What a fully connected head makes of the maps, place by place: it has class maps too, only not for the asking.

With such a head channel k of the trunk need not speak for class k. What speaks for a class is the sum over all
channels of weight x activation, one number a cell (HiResCAM for a single layer): these maps add up to the logit less
its bias, so they are to this head what the maps themselves are to global average pooling. On a grid of images the head
slides: every image of the grid is weighted as if it stood alone.
"""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from niny.maps.views import ORDERS, VIEWS
from niny.models import Network
from niny.models.blocks import Dropout, FullyConnected

Readings = Mapping[str, Callable[[Tensor], Tensor]]


def values_of(net: Network, side: int = 1) -> Readings:
    """The readings of a network's maps on side x side grids: the four of all, and `contribution` for this head."""
    return VIEWS if not isinstance(net.head, FullyConnected) else {**VIEWS, **_contribution(net.head, side)}


def orders_of(net: Network, side: int = 1) -> Readings:
    """The same to rank cells by."""
    return ORDERS if not isinstance(net.head, FullyConnected) else {**ORDERS, **_contribution(net.head, side)}


def own_orders(net: Network, maps: Tensor, classes: Tensor) -> dict[str, Tensor]:
    """{reading: N x h x w}: of N x K x h x w maps those of the given classes, to rank cells by."""
    place = torch.arange(len(maps), device=maps.device)
    return {view: order(maps)[place, classes] for view, order in orders_of(net).items()}


def of_classes(net: Network, maps: Tensor, side: int = 1) -> Tensor:
    """N x K x H x W maps that belong to classes, as pictures show them: the maps, or what this head makes of them.

    The maps are of grids of side x side images.
    """
    return values_of(net, side).get("contribution", VIEWS["raw"])(maps)


def _contribution(head: FullyConnected, side: int) -> Readings:
    return {"contribution": partial(contributions, head, side)}


@torch.no_grad()
def contributions(head: FullyConnected, side: int, maps: Tensor) -> Tensor:
    """N x K x (side h) x (side w) maps -> N x classes x the same: each cell's share in each logit."""
    height, width = maps.shape[2] // side, maps.shape[3] // side
    weight = head.fc.weight.view(head.fc.out_features, maps.shape[1], height, width).repeat(1, 1, side, side)
    kept = 1.0
    if isinstance(head.dropout, Dropout) and not head.dropout.inverted:
        kept = 1 - head.dropout.rate  # the authors' dropout scales when it tests
    return kept * torch.einsum("nkhw,ckhw->nchw", maps, weight)
