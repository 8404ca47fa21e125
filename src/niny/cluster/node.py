"""What a machine of the cluster does with a run: train it, tell the driver after each epoch, hand over the record.

Where the machine sees the project's folder, records and checkpoints are written there, as by any `niny campaign`.
Elsewhere everything travels through Ray's object store: data and the last checkpoint come with the order, checkpoints
leave after each epoch, the record leaves at the end. Such a machine keeps the data, unpacked once, and nothing else.
"""

import fcntl
import getpass
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ray
import torch
from ray.util.queue import Queue

from niny.errors import NinyError
from niny.files import replacing
from niny.training.campaign import Task
from niny.training.checkpoint import epoch_of, latest_below
from niny.training.device import choose_compute
from niny.training.energy import SHARED
from niny.training.runs import checkpoints, forget_checkpoints, prepare_data, train_seed

Files = Mapping[str, bytes]  # path relative to the project's folder -> content


class NotSharedError(NinyError):
    """This machine does not see the project's folder, and the order came without what it needs."""


@dataclass(frozen=True)
class Order:
    """A run as it is sent out."""

    number: int  # of the run in the campaign
    losses: int  # how often it was sent out before
    task: Task
    root: Path  # the project's folder where the driver runs
    token: str  # what `token_path(root)` says there; a machine that reads the same sees the same folder
    device: str
    precision: str
    eager: bool
    threads: int
    alone: bool = False  # on its device, whose energy counters then count no others' work
    data: "ray.ObjectRef | None" = None  # Files, where things are shipped
    progress: Files | None = None  # checkpoints to go on from, likewise


@dataclass(frozen=True)
class News:
    """What the driver hears of a run; `saved` is its latest checkpoint where things are shipped."""

    number: int
    losses: int  # as in the order
    line: str
    node: str
    started: float
    epoch: int
    ends: float | None
    saved: Files


def token_path(root: Path) -> Path:
    return root / ".niny" / "cluster" / "token"


def sees(order: Order) -> bool:
    try:
        return token_path(order.root).read_text() == order.token
    except OSError:
        return False


def train(order: Order, mail: Queue) -> Files:
    """Train one run to its record; the record's files where they are not in the shared folder already.

    Raises NotSharedError where they could not come home, and whatever the training raises.
    """
    torch.set_num_threads(order.threads)
    os.environ[SHARED] = "" if order.alone else "1"
    shared = sees(order)
    if not shared and order.data is None:
        raise NotSharedError(f"{order.root} is not seen from {socket.gethostname()}")
    root = order.root if shared else unpack(order)
    run, seed = order.task.run, order.task.seed
    compute = choose_compute(order.device, order.precision, order.eager)
    reporter = Reporter(order, root, mail, ship=not shared)
    train_seed(run, seed, prepare_data(run, root, compute), root, compute, reporter)
    if shared:
        return {}
    record = read_files(root, order.task.folder(root))
    shutil.rmtree(order.task.folder(root))
    return record


class Reporter:
    """The `say` of a training: passes on each line, with the latest checkpoint if it is new.

    It returns when the driver's machine has the news, so that a machine that dies takes no more along than the epoch
    it was in, on a GPU up to five seconds more.
    """

    def __init__(self, order: Order, root: Path, mail: Queue, ship: bool) -> None:
        self.order, self.root, self.mail, self.ship = order, root, mail, ship
        self.node = f"{socket.gethostname()}/{ray.get_runtime_context().get_node_id()[:6]}"
        self.started = time.time()
        self.sent: Path | None = None
        self.told = epoch_of(self.latest())
        self.pace_from = (self.told, self.started)  # an epoch and when it had ended

    def __call__(self, line: str) -> None:
        latest = self.latest()
        epoch = epoch_of(latest)
        fresh = self.ship and latest is not None and latest != self.sent
        saved = {str(latest.relative_to(self.root)): latest.read_bytes()} if fresh and latest else {}
        news = News(
            self.order.number, self.order.losses, line, self.node, self.started, epoch, self.expected(epoch), saved
        )
        self.mail.put(news)
        self.sent = latest

    def latest(self) -> Path | None:
        return latest_below(checkpoints(self.root, self.order.task.run, self.order.task.seed))

    def expected(self, epoch: int) -> float | None:
        """When the run will end, by the pace since it began here; None before an epoch has told the pace."""
        now = time.time()
        if epoch < self.told:  # it began anew
            self.pace_from = (epoch, now)
        self.told = epoch
        first, then = self.pace_from
        if epoch <= first:
            return None
        return now + (now - then) / (epoch - first) * (self.order.task.run.recipe.epochs - epoch)


def unpack(order: Order) -> Path:
    """A folder of this node alone that holds the run's data, unpacked by whoever comes first, and its checkpoints."""
    root = Path(tempfile.gettempdir(), f"niny-{getpass.getuser()}", ray.get_runtime_context().get_node_id())
    done = root / "data" / order.task.run.data.name / f".unpacked-{order.token}"
    with waiting_lock(root / "data.lock"):
        if not done.exists():
            write_files(root, ray.get(order.data))
            done.touch()
    forget_checkpoints(order.task.run, order.task.seed, root)  # of an earlier attempt here: the driver has newer ones
    write_files(root, order.progress or {})
    return root


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Hold the lock at `path`, waiting for whoever has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read_files(root: Path, folder: Path) -> Files:
    """Every file below `folder` that is not hidden, metrics.json last: without it a folder is no record."""
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    ordered = sorted(paths, key=lambda path: (path.name == "metrics.json", path))
    return {os.fspath(path.relative_to(root)): path.read_bytes() for path in ordered}


def write_files(root: Path, files: Files) -> None:
    """Write in the order given, each file whole or not at all."""
    for name, content in files.items():
        with replacing(root / name) as part:
            part.write_bytes(content)
