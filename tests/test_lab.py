"""`make lab`: the start page, the kernel, and every notebook run top to bottom through JupyterLab's own server."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, SCALE, STUDY, call
from jupyterlab import Lab, make_lab

from niny.notebooks import declared_parameters, read

SOURCES = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
SMALL = {  # what a reader who wants the small study writes into a parameters cell
    "scale": SCALE,
    "dataset": "digits",
    "weights": f"../results/{SCALE}/runs/cifar10-nin/seed-0/weights.safetensors",
}


@pytest.fixture(scope="module")
def lab(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab for a user who prefers another kernel that is called python3 as well, and which does not start.

    The study is up to date before it opens, whatever other tests did with the clone.
    """
    call(clone, "dvc", "repro", *STUDY)
    user = tmp_path_factory.mktemp("user")
    kernel = {"argv": ["/bin/false"], "display_name": "Other", "language": "python"}
    (user / "data/kernels/python3").mkdir(parents=True)
    (user / "data/kernels/python3/kernel.json").write_text(json.dumps(kernel))
    with make_lab(clone, user, JUPYTER_DATA_DIR=str(user / "data"), JUPYTER_PREFER_ENV_PATH="0") as running:
        yield running


def test_it_opens_on_the_start_page_rendered(lab: Lab) -> None:
    assert str(lab.ask("")).partition("?")[0].endswith("/lab/tree/notebooks/README.md")
    settings = lab.ask("lab/api/settings/@jupyterlab/docmanager-extension:plugin")
    assert json.loads(settings["raw"] or "{}") == {}, "the user of this test has settings"
    assert settings["schema"]["properties"]["defaultViewers"]["default"] == {"markdown": "Markdown Preview"}


def test_the_start_page_names_every_notebook_in_reading_order(lab: Lab) -> None:
    page = lab.ask("api/contents/notebooks/README.md")["content"]
    assert re.findall(r"\]\((\d\d-[\w-]+\.ipynb)\)", page) == SOURCES
    for path in re.findall(r"\]\(([\w./-]+)\)", page):
        assert (ROOT / "notebooks" / path).exists() or "/demo/" in path, path


@pytest.mark.parametrize("name", SOURCES)
def test_a_reader_runs_it_top_to_bottom_and_saves_it(lab: Lab, clone: Path, name: str) -> None:
    path = f"notebooks/{name}"
    source = (clone / path).read_bytes()
    given = {key: value for key, value in SMALL.items() if key in declared_parameters(clone / path)}
    model = lab.ask(f"api/contents/{path}")
    shown: list[Any] = []
    with lab.session(path) as kernel:
        assert kernel.run("import sys; print(sys.prefix)")[0].text.strip() == sys.prefix
        for count, cell in enumerate(c for c in model["content"]["cells"] if c["cell_type"] == "code"):
            cell["outputs"], cell["execution_count"] = kernel.run(cell["source"]), count + 1
            shown += cell["outputs"]
            if "parameters" in cell["metadata"].get("tags", []):
                kernel.run("\n".join(f"{key} = {value!r}" for key, value in given.items()))
    lab.ask(f"api/contents/{path}", "PUT", model)
    assert shown
    assert (clone / path).read_bytes() == source


def test_what_readers_ran_and_saved_makes_nothing_stale(lab: Lab, clone: Path) -> None:
    """What their runs wrote otherwise than before is made again; nothing is prepared or trained again."""
    said = call(clone, "dvc", "repro", *STUDY)
    assert "Stage 'sources' didn't change" in said, said
    assert not {"sources", "data", "train"} & set(re.findall(r"Running stage '(\w+)", said)), said


def test_a_scratch_notebook_keeps_its_outputs(lab: Lab, clone: Path) -> None:
    executed = clone / "results" / SCALE / "notebooks" / "03-tables.ipynb"
    model = lab.ask(f"api/contents/{executed.relative_to(clone)}")
    lab.ask("api/contents/scratch.ipynb", "PUT", model)
    assert any(cell.get("outputs") for cell in read(clone / "scratch.ipynb").cells)
    (clone / "scratch.ipynb").unlink()
