"""The null that is a network of its own: what one that learnt permuted labels by heart scores, beside another's scores.

It is an experiment (`labels: permuted`), whose record has the same names. Its scores stand beside another's under
`NAME.permuted_labels`, as those of the nulls that are measured with a network do; records of networks do not hold them.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from niny.config import Params
from niny.evaluation.results import read_runs_of
from niny.maps.intervals import Scores
from niny.maps.records import is_null, load_scores

NULL = "permuted_labels"
NOT_LEARNT = ("box_area", "completeness_error")  # true of the images, or of any network
BY_WHAT_IT_SAYS = frozenset(("correct", "wrong", "confident"))


def beside_permuted(scores: Mapping[str, Any], permuted: Mapping[str, Any], averages: bool) -> Scores:
    """A network's scores with those of the network of permuted labels (none: `{}`) as one more null."""
    nulls = {name: permuted_null(permuted, name, averages) for name in scores if not is_null(name)}
    return {**scores, **{f"{name}.{NULL}": of for name, of in nulls.items() if of is not None}}


def permuted_null(permuted: Mapping[str, Any], name: str, averages: bool) -> Any:
    """Among a permuted network's scores, the null of a score of another network, or None.

    None for images chosen by what a network says of them, since two networks choose different ones; for what no network
    learns; and for raw maps of a network whose head does not average (`averages`), which are free up to what all
    classes' weights share.
    """
    parts = name.split(".")
    unlike = not averages and not {"raw", "channel"}.isdisjoint(parts)
    if unlike or parts[0] in NOT_LEARNT or not BY_WHAT_IT_SAYS.isdisjoint(parts):
        return None
    return permuted.get(name)


def permuted_scores(params: Params, scale: str, data: str, experiment: str | None, root: Path) -> tuple[Scores, str]:
    """The recorded scores of the network that learnt permuted labels of a data set at a scale; or none, and why.

    `experiment` is what they are to stand beside; None is a network from elsewhere.
    """
    twin = permuted_twin(params, scale, data)
    if twin is None:
        return {}, "no such experiment"
    if twin == experiment:
        return {}, "this is that network"
    run, folder = params.run(scale, twin), root / "results" / scale / "maps"
    scores = load_scores(folder / f"{twin}.json") | load_scores(folder / f"{twin}.attribution.json")
    records = [record for record in read_runs_of(run, root) if record.state == "finished"]
    if not (scores and records):
        return {}, f"not run: niny train {twin} --scale {scale}, then dvc repro maps@{scale}-{twin}"
    why = why_no_null([record.metrics["train_error"] for record in records], run.data.classes)
    return ({}, why) if why else (scores, "")


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
