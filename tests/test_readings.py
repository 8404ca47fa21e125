"""The tables by reading, attribution and layer, published medians, where a score lies to its nulls, and medians."""

from pathlib import Path

import pytest
import torch
from planted import plant, plant_scores
from test_questions import PARAMS, around, plant_network
from test_questions import root as root

from niny.maps.charts import PUBLISHED
from niny.maps.intervals import bootstrap_median, score
from niny.maps.meaning import MEANINGS, against_nulls
from niny.report import write_report, write_tables
from niny.report.class_maps import agreement, readings, unmeasured
from niny.report.published import published_table
from niny.report.readings import METRICS, agreement_table, cascade_table, reading_nulls_table, readings_table
from niny.report.study import load_study
from niny.report.words import NONE, NOT_MEASURED, number

FIRST = {"cascade_rank.1-cccp6.raw": around(0.3)}


def test_a_row_has_every_reading_and_each_its_nulls(root: Path) -> None:
    scores = {"gridpg3_mass.raw": around(0.2), "gridpg3_mass.margin": around(0.4), "gridpg3_mass.uniform": around(0.1)}
    plant_network(root, scores | {"gridpg3_mass.raw.untrained": around(0.12), "infidelity.centred": around(0.7)})
    table = readings_table(load_study(PARAMS, "full", root)).set_index("Kind of score")
    assert [*table] == ["raw", "centred", "margin", "n"]
    mass = table.loc["3x3 grids: mass in the right cell"]
    assert mass.to_list() == ["0.200 (0.190 to 0.210)", NOT_MEASURED, "0.400 (0.390 to 0.410)", "500"]
    assert table.loc["entropy: 1 flat, 0 one cell"].to_list() == [NOT_MEASURED] * 3 + [NONE]
    nulls = reading_nulls_table(load_study(PARAMS, "full", root)).set_index("Kind of score")
    assert nulls.loc[mass.name].to_dict() == {"raw": "uniform 0.100, untrained 0.120", "margin": "uniform 0.100"}
    assert [*nulls.index] == [mass.name]
    shown, folded = readings(load_study(PARAMS, "full", root))
    assert folded.folded
    assert shown.frame.set_index("Kind of score").loc[mass.name, "raw"] == "0.200\n0.190 to 0.210"
    assert readings_table(load_study(PARAMS, "trial", root)).empty


def test_every_kind_of_score_of_a_map_has_a_row() -> None:
    of_networks = {"box_accuracy", "box_area", "translation_rise_4px"}
    elsewhere = {"agreement_rank", "agreement_top", "cascade_rank"}
    assert {metric for metric, _ in METRICS} == set(MEANINGS) - of_networks - elsewhere


def test_scores_without_a_reading_are_of_the_raw_map_alone(root: Path) -> None:
    plant_network(root, {"completeness_error": around(0.002, 0), "gini.softmax": around(0.4)})
    table = readings_table(load_study(PARAMS, "full", root)).set_index("Kind of score")
    assert table.loc["mean of a map less its logit: largest difference", "softmax"] == NONE
    assert table.loc["mean of a map less its logit: largest difference", "raw"] == "0.002"


def test_a_network_that_is_sure_of_nothing_has_no_median_of_such_images(root: Path) -> None:
    plant_network(root, {"gridpg3_mass_median.raw": around(0.2), "gridpg2_hit.raw": around(0.2)})
    table = readings_table(load_study(PARAMS, "full", root))
    assert table["raw"][table["Kind of score"] == "… median, of images it is sure of"].to_list() == [
        NOT_MEASURED,
        "no such image",
    ]


def test_a_score_of_fewer_runs_than_finished_says_so_beside_its_n(root: Path) -> None:
    plant_network(root, {"gridpg3_mass.raw": around(0.2)}, seeds=2)
    plant_scores(root, PARAMS.run("full", "cifar10-nin"), {"gini.raw": (0.2, 0.1, 0.3)})
    for seed in range(2):
        plant(root, PARAMS.run("full", "cifar10-nin"), seed, 10.0)
    table = readings_table(load_study(PARAMS, "full", root)).set_index("Kind of score")
    assert table.loc["Gini index: 0 flat, 1 one cell", "n"] == "500\n(one run)"


def test_agreement_stands_over_its_own_nulls_in_every_reading(root: Path) -> None:
    scores = {f"agreement_rank.lrp.{view}": around(value) for view, value in (("raw", 0.5), ("centred", 0.4))}
    scores |= {"agreement_rank.lrp.raw.other_image": around(0.3), "agreement_rank.lrp.centred.other_image": around(0.2)}
    scores |= {"agreement_rank.lrp.centre": around(0.1), "agreement_top.lrp.raw": around(0.6)}
    scores |= {"agreement_rank.lrp.raw.untrained": around(-0.1), "agreement_rank.lrp.random": around(0.01)}
    plant_network(root, scores)
    study = load_study(PARAMS, "full", root)
    (row,) = agreement_table(study, "agreement_rank").to_dict("records")
    assert row["Attribution"] == "Layer-wise relevance"
    assert row["Raw map"] == "0.500\n0.490 to 0.510\nother image 0.300\ncentre 0.100"
    assert row["Less the mean"] == "0.400\n0.390 to 0.410\nother image 0.200\ncentre 0.100"
    assert row["Softmax"] == NOT_MEASURED
    assert row["n"] == "500"
    (top,) = agreement_table(study, "agreement_top").to_dict("records")
    assert top["Raw map"] == "0.600\n0.590 to 0.610\nother image not measured\ncentre not measured"
    shown, _ = agreement(study)
    assert "Noise and the untrained network's maps correlate at -0.100 to 0.010, over all" in shown.note
    assert agreement_table(load_study(PARAMS, "trial", root), "agreement_rank").empty


def test_maps_are_followed_as_layers_lose_their_weights_from_the_last_down(root: Path) -> None:
    depths = ("10-conv1", "2-cccp5", "1-cccp6")
    scores = {f"cascade_rank.{depth}.raw": around(i / 10) for i, depth in enumerate(depths)}
    scores |= {f"{name}.absolute": around(0.5) for name in scores}
    scores |= {"cascade_rank.2-cccp5.raw.other_image": around(0.04), "cascade_rank.centre.raw": around(0.3)}
    scores |= {"cascade_rank.2-cccp5.raw.absolute.other_image": around(0.06)}
    plant_network(root, scores)
    table = cascade_table(load_study(PARAMS, "full", root)).set_index("Weights drawn anew")
    assert [*table.index[:3]] == ["cccp6", "cccp6 to cccp5", "cccp6 to conv1"]
    second = table.loc["cccp6 to cccp5"]
    assert second["Raw map"] == "0.100\n0.090 to 0.110\nother image 0.040"
    assert second["Less the mean"] == NOT_MEASURED
    sizes = cascade_table(load_study(PARAMS, "full", root), ".absolute").set_index("Weights drawn anew")
    assert sizes.loc["cccp6 to cccp5", "Raw map"] == "0.500\n0.490 to 0.510\nother image 0.060"
    assert table.loc["none; a blob at the centre instead", "Raw map"] == "0.300\n0.290 to 0.310"
    assert table.loc["none; noise instead", "Raw map"] == NOT_MEASURED
    assert cascade_table(load_study(PARAMS, "trial", root)).empty


def test_what_the_reference_was_not_asked_is_said(root: Path) -> None:
    plant_network(root, {"claim1_rate.raw": around(0.5)})
    (said,) = unmeasured(load_study(PARAMS, "full", root))
    assert said.startswith("Not measured of the maps of `cifar10-nin`: agreement with other attributions and what ")
    plant_network(root, {"gini.raw": around(0.5), "agreement_top.lrp.raw": around(0.5)} | FIRST)
    assert unmeasured(load_study(PARAMS, "full", root)) == []


def test_the_new_tables_are_on_the_page_and_each_line_of_a_cell_is_small(root: Path) -> None:
    plant_network(root, {"claim1_rate.raw": around(0.2)} | FIRST)
    write_tables(PARAMS, "full", root)
    page = write_report(PARAMS, "full", root).read_text()
    assert '<table class="map-published">' in page
    assert '<table class="map-cascade">' in page
    assert "0.300<small>0.290 to 0.310</small><small>other image not measured</small>" in page
    assert "0.300<br>0.290 to 0.310<br>other image not measured" in (root / "results/full/README.md").read_text()


def test_published_medians_stand_before_ours_and_what_is_missing_is_said(root: Path) -> None:
    name = "gridpg3_mass_median.raw.confident"
    nulls = {"gridpg3_mass_median.uniform": around(0.111, 0), f"{name}.other_image": around(0.12)}
    plant_network(root, {name: around(0.2), "gridpg3_mass_median.margin": around(0.6)} | nulls)
    table = published_table(load_study(PARAMS, "full", root)).set_index(["Whose network", "Attribution"])
    theirs = table.loc["CoDA-Net, published"]
    assert theirs["Median"].to_list() == [number(value) for value in PUBLISHED.values()]
    assert set(theirs["n"]) == {"4,500 scores"}
    ours = table.loc["cifar10-nin"]
    assert ours.loc["class map, raw"].to_list() == [
        "0.200\n0.190 to 0.210",
        "500 grids",
        "uniform 0.111, other image 0.120",
    ]
    assert ours.loc["class map, margin"].to_list() == ["no such image", NONE, NONE]
    assert ours.loc["class map, centred"].to_list() == [NOT_MEASURED, NONE, NONE]
    assert "authors' network" not in table.index


def test_published_medians_stand_beside_no_other_images_and_no_unscored_network(root: Path) -> None:
    assert published_table(load_study(PARAMS, "full", root)).empty
    plant_scores(root, PARAMS.run("smoke", "cifar10-nin"), {"gridpg3_mass_median.raw.confident": around(0.2)})
    assert published_table(load_study(PARAMS, "smoke", root)).empty


@pytest.mark.parametrize(
    ("untrained", "meaning"),
    [
        (0.2, "above all nulls"),
        (0.5, "above uniform; not told apart from untrained"),
        (0.9, "above uniform; below untrained"),
    ],
)
def test_a_score_lies_where_its_whole_interval_does(untrained: float, meaning: str) -> None:
    scores = {"a.raw": score(0.5, (0.4, 0.6), 9), "a.uniform": score(0.1, None, 9)}
    scores["a.raw.untrained"] = score(untrained, (untrained - 0.05, untrained + 0.05), 9)
    assert against_nulls(scores, "a.raw") == meaning


def test_a_median_is_of_the_numbers_there_are() -> None:
    values = torch.tensor([[1.0, torch.nan], [2.0, 3.0], [torch.nan, torch.nan], [9.0, 10.0]])
    found = bootstrap_median({"some": values, "none": values * torch.nan}, seed=0)
    assert set(found) == {"some"}
    assert (found["some"]["value"], found["some"]["n"]) == (3.0, 3)
    low, high = found["some"]["interval"]
    assert 1 <= low <= 3 <= high <= 10
