"""Run an experiment: every seed that has no record yet is trained, resumed where it stopped, and recorded.

A run collapses when its last ReLU dies (all logits 0, loss ln K, no gradient): the best documented failure of this
network. Rule: a dead attempt is recorded, then the seed is tried again with newly derived numbers, three times at
most. A run that ends at chance level is recorded as collapsed too. Nothing is dropped: the record lists each attempt.
"""

import hashlib
import math
import os
import shutil
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from niny.config import ATTEMPTS, MOST, SOURCES, Run
from niny.data.preprocess import fitted
from niny.data.sets import load
from niny.data.sources import fetch_embedded
from niny.errors import NinyError, UnwritableError
from niny.files import replacing_record, write_json
from niny.maps.records import OF_ONE_SEED
from niny.models import Network, build, initialise, parameter_count
from niny.models.weights import WEIGHTS, load_weights, save_weights
from niny.training import record
from niny.training.checkpoint import latest_below, load_checkpoint, save_checkpoint
from niny.training.device import Compute, choose_compute, exact
from niny.training.energy import Meter, is_shared, open_meter
from niny.training.lock import claim
from niny.training.loop import Clock, Evaluation, TrainingData, evaluate, evaluate_together, live_outputs, train_epoch
from niny.training.optimiser import make_optimiser
from niny.training.permuted import as_asked
from niny.training.processes import agreed, leads
from niny.training.seeds import Seeds
from niny.training.snapshots import FOLLOWED, followed_maps, keep_followed, keep_scores, lacks_for_scores, look_at_maps
from niny.training.update import Update, make_update

KEEP_EVERY = {"cpu": 0.0, "cuda": 5.0}  # seconds: after each epoch, but a GPU's take about one
LATEST = 8  # epochs that tell how long the next one may take: soon not the first, in which kernels are compiled
LIVE_PROBE = 500  # training images that tell whether the outputs are alive

Say = Callable[[str], None]


class OutOfTimeError(Exception):
    """The budget of a campaign ends before the next epoch would; what was reached is in a checkpoint."""


def say_progress(line: str) -> None:
    """One line to standard error, at once: terminals, logs and notebooks all show it as it comes."""
    if leads():
        print(line, file=sys.stderr, flush=True)


def prepare_data(run: Run, root: Path, compute: Compute) -> TrainingData:
    """Load, preprocess with what was fitted on the training images, and put everything on the device.

    SVHN is trained on its extra images too (section 4.4), and on those that the paper kept for validation. A scale with
    a holdout sees no test image at all.
    """
    fetch_embedded(run.data.name, root / "data")
    dataset = load(run.data.name, root / "data")
    preprocessor = fitted(dataset, run.data, root / "data")
    splits = [dataset.train] if dataset.extra is None else [dataset.train, dataset.extra]
    images = torch.cat([compute.place(preprocessor.apply(split.images)) for split in splits])
    labels = torch.cat([torch.from_numpy(split.labels) for split in splits]).to(compute.device)
    if held := run.scale.holdout:
        if held >= len(labels):
            raise NinyError(f"scale {run.scale.name} holds out {held} of {len(labels)} images: lower holdout")
        return TrainingData(images[:-held], labels[:-held], images[-held:], labels[-held:])
    test = exact(compute).place(preprocessor.apply(dataset.test.images))
    return TrainingData(images, labels, test, torch.from_numpy(dataset.test.labels).to(compute.device))


def train_experiment(
    run: Run,
    root: Path,
    *,
    seeds: Sequence[int] | None = None,
    fresh: bool = False,
    compute: Compute | None = None,
    say: Say = say_progress,
) -> list[Path]:
    """Bring all seeds of a run to a finished record and give their folders. `fresh` trains finished ones again.

    A `fresh` training that was stopped goes on where it stopped when it is asked for again.
    Raises BusyError naming the process where another one is training a seed that is missing.
    """
    compute = compute or choose_compute()
    wanted = run.seeds if seeds is None else seeds
    folders = [record.seed_folder(root, run, seed) for seed in wanted]
    check_seeds(wanted)
    missing = agreed([s for s, f in zip(wanted, folders, strict=True) if fresh or not record.is_finished(f, run)])
    if missing:
        train_missing(run, missing, root, fresh, compute, say)
    else:
        say(f"{run.scale.name} {run.experiment.name}: all {len(folders)} runs recorded, nothing to train; see --fresh")
    return folders


def train_missing(run: Run, seeds: Sequence[int], root: Path, fresh: bool, compute: Compute, say: Say) -> None:
    data = None
    for seed in seeds:
        with claim_seed(run, seed, root):
            if fresh:
                if not agreed(began_again(run, seed, root)):
                    forget_checkpoints(run, seed, root)
            elif agreed(record.is_finished(record.seed_folder(root, run, seed), run)):
                continue  # another process was faster
            data = data or prepare_data(run, root, compute)
            train_seed(run, seed, data, root, compute, say)


def claim_seed(run: Run, seed: int, root: Path) -> AbstractContextManager[None]:
    """Hold a seed of a run against other processes. Raises BusyError naming the one that has it."""
    if not leads():  # the first process holds it for all that train together
        return nullcontext()
    folder = root / run.folder  # where the record will be: to be known now, not after the training
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK):
        raise UnwritableError(f"{there} cannot be written to: make it writable, for the record comes there")
    path = root / ".niny" / "locks" / run.scale.name / run.experiment.name / f"seed-{seed}.lock"
    return claim(path, label(run, seed))


def check_seeds(seeds: Sequence[int]) -> None:
    if wrong := [seed for seed in seeds if not 0 <= seed < MOST["seeds"]]:
        raise NinyError(f"seed {wrong[0]}: runs are numbered from 0 to {MOST['seeds'] - 1}")


def train_seed(
    run: Run,
    seed: int,
    data: TrainingData,
    root: Path,
    compute: Compute,
    say: Say,
    until: float = math.inf,
) -> None:
    """Train one seed, attempt after attempt while it dies, and write its record. Raises OutOfTimeError at `until`.

    Whoever calls it has claimed the seed.
    """
    record.describe_commit()  # from now on it is settled, whatever is edited and committed while this trains
    collapsed: list[dict[str, Any]] = []
    data = as_asked(run, data)
    if seed and leads() and keeps_scores(run):
        for lacking in lacks_for_scores(run, root):
            say(f"{label(run, seed)}  {lacking}")
    for attempt in range(ATTEMPTS):
        seeds = Seeds(run.root_seed, seed, attempt, run.experiment.varies)
        trained = train_attempt(run, seeds, data, root, compute, say, until)
        if not trained.dead:
            break
        collapsed.append({"attempt": attempt, "epochs": len(trained.history)})
        say(f"{label(run, seed)}  collapsed in epoch {len(trained.history)} (attempt {attempt + 1} of {ATTEMPTS})")
    if leads():
        with without_alarm():
            write_record(run, seed, trained, collapsed, data, root, compute)
    forget_checkpoints(run, seed, root)


@contextmanager
def without_alarm() -> Iterator[None]:
    """Let no budget end within: a record that was begun is written, or every try would throw the same work away."""
    start, (left, _) = time.monotonic(), signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        yield
    finally:
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - start), 1e-3))


def began_again(run: Run, seed: int, root: Path) -> bool:
    """Has a run with a record been trained anew, and stopped? Its checkpoints are newer than the record then."""
    folder, latest = record.seed_folder(root, run, seed), latest_below(checkpoints(root, run, seed))
    if latest is None or not record.is_finished(folder, run):
        return False
    return latest.stat().st_mtime_ns > (folder / "metrics.json").stat().st_mtime_ns


def forget_checkpoints(run: Run, seed: int, root: Path) -> None:
    if leads() and (folder := checkpoints(root, run, seed)).exists():
        shutil.rmtree(folder)
    agreed(None)  # nobody goes on before they, or the record that takes their place, are as they shall be


@dataclass
class Trained:
    """The outcome of one attempt."""

    net: Network
    history: list[dict[str, Any]]
    dead: bool
    form: str  # of the network in its updates


def train_attempt(
    run: Run,
    seeds: Seeds,
    data: TrainingData,
    root: Path,
    compute: Compute,
    say: Say,
    until: float = math.inf,
) -> Trained:
    """Epoch after epoch from the last checkpoint on, until the recipe ends or the network is dead.

    Raises OutOfTimeError, with a checkpoint left behind, when the next epoch would not end before `until` (monotonic).
    """
    net = build(run)
    initialise(net, run.recipe.init, run.recipe.init_std, seeds.of("init"), run.recipe.init_std_of)
    net.to(compute.device).to(memory_format=torch.channels_last)
    optimiser = make_optimiser(net, run.recipe)
    identity = f"{run.digest} {record.code_digest()} {compute}"
    # apart by identity, so that trying other code or another precision leaves these where they are
    folder = checkpoints(root, run, seeds.number) / short_digest(identity) / f"attempt-{seeds.attempt}"
    history = resume(folder, identity, net, optimiser, say)
    if history:
        say(f"{label(run, seeds.number)}  goes on after epoch {len(history)}")
    elif folder.parents[1].exists() and not folder.parent.exists():
        say(f"{label(run, seeds.number)}  starts anew: its checkpoints are of other settings, code or precision")
    update = make_update(net, optimiser, run.recipe, compute)
    dead = bool(history) and is_dead(run, history[-1])
    keeper = Keeper(folder, identity, KEEP_EVERY[compute.device.type], len(history))
    meter, took = open_meter(compute), deque((row["seconds"] for row in history), LATEST)
    for epoch in range(len(history), run.recipe.epochs):
        if dead:
            break
        start = time.monotonic()
        if start + max(took, default=0.0) > until:
            keeper.keep(net, optimiser, history)
            raise OutOfTimeError
        history.append(agreed(one_epoch(run, update, data, epoch, seeds, compute, meter)))
        dead = is_dead(run, history[-1])
        if dead or epoch + 1 == run.recipe.epochs or keeper.is_due():
            keeper.keep(net, optimiser, history)
        took.append(time.monotonic() - start)
        say(progress_line(run, seeds.number, history, len(data.train_labels)))
    return Trained(net, history, dead, update.form)


class Keeper:
    """Writes checkpoints of one training that goes on from `epochs`; one is due after so many seconds."""

    def __init__(self, folder: Path, identity: str, every: float, epochs: int) -> None:
        self.folder, self.identity, self.every, self.epochs = folder, identity, every, epochs
        self.last = time.monotonic()

    def is_due(self) -> bool:
        return time.monotonic() - self.last >= self.every

    def keep(self, net: Network, optimiser: torch.optim.Optimizer, history: list[dict[str, Any]]) -> None:
        """Write the state after the last epoch of `history`, unless it is written already."""
        if leads() and len(history) > self.epochs:
            state = {"net": net.state_dict(), "optimiser": optimiser.state_dict(), "history": history}
            save_checkpoint(self.folder, len(history), self.identity, state)
        self.last, self.epochs = time.monotonic(), len(history)


def one_epoch(
    run: Run, update: Update, data: TrainingData, epoch: int, seeds: Seeds, compute: Compute, meter: Meter
) -> dict[str, Any]:
    """Train one epoch and look at the errors where the scale says so; the row for history.csv."""
    clock, net = Clock(compute), update.net
    meter.lap()
    result = train_epoch(update, data, run.recipe, epoch, seeds, run.experiment.augment)
    seconds, joules = clock.lap(), meter.lap()
    row: dict[str, Any] = {"epoch": epoch + 1, "lr": result.lr, "train_loss": result.loss}
    row |= {"train_error_masked": result.error, "train_error": "", "test_error": "", "seconds": seconds}
    row |= {"energy_joules": joules, "energy_counted": meter.source, "made_on": record.name_machine(compute)}
    row["live_share"], row["silent_classes"] = live_outputs(net, data.train_images[:LIVE_PROBE], compute)
    if (epoch + 1) % run.scale.evaluate_every == 0 or epoch + 1 == run.recipe.epochs:
        probe = slice(run.scale.probe_images)
        row["train_error"] = evaluate_together(net, data.train_images[probe], data.train_labels[probe], compute).error
        row["test_error"] = evaluate_together(net, data.test_images, data.test_labels, compute).error
        row |= look_at_maps(net, data, run, compute)
        row["maps"] = followed_maps(net, data, run, compute)
    return row


def is_dead(run: Run, row: dict[str, Any]) -> bool:
    """All outputs silent under a last ReLU, or numbers that are none."""
    silent = row["live_share"] == 0 and run.experiment.final_relu and run.experiment.head == "gap"
    return silent or not math.isfinite(row["train_loss"])


def resume(
    folder: Path, identity: str, net: Network, optimiser: torch.optim.Optimizer, say: Say
) -> list[dict[str, Any]]:
    """Load a checkpoint of exactly this training into `net` and `optimiser`; the history so far, or none.

    Raises NinyError where the processes of one training see different ones.
    """
    state = load_checkpoint(folder, identity, say)
    epochs = 0 if state is None else len(state["history"])
    if agreed(epochs) != epochs:
        raise NinyError(f"the processes do not see the same checkpoints: {folder} must lie in a folder that all share")
    if state is None:
        return []
    net.load_state_dict(state["net"])
    optimiser.load_state_dict(state["optimiser"])
    history: list[dict[str, Any]] = state["history"]
    return history


def checkpoints(root: Path, run: Run, seed: int) -> Path:
    return root / ".niny" / "checkpoints" / run.scale.name / run.experiment.name / f"seed-{seed}"


def short_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def label(run: Run, seed: int) -> str:
    return f"{run.scale.name} {run.experiment.name} seed {seed}"


def progress_line(run: Run, seed: int, history: list[dict[str, Any]], images: int) -> str:
    """Where the run is, how well it does, how fast, and how long it will still take."""
    row, epochs = history[-1], run.recipe.epochs
    left = (epochs - row["epoch"]) * sum(r["seconds"] for r in history) / len(history)
    test = f"test {row['test_error']:5.2f} %" if row["test_error"] != "" else "test   -    "
    return (
        f"{label(run, seed)}  epoch {row['epoch']:{len(str(epochs))}}/{epochs}  loss {row['train_loss']:.3f}  "
        f"error: train {row['train_error_masked']:5.2f} %  {test}  "
        f"{images / row['seconds']:,.0f} images/s  left {clock(left)}"
    )


def clock(seconds: float) -> str:
    """Hours, minutes and seconds; days are hours too."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest:02}"


def write_record(
    run: Run,
    seed: int,
    trained: Trained,
    collapsed: list[dict[str, Any]],
    data: TrainingData,
    root: Path,
    compute: Compute,
) -> None:
    """Measure the final errors in float32 and write the record, metrics.json last."""
    images, labels = data.test_images.float(), data.test_labels
    final = evaluate(trained.net, images, labels, exact(compute))
    metrics = metrics_of(run, seed, trained, final, data, compute) | {"collapsed_attempts": collapsed}
    seeds: dict[str, Any] = {"root": run.root_seed, "number": seed, "attempt": min(len(collapsed), ATTEMPTS - 1)}
    if run.experiment.varies != SOURCES:
        seeds["varies"] = run.experiment.varies  # what else there is has the seeds of run 0
    with replacing_record(record.seed_folder(root, run, seed), "metrics.json") as folder:
        if seed == 0 and run.experiment.keeps_weights:
            metrics["weights_test_error"] = keep_weights(folder, run, trained.net, images, labels, exact(compute))
            keep_followed(folder / FOLLOWED, trained.history, run, len(labels))
        elif keeps_scores(run):
            keep_scores(folder / OF_ONE_SEED, trained.net, data, run, root, compute)
        record.write_history(folder / "history.csv", trained.history)
        record.write_predictions(folder / "predictions.npz", _numpy(final.predicted), _numpy(labels))
        command = command_of(run, seed, compute)
        about = {"network": trained.form, "shared_device": is_shared(), **machines_of(trained.history)}
        record.write_environment(folder / "environment.json", compute, command, seeds, about)
        write_json(folder / "metrics.json", metrics)


def keeps_scores(run: Run) -> bool:
    """Are the maps of a network scored whose weights are not kept? Trials are judged by their errors."""
    return run.experiment.keeps_weights and not run.scale.holdout


def metrics_of(
    run: Run, seed: int, trained: Trained, final: Evaluation, data: TrainingData, compute: Compute
) -> dict[str, Any]:
    """What metrics.json says of a training that ended with `final` on the test images."""
    probe = slice(run.scale.probe_images)
    train = evaluate(trained.net, data.train_images[probe].float(), data.train_labels[probe], exact(compute))
    chance = 100 * (1 - float(data.test_labels.bincount().max()) / len(data.test_labels))  # by the likeliest class
    seconds, epochs = sum(row["seconds"] for row in trained.history), len(trained.history)
    return {
        "experiment": run.experiment.name,
        "scale": run.scale.name,
        "seed": seed,
        "test_error": final.error,
        "train_error": train.error,
        "train_error_images": len(train.predicted),
        "test_images": len(final.predicted),
        "train_images": len(data.train_labels),
        "epochs": epochs,
        "collapsed": trained.dead or (final.error > chance - 1 and run.experiment.labels == "true"),
        "parameters": parameter_count(trained.net),
        "forward_flops_per_image": forward_flops(trained.net, data.test_images[:1].float()),
        "training_seconds": seconds,
        "images_per_second": len(data.train_labels) * epochs / seconds,
        **energy_of(trained.history),
        "run_digest": run.digest,
        "code": record.code_digest(),
    }


def command_of(run: Run, seed: int, compute: Compute) -> str:
    """The command that trains one run as it was trained, on a machine of the same kind."""
    starter = f"torchrun --nproc-per-node {compute.processes} -m " if compute.processes > 1 else ""
    ways = f" --precision {compute.precision}" + " --eager" * compute.eager
    ways += f" --parts {compute.parts}" if compute.parts > 1 else ""
    return f"{starter}niny train {run.experiment.name} --scale {run.scale.name} --seeds {seed}{ways}"


def machines_of(history: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Where a training went on elsewhere: {machine: the first of its epochs}, for all else is told of the last one."""
    first: dict[str, int] = {}
    for row in history:
        first.setdefault(row.get("made_on", "unknown"), row["epoch"])
    return {"machines": first} if len(first) > 1 else {}


def energy_of(history: list[dict[str, Any]]) -> dict[str, Any]:
    """Joules over the same time as training_seconds, and what counted them: null unless one did in every epoch."""
    joules, counted = [row["energy_joules"] for row in history], {row["energy_counted"] for row in history}
    measured = None not in joules and len(counted) == 1
    return {"energy_joules": sum(joules) if measured else None, "energy_counted": counted.pop() if measured else None}


def keep_weights(
    folder: Path, run: Run, net: Network, images: torch.Tensor, labels: torch.Tensor, compute: Compute
) -> float:
    """Write the weights as float16 and measure the test error of what the file holds."""
    path = folder / WEIGHTS
    about = {"experiment": run.experiment.name, "scale": run.scale.name, "run_digest": run.digest}
    save_weights(path, net.state_dict(), about)
    net.load_state_dict(net.state_dict() | load_weights(path)[0])  # a network that died has weights that are no numbers
    return evaluate(net, images, labels, compute).error


def forward_flops(net: Network, image: torch.Tensor) -> int:
    """Floating-point operations of one image's forward pass (a multiply-add counts as two), by torch's own counter."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(image)
    return int(counter.get_total_flops())


def _numpy(values: torch.Tensor) -> np.ndarray:
    return values.cpu().numpy()
