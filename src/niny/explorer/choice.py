"""Which test images are shown: by chance, fixed by the root seed. No look, and no score but right or wrong, decides.

The images that training followed come first, since only they can be shown epoch by epoch. Then the first image by lot
of each class that the network recognises, and the first that it does not, as far as there are any; then whatever the
lot gives. Wrong answers are so shown more often than they are given: their share is no estimate of the error.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

CHUNK = 100  # images that the network is asked about at a time


def choose(
    labels: Tensor, predict: Callable[[list[int]], Tensor], first: Sequence[int], count: int, seed: int
) -> list[int]:
    """Up to `count` numbers of test images with labels N, `first` at the front; `predict` gives the classes seen."""
    generator = torch.Generator().manual_seed(seed)
    lot = torch.randperm(len(labels), generator=generator).tolist()
    front = list(first[:count])
    chosen = front + _each_kind(labels, predict, front, lot, count - len(front))
    rest = [i for i in lot if i not in chosen]
    return chosen + rest[: count - len(chosen)]


def _each_kind(
    labels: Tensor, predict: Callable[[list[int]], Tensor], front: list[int], lot: list[int], count: int
) -> list[int]:
    """By lot, the first image of each class and each outcome that `front` lacks, `count` at most."""
    missing = {(label, outcome) for label in labels.unique().tolist() for outcome in (True, False)}
    missing -= set(_kinds(labels, predict, front))
    found: list[int] = []
    for start in range(0, len(lot), CHUNK):
        some = lot[start : start + CHUNK]
        for i, kind in zip(some, _kinds(labels, predict, some), strict=True):
            if kind in missing and len(found) < count:
                missing.remove(kind)
                found.append(i)
        if not missing or len(found) == count:
            break
    return found


def _kinds(labels: Tensor, predict: Callable[[list[int]], Tensor], some: list[int]) -> list[tuple[int, bool]]:
    """The class of each image, and whether the network says so."""
    if not some:
        return []
    truth = labels[some]
    return list(zip(truth.tolist(), (predict(some) == truth).tolist(), strict=True))
