"""Charts of map scores: each score with its interval beside its nulls, and how scores change while a network learns."""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

import pandas as pd

from niny.evaluation.statistics import summarise
from niny.maps.comparison import depth_of
from niny.maps.followed import COLUMNS, GRIDS, IMAGES, LOOKS, READINGS, column
from niny.maps.intervals import Scores
from niny.maps.meaning import MEANINGS, against_nulls
from niny.maps.nested import runs
from niny.maps.records import nulls_of
from niny.style import BLUE, GREEN, MUTED, ORANGE, PINK, entitle, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKS = {
    "uniform": "|",
    "random": "x",
    "centre": "o",
    "other_image": "s",
    "unaligned": "v",
    "untrained": "^",
    "permuted_labels": "P",
}

# Medians of 4,500 scores each on CIFAR-10 3x3 grids, of a 9L-S-CoDA-SQ network trained with binary cross-entropy, on
# images it is sure of: computed from the result files of the CoDA-Nets repository (Böhle et al. 2021).
PUBLISHED = {
    "its own linear maps": 0.938,
    "occlusion, 9 pixels": 0.867,
    "Grad-CAM": 0.743,
    "occlusion, 5 pixels": 0.567,
    "integrated gradients": 0.152,
    "gradient": 0.143,
    "gradient x input": 0.140,
}


def score_table(scores: Scores, names: Iterable[str]) -> pd.DataFrame:
    """Value, interval, n, runs and nulls of those of the named scores that there are, and where they lie to these."""
    rows = {}
    for name in (name for name in names if name in scores):
        low, high = scores[name]["interval"] or (math.nan, math.nan)
        rows[name] = {"value": scores[name]["value"], "low": low, "high": high}
        rows[name] |= {null: found["value"] for null, found in nulls_of(scores, name).items()}
    table = pd.DataFrame.from_dict(rows, orient="index", dtype=float).round(3)
    table["n"], table["runs"] = [scores[name]["n"] for name in rows], [runs(scores[name]) for name in rows]
    table["lies"] = [against_nulls(scores, name) for name in rows]
    return table.reindex(columns=[c for c in ("value", "low", "high", "n", "runs", *MARKS, "lies") if c in table])


def score_html(scores: Scores, names: Iterable[str]) -> str:
    """The same for a notebook: a table for each kind of score under what it means, with nothing cut off."""
    kinds: dict[str, list[str]] = {}
    for name in (name for name in names if name in scores):
        kinds.setdefault(name.partition(".")[0], []).append(name)
    return "".join(_kind_html(scores, kind, those) for kind, those in kinds.items())


def _kind_html(scores: Scores, kind: str, names: Sequence[str]) -> str:
    table = score_table(scores, names).fillna({"n": 0})
    table.index = pd.Index([name.partition(".")[2] for name in names])
    table.columns = table.columns.str.replace("_", " ")
    with pd.option_context("display.max_colwidth", None):
        html: str = table.to_html(na_rep="–", col_space={"runs": "4em", "lies": "16em"})
    return f"<p><b>{kind}</b>: {MEANINGS[kind]}</p>{html}"


@styled
def draw_scores(
    scores: Scores,
    names: Sequence[str],
    title: str,
    label: str,
    published: Mapping[str, float] | None = None,
) -> "Figure":
    """A line for each score that there is: a dot with its interval, and a grey mark for each of its nulls.

    `published` are numbers of others, drawn as lines below them.
    """
    there = [name for name in names if name in scores]
    figure, axes = _figure(7.5, 1.5 + 0.3 * (len(there) + len(published or {})))
    for y, name in enumerate(there):
        _line(axes, scores[name], nulls_of(scores, name), y)
    for y, (_, value) in enumerate((published or {}).items(), len(there)):
        axes.plot([value], [y], "D", markerfacecolor="none", markeredgecolor=ORANGE)
    ticks = [*there, *(f"published median, 3x3 mass: {name}, {value}" for name, value in (published or {}).items())]
    axes.set_yticks(range(len(ticks)), ticks, fontsize=8)
    axes.set_ylim(len(ticks) - 0.4, -0.6)
    axes.set(xlabel=label)
    entitle(figure, title)
    axes.grid(False, axis="y")
    figure.legend(*_unique(axes), loc="outside lower center", ncols=4, fontsize=8)
    return figure


def _line(axes: "Axes", score: Mapping[str, Any], nulls: Mapping[str, Any], y: int) -> None:
    for null, found in nulls.items():
        label = f"null: {null.replace('_', ' ')}"
        axes.plot([found["value"]], [y], MARKS[null], color=MUTED, markerfacecolor="none", markersize=6, label=label)
    value, interval = score["value"], score["interval"]
    if interval:  # with two seeds it reaches far beyond what such scores can be
        low, high = (min(max(bound, min(value, -1.0)), max(value, 1.0)) for bound in interval)
        axes.plot([low, high], [y, y], color=BLUE, linewidth=4, alpha=0.35, solid_capstyle="butt")
    axes.plot([value], [y], "o", color=BLUE, markersize=5, label=f"score, 95 % interval ({_of(score)})")


def _of(score: Mapping[str, Any]) -> str:
    return runs(score) if len(score["seeds"]) == 1 else f"{runs(score)} runs"


@styled
def draw_training(histories: Mapping[int, Sequence[Mapping[str, float]]], classes: int, title: str) -> "Figure | None":
    """Scores of 64 fixed test images against the epoch, in every reading, beside the test error; a thin line a seed.

    None where fewer than three epochs hold any: too few to see a course.
    """
    if len({row["epoch"] for rows in histories.values() for row in rows if column("entropy", "raw") in row}) < 3:
        return None
    panels = {"test error, %": {"test error": "test_error"}}
    panels |= {label: {name: column(look, view) for view, name in READINGS.items()} for look, label in LOOKS.items()}
    chances = {LOOKS["claim1_rate"]: 1 / classes, LOOKS["gridpg3_mass"]: 1 / 9}
    figure, grid = _figure(9.5, 6.2, 2, 3)
    for axes, (label, columns) in zip(grid.flatten(), panels.items(), strict=False):
        for (name, key), colour in zip(columns.items(), (BLUE, ORANGE, GREEN, PINK), strict=False):
            _curves(axes, histories, name, key, colour)
        if label in chances:
            axes.axhline(chances[label], color=MUTED, linewidth=0.8, linestyle=":", label="chance")
        axes.set(xlabel="epoch", ylabel=label)
        axes.set_ylim(bottom=0)
    grid[1, 2].axis("off")
    grid[1, 2].legend(*_unique(grid[0, 2]), loc="center", title="true class's map")
    entitle(figure, title)
    return figure


def training_table(histories: Mapping[int, Sequence[Mapping[str, float]]], classes: int) -> pd.DataFrame:
    """What `draw_training` draws, in numbers: at the first look and at the last, means over the seeds.

    The 95 % interval is of the last look: over seeds or, of a single one, over the images, where it was recorded.
    """
    chances = {
        "claim1_rate": f"{1 / classes:.3f}",
        "gridpg3_mass": f"{1 / 9:.3f}",
        "entropy": "1, flat",
        "gini": "0, flat",
    }
    rows = [_course(histories, "test_error", "test error, %", "", "")]
    for (look, view), key in COLUMNS.items():
        n = f"{GRIDS} grids" if look == "gridpg3_mass" else f"{IMAGES} images"
        rows.append(_course(histories, key, f"{LOOKS[look]}, {READINGS[view]}", n, chances[look]))
    found = [row for row in rows if row]
    return pd.DataFrame(found).set_index("look") if found else pd.DataFrame()


def _course(histories: Mapping[int, Any], key: str, label: str, n: str, chance: str) -> dict[str, str]:
    """One look at its first epoch and its last; empty where not every seed has it."""
    seeds = [[row for row in rows if key in row] for rows in histories.values()]
    if not seeds or not all(seeds):
        return {}
    first, last = ([rows[at] for rows in seeds] for at in (0, -1))
    bounds = summarise([row[key] for row in last]).interval or tuple(
        last[0].get(f"{key}_{end}") for end in ("low", "high")
    )
    means = {f"epoch {rows[0]['epoch']:.0f}": f"{fmean(row[key] for row in rows):.3f}" for rows in (first, last)}
    between = "–" if None in bounds else "{:.3f} to {:.3f}".format(*bounds)
    return {"look": label, **means, "95 % interval": between, "n": n, "chance": chance}


def _curves(axes: "Axes", histories: Mapping[int, Any], name: str, column: str, colour: str) -> None:
    for i, rows in enumerate(histories.values()):
        points = [(row["epoch"], row[column]) for row in rows if column in row]
        if points:
            axes.plot(*zip(*points, strict=True), ".-", color=colour, linewidth=1, label=None if i else name)


@styled
def draw_cascade(scores: Scores, title: str) -> "Figure | None":
    """Rank correlation of maps with the trained ones, signed and absolute, as layers lose their weights.

    Thin grey lines are its null, another image's map. None where maps of one value, a collapsed network's, have none.
    """
    names = [name for name in scores if name.startswith("cascade_rank.") and name.endswith(".raw")]
    names = sorted((n for n in names if "-" in n), key=lambda name: depth_of(name.split(".")[1]))
    if not names:
        return None
    layers = [name.split(".")[1].partition("-")[2] for name in names]
    figure, axes = _figure(7.5, 3.6)
    shown = (("", "signed", BLUE, "o-"), (".absolute", "absolute", ORANGE, "s--"))
    for end, kind, colour, style in shown:
        found = [scores[name + end] for name in names]
        axes.plot(layers, [one["value"] for one in found], style, color=colour, label=kind)
        low, high = zip(*(one["interval"] for one in found), strict=True)
        axes.fill_between(layers, low, high, color=colour, alpha=0.2, linewidth=0)
        nulls = [nulls_of(scores, name + end)["other_image"]["value"] for name in names]
        label = f"null: other image, {kind}"
        axes.plot(layers, nulls, ":" + style[0], color=MUTED, linewidth=1, markersize=3, label=label)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.set(ylabel="rank correlation", xlabel="weights drawn anew from the last layer down to this one", ylim=(-1, 1))
    entitle(figure, title)
    figure.legend(*_unique(axes), loc="outside lower center", ncols=4, fontsize=8)
    return figure


def _figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple["Figure", Any]:
    import matplotlib.pyplot as plt

    return plt.subplots(rows, columns, figsize=(width, height))


def _unique(axes: "Axes") -> tuple[list[Any], list[str]]:
    """Handles and labels of a legend, each label once."""
    found = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    return list(found.values()), list(found)
