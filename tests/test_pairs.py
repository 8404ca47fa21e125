"""Pairs of networks: differences by seed and by image as the records have them, and p values corrected together."""

from itertools import combinations
from pathlib import Path

import pandas as pd
import pytest
from planted import change, plant, project, study_params

from niny.evaluation.statistics import holm
from niny.report.pairs import adjusted, not_alike, pairs, pairs_table
from niny.report.study import Study, load_study
from niny.report.words import p_value

PARAMS = study_params()
NIN, FC, CNN, NULL = "cifar10-nin", "cifar10-nin-fc", "cifar10-cnn-gap", "cifar10-nin-permuted"


def planted(root: Path, runs: dict[str, list[float]]) -> Study:
    for name, errors in runs.items():
        for seed, error in enumerate(errors):
            plant(root, PARAMS.run("full", name), seed, error)
    return load_study(PARAMS, "full", root)


CNNS = "cifar10-cnn-fc-dropout", "cifar10-cnn-fc"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return project(tmp_path / "project")


def rows(study: Study) -> pd.DataFrame:
    return pairs_table(study).set_index(["First", "Second"])


def test_a_pair_tells_its_difference_its_wins_and_the_images_that_one_alone_gets_right(root: Path) -> None:
    row = rows(planted(root, {NIN: [10.0, 10.2, 10.1], FC: [11.0, 11.3, 11.3]})).loc[(NIN, FC)]
    assert row["Difference"] == "-1.10\n-1.35 to -0.85"
    assert row["Wins"] == "1.00"
    assert row["Right alone"] == "100 : 0"  # planted networks err on the first images
    assert row["n"] == "3"


def test_single_runs_are_compared_image_by_image_alone(root: Path) -> None:
    row = rows(planted(root, {NIN: [10.0], CNN: [10.0]})).loc[(NIN, CNN)]
    assert row["Difference"] == "+0.00\none run"
    assert (row["p"], row["Wins"], row["p, images"]) == ("–", "–", "1.00")


def test_pairs_are_those_of_the_claims_and_the_reference_against_its_rivals_each_once(root: Path) -> None:
    study = planted(root, {name: [10.0] for name in (NIN, FC, CNN, NULL, *CNNS, "cifar10-nin-aug")})
    found = [(pair.first, pair.second) for pair in pairs(study)]
    assert set(combinations((CNNS[0], CNN, CNNS[1]), 2)) <= set(found)
    assert (NIN, "cifar10-nin-aug") in found
    assert len({frozenset(two) for two in found}) == len(found)
    assert not any(NULL in two for two in found)


def test_pairs_whose_runs_were_not_made_alike_are_counted(root: Path) -> None:
    study = planted(root, {NIN: [10.0, 10.2], FC: [11.0, 11.2], CNN: [12.0]})
    assert not_alike(study) == ""
    change(
        study.root / "results/full/runs" / FC / "seed-1/environment.json",
        precision="float64",
        threads=7,
        network="fused",
    )
    again = load_study(PARAMS, "full", root)
    assert (
        not_alike(again)
        == " In 1 of 2 pairs runs of one seed differ in threads, precision and form of the network as well."
    )


def test_p_values_are_corrected_together_and_missing_ones_stay_missing() -> None:
    assert adjusted([0.01, None, 0.04]) == [*holm([0.01, 0.04])[:1], None, *holm([0.01, 0.04])[1:]]


def test_without_runs_there_is_no_pair(root: Path) -> None:
    assert pairs_table(planted(root, {NIN: [10.0]})).empty


def test_a_p_value_is_never_nothing() -> None:
    assert (p_value(5e-79), p_value(0.0003), p_value(0.04), p_value(None)) == ("< 0.0001", "0.0003", "0.040", "–")
