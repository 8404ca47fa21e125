"""Map scores as JSON files, over seeds, and what stands beside each score: its nulls.

niny.evaluation.results.read_scores reads the files back.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from niny.errors import NinyError
from niny.files import write_json
from niny.maps.samples import Scores

OF_ONE_SEED = "maps.json"  # in a run folder: scored when training ended, for seeds whose weights are not kept
NULLS = ("uniform", "random", "centre", "other_image", "unaligned", "untrained")


def save_scores(
    path: Path, experiment: str, scale: str, head: str, scores: Scores, skipped: Mapping[str, str] | None = None
) -> None:
    """Write the scores of an experiment's networks at a scale, as `over_seeds` makes them."""
    about = {"experiment": experiment, "scale": scale, "head": head, "skipped": dict(skipped or {})}
    write_json(path, {**about, "scores": scores})


def load_scores(path: Path) -> Scores:
    """The scores of a file, none where there is no file. Raises NinyError for one that is damaged."""
    try:
        scores: Scores = json.loads(path.read_text(encoding="utf-8"))["scores"]
        return {name: {**found, "value": float(found["value"])} for name, found in scores.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NinyError(f"{path} is damaged ({error}): delete it and score the maps again") from None


def over_seeds(per_seed: Mapping[int, Scores]) -> Scores:
    """Value and interval over the networks of all seeds, and the value for each."""
    names = sorted(set().union(*per_seed.values()))
    return {name: _over_seeds({k: found[name] for k, found in per_seed.items() if name in found}) for name in names}


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


def is_null(name: str) -> bool:
    """Whether a name is that of a null: `gridpg3_hit.centre`, `claim1_rate.raw.untrained`."""
    return not set(name.split(".")[1:]).isdisjoint(NULLS)


def nulls_of(scores: Mapping[str, Any], name: str) -> dict[str, Any]:
    """{null: its score} for all the nulls that stand beside a score; a subset has those of the whole."""
    found = {null: _first(scores, name.replace("_median", ""), null) for null in NULLS}
    return {null: score for null, score in found.items() if score is not None}


def _first(scores: Mapping[str, Any], name: str, null: str) -> Any:
    """The null after the name, or in the place of one of its parts: before what follows, or instead of it."""
    parts = name.split(".")
    for i in range(len(parts), 0, -1):
        for rest in ((), tuple(parts[i + 1 :])):
            if (candidate := ".".join((*parts[:i], null, *rest))) in scores:
                return scores[candidate]
    return None
