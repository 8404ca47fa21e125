"""Every kind of score of one network's class maps in every reading, and the attributions of others beside the maps."""

import pandas as pd

from niny.evaluation.rules import Score
from niny.maps.attribution import METHODS, TITLES
from niny.maps.records import nulls_of
from niny.maps.views import VIEWS
from niny.report.questions import short
from niny.report.study import REFERENCE, Study
from niny.report.words import NONE, number, through

SHOWN = (*VIEWS, "channel")
METRICS = {  # how its name begins and ends: what it is, and where best
    ("claim1_rate", ""): "largest activation in the true class's map",
    ("claim1_rate", ".wrong"): "… on misclassified images",
    ("top10_share", ""): "share of the largest tenth in the true class's map",
    ("gridpg2_mass", ""): "2x2 grids: mass in the right cell",
    ("gridpg3_mass", ""): "3x3 grids: mass in the right cell",
    ("gridpg3_mass_median", ".confident"): "… median, of images it is sure of",
    ("gridpg3_hit", ""): "3x3 grids: peak in the right cell",
    ("focus", ""): "Focus: mass on the two of four of the class",
    ("place_hit", ".distractors"): "peak on the pasted object",
    ("place_iou", ".distractors"): "best window overlaps it by half",
    ("box_hit", ".dense"): "photographs: peak in the object's box",
    ("box_energy", ".dense"): "photographs: mass in the box",
    ("box_maxacc", ".dense"): "photographs: MaxBoxAccV2",
    ("equivariance", ""): "moves with the image (r)",
    ("insertion_gain_centre", ""): "insertion: gain over the centre",
    ("insertion_gain_other", ""): "insertion: gain over another image's map",
    ("deletion_gain_centre", ""): "deletion: gain over the centre",
    ("infidelity", ""): "infidelity: 0 perfect, 1 foretells nothing",
    ("max_sensitivity", ""): "max-sensitivity: 0 never changes",
}


def readings_table(study: Study, experiment: str = REFERENCE) -> pd.DataFrame:
    """A row for each kind of score, a column for each reading; and the nulls of the first reading that has it."""
    scores = study.result(experiment).maps
    rows = []
    for (metric, end), label in METRICS.items():
        found = {view: scores.get(f"{metric}.{view}{end}") for view in SHOWN}
        if any(found.values()):
            first = next(view for view, score in found.items() if score)
            told = {view: cell(score) for view, score in found.items()}
            nulls = nulls_of(scores, f"{metric}.{first}{end}")
            listed = ", ".join(f"{short(null)} {number(of.value)}" for null, of in nulls.items())
            rows.append({"Kind of score": label, **told, f"Nulls ({first})": listed or NONE})
    frame = pd.DataFrame(rows).fillna(NONE)
    return frame.loc[:, [column for column in frame if not (frame[column] == NONE).all()]]


def agreement_table(study: Study, experiment: str = REFERENCE) -> pd.DataFrame:
    """A row for each attribution: its rank correlation with the class map, its nulls, and the overlap."""
    scores = study.result(experiment).maps
    rows = []
    for method in ("map", *METHODS):
        name = f"agreement_rank.{method}.centred"
        if name in scores:
            nulls = nulls_of(scores, name)
            title = TITLES[method][0] if method in TITLES else "the class map itself"
            row = {"Attribution": title, "Raw map": cell(scores.get(f"agreement_rank.{method}.raw"))}
            row["Map less the mean"] = cell(scores[name])
            row |= {short(null).capitalize(): number(of.value) for null, of in nulls.items()}
            rows.append(row | {"Top tenth in common": cell(scores.get(f"agreement_top.{method}.centred"))})
    return pd.DataFrame(rows).fillna(NONE)


def cell(score: Score | None) -> str:
    """A score and its interval, where that is one."""
    if score is None:
        return NONE
    low, high = score.interval or (score.value, score.value)
    return number(score.value) + (f" ({through((low, high))})" if high - low > 1e-6 else "")
