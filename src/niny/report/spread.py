"""Where the differences between runs come from: the same training with one source of chance at a time.

Runs of one experiment differ in their initial weights, the order of images, dropout masks and augmentation (Bouthillier
et al. 2021 separate such sources in the same way). An experiment with `varies` in params.yaml leaves some of them
to chance and takes the others from run 0. It is held against its twin, in which all of them vary. Run 0 is the same
training for both, to the bit on one machine, so it counts for both and need not be repeated.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from niny.config import SOURCES, Experiment
from niny.evaluation.results import read_scores
from niny.evaluation.rules import BySeed
from niny.evaluation.statistics import (
    LEVEL,
    Summary,
    deviation_interval,
    holm,
    summarise,
    telling_ratios,
    variance_ratio,
)
from niny.maps.records import OF_ONE_SEED
from niny.report.questions import QUESTIONS
from niny.report.study import MADE, Study
from niny.report.words import NONE, listed, number, plural, through

RATIO = "Variance, relative to everything"
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
        parts = tuple(e for e in study.experiments if e.is_part_of(whole))
        if parts:
            found.append(Family(whole, parts))
    return found


def spread_table(study: Study) -> pd.DataFrame:
    """The spread of the test error and of the headline scores of maps from run to run, for each source of chance."""
    rows = [
        _row(quantity, experiment, values[experiment.name], values[family.whole.name])
        for family in families(study)
        for quantity, values in _quantities(study, family)
        for experiment in family.members
    ]
    columns = ["Of", "Experiment", "What varies", "n", "Mean", "Standard deviation", "95 % interval", RATIO]
    return pd.DataFrame(rows, columns=columns)


def _quantities(study: Study, family: Family) -> Iterable[tuple[str, dict[str, Summary]]]:
    """What is looked at, and how it spreads over the runs of each experiment."""
    yield "test error, %", _errors(study, family)
    scored = {e.name: _scores(study, e) for e in family.members}
    for question in (question for question in QUESTIONS if question.headline):
        values = {name: of.get(question.score, {}) for name, of in scored.items()}
        if any(values.values()):
            yield f"{question.label}\n{question.score}", _summaries(study, family, values)


def _errors(study: Study, family: Family) -> dict[str, Summary]:
    return _summaries(study, family, {e.name: study.result(e.name).test_errors for e in family.members})


def _summaries(study: Study, family: Family, values: Mapping[str, BySeed]) -> dict[str, Summary]:
    """Of each member's values over its runs; run 0 of the whole is one of a part's too, if that has others."""
    first = {0: values[family.whole.name][0]} if 0 in values[family.whole.name] else {}
    common = {e.name: first if _made_alike(study, family.whole, e) else {} for e in family.parts}
    return {name: summarise([*(common.get(name, {}) | dict(found)).values()]) for name, found in values.items()}


def _made_alike(study: Study, whole: Experiment, part: Experiment) -> bool:
    """Would run 0 of the part be that of the whole, to the bit? On another machine, or tried again, it is not."""
    runs, own = study.of(whole.name, "finished"), study.of(part.name, "finished")
    first = runs[(runs["seed"] == 0) & (runs["collapsed_attempts"] == 0)]
    machines = pd.concat([first, own])[list(MADE)].astype(str).drop_duplicates()
    return len(first) == 1 and len(own) > 0 and len(machines) == 1


def _scores(study: Study, experiment: Experiment) -> dict[str, BySeed]:
    """Headline scores of maps by seed; those of a part, of which no network is kept, lie with its runs."""
    if experiment.has_maps_of_its_own:
        return {name: score.seeds for name, score in study.result(experiment.name).maps.items()}
    runs = study.of(experiment.name, "finished")
    files = {seed: study.root / folder / OF_ONE_SEED for seed, folder in zip(runs["seed"], runs["folder"], strict=True)}
    by_seed = {seed: read_scores(file) for seed, file in files.items()}
    names = dict.fromkeys(name for scores in by_seed.values() for name in scores)
    return {name: {k: of[name].value for k, of in by_seed.items() if name in of} for name in names}


def _row(quantity: str, experiment: Experiment, here: Summary, whole: Summary) -> dict[str, str]:
    row = {"Of": quantity, "Experiment": experiment.name, "What varies": told(experiment)}
    row |= {"n": str(here.n), "Mean": number(here.mean)}
    if here.sd is None:
        words = "one run" if here.n else "not run"
        return row | {"Standard deviation": words, "95 % interval": words, RATIO: NONE}
    ratio = variance_ratio(here, whole) if experiment.varies != SOURCES else None
    return row | {
        "Standard deviation": number(here.sd),
        "95 % interval": through(deviation_interval(here.n, here.sd)),
        RATIO: f"{number(ratio.value)} ({through(ratio.interval)})" if ratio else NONE,
    }


def spread_findings(study: Study) -> list[str]:
    """For each family, which sources alone spread the test errors less, or more, than everything together."""
    return [said for family in families(study) if (said := _finding(study, family))]


def _finding(study: Study, family: Family) -> str:
    errors = _errors(study, family)
    whole = errors[family.whole.name]
    found = {e: ratio for e in family.parts if (ratio := variance_ratio(errors[e.name], whole))}
    sure = [p <= 1 - LEVEL for p in holm([ratio.p for ratio in found.values()])]
    groups: dict[str, list[str]] = {"less than": [], "more than": [], "": []}
    for (experiment, ratio), known in zip(found.items(), sure, strict=True):
        groups[("less than" if ratio.value < 1 else "more than") if known else ""].append(told(experiment))
    told_apart = [f"{listed(names)} {where} all sources together" for where, names in groups.items() if where and names]
    parts = [f"its test errors spread by {'; by '.join(told_apart)}"] if told_apart else []
    if groups[""]:
        ratios = [telling_ratios(errors[e.name].n, whole.n, len(found)) for e in found]
        larger, smaller = (min(of) for of in zip(*ratios, strict=True))
        parts.append(
            f"the spread by {listed(groups[''])} alone cannot be told apart from that by all sources together: with so "
            f"few runs only a variance {larger:,.0f} times as large, or {smaller:,.0f} times as small, would show"
        )
    return f"`{family.whole.name}`, {plural(whole.n, 'run')}: {'; '.join(parts)}." if parts else ""


def mixtures(study: Study) -> list[str]:
    """Where the runs in which everything varies were made on machines that round differently, too."""
    found = []
    for family in families(study):
        kinds = study.of(family.whole.name, "finished")[list(MADE)].astype(str).drop_duplicates()
        if len(kinds) > 1:
            what = listed([word for name, word in MADE.items() if kinds[name].nunique() > 1])
            found.append(
                f"The runs of `{family.whole.name}` differ in {what}, too, so that everything is more there than the "
                "sources that are varied alone."
            )
    return found


def told(experiment: Experiment) -> str:
    """What varies from run to run, in words."""
    if experiment.varies == SOURCES:
        return "everything"
    return listed([WORDS[source] for source in SOURCES if source in experiment.varies])
