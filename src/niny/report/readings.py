"""One network's class maps in every reading: all kinds of scores, other attributions, and weights drawn anew.

Cells are text for a page, some of several lines: a score, its interval under it, and under that its nulls. The bare
numbers are in `map-scores.csv`.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from niny.evaluation.rules import Score
from niny.maps.attribution import METHODS, TITLES
from niny.maps.records import BY_WHAT_IT_SAYS, nulls_of
from niny.maps.views import VIEWS
from niny.report.questions import NULLS, nulls_at, short
from niny.report.study import REFERENCE, Study
from niny.report.words import NONE, NOT_MEASURED, number, through

SHOWN = (*VIEWS, "channel")
METRICS = {  # how its name begins and ends: what it is, and where best
    ("claim1_rate", ""): "largest activation in the true class's map",
    ("claim1_rate", ".wrong"): "… on misclassified images",
    ("top10_share", ""): "share of the largest tenth in the true class's map",
    ("gridpg2_mass", ""): "2x2 grids: mass in the right cell",
    ("gridpg2_mass_median", ""): "… median",
    ("gridpg2_mass_median", ".confident"): "… median, of images it is sure of",
    ("gridpg2_hit", ""): "2x2 grids: peak in the right cell",
    ("gridpg3_mass", ""): "3x3 grids: mass in the right cell",
    ("gridpg3_mass_median", ""): "… median",
    ("gridpg3_mass_median", ".confident"): "… median, of images it is sure of",
    ("gridpg3_hit", ""): "3x3 grids: peak in the right cell",
    ("dipart_inside", ""): "3x3 grids: gradient inside the cell; its receptive field takes in the rest from neighbours",
    ("focus", ""): "Focus: mass on the two of four of the class",
    ("place_hit", ".distractors"): "peak on the pasted object",
    ("place_energy", ".distractors"): "mass on the pasted object",
    ("place_iou", ".distractors"): "best window overlaps it by half",
    ("box_hit", ".dense"): "photographs: peak in the object's box",
    ("box_hit_near", ".dense"): "… or near it: the pointing game's tolerance",
    ("box_energy", ".dense"): "photographs: mass in the box",
    ("box_maxacc", ".dense"): "photographs: MaxBoxAccV2",
    ("entropy", ""): "entropy: 1 flat, 0 one cell",
    ("gini", ""): "Gini index: 0 flat, 1 one cell",
    ("completeness_error", ""): "mean of a map less its logit: largest difference",
    ("equivariance", ""): "moves with the image (r)",
    ("insertion_area", ""): "insertion: area, the larger the better",
    ("insertion_gain_centre", ""): "insertion: gain over the centre",
    ("insertion_gain_other", ""): "insertion: gain over another image's map",
    ("deletion_area", ""): "deletion: area, the smaller the better",
    ("deletion_gain_centre", ""): "deletion: gain over the centre",
    ("deletion_gain_other", ""): "deletion: gain over another image's map",
    ("infidelity", ""): "infidelity: 0 perfect, 1 foretells nothing",
    ("max_sensitivity", ""): "max-sensitivity: 0 never changes",
}
RAW_ALONE = ("completeness_error",)  # its name has no reading
COMPARED = {  # a column of agreement: how names of its scores begin, and the reading
    "Raw map": ("agreement_rank", "raw"),
    "Less the mean": ("agreement_rank", "centred"),
    "Margin": ("agreement_rank", "margin"),
    "Softmax": ("agreement_rank", "softmax"),
    "Top tenth, raw": ("agreement_top", "raw"),
    "Top tenth, less the mean": ("agreement_top", "centred"),
}
RANDOMISED = {  # a column of the cascade: how names of its scores end
    "Raw map": "raw",
    "Raw map, absolute": "raw.absolute",
    "Less the mean": "centred",
    "Less the mean, absolute": "centred.absolute",
}


def readings_table(study: Study, experiment: str = REFERENCE) -> pd.DataFrame:
    """A row for each kind of score, a column for each reading; and the nulls of the first reading that has it.

    Empty where nothing was scored; a column of which nothing is known is left out, a cell of it says so.
    """
    scores = study.result(experiment).maps
    rows = []
    for (metric, end), label in METRICS.items():
        names = names_of(metric, end)
        first = next((view for view in names if names[view] in scores), "raw")
        told = {view: cell(scores[name]) if name in scores else absent(scores, name) for view, name in names.items()}
        nulls = nulls_at(study, experiment, names[first]) if names[first] in scores else {}
        listed = ", ".join(f"{short(null)} {number(of.value)}" for null, of in nulls.items())
        rows.append({"Kind of score": label, **told, f"Nulls ({first})": listed or NONE})
    frame = pd.DataFrame(rows).fillna(NONE)
    return frame.loc[:, known(frame)] if known(frame)[1:] else pd.DataFrame()


def names_of(metric: str, end: str) -> dict[str, str]:
    """{reading: the name of a score}."""
    return {"raw": metric} if metric in RAW_ALONE else {view: f"{metric}.{view}{end}" for view in SHOWN}


def known(frame: pd.DataFrame) -> list[str]:
    """The columns that say anything."""
    return [str(column) for column in frame if not frame[column].isin((NONE, NOT_MEASURED)).all()]


def absent(scores: Mapping[str, Score], name: str) -> str:
    """Why there is no such score: of images chosen by what the network says of them, that it says so of none."""
    whole, _, subset = name.rpartition(".")
    return "no such image" if subset in BY_WHAT_IT_SAYS and whole in scores else NOT_MEASURED


def agreement_table(study: Study, experiment: str = REFERENCE) -> pd.DataFrame:
    """A row for each attribution: its likeness to the class map in each reading, and that of its nulls under each."""
    scores = study.result(experiment).maps
    rows = []
    for method in ("map", *METHODS):
        names = {column: f"{metric}.{method}.{view}" for column, (metric, view) in COMPARED.items()}
        if not scores.keys().isdisjoint(names.values()):
            title = TITLES[method][0] if method in TITLES else "the class map itself"
            told = {column: stacked(scores, name, ("other_image", "centre")) for column, name in names.items()}
            rows.append({"Attribution": title, **told})
    return pd.DataFrame(rows)


def agreement_nulls(study: Study, experiment: str = REFERENCE) -> dict[str, tuple[float, float]]:
    """{metric: the least and the most} of what noise and the untrained network agree by, in every row and reading."""
    scores = study.result(experiment).maps
    found = {}
    for metric in ("agreement_rank", "agreement_top"):
        blind = [of.value for n, of in scores.items() if n.startswith(metric) and n.endswith((".random", ".untrained"))]
        if blind:
            found[metric] = (min(blind), max(blind))
    return found


def cascade_table(study: Study, experiment: str = REFERENCE) -> pd.DataFrame:
    """A row for each layer down to which weights were drawn anew, and for the nulls that depend on none of them."""
    scores = study.result(experiment).maps
    depths = cascade_depths(scores)
    layers = [depth.partition("-")[2] for depth in depths]
    rows = []
    for depth, layer in zip(depths, layers, strict=True):
        told = {c: stacked(scores, f"cascade_rank.{depth}.{end}", ("other_image",)) for c, end in RANDOMISED.items()}
        rows.append({"Weights drawn anew": layer if layer == layers[0] else f"{layers[0]} to {layer}", **told})
    for null in ("centre", "random") if rows else ():
        told = {column: stacked(scores, f"cascade_rank.{null}.{end}") for column, end in RANDOMISED.items()}
        rows.append({"Weights drawn anew": f"none; {NULLS[null]} instead", **told})
    return pd.DataFrame(rows)


def cascade_depths(scores: Mapping[str, Score]) -> list[str]:
    """`1-cccp6`, `2-cccp5` and so on, from the last layer down."""
    parts = {name.split(".")[1] for name in scores if name.startswith("cascade_rank.")}
    return sorted((part for part in parts if part[0].isdecimal()), key=lambda part: int(part.partition("-")[0]))


def stacked(scores: Mapping[str, Score], name: str, nulls: Sequence[str] = ()) -> str:
    """A score, its interval under it, and these of its nulls under that."""
    if name not in scores:
        return absent(scores, name)
    found = nulls_of(scores, name)
    beside = [f"{short(null)} {number(found[null].value) if null in found else NOT_MEASURED}" for null in nulls]
    return "\n".join(filter(None, [number(scores[name].value), spread(scores[name]), *beside]))


def cell(score: Score) -> str:
    """A score and its interval, where that is one."""
    between = spread(score)
    return number(score.value) + (f" ({between})" if between else "")


def spread(score: Score) -> str:
    """A score's interval; empty where it has none, or one of a single value."""
    low, high = score.interval or (score.value, score.value)
    return through((low, high)) if high - low > 1e-6 else ""
