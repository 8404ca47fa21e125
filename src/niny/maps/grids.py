"""The grid pointing game (Böhle et al. 2021, Rao et al. 2022): does a class's map light up in the right cell of a grid?

n x n test images of different classes, each preprocessed by itself, are laid side by side: one forward pass gives maps
of the whole grid. The map of a cell's class is scored by its mass (share of its positive part inside the cell; 0 where
nothing is positive) and by its hit (is its largest value inside; ties count by share). Maps are taken as they come,
without the bilinear enlargement and smoothing of the original, which raise scores.

Chance needs no simulation: the masses of one map over all n x n cells sum to 1, so any map that does not depend on the
class asked for (uniform, noise, a Gaussian at the centre of every image) scores 1/n² on average over the cells.
"""

import math

import torch
from torch import Tensor

from niny.errors import NinyError


def sample_grids(labels: Tensor, side: int, count: int, seed: int) -> Tensor:
    """`count` grids of side² random images of different classes, as indices into `labels`: [count, side²]."""
    generator = torch.Generator().manual_seed(seed)
    pools = [torch.nonzero(labels.cpu() == c).flatten() for c in labels.unique().cpu()]
    if len(pools) < side**2:
        raise NinyError(f"a {side}x{side} grid needs {side**2} different classes, the images have {len(pools)}")
    return torch.tensor(
        [[_pick(pools[c], generator) for c in _order(len(pools), generator)[: side**2]] for _ in range(count)]
    )


def sample_mosaics(labels: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """2x2 mosaics for Focus (Arias-Duart et al. 2022): two images of one class, two of two other classes, any places.

    Returns indices into `labels` [count, 4], and which of the four are of the class asked for [count, 4], bool.
    """
    generator = torch.Generator().manual_seed(seed)
    pools = [torch.nonzero(labels.cpu() == c).flatten() for c in labels.unique().cpu()]
    if len(pools) < 3:
        raise NinyError(f"a mosaic needs 3 different classes, the images have {len(pools)}")
    rows, asked = [], []
    for _ in range(count):
        a, b, c = _order(len(pools), generator)[:3]
        row = torch.stack([_pick(pools[k], generator) for k in (a, a, b, c)])
        mixed = torch.randperm(4, generator=generator)
        rows.append(row[mixed])
        asked.append(mixed < 2)
    return torch.stack(rows), torch.stack(asked)


def focus(maps: Tensor, classes: Tensor, asked: Tensor) -> Tensor:
    """Share of the positive part of the class asked for that lies on its two images; 1/2 by chance. Gives [G].

    Maps G x K x 2h x 2w; classes by cell [G, 4]; asked [G, 4] bool.
    """
    target = classes.gather(1, asked.int().argmax(1, keepdim=True))
    by_cell = cells_of(of_classes(maps, target).clamp_min(0), 2)[:, 0].double().sum(-1)
    return (by_cell * asked).sum(1) / by_cell.sum(1).clamp_min(1e-7)


def _order(n: int, generator: torch.Generator) -> list[int]:
    order: list[int] = torch.randperm(n, generator=generator).tolist()
    return order


def _pick(pool: Tensor, generator: torch.Generator) -> Tensor:
    return pool[torch.randint(len(pool), (), generator=generator)]


def assemble(cells: Tensor) -> Tensor:
    """G x n² x C x H x W, row by row -> G x C x nH x nW: images (or maps) laid side by side."""
    count, squares, channels, height, width = cells.shape
    side = math.isqrt(squares)
    rows = cells.view(count, side, side, channels, height, width).permute(0, 3, 1, 4, 2, 5)
    return rows.reshape(count, channels, side * height, side * width)


def cells_of(maps: Tensor, side: int) -> Tensor:
    """G x M x nh x nw -> G x M x n² x (h w): the values of each map by cell of the grid. Undoes `assemble`."""
    count, kinds, height, width = maps.shape
    if height % side or width % side:
        raise NinyError(f"maps of {height} x {width} do not divide into a {side}x{side} grid: use another image size")
    blocks = maps.view(count, kinds, side, height // side, side, width // side).transpose(3, 4)
    return blocks.reshape(count, kinds, side**2, -1)


def of_classes(maps: Tensor, classes: Tensor) -> Tensor:
    """From G x K x H x W maps those of the classes [G, M]: G x M x H x W."""
    return maps.gather(1, classes[:, :, None, None].expand(-1, -1, *maps.shape[2:]))


def mass(maps: Tensor, classes: Tensor, side: int) -> Tensor:
    """Share of each target's positive part in its cell: maps G x K x nh x nw, classes by cell [G, n²] -> [G, n²]."""
    inside = cells_of(of_classes(maps, classes).clamp_min(0), side).double().sum(-1)
    return _share_in_own(inside)


def hit(maps: Tensor, classes: Tensor, side: int) -> Tensor:
    """Whether each target's largest value lies in its own cell; shapes as in `mass`."""
    cells = cells_of(of_classes(maps, classes), side)
    return _share_in_own((cells == cells.amax((2, 3), keepdim=True)).double().sum(-1))


def _share_in_own(by_cell: Tensor) -> Tensor:
    total = by_cell.sum(-1).clamp_min(1e-7)
    return by_cell.diagonal(dim1=1, dim2=2) / total
