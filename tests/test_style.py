"""All figures have one look: what is set for matplotlib elsewhere does not show in them, and each is shown once."""

import json
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from niny.inference.model import Answer, Seen
from niny.inference.pictures import draw_answers
from niny.maps.charts import draw_cascade, draw_scores, draw_training
from niny.maps.nested import over_seeds
from niny.maps.pictures import show_attributions, show_maps, show_photograph
from niny.style import save_picture

ELSEWHERE = {"font.size": 30.0, "axes.facecolor": "black", "axes.spines.right": True, "lines.linewidth": 9.0}
PIXELS = np.full((1, 3, 16, 16), 100, np.uint8)
MAPS = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
LABEL = torch.tensor([0])
CASCADE = [f"cascade_rank.1-cccp6.raw{end}" for end in ("", ".other_image", ".absolute", ".absolute.other_image")]
SCORES = over_seeds({0: {name: {"value": 0.5, "interval": (0.4, 0.6), "n": 9} for name in ("a.raw", *CASCADE)}})


def answer() -> Figure:
    seen = Seen("a.png", None, torch.from_numpy(PIXELS[0]))
    return draw_answers([Answer(seen, ("a", "b", "c"), torch.tensor([0.5, 0.3, 0.2]), MAPS[0])], "t", 3)


FIGURES: dict[str, Callable[[], Figure | None]] = {
    "maps": lambda: show_maps(PIXELS, MAPS, LABEL, LABEL, "abc"),
    "attributions": lambda: show_attributions(PIXELS, MAPS[:, 0], {"saliency": MAPS[:, 1]}, ["a"], "t"),
    "photograph": lambda: show_photograph(
        PIXELS[0].transpose(1, 2, 0), PIXELS[0], MAPS[0], torch.tensor([0.5, 0.3, 0.2]), "abc", title="t"
    ),
    "answers": answer,
    "scores": lambda: draw_scores(SCORES, ["a.raw"], "t", "x"),
    "cascade": lambda: draw_cascade(SCORES, "t"),
    "training": lambda: draw_training(
        {0: [{"epoch": n, "test_error": 50.0, "map_entropy": 0.5, "map_claim1_rate": 0.5} for n in (1, 2, 3)]}, 10, "t"
    ),
}


def drawn(name: str, path: Path) -> bytes:
    figure = FIGURES[name]()
    assert figure is not None
    assert not plt.get_fignums()  # else a notebook would show it twice
    save_picture(figure, path, dpi=40)
    return path.read_bytes()


@pytest.mark.parametrize("name", FIGURES)
def test_what_is_set_for_matplotlib_elsewhere_does_not_show(tmp_path: Path, name: str) -> None:
    usual = drawn(name, tmp_path / "a.png")
    with mpl.rc_context(ELSEWHERE):
        assert drawn(name, tmp_path / "b.png") == usual
        figure, axes = plt.subplots()
        assert axes.get_facecolor()[:3] == (0, 0, 0)  # what was set is still set for others
        plt.close(figure)


@pytest.mark.parametrize(
    "notebook", sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem
)
def test_a_notebook_that_draws_by_itself_draws_in_the_style_of_the_study(notebook: Path) -> None:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    drawing = [number for number, text in enumerate(code) if "plt.subplots" in text]
    styled = [number for number, text in enumerate(code) if "plt.style.use(STYLE)" in text]
    assert not drawing or styled[0] < drawing[0]


@pytest.mark.parametrize("name", FIGURES)
def test_saving_a_figure_does_not_change_how_a_notebook_shows_it(tmp_path: Path, name: str) -> None:
    figure = FIGURES[name]()
    assert figure is not None
    layout = figure.get_layout_engine()
    places = [axes.get_position().bounds for axes in figure.axes]
    save_picture(figure, tmp_path / "saved.png", dpi=40)
    assert figure.get_layout_engine() is layout
    figure.savefig(tmp_path / "shown.png", dpi=40)
    assert layout or [axes.get_position().bounds for axes in figure.axes] == places  # laid out by hand
