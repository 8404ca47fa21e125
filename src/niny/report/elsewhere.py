"""Networks of other data than the reference's: the same questions to their class maps."""

from dataclasses import replace

import pandas as pd

from niny.report.questions import QUESTIONS, Question, question_row
from niny.report.scores import scored_networks
from niny.report.study import REFERENCE, Study


def elsewhere(study: Study) -> list[str]:
    """Scored networks whose experiment has another data set."""
    here = study.params.experiments[REFERENCE].dataset
    return [name for name in scored_networks(study) if study.params.experiments[name].dataset != here]


def elsewhere_table(study: Study, network: str) -> pd.DataFrame:
    """A row for each question that was put to the reference, and that this network's maps answer."""
    asked = [_put_to(network, question) for question in QUESTIONS if question.experiment == REFERENCE]
    measured = [question for question in asked if question.score in study.result(network).maps]
    return pd.DataFrame([question_row(study, question) for question in measured]).drop(columns="Network")


def _put_to(network: str, question: Question) -> Question:
    """Held against other scores of its own, not against networks of other data or what a claim says of them."""
    own = tuple((words, network, score) for words, of, score in question.rivals if of == REFERENCE)
    return replace(question, experiment=network, rivals=own, claim="")
