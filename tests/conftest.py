"""What several test files need: the repository, and a small project at smoke scale."""

import shutil
from pathlib import Path

import pytest

from niny.config import Params, load_params
from niny.data import fetch

ROOT = Path(__file__).parents[1]
pytest_plugins = ["reliability"]


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
