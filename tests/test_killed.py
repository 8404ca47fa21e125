"""SIGKILL at random moments: what bears its name is whole, and one plain rerun ends as if nothing had been."""

import csv
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
import pytest
from conftest import ROOT
from processes import Work, killed, moments, notebook, prepare, report, said, start, temporary, train, whole
from reliability import Tally

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
NOTEBOOK = Stage(notebook, forget("results/data"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty project with the notebooks' sources."""
    return fill(tmp_path / "project")


def fill(root: Path) -> Path:
    root.mkdir()
    for name in ("params.yaml", "plan.json", "claims.yaml"):
        shutil.copy(ROOT / name, root / name)
    shutil.copytree(ROOT / "notebooks", root / "notebooks")
    return root


def kill_and_rerun(stage: Stage, root: Path, number: int) -> int:
    """Kill the stage so many times, with one plain rerun after every few; how many kills met it at work."""
    whole(stage.work, root)  # which loads what is loaded once
    stage.forget(root)
    seconds = whole(stage.work, root)
    undisturbed = files(root)
    met = 0
    times = moments(seconds, number)
    for first in range(0, number, BETWEEN):
        stage.forget(root)
        for moment in times[first : first + BETWEEN]:
            met += killed(stage.work, root, moment)
            torn = {name: content for name, content in files(root).items() if undisturbed.get(name) != content}
            assert not torn, f"after {moment:.2f} s: {list(torn)}"
        whole(stage.work, root)
        assert files(root) == undisturbed
        assert strays(root) == []
    return met


def test_data_preparation_training_and_report_survive_kills(folder: Path) -> None:
    assert kill_and_rerun(DATA, folder, 2)
    assert kill_and_rerun(replace(TRAINING, work=partial(train, seeds=(0,))), folder, 2)
    kill_and_rerun(REPORT, folder, 1)


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
    process = start(wait_in_notebook, folder)
    while not (folder / "started").exists():
        assert process.is_alive(), said(process)
        time.sleep(0.1)
    assert len(at_work(folder)) == 2
    process.kill()
    process.join()
    patience = time.monotonic() + 30
    while at_work(folder) and time.monotonic() < patience:
        time.sleep(0.1)
    assert at_work(folder) == []


def wait_in_notebook(root: Path) -> None:
    code = "import time\nopen('started', 'w').close()\ntime.sleep(600)"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)]), root / "long.ipynb")
    execute(root / "long.ipynb", root / "results" / "long.ipynb", {})


@pytest.mark.torture("killed")
def test_fifty_kills(folder: Path, tally: Tally) -> None:
    met = {}
    for stage, number in ((DATA, 15), (TRAINING, 15), (REPORT, 12), (NOTEBOOK, 8)):
        met[stage.work.__name__] = kill_and_rerun(stage, folder, number)
        tally.count += number
    assert all(met.values())
    where = ", ".join(f"{name} {number}" for name, number in met.items())
    tally.found = f"{sum(met.values())} met the work ({where}); every rerun ended with the bytes of an undisturbed run"
