"""How the class maps change while a network learns: scores of 64 fixed test images against the test error."""

from collections.abc import Sequence
from itertools import cycle
from statistics import fmean

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from niny.evaluation.statistics import summarise
from niny.maps.followed import COLUMNS, IMAGES, LOOKS, READINGS, is_of_classes
from niny.report.drawing import Picture
from niny.report.study import REFERENCE, Study, measured
from niny.report.words import number
from niny.style import BLUE, GREEN, INK, MUTED, ORANGE, PINK, YELLOW

DASHED = tuple((colour, dash) for dash in ("-", "--", ":") for colour in (BLUE, ORANGE, GREEN, PINK, YELLOW, INK))
ERROR, TICKS = "test_error", (90, 30, 10, 3, 1, 0.3)
LEAST = 0.1  # per cent: the axis of errors is logarithmic


def followed(study: Study) -> list[str]:
    """The networks whose maps were looked at while they learnt.

    Of networks that died there is nothing to follow, and where labels are permuted no error falls.
    """
    asked = (e for e in study.experiments if e.labels == "true")
    alive = {e.name: e.head for e in asked if study.errors(e.name).n}
    found = {name: [c for c in COLUMNS.values() if _path(study, name, c)] for name in alive}
    return [name for name, columns in found.items() if columns and is_of_classes(alive[name], columns)]


def dynamics_picture(study: Study) -> Picture:
    """The figure in words."""
    told = [
        f"{name}, {LOOKS[look]}, {READINGS[view]}: {number(path[0][1])} at an error of {path[0][0]:.1f} %, "
        f"{number(path[-1][1])} at the end"
        for name in followed(study)
        for (look, view), column in COLUMNS.items()
        if (path := _path(study, name, column))
    ]
    return Picture(
        "map-epochs",
        "Class maps while networks learn",
        f"{IMAGES} fixed test images, looked at whenever the test error was measured, in four readings of their maps; "
        "time runs to the right, as the test error falls. A line is the mean over the runs of an experiment, its last "
        "epoch the large dot with its 95 % interval: over runs or, of a single one, over the images, where it was "
        f"recorded. Nothing was chosen by these images. Dotted: chance, with {classes_of(study)} classes or nine "
        "cells; a flat map's entropy is 1, its Gini index 0.",
        "Line plots of map scores against the test error. " + ("; ".join(told) or "Nothing was measured") + ".",
    )


def while_learning(study: Study) -> list[str]:
    """How the reference's maps, as they are, changed from the first look to the last."""
    paths = {look: _path(study, REFERENCE, COLUMNS[look, "raw"]) for look in LOOKS}
    changes = [
        f"{words} {number(path[0][1])} to {number(path[-1][1])}"
        for look, words in LOOKS.items()
        if len(path := paths[look]) > 1
    ]
    if REFERENCE not in followed(study) or not changes:
        return []
    (first, _), *_, (last, _) = max(paths.values(), key=len)
    told = f"While `{REFERENCE}` learned, from a test error of {first:.1f} % to {last:.1f} %, its maps of {IMAGES} test"
    return [f"{told} images changed: {'; '.join(changes)}."]


def draw_dynamics(study: Study) -> Figure:
    """A row for each score, a column for each reading, a line for each network from the first look to the last."""
    names = followed(study)
    figure = Figure(figsize=(7.2, 8.4))
    if not names:
        figure.text(0.5, 0.4, "no class map was looked at in training", ha="center", color=MUTED)
        return figure
    chances = chance_of(study)
    panels = figure.subplots(len(LOOKS), len(READINGS), sharex=True, sharey=True)
    for axes, column in zip(panels.flatten(), COLUMNS.values(), strict=True):
        for name, (colour, dash) in zip(names, cycle(DASHED)):
            _line(axes, _path(study, name, column), name, colour, dash)
            _spread(axes, _path(study, name, column), interval_at_the_end(study, name, column), colour)
        if chance := chances.get(column):
            axes.axhline(chance, color=MUTED, linewidth=0.8, linestyle=":")
        if not any(line.get_label() in names for line in axes.lines):
            axes.text(0.5, 0.5, "not recorded", ha="center", color=MUTED, size=8, transform=axes.transAxes)
    _label(panels, [error for name in names for column in COLUMNS.values() for error, _ in _path(study, name, column)])
    legend = {line.get_label(): line for axes in panels.flatten() for line in axes.lines if line.get_label() in names}
    figure.legend(legend.values(), legend.keys(), loc="outside lower center", ncols=3)
    return figure


def chance_of(study: Study) -> dict[str, float]:
    """What maps that know nothing give: the true one of K holds the largest cell, the right one of nine the mass."""
    levels = {"claim1_rate": 1 / classes_of(study), "gridpg3_mass": 1 / 9}
    return {column: levels[look] for (look, _), column in COLUMNS.items() if look in levels}


def classes_of(study: Study) -> int:
    """Of the reference's data."""
    return study.params.datasets[study.params.experiments[REFERENCE].dataset].classes


def _label(panels: NDArray[np.object_], errors: Sequence[float]) -> None:
    for axes, reading in zip(panels[0], READINGS.values(), strict=True):
        axes.set_title(reading, size=8, weight="normal")
    for axes, look in zip(panels[:, 0], LOOKS.values(), strict=True):
        axes.set_ylabel(look, size=8)
    for axes in panels[-1]:
        axes.set_xlabel("test error, %", size=8)
    first = panels[0, 0]
    first.set_ylim(0, 1)
    first.set_xscale("log")
    left, right = 1.08 * max(errors), min(errors) / 1.08
    first.set_xlim(left, right)
    ticks = [tick for tick in TICKS if right <= tick <= left]  # others would widen the axis
    for axes in panels.flatten():
        axes.set_xticks(ticks, [str(tick) for tick in ticks], size=7)
        axes.minorticks_off()


def _line(axes: Axes, path: list[tuple[float, float]], name: str, colour: str, dash: str) -> None:
    if path:
        axes.plot(*zip(*path, strict=True), color=colour, linestyle=dash, marker=".", markersize=3, label=name)
        axes.plot(*path[-1], "o", color=colour, markersize=5)


def _spread(axes: Axes, path: list[tuple[float, float]], interval: tuple[float, float] | None, colour: str) -> None:
    if path and interval:
        axes.vlines(path[-1][0], *interval, color=colour, linewidth=1)


def interval_at_the_end(study: Study, name: str, column: str) -> tuple[float, float] | None:
    """Of the last look, 95 %: over runs where there are several, else over the images that the one run looked at."""
    history = study.result(name).history
    scores, *ends = (measured(history, f"{column}{end}") for end in ("", "_low", "_high"))
    if not scores:
        return None
    if len(history) > 1:
        return summarise(scores[max(scores)]).interval
    low, high = (found.get(max(scores)) for found in ends)
    return (low[0], high[0]) if low and high else None


def _path(study: Study, name: str, column: str) -> list[tuple[float, float]]:
    """(test error, score) by epoch, means over the runs, for the epochs that all of them looked at."""
    history = study.result(name).history
    errors, scores = measured(history, ERROR), measured(history, column)
    return [(max(fmean(errors[epoch]), LEAST), fmean(scores[epoch])) for epoch in sorted(errors.keys() & scores.keys())]
