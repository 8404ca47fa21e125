"""What the paper leaves open, what was chosen, and what choosing otherwise does to the error, wherever measured.

Where the scale of the report lacks the runs, another scale is asked and named: its networks learn for fewer epochs or
are smaller, so that the effect at full length may be another. No stage of a report depends on the runs of another
scale: DVC would train them first.
"""

from collections.abc import Mapping

import pandas as pd

from niny.evaluation.results import run_table
from niny.evaluation.statistics import paired
from niny.paper import OPEN_CHOICES, OpenChoice, reported
from niny.report.study import REFERENCE, Study
from niny.report.trials import died
from niny.report.words import between, distinct, plural

EFFECT = "Effect of choosing otherwise"


def choices_table(study: Study) -> pd.DataFrame:
    """What the paper leaves open, the choice made here, and the effect of the other choice where it was measured."""
    tables = {study.scale.name: study.runs} | other_runs(study)
    return pd.DataFrame(
        [
            {
                "Left open": choice.item,
                "The paper says": choice.paper,
                "Chosen here": choice.ours,
                "Source": choice.source,
                EFFECT: "; ".join(_effect(study, tables, *two) for two in alternatives(choice)) or _nothing(choice),
            }
            for choice in OPEN_CHOICES
        ]
    )


def _nothing(choice: OpenChoice) -> str:
    return "tried alone, on held-out images" if choice.trials else "no experiment"


def other_runs(study: Study) -> dict[str, pd.DataFrame]:
    """The runs of the other scales whose records are kept, those first that say most of the paper's networks."""
    kept = [s for s in study.params.scales.values() if s.keep_records and s.name != study.scale.name]
    kept.sort(key=lambda scale: (scale.evidence, scale.width, not scale.holdout), reverse=True)
    return {scale.name: run_table(study.params, scale.name, study.root) for scale in kept}


def alternatives(choice: OpenChoice) -> list[tuple[str, str]]:
    """Every experiment that chooses otherwise, and what it is held against: a trial against the one that was taken."""
    tried = [name for name in choice.trials[1:] if name not in choice.experiments]
    return [(name, choice.reference) for name in choice.experiments] + [(name, choice.trials[0]) for name in tried]


def another_choice(experiment: str) -> str:
    """The number of the paper that an experiment would be another reading of; empty where it is none."""
    errors = reported()
    of = [errors[c.reference] for c in OPEN_CHOICES if experiment in c.experiments and c.reference in errors]
    return f"another choice for {of[0]:.2f}" if of and experiment not in errors else ""


def _effect(study: Study, tables: Mapping[str, pd.DataFrame], experiment: str, reference: str) -> str:
    """The first scale's answer that there is."""
    for scale, runs in tables.items():
        if told := effect(runs, experiment, reference):
            return f"{experiment}: {told}" + ("" if scale == study.scale.name else _at(study, scale, runs, experiment))
    return f"{experiment}: not run"


def _at(study: Study, scale: str, runs: pd.DataFrame, experiment: str) -> str:
    held = ", held-out images" if study.params.scale(scale).holdout else ""
    epochs = distinct(runs[runs["experiment"] == experiment]["epochs"])
    return f", at scale {scale} (epochs: {epochs}{held})"


def effect(runs: pd.DataFrame, experiment: str, reference: str) -> str:
    """The error of a variant less that of its reference, seed by seed, in points; the usual one goes unnamed.

    Where all runs of the variant collapsed, that; empty where there is nothing to say.
    """
    of = runs[runs["experiment"] == experiment]
    pair = paired(errors(runs, experiment), errors(runs, reference)).difference
    if pair.mean is None:
        return f"{plural(len(of), 'run')}, {_end(of)}" if len(of) and (of["state"] == "collapsed").all() else ""
    how_sure = "one run" if pair.interval is None else f"{between(pair.interval, '+.2f')}, n = {pair.n}"
    to = "" if reference == REFERENCE else f" to {reference}"
    return f"{pair.mean:+.2f} points{to} ({how_sure}{collapses(of)})"


def _end(of: pd.DataFrame) -> str:
    """How runs that all collapsed did so."""
    return "died in every attempt" if all(map(died, of.to_dict("records"))) else "at chance at the end"


def errors(runs: pd.DataFrame, experiment: str) -> dict[int, float]:
    """{seed: error in per cent} of the finished runs of an experiment."""
    finished = runs[(runs["experiment"] == experiment) & (runs["state"] == "finished")]
    return dict(zip(finished["seed"].astype(int), finished["test_error"].astype(float), strict=True))


def collapses(of: pd.DataFrame) -> str:
    """How many runs of an experiment died, and how many lived after an attempt or more that died."""
    saved = of[of["state"] == "finished"]["collapsed_attempts"] > 0
    counts = {
        "collapsed": int((of["state"] == "collapsed").sum()),
        "finished after an attempt that collapsed": int(saved.sum()),
    }
    return "".join(f", {n} {what}" for what, n in counts.items() if n)
