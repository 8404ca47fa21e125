"""Other heads and ways of training against the reference: what they do to the class maps, score by score.

All are compared by their maps less the mean of all classes' (`niny.report.questions.fair`).
"""

import pandas as pd
import torch

from niny.config import SOURCES, Run
from niny.maps.forward import class_maps
from niny.models import build
from niny.report.questions import QUESTIONS, Question, fair, relation
from niny.report.scores import scored_networks
from niny.report.study import REFERENCE, Study, count, ours
from niny.report.words import NONE, number

MISSING = "Not measured, or not to be compared"
WHERE = {"above": "Above", "not told apart from": "Not told apart", "below": "Below"}


def heads_table(study: Study) -> pd.DataFrame:
    """A row for each scored network but the reference: the scores in which its maps lie above, with and below."""
    scored = scored_networks(study)
    rows = [_row(study, name) for name in scored if is_rival(study, name)] if REFERENCE in scored else []
    return pd.DataFrame(rows, columns=["Network", "n", "Test error %", *WHERE.values(), MISSING])


def is_rival(study: Study, network: str) -> bool:
    """Does it learn the reference's data otherwise? Permuted labels are a null, and parts of chance no other way."""
    here, there = study.run(network), study.run(REFERENCE)
    whole = here.experiment.labels == "true" and here.experiment.varies == SOURCES
    return whole and here.data == there.data and network != REFERENCE


def _row(study: Study, network: str) -> dict[str, str]:
    found: dict[str, list[str]] = {where: [] for where in WHERE}
    alike = cells_a_side(study.run(network)) == cells_a_side(study.run(REFERENCE))
    reference = study.result(REFERENCE).maps
    asked = [q for q in QUESTIONS if q.label and fair(q.score) in reference]
    asked = [q for q in asked if alike or q.unit != "correlation"]
    for question in asked:
        here = study.result(network).maps.get(fair(question.score))
        there = reference[fair(question.score)]
        if here is not None:
            found[relation(here, there)].append(f"{whole_label(question)} {number(here.value)} ({number(there.value)})")
    missing = len(asked) - sum(map(len, found.values()))
    other = "" if alike else "correlations of maps: its cells are of another size"
    lacking = filter(None, (f"{missing} of {len(asked)} scores" if missing else "", other))
    told = {column: "; ".join(found[where]) or NONE for where, column in WHERE.items()}
    return {
        "Network": network,
        "n": count(study, network),
        "Test error %": ours(study, network),
        **told,
        MISSING: "; ".join(lacking) or NONE,
    }


def cells_a_side(run: Run) -> int:
    """How many cells its class maps have a side; correlations of maps of different resolution do not compare."""
    with torch.device("meta"):
        net = build(run)
        images = torch.zeros(1, run.data.channels, run.data.size, run.data.size)
        return class_maps(net, images).shape[-1]


def whole_label(question: Question) -> str:
    """A question's label, with what its dots stand for."""
    before = ""
    for other in QUESTIONS:
        if other is question:
            break
        if other.label and not other.label.startswith("… "):
            before = other.label
    return question.label.replace("…", before, 1)
