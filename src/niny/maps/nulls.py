"""Maps that know nothing of the image: what a score must beat before it says anything.

CIFAR-10 shows its objects in the middle, so that a Gaussian at the centre agrees with almost every map (Spearman 0.8
in a pilot); scores within one image mean something only beyond it.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

SIGMA = 0.25  # of the side: covers what objects of CIFAR-10 cover, roughly


def centre(height: int, width: int) -> Tensor:
    """A Gaussian at the middle of an image, height x width, largest value below or at 1."""
    return torch.outer(_bell(height), _bell(width))


def _bell(n: int) -> Tensor:
    offsets = torch.arange(n) - (n - 1) / 2
    return torch.exp(-(offsets**2) / (2 * (SIGMA * n) ** 2))


def noise(shape: tuple[int, ...], seed: int) -> Tensor:
    """Independent values between 0 and 1."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def as_its_own(values: Tensor, classes: Tensor) -> Tensor:
    """Another image's map of what *it* shows: N x K x h x w of the items before, read where each item's class is.

    Item i holds the maps of item i - 1, whose class is classes[i - 1]. Where a map is asked for a place, the map of a
    class that is not there would be too weak a null: this one knows where objects lie, only not in this image.
    """
    place = torch.arange(len(values), device=values.device)
    asked = values.clone()
    asked[place, classes] = values[place, classes.roll(1)]
    return asked


def plain(maps: Tensor, side: int, seed: int) -> Mapping[str, Tensor]:
    """Three maps in the shape of `maps`, of grids of side x side images: one value, noise, each image's centre."""
    cell = centre(maps.shape[2] // side, maps.shape[3] // side).to(maps.device)
    return {
        "uniform": torch.ones_like(maps),
        "random": noise(tuple(maps.shape), seed).to(maps.device),
        "centre": cell.repeat(side, side).expand_as(maps),
    }
