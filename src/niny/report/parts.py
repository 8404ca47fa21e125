"""What a report is made of: sections, and tables and figures with the command, run folders and commit behind each."""

from collections.abc import Collection
from dataclasses import dataclass

import pandas as pd

from niny.report.drawing import Picture
from niny.report.explorer import Explorer
from niny.report.study import Study
from niny.report.tables import commits
from niny.report.words import distinct, plural


@dataclass(frozen=True)
class Table:
    """A table with its title and the command and file behind it; a second line in a cell is set small.

    A folded table is shown when a reader asks for it.
    """

    title: str
    frame: pd.DataFrame
    file: str
    command: str
    origin: str
    note: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Image:
    """A figure of the folder figures/, or its absence, and the command that makes it."""

    picture: Picture
    file: str
    command: str
    origin: str


Part = Table | Image | Explorer


@dataclass(frozen=True)
class Section:
    """Words, then tables and figures; a section of level 3 belongs to the one of level 2 before it."""

    id: str
    title: str
    words: tuple[str, ...]
    items: tuple[Part, ...] = ()
    level: int = 2


@dataclass(frozen=True)
class Article:
    """`facts` are pairs of a number and what it counts, shown large at the top; `kind` is that of the scale."""

    title: str
    scale: str
    label: str
    kind: str
    banner: str
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]


RUNS = "tables/runs.csv"


def report_command(study: Study) -> str:
    return f"dvc repro report@{study.scale.name}"


def table(
    study: Study,
    title: str,
    frame: pd.DataFrame,
    name: str,
    experiments: list[str] | None = None,
    note: str = "",
    folded: bool = False,
) -> Table:
    """A table of tables/; `experiments` are those that its numbers come from, all unless given."""
    return Table(
        title, frame, f"tables/{name}.csv", tables_command(study), origin(study, experiments), note, folded=folded
    )


def image(study: Study, picture: Picture, experiments: list[str] | None = None) -> Image:
    """A figure of figures/, drawn with the tables."""
    return Image(picture, f"figures/{picture.name}.svg", tables_command(study), origin(study, experiments))


def tables_command(study: Study) -> str:
    return f"dvc repro tables@{study.scale.name}"


def origin(study: Study, experiments: list[str] | None = None, seeds: Collection[int] | None = None) -> str:
    """The run folders behind numbers and the commits they were made at, in words; all, unless some are named."""
    runs = study.runs if experiments is None else study.runs[study.runs["experiment"].isin(experiments)]
    runs = runs if seeds is None else runs[runs["seed"].isin(seeds)]
    names = list(dict.fromkeys(runs["experiment"]))
    if not names:
        return "no runs yet"
    several = f"all folders of `runs/`, listed in [{RUNS}]({RUNS})"
    where = several if experiments is None and len(names) > 3 else ", ".join(f"`runs/{name}`" for name in names)
    return f"{plural(len(runs), 'run')} in {where}, trained at commit {distinct(commits(runs))}"
