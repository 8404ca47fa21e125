"""What a report is made of: sections, and tables and figures with the command and file behind each."""

from dataclasses import dataclass

import pandas as pd

from niny.report.drawing import Picture


@dataclass(frozen=True)
class Table:
    """A table with its title and the command and file behind it; a second line in a cell is set small."""

    title: str
    frame: pd.DataFrame
    file: str
    command: str
    origin: str
    note: str = ""


@dataclass(frozen=True)
class Image:
    """A figure of the folder figures/, or its absence, and the command that makes it."""

    picture: Picture
    file: str
    command: str
    origin: str


@dataclass(frozen=True)
class Section:
    id: str
    title: str
    words: tuple[str, ...]
    items: tuple[Table | Image, ...] = ()


@dataclass(frozen=True)
class Article:
    """`facts` are pairs of a number and what it counts, shown large at the top."""

    title: str
    label: str
    evidence: bool
    banner: str
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
