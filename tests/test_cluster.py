"""A campaign over Ray: several nodes, one killed, one added; the records are those of a serial campaign."""

import csv
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from test_survival import MEASURED, environment
from test_training import EXACT, silent

from niny.cli import main
from niny.cluster.board import Row, describe, lock_of, table, write_board
from niny.cluster.driver import Wishes, campaign_on_ray
from niny.config import load_params
from niny.errors import NinyError
from niny.training.campaign import Task, campaign, tasks_of
from niny.training.lock import claim
from niny.training.runs import claim_seed

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed: pip install '.[cluster]'")
FAST = ["cifar10-cnn-fc", "cifar10-cnn-gap"]
SIMPLE = Wishes(cpus=1, device="cpu", precision="float32")
EPOCHS = 8
NODE: dict[str, Any] = {"num_cpus": 2, "object_store_memory": 100 * 2**20}


@pytest.fixture
def tasks(project: Path) -> list[Task]:
    """Four runs of eight epochs: long enough to be killed in the midst."""
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("phases: [[5, 1.0], [1, 0.1]]", f"phases: [[{EPOCHS}, 1.0]]"))
    return tasks_of(load_params(project), "smoke", FAST, 2)


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A real cluster: a head that takes no runs and two nodes that take two each, all processes of their own."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    from ray.cluster_utils import Cluster

    head = {**NODE, "num_cpus": 0, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(2):
            made.add_node(**NODE)
        yield made
    finally:
        made.shutdown()


@needs_ray
@pytest.mark.filterwarnings("ignore")  # what Ray leaves open is Ray's
@pytest.mark.parametrize("ship", [True, False], ids=["object-store", "shared-folder"])
def test_a_killed_node_costs_an_epoch_at_most_and_the_records_are_those_of_a_serial_campaign(
    tasks: list[Task], project: Path, nodes: Any, ship: bool
) -> None:
    """Beside the four, one run of a wrong configuration: it fails once, by name, and the others go on."""
    wrong = replace(tasks[0].run, data=replace(tasks[0].run.data, classes=3))
    wrong = replace(wrong, experiment=replace(wrong.experiment, name="wrong"))
    said: list[str] = []
    killed: list[str] = []

    def say(line: str) -> None:
        """At the first second epoch: SIGKILL for the node of that run, and a new one in its place."""
        said.append(line)
        if not killed and (found := re.match(r"\[\S+/(\w{6})\] .* epoch +2/", line)):
            killed.append(found[1])
            victim = next(n for n in nodes.worker_nodes if n.node_id.startswith(found[1]))
            nodes.remove_node(victim, allow_graceful=False)
            nodes.add_node(**NODE)
            said.append(describe(project, "smoke"))

    with pytest.raises(NinyError) as failure:
        campaign_on_ray(
            [Task(wrong, 0), *tasks], project, nodes.address, replace(SIMPLE, ship=ship), time.monotonic() + 300, say
        )
    assert str(failure.value).startswith("1 of 5 runs failed: smoke wrong seed 0: IndexError: Target ")
    assert sum("wrong seed 0" in line for line in said) == 1
    assert killed
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
def test_ctrl_c_leaves_finished_runs_and_checkpoints_and_status_tells(project: Path, tasks: list[Task]) -> None:
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
        for line in process.stderr:
            if "epoch 3/" in line:
                break
        time.sleep(1)  # the board follows the news
        running = describe(project, "smoke")
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(60) == 130, rest
    assert "on a cluster, led from" in running
    assert re.search(rf"cifar10-cnn-\w+ +[01]  \S+/\w+ .* \d+/{EPOCHS} ", running)
    assert rest.endswith("niny: stopped; finished runs are kept, run the same command again to go on\n")
    assert list(project.glob(".niny/checkpoints/smoke/**/*.ckpt"))
    for task in tasks:
        with claim_seed(task.run, task.seed, project):  # nobody holds it
            pass
    said: list[str] = []
    assert campaign(tasks, project, EXACT, say=said.append) == []  # the local one goes on from what the cluster left
    assert any("goes on after epoch" in line for line in said)


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
