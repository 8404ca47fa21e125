"""The study for people who live in DVC: metrics, plots and experiments say what the records say."""

import ast
import csv
import json
import re
import shlex
import shutil
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import yaml
from conftest import ROOT, SCALE, call
from planted import IMAGES, plant, project, study_params

from niny.cli import main
from niny.config import Params
from niny.evaluation.tracking import write_tracked

PLOTS = ROOT / ".dvc" / "plots"


def records(clone: Path, experiment: str) -> list[dict[str, Any]]:
    return [
        json.loads(path.read_text())
        for path in sorted((clone / "results" / SCALE / "runs" / experiment).glob("seed-*/metrics.json"))
    ]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_metrics_are_those_of_the_records(clone: Path, params: Params) -> None:
    said = json.loads(call(clone, "dvc", "metrics", "show", "--json"))[""]["data"]
    for experiment in params.experiments_at(SCALE):
        shown = said[f"results/{SCALE}/dvc/metrics/{experiment.name}.json"]["data"]
        found = records(clone, experiment.name)
        for name in ("test_error", "train_error"):
            assert shown[name] == pytest.approx(fmean(record[name] for record in found), abs=1e-4)
        assert shown["runs"] == len(found)


def test_plots_are_those_of_the_records(clone: Path, params: Params) -> None:
    curves, errors = (f"results/{SCALE}/dvc/{name}.csv" for name in ("curves", "errors"))
    vega = json.loads(call(clone, "dvc", "plots", "show", "--show-vega", curves))
    shown = {(p["experiment"], p["run"], p["epoch"], p["images"]): float(p["error"]) for p in vega["data"]["values"]}
    for experiment in params.experiments_at(SCALE):
        for seed, folder in enumerate(sorted((clone / params.run(SCALE, experiment.name).folder).glob("seed-*"))):
            for row in (row for row in table(folder / "history.csv") if row["test_error"]):  # looked at now and then
                assert shown[experiment.name, str(seed), row["epoch"], "test"] == float(row["test_error"])
                assert shown[experiment.name, str(seed), row["epoch"], "train"] == float(row["train_error"])
    call(clone, "dvc", "plots", "show", curves, errors, "--out", "build/plots")
    page = (clone / "build/plots/index.html").read_text()
    assert page.count("vegaEmbed(") == 2
    assert f"Test errors, {SCALE} scale" in page


def test_every_experiment_that_has_finished_runs_is_written_and_no_other(tmp_path: Path) -> None:
    params, root = study_params(), project(tmp_path / "project")
    for seed, error in enumerate((10.0, 12.0)):
        plant(root, params.run("full", "cifar10-nin"), seed, error)
    collapsed = plant(root, params.run("full", "cifar10-nin-fc"), 0, 90.0, collapsed=True)
    folder = write_tracked(params, "full", root)
    assert json.loads((folder / "metrics/cifar10-nin.json").read_text())["test_error"] == 11.0
    assert [path.stem for path in (folder / "metrics").iterdir()] == ["cifar10-nin"]
    assert {row["experiment"] for row in table(folder / "curves.csv")} == {"cifar10-nin"}
    sources = [(row["source"], float(row["error"])) for row in table(folder / "errors.csv")]
    assert sources == [("this study", 10.0), ("this study", 12.0), ("paper", 10.41)]
    plant(root, params.run("full", "cifar10-cnn-gap"), 0, 20.0)
    shutil.rmtree(collapsed.parents[1] / "cifar10-nin")
    write_tracked(params, "full", root)
    assert [path.stem for path in (folder / "metrics").iterdir()] == ["cifar10-cnn-gap"]


@pytest.mark.parametrize(
    ("scale", "complaint"), [("huge", "unknown scale 'huge'"), ("paper", "no finished run is recorded at scale paper")]
)
def test_a_scale_without_numbers_is_one_line(
    tmp_path: Path, monkeypatch: Any, capsys: Any, scale: str, complaint: str
) -> None:
    monkeypatch.chdir(project(tmp_path / "project"))
    assert main(["metrics", "--scale", scale]) == 1
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1
    assert not Path("results").exists()


def test_a_damaged_record_is_named_and_the_old_numbers_stay(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    params, root = study_params(), project(tmp_path / "project")
    monkeypatch.chdir(root)
    record = plant(root, params.run("short", "cifar10-nin"), 0, 20.0, test_images=IMAGES)
    assert main(["metrics", "--scale", "short"]) == 0
    before = (root / "results/short/dvc/errors.csv").read_bytes()
    (record / "metrics.json").write_text("{")
    assert main(["metrics", "--scale", "short"]) == 1
    assert "metrics.json is damaged" in capsys.readouterr().err
    assert (root / "results/short/dvc/errors.csv").read_bytes() == before


@pytest.mark.parametrize("path", sorted(PLOTS.glob("*.json")), ids=lambda path: path.stem)
def test_templates_draw_columns_that_are_written(path: Path, clone: Path) -> None:
    encoding = json.loads(path.read_text())["encoding"]
    columns = table(clone / "results" / SCALE / "dvc" / f"{path.stem}.csv")[0].keys() | {"rev"}
    assert {part["field"] for part in encoding.values()} <= columns


# --- the README's example ---------------------------------------------------------------------------------------------


def example() -> tuple[list[list[str]], str]:
    """The commands of README's example, and the table that it shows as what `dvc exp show` printed."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    ((commands, shown),) = re.findall(r"```\n((?:[^`]+\n)?dvc exp run [^`]+)```\n+((?:\|.*\n)+)", text)
    return [shlex.split(line, comments=True) for line in commands.splitlines()], shown


@pytest.fixture
def committed(clone: Path, tmp_path: Path) -> Path:
    """The study as a user has it who cloned the repository and reproduced the scale: dvc.lock is changed, no more."""
    copy = tmp_path / "niny"
    shutil.copytree(clone, copy, symlinks=True, ignore=shutil.ignore_patterns(".venv"))
    reproduced = (copy / "dvc.lock").read_bytes()
    shutil.copy(ROOT / "dvc.lock", copy)
    for words in ("config user.name test", "config user.email test@example", "add .", "commit --quiet --message clone"):
        call(copy, "git", *words.split())
    (copy / "dvc.lock").write_bytes(reproduced)
    return copy


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def test_the_readme_s_experiment_runs(committed: Path) -> None:
    lines, shown = example()
    said = {" ".join(words[:3]): call(committed, *words) for words in lines}
    assert "Running stage" not in said["dvc repro metrics@smoke"]
    assert said["dvc exp run"].count("Running stage") == 2, "only the changed network's training, and the metrics"
    ours, theirs = ([cells(line) for line in text.strip().splitlines()] for text in (said["dvc exp show"], shown))
    assert ours[0] == theirs[0], "README.md shows other columns than dvc exp show prints"
    assert [row[0].split()[-1] for row in ours[4:]] == [row[0].split()[-1] for row in theirs[4:]] == ["[dropout-02]"]
    assert ours[-1][1:] != ours[-2][1:], "the change changed nothing"
    numbers = [[float(row[1]) for row in rows[2:]] for rows in (ours, theirs)]
    assert numbers[0] == pytest.approx(numbers[1], abs=6), "README.md shows other errors; processors differ by less"
    assert call(committed, "git", "status", "--porcelain") == "", "the example leaves the repository as it was"


TELL_NOTHING = {"niny.errors", "niny.files", "niny.strict_yaml"}  # how files are read and written, not what is told


def modules_of(folder: str) -> set[str]:
    """The modules of the package that those in a folder of it import, its own left out."""
    trees = [ast.parse(path.read_text()) for path in (ROOT / "src/niny" / folder).glob("*.py")]
    found = {node.module or "" for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return {name for name in found if name.startswith("niny.") and not name.startswith(f"niny.{folder}")}


@pytest.mark.parametrize("stage", ["tables", "report"])
def test_what_the_report_is_made_of_makes_its_stages_stale(stage: str) -> None:
    depends = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][stage]["do"]["deps"]
    listed = tuple(name.removesuffix(".py") for name in depends)
    for name in modules_of("report") - TELL_NOTHING:
        path = f"src/{name.replace('.', '/')}"
        assert any(path == dep or path.startswith(f"{dep}/") for dep in listed), path
