"""The null that is a network of its own: what one that learnt permuted labels by heart scores, beside another's scores.

It is an experiment (`labels: permuted`), whose record has the same names. Its scores stand beside another's under
`NAME.permuted_labels`, as those of the nulls that are measured with a network do; records of networks do not hold them.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from niny.config import Params, Run
from niny.evaluation.results import read_runs_of
from niny.maps.forward import cells_a_side
from niny.maps.intervals import Scores
from niny.maps.records import is_null, load_scores
from niny.models import Network
from niny.models.weights import WEIGHTS
from niny.training.weights_file import load_network

NULL = "permuted_labels"
NO_NULL = ("box_area", "cascade_rank", "completeness_error")  # true of the images or of any network; `relearnt` is its
OF_CELLS = (  # depend on how many cells a map has
    *("agreement_rank", "agreement_top", "deletion_area", "deletion_gain_centre", "deletion_gain_other", "entropy"),
    *("dipart_inside", "equivariance", "gini", "infidelity", "insertion_area", "insertion_gain_centre"),
    *("insertion_gain_other", "max_sensitivity"),
)
BY_WHAT_IT_SAYS = frozenset(("correct", "wrong", "confident"))


def beside_permuted(scores: Mapping[str, Any], permuted: Mapping[str, Any]) -> Scores:
    """A network's scores with those of the network of permuted labels (`permuted_scores`) as one more null."""
    nulls = {f"{name}.{NULL}": permuted[name] for name in scores if name in permuted and not is_null(name)}
    return {**scores, **nulls}


def serves(name: str, here: Run | None, there: Run) -> bool:
    """Whether the score `name` of the permuted labels' run `there` is a null of the same score of another run.

    Not so of images chosen by what a network says of them, since two networks choose different ones; of what no network
    learns, or is 1 by definition; of raw maps of a network whose head does not average, which are free up to what all
    classes' weights share; and of what depends on how many cells a map has, where these differ. `here` is None for a
    network from elsewhere, which is taken for one like the paper's.
    """
    metric, *parts = name.split(".")
    free = here is not None and here.experiment.head != "gap" and not {"raw", "channel"}.isdisjoint(parts)
    apart = here is not None and metric in OF_CELLS and cells_a_side(here) != cells_a_side(there)
    chosen = not BY_WHAT_IT_SAYS.isdisjoint(parts)
    return not (free or apart or chosen or metric in NO_NULL or "map" in parts)


def permuted_scores(params: Params, scale: str, data: str, experiment: str | None, root: Path) -> tuple[Scores, str]:
    """What the network that learnt permuted labels of a data set at a scale scores, where it serves; or none, and why.

    `experiment` is what they are to stand beside; None is a network from elsewhere.
    """
    run, why = learnt_permuted(params, scale, data, experiment, root)
    if run is None:
        return {}, why
    folder = root / "results" / scale / "maps"
    name = run.experiment.name
    scores = load_scores(folder / f"{name}.json") | load_scores(folder / f"{name}.attribution.json")
    here = params.run(scale, experiment) if experiment else None
    why = "" if scores else f"not scored: dvc repro maps@{scale}-{name}"
    return {name: of for name, of in scores.items() if serves(name, here, run)}, why


def permuted_network(params: Params, scale: str, data: str, experiment: str | None, root: Path) -> Network | None:
    """The network itself; None where there is none beside `experiment`."""
    run, _ = learnt_permuted(params, scale, data, experiment, root)
    file = root / run.folder / "seed-0" / WEIGHTS if run else None
    return load_network(params, file).eval() if file and file.is_file() else None


def learnt_permuted(
    params: Params, scale: str, data: str, experiment: str | None, root: Path
) -> tuple[Run | None, str]:
    """The run that learnt permuted labels by heart, or why there is none beside `experiment`."""
    twin = permuted_twin(params, scale, data)
    if twin is None:
        return None, "no such experiment"
    if twin == experiment:
        return None, "this is that network"
    run = params.run(scale, twin)
    errors = [found.metrics["train_error"] for found in read_runs_of(run, root) if found.state == "finished"]
    why = why_no_null(errors, run.data.classes)
    if not errors:
        why = f"not run: niny train {twin} --scale {scale}, then dvc repro maps@{scale}-{twin}"
    return (None, why) if why else (run, "")


def permuted_twin(params: Params, scale: str, data: str) -> str | None:
    """The experiment that learns permuted labels of the same data at a scale: a null for all others."""
    twins = [e.name for e in params.experiments_at(scale) if e.labels == "permuted"]
    return next((name for name in twins if params.run(scale, name).data.name == data), None)


def why_no_null(train_errors: Collection[float], classes: int) -> str:
    """Why a network trained on permuted labels is no null, or empty where it is: it knows half of them or more.

    Such labels can only be learnt by heart. `train_errors` in per cent, one a run; chance is taken off the half.
    """
    if not train_errors:
        return "not run"
    error, chance = fmean(train_errors), 100 * (1 - 1 / classes)
    return "" if error <= chance / 2 else f"not learnt (training error {error:.1f} %, by chance {chance:.1f} %)"
