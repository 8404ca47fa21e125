"""`niny notebook time`: what the tables of notebooks show was measured, on what `make study` left."""

import json
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT
from PIL import Image
from test_notebooks import code, lay_out, save, text

from niny import timing
from niny.cli import main

SLEEP = "import time; time.sleep(0.3)"
DRAW = "import matplotlib.pyplot as plt\nfor width in (16, 2):\n    plt.figure(figsize=(width, 2))\n    plt.plot([1])"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two notebooks, and a demo study as far as this command looks at it."""
    lay_out(tmp_path)
    monkeypatch.setenv("NINY_ROOT", str(tmp_path))
    save(tmp_path / "notebooks/02-train.ipynb", text("# Q?"), code(DRAW))
    (tmp_path / "results/demo").mkdir(parents=True)
    (tmp_path / "results/demo/report.html").touch()
    return tmp_path


def test_times_and_first_pictures_are_kept(root: Path) -> None:
    save(root / "notebooks/01-data.ipynb", text("# Q?"), code(SLEEP))
    sources = {path: path.read_bytes() for path in (root / "notebooks").glob("*.ipynb")}
    stale = root / "notebooks/pictures/01-data.svg"
    stale.parent.mkdir()
    stale.touch()
    assert main(["notebook", "time"]) == 0
    found = json.loads((root / "notebooks/times.json").read_text())
    assert set(found["seconds"]) == {"01-data", "02-train"}
    assert found["seconds"]["01-data"] > 0.3
    assert found["machine"]["cores"]
    assert [path.name for path in (root / "notebooks/pictures").iterdir()] == ["02-train.png"]
    with Image.open(root / "notebooks/pictures/02-train.png") as picture:
        assert picture.width == timing.WIDTH
        assert picture.height < picture.width
    assert {path: path.read_bytes() for path in sources} == sources


def test_a_notebook_that_fails_leaves_the_old_times(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "notebooks/times.json").write_text("old")
    save(root / "notebooks/03-bad.ipynb", text("# Q?"), code("1 / 0"))
    assert main(["notebook", "time"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert (root / "notebooks/times.json").read_text() == "old"
    assert not (root / "notebooks/pictures").exists()


def test_without_a_demo_study_the_remedy_is_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "results/demo/report.html").unlink()
    assert main(["notebook", "time"]) == 1
    assert "run make study first" in capsys.readouterr().err


def test_a_drawing_is_kept_as_it_is(tmp_path: Path) -> None:
    cell = code("draw")
    cell.outputs = [nbformat.v4.new_output("display_data", {"image/svg+xml": "<svg/>"})]
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "03.ipynb")
    timing.keep_picture(tmp_path / "03.ipynb", tmp_path)
    assert (tmp_path / "03.svg").read_text() == "<svg/>"


def test_every_notebook_of_the_study_was_timed_and_takes_less_than_three_minutes() -> None:
    seconds = json.loads((ROOT / "notebooks/times.json").read_text())["seconds"]
    assert sorted(seconds) == sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert max(seconds.values()) < 180
