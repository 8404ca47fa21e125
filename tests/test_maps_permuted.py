"""The null of permuted labels: which scores it serves, and what is said where there is none."""

from pathlib import Path

import pytest
from planted import plant, plant_scores, study_params

from niny.maps.intervals import score
from niny.maps.permuted import beside_permuted, permuted_network, permuted_scores, serves
from niny.maps.records import nulls_of

PARAMS = study_params()
TWIN = "cifar10-nin-permuted"


@pytest.mark.parametrize(
    ("experiment", "name", "served"),
    [
        ("cifar10-nin", "gridpg3_hit.raw", True),
        ("cifar10-nin", "claim1_rate.raw.frog", True),
        ("cifar10-nin", "claim1_rate.raw.wrong", False),
        ("cifar10-nin", "gridpg3_mass_median.raw.confident", False),
        ("cifar10-nin", "completeness_error", False),
        ("cifar10-nin", "agreement_rank.occlusion.raw", True),
        ("cifar10-nin", "agreement_rank.map.raw", False),
        ("cifar10-nin", "cascade_rank.1-cccp6.raw", False),
        ("cifar10-nin-fc", "gridpg3_hit.centred", True),
        ("cifar10-nin-fc", "gridpg3_hit.raw", False),
        ("cifar10-nin-fc", "gridpg3_hit.channel", False),
        ("cifar10-cnn-gap", "gridpg3_hit.raw", True),  # 4 x 4 cells beside 8 x 8
        ("cifar10-cnn-gap", "equivariance.raw", False),
        (None, "equivariance.raw", True),
    ],
)
def test_a_score_that_two_networks_have_alike_is_a_null(experiment: str | None, name: str, served: bool) -> None:
    here = PARAMS.run("full", experiment) if experiment else None
    assert serves(name, here, PARAMS.run("full", TWIN)) == served


def test_it_stands_beside_the_scores_it_serves_alone(tmp_path: Path) -> None:
    twin = PARAMS.run("full", TWIN)
    plant_scores(tmp_path, twin, {"gini.centred": (0.3, 0.2, 0.4), "gini.raw": (0.2, 0.1, 0.3)})
    asked = (PARAMS, "full", "cifar10", "cifar10-nin-fc", tmp_path)
    assert permuted_scores(*asked) == ({}, f"not run: niny train {TWIN} --scale full, then dvc repro maps@full-{TWIN}")
    plant(tmp_path, twin, 0, 90.0, train_error=88.0)
    assert permuted_scores(*asked) == ({}, "not learnt (training error 88.0 %, by chance 90.0 %)")
    plant(tmp_path, twin, 0, 90.0, train_error=1.0)
    permuted, why = permuted_scores(*asked)
    assert not why
    scores = beside_permuted({name: score(0.6, (0.5, 0.7), 9) for name in ("gini.centred", "gini.raw")}, permuted)
    assert nulls_of(scores, "gini.centred")["permuted_labels"]["value"] == 0.3
    assert nulls_of(scores, "gini.raw") == {}
    assert permuted_scores(PARAMS, "full", "cifar10", TWIN, tmp_path) == ({}, "this is that network")
    assert permuted_scores(PARAMS, "full", "mnist", "mnist-nin", tmp_path) == ({}, "no such experiment")
    assert permuted_network(*asked) is None, "its weights are not kept"
