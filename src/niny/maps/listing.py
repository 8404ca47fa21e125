"""What `niny maps score` prints: every score with its interval, n and nulls, as a table or as JSON."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from niny.config import Params, pick
from niny.errors import NinyError
from niny.inference.description import IMAGENET
from niny.maps.forward import head_kind
from niny.maps.intervals import Scores
from niny.maps.meaning import MEANINGS
from niny.maps.nested import RULE, runs
from niny.maps.permuted import NULL, beside_permuted, permuted_network, permuted_scores
from niny.maps.records import NULLS, is_null, nulls_of
from niny.maps.suite import (
    Subjects,
    compare_subjects,
    left_out,
    load_pictures,
    load_subjects,
    origin,
    score_subjects,
)
from niny.training.device import Compute

AUTHORS = "paper"  # the scale that the authors' own network stands beside


@dataclass(frozen=True)
class Found:
    """The scores of what a path names, and what was asked. Where `permuted` is empty, `no_permuted` says why.

    `seconds` is what all scores but those of other attributions took, on `threads` of a processor.
    """

    weights: Path
    data: str
    head: str
    seeds: tuple[int, ...]
    grids: int
    scores: Scores
    skipped: Mapping[str, str]
    permuted: Scores
    no_permuted: str
    seconds: float
    threads: int

    @cached_property
    def with_nulls(self) -> Scores:
        return beside_permuted(self.scores, self.permuted)

    @property
    def left_out(self) -> dict[str, str]:
        """What there is no score of, and why."""
        return {**self.skipped, **({NULL: self.no_permuted} if self.no_permuted else {})}


def score_path(
    params: Params, path: Path, root: Path, data: str | None, grids: int, attribution: bool, compute: Compute
) -> Found:
    """Score a weights file or a run's folder on the test images of a data set, by default its own."""
    about = origin(path)
    if about.get("experiment") == IMAGENET:
        raise NinyError(f"{path} is of ImageNet's network, whose images are no data set here: see niny maps show")
    scale = about.get("scale", AUTHORS)
    name = data or (params.run(scale, about["experiment"]).data.name if "experiment" in about else None)
    if name is None:
        raise NinyError(f"{path} does not say what it was trained on: add --data NAME, as --data cifar10")
    spec = pick(params.datasets, name, "data set")
    subjects = load_subjects(params, path, compute)
    subjects, apart = with_alike(subjects, params, name, grids)
    pictures = load_pictures(spec, root, compute)
    started = time.perf_counter()
    scores = score_subjects(subjects, pictures, seed=params.root_seed, grids=grids, compute=compute)
    seconds = time.perf_counter() - started
    if attribution:
        twin = permuted_network(params, scale, name, about.get("experiment"), root)
        twin = twin if twin is None else twin.to(compute.device)
        scores |= compare_subjects(subjects, pictures, seed=params.root_seed, grids=grids, twin=twin)
    seeds = tuple(sorted(subjects.nets.keys() | subjects.recorded.keys()))
    head, skipped = head_kind(subjects.net), left_out(subjects, pictures) | apart
    permuted, no_permuted = permuted_scores(params, scale, name, about.get("experiment"), root)
    return Found(
        path, name, head, seeds, grids, scores, skipped, permuted, no_permuted, seconds, torch.get_num_threads()
    )


def with_alike(subjects: Subjects, params: Params, data: str, grids: int) -> tuple[Subjects, dict[str, str]]:
    """Without seeds that were scored otherwise than is asked for, and whose weights are gone; which, and why."""
    if not subjects.recorded:
        return subjects, {}
    about = origin(subjects.path)
    run = params.run(about["scale"], about["experiment"])
    if (data, grids) == (run.data.name, run.scale.grids):
        return subjects, {}
    reason = f"their weights are not kept, and their scores are of {run.scale.grids} grids of {run.data.name}"
    return replace(subjects, recorded={}), {f"seeds {', '.join(map(str, sorted(subjects.recorded)))}": reason}


def to_json(found: Found) -> str:
    """One object: what was scored, and each score with value, interval, n, seeds and nulls."""
    scores = {name: score | {"nulls": _nulls(found, name)} for name, score in found.scores.items() if not is_null(name)}
    about = {"weights": str(found.weights), "data": found.data, "head": found.head, "seeds": list(found.seeds)}
    took = {"seconds": round(found.seconds, 1), "threads": found.threads}
    whole = {**about, **took, "grids": found.grids, "skipped": found.left_out, "scores": scores}
    return json.dumps(whole, indent=1, sort_keys=True, allow_nan=False)


def _nulls(found: Found, name: str) -> dict[str, Any]:
    nulls = nulls_of(found.with_nulls, name)
    return {null: {key: score[key] for key in ("value", "interval", "n")} for null, score in nulls.items()}


def to_text(found: Found) -> str:
    """A table for each metric, under what it means."""
    names = [name for name in found.scores if not is_null(name)]
    seeds = f"seeds {', '.join(map(str, found.seeds))}" if len(found.seeds) > 1 else f"seed {found.seeds[0]}, one run"
    parts = [f"{found.weights} on the test images of {found.data}; head {found.head}; {seeds}. {RULE}"]
    for metric, group in groupby(names, key=lambda name: name.partition(".")[0]):
        parts.append(_table(found, metric, list(group)))
    parts += [f"{name}: not measured, {reason}" for name, reason in sorted(found.skipped.items())]
    if found.no_permuted:
        parts.append(f"permuted labels: {found.no_permuted}")
    parts.append(f"Scored in {found.seconds:.0f} s on {found.threads} threads, other attributions apart.")
    return "\n\n".join(parts)


def _table(found: Found, metric: str, names: list[str]) -> str:
    nulls = {name: _nulls(found, name) for name in names}
    columns = [null for null in NULLS if any(null in of for of in nulls.values())]
    head = ["", "value", "95 % interval", "n", "runs", *columns]
    rows = [
        [name.partition(".")[2] or "-", *_cells(found.scores[name]), *[_value(nulls[name].get(c)) for c in columns]]
        for name in names
    ]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = ["  ".join(_set(row[i], widths[i], i) for i in range(len(head))).rstrip() for row in [head, *rows]]
    return "\n".join([f"{metric}: {MEANINGS.get(metric, '')}", *lines])


def _cells(score: Mapping[str, Any]) -> list[str]:
    interval = score["interval"]
    between = f"{_number(interval[0])} to {_number(interval[1])}" if interval else "-"
    return [_number(score["value"]), between, f"{score['n']:,}" if score["n"] else "-", runs(score)]


def _value(score: Mapping[str, Any] | None) -> str:
    return "-" if score is None else _number(score["value"])


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) >= 0.001 or value == 0 else f"{value:.1e}"


def _set(text: str, width: int, column: int) -> str:
    return text.ljust(width) if column == 0 else text.rjust(width)
