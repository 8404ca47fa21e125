"""One look for every figure: its style and colours, titles, how it is written. Importing this loads no matplotlib."""

import io
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from niny.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")
F = TypeVar("F", bound="Figure | None")

STYLE = Path(__file__).with_name("niny.mplstyle")
INK, MUTED = "#1b1f24", "#5b6570"
# Okabe and Ito's: told apart by colour-blind readers, and in grey
BLUE, ORANGE, GREEN, PINK = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
YELLOW, SKY = "#e69f00", "#56b4e9"


def styled(draw: Callable[P, F]) -> Callable[P, F]:
    """Let a function draw in the study's style, whatever else is set for matplotlib; its figure is closed for pyplot.

    (A notebook then shows it once, as a cell's value, and not again when the cell ends.)
    """

    @wraps(draw)
    def drawn(*arguments: P.args, **options: P.kwargs) -> F:
        import matplotlib.pyplot as plt

        with plt.style.context(["default", STYLE]):
            figure = draw(*arguments, **options)
            if figure is not None:
                plt.close(figure)
        return figure

    return drawn


def entitle(figure: "Figure", title: str, x: float = 0.01, **place: Any) -> None:
    """A title at the left, as small as it must be to stay inside the figure."""
    room = 12 * figure.get_size_inches()[0]  # characters that fit at full size
    size = 10 * min(1.0, room / max(1, len(title)))
    figure.suptitle(title, x=x, ha="left", fontsize=size, fontweight="bold", **place)


def bare(*axes: "Axes") -> None:
    """No ticks and no frame: what an image needs."""
    for axis in axes:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)


def head(axis: "Axes", text: str, size: float) -> None:
    """The name of a small image, centred above it."""
    axis.set_title(text, loc="center", fontsize=size, fontweight="normal", pad=3)


def save_picture(figure: "Figure", path: Path, dpi: int = 160) -> None:
    """Write a figure as PNG (or SVG or PDF, by the name's end), without dates or versions in the file."""
    import matplotlib.pyplot as plt

    kind = path.suffix.removeprefix(".").lower() or "png"
    blank = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    # a figure laid out by hand would be given the style's layout for good when it is saved
    saved = {"svg.hashsalt": "niny", "figure.constrained_layout.use": False}
    drawn = io.BytesIO()
    with plt.style.context(["default", STYLE, saved]):
        figure.savefig(drawn, format=kind, dpi=dpi, metadata=blank.get(kind))
    with replacing(path) as part:
        part.write_bytes(fewer_colours(drawn.getvalue()) if kind == "png" else drawn.getvalue())


def fewer_colours(png: bytes) -> bytes:
    """A PNG in the 256 colours that serve it best: a third of the bytes that git keeps, and much the same to the eye.

    Of maps over photographs, the hardest, one pixel in a hundred is off by more than 11 levels of 255, none by over 30.
    """
    from PIL import Image

    small = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        best = picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=3)
        best.save(small, "PNG", optimize=True)
    return min(png, small.getvalue(), key=len)
