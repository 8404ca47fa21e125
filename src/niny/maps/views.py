"""Four readings of the same class maps (paper sections 3.2 and 4.7), defined once for every score and picture.

The paper shows the maps as they are. Softmax cross-entropy leaves open what all maps of an image share: adding one map
to all K changes neither loss nor prediction, but every score of a single map. So each score is given for the map as it
is and for three readings from which the shared part drops out. All take and give N x K x H x W.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor


def raw(maps: Tensor) -> Tensor:
    """The maps as the head reads them: what the paper shows."""
    return maps


def centred(maps: Tensor) -> Tensor:
    """Each cell less its mean over the classes."""
    return maps - maps.mean(1, keepdim=True)


def margin(maps: Tensor) -> Tensor:
    """Each cell less the best of the other classes there: positive where the class wins."""
    best = maps.topk(2, dim=1).values
    leads = maps == best[:, :1]
    return maps - best[:, :1].where(~leads, best[:, 1:])


def softmax(maps: Tensor) -> Tensor:
    """Each cell as probabilities of the classes, as if it were an image of its own."""
    return maps.softmax(1)


def log_odds(maps: Tensor) -> Tensor:
    """log p / (1 - p) of each cell's probabilities, float64: their order where they round to 1.

    The maps of trained networks differ by 100 and more within a cell, so that most largest probabilities tie at 1.
    """
    maps = maps.double()
    first = maps.argmax(1, keepdim=True)
    behind = maps.scatter(1, first, -torch.inf).logsumexp(1, keepdim=True)
    every = maps.logsumexp(1, keepdim=True)
    chance = (maps - every).exp().scatter(1, first, 0.0)
    others = every + torch.log1p(-chance)  # exact enough for all but the first, whose p is near 1
    return maps - others.scatter(1, first, behind)


VIEWS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "raw": raw,
    "centred": centred,
    "margin": margin,
    "softmax": softmax,
}
ORDERS = {**VIEWS, "softmax": log_odds}  # what to rank cells by: the same order, but without ties made by rounding
