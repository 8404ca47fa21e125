"""Names and captions are shown as text, whatever they look like: no HTML, script, Markdown or formula comes of them."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from planted import plant, project, study_params
from reliability import Tally
from test_report import Page

from niny.config import Params
from niny.data.sets import LABELS
from niny.inference.model import Answer, Seen
from niny.inference.pictures import draw_answers
from niny.maps.pictures import save_picture
from niny.models import build
from niny.models.weights import save_weights
from niny.report import write_figures, write_report, write_tables
from niny.report.cards import write_weights
from niny.report.markdown import plain

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "</title></style><b>x",
    "**bold** _x_ ~~y~~",
    "[a](javascript:alert(1))",
    "![a](https:x)",
    "a | b | c",
    "$\\frac{1}{0}$ and $x",
    "\\input{x} \\1 \\g<1> %d {x} {{ 7*7 }} {% x %}",
    "`code` ``` x",
    "&lt;b&gt; &amp; &#60;",
    "# title",
    "<!-- gone",
    "ünïcödé \u202e\u0301 \u65e5\u672c 🙂",
)


def hostile_params(text: str) -> tuple[Params, str]:
    """The text as name and title of an experiment, and as title of a scale."""
    params, name = study_params(), text.replace("/", "∕")  # a slash is refused as a name
    spoilt = replace(params.experiments["cifar10-nin"], name=name, title=text)
    scales = {**params.scales, "full": replace(params.scales["full"], title=text)}
    return replace(params, experiments={**params.experiments, name: spoilt}, scales=scales), name


def written(root: Path, params: Params, name: str) -> tuple[str, str]:
    """The page and the README of a report on that experiment."""
    run = params.run("full", name)
    for seed in range(2):
        plant(root, run, seed, 10.0 + seed)
    write_tables(params, "full", root)
    write_figures(params, "full", root)
    folder = root / "results" / "full"
    (folder / "figures" / f"maps-{name}.png").write_bytes(b"picture")
    page = write_report(params, "full", root).read_text()
    return page, (folder / "README.md").read_text()


def shown_as_text(text: str, root: Path) -> None:
    params, name = hostile_params(text)
    page, readme = written(project(root), params, name)
    seen = Page(page)  # which refuses scripts, and frames
    assert text in seen.text
    assert name in seen.text
    assert all(address.startswith("data:") for address in seen.fetched)
    for harm in ("<script", "<img src=x", "<svg onload", "<b>x", "<!-- gone"):
        assert harm not in page.lower().replace("<b>x</b>", "")
        assert harm not in outside_code(readme).lower()
    assert plain(text) in readme
    assert readme.count("\n|") == readme.count(" |\n")  # no cell of a table was broken up


def outside_code(text: str) -> str:
    return re.sub(r"(`+)[^\n]*?\1|^    .*$", "", text, flags=re.MULTILINE)


@pytest.mark.parametrize("text", [HOSTILE[0], HOSTILE[8], HOSTILE[10]])
def test_hostile_names_and_titles_are_text_in_the_report(text: str, tmp_path: Path) -> None:
    shown_as_text(text, tmp_path / "project")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a*b_c", "a\\*b\\_c"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
        ("[a](b) $x$ |", "\\[a\\](b) \\$x\\$ \\|"),
        ("run `dvc repro a_b` now", "run `dvc repro a_b` now"),
        ("[tables/a.csv](tables/a_b.csv)", "[tables/a.csv](tables/a_b.csv)"),
        ("[a](javascript:b/c)", "\\[a\\](javascript:b/c)"),
        ("an open ` tick", "an open \\` tick"),
    ],
)
def test_markdown_shows_text_as_it_is(text: str, shown: str) -> None:
    assert plain(text) == shown


def draw(text: str, path: Path) -> None:
    """Class maps of classes that are called so."""
    seen = Seen(f"{text}.png", None, torch.zeros(3, 8, 8, dtype=torch.uint8))
    answer = Answer(seen, (text, "b", "c"), torch.tensor([0.5, 0.3, 0.2]), torch.rand(3, 2, 2))
    save_picture(draw_answers([answer], text, 3), path)


def card(text: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    params, name = hostile_params(text)
    monkeypatch.setitem(LABELS, "cifar10", (text, *LABELS["cifar10"][1:]))
    run = params.run("full", name)
    folder = plant(project(root), run, 0, 10.0, weights_test_error=10.0)
    save_weights(folder / "weights.safetensors", build(run).state_dict(), {})
    write_weights(params, "full", root)
    (path,) = (root / "results/full/weights").glob("*.md")
    return path.read_text()


def test_hostile_class_names_are_text_in_cards_and_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = card(HOSTILE[0], tmp_path / "project", monkeypatch)
    assert "<script" not in outside_code(said)
    assert "&lt;script&gt;" in said
    draw(HOSTILE[8], tmp_path / "a.svg")
    assert "\\frac" in (tmp_path / "a.svg").read_text() or (tmp_path / "a.svg").stat().st_size > 1000


@pytest.mark.torture("hostile-words")
@pytest.mark.filterwarnings("ignore:Glyph")
def test_hostile_words_of_all_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally) -> None:
    for i, text in enumerate(HOSTILE):
        shown_as_text(text, tmp_path / f"report-{i}")
        with monkeypatch.context() as patch:
            said: Any = card(text, tmp_path / f"card-{i}", patch)
        assert "<script" not in outside_code(said)
        draw(text, tmp_path / f"{i}.png")
        tally.count += 4
    tally.found = "shown as text in page, README, model cards and pictures of class maps"
