"""What the maps say: sentences follow from intervals by the rule, and what was not measured is not answered."""

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest
from planted import ROOT, plant, plant_scores, project, study_params

from niny.evaluation.claims import load_claims
from niny.evaluation.rules import MapScore, Score
from niny.maps.intervals import score
from niny.maps.nested import over_seeds
from niny.maps.records import save_scores
from niny.report import write_figures, write_report, write_tables
from niny.report.article import headlines
from niny.report.class_maps import agreement, map_image, one_network
from niny.report.elsewhere import elsewhere, elsewhere_table
from niny.report.heads import APART, head_nulls_table, heads_in_short, heads_table, whole_label
from niny.report.questions import (
    QUESTIONS,
    finding,
    in_short,
    nulls_at,
    nulls_told,
    question_row,
    questions_table,
    relation,
)
from niny.report.scores import scores_picture
from niny.report.study import load_study
from niny.report.words import NONE, number, through

PARAMS = study_params()
NULLS = {"uniform": 0.1, "random": 0.098, "centre": 0.1}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return project(tmp_path / "project")


def plant_network(
    root: Path,
    scores: Mapping[str, tuple[float, float, float]],
    name: str = "cifar10-nin",
    seeds: int = 1,
    scale: str = "full",
) -> None:
    run = PARAMS.run(scale, name)
    for seed in range(seeds):
        plant(root, run, seed, 10.4)
    plant_scores(root, run, scores, seeds)


def around(value: float, half: float = 0.01) -> tuple[float, float, float]:
    return value, value - half, value + half


def said(root: Path, score: str, scale: str = "full") -> str:
    study = load_study(PARAMS, scale, root)
    return finding(study, next(question for question in QUESTIONS if question.score == score))


@pytest.mark.parametrize(
    ("other", "where"),
    [
        (Score(0.4), "above"),
        (Score(0.45), "not told apart from"),
        (Score(0.7), "below"),
        (Score(0.4, (0.35, 0.44)), "above"),
        (Score(0.4, (0.35, 0.46)), "not told apart from"),
        (Score(0.6, (0.56, 0.7)), "below"),
    ],
)
def test_one_number_lies_above_another_only_with_its_whole_interval(other: Score, where: str) -> None:
    assert relation(Score(0.5, (0.45, 0.55)), other) == where


def test_a_score_above_all_nulls_and_below_what_the_claim_asks(root: Path) -> None:
    nulls = {f"claim1_rate.{null}": around(value, 0) for null, value in NULLS.items()}
    plant_network(root, {"claim1_rate.raw": around(0.6), **nulls})
    assert said(root, "claim1_rate.raw") == (
        "On 60.0 % of test images the largest activation lies in the true class's map: "
        "below the bound of 90.0 % in `figure4-true-class`; "
        "above all nulls, of which a map of one value comes nearest (10.0 %)."
    )


def test_in_short_a_finding_names_only_the_nulls_that_it_does_not_pass(root: Path) -> None:
    beside = {"box_hit.centre.dense": 0.9, "box_hit.random.dense": 0.6, "claim1_rate.uniform": 0.1}
    scores = {"box_hit.raw.dense": 0.78, "claim1_rate.raw": 0.6, "claim1_rate.raw.wrong": 0.2}
    plant_network(root, {name: around(value) for name, value in (scores | beside).items()})
    assert in_short(load_study(PARAMS, "full", root)) == [
        "On 60.0 % of test images the largest activation lies in the true class's map: "
        "below the bound of 90.0 % in `figure4-true-class`; above its nulls. "
        "Of misclassified images this holds for 20.0 %: above its nulls.",
        "On Tiny-ImageNet photographs the peak lies in the object's box 78.0 % of the time: below a blob at the "
        "centre; above the other nulls.",
    ]


def test_a_null_with_fewer_images_says_of_how_many(root: Path) -> None:
    plant_network(root, {"claim1_rate.raw": around(0.6), "claim1_rate.raw.untrained": (0.2, 0.1, 0.3)})
    path = root / "results" / "full" / "maps" / "cifar10-nin.json"
    path.write_text(path.read_text().replace('"n": 500', '"n": 46').replace('"n": 46', '"n": 500', 1))
    told = nulls_told(load_study(PARAMS, "full", root), "cifar10-nin", "claim1_rate.raw")
    assert told == "untrained 0.200 (0.100 to 0.300; n = 46)"


def test_the_bound_is_that_of_claims_yaml(root: Path) -> None:
    plant_network(root, {"claim1_rate.raw": around(0.6)})
    claims = root / "claims.yaml"
    text = claims.read_text()
    assert text.count("claim1_rate.raw, side: above, value: 0.9") == 1
    claims.write_text(
        text.replace("claim1_rate.raw, side: above, value: 0.9", "claim1_rate.raw, side: above, value: 0.5")
    )
    assert "above the bound of 50.0 % in `figure4-true-class`" in said(root, "claim1_rate.raw")


def test_a_scale_without_evidence_holds_no_score_against_a_claim(root: Path) -> None:
    plant_network(root, {"claim1_rate.raw": around(0.6), "claim1_rate.uniform": around(0.1, 0)}, scale="trial")
    assert said(root, "claim1_rate.raw", "trial") == (
        "On 60.0 % of test images the largest activation lies in the true class's map: "
        "above a map of one value (10.0 %)."
    )


def test_nulls_that_do_as_well_or_better_are_named(root: Path) -> None:
    beside = {"box_hit.centre.dense": 0.9, "box_hit.random.dense": 0.6, "box_hit.raw.dense.other_image": 0.775}
    plant_network(root, {"box_hit.raw.dense": around(0.78)} | {name: around(value) for name, value in beside.items()})
    assert said(root, "box_hit.raw.dense") == (
        "On Tiny-ImageNet photographs the peak lies in the object's box 78.0 % of the time: above noise "
        "(60.0 %); not told apart from another image's map (77.5 %); below a blob at the centre (90.0 %)."
    )


def test_rivals_stand_with_their_own_numbers(root: Path) -> None:
    plant_network(root, {"translation_rise_4px": around(5.2, 1)})
    plant_network(root, {"translation_rise_4px": around(9.0, 1)}, "cifar10-nin-fc")
    assert said(root, "translation_rise_4px") == (
        "Moving the test images by 4 pixels costs 5.20 points of test error: "
        "below the fully connected layer (9.00 points)."
    )


def test_the_network_that_learnt_permuted_labels_is_a_null_for_the_others(root: Path) -> None:
    plant_network(root, {"gridpg3_mass.raw": around(0.2), "gridpg3_mass.uniform": around(1 / 9, 0)})
    plant_network(root, {"gridpg3_mass.raw": around(0.12)}, "cifar10-nin-permuted")

    def nulls(train_error: float) -> str:
        plant(root, PARAMS.run("full", "cifar10-nin-permuted"), 0, 90.0, train_error=train_error)
        frame = questions_table(load_study(PARAMS, "full", root)).set_index(["Score", "Network"])
        return str(frame.loc[("gridpg3_mass.raw", "cifar10-nin"), "Nulls"])

    assert nulls(45.0) == "uniform 0.111, permuted labels 0.120 (0.110 to 0.130)"
    assert nulls(45.1) == "uniform 0.111", "what learnt fewer than half of its labels is no network that learnt them"


def test_no_network_is_a_null_on_images_that_another_gets_right_or_wrong(root: Path) -> None:
    names = ("claim1_rate.raw.wrong", "claim1_rate.raw.cat")
    for experiment in ("cifar10-nin", "cifar10-nin-permuted"):
        plant_network(root, dict.fromkeys(names, around(0.2)), experiment)
    plant(root, PARAMS.run("full", "cifar10-nin-permuted"), 0, 90.0, train_error=0.0)
    study = load_study(PARAMS, "full", root)
    assert [list(nulls_at(study, "cifar10-nin", name)) for name in names] == [[], ["permuted_labels"]]


def test_what_was_not_measured_is_not_answered(root: Path) -> None:
    plant_network(root, {"claim1_rate.raw": around(0.6)}, seeds=5)
    frame = questions_table(load_study(PARAMS, "full", root)).set_index(["Score", "Network"])
    assert frame.loc[("claim1_rate.raw", "cifar10-nin"), ["Value", "n"]].to_list() == [
        "0.600",
        "500 images, 5 networks",
    ]
    assert frame.loc[("gridpg3_hit.raw", "cifar10-nin"), ["Value", "What it means"]].to_list() == ["not measured", "–"]
    assert frame.loc[("gridpg3_mass.raw", "cifar10-nin-bce"), "Value"] == "not run"
    assert frame.map(bool).all(axis=None)


def test_every_map_claim_has_its_question_and_every_question_a_score_that_is_recorded() -> None:
    claims = load_claims(ROOT / "claims.yaml")
    asked = {(claim.rule.experiment, claim.rule.score) for claim in claims if isinstance(claim.rule, MapScore)}
    assert asked <= {(question.experiment, question.score) for question in QUESTIONS}
    assert {question.claim for question in QUESTIONS} <= {"", *(claim.id for claim in claims)}
    recorded: set[str] = set()
    for path in (ROOT / "results/short/maps").glob("cifar10-nin*.json"):
        recorded |= set(json.loads(path.read_text())["scores"])
    assert {question.score for question in QUESTIONS} <= recorded


def test_networks_are_compared_on_one_scale_and_gaps_are_named(root: Path) -> None:
    plant_network(root, {"claim1_rate.raw": around(0.6), "equivariance.raw": around(0.8)})
    plant_network(root, {"claim1_rate.raw": around(0.7)}, "cifar10-cnn-gap")
    write_figures(PARAMS, "full", root)
    drawn = (root / "results/full/figures/map-scores.svg").read_text()
    assert all(f">{name}<" in drawn for name in ("cifar10-nin", "cifar10-cnn-gap", "not measured"))
    (root / "results/full/maps/cifar10-nin.json").unlink()
    (root / "results/full/maps/cifar10-cnn-gap.json").unlink()
    write_figures(PARAMS, "full", root)
    assert "no class map has been scored" in (root / "results/full/figures/map-scores.svg").read_text()


def test_the_page_has_the_short_table_and_the_file_all_scores(root: Path) -> None:
    plant_network(root, {"claim1_rate.raw": around(0.6), "claim1_rate.raw.cat": around(0.3), "gini.raw": around(0.4)})
    write_tables(PARAMS, "full", root)
    write_report(PARAMS, "full", root)
    text = (root / "results/full/README.md").read_text()
    assert "claim1_rate.raw.cat" not in text
    assert "in 3 scores by class" in text
    scores = pd.read_csv(root / "results/full/tables/map-scores.csv")
    assert scores["score"].to_list() == ["claim1_rate.raw", "claim1_rate.raw.cat", "gini.raw"]


def test_a_fully_connected_head_is_judged_by_what_it_makes_of_the_maps_and_a_dead_network_not_at_all(
    root: Path,
) -> None:
    raw = {"claim1_rate.raw": around(0.55), "claim1_rate.centred": around(0.3), "claim1_rate.channel": around(0.1)}
    plant_network(root, raw, "cifar10-cnn-fc")
    plant_network(root, raw)
    study = load_study(PARAMS, "full", root)
    told = scores_picture(study)
    assert "cifar10-cnn-fc, largest in the true map, centred: 0.300" in told.alt
    assert "cifar10-cnn-fc, largest in the true map, raw" not in told.alt
    assert "cifar10-nin, largest in the true map, raw: 0.550" in told.alt
    assert "what it makes of each cell" in told.caption
    assert "On 30.0 % of test images" in map_image(study, "cifar10-cnn-fc").picture.alt, "raw maps compare with none"
    assert "On 55.0 % of test images" in map_image(study, "cifar10-nin").picture.alt
    plant(root, PARAMS.run("full", "cifar10-cnn-gap"), 0, 90.0, collapsed=True)
    plant_scores(root, PARAMS.run("full", "cifar10-cnn-gap"), raw)
    assert "cifar10-cnn-gap" not in scores_picture(load_study(PARAMS, "full", root)).alt
    assert "its fully connected layer" not in map_image(study, "cifar10-nin").picture.caption


def test_heads_are_compared_with_the_reference_by_maps_less_what_all_share(root: Path) -> None:
    def plant_centred(network: str, claim1: float, *others: float, raw: float = 0.5) -> None:
        names = ("claim1_rate.centred", "equivariance.centred", "gridpg3_hit.centred")
        scores = {name: around(value) for name, value in zip(names, (claim1, *others), strict=False)}
        plant_network(root, scores | {"claim1_rate.raw": around(raw)}, network)

    plant_centred("cifar10-nin", 0.6, 0.86, 0.7)
    plant_centred("cifar10-nin-nodropout", 0.8, 0.865)
    plant_centred("cifar10-nin-fc", 0.5, raw=0.9)
    plant_centred("cifar10-cnn-gap", 0.6, 0.01, 0.7)
    for null in ("svhn-nin", "cifar10-nin-permuted", "cifar10-nin-aug-only-init"):
        plant_centred(null, 0.9)
    table = heads_table(load_study(PARAMS, "full", root)).set_index("Network")
    assert [*table.index] == ["cifar10-nin", "cifar10-nin-nodropout", "cifar10-nin-fc", "cifar10-cnn-gap"]
    claim1, peak, moves = (table[name] for name in table if name not in ("n", "Test error %"))
    assert claim1["cifar10-nin"].startswith("0.600\n0.5")
    assert claim1["cifar10-nin-nodropout"] == "0.800\n0.790 to 0.810\nabove"
    assert moves["cifar10-nin-nodropout"] == "0.865\n0.855 to 0.875\nnot apart"
    assert claim1["cifar10-nin-fc"] == "0.500\n0.490 to 0.510\nbelow"
    assert moves["cifar10-nin-fc"] == peak["cifar10-nin-fc"] == NONE
    assert moves["cifar10-cnn-gap"] == f"{NONE}\n{APART}"
    assert heads_table(load_study(PARAMS, "trial", root)).empty
    assert heads_in_short(load_study(PARAMS, "trial", root)) == []
    (told,) = heads_in_short(load_study(PARAMS, "full", root))
    assert "`cifar10-nin-nodropout`): of 2 scores 1 lies above and 1 is not told apart; " in told
    assert "`cifar10-nin-fc`): of 1 score 1 lies below; " in told
    assert told.endswith("`cifar10-cnn-gap`): of 2 scores 2 are not told apart.")
    nulls = head_nulls_table(load_study(PARAMS, "full", root)).set_index("Network")
    assert [*nulls.index] == [*table.index]
    assert nulls.loc["cifar10-nin", "Largest in the true map"].startswith("n 500: ")
    assert nulls.loc["cifar10-nin-fc", "Moves with the image (r)"] == NONE
    (label,) = {whole_label(question) for question in QUESTIONS if question.label.startswith("…")}
    assert label == "largest in the true map on images it gets wrong"


def test_a_score_of_fewer_runs_than_its_row_says_so_in_its_cell(root: Path) -> None:
    asked = ("claim1_rate.centred", "agreement_rank.occlusion.centred", "equivariance.centred")
    plant_network(root, {name: around(0.5) for name in asked}, seeds=3)
    plant_network(root, {asked[0]: around(0.7)}, "cifar10-nin-aug", seeds=3)
    folder, aug = root / "results/full/maps", "cifar10-nin-aug"
    alone = {asked[1]: score(0.7, (0.69, 0.71), 50)}
    by_seed = {0: alone | {asked[2]: score(0.7, (0.69, 0.71), 50)}, 1: {asked[2]: score(0.7, (0.69, 0.71), 50)}}
    save_scores(folder / f"{aug}.attribution.json", aug, "full", "gap", over_seeds(by_seed))
    table = heads_table(load_study(PARAMS, "full", root)).set_index("Network")
    assert table.loc[aug, "n"] == "3"
    assert table.loc[aug, "Largest in the true map"] == "0.700\n0.690 to 0.710\nabove"
    assert table.loc[aug, "Agrees with occlusion (r)"] == "0.700\n0.690 to 0.710\nabove\n(one run)"
    assert table.loc[aug, "Moves with the image (r)"].endswith("\n(2 runs)")
    plant_scores(root, PARAMS.run("full", "cifar10-nin"), {asked[0]: around(0.5)})
    table = heads_table(load_study(PARAMS, "full", root)).set_index("Network")
    assert table.loc["cifar10-nin", "Largest in the true map"] == "0.500\n0.490 to 0.510\n(one run)"


def test_an_answer_of_fewer_runs_than_finished_says_so_and_whose_it_is(root: Path) -> None:
    name = "agreement_rank.occlusion.raw"
    plant_network(root, {"claim1_rate.raw": around(0.5)}, seeds=3)
    once = over_seeds({0: {name: score(0.4, (0.39, 0.41), 50)}})
    save_scores(root / "results/full/maps/cifar10-nin.attribution.json", "cifar10-nin", "full", "gap", once)
    study = load_study(PARAMS, "full", root)
    (asked,) = [question for question in QUESTIONS if question.score == name]
    assert " is 0.400 (one run)" in finding(study, asked)
    assert question_row(study, asked)["n"].endswith(" (one run)")
    assert [table.origin.partition(" in ")[0] for table in agreement(study)] == ["1 run"]
    assert "(one run)" not in finding(study, QUESTIONS[0])


def test_answers_at_the_head_of_one_network_say_that_they_are(root: Path) -> None:
    told = "These intervals are over images, of one network."
    plant_network(root, {"claim1_rate.raw": around(0.5)})
    assert headlines(load_study(PARAMS, "full", root))[-1].endswith(told)
    plant_network(root, {"claim1_rate.raw": around(0.5)}, seeds=3)
    assert told not in " ".join(headlines(load_study(PARAMS, "full", root)))


def test_networks_that_were_scored_alone_are_counted(root: Path) -> None:
    plant_network(root, {"claim1_rate.raw": around(0.5)})
    (alone,) = one_network(load_study(PARAMS, "full", root))
    assert alone.startswith("One network of each experiment was scored: ")
    plant_network(root, {"claim1_rate.raw": around(0.5)}, "cifar10-nin-aug", seeds=3)
    (alone,) = one_network(load_study(PARAMS, "full", root))
    assert alone.startswith("One network of each of 1 of 2 experiments was scored: ")
    plant_network(root, {"claim1_rate.raw": around(0.5)}, seeds=3)
    assert one_network(load_study(PARAMS, "full", root)) == []


def test_a_difference_says_where_the_other_network_learns_at_another_rate(root: Path) -> None:
    for name, error in (("cifar10-nin", 10.0), ("cifar10-nin-nodropout", 16.0), ("cifar10-nin-fc", 11.0)):
        plant(root, PARAMS.run("full", name), 0, error)
    told = headlines(load_study(PARAMS, "full", root))[0]
    assert "at 0.25 of the learning rate, the error is 6.00 points higher (one run each; in the paper +4.10)." in told
    assert "With a fully connected layer in place of the means of maps the error is 1.00 points higher" in told


def test_a_network_of_other_data_answers_the_same_questions_and_is_held_against_its_own_scores_alone(
    root: Path,
) -> None:
    plant_network(root, {"translation_rise_4px": around(5), "claim1_rate.raw": around(0.6)}, "cifar10-nin-fc")
    plant_network(root, {"claim1_rate.raw": around(0.9)})
    study = load_study(PARAMS, "full", root)
    assert elsewhere(study) == []
    scores = {"claim1_rate.raw.wrong": 0.2, "claim1_rate.raw.correct": 0.6, "claim1_rate.raw.wrong.uniform": 0.01}
    plant_network(root, {n: around(v) for n, v in scores.items()} | {"translation_rise_4px": around(3)}, "cifar100-nin")
    study = load_study(PARAMS, "full", root)
    assert elsewhere(study) == ["cifar100-nin"]
    told = elsewhere_table(study, "cifar100-nin").set_index("Score")["What it means"]
    assert [*told.index] == ["claim1_rate.raw.wrong", "claim1_rate.raw.correct", "translation_rise_4px"]
    assert "below the images it gets right (60.0 %)" in told["claim1_rate.raw.wrong"]
    assert "fully connected" not in told["translation_rise_4px"]
    write_tables(PARAMS, "full", root)
    written = pd.read_csv(root / "results/full/tables/questions-cifar100-nin.csv")
    assert written["Score"].tolist() == [*told.index]
    write_figures(PARAMS, "full", root)
    page = write_report(PARAMS, "full", root).read_text()
    assert "The questions to cifar100-nin, of CIFAR-100" in page


def test_numbers_are_in_the_digits_that_tell_and_the_rest_of_rounding_is_none() -> None:
    assert [number(x) for x in (12.346, 0.5, 0.00042, -3e-17, 0)] == ["12.35", "0.500", "0.00042", "0", "0"]
    assert through((2.8e-17, 0.434)) == "0 to 0.434"
    assert number(None) == NONE
