"""Figure 4 again (section 4.7): test images, and beside each the maps of all classes.

The paper shows twenty images of its choice and only the top tenth of the activations, without saying of what; on its
figure that is the tenth of all maps of one image together ("pooled"). Here images are drawn by chance, one a class,
and both readings can be had, besides all values. One scale serves all maps of an image: maps scaled one by one would
hide which is largest. Pictures of the same data are the same bytes.
"""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from niny.files import replacing
from niny.maps.attribution import TITLES
from niny.maps.figure4 import TOP, top_cells

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Reading = Literal["pooled", "each"]

TRUE, PREDICTED = "#e66100", "#000000"  # frame and bar: told apart by place and by lightness too
NOTHING = "#f2f2f2"  # cells outside the top tenth
SHOWN = {None: "all values", "pooled": "the image's largest tenth of all cells", "each": "each map's largest tenth"}


def choose_images(labels: Tensor, seed: int, per_class: int = 1) -> Tensor:
    """Indices of images drawn by chance, `per_class` of each class, class by class; no look at what a network says."""
    generator = torch.Generator().manual_seed(seed)
    pools = [torch.nonzero(labels.cpu() == c).flatten() for c in labels.unique().cpu()]
    return torch.cat([pool[torch.randperm(len(pool), generator=generator)[:per_class]] for pool in pools])


def choose_surest(labels: Tensor, logits: Tensor, per_class: int = 1) -> Tensor:
    """Indices of the correctly recognised images of which a network is surest, class by class: a choice that flatters.

    The paper's choice is of its kind (every image it shows is recognised). A class without a recognised image is
    missing. Labels N, logits N x K.
    """
    sure, said = logits.softmax(1).max(1)
    sure = sure.masked_fill(said != labels, -1)
    pools = [torch.nonzero(labels == c).flatten() for c in labels.unique()]
    best = [pool[sure[pool].argsort(descending=True, stable=True)[:per_class]] for pool in pools]
    return torch.cat([some[sure[some] >= 0] for some in best])


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
    them over the image in grey. Maps with negative values (centred, margin) get a diverging scale around 0. `width` in
    inches.
    """
    import matplotlib.pyplot as plt

    rows, kinds = maps.shape[:2]
    cell = width / (kinds + 1)
    height = cell * rows + 0.75
    figure, grid = plt.subplots(
        rows,
        kinds + 1,
        figsize=(width, height),
        squeeze=False,
        gridspec_kw={"wspace": 0.08, "hspace": 0.08},
    )
    figure.subplots_adjust(left=0.005, right=0.995, bottom=0.3 / height, top=1 - 0.47 / height)
    shown = visible(maps.float().cpu(), reading)
    signed = bool((maps < 0).any())
    for row, axes in enumerate(grid):
        _draw_row(axes, images[row], shown[row].numpy(), signed, overlay)
        _mark(axes[1 + int(labels[row])], axes[1 + int(predicted[row])])
    for axis, name in zip(grid[0], ("", *names), strict=True):
        axis.set_title(_short(name), fontsize=max(5.0, 9 * cell), pad=3)
    _explain(figure, title or f"Class maps: {SHOWN[reading]}", signed)
    plt.close(figure)  # shown once, as a cell's value, and not again by the notebook's backend
    return figure


def show_attributions(
    images: NDArray[np.uint8], maps: Tensor, found: Mapping[str, Tensor], names: Sequence[str], title: str
) -> "Figure":
    """A row for each image R x C x H x W, `names` beside it: its class map R x h x w, what each method gives, the same.

    Methods have units of their own, so each square has a scale of its own, symmetric around 0; no size can be compared
    between squares, only places.
    """
    import matplotlib.pyplot as plt

    columns = {"class map": maps, **found}
    cell = 9.6 / (len(columns) + 1)
    figure, grid = plt.subplots(
        len(images), len(columns) + 1, figsize=(9.6, cell * len(images) + 0.9), squeeze=False, layout="constrained"
    )
    for row, axes in enumerate(grid):
        pixels = images[row].transpose(1, 2, 0) if len(images[row]) == 3 else images[row][0]
        axes[0].imshow(pixels, cmap="gray", vmin=0, vmax=255)
        axes[0].set_ylabel(names[row], fontsize=7)
        for axis, (name, shown) in zip(axes[1:], columns.items(), strict=True):
            values = shown[row].float().cpu().numpy()
            axis.imshow(values, **colours(values, signed=True))
            if row == 0:
                axis.set_title(textwrap.fill(TITLES[name][0] if name in TITLES else name, 14), fontsize=8)
        for axis in axes:
            axis.set(xticks=[], yticks=[])
    entitle(figure, title, x=0.005)
    plt.close(figure)
    return figure


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

    figure = plt.figure(figsize=(9.6, 4.2))
    grid = figure.add_gridspec(2, 8, width_ratios=(1.9, 0.15, 1, 1, 1, 1, 1, 0.12), wspace=0.12, hspace=0.3)
    figure.subplots_adjust(left=0.01, right=0.94, bottom=0.04, top=0.82)
    left = [figure.add_subplot(grid[row, 0]) for row in (0, 1)]
    seen = pixels.transpose(1, 2, 0) if len(pixels) == 3 else pixels[0]
    for axis, image, name in zip(
        left, (square, seen), ("the image", f"as the network sees it: {seen.shape[0]} pixels"), strict=True
    ):
        axis.imshow(image, cmap="gray", vmin=0, vmax=255)
        axis.set_title(name, fontsize=9)
    shown = chances.topk(min(10, len(names))).indices.sort().values.tolist()
    values = maps[shown].float().cpu()
    axes = [figure.add_subplot(grid[i // 5, 2 + i % 5]) for i in range(len(shown))]
    for axis, k, one in zip(axes, shown, values.numpy(), strict=True):
        drawn = axis.imshow(one, **colours(values.numpy(), bool((values < 0).any())))
        axis.set_title(f"{_short(names[k])}\n{chances[k]:.1%}", fontsize=9)
        if k == int(chances.argmax()):
            axis.title.set_fontweight("bold")
            axis.spines[:].set(color=TRUE, linewidth=2.5)
    for axis in (*left, *axes):
        axis.set(xticks=[], yticks=[])
    figure.colorbar(drawn, cax=figure.add_subplot(grid[:, 7])).set_label("map value", fontsize=9)
    entitle(figure, title)
    plt.close(figure)
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


def _draw_row(
    axes: Sequence["Axes"], image: NDArray[np.uint8], maps: NDArray[np.float32], signed: bool, overlay: bool
) -> None:
    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    axes[0].imshow(pixels, cmap="gray", vmin=0, vmax=255)
    scale = colours(maps, signed)
    frame = (-0.5, image.shape[2] - 0.5, image.shape[1] - 0.5, -0.5)
    for axis, values in zip(axes[1:], maps, strict=True):
        if overlay:
            axis.imshow(image.mean(0), cmap="gray", vmin=0, vmax=255)
        axis.imshow(values, extent=frame, alpha=0.6 if overlay else 1.0, **scale)
    for axis in axes:
        axis.set(xticks=[], yticks=[], facecolor=NOTHING)
        axis.spines[:].set_visible(False)


def _mark(true: "Axes", predicted: "Axes") -> None:
    true.spines[:].set(visible=True, color=TRUE, linewidth=2.5)
    where: dict[str, Any] = {"clip_on": False, "transform": predicted.transAxes, "zorder": 9}
    predicted.plot([0, 1], [-0.02, -0.02], color=PREDICTED, linewidth=3, **where)


def _short(name: str) -> str:
    return name if len(name) <= 10 else name[:9] + "…"


def _explain(figure: "Figure", title: str, signed: bool) -> None:
    inch = 1 / figure.get_size_inches()[1]
    entitle(figure, title, x=0.005, y=1 - 0.05 * inch, va="top")
    scale = "one colour scale a row: " + (
        "purple below 0, orange above" if signed else "dark is small, bright is large"
    )
    notes = (
        (0.005, "framed: true class", TRUE),
        (0.2, "bar below: predicted class", PREDICTED),
        (0.995, scale, "#555"),
    )
    for x, text, colour in notes:
        figure.text(x, 0.06 * inch, text, color=colour, va="bottom", ha="right" if x > 0.5 else "left", fontsize=8)


def entitle(figure: "Figure", title: str, x: float = 0.01, **place: Any) -> None:
    """A title at the left, as small as it must be to stay inside the figure."""
    room = 12 * figure.get_size_inches()[0]  # characters that fit at full size
    size = 10 * min(1.0, room / max(1, len(title)))
    figure.suptitle(title, x=x, ha="left", fontsize=size, fontweight="bold", **place)


def save_picture(figure: "Figure", path: Path, dpi: int = 160) -> None:
    """Write a figure as PNG (or SVG or PDF, by the name's end), without dates or versions in the file."""
    import matplotlib as mpl
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)  # a $ in a name is no formula
    kind = path.suffix.removeprefix(".") or "png"
    blank = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with mpl.rc_context({"svg.hashsalt": "niny"}), replacing(path) as part:
        figure.savefig(part, format=kind, dpi=dpi, metadata=blank.get(kind))
