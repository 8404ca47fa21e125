"""One network's class maps in every reading: all kinds of scores, other attributions, and weights drawn anew.

Cells are text for a page, some of several lines: a score, its interval under it, and under that its nulls. The bare
numbers are in `map-scores.csv`.
"""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from niny.evaluation.rules import Score
from niny.maps.attribution import METHODS, TITLES
from niny.maps.comparison import RELEARNT, depth_of
from niny.maps.permuted import BY_WHAT_IT_SAYS
from niny.maps.permuted import NULL as PERMUTED
from niny.maps.views import VIEWS
from niny.report.questions import NULLS, fewer, nulls_at, short
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
    ("infidelity", ""): "infidelity: 1 foretells nothing; 0 perfect, for maps that add up (raw, centred)",
    ("max_sensitivity", ""): "max-sensitivity: 0 never changes",
}
RAW_ALONE = ("completeness_error",)  # its name has no reading
VIEWED = {"Raw map": "raw", "Less the mean": "centred", "Margin": "margin", "Softmax": "softmax"}
BESIDE = ("other_image", "centre", PERMUTED)  # of agreement: those that come nearest
AGREEMENT = ("agreement_rank", "agreement_top")


def readings_table(study: Study) -> pd.DataFrame:
    """A row for each kind of score, a column for each reading, and how many items they are of.

    Empty where nothing was scored; a column of which nothing is known is left out, a cell of it says so.
    """
    scores = study.result(REFERENCE).maps
    rows = []
    for (metric, end), label in METRICS.items():
        names = names_of(metric, end)
        told = {view: cell(scores[name]) if name in scores else absent(scores, name) for view, name in names.items()}
        rows.append({"Kind of score": label, **told, "n": counted(study, REFERENCE, names.values())})
    frame = pd.DataFrame(rows).fillna(NONE)
    return frame.loc[:, known(frame)] if known(frame)[1:] else pd.DataFrame()


def reading_nulls_table(study: Study) -> pd.DataFrame:
    """The same rows and columns with the nulls of each score: what maps that know less are given."""
    scores = study.result(REFERENCE).maps
    rows = []
    for (metric, end), label in METRICS.items():
        there = {view: name for view, name in names_of(metric, end).items() if name in scores}
        told = {view: nulls_listed(study, REFERENCE, name) for view, name in there.items()}
        if set(told.values()) - {NONE}:
            rows.append({"Kind of score": label, **told})
    return pd.DataFrame(rows).fillna(NONE)


def counted(study: Study, experiment: str, names: Iterable[str]) -> str:
    """How many items the scores of these names are of: one number, or the least and the most; and of how few runs."""
    scores = study.result(experiment).maps
    found = [scores[name] for name in names if name in scores and scores[name].n]
    if not found:
        return NONE
    sizes = sorted(score.n for score in found)
    items = " to ".join(dict.fromkeys(f"{n:,}" for n in (sizes[0], sizes[-1])))
    return "\n".join(filter(None, [items, fewer(study, experiment, found[0])]))


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


def agreement_table(study: Study, metric: str) -> pd.DataFrame:
    """A row for each attribution: its likeness to the class map in each reading, and that of its nulls under each."""
    scores = study.result(REFERENCE).maps
    rows = []
    for method in ("map", *METHODS):
        names = {column: f"{metric}.{method}.{view}" for column, view in VIEWED.items()}
        if not scores.keys().isdisjoint(names.values()):
            title = TITLES[method][0] if method in TITLES else "the class map itself"
            told = {column: stacked(study, REFERENCE, name, BESIDE) for column, name in names.items()}
            rows.append({"Attribution": title, **told, "n": counted(study, REFERENCE, names.values())})
    return pd.DataFrame(rows)


def agreement_nulls(study: Study, metric: str) -> tuple[float, float] | None:
    """The least and the most that noise and the untrained network agree by, in every row and reading."""
    scores = study.result(REFERENCE).maps
    blind = [of.value for n, of in scores.items() if n.startswith(metric) and n.endswith((".random", ".untrained"))]
    return (min(blind), max(blind)) if blind else None


def cascade_table(study: Study, kind: str = "") -> pd.DataFrame:
    """A row for each layer down to which weights were drawn anew, and for the nulls that depend on none of them.

    `kind` is empty for signed correlations, or `.absolute`.
    """
    scores = study.result(REFERENCE).maps
    depths = cascade_depths(scores)
    first, *others = [depth.partition("-")[2] for depth in depths] or [""]
    named = dict(zip(depths, (first, *(f"{first} to {other}" for other in others)), strict=False))
    named |= {RELEARNT: "none; the map of a network that learnt permuted labels instead"} if depths else {}
    named |= {null: f"none; {NULLS[null]} instead" for null in ("centre", "random") if depths}
    rows = []
    for part, label in named.items():
        names = {column: f"cascade_rank.{part}.{view}{kind}" for column, view in VIEWED.items()}
        beside = () if part in ("centre", "random") else ("other_image",)
        told = {column: stacked(study, REFERENCE, name, beside) for column, name in names.items()}
        rows.append({"Weights drawn anew": label, **told, "n": counted(study, REFERENCE, names.values())})
    return pd.DataFrame(rows)


def cascade_depths(scores: Mapping[str, Score]) -> list[str]:
    """`1-cccp6`, `2-cccp5` and so on, from the last layer down."""
    parts = {name.split(".")[1] for name in scores if name.startswith("cascade_rank.")}
    return sorted((part for part in parts if part[0].isdecimal()), key=depth_of)


def stacked(study: Study, experiment: str, name: str, nulls: Sequence[str] = ()) -> str:
    """A score, its interval under it, and those of these nulls that it has under that."""
    scores = study.result(experiment).maps
    if name not in scores:
        return absent(scores, name)
    found = nulls_at(study, experiment, name) if nulls else {}
    beside = [null_told(null, found.get(null)) for null in nulls if null in found or null != PERMUTED]
    return "\n".join(filter(None, [number(scores[name].value), spread(scores[name]), *beside]))


def nulls_listed(study: Study, experiment: str, name: str) -> str:
    """All nulls of a score on one line."""
    return ", ".join(null_told(null, of) for null, of in nulls_at(study, experiment, name).items()) or NONE


def null_told(null: str, score: Score | None) -> str:
    return f"{short(null)} {number(score.value) if score else NOT_MEASURED}"


def cell(score: Score) -> str:
    """A score and its interval, where that is one."""
    between = spread(score)
    return number(score.value) + (f" ({between})" if between else "")


def spread(score: Score) -> str:
    """A score's interval; empty where it has none, or one of a single value."""
    low, high = score.interval or (score.value, score.value)
    return through((low, high)) if high - low > 1e-6 else ""
