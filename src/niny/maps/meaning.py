"""What a score says: what it is, and where it lies to other numbers, by one rule for notebooks and report.

A score lies above (below) another where its whole 95 % interval lies above (below) the other's, or the other's number
where that has none; else the two are not told apart.
"""

from collections.abc import Mapping
from typing import Any

from niny.maps.records import nulls_of

MEANINGS = {
    "agreement_rank": "rank correlation of an attribution with the class map, cell by cell",
    "agreement_top": "share of the largest tenth of the cells that an attribution and the class map have in common",
    "box_accuracy": "share of the images with boxes that the network recognises",
    "box_area": "share of the image that the object's box fills",
    "box_energy": "share of the map's positive part inside the object's box; 0 where it has none",
    "box_hit": "is the largest cell inside the object's box?",
    "box_hit_near": "is it inside, or within the pointing game's tolerance?",
    "box_maxacc": "MaxBoxAccV2; its threshold is chosen on the other half of the images",
    "cascade_rank": "rank correlation with the trained map as layers lose their weights, from the last one down",
    "claim1_rate": "does the map of the true class hold the image's largest activation?",
    "completeness_error": "largest difference between the mean of a map and its logit",
    "deletion_area": "the less the better: area under the class's probability as pixels go in the order of the map",
    "deletion_gain_centre": "less of it than in the order of a Gaussian at the centre",
    "deletion_gain_other": "less of it than in the order of another image's map",
    "dipart_inside": "share of the gradient of a grid cell's map that lies inside the cell; softmax: of its log odds",
    "entropy": "entropy of the true class's map: 1 flat, 0 one cell",
    "equivariance": "correlation of the true class's map before and after a shift by one cell",
    "focus": "share of the positive part on the two of four images that show the class; 0 where there is none",
    "gini": "Gini index of the true class's map: 0 flat, 1 one cell",
    "gridpg2_hit": "2x2 grids: is the largest cell in the image of the class?",
    "gridpg2_mass": "2x2 grids: share of the map's positive part in the image of the class; 0 where it has none",
    "gridpg2_mass_median": "2x2 grids: median of that share",
    "gridpg3_hit": "3x3 grids: is the largest cell in the image of the class?",
    "gridpg3_mass": "3x3 grids: share of the map's positive part in the image of the class; 0 where it has none",
    "gridpg3_mass_median": "3x3 grids: median of that share",
    "infidelity": "how badly the map foretells what its logit loses with a patch: the less the better, 1 not at all",
    "insertion_area": "area under the class's softmax share, whatever the loss, as pixels come in the map's order",
    "insertion_gain_centre": "more of it than in the order of a Gaussian at the centre",
    "insertion_gain_other": "more of it than in the order of another image's map",
    "max_sensitivity": "largest relative change of the map under small changes of the image: the less the better",
    "place_energy": "canvas of nine images' size: share of the positive part on the image; 0 where there is none",
    "place_hit": "canvas of nine images' size: is the largest cell on the image?",
    "place_iou": "canvas of nine images' size: does the best window overlap the image by half?",
    "top10_share": "share of the image's largest tenth of all cells that lies in the true class's map",
    "translation_rise_4px": "rise of the test error under shifts by 4 pixels, per cent points",
}

WHERE = ("above", "not told apart from", "below")


def relation(score: tuple[float, float], other: tuple[float, float]) -> str:
    """Where one interval lies to another."""
    return "above" if score[0] > other[1] else "below" if score[1] < other[0] else "not told apart from"


def against_nulls(scores: Mapping[str, Any], name: str) -> str:
    """Where a score of a record lies to its nulls: `above all nulls`, `above random; not told apart from centre`."""
    if ".map." in name:  # the class map in the place of an attribution
        return "1 by definition"
    nulls = nulls_of(scores, name)
    found = {null: relation(_bounds(scores[name]), _bounds(of)) for null, of in nulls.items()}
    named = {where: [null.replace("_", " ") for null, at in found.items() if at == where] for where in WHERE}
    if len(nulls) > 1 and len(set(found.values())) == 1:
        return "above all nulls" if named["above"] else "below all nulls" if named["below"] else "like its nulls"
    return "; ".join(f"{where} {', '.join(those)}" for where, those in named.items() if those)


def told(scores: Mapping[str, Any], sentences: Mapping[str, str]) -> str:
    """Markdown: {name: a sentence with {} for the value}, each with what was measured and where it lies to the nulls.

    Sentences about scores that are not there are left out.
    """
    lines = []
    for name, sentence in sentences.items():
        if name in scores:
            between = "({:.3f} to {:.3f})".format(*_bounds(scores[name]))
            value = f"**{scores[name]['value']:.3f}** {between}"
            lines.append(f"- {sentence.format(value)}: {against_nulls(scores, name) or 'it has no null'}.")
    return "\n".join(lines)


def _bounds(score: Mapping[str, Any]) -> tuple[float, float]:
    low, high = score["interval"] or (score["value"], score["value"])
    return low, high
