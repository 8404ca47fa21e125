"""Other heads and ways of training against the reference: what they do to the class maps, score by score.

All are compared by their maps less the mean of all classes' (`niny.report.questions.fair`).
"""

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from niny.config import SOURCES
from niny.maps.forward import cells_a_side
from niny.report.questions import QUESTIONS, Question, fair, fewer, relation
from niny.report.readings import nulls_listed
from niny.report.scores import scored_networks
from niny.report.study import REFERENCE, Study, count, ours
from niny.report.words import NONE, listed, number, plural, through

APART = "other cells"  # correlations of maps of different resolution do not compare
WHERE = {"above": "above", "not told apart from": "not apart", "below": "below"}


def heads_table(study: Study) -> pd.DataFrame:
    """A row for each scored network, the reference first: its scores, and where they lie to the reference's."""
    asked = _asked(study)
    rows = [_row(study, name, asked) for name in _compared(study)]
    return pd.DataFrame(rows, columns=["Network", "n", "Test error %", *map(column, asked)])


def head_nulls_table(study: Study) -> pd.DataFrame:
    """The same rows and columns with how many items each score is of, and its nulls."""
    asked = _asked(study)
    rows = [
        {"Network": name, **{column(q): _nulls(study, name, fair(q.score)) for q in asked}} for name in _compared(study)
    ]
    return pd.DataFrame(rows, columns=["Network", *map(column, asked)])


def _nulls(study: Study, network: str, name: str) -> str:
    score = study.result(network).maps.get(name)
    return f"n {score.n:,}: {nulls_listed(study, network, name)}" if score else NONE


def _compared(study: Study) -> list[str]:
    """The reference and its rivals; none without rivals."""
    scored = scored_networks(study)
    rivals = [name for name in scored if is_rival(study, name)] if REFERENCE in scored else []
    return [REFERENCE, *rivals] if rivals else []


def _asked(study: Study) -> list[Question]:
    return [q for q in QUESTIONS if q.label and fair(q.score) in study.result(REFERENCE).maps]


def is_rival(study: Study, network: str) -> bool:
    """Does it learn the reference's data otherwise? Permuted labels are a null, and parts of chance no other way."""
    here, there = study.run(network), study.run(REFERENCE)
    whole = here.experiment.labels == "true" and here.experiment.varies == SOURCES
    return whole and here.data == there.data and network != REFERENCE


def _row(study: Study, network: str, asked: Sequence[Question]) -> dict[str, str]:
    cells = {column(question): _cell(study, network, question) for question in asked}
    return {"Network": network, "n": count(study, network), "Test error %": ours(study, network), **cells}


def _cell(study: Study, network: str, question: Question) -> str:
    here, there = (study.result(name).maps.get(fair(question.score)) for name in (network, REFERENCE))
    if here is None or there is None:
        return NONE
    between = through(here.interval) if here.interval else ""
    if network == REFERENCE:
        return _lines(number(here.value), between, fewer(study, network, here))
    if not _compares(study, network, question):
        return f"{NONE}\n{APART}"
    return _lines(number(here.value), between, WHERE[relation(here, there)], fewer(study, network, here))


def _compares(study: Study, network: str, question: Question) -> bool:
    """Correlations over cells compare where both networks have as many."""
    return question.unit != "correlation" or cells_a_side(study.run(network)) == cells_a_side(study.run(REFERENCE))


def heads_in_short(study: Study) -> list[str]:
    """Of each rival, in how many scores its maps lie above the reference's, below, and are not told apart."""
    told = [
        f"{study.params.experiments[rival].title} (`{rival}`): {_counted(study, rival)}"
        for rival in _compared(study)[1:]
    ]
    start = f"Maps less their mean over the classes, against those of `{REFERENCE}`"
    return [f"{start}. {'; '.join(told)}."] if told else []


def _counted(study: Study, rival: str) -> str:
    """`of 8 scores 5 lie below and 3 are not told apart`."""
    ours, theirs = study.result(REFERENCE).maps, study.result(rival).maps
    asked = [q for q in _asked(study) if fair(q.score) in theirs and _compares(study, rival, q)]
    found = Counter(relation(theirs[fair(q.score)], ours[fair(q.score)]) for q in asked)
    words = {"above": "lie above", "below": "lie below", "not told apart from": "are not told apart"}
    one = {"above": "lies above", "below": "lies below", "not told apart from": "is not told apart"}
    counts = [f"{n} {(one if n == 1 else words)[where]}" for where in words if (n := found[where])]
    return f"of {plural(len(asked), 'score')} {listed(counts)}"


def _lines(*parts: str) -> str:
    return "\n".join(filter(None, parts))


def column(question: Question) -> str:
    label = whole_label(question)
    return label[0].upper() + label[1:]


def whole_label(question: Question) -> str:
    """A question's label, with what its dots stand for."""
    before = ""
    for other in QUESTIONS:
        if other is question:
            break
        if other.label and not other.label.startswith("… "):
            before = other.label
    return question.label.replace("…", before, 1)
