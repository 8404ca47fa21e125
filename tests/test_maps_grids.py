import pytest
import torch
from torch import Tensor

from niny.errors import NinyError
from niny.maps import grids
from niny.maps.nulls import centre, noise

LABELS = torch.arange(10).repeat(20)


def sampled(side: int, count: int = 30) -> Tensor:
    """Classes by cell of `count` random grids."""
    return LABELS[grids.sample_grids(LABELS, side, count, seed=1)]


def perfect(classes: Tensor, side: int, cell: int = 4) -> Tensor:
    """Maps of a localiser that marks each class's own cell and nothing else."""
    lit = torch.zeros(len(classes), side**2, 10, cell, cell)
    lit[torch.arange(len(classes))[:, None], torch.arange(side**2), classes] = 1
    return grids.assemble(lit)


@pytest.mark.parametrize("side", [2, 3])
def test_a_grid_holds_images_of_different_classes_and_the_seed_decides_which(side: int) -> None:
    index = grids.sample_grids(LABELS, side, 50, seed=1)
    assert all(len(set(row)) == side**2 for row in LABELS[index].tolist())
    assert torch.equal(index, grids.sample_grids(LABELS, side, 50, seed=1))
    assert not torch.equal(index, grids.sample_grids(LABELS, side, 50, seed=2))


def test_too_few_classes_for_a_grid_are_an_error_that_says_so() -> None:
    with pytest.raises(NinyError, match="needs 9 different classes, the images have 4"):
        grids.sample_grids(torch.arange(4), 3, 1, seed=0)


def test_cells_come_back_out_of_an_assembled_grid_in_their_order() -> None:
    cells = torch.rand(2, 9, 3, 4, 4)
    taken = grids.cells_of(grids.assemble(cells), 3)
    assert torch.equal(taken, cells.transpose(1, 2).flatten(3))
    assert torch.equal(grids.assemble(cells)[0, :, :4, 4:8], cells[0, 1])


def test_maps_that_do_not_divide_into_the_grid_are_an_error() -> None:
    with pytest.raises(NinyError, match="7 x 7 do not divide into a 2x2 grid"):
        grids.cells_of(torch.zeros(1, 1, 7, 7), 2)


@pytest.mark.parametrize("side", [2, 3])
def test_a_perfect_localiser_scores_one_and_one_that_errs_scores_zero(side: int) -> None:
    classes = sampled(side)
    right, wrong = perfect(classes, side), perfect(classes.roll(1, 1), side)
    for measure in (grids.mass, grids.hit):
        assert (measure(right, classes, side) == 1).all()
        assert (measure(wrong, classes, side) == 0).all()


def test_mass_counts_the_positive_part_only() -> None:
    classes = sampled(2)
    maps = perfect(classes, 2)
    assert (grids.mass(2 * maps - 1, classes, 2) == 1).all()
    assert torch.allclose(grids.mass(maps + 1, classes, 2), torch.tensor(2 / 5, dtype=torch.float64))
    assert (grids.mass(-maps, classes, 2) == 0).all()


def test_maps_blind_to_the_class_score_exactly_chance_in_every_grid() -> None:
    classes = sampled(3)
    blind = {
        "uniform": torch.ones(30, 10, 12, 12),
        "dead": torch.zeros(30, 10, 12, 12),
        "centre of the images": centre(4, 4).repeat(3, 3).expand(30, 10, 12, 12),
        "centre of the grid": centre(12, 12).expand(30, 10, 12, 12),
        "one noise for all classes": noise((30, 1, 12, 12), 0).expand(30, 10, 12, 12),
    }
    for name, maps in blind.items():
        assert torch.allclose(grids.hit(maps, classes, 3).mean(1), torch.tensor(1 / 9, dtype=torch.float64)), name
        total = 0.0 if name == "dead" else 1 / 9
        assert torch.allclose(grids.mass(maps, classes, 3).mean(1), torch.tensor(total, dtype=torch.float64)), name


def test_a_random_localiser_scores_chance_on_average() -> None:
    classes = sampled(3, 300)
    maps = noise((300, 10, 12, 12), 3)
    assert grids.mass(maps, classes, 3).mean().item() == pytest.approx(1 / 9, abs=0.002)
    assert grids.hit(maps, classes, 3).mean().item() == pytest.approx(1 / 9, abs=0.02)
