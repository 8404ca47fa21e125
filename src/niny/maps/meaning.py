"""What a score says: where it lies to other numbers, by one rule for notebooks and report.

A score lies above (below) another where its whole 95 % interval lies above (below) the other's, or the other's number
where that has none; else the two are not told apart.
"""

from collections.abc import Mapping
from typing import Any

from niny.maps.records import nulls_of

WHERE = ("above", "not told apart from", "below")


def relation(score: tuple[float, float], other: tuple[float, float]) -> str:
    """Where one interval lies to another."""
    return "above" if score[0] > other[1] else "below" if score[1] < other[0] else "not told apart from"


def against_nulls(scores: Mapping[str, Any], name: str) -> str:
    """Where a score of a record lies to its nulls: `above all nulls`, `above random; not told apart from centre`."""
    nulls = nulls_of(scores, name)
    found = {null: relation(_bounds(scores[name]), _bounds(of)) for null, of in nulls.items()}
    named = {where: [null.replace("_", " ") for null, at in found.items() if at == where] for where in WHERE}
    if len(nulls) > 1 and len(set(found.values())) == 1:
        return "above all nulls" if named["above"] else "below all nulls" if named["below"] else "like its nulls"
    return "; ".join(f"{where} {', '.join(those)}" for where, those in named.items() if those)


def _bounds(score: Mapping[str, Any]) -> tuple[float, float]:
    low, high = score["interval"] or (score["value"], score["value"])
    return low, high
