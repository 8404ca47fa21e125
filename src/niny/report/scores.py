"""The scores of all networks' class maps on one scale: a panel for each question, a line for each network."""

from math import ceil

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from niny.evaluation.rules import Score
from niny.maps.charts import MARKS
from niny.report.drawing import Picture
from niny.report.questions import NULLS, QUESTIONS, Question, fair, has_connected_maps, nulls_at
from niny.report.readings import cell
from niny.report.study import Study
from niny.report.words import NOT_MEASURED
from niny.style import BLUE, INK, MUTED, ORANGE

COLUMNS = 3
COLOURS = {"raw": BLUE, "centred": ORANGE}
APART = {"raw": -0.18, "centred": 0.18}  # of a network's line


def scores_picture(study: Study) -> Picture:
    """The figure in words."""
    told = [
        f"{name}, {question.label}, {reading}: {cell(score)}"
        for question in _drawn(study)
        for name in scored_networks(study)
        for reading, _, score in _read(study, name, question)
    ]
    return Picture(
        "map-scores",
        "Scores of the class maps, on one scale",
        "Scores are shares, or correlations (r). A dot is a network's score and a bar its 95 % interval, blue of the "
        "maps as they are, orange of the maps less their mean over the classes: only these can be held against another "
        "network's. Small dots are single seeds, where there are several. Grey marks are the nulls: what the same "
        "score gives for maps that know less; a score says something where its bar is clear of those in its line."
        f"{connected_told(study)}",
        "Dot plots of map scores. " + ("; ".join(told) or "Nothing was measured") + ".",
    )


def connected_told(study: Study) -> str:
    heads = any(has_connected_maps(study, name) for name in scored_networks(study))
    told = " Where the head is fully connected, maps are what it makes of each cell, less the mean of all classes'."
    return told if heads else ""


def _read(study: Study, network: str, question: Question) -> list[tuple[str, str, Score]]:
    """(reading, name, score) of what is drawn of a network: raw where that is of the network's own, and centred."""
    scores = study.result(network).maps
    raw = [] if has_connected_maps(study, network) else [("raw", question.score)]
    names = [*raw, ("centred", fair(question.score))]
    return [(reading, name, scores[name]) for reading, name in names if name in scores]


def draw_scores(study: Study) -> Figure:
    """Panels of three in a row, all from 0, or the smallest value, to 1; empty, and saying so, without scores."""
    questions, networks = _drawn(study), scored_networks(study)
    rows = max(1, ceil(len(questions) / COLUMNS))
    figure = Figure(figsize=(7.2, 0.9 + rows * (0.75 + 0.3 * len(networks))))
    if not questions:
        figure.text(0.5, 0.4, "no class map has been scored", ha="center", color=MUTED)
        return figure
    panels = figure.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False).flatten()
    for axes, question in zip(panels, questions, strict=False):
        _panel(axes, study, question, networks)
    for axes in panels[len(questions) :]:
        axes.set_visible(False)
    for i, axes in enumerate(panels[: len(questions)]):
        if i + COLUMNS >= len(questions):
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("score", size=8)
    panels[0].set_yticks(range(len(networks)), networks)
    panels[0].set_ylim(len(networks) - 0.5, -0.5)
    panels[0].set_xlim(min(0.0, panels[0].get_xlim()[0]), 1.0)
    figure.legend(handles=_legend(study), loc="outside lower center", ncols=3)
    return figure


def _drawn(study: Study) -> list[Question]:
    """Questions with a label that were asked of some network."""
    scores = {name for network in scored_networks(study) for name in study.result(network).maps}
    return [q for q in QUESTIONS if q.label and not scores.isdisjoint((q.score, fair(q.score)))]


def scored_networks(study: Study) -> list[str]:
    """Those with scores, but for one of which every run collapsed: its maps are empty, and tables say so."""
    dead = {e.name for e in study.experiments if study.collapsed(e.name) and not study.errors(e.name).n}
    return [e.name for e in study.experiments if study.result(e.name).maps and e.name not in dead]


def _panel(axes: Axes, study: Study, question: Question, networks: list[str]) -> None:
    axes.set_title(question.label, size=8, weight="normal")
    axes.grid(axis="y", visible=False)
    for y, network in enumerate(networks):
        read = _read(study, network, question)
        for reading, name, score in read:
            line = y + APART[reading]
            for null, of in nulls_at(study, network, name).items():
                axes.plot([of.value], [line], MARKS[null], color="none", markeredgecolor=MUTED, markersize=4)
            _score(axes, score, line, COLOURS[reading])
        if not read:
            axes.text(0.02, y, NOT_MEASURED, va="center", size=7.5, color=MUTED)


def _score(axes: Axes, score: Score, y: float, colour: str) -> None:
    if score.interval:
        axes.plot(score.interval, [y, y], color=colour, linewidth=2.5, alpha=0.5, solid_capstyle="butt")
    if len(score.seeds) > 1:
        axes.plot([*score.seeds.values()], [y] * len(score.seeds), ".", color=INK, markersize=3)
    axes.plot([score.value], [y], "o", color=colour, markersize=5)


def _legend(study: Study) -> list[Line2D]:
    """The marks of the readings, and of the nulls that occur."""
    every = [(n, name) for q in _drawn(study) for n in scored_networks(study) for _, name, _ in _read(study, n, q)]
    found = [nulls_at(study, network, name) for network, name in every]
    words = {"raw": "maps as they are, 95 % interval", "centred": "less their mean, 95 % interval"}
    marks = [Line2D([], [], color=COLOURS[r], marker="o", markersize=5, label=label) for r, label in words.items()]
    return marks + [
        Line2D([], [], linestyle="none", marker=mark, color="none", markeredgecolor=MUTED, label=NULLS[null])
        for null, mark in MARKS.items()
        if any(null in nulls for nulls in found)
    ]
