"""article.md and metadata.yaml: the community's sections and fields, in any state of the records, from them alone."""

import html
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from planted import plant, plant_scores, project, study_params

from niny.errors import NinyError
from niny.report import write_rescience
from niny.report.settings import recipes_table
from niny.report.study import load_study
from niny.report.tables import all_tables

PARAMS = study_params()
ERRORS = (10.2, 10.3, 10.4, 10.5, 10.6)
SECTIONS = (
    "Scope of reproducibility",
    "Methodology",
    "Results",
    "Results beyond the paper",
    "Discussion",
    "What was not run, and why",
    "How to make it again",
    "References",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return project(tmp_path / "project")


def plant_five(root: Path, scale: str = "full", experiment: str = "cifar10-nin", shift: float = 0.0) -> None:
    for seed, error in enumerate(ERRORS):
        plant(root, PARAMS.run(scale, experiment), seed, round(error + shift, 2))


def article(root: Path, scale: str = "full") -> str:
    return write_rescience(PARAMS, scale, root).read_text(encoding="utf-8")


def metadata(root: Path, scale: str = "full") -> dict[str, Any]:
    write_rescience(PARAMS, scale, root)
    fields: dict[str, Any] = yaml.safe_load((root / f"results/{scale}/metadata.yaml").read_text(encoding="utf-8"))
    return fields


def tables(text: str) -> dict[str, pd.DataFrame]:
    """{file of its numbers: frame} of every Markdown table."""
    found = {}
    for table, name in re.findall(r"((?:^\|.*\|\n)+)\n<sub>.*?\[tables/([a-z0-9-]+)\.csv\]", text, flags=re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]
        found[name] = pd.DataFrame(rows[2:], columns=[cell.strip(" |") for cell in rows[0]])
    return found


def plain(cell: str) -> str:
    """A cell without what only Markdown has."""
    shown = re.sub(r"(?<!\\)\[([^\]]+)\]\(runs/[^)]*\)", r"runs/\1", cell).strip("`| ").replace("`", "")
    return html.unescape(re.sub(r"\\(\W|_)", r"\1", shown))


SAME = ("table-1", "table-5", "section-4-2", "section-4-6", "reproduce", "data", "recipes")  # as their files have them


def test_each_table_of_the_article_is_that_of_the_records(root: Path) -> None:
    plant_five(root)
    plant(root, PARAMS.run("full", "cifar10-nin-fc"), 0, 11.5)
    shown, recorded = tables(article(root)), all_tables(load_study(PARAMS, "full", root))
    for name in SAME:
        expected = recorded[name].map(lambda cell: cell.replace("`", ""))
        if name == "reproduce":
            expected = expected.drop(columns=["Experiment", "Runs"])  # which the command names
        assert shown[name].map(plain).to_numpy().tolist() == expected.to_numpy().tolist(), name
    claims = recorded["claims"][recorded["claims"]["Claim"].isin(shown["claims"]["Claim"])].drop(columns="Why")
    assert shown["claims"].map(plain).to_numpy().tolist() == claims.to_numpy().tolist()
    row = shown["table-5"].set_index("Method").loc["mlpconv + Global Average Pooling"]
    assert row[["Ours %", "n", "One more run, 95 %", "Verdict"]].to_list() == [
        "10.40 ± 0.16",
        "5",
        "9.92 to 10.88",
        "supported",
    ]


def test_a_changed_record_changes_the_article(root: Path) -> None:
    plant(root, PARAMS.run("full", "cifar10-nin"), 0, 34.56)
    assert "34.56" in article(root)
    plant(root, PARAMS.run("full", "cifar10-nin"), 0, 43.21)
    changed = article(root)
    assert "43.21" in changed
    assert "34.56" not in changed


def test_each_claim_is_told_with_its_verdict_under_its_place_in_the_paper(root: Path) -> None:
    plant_five(root)
    text = article(root)
    table_1 = text[text.index("### Table 1") : text.index("### Section 4.2")]
    assert (
        "- `table1-nin`: NIN with dropout errs on 10.41 % of the CIFAR-10 test images. Verdict: supported; "
        "paper 10.41; ours 10.40, n = 5; 95 % interval 9.92 to 10.88. 10.41 lies inside" in table_1
    )
    assert "Verdict: not run" in text[text.index("### Table 2") :]
    assert "- `figure4-in-the-object` (rule written after runs at small scales): Within" in text
    assert "Of an ordering it is our smallest margin" in text
    assert not re.search(r"^### .*rule written", text, flags=re.MULTILINE)


def test_networks_are_held_against_each_other_in_the_article_too(root: Path) -> None:
    plant_five(root)
    assert "### Pair by pair" not in article(root)
    plant(root, PARAMS.run("full", "cifar10-nin-fc"), 0, 11.5)
    assert "### Pair by pair" in article(root)


@pytest.mark.parametrize("scale", ["full", "trial", "smoke", "demo"])
@pytest.mark.parametrize("state", ["nothing", "one run", "five seeds", "collapsed"])
def test_any_state_of_the_records_makes_a_whole_article(root: Path, scale: str, state: str) -> None:
    run = PARAMS.run(scale, "cifar10-nin")
    if state != "nothing":
        plant(root, run, 0, 90.0 if state == "collapsed" else 10.2, collapsed=state == "collapsed")
    if state == "five seeds":
        plant_five(root, scale)
        plant_scores(root, run, {"claim1_rate.raw": (0.6, 0.59, 0.61)}, seeds=5)
    text = article(root, scale)
    assert re.findall(r"^## (.*)$", text, flags=re.MULTILINE) == list(SECTIONS)
    assert "Communication with the original authors\n\nNone" in text
    assert not re.search(r"\bnan\b|\bNone\b(?!: the authors)|\| +\||\(\)|  ", text)
    assert ("Nothing is recorded at this scale yet" in text) == (state == "nothing")
    assert ("Training can collapse: 1 of 1 run (100 %)" in text) == (state == "collapsed")
    mean = {"one run": "10.20 %", "five seeds": "10.40 %"}.get(state)
    assert (f"cifar10-nin errs on {mean} of the test images" in text) == (mean is not None)
    if scale != "full":
        assert f"{scale.capitalize()} scale: not a reproduction of the paper" in text[:400]
        assert "Verdict: supported" not in text
        assert "*refuted*" not in text


def test_attempts_that_died_are_counted(root: Path) -> None:
    plant(root, PARAMS.run("full", "cifar10-nin"), 0, 10.2, collapsed_attempts=[{"attempt": 0, "epochs": 3}])
    assert "0 of 1 run (0 %) collapsed, and 1 attempt died on the way" in article(root)


# metadata.yaml

FIELDS = {
    "title", "authors", "affiliations", "keywords", "code", "data", "replication", "abstract", "bibliography", "type",
    "domain", "language", "review", "contributors", "dates", "article", "journal",
}  # fmt: skip


@pytest.mark.parametrize(
    ("scale", "shift", "title"),
    [
        ("full", 0.0, "[Re] Network In Network"),
        ("full", 5.0, "[¬Re] Network In Network"),
        ("trial", 0.0, "Network In Network, run again at trial scale"),
    ],
)
def test_metadata_has_the_fields_of_rescience_and_a_title_by_the_verdicts(
    root: Path, scale: str, shift: float, title: str
) -> None:
    plant_five(root, scale, shift=shift)
    fields = metadata(root, scale)
    assert set(fields) == FIELDS
    assert fields["title"] == title
    assert fields["authors"][0]["name"] == "the niny authors"
    assert {"cite", "bib", "url", "doi"} == {key for entry in fields["replication"] for key in entry}
    assert "Min Lin, Qiang Chen and Shuicheng Yan (2013). Network In Network" in fields["replication"][0]["cite"]
    assert f"{10.4 + shift:.2f} %" in fields["abstract"]


def test_what_is_assigned_on_publication_is_empty(root: Path) -> None:
    fields = metadata(root)
    given = [value for part in ("article", "dates", "review") for entry in fields[part] for value in entry.values()]
    assert set(given) == {None}
    assert [entry for entry in fields["code"] if "doi" in entry] == [{"doi": None}]


def test_an_author_with_quotes_colons_and_letters_of_all_kinds_comes_through(root: Path) -> None:
    cff = yaml.safe_load((root / "CITATION.cff").read_text())
    cff["authors"] = [{"given-names": 'Zoë "Z"', "family-names": "O'Ñu: a # b", "orcid": "0000", "affiliation": "X: Y"}]
    (root / "CITATION.cff").write_text(yaml.safe_dump(cff))
    fields = metadata(root)
    assert fields["authors"][0]["name"] == 'Zoë "Z" O\'Ñu: a # b'
    assert fields["affiliations"][0]["name"] == "X: Y"


@pytest.mark.parametrize(
    "text", ["", "authors: []\n", "authors: me\n", "a list, not names: [", "authors: [me]\nreferences: [x]\n"]
)
def test_a_damaged_citation_is_named_and_nothing_is_written(root: Path, text: str) -> None:
    (root / "CITATION.cff").write_text(text)
    with pytest.raises(NinyError, match=r"CITATION\.cff"):
        write_rescience(PARAMS, "full", root)
    assert not (root / "results/full").exists()


def test_a_missing_citation_is_named(root: Path) -> None:
    (root / "CITATION.cff").unlink()
    with pytest.raises(NinyError, match=r"CITATION\.cff"):
        write_rescience(PARAMS, "full", root)


def test_a_recipe_that_serves_two_losses_has_a_column_for_each(root: Path) -> None:
    table = recipes_table(load_study(PARAMS, "seeds", root)).set_index("Setting")
    both = table[["robust", "robust, loss binary cross entropy"]]
    assert [*both.loc["loss"]] == ["cross entropy", "binary cross entropy"]
    assert both.loc["experiments", "robust, loss binary cross entropy"] == "cifar10-nin-bce"
    assert "cifar10-nin-bce" not in both.loc["experiments", "robust"].split(", ")
