import math

import pytest
import torch
from torch import Tensor

from niny.maps import figure4
from niny.maps.views import ORDERS, VIEWS, centred, log_odds, margin, softmax


def planted(*largest: tuple[int, int, int]) -> Tensor:
    """One image of three 4 x 4 maps of zeros, with a one in each of the given (class, row, column)."""
    maps = torch.zeros(1, 3, 4, 4)
    for place in largest:
        maps[0][place] = 1
    return maps


def test_the_relative_readings_ignore_what_all_maps_share() -> None:
    maps, shared = torch.rand(2, 5, 4, 4), torch.randn(2, 1, 4, 4)
    for name, read in VIEWS.items():
        assert torch.allclose(read(maps + shared), read(maps), atol=1e-6) == (name != "raw")


def test_margin_is_to_the_best_other_class() -> None:
    maps = torch.tensor([1.0, 5.0, 3.0]).view(1, 3, 1, 1)
    assert margin(maps).flatten().tolist() == [-4, 2, -2]
    assert margin(torch.ones(1, 3, 1, 1)).flatten().tolist() == [0, 0, 0]


def test_centred_maps_sum_to_zero_and_softmax_maps_to_one() -> None:
    maps = torch.randn(2, 5, 4, 4)
    assert torch.allclose(centred(maps).sum(1), torch.zeros(2, 4, 4), atol=1e-6)
    assert torch.allclose(softmax(maps).sum(1), torch.ones(2, 4, 4))


def test_log_odds_are_those_of_the_softmax_and_keep_its_order_where_it_rounds_to_one() -> None:
    maps = torch.randn(2, 5, 4, 4, dtype=torch.float64)
    assert torch.allclose(log_odds(maps).sigmoid(), softmax(maps))
    saturated = torch.tensor([[200.0, 0, 0], [300, 0, 0]]).T.reshape(1, 3, 1, 2)
    assert softmax(saturated)[0, 0, 0].tolist() == [1, 1]
    assert log_odds(saturated)[0, 0, 0].tolist() == pytest.approx([200 - math.log(2), 300 - math.log(2)])
    assert ORDERS["softmax"] is log_odds


@pytest.mark.parametrize(("label", "hit"), [(0, 0.0), (1, 1.0)])
def test_claim_1_asks_where_the_single_largest_cell_lies(label: int, hit: float) -> None:
    maps = planted((1, 2, 3))
    maps[0, 0] += 0.9  # more in sum, but no larger cell
    assert figure4.holds_largest(maps, torch.tensor([label])).item() == hit


def test_dead_maps_score_claim_1_and_the_top_tenth_by_chance() -> None:
    dead, labels = torch.zeros(3, 10, 8, 8), torch.tensor([0, 4, 9])
    assert figure4.holds_largest(dead, labels).tolist() == pytest.approx([0.1] * 3)
    assert figure4.share_of_top(dead, labels).tolist() == pytest.approx([0.1] * 3)


def test_the_top_tenth_is_pooled_over_the_maps_of_an_image() -> None:
    maps = planted((0, 0, 0), (0, 0, 1), (0, 0, 2), (1, 0, 0), (2, 3, 3))  # five of 48 cells are the top tenth
    shares = [figure4.share_of_top(maps, torch.tensor([k])).item() for k in range(3)]
    assert shares == pytest.approx([0.6, 0.2, 0.2])
    assert figure4.top_cells(maps).sum() == 5


def test_tied_cells_share_the_places_that_are_left() -> None:
    maps = planted((0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 0, 1))  # four ones for five places: the zeros share the last
    assert figure4.share_of_top(maps, torch.tensor([2])).item() == pytest.approx(16 / 44 / 5)


def test_completeness_error_is_the_largest_difference_of_mean_and_logit() -> None:
    maps = torch.rand(4, 3, 5, 5)
    said = maps.mean((2, 3))
    assert figure4.completeness_error(maps, said) == 0
    said[2, 1] += 0.25
    assert figure4.completeness_error(maps, said) == pytest.approx(0.25)
