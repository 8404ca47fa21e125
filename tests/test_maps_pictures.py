from pathlib import Path

import numpy as np
import pytest
import torch

from niny.maps.pictures import TRUE, choose_images, show_maps, visible
from niny.style import save_picture


def test_one_image_of_each_class_is_drawn_by_the_seed_alone() -> None:
    labels = torch.arange(10).repeat(30)
    chosen = choose_images(labels, seed=1)
    assert labels[chosen].tolist() == list(range(10))
    assert torch.equal(chosen, choose_images(labels, seed=1))
    assert not torch.equal(chosen, choose_images(labels, seed=2))


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
    rows = np.array(figure.axes).reshape(2, 4)
    scales = [{axis.images[-1].get_clim() for axis in row[1:]} for row in rows]
    assert [len(scale) for scale in scales] == [1, 1]
    assert scales[0] != scales[1]
    framed = [axis.spines["top"].get_edgecolor()[:3] for axis in (rows[0, 1], rows[1, 3])]
    assert {tuple(round(255 * v) for v in colour) for colour in framed} == {tuple(bytes.fromhex(TRUE[1:]))}
    assert len(rows[1, 2].lines) == 1


def test_a_long_title_stays_inside_the_figure() -> None:
    images, maps, label = np.zeros((1, 3, 8, 8), np.uint8), torch.rand(1, 10, 4, 4), torch.tensor([0])
    title = "conventional CNN + fully connected + dropout (short scale, not a reproduction): largest tenth of each map"
    figure = show_maps(images, maps, label, label, "abcdefghij", title=title)
    figure.canvas.draw()
    assert figure.texts[0].get_text() == title
    assert figure.texts[0].get_window_extent().x1 <= figure.bbox.width
