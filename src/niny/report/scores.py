"""The scores of all networks' class maps on one scale: a panel for each question, a line for each network."""

from math import ceil

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from niny.evaluation.rules import Score
from niny.maps.charts import MARKS
from niny.report.drawing import Picture
from niny.report.questions import NULLS, QUESTIONS, Question, has_contributions, nulls_at, of_classes
from niny.report.study import Study
from niny.report.words import number, through
from niny.style import BLUE, INK, MUTED

COLUMNS = 3


def scores_picture(study: Study) -> Picture:
    """The figure in words."""
    told = [
        f"{name}, {question.label}: {number(score.value)}{f' ({through(score.interval)})' if score.interval else ''}"
        for question in _drawn(study)
        for name in scored_networks(study)
        if (score := study.result(name).maps.get(of_classes(study, name, question.score))) is not None
    ]
    return Picture(
        "map-scores",
        "Scores of the class maps, on one scale",
        "Scores are shares, or correlations (r). A dot is a network's score and a bar its 95 % interval; small dots "
        "are single seeds, where there are several. "
        "Grey marks are the nulls: what the same score gives for maps that know less. "
        f"A score says something where its bar is clear of them.{contributions_told(study)}",
        "Dot plots of map scores. " + ("; ".join(told) or "Nothing was measured") + ".",
    )


def contributions_told(study: Study) -> str:
    heads = any(has_contributions(study, name) for name in scored_networks(study))
    return " Where the head is fully connected the maps are what it makes of each cell." if heads else ""


def draw_scores(study: Study) -> Figure:
    """Panels of three in a row, all from 0, or the smallest value, to 1; empty, and saying so, without scores."""
    questions, networks = _drawn(study), scored_networks(study)
    rows = max(1, ceil(len(questions) / COLUMNS))
    figure = Figure(figsize=(7.2, 0.9 + rows * (0.75 + 0.2 * len(networks))))
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
    scores = {name for network in scored_networks(study) for name in study.result(network).maps}
    return [question for question in QUESTIONS if question.label and question.score in scores]


def scored_networks(study: Study) -> list[str]:
    """Those with scores, but for one of which every run collapsed: its maps are empty, and tables say so."""
    dead = {e.name for e in study.experiments if study.collapsed(e.name) and not study.errors(e.name).n}
    return [e.name for e in study.experiments if study.result(e.name).maps and e.name not in dead]


def _panel(axes: Axes, study: Study, question: Question, networks: list[str]) -> None:
    axes.set_title(question.label, size=8, weight="normal")
    axes.grid(axis="y", visible=False)
    for y, network in enumerate(networks):
        name = of_classes(study, network, question.score)
        score = study.result(network).maps.get(name)
        if score is None:
            axes.text(0.02, y, "not measured", va="center", size=7.5, color=MUTED)
            continue
        for null, of in nulls_at(study, network, name).items():
            axes.plot([of.value], [y], MARKS[null], color="none", markeredgecolor=MUTED, markersize=5)
        _score(axes, score, y)


def _score(axes: Axes, score: Score, y: int) -> None:
    if score.interval:
        axes.plot(score.interval, [y, y], color=BLUE, linewidth=2.5, alpha=0.5, solid_capstyle="butt")
    if len(score.seeds) > 1:
        axes.plot([*score.seeds.values()], [y] * len(score.seeds), ".", color=INK, markersize=3)
    axes.plot([score.value], [y], "o", color=BLUE, markersize=5.5)


def _legend(study: Study) -> list[Line2D]:
    """The network's own mark, and those of the nulls that occur."""
    asked = [(name, of_classes(study, name, q.score)) for q in _drawn(study) for name in scored_networks(study)]
    found = [nulls_at(study, name, score) for name, score in asked]
    marks = [Line2D([], [], color=BLUE, marker="o", markersize=5.5, label="the network, 95 % interval")]
    return marks + [
        Line2D([], [], linestyle="none", marker=mark, color="none", markeredgecolor=MUTED, label=NULLS[null])
        for null, mark in MARKS.items()
        if any(null in nulls for nulls in found)
    ]
