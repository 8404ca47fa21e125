"""What was tried on held-out images before it was chosen, as section 4.2 of the paper chooses.

The runs lie at the scale that holds the last training images out; their `test_error` is that of these images.
"""

import pandas as pd

from niny.config import Params
from niny.evaluation.results import run_table
from niny.evaluation.statistics import wilson
from niny.paper import OPEN_CHOICES, OpenChoice
from niny.report.study import Study
from niny.report.words import NONE, between

ERROR, INTERVAL = "Error on held-out images, %", "95 % interval"


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
    runs = trial_runs(study, scale).set_index("experiment", drop=False)
    return pd.DataFrame([_row(study, choice, name, runs) for choice in OPEN_CHOICES for name in choice.trials])


def _row(study: Study, choice: OpenChoice, name: str, runs: pd.DataFrame) -> dict[str, str]:
    title = study.params.experiments[name].title
    row = {"Left open": choice.item, "Tried": f"{name}\n{title}", "Taken": "yes" if name == choice.trials[0] else "no"}
    state = runs.loc[name, "state"] if name in runs.index else "not run"
    if state != "finished":
        return row | {ERROR: state, INTERVAL: state, "Images": NONE, "Epochs": NONE}
    error, images = runs.loc[name, "test_error"], int(runs.loc[name, "test_images"])
    return row | {
        ERROR: f"{error:.2f}",
        INTERVAL: between(wilson(round(error * images / 100), images)),
        "Images": f"{images:,}",
        "Epochs": str(runs.loc[name, "epochs"]),
    }
