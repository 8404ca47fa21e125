"""SIGKILL at random moments: what bears its name is whole, and one plain rerun ends as if nothing had been."""

import csv
import json
import os
import random
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import nbformat
import pytest
from conftest import ROOT
from processes import Work, killed, moments, notebook, prepare, report, said, start, temporary, train, whole
from reliability import Tally

import niny.files
from niny.files import scratch_lock
from niny.notebooks import execute

MEASURED = {"training_seconds", "images_per_second", "energy_joules", "energy_counted", "seconds"}
BETWEEN = 3  # kills at most before the plain rerun
Found = dict[str, Any]


def files(root: Path) -> Found:
    """What everything under data/ and results/ says, by path; what is hidden is not there. Of a run, times apart."""
    paths = [path for folder in ("data", "results") for path in (root / folder).rglob("*") if path.is_file()]
    named = {str(path.relative_to(root)): path for path in paths}
    return {name: said_by(path) for name, path in named.items() if not any(p.startswith(".") for p in Path(name).parts)}


def said_by(path: Path) -> Any:
    if path.name == "metrics.json":
        return {key: value for key, value in json.loads(path.read_text()).items() if key not in MEASURED}
    if path.name == "history.csv":
        rows = csv.DictReader(path.read_text().splitlines())
        return [{key: value for key, value in row.items() if key not in MEASURED} for row in rows]
    return path.read_bytes()


def strays(root: Path) -> list[str]:
    """Temporary files and folders, and processes that still work in `root`."""
    paths = [p for folder in ("data", "results", "build") for p in (root / folder).rglob(".*")]
    paths += [p for p in (root / ".niny").rglob("*") if p.is_file() and "locks" not in p.parts]
    paths += [p for p in temporary(root).glob("*") if not p.name.startswith("torchinductor_")]  # torch's cache is meant
    return [str(path) for path in paths] + [f"process {pid}" for pid in at_work(root)]


def at_work(root: Path) -> list[str]:
    def folder(process: Path) -> str:
        try:
            return str((process / "cwd").readlink())
        except OSError:  # it has just ended, or is not ours
            return ""

    return [process.name for process in Path("/proc").glob("[0-9]*") if folder(process) == str(root)]


@dataclass(frozen=True)
class Stage:
    """`work` with what it makes; `forget` takes that away again, so that a kill has something to fall into."""

    work: Work
    forget: Callable[[Path], None]


def forget(*names: str) -> Callable[[Path], None]:
    def remove(root: Path) -> None:
        for name in names:
            shutil.rmtree(root / name, ignore_errors=True)

    return remove


def forget_report(root: Path) -> None:
    for path in (root / "results" / "smoke").iterdir():
        if path.name != "runs":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


DATA = Stage(prepare, forget("data"))
TRAINING = Stage(train, forget("results/smoke/runs", ".niny"))
REPORT = Stage(report, forget_report)
STAGES = {
    "data": DATA,
    "training": TRAINING,
    "report": REPORT,
    "01-data": Stage(notebook, forget("results/notebooks", "data")),
    "02-train": Stage(partial(notebook, name="02-train"), forget("results/notebooks", "results/smoke/runs", ".niny")),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty project with the notebooks' sources."""
    return fill(tmp_path / "project")


def fill(root: Path) -> Path:
    root.mkdir()
    for name in ("params.yaml", "plan.json", "claims.yaml", "CITATION.cff"):
        shutil.copy(ROOT / name, root / name)
    shutil.copytree(ROOT / "notebooks", root / "notebooks")
    return root


def kill_and_rerun(stage: Stage, root: Path, wanted: int) -> int:
    """Kill the stage until so many kills met it at work, with one plain rerun after every few; how many were tried."""
    whole(Path.exists, root)  # which loads what is loaded once
    stage.forget(root)
    seconds = whole(stage.work, root)
    undisturbed = files(root)
    met, tried, dice = 0, 0, random.Random(wanted)
    while met < wanted:
        assert tried < 4 * wanted + 8, f"only {met} of {tried} kills met the work"
        stage.forget(root)
        for moment in moments(seconds, min(BETWEEN, wanted - met), dice):
            met += killed(stage.work, root, moment)
            tried += 1
            wait_for_kernels(root)
            torn = {name: content for name, content in files(root).items() if undisturbed.get(name) != content}
            assert not torn, f"after {moment:.2f} s: {list(torn)}"
        whole(stage.work, root)
        assert files(root) == undisturbed
        assert strays(root) == []
    return tried


def wait_for_kernels(root: Path) -> None:
    """The system ends the kernel of a killed process with it; that takes a moment where it writes to the disk."""
    patience = time.monotonic() + 30
    while at_work(root) and time.monotonic() < patience:
        time.sleep(0.1)
    assert at_work(root) == []


def test_data_preparation_training_and_report_survive_kills(folder: Path) -> None:
    for stage, met in ((DATA, 2), (replace(TRAINING, work=partial(train, seeds=(0,))), 2), (REPORT, 1)):
        assert kill_and_rerun(stage, folder, met) >= met


def test_an_executed_copy_that_was_half_written_is_none(folder: Path) -> None:
    """The kill falls into the writing itself, which is too short to be met at random."""
    whole(short_notebook, folder)
    undisturbed, copy = files(folder), folder / "results" / "short.ipynb"
    copy.unlink()
    process = start(short_notebook, folder, before=stop_in_mid_write)
    kill_when_it_says_so(process, folder)
    half = copy.with_name(".short.ipynb.part").read_bytes()
    assert undisturbed["results/short.ipynb"].startswith(half)
    assert 0 < len(half) < len(undisturbed["results/short.ipynb"])
    assert not copy.exists()
    (folder / "started").unlink()
    whole(short_notebook, folder)
    assert files(folder) == undisturbed
    assert strays(folder) == []


def stop_in_mid_write() -> None:
    """Of the executed copy, half is on the disk: say so, and wait for the kill."""

    def stop(path: Path) -> None:
        if path.name == ".short.ipynb.part":
            os.truncate(path, path.stat().st_size // 2)
            Path("started").touch()
            time.sleep(600)

    niny.files._sync = stop


def short_notebook(root: Path) -> None:
    run_code(root, "short", "print(6 * 7)")


def test_a_killed_download_leaves_nothing_for_long(folder: Path) -> None:
    """Whatever moment the kill fell into: what it left is gone after the next call, even if that has nothing to do."""
    whole(prepare, folder)
    left = folder / "data" / ".fetch-digits" / "half"
    left.mkdir(parents=True)
    scratch_lock(left.parent).touch()
    (left / "digits.bin").write_bytes(b"half")
    (folder / "data" / "digits" / ".digits.bin.part").write_bytes(b"half")
    (folder / "data" / "digits" / "digits.bin").unlink()
    whole(prepare, folder)
    assert strays(folder) == []
    left.mkdir(parents=True)
    scratch_lock(left.parent).touch()
    whole(prepare, folder)
    assert strays(folder) == []


def test_the_kernel_of_a_killed_run_ends_with_it(folder: Path) -> None:
    """Else it would go on training, and the rerun would find its run held."""
    kill_when_it_says_so(start(wait_in_notebook, folder), folder, at_work_then=2)
    wait_for_kernels(folder)


def kill_when_it_says_so(process: ForkServerProcess, root: Path, at_work_then: int | None = None) -> None:
    while not (root / "started").exists():
        assert process.is_alive(), said(process)
        time.sleep(0.1)
    assert at_work_then in (None, len(at_work(root)))
    process.kill()
    process.join()


def wait_in_notebook(root: Path) -> None:
    run_code(root, "long", "import time\nopen('started', 'w').close()\ntime.sleep(600)")


def run_code(root: Path, name: str, code: str) -> None:
    """Execute a notebook of one cell."""
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)]), root / f"{name}.ipynb")
    execute(root / f"{name}.ipynb", root / "results" / f"{name}.ipynb", {})


@pytest.mark.torture("killed")
def test_fifty_kills(folder: Path, tally: Tally) -> None:
    kill_all(folder, tally, {"data": 12, "training": 13, "report": 12, "01-data": 6, "02-train": 7})


def kill_all(root: Path, tally: Tally, wanted: Mapping[str, int]) -> None:
    missed = 0
    for name, met in wanted.items():
        missed += kill_and_rerun(STAGES[name], root, met) - met
        tally.count += met
    where = ", ".join(f"{name} {met}" for name, met in wanted.items())
    tally.found = f"all met the work ({where}; {missed} more came too late for it); "
    tally.found += "every rerun ended with the bytes of an undisturbed run"
