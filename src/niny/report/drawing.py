"""What every figure of the report shares: colours, style, how it is told in words, how it is saved."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matplotlib import style
from matplotlib.figure import Figure

from niny.files import replacing
from niny.report.study import Study

STYLE = Path(__file__).with_name("niny.mplstyle")
INK, MUTED = "#1b1f24", "#5b6570"
BLUE, ORANGE = "#0072b2", "#d55e00"


@dataclass(frozen=True)
class Picture:
    """A figure of the report: file name without suffix, caption, and what it shows for those who cannot see it."""

    name: str
    title: str
    caption: str
    alt: str


def save(draw: Callable[[Study], Figure], study: Study, path: Path) -> Path:
    # The salt makes ids reproducible, and different from figure to figure on one page.
    with style.context([STYLE, {"svg.hashsalt": path.stem}]), replacing(path) as part:
        draw(study).savefig(part, format="svg", metadata={"Date": None, "Creator": None})
    return path
