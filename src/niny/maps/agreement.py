"""How alike two maps are: rank correlation, and overlap of their largest cells."""

import torch
from torch import Tensor

from niny.maps.translation import correlation

TOP = 0.1


def rank_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Spearman's correlation of N x h x w maps with N others, N values; NaN where a map is constant."""
    return correlation(_ranks(a.flatten(1)), _ranks(b.flatten(1)))


def _ranks(rows: Tensor) -> Tensor:
    """Mean ranks: how many cells are smaller, ties counting half."""
    smaller = (rows[:, :, None] > rows[:, None, :]).sum(2)
    equal = (rows[:, :, None] == rows[:, None, :]).sum(2)
    return smaller + equal / 2


def top_overlap(a: Tensor, b: Tensor) -> Tensor:
    """Share of the largest tenth of one map's cells that is among the largest tenth of the other's; 1/10 by chance."""
    count = max(1, round(TOP * a[0].numel()))
    marked = [torch.zeros_like(m.flatten(1)).scatter_(1, m.flatten(1).topk(count).indices, 1) for m in (a, b)]
    overlap: Tensor = (marked[0] * marked[1]).sum(1).double() / count
    return overlap
