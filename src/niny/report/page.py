"""The report of one scale as a page that needs nothing but itself, and as a README for the forge.

Figures are drawn into the page: SVG with its colours turned into the page's own, so that it follows light and dark,
and PNG as data. Nothing on the page makes a browser ask the network for anything.
"""

import base64
import re
from pathlib import Path
from urllib.parse import quote

import jinja2
from markupsafe import Markup, escape

from niny.config import Params
from niny.files import write_text
from niny.report.article import write_article
from niny.report.explorer import Explorer
from niny.report.markdown import KEPT, code, plain
from niny.report.parts import Article, Image, Part, Table
from niny.report.study import load_study
from niny.report.words import NONE, NOT_MEASURED

HERE = Path(__file__).parent
INKS = {
    "#1b1f24": "var(--ink)",
    "#5b6570": "var(--muted)",
    "#d5dbe1": "var(--line)",
    "#ffffff": "none",
    "#0072b2": "var(--blue)",
    "#d55e00": "var(--orange)",
}
LARGEST = 400_000  # bytes of a figure that still goes into the page: a dozen of them stay below 6 MB
NUMBERS = {
    "Paper %",
    "Ours %",
    "Mean, 95 %",
    "One more run, 95 %",
    "n",
    "Paper",
    "Ours",
    "95 % interval",
    "Epochs",
    "Parameters",
    "MFLOP/image",
    "Operations",
    "Test %",
    "Sampling, 95 %",
    "Train %",
    "Time",
    "Training time",
    "Images/s",
    "How many",
    "Took",
    "Value",
    "Median",
    "Difference",
    "p",
    "Wins",
    "Right alone",
    "p, images",
    "Error on held-out images, %",
    "Images",
}
CODES = {"Experiment", "Network", "First", "Second", "Command", "Score"}
PROSE = {
    "Claim",
    "The paper says",
    "Chosen here",
    "Effect of choosing otherwise",
    "Missing",
    "Question",
    "Kind of score",
    "What was tried",
    "Outcome",
    "Nulls",
    "What it means",
}
WORDS = (
    *("not run", "no number yet", "one run", "not rerun", "collapsed", "no experiment", "no such image"),
    *("not computed", NOT_MEASURED, NONE),
)


def write_report(params: Params, scale: str, root: Path) -> Path:
    """Write results/<scale>/report.html and README.md from records, tables and figures; the path of the page."""
    study = load_study(params, scale, root)
    article = write_article(study)
    write_text(study.folder / "README.md", to_markdown(article, study.folder))
    write_text(study.folder / "report.html", to_html(article, study.folder, scale))
    return study.folder / "report.html"


def to_html(article: Article, folder: Path, scale: str) -> str:
    """The page; `folder` holds the figures."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "inline": inline,
        "kind": kind,
        "cell": cell,
        "stem": lambda name: Path(name).stem,
        "drawing": lambda image: drawing(image, folder),
    }
    css = Markup((HERE / "page.css").read_text(encoding="utf-8"))
    return environment.get_template("page.html").render(article=article, scale=scale, css=css, nothing=NONE) + "\n"


def inline(text: str) -> Markup:
    """Text with `code` between backticks, and links to the report's files; a number stays beside its per cent sign."""
    text = text.replace(" %", "\u00a0%")
    return Markup("").join(_inline(part) if i % 2 else escape(part) for i, part in enumerate(KEPT.split(text)))


def _inline(part: str) -> Markup:
    if part.startswith("`"):
        return Markup("<code>{}</code>").format(part[1:-1])
    words, _, target = part[1:-1].partition("](")
    return Markup('<a href="{}">{}</a>').format(target, words)


def kind(column: str) -> str:
    """How a column is set: figures to the right, names unbroken, sentences with room."""
    if column in NUMBERS:
        return "number"
    return "code" if column in {*CODES, "Runs"} else "prose" if column in PROSE else column.lower()


def cell(value: str, column: str) -> Markup:
    """A table cell: verdicts as pills, run folders as links, words in place of numbers set apart."""
    first, _, rest = str(value).partition("\n")
    small = Markup("").join(Markup("<small>{}</small>").format(line) for line in rest.split("\n") if line)
    if column == "Verdict" and first != NONE:
        return Markup('<span class="pill {}">{}</span>').format(first.replace(" ", "-"), first) + small
    if column == "Runs" and first.startswith("runs/"):
        return Markup('<a href="{}/">{}</a>').format(link(first), first.removeprefix("runs/"))
    if column in CODES:
        return Markup("<code>{}</code>").format(first) + small
    if column == "What it means":
        return inline(first)
    if first in WORDS:
        return Markup('<span class="word">{}</span>').format(first) + small
    return escape(first) + small


def drawing(image: Image, folder: Path) -> Markup | None:
    """The figure as part of the page, as a link to it where it is large, or None where it has not been made."""
    path = folder / image.file
    if not path.is_file():
        return None
    if path.stat().st_size > LARGEST:
        return Markup('<a href="{}">{}</a>, too large for this page').format(link(image.file), image.file)
    if path.suffix == ".svg":
        return inline_svg(path.read_text(encoding="utf-8"), image.picture.name, image.picture.alt)
    data = base64.b64encode(path.read_bytes()).decode()
    return Markup('<img alt="{}" src="data:image/png;base64,{}">').format(image.picture.alt, data)


def inline_svg(svg: str, name: str, alt: str) -> Markup:
    """An SVG file as an element of a page: its own ids, the page's colours and fonts, and its description."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'(url\(|href=")#', rf"\g<1>#{name}-", svg)
    svg = re.sub(r' width="[^"]*" height="[^"]*"', "", svg, count=1)
    for ink, colour in INKS.items():
        svg = svg.replace(ink, colour)
    svg = svg.replace("'DejaVu Sans'", "var(--sans)")
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{escape(alt)}"', 1).rstrip())


def to_markdown(article: Article, folder: Path) -> str:
    """The same article for the forge, with the figures beside it."""
    parts = [f"# {article.title}: {article.scale} scale", f"> **{plain(article.label)}.** {plain(article.banner)}."]
    parts.append("\n".join(f"- {plain(what)}: **{plain(number)}**" for number, what in article.facts))
    parts.append("[The same as one page](report.html), to be opened from disk; [as an article](article.md).")
    return "\n\n".join([*parts, *sections_in_markdown(article, folder)]) + "\n"


def sections_in_markdown(article: Article, folder: Path) -> list[str]:
    """The paragraphs of all sections; `folder` holds the figures."""
    parts: list[str] = []
    for section in article.sections:
        parts += [f"{'#' * section.level} {section.title}", *map(plain, section.words)]
        for item in section.items:
            parts += _part(item, article, folder)
    return parts


def _part(item: Part, article: Article, folder: Path) -> list[str]:
    if isinstance(item, Explorer):
        return ["It needs a browser: [open it in the page](report.html#explorer).", made(item)]
    return _table(item, article) if isinstance(item, Table) else _image(item, article, folder)


def _table(item: Table, article: Article) -> list[str]:
    lines: list[list[str]] = [
        [*map(plain, map(str, item.frame.columns))],
        ["--:" if kind(column) == "number" else "---" for column in item.frame.columns],
    ]
    lines += [[_plain(value, column) for column, value in row.items()] for row in item.frame.to_dict("records")]
    caption = " ".join(filter(None, [f"**{plain(item.title)}.**", plain(item.note), f"*{plain(article.label)}.*"]))
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    parts = [caption, table, made(item)]
    return ["<details>", f"<summary>{escape(item.title)}</summary>", *parts, "</details>"] if item.folded else parts


def made(item: Table | Explorer) -> str:
    """The command, file, run folders and commit behind numbers."""
    origin = f"Made by {code(item.command)}; numbers in [{item.file}]({item.file}); {plain(item.origin)}."
    return f"<sub>{origin}</sub>"


def _plain(value: str, column: object) -> str:
    text = str(value)
    first, *rest = text.split("\n")
    shown = "<br>".join([code(first) if column in CODES else plain(first), *map(plain, rest)])
    return f"[{shown.removeprefix('runs/')}]({link(text)})" if column == "Runs" and text.startswith("runs/") else shown


def link(path: str) -> str:
    """A relative path as the target of a link."""
    return quote(path, safe="/.")


def _image(item: Image, article: Article, folder: Path) -> list[str]:
    picture = item.picture
    caption = f"**{plain(picture.title)}.** {plain(picture.caption)} *{plain(article.label)}.*"
    if not (folder / item.file).is_file():
        return [f"*Missing: {code(item.file)} has not been made; run {code(item.command)}.*", caption]
    shown = f"![{plain(picture.alt)}]({link(item.file)})"
    return [shown, caption, f"<sub>Made by {code(item.command)}; {plain(item.origin)}.</sub>"]
