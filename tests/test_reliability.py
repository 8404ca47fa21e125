"""Torture tests leave a record each, and the report shows what they found, or that they were not run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from planted import project, study_params
from reliability import keep

from niny.errors import NinyError
from niny.files import write_json
from niny.report import write_report
from niny.report.study import load_study
from niny.report.trust import FILE, LINES, read_records, trust

PARAMS = study_params()
TORTURE = """
import pytest

@pytest.mark.torture("killed")
def test_that_holds(tally):
    tally.count, tally.found = 50, "all the same"

@pytest.mark.torture("two-at-once")
def test_that_fails(tally):
    tally.count = 3
    assert tally.count == 4, "the fourth was lost"

@pytest.mark.torture("surroundings")
def test_that_skips():
    pytest.skip("no disk here")

def test_of_another_kind():
    pass
"""


def marked() -> list[str]:
    texts = [path.read_text() for path in (ROOT / "tests").glob("test_*.py") if path.name != Path(__file__).name]
    return [name for text in texts for name in re.findall(r"mark\.torture\(([^)]*)\)", text)]


def test_every_torture_test_has_a_line_of_its_own_and_held_when_it_was_last_run() -> None:
    names, records = [name.strip("\"'") for name in marked()], read_records(ROOT)
    assert len(set(names)) == len(names)
    assert set(names) <= set(LINES)
    missing = set(names) - set(records)
    assert not missing, f"run pytest -m torture for {missing} and commit {FILE}"
    assert {name: record["found"] for name, record in records.items() if record["outcome"] != "held"} == {}


def test_the_last_outcome_of_each_is_kept_and_a_skipped_one_is_left(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = torture\n")
    (tmp_path / "test_it.py").write_text(TORTURE)
    for name in ("two-at-once", "surroundings"):
        keep(tmp_path, name, 1, True, "earlier", 1.0)
    path = os.pathsep.join([str(ROOT / "tests"), str(ROOT / "src")])
    words = [sys.executable, "-m", "pytest", "-q", "-p", "reliability", "-p", "no:cacheprovider"]
    subprocess.run(words, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, check=False)
    records = read_records(tmp_path)
    assert {name: (r["outcome"], r["count"]) for name, r in records.items()} == {
        "killed": ("held", 50),
        "two-at-once": ("failed", 3),
        "surroundings": ("held", 1),
    }
    assert records["killed"]["found"] == "all the same"
    assert "the fourth was lost" in records["two-at-once"]["found"]
    assert [path.name for path in (tmp_path / "results").iterdir()] == [FILE.name]


def test_records_of_processes_that_end_together_are_all_kept(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from reliability import keep\n"
    code += "for _ in range(5): keep(Path(sys.argv[1]), sys.argv[2], 1, True, '', 0.0)"
    path = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), str(ROOT / "src")])}
    names = list(LINES)[:3]
    started = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name], env=path) for name in names]
    assert [process.wait() for process in started] == [0, 0, 0]
    assert set(read_records(tmp_path)) == set(names)


def test_the_report_shows_what_was_tried_and_what_was_not_run(tmp_path: Path) -> None:
    root = project(tmp_path / "project")
    study = load_study(PARAMS, "trial", root)
    (table,) = trust(study).items
    assert set(table.frame["Outcome"]) == {"not run"}  # type: ignore[union-attr]  # there is one
    keep(root, "damaged-data", 1234, False, "train.bin was <b>taken</b>", 61.2)
    (table,) = trust(study).items
    first, *others = table.frame.to_dict("records")  # type: ignore[union-attr]  # there is one
    assert (first["How many"], first["Took"]) == ("1,234", "61 s")
    assert first["Outcome"] == "failed\ntrain.bin was <b>taken</b>"
    assert {row["Outcome"] for row in others} == {"not run"}
    page = write_report(PARAMS, "trial", root).read_text()
    assert "Can it be trusted?" in page
    assert "train.bin was &lt;b&gt;taken&lt;/b&gt;" in page


def test_what_an_earlier_form_of_a_test_found_is_not_shown_as_current(tmp_path: Path) -> None:
    root = project(tmp_path / "project")
    keep(root, "damaged-data", 1234, True, "all were refused", 61.2)
    records = read_records(root)
    records["damaged-data"]["tried"] = "Something else"
    write_json(root / FILE, list(records.values()))
    (table,) = trust(load_study(PARAMS, "trial", root)).items
    first = table.frame.to_dict("records")[0]  # type: ignore[union-attr]  # there is one
    assert first["What was tried"] == LINES["damaged-data"]
    assert {first[name] for name in ("How many", "Took", "When")} == {"not run"}
    said = f"of an earlier form of this test, {records['damaged-data']['date']}: held, all were refused"
    assert first["Outcome"] == f"not run\n{said}"
    page = write_report(PARAMS, "trial", root).read_text()
    assert f'<span class="word">not run</span><small>{said}</small>' in page


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"count": 1}]', "null", '{"killed": 1}'])
def test_a_damaged_file_names_the_remedy(tmp_path: Path, text: str) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / FILE).write_text(text)
    with pytest.raises(NinyError, match=r"reliability\.json is damaged .* make torture"):
        read_records(tmp_path)
