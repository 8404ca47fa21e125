"""Shifted images: does the error stay, and do the maps move along (section 3.2: "more robust to spatial translations")?

The paper gives no number. Images move up, down, left and right by whole pixels; what comes in is zero, the mean of
the preprocessed data, as in the authors' augmentation.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from niny.maps.forward import class_maps, logits
from niny.models import Network

DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1))  # down, right


def shift(images: Tensor, down: int, right: int) -> Tensor:
    """N x C x H x W moved by whole pixels, zeros coming in."""
    return F.pad(images, (right, -right, down, -down))


def error_rise(net: Network, images: Tensor, labels: Tensor, pixels: int) -> Tensor:
    """By image, errors on the four shifted versions less errors on the image itself, in per cent: N values."""
    wrong = [_wrong(net, shift(images, pixels * down, pixels * right), labels) for down, right in DIRECTIONS]
    return 100 * (torch.stack(wrong).mean(0) - _wrong(net, images, labels))


def _wrong(net: Network, images: Tensor, labels: Tensor) -> Tensor:
    return (logits(net, images).argmax(1) != labels).double()


def equivariance(net: Network, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Pearson correlation of the true class's map with that of the image moved by one cell, N values each.

    First with the same content under both (the shift undone), then place by place; the mean over the four directions.
    Only cells that stay in the image are compared. NaN where a map is constant.
    """
    before = _own(class_maps(net, images), labels)
    cell = images.shape[-1] // before.shape[-1]
    aligned, unaligned = [], []
    for down, right in DIRECTIONS:
        after = _kept(_own(class_maps(net, shift(images, cell * down, cell * right)), labels), down, right)
        aligned.append(correlation(after, _kept(before, -down, -right)))
        unaligned.append(correlation(after, _kept(before, down, right)))
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
