"""What a campaign has left, and how long that will take by the runs that were finished on hardware of this kind."""

import json
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from niny.benchmark.operations import run_flops
from niny.data.digests import is_intact
from niny.training.campaign import Task
from niny.training.checkpoint import epoch_of, latest_below
from niny.training.device import Compute
from niny.training.record import read_metrics
from niny.training.runs import checkpoints, clock


def describe_left(tasks: Sequence[Task], left: Sequence[Task], root: Path, compute: Compute, jobs: int = 1) -> str:
    """One line: how many of `tasks` are recorded, and the time that those in `left` still need, `jobs` at a time.

    Runs without images are named and not counted. What is timed is training; runs side by side on one device slow each
    other, and their times are as they were measured.
    """
    text = f"{len(tasks) - len(left)} of {len(tasks)} runs are recorded"
    if not left:
        return text
    measured = measured_seconds([task for task in tasks if task not in left], root, compute)
    if not measured:
        return f"{text}; {len(left)} are left, of which none was timed on such a machine"
    took = {name: statistics.mean(seconds) for name, seconds in measured.items()}
    rate = rate_of(tasks, took)
    absent = {name for name in {task.run.data.name for task in left} if not is_intact(name, root / "data")}
    here = [task for task in left if task.run.data.name not in absent]
    whole = [took.get(task.run.experiment.name) or run_flops(task.run) / rate for task in here]
    lasting = [share_left(task, root) * lasts for task, lasts in zip(here, whole, strict=True)]
    seconds = max([sum(lasting) / jobs, *lasting])  # one run is not shared by several jobs
    never = sorted({task.run.experiment.name for task in here} - set(took))
    told = f"; of {', '.join(never)} by operations" if never else ""
    told += f"; not counted, for want of images: {', '.join(sorted(absent))}" if absent else ""
    return f"{text}; {len(left)} are left, about {clock(seconds)} by what was measured{told}"


def measured_seconds(finished: Sequence[Task], root: Path, compute: Compute) -> dict[str, list[float]]:
    """{experiment: seconds of training of its finished runs}, of those on a GPU or on a CPU as `compute` is."""
    found = defaultdict(list)
    for task in finished:
        with suppress(OSError, ValueError, KeyError, TypeError):  # a damaged record times nothing; reports name it
            machine = json.loads((task.folder(root) / "environment.json").read_text())
            if (machine["gpu"] is not None) == (compute.device.type == "cuda"):
                found[task.run.experiment.name].append(read_metrics(task.folder(root))["training_seconds"])
    return found


def rate_of(tasks: Sequence[Task], took: Mapping[str, float]) -> float:
    """Operations a second of all experiments that were timed."""
    timed = {task.run.experiment.name: task.run for task in tasks if task.run.experiment.name in took}
    return sum(run_flops(run) for run in timed.values()) / sum(took.values())


def share_left(task: Task, root: Path) -> float:
    """Of its epochs, less those that the latest checkpoint has behind it."""
    done = epoch_of(latest_below(checkpoints(root, task.run, task.seed)))
    return max(0.0, 1 - done / task.run.recipe.epochs)
