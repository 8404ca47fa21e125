"""Many runs in a row: whatever records of a scale are missing, those that tell most first, until the budget ends.

First seeds come before second ones, experiments in the order of params.yaml. A run that does not fit into the budget
stops after an epoch and goes on next time. An experiment whose data cannot be had is left out, with its reason.
"""

import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from niny.config import Params, Run, pick
from niny.errors import NinyError
from niny.training import record
from niny.training.device import Compute
from niny.training.loop import TrainingData
from niny.training.runs import OutOfTimeError, Say, prepare_data, say_progress, train_seed

UNITS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Task:
    """One seed of one run."""

    run: Run
    seed: int

    def folder(self, root: Path) -> Path:
        return record.seed_folder(root, self.run, self.seed)

    def finished(self, root: Path) -> bool:
        return record.is_finished(self.folder(root), self.run)


def parse_duration(text: str) -> float:
    """Seconds of `90s`, `25m` or `1.5h`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if match is None or float(match[1]) == 0:
        raise NinyError(f"not a duration: {text!r}; write 90s, 25m or 1.5h")
    return float(match[1]) * UNITS[match[2]]


def tasks_of(params: Params, scale: str, only: Sequence[str] = (), seeds: int | None = None) -> list[Task]:
    """Every (run, seed) of a scale, by priority."""
    named = {e.name: params.run(scale, e.name) for e in params.experiments_at(scale)}
    runs = [pick(named, name, "experiment") for name in only] or list(named.values())
    count = params.scale(scale).seeds if seeds is None else seeds
    if count < 1:
        raise NinyError(f"--seeds {count}: at least one run of each experiment")
    return [Task(run, seed) for seed in range(count) for run in runs]


def campaign(
    tasks: Sequence[Task],
    root: Path,
    compute: Compute,
    budget: float = math.inf,
    say: Say = say_progress,
) -> list[Task]:
    """Run what is missing of `tasks` within `budget` seconds; the tasks that are still missing."""
    until = time.monotonic() + budget
    prepared: dict[tuple[str, int], TrainingData] = {}
    unavailable: dict[str, str] = {}
    for task in tasks:
        name = task.run.data.name
        if task.finished(root) or name in unavailable:
            continue
        key = (name, task.run.scale.holdout)
        try:
            if key not in prepared:
                prepared.clear()  # one data set at a time fills the device
                prepared[key] = prepare_data(task.run, root, compute)
        except NinyError as error:
            unavailable[name] = str(error)
            say(f"{task.run.experiment.name} is left out: {error}")
            continue
        try:
            train_seed(task.run, task.seed, prepared[key], root, compute, say, until)
        except OutOfTimeError:
            break
    return [task for task in tasks if not task.finished(root)]


def describe_left(tasks: Sequence[Task], left: Sequence[Task], root: Path) -> str:
    """What is missing and how long it will take, judged by the runs of the same experiment that are there."""
    done = {}
    for task in tasks:
        if task.finished(root):
            metrics = record.read_metrics(task.folder(root))
            done[task.run.experiment.name] = metrics["training_seconds"]
    known = sum(done.get(task.run.experiment.name, 0.0) for task in left)
    unknown = sorted({task.run.experiment.name for task in left} - set(done))
    text = f"{len(tasks) - len(left)} of {len(tasks)} runs are recorded"
    if left:
        text += f"; {len(left)} are left, about {known / 60:.0f} minutes by what was measured"
    return text + (f", and these never yet: {', '.join(unknown)}" if unknown else "")
