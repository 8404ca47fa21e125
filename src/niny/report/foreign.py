"""The authors' own trained network beside ours: the same questions to its class maps, where its scores are kept."""

from dataclasses import replace
from typing import Any

import pandas as pd

from niny.evaluation.results import read_json, read_scores
from niny.evaluation.rules import ExperimentResult
from niny.evaluation.statistics import Interval, sampling_error
from niny.maps.foreign import RECORD
from niny.report.questions import QUESTIONS, no_permuted, question_row, twin_of
from niny.report.study import REFERENCE, Study
from niny.report.words import NOT_MEASURED, told_commit

FOLDER = "authors"  # of results/
AUTHORS = "authors' network"  # where ours are named by their experiment


def foreign_record(study: Study) -> dict[str, Any] | None:
    """None where no scores of theirs are kept, or of a network for other images than the reference's."""
    path = study.root / "results" / FOLDER / RECORD
    if REFERENCE not in study.results or not path.is_file():
        return None
    record = read_json(path)
    return record if record["data"] == study.run(REFERENCE).data.name else None


def sampling(record: dict[str, Any]) -> Interval:
    images = int(record["test_images"])
    return sampling_error(record["test_error"], images)


def made_at(study: Study) -> str:
    """The commit at which it was scored."""
    environment = read_json(study.root / "results" / FOLDER / "environment.json")
    return told_commit(environment["commit"], environment["changed"])


def foreign_table(study: Study) -> pd.DataFrame:
    """A row for each question that was put to the reference, with what was found; words where it was not."""
    theirs = authors_study(study)
    asked = [question for question in QUESTIONS if question.experiment == REFERENCE]
    frame = pd.DataFrame([question_row(theirs, question) for question in asked])
    return frame.drop(columns="Network").replace("not run", NOT_MEASURED)


def authors_study(study: Study) -> Study:
    """The study with their network's scores in the place of the reference's, and none of ours.

    But for the network that learnt permuted labels, where it is as wide as theirs: a null for it too.
    """
    scores = read_scores(study.root / "results" / FOLDER / RECORD)
    twin = twin_of(study, REFERENCE)
    null = {twin: study.result(twin)} if twin and study.scale.width == 1 else {}
    return replace(study, results={REFERENCE: ExperimentResult(maps=scores), **null})


def permuted_told(study: Study) -> str:
    """Where the null of permuted labels comes from, since they published no network that learnt such; or why none."""
    why, twin = no_permuted(authors_study(study), REFERENCE), twin_of(study, REFERENCE)
    if twin is None or why:
        reason = "no network as wide as theirs learnt such at this scale" if twin else "no experiment learns such"
        return f"The null of permuted labels is missing: {reason}."
    return f"The null of permuted labels is this study's own network that learnt such, `{twin}`."
