"""What a fully connected head makes of the maps, place by place: it has class maps too, only not for the asking.

With such a head channel k of the trunk need not speak for class k. What speaks for a class is the sum over all
channels of weight x activation, one number a cell (HiResCAM for a single layer). Times the number of cells, and with
the bias in every cell, these are class maps whose mean is the logit: to this head what the maps themselves are to
global average pooling, and read in the same ways. On a grid of images the head slides: every image of the grid is
weighted as if it stood alone.

Such maps, as they are (`raw`), cannot be held against those of another network: one vector added to the weights of all
classes changes no probability and every map. The readings from which that drops out can. `channel` is the channel with
the class's number, taken for its map: does it come to mean the class where nothing asks it to?
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from niny.maps.views import ORDERS, VIEWS, raw
from niny.models import Network
from niny.models.blocks import Dropout, FullyConnected

Reading = Callable[[Tensor], Tensor]


def values_of(net: Network, side: int = 1) -> Mapping[str, Reading]:
    """The readings of what a network's trunk gives for side x side grids: four of its class maps, and `channel`."""
    return _of_head(VIEWS, net, side)


def orders_of(net: Network, side: int = 1) -> Mapping[str, Reading]:
    """The same to rank cells by."""
    return _of_head(ORDERS, net, side)


def _of_head(views: Mapping[str, Reading], net: Network, side: int) -> Mapping[str, Reading]:
    head = net.head
    if not isinstance(head, FullyConnected):
        return views
    mapped = {name: lambda maps, read=read: read(connected_maps(head, side, maps)) for name, read in views.items()}
    return {**mapped, "channel": raw}


def own_orders(net: Network, maps: Tensor, classes: Tensor) -> dict[str, Tensor]:
    """{reading: N x h x w}: of N x K x h x w maps those of the given classes, to rank cells by."""
    place = torch.arange(len(maps), device=maps.device)
    return {view: order(maps)[place, classes] for view, order in orders_of(net).items()}


def of_classes(net: Network, maps: Tensor, side: int = 1) -> Tensor:
    """N x K x H x W class maps: what the trunk gives, or what this head makes of it. Of grids of side x side images."""
    return values_of(net, side)["raw"](maps)


def connected_maps(head: FullyConnected, side: int, maps: Tensor) -> Tensor:
    """N x K x (side h) x (side w) maps -> N x classes x the same: over each image their mean is the logit."""
    height, width = maps.shape[2] // side, maps.shape[3] // side
    weight = head.fc.weight.detach().view(head.fc.out_features, maps.shape[1], height, width).repeat(1, 1, side, side)
    kept = 1.0
    if isinstance(head.dropout, Dropout) and not head.dropout.inverted:
        kept = head.dropout.level / 256  # the authors' dropout scales when it tests
    shares = torch.einsum("nkhw,ckhw->nchw", maps, weight)
    return kept * height * width * shares + head.fc.bias.detach()[:, None, None]
