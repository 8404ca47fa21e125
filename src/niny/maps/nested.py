"""From the scores of single networks to those of a recipe: means over seeds, with intervals nested in the seeds.

Two things vary: which network a training gives, and which images (grids, canvases) it is scored on. The nested
bootstrap draws networks with replacement, and images with replacement within the drawn networks: the 95 % percentile
interval of their mean. All networks are scored on the same images, so all that are drawn are given the same draw of
them: an image that is hard is hard for most networks, and that error does not average out over seeds.

Few networks: a bootstrap over n of them sees (n - 1)/n of their variance, and no more than n different values, so that
alone it would be too narrow. Student's t interval of the networks' values allows for that, but not for images that all
networks share. The interval reaches on each side as far as the further of the two. With one network it is the bootstrap
over its images, and speaks of that network alone.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from niny.maps.intervals import RESAMPLES, Scores

RULE = (
    "Intervals are 95 %: of one run a bootstrap over images or grids (of claim1_rate Wilson's); of several, on each "
    "side the further of a bootstrap over images nested in one over runs, and of the t interval over runs. The "
    "untrained network is one draw, the same beside every run: its interval is over images alone. n counts "
    "the images or grids of one run, the most where runs differ."
)


def over_seeds(per_seed: Mapping[int, Scores]) -> Scores:
    """Value and interval over the networks of all seeds, and the value for each."""
    names = sorted(set().union(*per_seed.values()))
    return {name: _over_seeds({k: found[name] for k, found in per_seed.items() if name in found}) for name in names}


def runs(score: Mapping[str, Any]) -> str:
    """Of how many networks a score is, as tables say it."""
    return "one run" if len(score["seeds"]) == 1 else str(len(score["seeds"]))


def _over_seeds(by_seed: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    interval = _interval([*by_seed.values()])
    return {
        "value": fmean(one["value"] for one in by_seed.values()),
        "interval": None if interval is None else list(interval),
        "n": max(one["n"] for one in by_seed.values()),
        "seeds": {str(seed): one["value"] for seed, one in sorted(by_seed.items())},
    }


def _interval(scores: Sequence[Mapping[str, Any]]) -> Sequence[float] | None:
    intervals: list[list[float] | None] = [one["interval"] for one in scores]
    if None in intervals or len(scores) == 1:
        return None if None in intervals else intervals[0]
    values = [one["value"] for one in scores]
    if all("resamples" in one for one in scores):
        return nested_interval(values, [one["resamples"] for one in scores])
    return _without_resamples(values, [interval for interval in intervals if interval])


def nested_interval(values: Sequence[float], resamples: Sequence[Sequence[float]]) -> tuple[float, float]:
    """95 % for the mean over two or more networks, from each one's value and its values on the same resamples.

    On each side the further of the nested bootstrap's percentile and of the t interval.
    """
    low, high = bootstrap_interval(resamples)
    half = t_half(values)
    return min(low, fmean(values) - half), max(high, fmean(values) + half)


def bootstrap_interval(resamples: Sequence[Sequence[float]]) -> tuple[float, float]:
    """The nested bootstrap alone: percentiles of the mean over drawn networks, all on the same draw of the images."""
    table, share = np.array(resamples).T, _drawn(len(resamples))
    means = np.where(share > 0, share * table, 0).sum(1)  # NaN only where a network that was drawn has it
    low, high = np.nanquantile(means, (0.025, 0.975))
    return float(low), float(high)


@lru_cache
def _drawn(networks: int) -> NDArray[np.float64]:
    """The share of each network in each resample, RESAMPLES x networks."""
    rng = np.random.default_rng(networks)
    return rng.multinomial(networks, [1 / networks] * networks, RESAMPLES) / networks


def t_half(values: Sequence[float]) -> float:
    """Half of the 95 % t interval of the mean of two or more values."""
    from scipy.special import stdtrit  # the same number as scipy.stats has, without the seconds that takes to import

    return float(stdtrit(len(values) - 1, 0.975)) * stdev(values) / math.sqrt(len(values))


def _without_resamples(values: Sequence[float], intervals: Sequence[Sequence[float]]) -> tuple[float, float]:
    """For records of before there were resamples: the t interval, each network's own added as a variance."""
    mean, across = fmean(values), t_half(values)
    below = fmean(value - low for value, (low, _) in zip(values, intervals, strict=True))
    above = fmean(high - value for value, (_, high) in zip(values, intervals, strict=True))
    return mean - math.hypot(across, below), mean + math.hypot(across, above)
