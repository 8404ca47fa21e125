import pytest
import torch
from torch import Tensor

from niny.maps.canvases import KINDS, canvases, detect, places
from niny.maps.grids import assemble, focus, sample_mosaics
from niny.maps.nulls import as_its_own, noise

LABELS = torch.arange(10).repeat(20)


def marked(corners: Tensor, cell: int = 4) -> Tensor:
    """24 x 24 maps of canvases of 96 pixels that mark the boxes of 32 pixels at `corners`, multiples of a cell."""
    maps = torch.zeros(len(corners), 24, 24)
    for one, (top, left) in zip(maps, (corners // cell).tolist(), strict=True):
        one[top : top + 8, left : left + 8] = 1
    return maps


@pytest.mark.parametrize("kind", KINDS)
def test_the_image_lies_at_its_corner_on_every_canvas(kind: str) -> None:
    images, labels = torch.rand(12, 3, 8, 8), torch.arange(12) % 4
    chosen, corners = torch.tensor([3, 7]), torch.tensor([[0, 16], [5, 2]])
    canvas = canvases(kind, images, labels, chosen, corners, seed=0)
    assert canvas.shape == (2, 3, 24, 24)
    assert torch.equal(canvas[1, :, 5:13, 2:10], images[7])
    assert torch.equal(canvas, canvases(kind, images, labels, chosen, corners, seed=0))


@pytest.mark.parametrize("kind", ["mean", "noise"])
def test_what_lies_around_is_empty_or_noise_of_the_images_own_mean_and_spread(kind: str) -> None:
    images = torch.randn(3, 3, 32, 32) * torch.tensor([1.0, 2.0, 5.0])[:, None, None] + 4
    canvas = canvases(kind, images, torch.arange(3), torch.tensor([1]), torch.tensor([[0, 0]]), seed=0)[0]
    around, own = canvas[:, 32:], images[1]
    if kind == "mean":
        assert not around.any()
    else:
        torch.testing.assert_close(around.mean((1, 2)), own.mean((1, 2)), rtol=0.05, atol=0)
        torch.testing.assert_close(around.std((1, 2)), own.std((1, 2)), rtol=0.05, atol=0)


def test_distractors_are_of_other_classes() -> None:
    labels = torch.arange(40) % 4
    images = labels[:, None, None, None].expand(40, 1, 8, 8).float()
    canvas = canvases("distractors", images, labels, torch.tensor([2]), torch.tensor([[0, 0]]), seed=0)
    assert set(canvas[0, 0, 8:, 8:].unique().tolist()) <= {0, 1, 3}


def test_places_cover_the_whole_canvas() -> None:
    corners = places(2000, 32, seed=0)
    assert (corners.min().item(), corners.max().item()) == (0, 64)


def test_a_perfect_detector_scores_one_and_one_that_looks_away_scores_zero() -> None:
    corners, elsewhere = torch.tensor([[0, 64], [32, 8]]), torch.tensor([[64, 0], [32, 48]])
    for value in detect(marked(corners), marked(corners), corners, 32).values():
        assert value.tolist() == [1, 1]
    for value in detect(marked(elsewhere), marked(elsewhere), corners, 32).values():
        assert value.tolist() == [0, 0]


def test_another_image_is_asked_for_the_class_that_it_shows() -> None:
    """A detector that is perfect on its own images finds an object only where the one before it happens to lie."""
    corners, classes = torch.tensor([[0, 64], [32, 8], [32, 8], [64, 0]]), torch.tensor([3, 0, 2, 2])
    maps = torch.zeros(4, 5, 24, 24)
    maps[torch.arange(4), classes] = marked(corners)
    other = as_its_own(maps.roll(1, 0), classes)[torch.arange(4), classes]
    assert torch.equal(other, marked(corners.roll(1, 0)))
    assert detect(other, other, corners, 32)["hit"].tolist() == [0, 0, 1, 0]


def test_boxes_between_cells_are_scored_by_area() -> None:
    found = detect(marked(torch.tensor([[32, 32]])), marked(torch.tensor([[32, 32]])), torch.tensor([[34, 48]]), 32)
    assert found["energy"].item() == pytest.approx(30 * 16 / 32**2)
    assert found["iou"].item() == 0


def test_a_map_of_one_value_finds_a_ninth() -> None:
    corners = places(50, 32, seed=0)
    found = detect(torch.ones(50, 24, 24), torch.ones(50, 24, 24), corners, 32)
    assert torch.allclose(found["energy"], torch.tensor(1 / 9, dtype=torch.float64))
    assert torch.allclose(found["hit"], torch.tensor(1 / 9, dtype=torch.float64))


def test_a_mosaic_holds_two_images_of_the_class_asked_for_and_two_others() -> None:
    index, asked = sample_mosaics(LABELS, 50, seed=0)
    classes = LABELS[index]
    assert (asked.sum(1) == 2).all()
    target = classes.gather(1, asked.int().argmax(1, keepdim=True))
    assert torch.equal(classes == target, asked)
    assert all(len(set(row)) == 3 for row in classes.tolist())
    assert len({tuple(row) for row in asked.tolist()}) == 6


def test_focus_of_a_perfect_a_wrong_and_a_random_localiser() -> None:
    index, asked = sample_mosaics(LABELS, 300, seed=0)
    classes = LABELS[index]
    own = torch.nn.functional.one_hot(classes, 10).float()[..., None, None].expand(-1, -1, -1, 4, 4)
    assert (focus(assemble(own), classes, asked) == 1).all()
    assert (focus(assemble(1 - own), classes, asked) == 0).all()
    assert focus(noise((300, 10, 8, 8), 0), classes, asked).mean().item() == pytest.approx(0.5, abs=0.01)
