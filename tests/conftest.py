"""What several test files need: the repository, a small project at smoke scale, and the whole study at that scale."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

if not torch.cuda.is_available():  # kernels for a GPU run interpreted: Triton must know when it is first imported
    os.environ.setdefault("TRITON_INTERPRET", "1")

from niny.config import Params, load_params
from niny.data import fetch

ROOT = Path(__file__).parents[1]
pytest_plugins = ["reliability"]
SCALE = "smoke"
ON_THE_CLONE = ("test_dvc", "test_lab", "test_study")  # files whose tests share the fixture `clone`
STUDY = (f"report@{SCALE}", f"metrics@{SCALE}")  # what `make study` asks DVC for, at the scale of the tests
# one thread: slivers of networks gain nothing from more, and lose much where another program wants the other core
ENVIRONMENT = {**os.environ, "NINY_ROOT": "", "OMP_NUM_THREADS": "1"}


def call(folder: Path, *words: str) -> str:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def copy_tree(folder: Path) -> Path:
    """A clone of the working tree, committed or not."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem in ON_THE_CLONE, reverse=True)  # they take longest


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Where several processes share the tests, those on the one clone stay together, and those of a file, too."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            stem = Path(nodeid.partition("::")[0]).stem
            return "clone" if stem in ON_THE_CLONE else stem

    return ByFile(config, log)


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of the working tree (committed or not) in which the study was reproduced at smoke scale."""
    folder = copy_tree(tmp_path_factory.mktemp("study") / "niny")
    (folder / "dvc.lock").unlink()  # DVC writes all of it after every stage, which takes longer than many a stage
    call(folder, "dvc", "repro", "--quiet", *STUDY)
    return folder


@pytest.fixture(scope="session")
def params() -> Params:
    return load_params(ROOT)


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that holds the embedded digits."""
    folder = tmp_path_factory.mktemp("store")
    fetch("digits", folder, say=lambda _: None)
    return folder


@pytest.fixture
def project(tmp_path: Path, digits_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project with this repository's parameters and the digits; commands run in it."""
    for name in ("params.yaml", "plan.json", "claims.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(digits_folder, tmp_path / "data")
    monkeypatch.delenv("NINY_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path
