"""Map scores of an experiment's networks as one JSON file; niny.evaluation.results.read_scores reads it back."""

import math
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from niny.files import write_json
from niny.maps.samples import Scores


def save_scores(
    path: Path,
    experiment: str,
    scale: str,
    head: str,
    per_seed: Mapping[int, Scores],
    skipped: Mapping[str, str] | None = None,
) -> None:
    """Write what `score_network` found for each seed's network, and the value and interval over all of them."""
    names = sorted(set().union(*per_seed.values()))
    scores = {name: _over_seeds({k: found[name] for k, found in per_seed.items() if name in found}) for name in names}
    about = {"experiment": experiment, "scale": scale, "head": head, "skipped": dict(skipped or {})}
    write_json(path, {**about, "scores": scores})


def _over_seeds(by_seed: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    values = [one["value"] for one in by_seed.values()]
    return {
        "value": fmean(values),
        "interval": _interval(values, [one["interval"] for one in by_seed.values()]),
        "n": max(one["n"] for one in by_seed.values()),
        "seeds": {str(seed): one["value"] for seed, one in sorted(by_seed.items())},
    }


def _interval(values: list[float], intervals: list[list[float] | None]) -> list[float] | None:
    """For the mean over networks: their t interval, widened by the sampling error of the images.

    All networks are scored on the same images, so that error does not shrink with their number; the two halves add
    as variances. With one network the interval is its own, and speaks of that network alone.
    """
    known = [interval for interval in intervals if interval is not None]
    if len(known) < len(values):
        return None
    if len(values) == 1:
        return known[0]
    from scipy import stats

    across = float(stats.t.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    mean = fmean(values)
    below = fmean(value - low for value, (low, _) in zip(values, known, strict=True))
    above = fmean(high - value for value, (_, high) in zip(values, known, strict=True))
    return [mean - math.hypot(across, below), mean + math.hypot(across, above)]
