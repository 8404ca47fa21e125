"""Where the differences between runs come from: the same training with one source of chance at a time.

Runs of one experiment differ in their initial weights, the order of images, dropout masks and augmentation (Bouthillier
et al. 2021 separate such sources in the same way). An experiment with `varies` in params.yaml leaves some of them
to chance and takes the others from run 0. It is held against its twin, in which all of them vary.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import pandas as pd

from niny.config import SOURCES, Experiment
from niny.evaluation.statistics import Interval, Summary, deviation_interval, summarise
from niny.report.questions import QUESTIONS
from niny.report.study import Study
from niny.report.words import NONE, listed, number, through

WORDS = {
    "init": "initial weights",
    "order": "order of images",
    "masks": "dropout masks",
    "augmentation": "crops and flips",
}


@dataclass(frozen=True)
class Family:
    """An experiment in which everything varies, and those that differ from it in what varies alone."""

    whole: Experiment
    parts: tuple[Experiment, ...]

    @property
    def members(self) -> tuple[Experiment, ...]:
        return self.whole, *self.parts


def families(study: Study) -> list[Family]:
    found = []
    for whole in (e for e in study.experiments if e.varies == SOURCES):
        parts = tuple(e for e in study.experiments if e.varies != SOURCES and _alike(e, whole))
        if parts:
            found.append(Family(whole, parts))
    return found


def _alike(part: Experiment, whole: Experiment) -> bool:
    """Do two experiments differ in name and in what varies alone?"""
    return replace(part, name=whole.name, title=whole.title, scales=whole.scales, varies=whole.varies) == whole


def spread_table(study: Study) -> pd.DataFrame:
    """The spread of the test error and of the headline scores of maps from run to run, for each source of chance."""
    rows = [
        _row(quantity, experiment, values[experiment.name], values[family.whole.name])
        for family in families(study)
        for quantity, values in _quantities(study, family)
        for experiment in family.members
    ]
    columns = ["Of", "What varies", "n", "Mean", "Standard deviation", "95 % interval", "Share of the variance"]
    return pd.DataFrame(rows, columns=columns)


def spread_findings(study: Study) -> list[str]:
    """Which sources alone spread the test errors less than everything together, by their intervals."""
    return [said for family in families(study) if (said := _finding(study, family))]


def _finding(study: Study, family: Family) -> str:
    intervals = {e: found for e in family.members if (found := _interval(study.errors(e.name)))}
    whole = intervals.pop(family.whole, None)
    if whole is None or not intervals:
        return ""
    less = [told(e) for e, interval in intervals.items() if interval[1] < whole[0]]
    alike = [told(e) for e in intervals if told(e) not in less]
    parts = [f"{listed(less)} alone spread its test errors less than everything together"] if less else []
    parts += [f"{listed(alike)} alone cannot be told apart from everything together"] if alike else []
    return f"Of `{family.whole.name}`, by 95 % intervals of standard deviations, {'; '.join(parts)}."


def _interval(errors: Summary) -> Interval | None:
    return None if errors.sd is None else deviation_interval(errors.n, errors.sd)


def _quantities(study: Study, family: Family) -> Iterable[tuple[str, dict[str, list[float]]]]:
    """What is looked at, and its values over the runs of each experiment."""
    results = {e.name: study.result(e.name) for e in family.members}
    yield "test error, %", {name: [*result.test_errors.values()] for name, result in results.items()}
    for question in (question for question in QUESTIONS if question.headline):
        scored = {name: result.maps.get(question.score) for name, result in results.items()}
        if any(scored.values()):
            yield question.score, {name: [*score.seeds.values()] if score else [] for name, score in scored.items()}


def _row(quantity: str, experiment: Experiment, values: list[float], whole: list[float]) -> dict[str, str]:
    here, all_of_it = summarise(values), summarise(whole)
    row = {"Of": quantity, "What varies": told(experiment), "n": str(here.n), "Mean": number(here.mean)}
    if here.sd is None:
        words = "one run" if here.n else "not run"
        return row | {"Standard deviation": words, "95 % interval": words, "Share of the variance": NONE}
    interval, share = _interval(here), NONE
    if all_of_it.sd and experiment.varies != SOURCES:
        share = f"{100 * (here.sd / all_of_it.sd) ** 2:.0f} %"
    return row | {
        "Standard deviation": number(here.sd),
        "95 % interval": through(interval) if interval else NONE,
        "Share of the variance": share,
    }


def told(experiment: Experiment) -> str:
    """What varies from run to run, in words."""
    if experiment.varies == SOURCES:
        return "everything"
    return listed([WORDS[source] for source in SOURCES if source in experiment.varies])
