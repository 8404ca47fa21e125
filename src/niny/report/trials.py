"""What was tried on held-out images, as section 4.2 of the paper chooses: before a choice, or afterwards to check it.

The runs lie at the scale that holds the last training images out; their `test_error` is that of these images.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from niny.config import ATTEMPTS, Params
from niny.evaluation.results import read_history, run_table
from niny.evaluation.statistics import sampling_error
from niny.paper import OPEN_CHOICES, OpenChoice
from niny.report.study import Study
from niny.report.words import between, distinct, listed, plural

ERROR, LOST, SHARE = "Error on held-out images, %", "Classes never answered", "Runs collapsed"
LEARNS = 10.0  # points of error in training below chance: before that, silence is but small logits
COLUMNS = ("Left open", "Experiment", "Tried", "Taken", ERROR, LOST, SHARE, "Epochs")


def trial_scale(params: Params) -> str | None:
    """The scale that holds images out, where there is one."""
    return next((scale.name for scale in params.scales.values() if scale.holdout), None)


def trial_runs(study: Study, scale: str) -> pd.DataFrame:
    """All runs of every alternative that was tried."""
    runs = run_table(study.params, scale, study.root)
    return runs[runs["experiment"].isin([name for choice in OPEN_CHOICES for name in choice.trials])]


def trials_table(study: Study, scale: str) -> pd.DataFrame:
    """Every alternative of every choice that was tried, with its errors on the held-out images."""
    runs = trial_runs(study, scale)
    rows = [
        _row(study, choice, name, runs[runs["experiment"] == name])
        for choice in OPEN_CHOICES
        for name in choice.trials
        if name in study.params.experiments
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def died(run: Mapping[Any, Any]) -> bool:
    """Did the outputs of a network die in every attempt? One that ends at chance has outputs that say nothing."""
    return bool(run["state"] == "collapsed" and run["collapsed_attempts"] == ATTEMPTS)


def ended(run: Mapping[Any, Any]) -> str:
    """How a run collapsed: its outputs died in every attempt, or it learned nothing in the epochs that it had."""
    if died(run):
        return f"died in {plural(run['collapsed_attempts'], 'attempt')}"
    return f"at chance after {plural(run['epochs'], 'epoch')}{after(run)}"


def after(run: Mapping[Any, Any]) -> str:
    """How many attempts died before the one that a run's numbers are of, in words that follow; empty for none."""
    tried = run["collapsed_attempts"]
    return f", after {plural(tried, 'attempt')} that died" if tried and not died(run) else ""


def lost(run: Mapping[Any, Any]) -> str:
    """How many classes a network never answers, in words that follow a number or a state; empty for none."""
    n = run["lost_classes"]
    return f", {n} class{'' if n == 1 else 'es'} never answered" if n else ""


def silenced(study: Study, scale: str, runs: pd.DataFrame) -> str:
    """How many networks learned some classes and not others, and for how many that passed; empty for none."""
    learned = runs[runs["state"] == "finished"]
    some = learned[learned["lost_classes"] > 0]
    told = ""
    if len(some):
        least, most = some["lost_classes"].min(), some["lost_classes"].max()
        classes = f"{least} to {most}" if least < most else f"{most}"
        told += (
            f" Outputs fall silent one by one, too: {len(some)} of {plural(len(learned), 'run')} that learned never "
            f"answered {classes} of the classes, and erred on all images of these."
        )
    passed = [woke(study, scale, run) for run in runs.to_dict("records")]
    if n := passed.count(True):
        told += (
            f" Silence can pass: in {plural(n + passed.count(False), 'run')} no training image had a logit above zero "
            f"for some classes when others were learned already; in {n} of them some of these are answered at the end."
        )
    return told


def died_elsewhere(study: Study, scale: str) -> str:
    """Runs of the alternatives that died at longer scales, which choose too: a few epochs do not show it.

    No stage of a report depends on the runs of another scale: DVC would train them first.
    """
    named = list(dict.fromkeys(name for choice in OPEN_CHOICES for name in choice.trials))
    told = []
    for other in study.params.scales.values():
        runs = run_table(study.params, other.name, study.root) if other.keep_records and other.name != scale else None
        if runs is None or not len(runs):
            continue
        dead = [run for run in runs.to_dict("records") if died(run) and run["experiment"] in named]
        told += [f"`{run['experiment']}` at scale `{other.name}` {ended(run)}" for run in dead]
    return f" What longer runs add: {listed(told)}." if told else ""


def woke(study: Study, scale: str, run: Mapping[Any, Any]) -> bool | None:
    """Are fewer classes lost at the end than were silent while others learned? None where nobody saw any silent."""
    chance = 100 * (1 - 1 / study.params.run(scale, run["experiment"]).data.classes)
    rows = [row for row in read_history(study.root / run["folder"] / "history.csv") if "silent_classes" in row]
    silent = [row["silent_classes"] for row in rows if row["train_error_masked"] < chance - LEARNS]
    return bool(run["lost_classes"] < max(silent)) if any(silent) else None


def _row(study: Study, choice: OpenChoice, name: str, runs: pd.DataFrame) -> dict[str, str]:
    taken = ("yes" if len(runs) else "yes, untried") if name == choice.trials[0] else "no"
    experiment = study.params.experiments[name]
    classes = study.params.datasets[experiment.dataset].classes
    cells = choice.item, name, experiment.title, taken, _errors(runs), _lost(runs, classes), _collapsed(runs)
    return dict(zip(COLUMNS, (*cells, distinct(runs["epochs"])), strict=True))


def _errors(runs: pd.DataFrame) -> str:
    """A line for each run: its error and Wilson's interval, or how it ended otherwise."""
    return "\n".join(map(_error, runs.to_dict("records"))) or "not run"


def _error(run: Mapping[Any, Any]) -> str:
    if run["state"] != "finished":
        return ended(run) if run["state"] == "collapsed" else str(run["state"])
    return f"{run['test_error']:.2f} ({between(sampling_error(run['test_error'], run['test_images']))})"


def _lost(runs: pd.DataFrame, classes: int) -> str:
    """A line for each run, of a network at chance too: it answers some classes, whatever it is asked."""
    return "\n".join(f"{n} of {classes}" for n in runs["lost_classes"]) or "not run"


def _collapsed(runs: pd.DataFrame) -> str:
    """Of all runs, those that died or ended at chance; of all attempts at them, those whose outputs died."""
    if not len(runs):
        return "not run"
    lived = sum(not died(run) for run in runs.to_dict("records"))  # their last attempt is one more
    dead = int(runs["collapsed_attempts"].sum())
    told = f"\n{dead} of {dead + lived} attempts died" if dead else ""
    return f"{(runs['state'] == 'collapsed').sum()} of {len(runs)}{told}"
