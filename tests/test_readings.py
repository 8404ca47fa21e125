"""The tables by reading and by attribution, where a score lies to its nulls, and medians of subsets."""

from pathlib import Path

import pytest
import torch
from test_questions import PARAMS, around, plant_network
from test_questions import root as root

from niny.maps.intervals import bootstrap_median, score
from niny.maps.meaning import against_nulls
from niny.report.readings import agreement_table, readings_table
from niny.report.study import load_study


def test_a_row_has_every_reading_and_the_nulls_of_the_first(root: Path) -> None:
    scores = {"gridpg3_mass.raw": around(0.2), "gridpg3_mass.margin": around(0.4), "gridpg3_mass.uniform": around(0.1)}
    plant_network(root, scores | {"gridpg3_mass.raw.untrained": around(0.12), "infidelity.centred": around(0.7)})
    table = readings_table(load_study(PARAMS, "full", root)).set_index("Kind of score")
    assert [*table] == ["raw", "centred", "margin", "Nulls (raw)"]
    mass = table.loc["3x3 grids: mass in the right cell"]
    assert mass.to_list() == ["0.200 (0.190 to 0.210)", "–", "0.400 (0.390 to 0.410)", mass["Nulls (raw)"]]
    assert mass["Nulls (raw)"] == "uniform 0.100, untrained 0.120"


def test_agreement_stands_beside_its_nulls_in_columns(root: Path) -> None:
    scores = {f"agreement_rank.lrp.{view}": around(0.5) for view in ("raw", "centred")}
    plant_network(root, scores | {"agreement_rank.lrp.centred.other_image": around(0.2)})
    (row,) = agreement_table(load_study(PARAMS, "full", root)).to_dict("records")
    assert row["Attribution"] == "Layer-wise relevance"
    assert (row["Map less the mean"], row["Other image"]) == ("0.500 (0.490 to 0.510)", "0.200")
    assert agreement_table(load_study(PARAMS, "trial", root)).empty


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
