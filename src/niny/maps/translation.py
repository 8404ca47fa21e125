"""Shifted images: does the error stay, and do the maps move along (section 3.2: "more robust to spatial translations")?

The paper gives no number. Images move up, down, left and right by whole pixels; what comes in is zero, the mean of
the preprocessed data, as in the authors' augmentation.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from niny.maps.forward import class_maps, logits
from niny.models import Network

DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1))  # down, right


def shift(images: Tensor, down: int, right: int) -> Tensor:
    """N x C x H x W moved by whole pixels, zeros coming in."""
    return F.pad(images, (right, -right, down, -down))


def error_rise(net: Network, images: Tensor, labels: Tensor, before: Tensor, pixels: int) -> Tensor:
    """By image, errors on the four shifted versions less errors on the image itself, in per cent: N values.

    `before` is the class that the network sees in each image as it is.
    """
    wrong = [
        (logits(net, shift(images, pixels * down, pixels * right)).argmax(1) != labels).double()
        for down, right in DIRECTIONS
    ]
    return 100 * (torch.stack(wrong).mean(0) - (before != labels).double())


def shifted_maps(net: Network, images: Tensor, cells: int) -> list[Tensor]:
    """The class maps, of `cells` a side, of images moved by one cell in each of the four directions."""
    cell = images.shape[-1] // cells
    return [class_maps(net, shift(images, cell * down, cell * right)) for down, right in DIRECTIONS]


def equivariance(before: Tensor, after: Sequence[Tensor], labels: Tensor) -> tuple[Tensor, Tensor]:
    """Pearson correlation of the true class's map with that of the image moved by one cell, N values each.

    Maps N x K x H x W of the images, and of the images moved in each direction. First with the same content under both
    (the shift undone), then place by place; the mean over the four directions. Only cells that stay in the image are
    compared. NaN where a map is constant.
    """
    still = _own(before, labels)
    aligned, unaligned = [], []
    for moved, (down, right) in zip(after, DIRECTIONS, strict=True):
        there = _kept(_own(moved, labels), down, right)
        aligned.append(correlation(there, _kept(still, -down, -right)))
        unaligned.append(correlation(there, _kept(still, down, right)))
    return torch.stack(aligned).mean(0), torch.stack(unaligned).mean(0)


def _own(maps: Tensor, labels: Tensor) -> Tensor:
    return maps[torch.arange(len(maps), device=maps.device), labels]


def _kept(maps: Tensor, down: int, right: int) -> Tensor:
    """The cells of N x H x W that hold content after a move by one cell, in reading order."""
    return F.pad(maps, (-max(right, 0), min(right, 0), -max(down, 0), min(down, 0))).flatten(1)


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson correlation of each row of two N x M tables; NaN where a row is constant."""
    a, b = (rows.double() - rows.double().mean(1, keepdim=True) for rows in (a, b))
    together: Tensor = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
    return together
