"""Maps followed through training: means over runs, of every head, and of none that died."""

from pathlib import Path

import pandas as pd
import pytest
from planted import plant, project, study_params

from niny.report.dynamics import draw_dynamics, dynamics_picture, followed, interval_at_the_end, while_learning
from niny.report.study import Study, load_study

PARAMS = study_params()
NIN, FC, OLD, DEAD = "cifar10-nin", "cifar10-nin-fc", "cifar10-cnn-fc", "cifar10-nin-he"


def looked_at(folder: Path, claim: float, **more: float) -> None:
    """Add to a planted history what was seen of the maps in every second epoch."""
    history = pd.read_csv(folder / "history.csv")
    for column, value in {"map_claim1_rate": claim, **more}.items():
        history.loc[history["test_error"].notna(), column] = value
    history.to_csv(folder / "history.csv", index=False)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    root = project(tmp_path / "project")
    for seed, claim in enumerate((0.4, 0.6)):
        looked_at(plant(root, PARAMS.run("full", NIN), seed, 20.0), claim)
    looked_at(plant(root, PARAMS.run("full", FC), 0, 20.0), 0.5, map_entropy_centred=0.9)
    looked_at(plant(root, PARAMS.run("full", OLD), 0, 20.0), 0.5)
    looked_at(plant(root, PARAMS.run("full", DEAD), 0, 90.0, collapsed=True), 0.1)
    return load_study(PARAMS, "full", root)


def test_lines_are_means_over_runs_from_the_first_look_to_the_last(study: Study) -> None:
    claim, *others = draw_dynamics(study).axes
    line, end, *_ = claim.lines
    assert set(line.get_ydata()) == {0.5}
    assert end.get_xdata()[0] == pytest.approx(20 + 70 / 260, abs=1e-3)
    assert len(line.get_xdata()) == 130
    silent = [axes for axes in others if "not recorded" in {text.get_text() for text in axes.texts}]
    assert len(silent) == len(others) - 1


def test_the_end_has_the_interval_over_runs_or_over_the_images_of_a_single_run(study: Study, tmp_path: Path) -> None:
    low, high = interval_at_the_end(study, NIN, "map_claim1_rate") or (0, 0)
    assert (low + high) / 2 == pytest.approx(0.5)
    assert high - low == pytest.approx(2 * 12.7062 * 0.1, rel=1e-4)  # t of one degree of freedom, 0.1 standard error
    root = project(tmp_path / "one")
    looked_at(plant(root, PARAMS.run("full", NIN), 0, 20.0), 0.4, map_claim1_rate_low=0.3, map_claim1_rate_high=0.55)
    alone = load_study(PARAMS, "full", root)
    assert interval_at_the_end(alone, NIN, "map_claim1_rate") == (0.3, 0.55)
    assert interval_at_the_end(alone, NIN, "map_gini") is None


def test_in_words_the_maps_go_from_the_first_look_to_the_last(tmp_path: Path) -> None:
    root = project(tmp_path / "project")
    folder = plant(root, PARAMS.run("full", NIN), 0, 20.0)
    looked_at(folder, 0.3)
    history = pd.read_csv(folder / "history.csv")
    history.loc[history.index[-1], "map_claim1_rate"] = 0.7
    history.to_csv(folder / "history.csv", index=False)
    (told,) = while_learning(load_study(PARAMS, "full", root))
    assert told.endswith(" % to 20.3 %, its maps of 64 test images changed: largest in the true map 0.300 to 0.700.")
    assert while_learning(load_study(PARAMS, "trial", root)) == []


def test_time_runs_to_the_right_as_the_error_falls(study: Study) -> None:
    left, right = draw_dynamics(study).axes[0].get_xlim()
    assert left > 50 > 20 > right


def test_every_head_is_followed_but_not_the_input_of_one_nor_a_dead_network(study: Study) -> None:
    assert followed(study) == [NIN, FC]
    assert (
        "cifar10-nin, largest in the true map, as they are: 0.500 at an error of 55.0 %, 0.500 at the end"
        in dynamics_picture(study).alt
    )


def test_nothing_followed_is_said(tmp_path: Path) -> None:
    figure = draw_dynamics(load_study(PARAMS, "full", project(tmp_path / "project")))
    assert [text.get_text() for text in figure.texts] == ["no class map was looked at in training"]
