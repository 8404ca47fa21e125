"""A campaign led over Ray: hand out missing runs, hear of each epoch, keep what comes home, send lost runs out again.

Ray places runs, counts resources and tells which processes are gone. The driver holds the lock of every run that is
out, so that no process that sees its folder trains it too, and writes all that is shipped: checkpoints go where a local
campaign would have them, and either kind of campaign goes on from the other's. Runs leave in the order of the campaign,
a few more than fit, so that a lost one, which goes to the front again, is not last.
"""

import json
import math
import os
import secrets
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from queue import Empty
from typing import Any

from niny.cluster.board import Row, lock_of, table, write_board
from niny.data.preprocess import fitted
from niny.data.sets import LABELS, load
from niny.data.sources import fetch_embedded
from niny.errors import BusyError, NinyError
from niny.files import replacing_record, write_text
from niny.maps.boxes import SHARED
from niny.training.campaign import Task
from niny.training.checkpoint import KEPT, latest_first
from niny.training.lock import claim
from niny.training.record import COMMIT, PACKAGE, describe_commit
from niny.training.runs import Say, checkpoints, claim_seed, forget_checkpoints, label
from niny.training.snapshots import PHOTOGRAPHS

AHEAD = 8  # runs that wait within Ray: what an autoscaler sees
LOSSES = 3  # processes in a row that a run may lose without a new epoch: then it is what kills them
SHOW_EVERY = {True: 2.0, False: 60.0}  # seconds between two tables, on a terminal and in a log
ANSWER = 10  # seconds within which an address must


@dataclass(frozen=True)
class Wishes:
    """What a run gets, and how it computes."""

    gpus: float | None = None  # None: one, where the cluster has any
    cpus: float = 1.0
    device: str = "auto"
    precision: str = "auto"
    eager: bool = False
    ship: bool = False  # send records and data through Ray even where the folder is shared

    def check(self) -> None:
        if self.gpus is not None and not (0 <= self.gpus <= 1 or whole(self.gpus)):
            raise NinyError(f"--gpus-per-run {self.gpus:g}: a part of one (0.5), or a whole number")
        if not (0 < self.cpus <= 1 or whole(self.cpus)):
            raise NinyError(f"--cpus-per-run {self.cpus:g}: a part of one (0.5), or a whole number from 1")


def whole(number: float) -> bool:
    return 1 <= number < math.inf and number % 1 == 0


@contextmanager
def cluster(address: str, wishes: Wishes) -> Iterator[Any]:
    """Ray, connected to the cluster at `address`, or to one of this machine's own for `local`.

    Raises NinyError where Ray is not installed or nobody answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise NinyError("--ray needs the package ray: pip install '.[cluster]'") from None
    check_answers(address)
    where = {"include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address, runtime_env=environment(wishes), log_to_driver=False, logging_level="ERROR", **where)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise NinyError(f"--ray {address}: {' '.join(str(error).split())[:300]}") from None
    try:
        yield ray
    finally:
        ray.shutdown()


def check_answers(address: str) -> None:
    """Ray would try for a minute, and say much. `auto` (the cluster of this machine) is left to it."""
    if address in ("local", "auto"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise NinyError(f"--ray {address}: write HOST:PORT (Ray's own is 6379), auto, or local")
    try:
        socket.create_connection((host, int(port)), ANSWER).close()
    except (OSError, OverflowError) as error:
        raise NinyError(f"--ray {address}: nobody answers there ({error}): is the cluster up? see ray status") from None


def environment(wishes: Wishes) -> dict[str, Any]:
    """What every process of the campaign gets: this very package, and what its records shall say of its commit."""
    variables = {COMMIT: json.dumps(describe_commit()), "OMP_NUM_THREADS": str(threads_of(wishes))}
    return {"py_modules": [str(PACKAGE)], "env_vars": variables, "excludes": ["__pycache__"]}


def threads_of(wishes: Wishes) -> int:
    return max(1, int(wishes.cpus))


def campaign_on_ray(
    tasks: Sequence[Task], root: Path, address: str, wishes: Wishes, until: float, say: Say, live: bool = False
) -> None:
    """Train what is missing of `tasks` on the cluster at `address`, until `until` (monotonic).

    `live` redraws one table on a terminal. Raises NinyError, when all others have ended, with the reason of each run
    that failed by itself. Ctrl-C and the end of the budget stop all; finished runs and checkpoints stay.
    """
    wishes.check()
    scale = tasks[0].run.scale.name
    screen = Screen(say, live)
    with claim(lock_of(root, scale), f"{scale} on a cluster"), cluster(address, wishes) as ray:
        driver = Driver(ray, tasks, root, wishes, screen)
        try:
            driver.start()
            while driver.busy() and time.monotonic() < until:
                driver.step()
                screen.show(driver.rows())
            if driver.busy():
                screen.say("the budget is spent: the same command goes on from here")
        finally:
            driver.stop()
    if driver.failed:
        raise NinyError(f"{len(driver.failed)} of {len(tasks)} runs failed: {'; '.join(driver.failed)}")


@dataclass
class Out:
    """A run that is on the cluster, with the lock that is held for it."""

    row: Row
    lock: ExitStack
    stuck: int = 0  # losses since the last new epoch


@dataclass
class Driver:
    """The state of a campaign: what waits, what is out, what has failed."""

    ray: Any
    tasks: Sequence[Task]
    root: Path
    wishes: Wishes
    screen: "Screen"
    waiting: deque[int] = field(default_factory=deque)  # numbers in `tasks`
    passed: set[int] = field(default_factory=set)  # once, because another process was training them
    out: dict[int, Out] = field(default_factory=dict)
    orders: dict[Any, int] = field(default_factory=dict)  # Ray's reference -> number
    data: dict[str, Any] = field(default_factory=dict)  # data set -> Ray's reference to its files
    failed: list[str] = field(default_factory=list)
    lost: int = 0

    def start(self) -> None:
        """Raises NinyError where no machine of the cluster could take a run."""
        from ray.util.queue import Queue
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        from niny.cluster import node

        self.node = node
        self.gpus = self.choose_gpus()
        if not self.slots():
            raise NinyError(
                f"no machine of the cluster has {self.wishes.cpus:g} CPUs and {self.gpus:g} GPUs for a run: lower "
                "--cpus-per-run or --gpus-per-run, or add one that has"
            )
        self.token, self.ship = secrets.token_hex(8), self.wishes.ship
        write_text(node.token_path(self.root), "" if self.ship else self.token)
        here = NodeAffinitySchedulingStrategy(self.ray.get_runtime_context().get_node_id(), soft=False)
        self.mail = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
        self.remote = self.ray.remote(node.train).options(
            num_cpus=self.wishes.cpus, num_gpus=self.gpus, max_retries=0, scheduling_strategy="SPREAD"
        )
        self.waiting.extend(i for i, task in enumerate(self.tasks) if not task.finished(self.root))
        self.leave_out(self.unavailable())

    def choose_gpus(self) -> float:
        if self.wishes.gpus is not None:
            return self.wishes.gpus
        return 1.0 if self.wishes.device != "cpu" and self.ray.cluster_resources().get("GPU") else 0.0

    def unavailable(self) -> set[str]:
        """The data sets that cannot be had. The others are there and preprocessing is fitted: once, by us."""
        missing = set()
        for spec in {self.tasks[i].run.data for i in self.waiting}:
            try:
                fetch_embedded(spec.name, self.root / "data")
                fitted(load(spec.name, self.root / "data"), spec, self.root / "data")
            except NinyError as error:
                missing.add(spec.name)
                self.screen.say(f"what needs {spec.name} is left out: {error}")
        return missing

    def leave_out(self, data: set[str]) -> None:
        self.waiting = deque(i for i in self.waiting if self.tasks[i].run.data.name not in data)

    def slots(self) -> int:
        """How many runs fit on the machines that are there now."""
        need = {"CPU": self.wishes.cpus, "GPU": self.gpus}
        machines = [machine["Resources"] for machine in self.ray.nodes() if machine["Alive"]]
        return sum(int(min(has.get(kind, 0) / n for kind, n in need.items() if n)) for has in machines)

    def busy(self) -> bool:
        return bool(self.waiting or self.orders)

    def step(self) -> None:
        """Send out what fits, wait a moment, read the mail, settle what has ended."""
        while self.waiting and len(self.orders) < self.slots() + AHEAD:
            self.send(self.waiting.popleft())
        done, _ = self.ray.wait(list(self.orders), timeout=0.5) if self.orders else ([], [])
        self.read_mail()
        for order in done:
            self.settle(self.orders.pop(order), order)
        write_board(self.root, self.tasks[0].run.scale.name, self.rows(), self.counts())

    def send(self, number: int) -> None:
        """Lock a run, unless it is ours already (a lost one), and give it to Ray."""
        task = self.tasks[number]
        if number not in self.out:
            with ExitStack() as lock:
                try:
                    lock.enter_context(claim_seed(task.run, task.seed, self.root))
                except BusyError as error:
                    self.pass_over(number, error)
                    return
                if task.finished(self.root):  # somebody was faster
                    return
                row = Row(task.run.experiment.name, task.seed, task.run.recipe.epochs)
                self.out[number] = Out(row, lock.pop_all())
        self.orders[self.remote.remote(self.order(number), self.mail)] = number

    def pass_over(self, number: int, error: BusyError) -> None:
        """What another process is training is looked at once more, after all others."""
        if number not in self.passed:
            self.passed.add(number)
            self.waiting.append(number)
            self.screen.say(str(error))

    def order(self, number: int) -> Any:
        task, wishes = self.tasks[number], self.wishes
        device = wishes.device if self.gpus else "cpu"  # Ray hides GPUs from those alone that ask for a part of one
        how = (device, wishes.precision, wishes.eager, threads_of(wishes), self.gpus >= 1)
        order = self.node.Order(number, self.out[number].row.losses, task, self.root, self.token, *how)
        if not self.ship:
            return order
        saved = checkpoints(self.root, task.run, task.seed)
        return replace(order, data=self.shipped(task.run.data.name), progress=self.node.read_files(self.root, saved))

    def shipped(self, name: str) -> Any:
        """A reference to a data set's files, which a machine copies from another one when it first needs them.

        With them go the photographs on which networks are scored whose weights are not kept, where they are at hand.
        """
        if name not in self.data:
            names = [name, PHOTOGRAPHS] if set(SHARED) <= set(LABELS[name]) else [name]
            read = (self.node.read_files(self.root, self.root / "data" / each) for each in names)
            self.data[name] = self.ray.put({file: content for files in read for file, content in files.items()})
        return self.data[name]

    def read_mail(self) -> None:
        while True:
            try:
                news = self.mail.get(block=False)
            except Empty:
                return
            self.hear(news)

    def hear(self, news: Any) -> None:
        """What a machine tells after an epoch. One that was given up may still speak: its run is elsewhere by then."""
        out = self.out.get(news.number)
        if out is None or out.row.losses != news.losses:
            return
        self.node.write_files(self.root, news.saved)
        for folder in {(self.root / name).parent for name in news.saved}:
            for path in latest_first(folder)[KEPT:]:
                path.unlink()
        out.stuck = out.stuck if news.epoch <= out.row.epoch else 0
        out.row.node, out.row.since, out.row.epoch, out.row.ends = news.node, news.started, news.epoch, news.ends
        self.screen.progress(f"[{news.node}] {news.line}")

    def settle(self, number: int, order: Any) -> None:
        """Keep what a run gave, or send it out again, or name what it failed of."""
        try:
            files = self.ray.get(order)
        except self.ray.exceptions.RayTaskError as error:
            self.stumble(number, error.cause if error.cause is not None else error)
        except self.ray.exceptions.RayError as error:
            self.lose(number, error)
        else:
            task = self.tasks[number]
            if files:
                self.keep(task, files)
                forget_checkpoints(task.run, task.seed, self.root)
            self.let_go(number)

    def keep(self, task: Task, files: Mapping[str, bytes]) -> None:
        """Another machine's record in place of an older one: as a whole, or not at all."""
        with replacing_record(task.folder(self.root), "metrics.json") as folder:
            for name, content in files.items():
                (folder / PurePosixPath(name).name).write_bytes(content)

    def stumble(self, number: int, error: BaseException) -> None:
        """A run raised something: the folder is not shared there, or the run fails for its own reasons."""
        if isinstance(error, self.node.NotSharedError) and not self.ship:
            self.screen.say(f"{error}: data, checkpoints and records go through Ray from now on")
            self.ship = True
        if isinstance(error, self.node.NotSharedError):
            self.waiting.appendleft(number)
            return
        kind = "" if isinstance(error, NinyError) else f"{type(error).__name__}: "
        self.fail(number, kind + " ".join(str(error).split())[:300])

    def lose(self, number: int, error: Exception) -> None:
        """A machine or process is gone: its run goes on elsewhere, unless it is the run that ends processes."""
        out = self.out[number]
        self.lost, out.row.losses, out.stuck = self.lost + 1, out.row.losses + 1, out.stuck + 1
        reason = " ".join(str(error).split())[:120]
        if out.stuck >= LOSSES:
            self.fail(number, f"lost {LOSSES} times in a row after epoch {out.row.epoch}, the last time to: {reason}")
            return
        self.screen.say(
            f"{self.name(number)}  lost on {out.row.node} after epoch {out.row.epoch} ({reason}): sent out again"
        )
        out.row.node, out.row.since, out.row.ends = "(sent again)", None, None
        self.waiting.appendleft(number)

    def fail(self, number: int, reason: str) -> None:
        self.failed.append(f"{self.name(number)}: {reason}")
        self.screen.say(f"{self.failed[-1]}: it is not tried again, the others go on")
        self.let_go(number)

    def let_go(self, number: int) -> None:
        self.out.pop(number).lock.close()

    def name(self, number: int) -> str:
        return label(self.tasks[number].run, self.tasks[number].seed)

    def rows(self) -> list[Row]:
        """Runs that have begun, in the order of the campaign."""
        return [out.row for _, out in sorted(self.out.items()) if out.row.since or out.row.losses]

    def counts(self) -> dict[str, int]:
        running = sum(out.row.since is not None for out in self.out.values())
        waiting = len(self.out) - running + sum(number not in self.out for number in self.waiting)
        recorded = sum(task.finished(self.root) for task in self.tasks)
        return {"running": running, "waiting": waiting, "recorded": recorded, "failed": len(self.failed)}

    def stop(self) -> None:
        """Cancel what is out, keep the last checkpoints, give all locks back."""
        for order in self.orders:
            self.ray.cancel(order, force=True)
        if hasattr(self, "mail"):
            self.read_mail()
            write_board(self.root, self.tasks[0].run.scale.name, self.rows(), self.counts())
        for number in list(self.out):
            self.let_go(number)


class Screen:
    """One table of what is out: redrawn in place on a terminal, where it stands for the lines of progress; written
    once a minute elsewhere.
    """

    def __init__(self, write: Say, live: bool) -> None:
        self.write, self.live = write, live
        self.drawn, self.next = 0, 0.0

    def say(self, line: str) -> None:
        self.erase()
        self.write(line)

    def progress(self, line: str) -> None:
        if not self.live:
            self.write(line)

    def show(self, rows: Sequence[Row]) -> None:
        if time.monotonic() < self.next:
            return
        self.next = time.monotonic() + SHOW_EVERY[self.live]
        self.erase()
        lines = table(rows)
        for line in lines:
            self.write(line)
        self.drawn = len(lines)

    def erase(self) -> None:
        if self.live and self.drawn:
            sys.stderr.write(f"\033[{self.drawn}F\033[J")
        self.drawn = 0
