"""A campaign over Ray: several nodes, one killed, one added; the records are those of a serial campaign."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from test_survival import MEASURED, environment
from test_training import EXACT, silent

from niny.cli import main
from niny.cluster import driver as leading
from niny.cluster.board import Row, describe, lock_of, table, write_board
from niny.cluster.driver import AHEAD, LOSSES, Driver, Screen, Wishes, campaign_on_ray
from niny.config import load_params
from niny.errors import NinyError
from niny.training.campaign import Task, campaign, tasks_of
from niny.training.lock import claim
from niny.training.runs import checkpoints, claim_seed

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed: pip install '.[cluster]'")
FAST = ["cifar10-cnn-fc", "cifar10-cnn-gap"]
SIMPLE = Wishes(cpus=1, device="cpu", precision="float32")
EPOCHS = 8
NODE: dict[str, Any] = {"num_cpus": 2, "object_store_memory": 100 * 2**20}
HEAD: dict[str, Any] = {**NODE, "include_dashboard": False}
MOMENT = r"\d\d \w{3} \d\d:\d\d"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """What a run on the cluster has, for the serial runs beside it: the same bits come of the same number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tasks(project: Path) -> list[Task]:
    """Four runs of eight epochs: long enough to be killed in the midst."""
    return tasks_of_epochs(EPOCHS, project)


def tasks_of_epochs(epochs: int, project: Path) -> list[Task]:
    """Two seeds of two experiments."""
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("phases: [[5, 1.0], [1, 0.1]]", f"phases: [[{epochs}, 1.0]]"))
    return tasks_of(load_params(project), "smoke", FAST, 2)


@pytest.fixture
def cluster_of(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Makes a real cluster, a head and more nodes, all processes of their own; what they unpack goes to `project`."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait leave the cores to others
    monkeypatch.setenv("RAY_TMPDIR", tempfile.gettempdir())  # paths of sockets are short
    (project / "of-nodes").mkdir()
    monkeypatch.setenv("TMPDIR", str(project / "of-nodes"))
    from ray.cluster_utils import Cluster

    with ExitStack() as made:

        def make(head: dict[str, Any], *others: dict[str, Any]) -> Any:
            cluster = Cluster(initialize_head=True, head_node_args=HEAD | head)
            made.callback(cluster.shutdown)
            for node in others:
                cluster.add_node(**node)
            return cluster

        yield make


@needs_ray
@pytest.mark.filterwarnings("ignore")  # what Ray leaves open is Ray's
@pytest.mark.parametrize("shared", [False, True], ids=["object-store", "shared-folder"])
def test_a_killed_node_costs_an_epoch_at_most_and_the_records_are_those_of_a_serial_campaign(
    tasks: list[Task],
    project: Path,
    cluster_of: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    shared: bool,
) -> None:
    """Beside the four, one run of a wrong configuration: it fails once, by name, and the others go on.

    Where the nodes do not find the driver's token, they have another folder: all goes through Ray without being told.
    """
    nodes = cluster_of({"num_cpus": 0}, NODE, NODE)
    if not shared:
        monkeypatch.setattr(leading, "write_text", lambda path, _: path.parent.mkdir(parents=True, exist_ok=True))
    wrong = replace(tasks[0].run, data=replace(tasks[0].run.data, classes=3))
    wrong = replace(wrong, experiment=replace(wrong.experiment, name="wrong"))
    said: list[str] = []
    killed: list[str] = []
    added: list[str] = []

    def say(line: str) -> None:
        """At the first second epoch: SIGKILL for the node of that run, and a new one in its place."""
        said.append(line)
        if not killed and (found := re.match(r"\[\S+/(\w{6})\] .* epoch +2/", line)):
            killed.append(found[1])
            victim = next(n for n in nodes.worker_nodes if n.node_id.startswith(found[1]))
            nodes.remove_node(victim, allow_graceful=False)
            added.append(nodes.add_node(**NODE).node_id)

    with pytest.raises(NinyError) as failure:
        campaign_on_ray([Task(wrong, 0), *tasks], project, nodes.address, SIMPLE, time.monotonic() + 300, say)
    assert str(failure.value).startswith("1 of 5 runs failed: smoke wrong seed 0: IndexError: Target ")
    assert sum("wrong seed 0" in line for line in said) == 1
    assert killed
    assert any(re.match(rf"\[\S+/{added[0][:6]}\] .* epoch +\d+/", line) for line in said)  # the new one trained
    assert sum("go through Ray from now on" in line for line in said) == (not shared)
    unpacked = list((project / "of-nodes").glob("niny-*/*/data/*/.unpacked-*"))
    assert len({path.parent for path in unpacked}) == len(unpacked)
    assert bool(unpacked) != shared
    check_resumed(said)
    records = [everything(task.folder(project)) for task in tasks]
    assert [len(record["history.csv"]) for record in records] == [EPOCHS] * 4
    assert not list(project.glob(".niny/checkpoints/**/*.ckpt"))
    assert not list(project.glob("results/**/.*.part"))
    campaign(tasks, fresh(project), EXACT, say=silent)
    assert [everything(task.folder(project / "serial")) for task in tasks] == records


def everything(folder: Path) -> dict[str, Any]:
    """All that a record holds, file by file, but for times and for what machine it was."""
    found: dict[str, Any] = {path.name: path.read_bytes() for path in folder.iterdir()}
    rows = list(csv.DictReader(found["history.csv"].decode().splitlines()))
    found["history.csv"] = [{k: v for k, v in row.items() if k not in ("seconds", "energy_joules")} for row in rows]
    metrics = json.loads(found["metrics.json"])
    measured = MEASURED | {"energy_joules", "energy_counted"}
    found["metrics.json"] = {k: v for k, v in metrics.items() if k not in measured}
    about = json.loads(found["environment.json"])
    found["environment.json"] = {k: v for k, v in about.items() if k != "threads"}
    return found


def fresh(project: Path) -> Path:
    """Another project folder with the same data."""
    (project / "serial").mkdir()
    (project / "serial" / "data").symlink_to(project / "data")
    return project / "serial"


def check_resumed(said: list[str]) -> None:
    """No run that was lost began before the epoch that was told of last, and no epoch of any run was told twice."""
    lost = [found for line in said if (found := re.match(r"(smoke \S+ seed \d)  lost on .* after epoch (\d+) ", line))]
    assert any(int(loss[2]) >= 2 for loss in lost)
    for run, epoch in (loss.groups() for loss in lost):
        went_on = [int(m[1]) for line in said if (m := re.search(rf"{run}  goes on after epoch (\d+)", line))]
        assert epoch == "0" or went_on[-1] >= int(epoch), run
    epochs = [found.groups() for line in said if (found := re.search(r"(smoke \S+ seed \d)  epoch +(\d+)/", line))]
    assert len(epochs) == len(set(epochs)) >= 4 * EPOCHS - len(lost)  # the end of one may have gone untold


@needs_ray
@pytest.mark.filterwarnings("ignore")
def test_ctrl_c_leaves_finished_runs_and_checkpoints_and_status_tells(
    project: Path, tasks: list[Task], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["-m", "niny", "campaign", "--scale", "smoke", "--only", *FAST, "--ray", "local", "--ship"]
    words += ["--precision", "float32"]
    with subprocess.Popen(
        [sys.executable, *words],
        cwd=project,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if "epoch 1/" in line)
        time.sleep(1)  # the board follows the news
        assert main(["status", "--scale", "smoke"]) == 0
        records = {}
        for line in process.stderr:  # until one run is recorded and another one is in its midst
            records = {path: path.read_bytes() for path in project.glob("results/smoke/runs/*/*/metrics.json")}
            if records and re.search(r" epoch [23]/", line):
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(60) == 130, rest
    running = capsys.readouterr().out
    assert "on a cluster, led from" in running
    row = rf"^cifar10-cnn-\w+ +[01]  \S+/\w{{6}}  {MOMENT} +[1-7]/{EPOCHS} +{MOMENT} +-$"
    assert re.search(row, running, re.MULTILINE), running
    assert rest.endswith("niny: stopped; finished runs are kept, run the same command again to go on\n")
    assert 0 < len(records) < len(tasks)
    assert list(project.glob(".niny/checkpoints/smoke/**/*.ckpt"))
    for task in tasks:
        with claim_seed(task.run, task.seed, project):  # nobody holds it
            pass
    said: list[str] = []
    assert campaign(tasks, project, EXACT, say=said.append) == []  # the local one goes on from what the cluster left
    assert any("goes on after epoch" in line for line in said)
    assert {path: path.read_bytes() for path in records} == records


@needs_ray
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("machine", "wishes", "epochs", "together"),
    [
        ({"num_cpus": 4, "num_gpus": 1}, replace(SIMPLE, gpus=0.5), EPOCHS, 2),
        ({"num_cpus": 2}, replace(SIMPLE, cpus=2), 2, 1),
    ],
    ids=["half a GPU each", "two CPUs each"],
)
def test_what_a_run_wishes_says_how_many_run_side_by_side(
    project: Path,
    cluster_of: Callable[..., Any],
    machine: dict[str, Any],
    wishes: Wishes,
    epochs: int,
    together: int,
) -> None:
    """And first seeds are trained first."""
    tasks, said = tasks_of_epochs(epochs, project), list[str]()
    campaign_on_ray(tasks, project, cluster_of(machine).address, wishes, time.monotonic() + 200, said.append)
    assert all(task.finished(project) for task in tasks)
    spans = told(said)
    assert max(sum(first <= i <= last for first, last in spans.values()) for i in range(len(said))) == together
    order = [name for name, _ in sorted(spans.items(), key=lambda item: item[1])]
    assert [name.endswith("seed 1") for name in order] == [False, False, True, True]
    assert together > 1 or order == [f"{task.run.experiment.name} seed {task.seed}" for task in tasks]


def told(said: Sequence[str]) -> dict[str, tuple[int, int]]:
    """The numbers of the first and the last line in which a run told of an epoch."""
    spans: dict[str, tuple[int, int]] = {}
    for i, line in enumerate(said):
        if found := re.match(r"\[\S+\] smoke (\S+ seed \d)  epoch ", line):
            spans[found[1]] = (spans.get(found[1], (i, i))[0], i)
    return spans


@dataclass
class OrderBook:
    """Ray as far as the driver asks it: keeps orders as they come, and ends them as a test says."""

    sent: list[int] = field(default_factory=list)  # numbers of runs; an order's reference is its place here
    ended: dict[int, Exception | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        import ray

        self.exceptions = ray.exceptions

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": 2.0}}]

    def remote(self, order: Any, _: Any) -> int:
        self.sent.append(order.number)
        return len(self.sent) - 1

    def wait(self, orders: list[int], timeout: float) -> tuple[list[int], list[int]]:
        return [order for order in orders if order in self.ended], []

    def get(self, order: int) -> dict[str, bytes]:
        if error := self.ended[order]:
            raise error
        return {}

    def lose(self, number: int) -> None:
        """The machine that had the last order of this run is gone."""
        last = len(self.sent) - 1 - self.sent[::-1].index(number)
        self.ended[last] = self.exceptions.WorkerCrashedError()


@pytest.fixture
def led(project: Path) -> Iterator[Driver]:
    """A driver of fourteen runs, seven seeds of two experiments, with two slots in Ray's place."""
    from niny.cluster import node

    tasks = tasks_of(load_params(project), "smoke", FAST, 7)
    driver = Driver(OrderBook(), tasks, project, SIMPLE, Screen(silent, live=False))
    driver.node, driver.gpus, driver.token, driver.ship = node, 0.0, "", False
    driver.remote, driver.mail = driver.ray, SimpleNamespace(get=SimpleQueue().get)
    driver.waiting.extend(range(len(tasks)))
    yield driver
    for number in list(driver.out):
        driver.let_go(number)


@needs_ray
def test_a_lost_run_goes_before_those_that_wait(led: Driver) -> None:
    """Two slots and what is ahead of them are out, in the campaign's order; nothing more leaves until one ends."""
    out = 2 + AHEAD
    led.step()
    assert led.ray.sent == list(range(out))
    assert [led.tasks[number].seed for number in led.ray.sent] == [number // 2 for number in range(out)]
    led.ray.lose(1)
    led.step()
    led.ray.ended[0] = None  # it ended well
    led.step()
    led.step()
    assert led.ray.sent[out:] == [1, out]


@needs_ray
def test_a_run_that_ends_processes_fails_unless_it_gets_on(led: Driver) -> None:
    from niny.cluster.node import News

    led.step()
    row = led.out[0].row

    def lose(times: int) -> None:
        for _ in range(times):
            led.ray.lose(0)
            led.step()  # hears of it
            led.step()  # sends it again

    def reach(epoch: int) -> None:
        led.hear(News(0, row.losses, "line", "here/abcdef", 0.0, epoch, None, {}))

    lose(LOSSES - 1)
    reach(1)
    lose(LOSSES - 1)
    reach(1)  # the same epoch once more is no new one
    assert led.failed == []
    assert row.losses == 2 * (LOSSES - 1)
    led.hear(News(0, 0, "line", "there/abcdef", 0.0, 5, None, {}))  # of a machine that was given up
    assert (row.epoch, row.node) == (1, "here/abcdef")
    lose(1)
    (reason,) = led.failed
    assert reason.startswith(f"smoke cifar10-cnn-fc seed 0: lost {LOSSES} times in a row after epoch 1, the last time")
    assert led.ray.sent.count(0) == 1 + 2 * (LOSSES - 1)
    with claim_seed(led.tasks[0].run, 0, led.root):  # nobody holds it
        pass


def test_a_terminal_shows_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    """What is said stays above it. A log is told of each epoch, and gets a table now and then."""
    rows = [Row("cifar10-nin", 3, 260), Row("cifar10-nin", 4, 260)]
    for live in (True, False):
        screen = Screen(lambda line: print(line, file=sys.stderr), live)
        for shown in (rows, rows[:1], rows):
            screen.next = 0.0
            screen.show(shown)
            screen.show([])  # too soon
        screen.say("something happened")
        screen.progress("an epoch")
        screen.next = 0.0
        screen.show(rows)
        before = [] if live else [*table(rows), *table(rows[:1]), *table(rows)]
        told = ["something happened"] if live else ["something happened", "an epoch"]
        assert on_terminal(capsys.readouterr().err) == [*before, *told, *table(rows)]


def on_terminal(text: str) -> list[str]:
    """The lines that are seen: `ESC [nF ESC [J` goes n lines up and clears what is below."""
    lines: list[str] = []
    for line in text.splitlines():
        while found := re.match(r"\x1b\[(\d+)F\x1b\[J", line):
            del lines[-int(found[1]) :]
            line = line[found.end() :]
        lines.append(line)
    return lines


@pytest.fixture
def on_a_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """niny.cluster.node as on a machine of a cluster."""
    from niny.cluster import node

    here = SimpleNamespace(get_node_id=lambda: "abcdef0123")
    monkeypatch.setattr(node, "ray", SimpleNamespace(get_runtime_context=lambda: here))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "of-nodes"))
    return node


@needs_ray
def test_the_expected_end_follows_the_pace(
    on_a_node: Any, project: Path, tasks: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    """10 s for the first epoch of eight: 70 s to go. Known after one epoch, also after a resume or a new attempt."""
    folder = checkpoints(project, tasks[0].run, 0) / "identity"
    mail: SimpleQueue[Any] = SimpleQueue()
    order = on_a_node.Order(0, 0, tasks[0], project, "", "cpu", "float32", False, 1)
    now = 1000.0
    monkeypatch.setattr(on_a_node.time, "time", lambda: now)

    def reporter() -> Any:
        return on_a_node.Reporter(order, project, mail, ship=False)

    def ends(reporter: Any, later: float, attempt: int, epoch: int) -> tuple[int, float | None]:
        """So much later, an epoch has ended."""
        nonlocal now
        now += later
        path = folder / f"attempt-{attempt}" / f"epoch-{epoch:04}.ckpt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (now, now))
        reporter("a line")
        news = mail.get()
        return news.epoch, news.ends

    first = reporter()
    first("a line")
    assert mail.get().ends is None
    assert ends(first, 10, 0, 1) == (1, 1010 + 70)
    assert ends(first, 20, 0, 2) == (2, 1030 + 90)
    again = reporter()  # after two epochs
    again("goes on")
    assert mail.get().ends is None
    assert ends(again, 5, 0, 3) == (3, 1035 + 25)
    assert ends(again, 5, 1, 1) == (1, None)
    assert ends(again, 5, 1, 2) == (2, 1045 + 30)


@needs_ray
def test_a_node_unpacks_data_once(on_a_node: Any, project: Path, tasks: list[Task]) -> None:
    """Four runs that come at the same time; then another campaign, whose data may be others."""
    files = on_a_node.read_files(project, project / "data" / "digits")
    asked: list[Any] = []
    on_a_node.ray.get = lambda data: asked.append(data) or data
    order = on_a_node.Order(0, 0, tasks[0], project, "token", "cpu", "float32", False, 1, data=files)
    orders = [replace(order, task=task) for task in tasks]
    with ThreadPoolExecutor(len(orders)) as pool:
        (root,) = set(pool.map(on_a_node.unpack, orders))
    assert len(asked) == 1
    assert on_a_node.read_files(root, root / "data" / "digits") == files
    on_a_node.unpack(replace(order, token="another"))
    assert len(asked) == 2


def test_without_ray_one_line_says_what_to_install(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["campaign", "--scale", "smoke", "--ray", "local"]) == 1
    assert capsys.readouterr().err == "niny: --ray needs the package ray: pip install '.[cluster]'\n"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--ray", "local", "--jobs", "2"], "--jobs is for one machine"),
        (["--gpus-per-run", "1"], "--gpus-per-run is for a cluster"),
        (["--ship"], "--ship is for a cluster"),
        (["--ray", "local", "--gpus-per-run", "1.5"], "--gpus-per-run 1.5: a part of one"),
        (["--ray", "local", "--gpus-per-run", "-1"], "--gpus-per-run -1: a part of one"),
        (["--ray", "local", "--gpus-per-run", "nan"], "--gpus-per-run nan: a part of one"),
        (["--ray", "local", "--cpus-per-run", "0"], "--cpus-per-run 0: a part of one"),
        (["--ray", "local", "--cpus-per-run", "inf"], "--cpus-per-run inf: a part of one"),
        (["--ray", "local", "--only", "resnet"], "unknown experiment 'resnet'"),
    ],
)
def test_wrong_words_are_one_line(
    project: Path, capsys: pytest.CaptureFixture[str], words: list[str], complaint: str
) -> None:
    assert main(["campaign", "--scale", "smoke", *words]) == 1
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1


@needs_ray
@pytest.mark.parametrize(
    ("address", "complaint"),
    [("nowhere", "write HOST:PORT"), ("127.0.0.1:1", "nobody answers there"), ("127.0.0.1:99999999", "nobody answers")],
)
def test_an_address_where_no_cluster_is_is_one_line(project: Path, address: str, complaint: str) -> None:
    with pytest.raises(NinyError, match=complaint):
        campaign_on_ray(
            tasks_of(load_params(project), "smoke", FAST, 1), project, address, SIMPLE, time.monotonic() + 60, silent
        )


def test_the_board_tells_who_runs_what_since_when_and_until_when(project: Path) -> None:
    assert describe(project, "smoke") == ""
    rows = [Row("cifar10-nin", 3, 260, "gpu-7/ab12cd", 0.0, 34, 86_400.0, 1), Row("cifar10-nin", 4, 260)]
    write_board(project, "smoke", rows, {"running": 1, "waiting": 5})
    with claim(lock_of(project, "smoke"), "it"):
        text = describe(project, "smoke")
    assert "1 running, 5 waiting" in text
    head, first, second = table(rows)
    assert text.splitlines()[1:] == [head, first, second]
    assert re.search(r"cifar10-nin +3  gpu-7/ab12cd .* 34/260 .* Jan .* 1$", first)
    assert "(not started)" in second
    assert "nothing now" in describe(project, "smoke")  # nobody leads it any more
    assert "2 runs under way" in describe(project, "smoke")
    (project / ".niny" / "cluster" / "smoke.json").write_text("{")
    assert describe(project, "smoke") == ""


def test_status_shows_a_campaign_on_a_cluster(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_board(project, "smoke", [], {"running": 0})
    assert main(["status", "--scale", "smoke"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("on a cluster: nothing now")
    board = json.loads((project / ".niny" / "cluster" / "smoke.json").read_text())
    assert board["counts"] == {"running": 0}
