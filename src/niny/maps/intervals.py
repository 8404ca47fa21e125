"""From one number an image (or a grid) to the score of a network: value, 95 % interval, n, and its bootstrap means.

Deterministic for a given seed. The draws depend on the seed and on the number of items alone, so that networks that are
scored on the same items are resampled alike: `niny.maps.nested` builds on this. Maps are scored on machines that have
torch and numpy alone, so this is not SciPy, whose intervals the tests hold these against.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Scores = dict[str, dict[str, Any]]

Z = 1.959964  # of the normal distribution, 95 %
RESAMPLES = 1000


def score(
    value: float, interval: tuple[float, float] | None = None, n: int = 0, resamples: Sequence[float] = ()
) -> dict[str, Any]:
    """A score, ready for JSON. Without an interval it is a number that does not depend on the sample.

    `resamples` are its values on RESAMPLES resamples of the items, NaN where a resample holds none of its kind.
    """
    found: dict[str, Any] = {"value": value, "interval": None if interval is None else list(interval), "n": n}
    return found | ({"resamples": list(resamples)} if resamples else {})


def bootstrap(samples: Mapping[str, Tensor], seed: int) -> Scores:
    """The mean of each sample with its percentile bootstrap interval over items.

    All samples are [n] or [n, m] over the same n items (m numbers an image or grid, which are drawn together), NaN
    where there is no number of that kind. All are resampled alike, so that intervals of readings of the same items
    belong together. A sample without any number is left out; n of a score counts items that have one.
    """
    kept = {
        name: v.double().cpu().flatten(1) if v.ndim > 1 else v.double().cpu()[:, None] for name, v in samples.items()
    }
    kept = {name: values for name, values in kept.items() if not values.isnan().all()}
    if not kept:
        return {}
    sums = torch.stack([values.nansum(1) for values in kept.values()], 1)
    sizes = torch.stack([(~values.isnan()).sum(1) for values in kept.values()], 1).double()
    counts = _resampled(len(sums), seed)
    means = (counts @ sums) / (counts @ sizes)  # 0/0 where a resample holds no item of a rare kind
    low, high = means.nanquantile(torch.tensor([0.025, 0.975], dtype=torch.float64), dim=0).tolist()
    values, items, drawn = (sums.sum(0) / sizes.sum(0)).tolist(), (sizes > 0).sum(0).tolist(), means.T.tolist()
    return {name: score(values[i], (low[i], high[i]), items[i], drawn[i]) for i, name in enumerate(kept)}


def bootstrap_median(samples: Mapping[str, Tensor], seed: int) -> Scores:
    """As `bootstrap`, for the median of all numbers of the items drawn."""
    found: Scores = {}
    for name, values in samples.items():
        rows = values.double().cpu().reshape(len(values), -1)
        there = torch.nonzero(~rows.flatten().isnan())[:, 0]
        if not len(there):
            continue
        ordered, place = rows.flatten()[there].sort()
        drawn = _resampled(len(rows), seed)[:, there[place] // rows.shape[1]].cumsum(1)
        medians = ordered[torch.searchsorted(drawn, drawn[:, -1:] / 2)[:, 0]]
        medians[drawn[:, -1] == 0] = math.nan  # no number of this kind was drawn
        low, high = medians.nanquantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
        items = int((~rows.isnan()).any(1).sum())
        found[name] = score(float(ordered[(len(ordered) - 1) // 2]), (low, high), items, medians.tolist())
    return found


def _resampled(n: int, seed: int) -> Tensor:
    """How often each item is drawn in each resample, [RESAMPLES, n]."""
    drawn = torch.randint(n, (RESAMPLES, n), generator=torch.Generator().manual_seed(seed))
    ones = torch.ones(RESAMPLES, n, dtype=torch.float64)
    return torch.zeros(RESAMPLES, n, dtype=torch.float64).scatter_add_(1, drawn, ones)


def rates(samples: Mapping[str, Tensor], seed: int) -> Scores:
    """As `bootstrap`, for shares of hits (values 0 to 1): with Wilson's interval, which holds near 0 and 1 too."""
    found = bootstrap(samples, seed)
    return {name: of | {"interval": list(wilson(of["value"], of["n"]))} for name, of in found.items()}


def wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of n."""
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return middle - half, middle + half


def only(values: Tensor, where: Tensor) -> Tensor:
    """`values` as floats with NaN wherever `where` is false: the sample of a subset of the same items."""
    return values.double().masked_fill(~where, math.nan)


def padded(values: Tensor, count: int) -> Tensor:
    """`values` of the first items as a sample of `count` items, NaN for the rest."""
    return torch.cat([values, values.new_full((count - len(values), *values.shape[1:]), math.nan)])
