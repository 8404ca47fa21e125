"""What every figure of the report shares: how it is told in words, which scale it says it is of, how it is saved."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matplotlib import style
from matplotlib.figure import Figure

from niny.files import replacing
from niny.report.study import Study, scale_label
from niny.style import BLUE, ORANGE, STYLE


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
    with style.context(["default", STYLE, {"svg.hashsalt": path.stem}]), replacing(path) as part:
        figure = draw(study)
        colour = BLUE if study.scale.evidence else ORANGE
        figure.suptitle(scale_label(study.scale), x=0.005, ha="left", size=8, weight="bold", color=colour)
        figure.savefig(part, format="svg", metadata={"Date": None, "Creator": None})
    return path
