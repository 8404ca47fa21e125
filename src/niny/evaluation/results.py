"""Run folders -> what the rules judge by: `ExperimentResult` for each experiment of a scale, and a line for each run.

The paper reports no failed runs, so the rule for them is ours. A run recorded as collapsed (its outputs died in every
attempt, or it ended at chance) is a finding of its own: it stays in the run table and is counted beside n everywhere,
but no mean, interval or verdict is taken over it, because one run at chance says nothing about where the others lie.
A run that learned some classes and never answers the others has finished, and its error counts as it is: outputs fall
silent one by one and may come back, so no number of them is the one that would make a network collapsed.
A record made with other settings than params.yaml has now is named so in the run table, and counts for nothing.
Scores of class maps count where every network that they are of has finished.
"""

import csv
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from niny.config import Params, Run
from niny.errors import NinyError
from niny.evaluation.rules import ExperimentResult, Score

State = Literal["finished", "collapsed", "other settings"]

NUMBERS = (
    "test_error",
    "train_error",
    "test_images",
    "train_images",
    "epochs",
    "parameters",
    "forward_flops_per_image",
    "training_seconds",
    "images_per_second",
)
MACHINE = ("processor", "gpu", "threads", "precision", "torch", "network", "commit", "changed", "command")
ENERGY = ("energy_joules", "energy_counted")  # null where it was not measured
OUTCOME = ("experiment", "seed", "state", *NUMBERS, *ENERGY, "collapsed_attempts", "lost_epochs", "lost_classes")
COLUMNS = (*OUTCOME, *MACHINE, "folder")


@dataclass(frozen=True)
class RunRecord:
    """One seed's folder, relative to the project, with what its metrics.json and environment.json hold."""

    experiment: str
    seed: int
    state: State
    folder: Path
    metrics: Mapping[str, Any]
    environment: Mapping[str, Any]

    @property
    def lost_epochs(self) -> int:
        """Of attempts that collapsed before the one that the other numbers are of."""
        last = self.environment.get("seeds", {}).get("attempt")
        return sum(a["epochs"] for a in self.metrics["collapsed_attempts"] if a["attempt"] != last)


def load_results(params: Params, scale: str, root: Path) -> dict[str, ExperimentResult]:
    """One result for each experiment of the scale, in the order of params.yaml, empty where nothing is recorded.

    Raises NinyError naming the file where a record is damaged.
    """
    records = read_runs(params, scale, root)
    return {
        experiment.name: _result(
            [r for r in records if r.experiment == experiment.name and r.state == "finished"],
            root,
            read_scores(root / "results" / scale / "maps" / f"{experiment.name}.json")
            | read_scores(root / "results" / scale / "maps" / f"{experiment.name}.attribution.json"),
        )
        for experiment in params.experiments_at(scale)
    }


def run_table(params: Params, scale: str, root: Path) -> pd.DataFrame:
    """A line for each recorded run, collapsed ones too: errors in per cent, seconds, images/s, machine, commit.

    Epochs and seconds are those of the last attempt; `lost_epochs` are those of attempts that collapsed before it, and
    `lost_classes` the classes that the network takes no test image for, as it does while an output is silent under the
    last ReLU.
    """
    lines = []
    for record in read_runs(params, scale, root):
        line: dict[str, Any] = {"experiment": record.experiment, "seed": record.seed, "state": record.state}
        line |= {name: record.metrics[name] for name in NUMBERS}
        line |= {name: record.metrics.get(name) for name in ENERGY}
        line |= {"collapsed_attempts": len(record.metrics["collapsed_attempts"]), "lost_epochs": record.lost_epochs}
        line["lost_classes"] = lost_classes(*read_predictions(root / record.folder, record.metrics["test_error"]))
        line |= {name: record.environment.get(name) for name in MACHINE}
        lines.append(line | {"folder": record.folder.as_posix()})
    return pd.DataFrame(lines, columns=list(COLUMNS))


def read_runs(params: Params, scale: str, root: Path) -> list[RunRecord]:
    """Every seed folder with a metrics.json, by experiment and seed; a folder without one is no record yet."""
    return [run for e in params.experiments_at(scale) for run in read_runs_of(params.run(scale, e.name), root)]


def read_runs_of(run: Run, root: Path) -> list[RunRecord]:
    """Those of one experiment."""
    return [_run_record(run.experiment.name, f, run.digest, root) for f in _seed_folders(root / run.folder)]


def _seed_folders(folder: Path) -> list[Path]:
    seeds = [f for f in folder.glob("seed-*") if f.name[5:].isdecimal() and (f / "metrics.json").is_file()]
    return sorted(seeds, key=lambda f: int(f.name[5:]))


def _run_record(experiment: str, folder: Path, digest: str, root: Path) -> RunRecord:
    metrics, environment = read_json(folder / "metrics.json"), read_json(folder / "environment.json")
    _check_metrics(metrics, folder / "metrics.json")
    state: State = "collapsed" if metrics["collapsed"] else "finished"
    if metrics["run_digest"] != digest:
        state = "other settings"
    return RunRecord(experiment, int(folder.name[5:]), state, folder.relative_to(root), metrics, environment)


def _check_metrics(metrics: Mapping[str, Any], path: Path) -> None:
    for name in NUMBERS:
        if not _is_number(metrics.get(name)):
            raise damaged(path, f"{name} is {metrics.get(name)!r}, not a number")
    for name, kind in (("collapsed", bool), ("collapsed_attempts", list), ("run_digest", str)):
        if not isinstance(metrics.get(name), kind):
            raise damaged(path, f"{name} is {metrics.get(name)!r}")


def _result(records: Sequence[RunRecord], root: Path, maps: Mapping[str, Score]) -> ExperimentResult:
    finished = {r.seed for r in records}
    return ExperimentResult(
        test_errors={r.seed: float(r.metrics["test_error"]) for r in records},
        train_errors={r.seed: float(r.metrics["train_error"]) for r in records},
        correct={r.seed: read_correct(root / r.folder, r.metrics["test_error"]) for r in records},
        history={r.seed: read_history(root / r.folder / "history.csv") for r in records},
        maps={name: score for name, score in maps.items() if score.seeds.keys() <= finished},
    )


def read_history(path: Path) -> list[dict[str, float]]:
    """The rows of a history.csv as numbers, a column that was not measured in an epoch left out of its row."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [{name: float(value) for name, value in row.items() if value != ""} for row in csv.DictReader(file)]
    except OSError as error:
        raise damaged(path, str(error.strerror)) from None
    except (ValueError, TypeError) as error:  # a text, a cut line, or a line with too many fields
        raise damaged(path, str(error)) from None
    if not rows or not all("epoch" in row for row in rows):
        raise damaged(path, "a line without an epoch" if rows else "no epochs")
    return rows


def read_correct(folder: Path, test_error: float) -> NDArray[np.bool_]:
    """Which test images the run got right, shape [test images]; they must give the recorded error in per cent."""
    predicted, label = read_predictions(folder, test_error)
    correct: NDArray[np.bool_] = predicted == label
    return correct


def read_predictions(folder: Path, test_error: float) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Predicted and true class of every test image; they must give the recorded error in per cent."""
    path = folder / "predictions.npz"
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            predicted, label = arrays["predicted"], arrays["label"]
            wrong = predicted != label  # a failure where they are not of one length
    except (OSError, ValueError, TypeError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        raise damaged(path, type(error).__name__) from None
    if not label.size or abs(100 * float(wrong.mean()) - test_error) > 0.005:
        raise damaged(path, f"it does not give the test error {test_error:.2f} % of metrics.json")
    return predicted, label


def lost_classes(predicted: NDArray[np.uint8], label: NDArray[np.uint8]) -> int:
    """Number of classes among the labels that no image is taken for."""
    return int(np.setdiff1d(label, predicted).size)


def read_scores(path: Path) -> dict[str, Score]:
    """The map scores {name: Score} of one experiment; none where the file is not there."""
    if not path.is_file():
        return {}
    scores = read_json(path).get("scores")
    if not isinstance(scores, dict):
        raise damaged(path, "no scores in it")
    try:
        return {name: _score(raw) for name, raw in scores.items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(path, f"{type(error).__name__}: {error}") from None


def _score(raw: Mapping[str, Any]) -> Score:
    interval = raw.get("interval")
    bounds = None if interval is None else (float(interval[0]), float(interval[1]))
    seeds = {int(seed): float(value) for seed, value in raw.get("seeds", {}).items()}
    return Score(float(raw["value"]), bounds, seeds, int(raw.get("n", 0)))


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file of a record. Raises NinyError naming the file where there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise damaged(path, str(error.strerror)) from None
    except ValueError as error:
        raise damaged(path, str(error)) from None
    if not isinstance(value, dict):
        raise damaged(path, "not a JSON object")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def damaged(path: Path, why: str) -> NinyError:
    return NinyError(f"{path} is damaged ({why}): restore it from git, or delete it with its folder and run that again")
