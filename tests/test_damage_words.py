"""Names and captions are shown as text, whatever they look like: no HTML, script, Markdown or formula comes of them."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
import torch
import yaml
from planted import plant, project, study_params
from reliability import Tally
from test_report import Page

from niny.config import Params
from niny.data.sets import LABELS, ORIGINS
from niny.inference.model import Answer, Seen
from niny.inference.pictures import draw_answers
from niny.models import build
from niny.models.weights import save_weights
from niny.report import write_figures, write_report, write_tables
from niny.report.cards import write_weights
from niny.report.markdown import plain
from niny.report.page import HERE, sections_in_markdown
from niny.report.parts import Article, Section, Table
from niny.report.rescience import write_rescience
from niny.style import save_picture

FIELDS = set(re.findall(r"^(\w+):", (HERE / "metadata.yaml").read_text(), re.MULTILINE))
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
    """The text as name and title of an experiment, as name of its data set, and as title of a scale."""
    params, name = study_params(), text.replace("/", "∕")  # a slash is refused as a name
    spoilt = replace(params.experiments["cifar10-nin"], name=name, title=text, dataset=name)
    changed = replace(
        params,
        experiments={**params.experiments, name: spoilt},
        datasets={**params.datasets, name: replace(params.datasets["cifar10"], name=name)},
        scales={**params.scales, "full": replace(params.scales["full"], title=text)},
    )
    return changed, name


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a data set of that name one of those that the study knows, and a class of that name one of its classes."""

    def know(text: str) -> None:
        name = text.replace("/", "∕")
        for known in (name, "cifar10"):
            monkeypatch.setitem(LABELS, known, (text, *LABELS["cifar10"][1:]))
            monkeypatch.setitem(ORIGINS, known, ORIGINS["cifar10"])

    return know


def written(root: Path, params: Params, name: str) -> Path:
    """The folder of a report, and of an article, on that experiment."""
    run = params.run("full", name)
    for seed in range(2):
        plant(root, run, seed, 10.0 + seed)
    write_tables(params, "full", root)
    write_figures(params, "full", root)
    folder = root / "results" / "full"
    (folder / "figures" / f"maps-{name}.png").write_bytes(b"picture")
    write_report(params, "full", root)
    write_rescience(params, "full", root)
    return folder


def shown_as_text(text: str, root: Path) -> None:
    params, name = hostile_params(text)
    folder = written(project(root), params, name)
    page = (folder / "report.html").read_text()
    seen = Page(page)  # which refuses scripts, and frames
    assert text in seen.text
    assert name in seen.text
    assert all(address.startswith("data:") for address in seen.fetched)
    assert not harms(page.replace("<b>x</b>", ""))
    for file in ("README.md", "article.md"):
        shown = (folder / file).read_text()
        assert not harms(outside_code(shown)), file
        assert plain(text) in shown, file
        assert shown.count("\n|") == shown.count(" |\n"), file  # no cell of a table was broken up
    assert set(yaml.safe_load((folder / "metadata.yaml").read_text())) == FIELDS  # none more, none less


def harms(shown: str) -> list[str]:
    return [harm for harm in ("<script", "<img src=x", "<svg onload", "<b>x", "<!-- gone") if harm in shown.lower()]


def outside_code(text: str) -> str:
    return re.sub(r"(`+)[^\n]*?\1|^    .*$", "", text, flags=re.MULTILINE)


@pytest.mark.parametrize("text", [HOSTILE[0], HOSTILE[8], HOSTILE[10]])
def test_hostile_names_and_titles_are_text_in_the_report(
    text: str, tmp_path: Path, known: Callable[[str], None]
) -> None:
    known(text)
    shown_as_text(text, tmp_path / "project")


def test_the_name_of_a_recipe_which_heads_a_column_is_text_in_markdown(tmp_path: Path) -> None:
    recipes = Table("Recipes", pd.DataFrame({HOSTILE[0]: ["0.1"]}), "a.csv", "make", "made")
    article = Article("a", "full", "Full", "full", "", (), (Section("a", "A", (), (recipes,)),))
    shown = "".join(sections_in_markdown(article, tmp_path))
    assert not harms(shown)
    assert plain(HOSTILE[0]) in shown


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


def drawn_as_text(text: str, path: Path) -> None:
    """Class maps of classes that are called so: an SVG file holds it as text, and no formula of it."""
    seen = Seen(f"{text}.png", None, torch.zeros(3, 8, 8, dtype=torch.uint8))
    answer = Answer(seen, (text, "b", "c"), torch.tensor([0.5, 0.3, 0.2]), torch.rand(3, 2, 2))
    save_picture(draw_answers([answer], text, 3), path)
    texts = ["".join(one.itertext()) for one in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]
    assert text in texts  # the title
    assert any(one != text and one.startswith(text[:13]) for one in texts)  # the class, cut short


def card(text: str, root: Path) -> str:
    params, name = hostile_params(text)
    ours = replace(params.experiments[name], dataset="cifar10")  # weights are kept of data sets that have a title
    params = replace(params, experiments={**params.experiments, name: ours})
    run = params.run("full", name)
    folder = plant(project(root), run, 0, 10.0, weights_test_error=10.0)
    save_weights(folder / "weights.safetensors", build(run).state_dict(), {})
    write_weights(params, "full", root)
    (path,) = (root / "results/full/weights").glob("*.md")
    return path.read_text()


def test_hostile_class_names_are_text_in_cards_and_pictures(tmp_path: Path, known: Callable[[str], None]) -> None:
    known(HOSTILE[0])
    said = card(HOSTILE[0], tmp_path / "project")
    assert not harms(outside_code(said))
    assert "&lt;script&gt;" in said
    drawn_as_text(HOSTILE[8], tmp_path / "a.svg")


@pytest.mark.torture("hostile-words")
@pytest.mark.filterwarnings("ignore:Glyph")
def test_hostile_words_of_all_kinds(tmp_path: Path, known: Callable[[str], None], tally: Tally) -> None:
    for i, text in enumerate(HOSTILE):
        known(text)
        shown_as_text(text, tmp_path / f"report-{i}")
        assert not harms(outside_code(card(text, tmp_path / f"card-{i}")))
        drawn_as_text(text, tmp_path / f"{i}.svg")
        tally.count += 6
    tally.found = "shown as text in page, README, article and its metadata, model cards and pictures of class maps"
