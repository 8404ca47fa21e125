"""Running a network over many images, masks off: class maps, logits, and what a network cannot do."""

import copy
from collections.abc import Iterator
from functools import cache

import torch
from torch import Tensor

from niny.config import Run
from niny.models import Network, build, initialise
from niny.models.baselines import MaxoutNetwork
from niny.models.blocks import BATCH_NORM, Dropout, FullyConnected, LocallyConnected

PIXELS = 32 * 32 * 32  # of one batch: what a processor's cache likes; no result depends on it


def batches(images: Tensor) -> Iterator[Tensor]:
    """Images or canvases of any size as float32, in parts of about the same number of pixels."""
    for part in images.split(max(1, PIXELS // (images.shape[2] * images.shape[3]))):
        yield part.float().contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def class_maps(net: Network, images: Tensor) -> Tensor:
    """N x C x H' x W' preprocessed images -> N x K x H x W class maps, on the images' device."""
    net.eval()
    return torch.cat([net.class_maps(part).float() for part in batches(images)])


@torch.no_grad()
def logits(net: Network, images: Tensor) -> Tensor:
    """N x C x H' x W' preprocessed images -> N x K."""
    net.eval()
    return torch.cat([net(part).float() for part in batches(images)])


@torch.no_grad()
def decide(net: Network, maps: Tensor) -> Tensor:
    """The logits N x K that the head makes of class maps it knows the size of."""
    net.eval()
    said: Tensor = net.head(maps)
    return said.float()


def head_kind(net: Network) -> str:
    """gap, fc or fc_dropout, as params.yaml names heads; `dense` for layers that leave no map of a class."""
    if isinstance(net, MaxoutNetwork):
        return "dense"
    if not isinstance(net.head, FullyConnected):
        return "gap"
    return "fc_dropout" if isinstance(net.head.dropout, Dropout) else "fc"


def why_no_maps(net: Network) -> str | None:
    """Why this network has no class maps, or None where it has."""
    return "its last layers are fully connected: no map belongs to a class" if head_kind(net) == "dense" else None


def why_one_size(net: Network) -> str | None:
    """Why this network answers for images of one size alone, or None where it takes larger ones."""
    if any(isinstance(layer, LocallyConnected) for layer in net.modules()):
        return "its locally connected layer has weights for each place, those of images of one size"
    return None if head_kind(net) == "gap" else "its fully connected head reads maps of one size"


@cache
def cells_a_side(run: Run) -> int:
    """How many cells the class maps of a run's network have a side."""
    with torch.device("meta"):
        images = torch.zeros(1, run.data.channels, run.data.size, run.data.size)
        return class_maps(build(run), images).shape[-1]


def untrained(net: Network, seed: int) -> Network:
    """The same network with freshly drawn weights (He): what architecture alone brings to a score."""
    fresh = copy.deepcopy(net)
    for layer in fresh.modules():
        if isinstance(layer, BATCH_NORM):
            layer.reset_parameters()
    initialise(fresh, "he", 0.0, seed)
    return fresh
