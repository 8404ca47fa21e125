"""README.md, results/README.md and the start page show what was recorded, and nothing of scales that are not kept."""

import json
from pathlib import Path
from shutil import copy

import pytest
from planted import ROOT, plant, project, study_params

from niny.cli import main
from niny.config import load_params
from niny.errors import NinyError
from niny.evaluation.claims import load_claims
from niny.report import write_rescience
from niny.report.readmes import door_text, kept_studies, marks, readme_text, start_text, write_readmes

PARAMS = study_params()
PARTS = ("results", "details", "commands", "notebooks", "scales", "data", "pipeline")
EMPTY = "\nkept\n".join("\nold\n".join(marks(part)) for part in PARTS)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = project(tmp_path / "project")
    copy(ROOT / "dvc.yaml", made)
    return made


def test_the_repository_shows_its_own_records() -> None:
    params = load_params(ROOT)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme_text(params, ROOT, readme) == readme, "run: niny readme"
    assert door_text(params, ROOT) == (ROOT / "results/README.md").read_text(encoding="utf-8"), "run: niny readme"
    start = (ROOT / "notebooks/README.md").read_text(encoding="utf-8")
    assert start_text(ROOT, start) == start, "run: niny readme"


def test_without_records_nothing_looks_like_a_result(root: Path) -> None:
    shown = readme_text(PARAMS, root, EMPTY)
    assert shown.count("No run has been recorded yet.") == 2
    results = shown.partition(marks("scales")[0])[0]
    assert not any(digit in results.replace("CIFAR-10", "") for digit in "0123456789")
    assert shown.count("\nkept\n") == len(PARTS) - 1
    assert "\nold\n" not in shown


def test_evidence_comes_first_and_a_demo_never(root: Path) -> None:
    plant(root, PARAMS.run("demo", "cifar10-nin"), 0, 31.0)
    plant(root, PARAMS.run("short", "cifar10-nin"), 0, 21.25)
    assert "| `cifar10-nin` | 10.41 | 21.25 | 1 | one run | not tested at this scale |" in readme_text(
        PARAMS, root, EMPTY
    )
    assert "Too short to test the paper" in readme_text(PARAMS, root, EMPTY)
    for seed, error in enumerate((10.2, 10.4, 10.6)):
        plant(root, PARAMS.run("full", "cifar10-nin"), seed, error)
    shown = readme_text(PARAMS, root, EMPTY)
    assert "10.40 ± 0.20 | 3 |" in shown
    assert "21.25" not in shown
    door = door_text(PARAMS, root)
    assert door.index("Full scale") < door.index("Short scale")
    assert "31.00" not in door


def test_wide_networks_come_before_narrow_ones(root: Path) -> None:
    for scale in ("seeds", "short"):
        plant(root, PARAMS.run(scale, "cifar10-nin"), 0, 20.0)
    assert [study.scale.name for study in kept_studies(PARAMS, root)] == ["short", "seeds"]


def test_the_door_leads_to_an_article_where_there_is_one(root: Path) -> None:
    plant(root, PARAMS.run("short", "cifar10-nin"), 0, 21.25)
    assert "article.md" not in door_text(PARAMS, root)
    write_rescience(PARAMS, "short", root)
    assert "[short/article.md](short/article.md)" in door_text(PARAMS, root)


def test_one_figure_is_shown_where_there_is_one_and_claims_are_counted(root: Path) -> None:
    record = plant(root, PARAMS.run("short", "cifar10-nin"), 0, 21.25)
    assert "<img" not in readme_text(PARAMS, root, EMPTY)
    figures = record.parents[2] / "figures"
    figures.mkdir()
    (figures / "errors.svg").touch()
    assert readme_text(PARAMS, root, EMPTY).count('<img src="results/short/figures/errors.svg"') == 1
    (figures / "maps-cifar10-nin.png").touch()
    shown = readme_text(PARAMS, root, EMPTY)
    assert shown.count("<img") == 1
    assert '<img src="results/short/figures/maps-cifar10-nin.png"' in shown
    assert f"Of {len(load_claims(root / 'claims.yaml'))} claims" in shown


def test_notebooks_are_listed_with_what_was_measured_and_nothing_else(root: Path) -> None:
    (root / "notebooks/pictures").mkdir(parents=True)
    for name, title in (("02-b", "# Why?"), ("01-a", "# What?\n\nThis.")):
        (root / f"notebooks/{name}.ipynb").write_text(json.dumps({"cells": [{"source": title.splitlines(True)}]}))
    (root / "notebooks/pictures/01-a.png").touch()
    before = start_text(root, "\n".join(marks("notebooks")))
    shown = '<img src="pictures/01-a.png" width="160" alt="The first picture of 01-a">'
    lines = [f"| [01-a](01-a.ipynb) | What? | {shown} | – |", "| [02-b](02-b.ipynb) | Why? | – | – |"]
    assert before.splitlines()[3:5] == lines
    machine = {"processor": "Known CPU", "cores": 2, "threads": 2}
    (root / "notebooks/times.json").write_text(json.dumps({"seconds": {"01-a": 12.6}, "machine": machine}))
    after = start_text(root, before)
    assert "| 13 s |" in after
    assert "Known CPU, 2 cores" in after
    assert "](notebooks/01-a.ipynb)" in readme_text(PARAMS, root, EMPTY)


def test_commands_stand_with_the_times_that_were_measured_or_with_none(root: Path) -> None:
    assert "make test      # lint, types" in readme_text(PARAMS, root, EMPTY)
    seconds = {"installation": 100.0, "make study": 1134.5, "make study again": 12.4, "make test": 600.0}
    found = {"seconds": seconds, "processor": "Known CPU", "cores": 2}
    (root / "results").mkdir()
    (root / "results/commands.json").write_text(json.dumps(found))
    shown = readme_text(PARAMS, root, EMPTY)
    assert "make study     # 21 minutes: " in shown
    assert "make test      # 12 minutes: " in shown
    assert "on Known CPU, 2 cores" in shown
    assert "took 12 s" in shown
    assert "make torture   # tries to break" in shown
    tests = [{"name": "killed", "seconds": 500.0}, {"name": "two-at-once", "seconds": 600.0}]
    (root / "results/reliability.json").write_text(json.dumps(tests))
    assert "make torture   # 20 minutes: " in readme_text(PARAMS, root, EMPTY)


def test_scales_and_data_sets_are_listed_as_they_are_set(root: Path) -> None:
    params = load_params(ROOT)
    shown = readme_text(params, root, EMPTY).splitlines()
    for name, purpose in (("paper", "evidence; wants a GPU"), ("tune", "choices: it never meets the test split")):
        assert f"| `{name}` | {params.scales[name].title} | {purpose} |" in shown
    listed = [line for line in shown if line.startswith(("| `cifar10`", "| `mnist`", "| `svhn`", "| `digits`"))]
    assert len(listed) == 4  # the two of CIFAR have one origin
    assert listed[0].startswith("| `cifar10`, `cifar100` | Krizhevsky 2009")
    assert listed[1].endswith("| non-commercial use only |")


def test_the_door_says_which_report_to_read(root: Path) -> None:
    plant(root, PARAMS.run("short", "cifar10-nin"), 0, 21.25)
    assert "Read [short/report.html](short/report.html). Nothing is recorded yet" in door_text(PARAMS, root)
    plant(root, PARAMS.run("full", "cifar10-nin"), 0, 10.2)
    assert "Read [full/report.html](full/report.html): it holds the paper's claims" in door_text(PARAMS, root)


@pytest.mark.parametrize(
    ("readme", "start"), [("# niny\n", EMPTY), (EMPTY, "# Start\n"), (EMPTY, marks("notebooks")[0])]
)
def test_a_readme_without_a_place_for_what_belongs_there_is_named(root: Path, readme: str, start: str) -> None:
    (root / "notebooks").mkdir()
    (root / "README.md").write_text(readme)
    (root / "notebooks/README.md").write_text(start)
    with pytest.raises(NinyError, match=r"README\.md has no place"):
        write_readmes(PARAMS, root)
    assert not (root / "results" / "README.md").exists()
    assert (root / "README.md").read_text() == readme


def test_the_command_writes_all_three(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy(ROOT / "plan.json", root)
    (root / "notebooks").mkdir()
    for name in ("README.md", "notebooks/README.md"):
        (root / name).write_text(EMPTY)
    monkeypatch.chdir(root)
    assert main(["readme"]) == 0
    assert "No run has been recorded yet." in (root / "README.md").read_text()
    assert (root / "results" / "README.md").read_text().startswith("# Results")
    assert "| notebook |" in (root / "notebooks/README.md").read_text()
