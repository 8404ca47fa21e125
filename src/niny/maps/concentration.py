"""How concentrated a map is, whatever it shows: entropy and Gini index of its positive part.

Both rise and fall with training whether or not a map finds its object, so they describe and do not judge.
"""

import math

import torch
from torch import Tensor


def entropy(maps: Tensor) -> Tensor:
    """Entropy of the positive part of N x h x w maps over that of a map of one value, N values: 1 flat, 0 one cell.

    NaN where nothing is positive.
    """
    share = _shares(maps)
    bits: Tensor = -torch.special.xlogy(share, share).sum(1)
    return bits / math.log(share.shape[1])


def gini(maps: Tensor) -> Tensor:
    """Gini index of the positive part over the cells, N values: 0 flat, nearly 1 one cell. NaN where it is empty."""
    ordered = _shares(maps).sort(1).values
    count = ordered.shape[1]
    weights = 2 * torch.arange(1, count + 1, device=maps.device) - count - 1
    unequal: Tensor = (ordered * weights).sum(1) / count
    return unequal


def _shares(maps: Tensor) -> Tensor:
    positive = maps.flatten(1).double().clamp_min(0)
    return positive / positive.sum(1, keepdim=True)  # 0 / 0 where nothing is positive
