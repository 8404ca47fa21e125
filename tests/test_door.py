"""README.md and results/README.md show what the records say, and nothing of scales that are not kept."""

from pathlib import Path
from shutil import copy

import pytest
from planted import ROOT, plant, project, study_params

from niny.cli import main
from niny.config import load_params
from niny.errors import NinyError
from niny.report import write_rescience
from niny.report.door import BEGIN, END, door_text, readme_text, write_readmes

PARAMS = study_params()
EMPTY = f"# niny\n{BEGIN}\nold\n{END}\nafter\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return project(tmp_path / "project")


def test_the_repository_shows_its_own_records() -> None:
    params = load_params(ROOT)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme_text(params, ROOT, readme) == readme, "run: niny readme"
    assert door_text(params, ROOT) == (ROOT / "results/README.md").read_text(encoding="utf-8"), "run: niny readme"


def test_without_records_nothing_looks_like_a_result(root: Path) -> None:
    assert readme_text(PARAMS, root, EMPTY) == f"# niny\n{BEGIN}\nNo run has been recorded yet.\n{END}\nafter\n"


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


def test_the_door_leads_to_an_article_where_there_is_one(root: Path) -> None:
    plant(root, PARAMS.run("short", "cifar10-nin"), 0, 21.25)
    assert "article.md" not in door_text(PARAMS, root)
    write_rescience(PARAMS, "short", root)
    assert "[short/article.md](short/article.md)" in door_text(PARAMS, root)


def test_a_readme_without_a_place_for_results_is_named(root: Path) -> None:
    (root / "README.md").write_text("# niny\n")
    with pytest.raises(NinyError, match=r"README\.md has no place"):
        write_readmes(PARAMS, root)
    assert not (root / "results" / "README.md").exists()


def test_the_command_writes_both(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy(ROOT / "plan.json", root)
    (root / "README.md").write_text(EMPTY)
    monkeypatch.chdir(root)
    assert main(["readme"]) == 0
    assert "No run has been recorded yet." in (root / "README.md").read_text()
    assert (root / "results" / "README.md").read_text().startswith("# Results")
