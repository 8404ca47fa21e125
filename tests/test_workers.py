"""Several workers share a campaign; a bare machine, with torch and numpy alone, can run one."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from test_survival import command, environment
from test_training import EXACT

from niny.cli import main
from niny.config import Params
from niny.errors import NinyError
from niny.training import Compute, workers
from niny.training.campaign import tasks_of
from niny.training.energy import SHARED
from niny.training.runs import claim_seed
from niny.training.workers import describe_jobs, environments, follow, run_workers

CUDA = Compute(torch.device("cuda"), torch.bfloat16)
FAST = ["cifar10-cnn-fc", "cifar10-cnn-gap"]
CAMPAIGN = ["-m", "niny", "campaign", "--scale", "smoke", "--seeds", "1", "--only", *FAST, "--jobs", "2"]

# What `pip install torch numpy` brings, and what the standard library has: all else cannot be imported
BARE = """
import re, sys
from importlib import metadata
from importlib.machinery import PathFinder

def needed(name, known):
    name = re.sub("[-_.]+", "-", name).lower()
    if name not in known:
        known.add(name)
        try:
            lines = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            return known
        for line in lines:
            if "extra ==" not in line:
                needed(re.match(r"[\\w.-]+", line)[0], known)
    return known

there = needed("numpy", needed("torch", set()))
owners = {module: {re.sub("[-_.]+", "-", n).lower() for n in names}
          for module, names in metadata.packages_distributions().items()}

class Bare(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        owned = owners.get(name.partition(".")[0], set()) - {"niny"}
        return PathFinder.find_spec(name, path, target) if not owned or owned & there else None

sys.meta_path[sys.meta_path.index(PathFinder)] = Bare
"""


def test_two_workers_on_a_bare_machine_share_a_campaign(project: Path) -> None:
    """From the source tree, with the parameters of plan.json; every process of it is bare."""
    (project / "bare").mkdir()
    (project / "bare" / "sitecustomize.py").write_text(BARE)
    (project / "params.yaml").write_text("{}")  # without PyYAML nobody reads it
    bare = [project / "bare"]
    for module in ("yaml", "scipy"):
        refused = command(project, "-c", f"import {module}", before=bare)
        assert f"No module named '{module}'" in refused.stderr
    done = command(project, *CAMPAIGN, before=bare)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "2 of 2 runs are recorded\n"
    first, *lines = done.stderr.splitlines()
    assert first.startswith("2 workers, ")
    assert {line[:3] for line in lines} == {"[1]", "[2]"}
    assert sum("epoch 6/6" in line for line in lines) == 2  # each run by one worker
    for name in FAST:
        path = project / "results" / "smoke" / "runs" / name / "seed-0" / "metrics.json"
        assert json.loads(path.read_text())["epochs"] == 6
    status = command(project, "-m", "niny", "status", "--scale", "smoke", before=bare).stdout
    assert sum("recorded 1/2" in line for line in status.splitlines()) == 2


def test_ctrl_c_stops_all_workers_and_keeps_their_checkpoints(project: Path, params: Params) -> None:
    with subprocess.Popen(
        [sys.executable, *CAMPAIGN],
        cwd=project,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background shell has Ctrl-C ignored
    ) as process:
        assert process.stderr is not None
        speakers = set()
        while speakers < {"[1]", "[2]"}:
            line = process.stderr.readline()
            assert line, "the campaign ended by itself"
            speakers |= {line[:3]} & {"[1]", "[2]"}
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(20) == 130
    assert rest.endswith("niny: stopped; finished runs are kept, run the same command again to go on\n")
    for task in tasks_of(params, "smoke", FAST, 1):
        with claim_seed(task.run, 0, project):  # nobody is left who holds it
            assert list(project.glob(f".niny/checkpoints/smoke/{task.run.experiment.name}/**/*.ckpt"))


def test_a_budget_counts_from_the_start_of_the_command(project: Path) -> None:
    """Workers whose time was over before they were there leave everything as it was."""
    done = command(project, *CAMPAIGN, "--budget", "0.1s")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("the budget is spent") == 2
    assert "0 of 2 runs are recorded; 2 are left" in done.stdout
    assert not list(project.glob(".niny/checkpoints/**/*.ckpt"))


def test_a_worker_that_fails_is_named_with_its_reason_and_the_others_go_on(project: Path) -> None:
    said: list[str] = []
    (project / "plan.json").unlink()
    with pytest.raises(NinyError) as failure:
        run_workers(["plan"], [{"NINY_ROOT": str(project / "nowhere")}, {"PYTHONPATH": str(ROOT / "src")}], said.append)
    assert (project / "plan.json").is_file()
    assert "1 of 2 workers failed: worker 1: cannot read" in str(failure.value)
    assert "\n" not in str(failure.value)
    assert said[0].startswith("[1] niny: cannot read")


def test_a_worker_that_is_killed_is_named_with_the_signal() -> None:
    with subprocess.Popen(["sleep", "60"], stderr=subprocess.PIPE, text=True) as worker:
        worker.kill()
        assert follow(3, worker, pytest.fail) == "worker 3 was killed by SIGKILL"


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)


@pytest.mark.usefixtures("two_gpus")
def test_gpus_are_given_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [e["CUDA_VISIBLE_DEVICES"] for e in environments(5, CUDA)] == ["0", "1", "0", "1", "0"]
    assert all(SHARED in e for e in environments(5, CUDA))
    assert not any(SHARED in e for e in environments(2, CUDA))
    assert "up to 3 runs side by side on one" in describe_jobs(5, CUDA)
    assert describe_jobs(2, CUDA) == "2 workers, a CUDA device each"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-0a1b")
    assert [e["CUDA_VISIBLE_DEVICES"] for e in environments(3, CUDA)] == ["3", "GPU-0a1b", "3"]


@pytest.mark.usefixtures("two_gpus")
def test_threads_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environments(3, EXACT) == [{"OMP_NUM_THREADS": "2", SHARED: "1"}] * 3
    assert describe_jobs(3, EXACT) == "3 workers, 2 of the CPU's threads each"
    assert environments(9, EXACT)[0]["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize(
    ("jobs", "complaint"),
    [("0", "at least one worker"), ("-2", "at least one worker"), ("3", "2 cores"), ("99999999999", "2 cores")],
)
def test_wrong_numbers_of_jobs_are_one_line(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], jobs: str, complaint: str
) -> None:
    monkeypatch.setattr(workers.os, "cpu_count", lambda: 2)
    assert main(["campaign", "--scale", "smoke", "--device", "cpu", "--jobs", jobs]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"niny: --jobs {jobs}: ")
    assert complaint in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("words", [["--jobs", "x"], ["--jobs", "1.5"], ["--jobs"], ["--jobs", "1", "2"]])
def test_jobs_that_are_no_number_are_one_line(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["campaign", "--scale", "smoke", *words])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
