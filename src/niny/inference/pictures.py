"""A picture of what a network saw and said: each image beside the maps of its likeliest classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from niny.errors import NinyError
from niny.inference.model import Answer
from niny.style import bare, entitle, head, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")
MOST, WIDEST = 20, 10  # rows and maps a row that a page can show


@styled
def draw_answers(answers: Sequence[Answer], title: str, top: int = 5) -> "Figure":
    """A row for each image: the image as the network saw it, then the maps of its likeliest classes, at most ten.

    All maps of a row share one colour scale, shown at its end. Raises NinyError for a network without maps.
    """
    import matplotlib.pyplot as plt

    if any(answer.maps is None for answer in answers):
        raise NinyError("this network has no class maps to draw: leave out --maps")
    columns = min(top, WIDEST, len(answers[0].labels))
    heights = [answer.seen.pixels.shape[1] / answer.seen.pixels.shape[2] for answer in answers]
    figure, grid = plt.subplots(
        len(answers),
        columns + 2,
        figsize=(1.6 * (columns + 1) + 0.9, sum(1.6 * height + 0.35 for height in heights) + 0.5),
        squeeze=False,
        height_ratios=heights,
        width_ratios=[*[1.0] * (columns + 1), 0.07],
    )
    for row, answer in zip(grid, answers, strict=True):
        _draw_row(row, answer, columns)
    entitle(figure, title)
    return figure


def _draw_row(axes: "Sequence[Axes]", answer: Answer, columns: int) -> None:
    assert answer.maps is not None
    image, *cells, bar = axes
    pixels = answer.seen.pixels
    image.imshow(pixels.permute(1, 2, 0) if len(pixels) == 3 else pixels[0], cmap="gray", vmin=0, vmax=255)
    name = _short(Path(answer.seen.name).name, 18)
    head(image, f"{name}\n{pixels.shape[2]} x {pixels.shape[1]} pixels", 8)
    order = answer.probabilities.argsort(descending=True, stable=True)[:columns]
    maps = answer.maps[order]
    most = float(maps.abs().max().clamp_min(1e-12))
    scale: dict[str, Any] = (
        {"cmap": "PuOr_r", "vmin": -most} if bool((maps < 0).any()) else {"cmap": "viridis", "vmin": 0.0}
    )
    for axis, k, one in zip(cells, order.tolist(), maps, strict=True):
        drawn = axis.imshow(one, vmax=most, **scale)
        head(axis, f"{_short(answer.labels[k], 14)}\n{answer.probabilities[k]:.1%}", 8)
    bare(image, *cells)
    bar.figure.colorbar(drawn, cax=bar).set_label("map value", fontsize=8)
    bar.tick_params(labelsize=7)


def _short(name: str, length: int) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"


def check_target(path: Path, images: Sequence[Path]) -> None:
    """Refuse a picture that could not be written or would destroy an image, before any work is done."""
    if len(images) > MOST:
        raise NinyError(f"--maps draws at most {MOST} images, these are {len(images)}: give fewer")
    if path.resolve() in [image.resolve() for image in images]:
        raise NinyError(f"{path} is one of the images: name another file")
    if path.is_dir():
        raise NinyError(f"{path} is a folder: name a file in it")
    if path.suffix.lower() not in FORMATS:
        raise NinyError(f"{path}: pictures are written as {', '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise NinyError(f"{path.parent} is no folder: make it first, or name another file")
