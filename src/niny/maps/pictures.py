"""Figure 4 again (section 4.7): test images, and beside each the maps of all classes.

The paper shows twenty images of its choice and only the top tenth of the activations, without saying of what; on its
figure that is the tenth of all maps of one image together ("pooled"). Here images are drawn by chance, one a class (of
ten, as on its figure, where there are more), and both readings can be had, besides all values. One scale serves all
maps of an image: maps scaled one by one would hide which is largest. Pictures of the same data are the same bytes.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from niny.maps.attribution import TITLES
from niny.maps.figure4 import TOP, top_cells
from niny.style import MUTED, ORANGE, bare, entitle, head, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Reading = Literal["pooled", "each"]

TRUE, PREDICTED = ORANGE, "#000000"  # frame and bar: told apart by place and by lightness too
NOTHING = 242  # grey of cells outside the top tenth
IMAGE: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 255, "interpolation": "nearest"}  # pixels as they are
MOST = 10  # classes of a picture
GAP = 0.07  # between squares of side 1
SHOWN = {None: "all values", "pooled": "the image's largest tenth of all cells", "each": "each map's largest tenth"}


def choose_images(labels: Tensor, seed: int, per_class: int = 1) -> Tensor:
    """Indices of images drawn by chance, `per_class` of each class, class by class; no look at what a network says.

    Of more than ten classes ten are drawn first.
    """
    generator = torch.Generator().manual_seed(seed)
    classes = labels.unique().cpu()
    if len(classes) > MOST:
        classes = classes[torch.randperm(len(classes), generator=generator)[:MOST]].sort().values
    pools = [torch.nonzero(labels.cpu() == c).flatten() for c in classes]
    return torch.cat([pool[torch.randperm(len(pool), generator=generator)[:per_class]] for pool in pools])


def choose_surest(labels: Tensor, logits: Tensor, per_class: int = 1) -> Tensor:
    """Indices of the correctly recognised images of which a network is surest, class by class: a choice that flatters.

    The paper's choice is of its kind (every image it shows is recognised). A class without a recognised image is
    missing; of more than ten classes those ten stay whose images it is surest of. Labels N, logits N x K.
    """
    sure, said = logits.softmax(1).max(1)
    right = torch.nonzero(said == labels).flatten()
    pools = [right[labels[right] == c] for c in labels[right].unique()]
    best = [pool[sure[pool].argsort(descending=True, stable=True)[:per_class]] for pool in pools]
    best = sorted(best, key=lambda some: float(sure[some[0]]), reverse=True)[:MOST]
    return torch.cat([right[:0], *sorted(best, key=lambda some: int(labels[some[0]]))])


@styled
def show_maps(
    images: NDArray[np.uint8],
    maps: Tensor,
    labels: Tensor,
    predicted: Tensor,
    names: Sequence[str],
    *,
    reading: Reading | None = "pooled",
    overlay: bool = False,
    title: str | None = None,
    width: float = 8.0,
) -> "Figure":
    """A row for each image: the image (uint8 R x C x H x W, not preprocessed), then its K maps (R x K x h x w).

    The true class's map is framed in orange, that of the predicted class marked by a black bar below. `reading` says
    which cells are shown: the largest tenth of the image's maps together, of each map, or (None) all; `overlay` lays
    them over the image in grey. Maps with negative values (centred, margin) get a diverging scale around 0. Of more
    than ten classes those of the images are shown, on the scale of all. `width` in inches.
    """
    rows, kinds = maps.shape[:2]
    classes = list(range(kinds)) if kinds <= MOST else labels.unique().tolist()
    columns = {k: column for column, k in enumerate(classes, 1)}
    figure, axes = _squares(rows, len(classes) + 1, width, above=0.47, below=0.3)
    shown = visible(maps.float().cpu(), reading).numpy()
    signed = bool((maps < 0).any())
    for row in range(rows):
        _draw_row(axes, row, images[row], shown[row, classes], colours(shown[row], signed), overlay)
        _mark(axes, row, columns[int(labels[row])], columns.get(int(predicted[row])))
    _head(axes, ("", *(_short(names[k]) for k in classes)), max(5.0, 9 * width / (len(classes) + 1)))
    _explain(figure, title or f"Class maps: {SHOWN[reading]}", signed, all_shown=len(classes) == kinds)
    return figure


@styled
def show_attributions(
    images: NDArray[np.uint8], maps: Tensor, found: Mapping[str, Tensor], names: Sequence[str], title: str
) -> "Figure":
    """A row for each image R x C x H x W, `names` beside it: its class map R x h x w, what each method gives, the same.

    Methods have units of their own, so each square has a scale of its own, symmetric around 0; no size can be compared
    between squares, only places.
    """
    columns = {"class map": maps, **found}
    figure, axes = _squares(len(images), len(columns) + 1, width=9.6, above=0.75, below=0.05, left=0.32)
    for row, name in enumerate(names):
        axes.text(-GAP, row + 0.5, name, rotation=90, ha="right", va="center", fontsize=7)
        _lay(axes, row, 0, _pixels(images[row]), **IMAGE)
        for column, values in enumerate((shown[row].float().cpu().numpy() for shown in columns.values()), 1):
            _lay(axes, row, column, values, **colours(values, signed=True))
    titles = [TITLES[name][0] if name in TITLES else name for name in columns]
    _head(axes, ("", *(textwrap.fill(title, 14) for title in titles)), 8)
    entitle(figure, title, x=0.005, y=1 - 0.05 / figure.get_size_inches()[1], va="top")
    return figure


@styled
def show_photograph(
    square: NDArray[np.uint8],
    pixels: NDArray[np.uint8],
    maps: Tensor,
    chances: Tensor,
    names: Sequence[str],
    *,
    title: str,
) -> "Figure":
    """An image (S x S x 3), what the network sees of it (C x H x W), and its maps K x h x w on one scale.

    The ten likeliest classes are shown, in their usual order, with their probabilities `chances` [K]; the first of them
    is framed.
    """
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(9.6, 4.2), layout="none")
    grid = figure.add_gridspec(2, 8, width_ratios=(1.9, 0.15, 1, 1, 1, 1, 1, 0.12), wspace=0.12, hspace=0.3)
    figure.subplots_adjust(left=0.01, right=0.94, bottom=0.04, top=0.82)
    left = [figure.add_subplot(grid[row, 0]) for row in (0, 1)]
    seen = pixels.transpose(1, 2, 0) if len(pixels) == 3 else pixels[0]
    for axis, image, name in zip(
        left, (square, seen), ("the image", f"as the network sees it: {seen.shape[0]} pixels"), strict=True
    ):
        axis.imshow(image, cmap="gray", vmin=0, vmax=255)
        head(axis, name, 9)
    shown = chances.topk(min(10, len(names))).indices.sort().values.tolist()
    values = maps[shown].float().cpu()
    axes = [figure.add_subplot(grid[i // 5, 2 + i % 5]) for i in range(len(shown))]
    for axis, k, one in zip(axes, shown, values.numpy(), strict=True):
        drawn = axis.imshow(one, **colours(values.numpy(), bool((values < 0).any())))
        head(axis, f"{_short(names[k])}\n{chances[k]:.1%}", 9)
    bare(*left, *axes)
    first = axes[shown.index(int(chances.argmax()))]
    first.title.set_fontweight("bold")
    first.spines[:].set(visible=True, color=TRUE, linewidth=2.5)
    figure.colorbar(drawn, cax=figure.add_subplot(grid[:, 7])).set_label("map value", fontsize=9)
    entitle(figure, title)
    return figure


def colours(values: NDArray[np.float32], signed: bool) -> dict[str, Any]:
    """Colours and range for all maps of one image: from 0 up, or diverging around 0 where there are negative values."""
    top = max(float(np.nanmax(np.abs(values), initial=0.0)), 1e-12)
    return {"cmap": "PuOr_r" if signed else "viridis", "vmin": -top if signed else 0, "vmax": top}


def visible(maps: Tensor, reading: Reading | None) -> Tensor:
    """R x K x h x w maps with NaN in the cells that the reading leaves out; a map that is all ties shows nothing."""
    if reading is None:
        return maps
    grouped = maps if reading == "pooled" else maps.flatten(0, 1)[:, None]
    kept = top_cells(grouped, TOP).view(maps.shape) & (maps > grouped.amin((1, 2, 3)).view(len(maps), -1, 1, 1))
    return maps.masked_fill(~kept, torch.nan)


def _squares(
    rows: int, columns: int, width: float, above: float, below: float, left: float = 0.0
) -> tuple["Figure", "Axes"]:
    """A figure that holds rows x columns squares of side 1 - GAP in one axes, whose units are squares; margins in inch.

    One axes, not one a square: a hundred of them take matplotlib ten seconds.
    """
    import matplotlib.pyplot as plt

    side = (width - left) / columns
    height = side * rows + above + below
    figure = plt.figure(figsize=(width, height), layout="none")
    axes = figure.add_axes((left / width, below / height, 1 - left / width, side * rows / height))
    axes.set(xlim=(-GAP / 2, columns - GAP / 2), ylim=(rows - GAP / 2, -GAP / 2), autoscale_on=False)
    bare(axes)
    return figure, axes


def _lay(axes: "Axes", row: int, column: int, values: NDArray[Any], **looks: Any) -> None:
    """Draw an image or a map in a square of `_squares`."""
    axes.imshow(values, extent=(column, column + 1 - GAP, row + 1 - GAP, row), aspect="auto", **looks)


def _draw_row(
    axes: "Axes", row: int, image: NDArray[np.uint8], maps: NDArray[np.float32], scale: dict[str, Any], overlay: bool
) -> None:
    _lay(axes, row, 0, _pixels(image), **IMAGE)
    for column, values in enumerate(maps, 1):
        below = image.mean(0) if overlay else np.full((1, 1), NOTHING)
        _lay(axes, row, column, below, **IMAGE)
        _lay(axes, row, column, values, alpha=0.6 if overlay else 1.0, **scale)


def _pixels(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """C x H x W as matplotlib draws it."""
    return image[0] if len(image) == 1 else image.transpose(1, 2, 0)


def _mark(axes: "Axes", row: int, true: int, predicted: int | None) -> None:
    """Frame the map of the true class, and underline that of the predicted class, if it is shown."""
    side = 1 - GAP
    across, down = np.array([0, 1, 1, 0, 0, 1]) * side + true, np.array([0, 0, 1, 1, 0, 0]) * side + row
    axes.plot(across, down, color=TRUE, linewidth=2.5, solid_joinstyle="miter", clip_on=False)
    if predicted is not None:
        axes.plot([predicted, predicted + side], [row + 1.02 * side] * 2, color=PREDICTED, linewidth=3, clip_on=False)


def _head(axes: "Axes", names: Sequence[str], size: float) -> None:
    """The name of each column above it."""
    for column, name in enumerate(names):
        axes.text(column + (1 - GAP) / 2, -0.04, name, fontsize=size, ha="center", va="bottom")


def _short(name: str) -> str:
    return name if len(name) <= 10 else name[:9] + "…"


def _explain(figure: "Figure", title: str, signed: bool, all_shown: bool) -> None:
    inch = 1 / figure.get_size_inches()[1]
    entitle(figure, title, x=0.005, y=1 - 0.05 * inch, va="top")
    scale = "one colour scale a row: " + (
        "purple below 0, orange above" if signed else "dark is small, bright is large"
    )
    notes = (
        (0.005, "framed: true class", TRUE),
        (0.2, "bar below: predicted class" + ("" if all_shown else ", where it is shown"), PREDICTED),
        (0.995, scale, MUTED),
    )
    for x, text, colour in notes:
        figure.text(x, 0.06 * inch, text, color=colour, va="bottom", ha="right" if x > 0.5 else "left", fontsize=8)
