"""Choices made by trial: errors on held-out images as recorded, and the alternatives no less than the one taken."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from planted import ROOT, change, plant, project

from niny.config import load_params
from niny.paper import OPEN_CHOICES
from niny.report.article import left_open
from niny.report.study import Study, load_study
from niny.report.tables import all_tables
from niny.report.trials import ERROR, LOST, SHARE, trial_runs, woke

PARAMS = load_params(ROOT)
TAKEN, OTHER, COLLAPSED = "mnist-nin-whitened", "mnist-nin-mean", "mnist-nin-unit"


@pytest.fixture
def study(tmp_path: Path) -> Study:
    root = project(tmp_path / "project")
    plant(root, PARAMS.run("tune", TAKEN), 0, 0.91)
    plant(root, PARAMS.run("tune", COLLAPSED), 0, 90.0, collapsed=True)
    return load_study(PARAMS, "short", root)


def lines(study: Study) -> pd.DataFrame:
    return all_tables(study)["trials"].set_index("Experiment")


def test_a_trial_s_error_is_that_of_its_record_with_wilson_s_interval(study: Study) -> None:
    row = lines(study).loc[TAKEN]
    epochs = str(PARAMS.run("tune", TAKEN).recipe.epochs)
    assert (row[ERROR], row[SHARE], row["Epochs"]) == ("0.91 (0.74 to 1.12)", "0 of 1", epochs)


def test_what_was_not_tried_or_collapsed_looks_so(study: Study) -> None:
    assert lines(study).loc[OTHER, ERROR] == "not run"
    epochs = PARAMS.run("tune", COLLAPSED).recipe.epochs
    assert lines(study).loc[COLLAPSED, ERROR] == f"at chance after {epochs} epochs"
    names = [TAKEN, OTHER, COLLAPSED]
    assert list(lines(study).loc[names, "Taken"]) == ["yes", "no", "no"]
    assert list(lines(study).loc[names, SHARE]) == ["0 of 1", "not run", "1 of 1"]
    elsewhere = replace(study, root=study.root / "elsewhere")
    assert list(lines(elsewhere).loc[names, "Taken"]) == ["yes, untried", "no", "no"]


def test_a_network_that_died_is_no_network_that_learns_slowly(tmp_path: Path) -> None:
    root, died = project(tmp_path / "project"), [{"attempt": k, "epochs": 1} for k in range(3)]
    plant(root, PARAMS.run("tune", COLLAPSED), 0, 90.0, collapsed=True, collapsed_attempts=died)
    assert tuple(lines(load_study(PARAMS, "short", root)).loc[COLLAPSED, [ERROR, SHARE]]) == (
        "died in 3 attempts",
        "1 of 1\n3 of 3 attempts died",
    )
    plant(root, PARAMS.run("tune", COLLAPSED), 1, 2.0, collapsed_attempts=died[:1])
    assert tuple(lines(load_study(PARAMS, "short", root)).loc[COLLAPSED, [ERROR, SHARE]]) == (
        "died in 3 attempts\n2.00 (1.74 to 2.29)",
        "1 of 2\n4 of 5 attempts died",
    )


def test_a_network_that_ends_at_chance_after_one_that_died_did_not_die(tmp_path: Path) -> None:
    root, run = project(tmp_path / "project"), PARAMS.run("tune", COLLAPSED)
    plant(root, run, 0, 90.0, collapsed=True, collapsed_attempts=[{"attempt": 0, "epochs": 1}])
    assert tuple(lines(load_study(PARAMS, "short", root)).loc[COLLAPSED, [ERROR, SHARE]]) == (
        f"at chance after {run.recipe.epochs} epochs, after 1 attempt that died",
        "1 of 1\n1 of 2 attempts died",
    )


def test_classes_that_a_network_never_answers_stand_beside_its_error(tmp_path: Path) -> None:
    root = project(tmp_path / "project")
    folder = plant(root, PARAMS.run("tune", COLLAPSED), 0, 50.0)
    label = np.arange(10_000, dtype=np.uint8) % 2
    np.savez_compressed(folder / "predictions.npz", predicted=0 * label, label=label)
    assert tuple(lines(load_study(PARAMS, "short", root)).loc[COLLAPSED, [ERROR, LOST]]) == (
        "50.00 (49.02 to 50.98)",
        "1 of 10",
    )


@pytest.mark.parametrize(
    ("errors", "silent", "lost", "passed"),
    [
        ((50, 30, 20), (2, 1, 0), 0, True),
        ((50, 30, 20), (2, 1, 0), 2, False),  # a logit above zero somewhere is no answer
        ((50, 30, 20), (0, 2, 2), 2, False),
        ((50, 30, 20), (0, 0, 0), 1, None),
        ((89, 30, 20), (9, 0, 0), 0, None),  # not learning yet
    ],
)
def test_silence_passes_where_fewer_classes_are_lost_at_the_end(
    tmp_path: Path, errors: tuple[int, ...], silent: tuple[int, ...], lost: int, passed: bool | None
) -> None:
    root = project(tmp_path / "project")
    folder = plant(root, PARAMS.run("tune", TAKEN), 0, 20.0)
    label = (np.arange(10_000) % 10).astype(np.uint8)
    np.savez_compressed(folder / "predictions.npz", predicted=np.maximum(label, lost), label=label)
    change(folder / "metrics.json", test_error=10.0 * lost)
    lines = [f"{k},{e},{n}" for k, (e, n) in enumerate(zip(errors, silent, strict=True), 1)]
    (folder / "history.csv").write_text("\n".join(["epoch,train_error_masked,silent_classes", *lines, ""]))
    study = load_study(PARAMS, "short", root)
    (run,) = trial_runs(study, "tune").to_dict("records")
    assert woke(study, "tune", run) is passed
    told = left_open(study).items[-1].note
    assert ("Silence can pass: in 1 run no training image" in told) == bool(passed)


def test_what_dies_in_longer_runs_is_told_beside_the_trials(tmp_path: Path) -> None:
    root, literal = project(tmp_path / "project"), "cifar10-nin-nodropout-literal"
    died = [{"attempt": k, "epochs": 1} for k in range(3)]
    plant(root, PARAMS.run("tune", literal), 0, 60.0)
    assert "What longer runs add" not in left_open(load_study(PARAMS, "paper", root)).items[-1].note
    plant(root, PARAMS.run("short", literal), 0, 90.0, collapsed=True, collapsed_attempts=died)
    note = left_open(load_study(PARAMS, "paper", root)).items[-1].note
    assert f"What longer runs add: `{literal}` at scale `short` died in 3 attempts." in note


def test_alternatives_are_of_one_data_set_and_not_the_same() -> None:
    for choice in (choice for choice in OPEN_CHOICES if choice.trials):
        tried = [PARAMS.experiments[name] for name in choice.trials]
        assert len({e.dataset for e in tried}) == 1
        assert len({replace(e, name="", title="", scales=()) for e in tried}) == len(tried)


def test_scalings_of_mnist_are_tried_alone_and_the_one_that_was_taken_is_the_data_sets() -> None:
    (choice,) = [choice for choice in OPEN_CHOICES if choice.item == "MNIST scaling"]
    taken, *others = [PARAMS.experiments[name] for name in choice.trials]
    chosen = PARAMS.datasets[taken.dataset].preprocessing
    assert taken.preprocessing in (None, chosen)
    for other in others:
        assert other.preprocessing not in (None, chosen)
        assert replace(other, name="", title="", preprocessing=None) == replace(
            taken, name="", title="", preprocessing=None
        )


def test_the_report_says_where_the_trials_lie_and_by_what_command_they_are_made(study: Study) -> None:
    shown = left_open(study).items[1]
    assert shown.origin.startswith("2 runs in `results/tune/runs`, by `niny campaign --scale tune --only cifar10-nin ")
    names = shown.origin.partition("--only ")[2].partition("`")[0].split()
    assert sorted(names) == sorted({name for choice in OPEN_CHOICES for name in choice.trials})


def test_without_a_scale_that_holds_images_out_there_is_no_such_table(study: Study) -> None:
    scales = {name: scale for name, scale in PARAMS.scales.items() if not scale.holdout}
    without = replace(study, params=replace(PARAMS, scales=scales))
    assert "trials" not in all_tables(without)
    assert len(left_open(without).items) == 1
