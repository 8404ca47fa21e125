from pathlib import Path

import numpy as np
import pytest
import torch

from niny.maps.pictures import PREDICTED, TRUE, choose_images, show_maps, visible
from niny.style import save_picture


def test_one_image_of_each_class_is_drawn_by_the_seed_alone() -> None:
    labels = torch.arange(10).repeat(30)
    chosen = choose_images(labels, seed=1)
    assert labels[chosen].tolist() == list(range(10))
    assert torch.equal(chosen, choose_images(labels, seed=1))
    assert not torch.equal(chosen, choose_images(labels, seed=2))


def test_of_a_hundred_classes_ten_are_shown_on_the_scale_of_all() -> None:
    """A row for an image of each, and a column: the predicted class may be another's, and then has no bar."""
    labels = torch.arange(100).repeat(3)
    chosen = choose_images(labels, seed=1)
    own = labels[chosen]
    assert len(own) == 10
    assert own.tolist() == sorted(set(own.tolist()))
    assert not torch.equal(own, labels[choose_images(labels, seed=2)])
    maps = torch.rand(10, 100, 4, 4)
    maps[:, next(k for k in range(100) if k not in own)] = 7
    said = torch.where(torch.arange(10) == 0, own, next(k for k in range(100) if k not in own))
    images, names = np.zeros((10, 3, 8, 8), np.uint8), [f"class {k}" for k in range(100)]
    figure = show_maps(images, maps, own, said, names, reading=None)
    assert "bar below: predicted class, where it is shown" in [text.get_text() for text in figure.texts]
    (axes,) = figure.axes
    heads = [text.get_text() for text in axes.texts]
    assert heads == ["", *(names[k] for k in own)]
    assert {image.get_clim()[1] for image in axes.images if image.get_array().shape == (4, 4)} == {7}
    frames = [line.get_xydata().min(0).tolist() for line in axes.lines if line.get_color() == TRUE]
    assert frames == [[1 + row, row] for row in range(10)]
    assert [line.get_xydata()[0, 0] for line in axes.lines if line.get_color() == PREDICTED] == [1]


def test_the_two_readings_of_the_top_tenth_leave_different_cells() -> None:
    maps = torch.rand(2, 10, 8, 8)
    maps[:, 3] += 10
    pooled, each = visible(maps, "pooled").isfinite(), visible(maps, "each").isfinite()
    assert pooled.sum((2, 3))[:, 3].tolist() == [64, 64]
    assert pooled.sum().item() == 128
    assert (each.sum((2, 3)) == 6).all()


def test_dead_maps_show_nothing() -> None:
    maps = torch.zeros(1, 3, 8, 8)
    maps[0, 0, 0, 0] = 1
    assert visible(maps, "each").isfinite().sum() == 1
    assert visible(maps, "pooled").isfinite().sum() == 1


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_shares_one_scale_a_row_and_is_the_same_bytes_again(
    tmp_path: Path, channels: int, signed: bool
) -> None:
    images = np.full((2, channels, 16, 16), 100, np.uint8)
    maps = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)) - (0.5 if signed else 0)
    for name in ("a.png", "b.png"):
        figure = show_maps(
            images, maps, torch.tensor([0, 2]), torch.tensor([0, 1]), "abc", reading=None, overlay=signed
        )
        save_picture(figure, tmp_path / name, dpi=50)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    (axes,) = figure.axes
    drawn = [image for image in axes.images if image.get_array().shape == (4, 4)]
    scales = [{image.get_clim() for image in drawn if image.get_extent()[3] == row} for row in (0, 1)]
    assert [len(scale) for scale in scales] == [1, 1]
    assert scales[0] != scales[1]
    frames = [line.get_xydata().min(0).tolist() for line in axes.lines if line.get_color() == TRUE]
    bars = [line.get_xydata()[0].round().tolist() for line in axes.lines if line.get_color() == PREDICTED]
    assert frames == [[1, 0], [3, 1]]  # column and row: labels 0 and 2
    assert bars == [[1, 1], [2, 2]]  # below the maps of classes 0 and 1


def test_a_long_title_stays_inside_the_figure() -> None:
    images, maps, label = np.zeros((1, 3, 8, 8), np.uint8), torch.rand(1, 10, 4, 4), torch.tensor([0])
    title = "conventional CNN + fully connected + dropout (short scale, not a reproduction): largest tenth of each map"
    figure = show_maps(images, maps, label, label, "abcdefghij", title=title)
    figure.canvas.draw()
    assert figure.texts[0].get_text() == title
    assert figure.texts[0].get_window_extent().x1 <= figure.bbox.width
