"""What every figure of the report shares: colours, style, how it is told in words, how it is saved."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matplotlib import style
from matplotlib.figure import Figure

from niny.files import replacing
from niny.report.study import Study, scale_label

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
    """Draw a figure, say on it which scale it is of, and write it as SVG: the same bytes for the same records."""
    # The salt makes ids reproducible, and different from figure to figure on one page.
    with style.context([STYLE, {"svg.hashsalt": path.stem}]), replacing(path) as part:
        figure = draw(study)
        colour = BLUE if study.scale.evidence else ORANGE
        figure.suptitle(scale_label(study.scale), x=0.005, ha="left", size=8, weight="bold", color=colour)
        figure.savefig(part, format="svg", metadata={"Date": None, "Creator": None})
    return path
