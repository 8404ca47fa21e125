"""Other heads and ways of training against the reference: what they do to the class maps, score by score."""

import pandas as pd

from niny.report.questions import QUESTIONS, Question, of_classes, relation
from niny.report.scores import scored_networks
from niny.report.study import REFERENCE, Study, ours
from niny.report.words import NONE, number

WHERE = {"above": "Above", "not told apart from": "Not told apart", "below": "Below"}


def heads_table(study: Study) -> pd.DataFrame:
    """A row for each scored network but the reference: the scores in which its maps lie above, with and below."""
    scored = scored_networks(study)
    rows = [_row(study, name) for name in scored if name != REFERENCE] if REFERENCE in scored else []
    return pd.DataFrame(rows, columns=["Network", "Test error %", *WHERE.values()])


def _row(study: Study, network: str) -> dict[str, str]:
    found: dict[str, list[str]] = {where: [] for where in WHERE}
    for question in (q for q in QUESTIONS if q.label):
        here = study.result(network).maps.get(of_classes(study, network, question.score))
        there = study.result(REFERENCE).maps.get(question.score)
        if here is not None and there is not None:
            found[relation(here, there)].append(f"{whole_label(question)} {number(here.value)} ({number(there.value)})")
    told = {column: "; ".join(found[where]) or NONE for where, column in WHERE.items()}
    return {"Network": network, "Test error %": ours(study, network), **told}


def whole_label(question: Question) -> str:
    """A question's label, with what its dots stand for."""
    before = ""
    for other in QUESTIONS:
        if other is question:
            break
        if other.label and not other.label.startswith("… "):
            before = other.label
    return question.label.replace("…", before, 1)
