"""What the class maps say: the questions of the paper and of claims.yaml, each answered by one score.

One rule makes every sentence. A score lies above (below) a null, another score or a claim's bound where its whole 95 %
interval lies above (below) the other's interval, or its number where that has none; else they are not told apart.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from niny.evaluation.rules import MapScore, Score, VariesMore
from niny.maps import meaning
from niny.maps.permuted import NULL, permuted_twin, serves, why_no_null
from niny.maps.records import nulls_of
from niny.report.study import REFERENCE, Study
from niny.report.words import NONE, NOT_MEASURED, listed, number, plural, through

RULE = (
    "A score is called above (or below) another number when its whole 95 % interval lies above (or below) the other's; "
    "otherwise the two are not told apart."
)
NULLS = {
    "uniform": "a map of one value",
    "random": "noise",
    "centre": "a blob at the centre",
    "other_image": "another image's map",
    "unaligned": "the maps left where they are",
    "untrained": "the untrained network",
    "permuted_labels": "a network that learnt permuted labels",
}


@dataclass(frozen=True)
class Question:
    """A question and the score that answers it. `says` is a sentence about {value}; with a `label` it is drawn.

    `claim` is the id of the claim whose bound the score is held against, `rivals` are other scores it is held against:
    (words, experiment, score). `items` are what n counts.
    """

    asks: str
    label: str
    score: str
    says: str
    unit: Literal["share", "correlation", "area", "points"] = "share"
    items: str = "images"
    claim: str = ""
    rivals: tuple[tuple[str, str, str], ...] = ()
    experiment: str = REFERENCE
    headline: bool = False  # told at the report's head
    against_nulls: bool = True  # whether its sentence says where it lies to them


QUESTIONS = (
    Question(
        "Is an image's largest activation in the map of its class?",
        "largest in the true map",
        "claim1_rate.raw",
        "On {value} of test images the largest activation lies in the true class's map",
        claim="figure4-true-class",
        headline=True,
    ),
    Question(
        "Is it so on images that the network gets wrong?",
        "… on images it gets wrong",
        "claim1_rate.raw.wrong",
        "Of misclassified images this holds for {value}",
        rivals=(("the images it gets right", REFERENCE, "claim1_rate.raw.correct"),),
    ),
    Question(
        "… and on images that it gets right?",
        "",
        "claim1_rate.raw.correct",
        "Of recognised images this holds for {value}",
        claim="figure4-true-class-recognised",
    ),
    Question(
        "Does global average pooling make channels stand for classes? Without it:",
        "",
        "claim1_rate.channel",
        "Under a fully connected head {value} of test images have it in the channel with their class's number",
        rivals=(("the class maps under global average pooling", REFERENCE, "claim1_rate.raw"),),
        experiment="cifar10-nin-fc",
    ),
    Question(
        "Is a map largest in the image that shows its class?",
        "peak in the right cell of 9",
        "gridpg3_hit.raw",
        "With nine test images in a grid, a class's map is largest in the cell of that class {value} of the time",
        items="grids",
        claim="figure4-at-object",
        headline=True,
    ),
    Question(
        "Is that truest of structured objects?",
        "",
        "gridpg3_hit.raw.vehicles",
        "For vehicles it is so {value} of the time",
        items="grids",
        rivals=(("animals", REFERENCE, "gridpg3_hit.raw.animals"),),
    ),
    Question(
        "… of maps less the best other class's?",
        "",
        "gridpg3_hit.margin.vehicles",
        "In that reading it is so {value} of the time for vehicles",
        items="grids",
        rivals=(("animals", REFERENCE, "gridpg3_hit.margin.animals"),),
    ),
    Question(
        "… by what lies on the object, not by the peak?",
        "",
        "gridpg3_mass.raw.vehicles",
        "Of the maps of vehicles {value} of the positive part lies in the right cell",
        items="grids",
        rivals=(("animals", REFERENCE, "gridpg3_mass.raw.animals"),),
    ),
    Question(
        "How much of a map lies in the image that shows its class?",
        "mass in the right cell of 9",
        "gridpg3_mass.raw",
        "In the same grids {value} of a map's positive part lies in the right cell",
        items="grids",
    ),
    Question(
        "Does taking off what all maps share sharpen them?",
        "",
        "gridpg3_mass.centred",
        "Less the mean of all maps, {value} of it lies in the right cell",
        items="grids",
        claim="centring-localises",
        rivals=(("the raw maps", REFERENCE, "gridpg3_mass.raw"),),
    ),
    Question(
        "Does binary cross-entropy make sharper maps?",
        "",
        "gridpg3_mass.raw",
        "Trained with binary cross-entropy, raw maps hold {value} of their positive part in the right cell",
        items="grids",
        claim="binary-loss-localises",
        rivals=(("softmax cross-entropy, without the last ReLU too", "cifar10-nin-nofinalrelu", "gridpg3_mass.raw"),),
        experiment="cifar10-nin-bce",
    ),
    Question(
        "Is an object found among others, wherever it is put?",
        "peak on the pasted object",
        "place_hit.raw.distractors",
        "Pasted at a random place over other images, an object holds the peak of its class's map {value} of the time",
    ),
    Question(
        "Is a map largest on its object, where photographs have boxes?",
        "peak in the object's box",
        "box_hit.raw.dense",
        "On Tiny-ImageNet photographs the peak lies in the object's box {value} of the time",
        claim="figure4-in-the-object",
        headline=True,
    ),
    Question(
        "Are these photographs recognised at all?",
        "",
        "box_accuracy",
        "Of the same photographs the network recognises {value}",
    ),
    Question(
        "Do the maps move with the image?",
        "moves with the image (r)",
        "equivariance.raw",
        "Where the image moves by a cell, the map moved back correlates at {value} with what it was",
        "correlation",
    ),
    Question(
        "Does covering parts of the image tell the same?",
        "agrees with occlusion (r)",
        "agreement_rank.occlusion.raw",
        "The rank correlation of a map with the effect of covering its cells is {value}",
        "correlation",
    ),
    Question(
        "Does the order of a map's cells matter to the network?",
        "",
        "insertion_gain_centre.raw",
        "Restoring pixels in the order of the map gains {value} of insertion area over a blob at the centre",
        "area",
        claim="insertion-says-little",
    ),
    Question(
        "Do means of maps stand translations better than a fully connected layer?",
        "",
        "translation_rise_4px",
        "Moving the test images by 4 pixels costs {value} of test error",
        "points",
        rivals=(("the fully connected layer", "cifar10-nin-fc", "translation_rise_4px"),),
        against_nulls=False,  # the error of a network that has learnt nothing cannot rise
    ),
)


IN_SHORT = (
    ("claim1_rate.raw", "claim1_rate.raw.wrong", "claim1_rate.channel"),
    ("gridpg3_hit.raw", "place_hit.raw.distractors", "box_hit.raw.dense"),
    ("gridpg3_mass.raw", "gridpg3_mass.centred"),
    ("equivariance.raw", "agreement_rank.occlusion.raw", "insertion_gain_centre.raw", "translation_rise_4px"),
)


def in_short(study: Study) -> list[str]:
    """The findings, a paragraph a theme: the class, the place, what maps share, what they are to the network."""
    known = answered(study)
    themes = [[question for question in known if question.score in theme] for theme in IN_SHORT]
    return [" ".join(in_brief(study, question) for question in theme) for theme in themes if theme]


def in_brief(study: Study, question: Question) -> str:
    """A finding with its nulls in a few words."""
    score = scored_of(study, question)
    nulls = nulls_at(study, question.experiment, question.score) if question.against_nulls else {}
    if score.interval is None or not nulls:
        return finding(study, question)
    compared = _grouped(score, dict(_bounds(study, question))) + _briefly(score, nulls)
    return f"{said_of(study, question)}: {'; '.join(compared)}."


def _briefly(score: Score, nulls: Mapping[str, Score]) -> list[str]:
    """Where a score lies to its nulls; those that it lies above go unnamed."""
    rest = {NULLS[null]: of for null, of in nulls.items() if relation(score, of) != "above"}
    which = "the other" if rest else "all" if len(nulls) > 1 else "its"
    return _grouped(score, rest) + [f"above {which} nulls"] * (len(rest) < len(nulls))


def questions_table(study: Study) -> pd.DataFrame:
    """A row for each question: the score, its nulls and what it means; words where nothing was measured."""
    return pd.DataFrame([question_row(study, question) for question in QUESTIONS] + _spread_rows(study))


def answered(study: Study) -> list[Question]:
    return [question for question in QUESTIONS if question.score in study.result(question.experiment).maps]


def question_row(study: Study, question: Question) -> dict[str, str]:
    """A question, the score that answers it, its nulls and what it means."""
    score = study.result(question.experiment).maps.get(question.score)
    row = {"Question": question.asks, "Score": question.score, "Network": question.experiment}
    if score is None:
        none = NOT_MEASURED if len(study.of(question.experiment)) else "not run"
        return row | {"Value": none, "95 % interval": NONE, "n": "0", "Nulls": NONE, "What it means": NONE}
    return row | {
        "Value": number(score.value),
        "95 % interval": through(score.interval) if score.interval else NONE,
        "n": _count(study, question, score),
        "Nulls": nulls_told(study, question.experiment, question.score) or NONE,
        "What it means": finding(study, question),
    }


def _count(study: Study, question: Question, score: Score) -> str:
    several = len(score.seeds) > 1
    of = f", {len(score.seeds)} networks" if several else f" {fewer(study, question.experiment, score)}"
    return f"{score.n:,} {question.items}{of}".strip()


def scored_of(study: Study, question: Question) -> Score:
    """The score that answers a question. It must have been measured."""
    return study.result(question.experiment).maps[question.score]


def said_of(study: Study, question: Question) -> str:
    """The answer in words, with how many runs it is of where that is fewer than finished."""
    score = scored_of(study, question)
    said = question.says.format(value=amount(score.value, question.unit))
    return f"{said} {fewer(study, question.experiment, score)}".strip()


def fewer(study: Study, network: str, score: Score) -> str:
    """How many runs a score is of, where that is fewer than finished."""
    runs = len(score.seeds)
    if runs >= study.errors(network).n:
        return ""
    return "(one run)" if runs == 1 else f"({runs} runs)"


def _spread_rows(study: Study) -> list[dict[str, str]]:
    """The preregistered questions about the spread over seeds, whose answer is the claim's own test."""
    rows = []
    for claim, record in zip(study.claims, study.current, strict=True):
        if isinstance(claim.rule, VariesMore):
            known = record["ours"] is not None
            rows.append(
                {
                    "Question": "Do raw maps vary more from seed to seed than those less their mean?",
                    "Score": f"{claim.rule.wide} / {claim.rule.narrow}",
                    "Network": claim.rule.experiment,
                    "Value": number(record["ours"]) if known else NOT_MEASURED,
                    "95 % interval": NONE,
                    "n": plural(record["n"], "network"),
                    "Nulls": NONE,
                    "What it means": f"{record['because'].capitalize()}." if known else NONE,
                }
            )
    return rows


def nulls_at(study: Study, experiment: str, score: str) -> dict[str, Score]:
    """{null: its score} beside a score, that of the network that learnt permuted labels of the same data among them."""
    nulls: dict[str, Score] = nulls_of(study.result(experiment).maps, score)
    twin = twin_of(study, experiment)
    if twin is None or no_permuted(study, experiment):
        return nulls
    found = study.result(twin).maps.get(score) if serves(score, study.run(experiment), study.run(twin)) else None
    return nulls if found is None else {**nulls, NULL: found}


def fair(score: str) -> str:
    """The same score of maps less their mean over the classes, which can be held against another network's.

    Softmax cross-entropy leaves open what all maps of an image share, and a fully connected head what all classes'
    weights do: raw maps of two networks may differ in that alone.
    """
    return ".".join("centred" if part == "raw" else part for part in score.split("."))


def has_connected_maps(study: Study, experiment: str) -> bool:
    """Are its class maps what a fully connected head makes of each cell (niny.maps.heads)?"""
    made = study.params.experiments[experiment].head != "gap"
    return made and "claim1_rate.raw" in study.result(experiment).maps


def nulls_told(study: Study, experiment: str, score: str) -> str:
    """The nulls of a score as tables say them, each with its interval where it can vary."""
    own = study.result(experiment).maps[score].n
    return ", ".join(f"{short(null)} {_told(of, own)}" for null, of in nulls_at(study, experiment, score).items())


def _told(score: Score, usual: int) -> str:
    """A null with its interval, and of how many images or grids where these are fewer than the `usual` n."""
    between = through(score.interval) if score.interval else ""
    if between in ("", through((score.value, score.value))):
        return number(score.value)
    return f"{number(score.value)} ({between}{f'; n = {score.n:,}' if 0 < score.n < usual else ''})"


def no_permuted(study: Study, experiment: str) -> str:
    """Why the null of permuted labels is missing; empty where it is there, or there is no such experiment."""
    twin = twin_of(study, experiment)
    if twin is None:
        return ""
    why = why_no_null(study.result(twin).train_errors.values(), study.run(twin).data.classes)
    return why or ("" if study.result(twin).maps else "not scored")


def twin_of(study: Study, experiment: str) -> str | None:
    """The experiment that learns permuted labels of the same data; None where there is none or this is it."""
    data = study.scale.dataset or study.params.experiments[experiment].dataset
    twin = permuted_twin(study.params, study.scale.name, data)
    return None if twin == experiment else twin


def finding(study: Study, question: Question) -> str:
    """What a score means, in a sentence made from the records by `RULE`. The score must have been measured."""
    score, said = scored_of(study, question), said_of(study, question)
    if score.interval is None:
        return f"{said}; without an interval it is held against nothing."
    others = dict(_bounds(study, question))
    nulls = nulls_at(study, question.experiment, question.score) if question.against_nulls else {}
    compared = _grouped(score, others)
    compared += _against_nulls(score, {NULLS[null]: of for null, of in nulls.items()}, question.unit)
    return f"{said}: {'; '.join(compared)}." if compared else f"{said}."


def _against_nulls(score: Score, nulls: Mapping[str, Score], unit: str) -> list[str]:
    """Where the score lies to each null; where that is the same for all, which of them comes nearest."""
    relations = {relation(score, of) for of in nulls.values()}
    if len(nulls) < 2 or len(relations) > 1:
        return _grouped(score, {f"{words} ({amount(null.value, unit)})": null for words, null in nulls.items()})
    nearest = min(nulls, key=lambda words: abs(nulls[words].value - score.value))
    where = relations.pop()
    which = "any null" if where == "not told apart from" else "all nulls"
    return [f"{where} {which}, of which {nearest} comes nearest ({amount(nulls[nearest].value, unit)})"]


def _bounds(study: Study, question: Question) -> Iterable[tuple[str, Score]]:
    """What else a score is held against: its claim's bound, at scales that may judge, and rivals that were measured."""
    for claim in study.claims if study.scale.evidence else ():
        if claim.id == question.claim and isinstance(claim.rule, MapScore) and claim.rule.value is not None:
            bound = claim.rule.value
            yield f"the bound of {amount(bound, question.unit)} in `{claim.id}`", Score(bound)
    for words, experiment, name in question.rivals:
        if (found := study.result(experiment).maps.get(name)) is not None:
            yield f"{words} ({amount(found.value, question.unit)})", found


def _grouped(score: Score, others: Mapping[str, Score]) -> list[str]:
    relations = {words: relation(score, of) for words, of in others.items()}
    return [
        f"{where} {listed([words for words, found in relations.items() if found == where])}"
        for where in meaning.WHERE
        if where in relations.values()
    ]


def relation(score: Score, other: Score) -> str:
    """Where the interval of a score lies to that of another, or to its value where it has none."""
    ours, theirs = (of.interval or (of.value, of.value) for of in (score, other))
    return meaning.relation(ours, theirs)


def short(null: str) -> str:
    return null.replace("_", " ")


def amount(value: float, unit: str) -> str:
    """A value as a sentence has it."""
    if unit == "share":
        return f"{100 * round(value, 3):.1f} %"  # so that it is the table's number
    return f"{value:.2f} points" if unit == "points" else number(value)
