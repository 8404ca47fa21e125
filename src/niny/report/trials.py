"""What was tried on held-out images before it was chosen, as section 4.2 of the paper chooses.

The runs lie at the scale that holds the last training images out; their `test_error` is that of these images.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from niny.config import Params
from niny.evaluation.results import run_table
from niny.evaluation.statistics import sampling_error
from niny.paper import OPEN_CHOICES, OpenChoice
from niny.report.study import Study
from niny.report.words import NONE, between, plural

ERROR, INTERVAL = "Error on held-out images, %", "95 % interval"
COLUMNS = ("Left open", "Experiment", "Tried", "Taken", ERROR, INTERVAL, "Images", "Epochs")


def trial_scale(params: Params) -> str | None:
    """The scale that holds images out, where there is one."""
    return next((scale.name for scale in params.scales.values() if scale.holdout), None)


def trial_runs(study: Study, scale: str) -> pd.DataFrame:
    """Run 0 of every alternative that was tried."""
    runs = run_table(study.params, scale, study.root)
    tried = [name for choice in OPEN_CHOICES for name in choice.trials]
    return runs[runs["experiment"].isin(tried) & (runs["seed"] == 0)]


def trials_table(study: Study, scale: str) -> pd.DataFrame:
    """Every alternative of every choice that is made by trial, with its error on the held-out images."""
    runs = {run["experiment"]: run for run in trial_runs(study, scale).to_dict("records")}
    rows = [
        _row(study, choice, name, runs.get(name, {}))
        for choice in OPEN_CHOICES
        for name in choice.trials
        if name in study.params.experiments
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def ended(run: Mapping[Any, Any]) -> str:
    """How a run collapsed: its outputs died in every attempt, or it learned nothing in the epochs that it had."""
    attempts = run["collapsed_attempts"]
    return f"died in {plural(attempts, 'attempt')}" if attempts else f"at chance after {plural(run['epochs'], 'epoch')}"


def _row(study: Study, choice: OpenChoice, name: str, run: Mapping[Any, Any]) -> dict[str, str]:
    state = run.get("state", "not run")
    taken = ("yes" if state == "finished" else "yes, untried") if name == choice.trials[0] else "no"
    about = (choice.item, name, study.params.experiments[name].title, taken)
    if state != "finished":
        words = ended(run) if state == "collapsed" else state
        return dict(zip(COLUMNS, (*about, words, words, NONE, str(run.get("epochs", NONE))), strict=True))
    interval = between(sampling_error(run["test_error"], run["test_images"]))
    found = f"{run['test_error']:.2f}", interval, f"{run['test_images']:,}", str(run["epochs"])
    return dict(zip(COLUMNS, (*about, *found), strict=True))
