"""How the class maps change while a network learns: scores of 64 fixed test images against the test error."""

from itertools import cycle
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from niny.evaluation.statistics import summarise
from niny.report.drawing import Picture
from niny.report.study import Study, measured
from niny.report.words import number
from niny.style import BLUE, GREEN, INK, MUTED, ORANGE, PINK, YELLOW

PANELS = {
    "map_claim1_rate": "largest in the true map",
    "map_gridpg3_mass_raw": "mass in the right cell of 9",
    "map_entropy": "entropy (1 flat, 0 one cell)",
    "map_gini": "Gini index (0 flat, 1 one cell)",
}
LOOKS = tuple((colour, dash) for dash in ("-", "--", ":") for colour in (BLUE, ORANGE, GREEN, PINK, YELLOW, INK))
ERROR, TICKS = "test_error", (90, 70, 50, 40, 30, 20, 15, 10, 7, 5, 2, 1, 0.5, 0.2)
LEAST = 0.1  # per cent: the axis of errors is logarithmic


def followed(study: Study) -> list[str]:
    """The networks whose maps were looked at while they learnt, where a map is that of a class: under averaging.

    Of networks that died there is nothing to follow, and where labels are permuted no error falls.
    """
    asked = (e for e in study.experiments if e.head == "gap" and e.labels == "true")
    alive = [e.name for e in asked if study.errors(e.name).n]
    return [name for name in alive if any(_path(study, name, column) for column in PANELS)]


def dynamics_picture(study: Study) -> Picture:
    """The figure in words."""
    told = [
        f"{name}, {label}: {number(path[0][1])} at an error of {path[0][0]:.1f} %, {number(path[-1][1])} at the end"
        for name in followed(study)
        for column, label in PANELS.items()
        if (path := _path(study, name, column))
    ]
    return Picture(
        "map-epochs",
        "Class maps while networks learn",
        "64 fixed test images, looked at in the epochs in which the errors are; time runs to the right, as the test "
        "error falls. A line is the mean over the runs of an experiment, its last epoch the large dot with its 95 % "
        "interval: over runs or, of a single one, over the images, where it was recorded. Nothing was chosen by these "
        "images.",
        "Line plots of map scores against the test error. " + ("; ".join(told) or "Nothing was measured") + ".",
    )


def draw_dynamics(study: Study) -> Figure:
    """A panel for each score, a line for each network, from the first look on the left to the last."""
    names = followed(study)
    figure = Figure(figsize=(7.2, 5.2))
    if not names:
        figure.text(0.5, 0.4, "no class map was looked at in training", ha="center", color=MUTED)
        return figure
    panels = figure.subplots(2, 2, sharex=True).flatten()
    errors = [error for name in names for column in PANELS for error, _ in _path(study, name, column)]
    for axes, (column, label) in zip(panels, PANELS.items(), strict=True):
        for name, (colour, dash) in zip(names, cycle(LOOKS)):
            _line(axes, _path(study, name, column), name, colour, dash)
            _spread(axes, _path(study, name, column), interval_at_the_end(study, name, column), colour)
        axes.set_title(label, size=8, weight="normal")
        axes.set_ylim(0, 1)
    panels[0].set_xscale("log")
    for axes in panels:
        axes.set_xticks(TICKS, [str(tick) for tick in TICKS])
        axes.minorticks_off()
    panels[0].set_xlim(1.08 * max(errors), min(errors) / 1.08)
    for axes in panels[2:]:
        axes.set_xlabel("test error, % (falls to the right)", size=8)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


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
