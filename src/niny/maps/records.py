"""Map scores as files, of all seeds and of one, and what stands beside each score: its nulls.

niny.evaluation.results.read_scores reads the files back.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from niny.errors import NinyError
from niny.files import replacing, write_json
from niny.maps.intervals import Scores

OF_ONE_SEED = "maps.json"  # in a run folder: scored when training ended, for seeds whose weights are not kept
DIGITS = 6  # of a score: networks compute in float32, which has seven
STEPS, NOTHING = 31, -128  # rounding by a tenth of a standard deviation or so: less than a thousand resamples tell
BLIND = ("uniform", "random", "centre")  # maps that know nothing: of a subset as of the whole
NULLS = (*BLIND, "other_image", "unaligned", "untrained", "permuted_labels")


def save_scores(
    path: Path, experiment: str, scale: str, head: str, scores: Scores, skipped: Mapping[str, str] | None = None
) -> None:
    """Write the scores of an experiment's networks at a scale, as `over_seeds` makes them."""
    about = {"experiment": experiment, "scale": scale, "head": head, "skipped": dict(skipped or {})}
    write_json(path, {**about, "scores": scores}, DIGITS)


def load_scores(path: Path) -> Scores:
    """The scores of a file, none where there is no file. Raises NinyError for one that is damaged."""
    try:
        scores: Scores = json.loads(path.read_text(encoding="utf-8"))["scores"]
        return {name: {**found, "value": float(found["value"])} for name, found in scores.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NinyError(f"{path} is damaged ({error}): delete it and score the maps again") from None


def save_seed(path: Path, experiment: str, scale: str, scores: Scores) -> None:
    """Write the scores of one network, and beside them what nested intervals need of its images, if there is any.

    The file beside it, .npz, holds `name`, and for each name `scale` and `steps`: the score on a resample is its value
    plus scale x steps, or none where that is NOTHING, because the resample holds no item of the kind.
    """
    bare = {name: {key: of[key] for key in ("value", "interval", "n")} for name, of in scores.items()}
    resamples = {name: np.array(found["resamples"]) for name, found in scores.items() if "resamples" in found}
    if resamples:
        _save_resamples(path.with_suffix(".npz"), scores, resamples)
    write_json(path, {"experiment": experiment, "scale": scale, "scores": bare}, DIGITS)


def _save_resamples(path: Path, scores: Scores, resamples: Mapping[str, NDArray[np.float64]]) -> None:
    apart = {name: drawn - scores[name]["value"] for name, drawn in resamples.items()}
    largest = {name: max(float(np.nanmax(np.abs(of))), np.finfo(np.float32).tiny) for name, of in apart.items()}
    steps = [np.nan_to_num(STEPS * of / largest[name], nan=NOTHING).round() for name, of in apart.items()]
    with replacing(path) as part, part.open("wb") as file:
        np.savez_compressed(
            file,
            name=np.array([*apart]),
            scale=np.array([*largest.values()], np.float32) / STEPS,
            steps=np.array(steps, np.int8).reshape(len(apart), -1),
        )


def load_seed(path: Path) -> Scores:
    """What `save_seed` wrote; scores without resamples where these were not recorded. Raises NinyError for damage."""
    scores, beside = load_scores(path), path.with_suffix(".npz")
    try:
        with beside.open("rb") as file, np.load(file) as kept:
            steps = np.where(kept["steps"] == NOTHING, np.nan, kept["steps"])
            apart = dict(zip(kept["name"].tolist(), kept["scale"][:, None] * steps, strict=True))
        drawn = {name: {"resamples": (scores[name]["value"] + of).tolist()} for name, of in apart.items()}
        return {name: found | drawn.get(name, {}) for name, found in scores.items()}
    except FileNotFoundError:
        return scores
    except (OSError, ValueError, KeyError, IndexError, TypeError, EOFError, BadZipFile, zlib.error) as error:
        raise NinyError(
            f"{beside} is damaged ({type(error).__name__}): delete its folder and train that seed again"
        ) from None


def is_null(name: str) -> bool:
    """Whether a name is that of a null: `gridpg3_hit.centre`, `claim1_rate.raw.untrained`."""
    return not set(name.split(".")[1:]).isdisjoint(NULLS)


def nulls_of(scores: Mapping[str, Any], name: str) -> dict[str, Any]:
    """{null: its score} for all the nulls that stand beside a score."""
    found = {null: _first(scores, name, null) for null in NULLS}
    return {null: score for null, score in found.items() if score is not None}


def _first(scores: Mapping[str, Any], name: str, null: str) -> Any:
    """The null after the name; a plain one also in the place of one of its parts, before what follows or instead."""
    parts = name.split(".")
    for i in range(len(parts), 0 if null in BLIND else len(parts) - 1, -1):
        for rest in ((), tuple(parts[i + 1 :])):
            if (candidate := ".".join((*parts[:i], null, *rest))) in scores:
                return scores[candidate]
    return None
