"""The whole study at smoke scale, in a fresh clone, without network: what `make test` promises."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import nbformat
from conftest import ENVIRONMENT, SCALE, STUDY, call, copy_tree


def digests(clone: Path) -> dict[str, bytes]:
    """Contents of every result that must be the same when the same thing is run again."""
    results = clone / "results" / SCALE
    names = ("metrics.json", "history.csv", "environment.json")
    return {
        str(p.relative_to(clone)): p.read_bytes() for p in results.rglob("*") if p.is_file() and p.name not in names
    }


def test_the_report_is_there_and_says_which_scale_it_is(clone: Path, params: Any) -> None:
    text = (clone / "results" / SCALE / "report.html").read_text()
    assert "smoke" in text.lower()
    assert "not a reproduction" in text.lower()


def test_every_run_of_the_scale_has_a_record(clone: Path, params: Any) -> None:
    for experiment in params.experiments_at(SCALE):
        for seed in range(params.scales[SCALE].seeds):
            folder = clone / "results" / SCALE / "runs" / experiment.name / f"seed-{seed}"
            assert json.loads((folder / "metrics.json").read_text())["seed"] == seed


def test_a_second_run_has_nothing_to_do(clone: Path) -> None:
    assert "up to date" in call(clone, "dvc", "repro", *STUDY)


def test_executed_notebooks_are_readable_records(clone: Path) -> None:
    paths = sorted((clone / "results" / SCALE / "notebooks").glob("*.ipynb"))
    assert {p.name.split("-")[1].removesuffix(".ipynb") for p in paths} == {
        "train",
        "tables",
        "confidence",
        "attribution",
        "report",
        "explore",
    }
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        assert all(c.execution_count for c in notebook.cells if c.cell_type == "code")


def test_maps_are_drawn_again_from_recorded_scores(clone: Path, tmp_path: Path) -> None:
    name, experiment = "04-confidence-maps", "cifar10-nin"
    recorded = clone / "results" / SCALE / "maps" / f"{experiment}.json"
    before, again = recorded.stat().st_mtime_ns, tmp_path / "again.ipynb"
    words = ("niny", "notebook", "run", f"build/notebooks/{name}.ipynb", str(again))
    words += (f"scale={SCALE}", f"experiment={experiment}", "score=false")
    call(clone, *words)
    scored = nbformat.read(clone / "results" / SCALE / "notebooks" / f"{name}-{experiment}.ipynb", as_version=4)
    outputs = [[cell.get("outputs") for cell in book.cells] for book in (scored, nbformat.read(again, as_version=4))]
    assert outputs[0] == outputs[1]
    assert recorded.stat().st_mtime_ns == before
    recorded.rename(tmp_path / "away.json")
    done = subprocess.run(words, cwd=clone, capture_output=True, text=True, env=ENVIRONMENT)
    (tmp_path / "away.json").rename(recorded)
    assert done.returncode != 0
    assert f"no scores of {experiment} are recorded at scale {SCALE}" in done.stderr


def test_running_and_saving_a_notebook_in_jupyterlab_retrains_nothing(clone: Path) -> None:
    """Without our save hook the source does change: then the clean copy is made again, and it is the same."""
    source = clone / "notebooks" / "02-train.ipynb"
    before = source.read_bytes()
    executed = nbformat.read(clone / "results" / SCALE / "notebooks" / "02-train-cifar10-nin.ipynb", as_version=4)
    notebook = nbformat.read(source, as_version=4)
    ran = {c.source: c.outputs for c in executed.cells if c.cell_type == "code"}
    for cell in (c for c in notebook.cells if c.cell_type == "code"):
        cell.outputs, cell.execution_count = ran[cell.source], 7
    assert any(cell.get("outputs") for cell in notebook.cells)
    nbformat.write(notebook, source)
    said = call(clone, "dvc", "repro", *STUDY)
    assert "Running stage 'sources'" in said
    assert said.count("Running stage") == 1
    source.write_bytes(before)


def test_a_stage_that_fails_loses_nothing(clone: Path) -> None:
    page = clone / "results" / SCALE / "report.html"
    before = page.read_bytes()
    source = clone / "notebooks" / "06-report.ipynb"
    good = source.read_text()
    source.write_text(good.replace("page = write_report", "page = 1 / 0  # write_report"))
    done = subprocess.run(
        ["dvc", "repro", "--quiet", f"report@{SCALE}"], cwd=clone, capture_output=True, text=True, env=ENVIRONMENT
    )
    assert done.returncode != 0
    assert "ZeroDivisionError" in done.stderr
    assert page.read_bytes() == before
    source.write_text(good)
    call(clone, "dvc", "repro", "--quiet", *STUDY)


def test_records_made_elsewhere_are_taken_over(clone: Path, tmp_path: Path) -> None:
    """Copied into a fresh clone, they are what DVC's stage leaves: nothing is trained."""
    here, name = copy_tree(tmp_path / "niny"), "cifar10-cnn-gap"
    runs = f"results/{SCALE}/runs/{name}"
    shutil.copytree(clone / runs, here / runs)
    call(here, "dvc", "repro", "--quiet", f"train@{SCALE}-{name}")
    for path in (clone / runs).rglob("*.*"):
        assert (here / path.relative_to(clone)).read_bytes() == path.read_bytes()


def test_what_is_run_again_gives_the_same_bytes(clone: Path) -> None:
    """From the data to the report, retraining included. Only times may differ, so what shows them is left out."""
    names = ("report.html", "README.md", "article.md", *(f"tables/{t}.csv" for t in ("runs", "cost", "reproduce")))
    shown = {f"results/{SCALE}/{name}" for name in names}
    before = digests(clone)
    results = clone / "results" / SCALE
    shutil.rmtree(results / "runs" / "cifar10-nin")
    for path in results.rglob("*-cifar10-nin.*"):
        path.unlink()
    for folder in (clone / "data", clone / "build", clone / "results" / "data", results / "tables"):
        shutil.rmtree(folder)
    (results / "notebooks" / "06-report.ipynb").unlink()
    call(clone, "dvc", "repro", "--quiet", *STUDY)
    after = digests(clone)
    assert set(before) == set(after)
    assert [name for name in before if name not in shown and before[name] != after[name]] == []
