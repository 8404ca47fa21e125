"""Many runs in a row: whatever records of a scale are missing, those that tell most first, until the budget ends.

First seeds come before second ones, experiments in the order of params.yaml. A run that does not fit into the budget
stops after an epoch and goes on next time; a record that was begun is written, though the budget ends within. An
experiment whose data cannot be had is left out, with its reason. A run that another process is training is passed over,
and taken up at the end if it is free and still missing by then. A run that fails costs the others nothing: they go on,
and the campaign fails at its end. Only a GPU that failed ends it.
"""

import math
import re
import signal
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from niny.config import MOST, DataSpec, Params, Run, pick
from niny.data.digests import is_intact
from niny.errors import BusyError, NinyError, UnwritableError
from niny.training import record
from niny.training.device import Compute
from niny.training.loop import TrainingData
from niny.training.runs import (
    OutOfTimeError,
    Say,
    claim_seed,
    label,
    prepare_data,
    say_progress,
    train_seed,
)

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
    if not 1 <= count <= MOST["seeds"]:
        raise NinyError(f"--seeds {count}: from 1 to {MOST['seeds']} runs of each experiment")
    return [Task(run, seed) for seed in range(count) for run in runs if seed >= run.seeds.start]


def campaign(
    tasks: Sequence[Task],
    root: Path,
    compute: Compute,
    budget: float = math.inf,
    say: Say = say_progress,
    say_busy: Say | None = None,
) -> list[Task]:
    """Run what is missing of `tasks` within `budget` seconds; the tasks that are still missing.

    `say_busy` is told, in place of `say`, which runs another process is training. Raises NinyError, when all others
    have had their turn, naming the runs that failed.
    """
    worker = Worker(root, compute, say, say_busy or say, time.monotonic() + budget)
    passed = list(tasks)
    try:
        with alarm(budget):
            for _ in range(2):  # what another process was training is looked at once more
                passed = [task for task in passed if not worker.take(task)]
    except OutOfTimeError:
        say("the budget is spent: the same command goes on from here")
    if worker.failed:
        raise NinyError(f"{len(worker.failed)} of the runs failed: {'; '.join(worker.failed)}")
    return [task for task in tasks if not task.finished(root)]


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise OutOfTimeError when the time is up, should an epoch last longer than those before let expect."""
    if math.isinf(seconds) or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        raise OutOfTimeError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))  # 0 would never ring
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@dataclass
class Worker:
    """Takes one task after another, and keeps the data set of the last one."""

    root: Path
    compute: Compute
    say: Say
    say_busy: Say
    until: float  # time.monotonic()
    prepared: dict[tuple[DataSpec, int], TrainingData] = field(default_factory=dict)
    unavailable: set[str] = field(default_factory=set)  # data sets
    failed: list[str] = field(default_factory=list)  # runs, each with its reason
    broken: bool = False  # the device

    def take(self, task: Task) -> bool:
        """Train what is missing of a task and can be had; False where another process is at it.

        Raises OutOfTimeError, and what concerns every run: UnwritableError, OSError.
        """
        if self.broken or task.finished(self.root) or task.run.data.name in self.unavailable:
            return True
        try:
            with claim_seed(task.run, task.seed, self.root):
                if not task.finished(self.root):  # nobody was faster
                    self.train(task)
        except BusyError as error:
            self.say_busy(str(error))
            return False
        except (OutOfTimeError, UnwritableError, OSError):
            raise
        except NinyError as error:
            self.failed.append(f"{label(task.run, task.seed)}, {error}")
        except Exception as error:
            if time.monotonic() >= self.until:  # the alarm, which torch's compiler passes on as a failure of its own
                raise OutOfTimeError from error
            self.say(traceback.format_exc())
            reason = traceback.format_exception_only(error)[-1].splitlines()[0]
            self.failed.append(f"{label(task.run, task.seed)}, {reason}")
            self.broken = isinstance(error, torch.AcceleratorError)  # all else that this process asks of it would fail
        return True

    def train(self, task: Task) -> None:
        """Raises OutOfTimeError when the next epoch would end too late."""
        try:
            data = self.data_of(task.run)
        except NinyError as error:
            if isinstance(error, UnwritableError) or is_intact(task.run.data.name, self.root / "data"):
                raise  # it is no fault of the data
            self.unavailable.add(task.run.data.name)
            self.say(f"{task.run.experiment.name} is left out: {error}")
            return
        train_seed(task.run, task.seed, data, self.root, self.compute, self.say, self.until)

    def data_of(self, run: Run) -> TrainingData:
        key = (run.data, run.scale.holdout)
        if key not in self.prepared:
            self.prepared.clear()  # one data set at a time fills the device
            self.prepared[key] = prepare_data(run, self.root, self.compute)
        return self.prepared[key]


def check_data(left: Sequence[Task], root: Path) -> None:
    """Raises NinyError where runs are missing because their images are."""
    missing = [name for name in sorted({task.run.data.name for task in left}) if not is_intact(name, root / "data")]
    if missing:
        raise NinyError(f"left out for want of images: {', '.join(missing)}; niny data fetch {missing[0]} brings them")
