"""What training itself records of class maps, and training on labels that say nothing of the image."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from niny.config import Params, Run
from niny.evaluation.results import read_history, read_scores
from niny.maps.followed import COLUMNS, WITH_ENDS
from niny.maps.intervals import RESAMPLES
from niny.maps.records import OF_ONE_SEED, load_seed
from niny.maps.suite import compare_subjects, load_pictures, load_subjects, score_subjects
from niny.models import build, initialise
from niny.training import choose_compute, train_experiment
from niny.training.loop import TrainingData
from niny.training.permuted import as_asked
from niny.training.record import read_metrics
from niny.training.snapshots import FOLLOWED, KEPT_EPOCHS, followed_maps, keep_followed, look_at_maps

CPU = choose_compute("cpu", "float32")


def short(run: Run) -> Run:
    return replace(run, recipe=replace(run.recipe, phases=((1, 1.0),)), scale=replace(run.scale, grids=10))


@pytest.fixture(scope="module")
def data() -> TrainingData:
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(200, 1, 16, 16, generator=generator), torch.arange(200) % 10
    return TrainingData(images, labels, images[:100], labels[:100])


def test_only_training_labels_are_permuted_and_always_alike(params: Params, data: TrainingData) -> None:
    true, planned = (params.run("smoke", name) for name in ("cifar10-nin-nodropout", "cifar10-nin-permuted"))
    as_they_are = as_asked(true, data)
    assert as_they_are.train_images is data.train_images
    assert as_they_are.train_labels is data.train_labels
    permuted = replace(planned, experiment=replace(planned.experiment, subset=1.0))
    mixed = as_asked(permuted, data)
    assert torch.equal(mixed.train_labels.bincount(), data.train_labels.bincount())
    assert 0.02 < (mixed.train_labels == data.train_labels).float().mean() < 0.25
    assert mixed.test_labels is data.test_labels
    assert torch.equal(mixed.train_labels, as_asked(permuted, data).train_labels)


def test_a_subset_is_the_first_images_with_their_labels(params: Params, data: TrainingData) -> None:
    planned = params.run("smoke", "cifar10-nin-nodropout")
    some = as_asked(replace(planned, experiment=replace(planned.experiment, subset=0.1)), data)
    assert torch.equal(some.train_images, data.train_images[:20])
    assert torch.equal(some.train_labels, data.train_labels[:20])
    assert some.test_images is data.test_images


def test_labels_to_be_learnt_by_heart_are_looked_at_as_often_at_every_scale(params: Params) -> None:
    """Of chance labels a network learns none in the few epochs of a small scale: training error stays at 90 %."""
    runs = [params.run(scale, "cifar10-nin-permuted") for scale in ("smoke", "seeds", "short", "paper")]
    assert {run.recipe.epochs for run in runs} == {100}
    for run in runs:
        usual = params.run(run.scale.name, "cifar10-nin-nodropout")
        seen = run.experiment.subset * run.scale.evaluate_every
        assert seen == usual.scale.evaluate_every, "as much is trained between two looks"


def test_the_identity_of_runs_with_true_labels_is_that_of_before_there_were_others(params: Params) -> None:
    digests = {name: params.run("paper", name).digest for name in ("cifar10-nin", "cifar10-nin-permuted")}
    assert digests["cifar10-nin"] == "3a37b2e327e75e60"
    assert len(set(digests.values())) == 2


@pytest.mark.parametrize("experiment", ["cifar10-nin", "cifar10-cnn-gap", "cifar10-nin-fc"])
def test_a_look_tells_of_the_maps_of_every_head(params: Params, data: TrainingData, experiment: str) -> None:
    run = params.run("smoke", experiment)
    net = build(run)
    initialise(net, "centred", 0.0, 0)
    row = look_at_maps(net, data, run, CPU)
    assert set(row) == set(WITH_ENDS)
    assert all(-1e-9 <= value <= 1 + 1e-9 for value in row.values())
    assert all(row[f"{look}_low"] <= row[look] <= row[f"{look}_high"] for look in COLUMNS.values() if look in row)
    assert row == look_at_maps(net, data, run, CPU)


def test_a_dead_network_says_nothing_of_concentration(params: Params, data: TrainingData) -> None:
    run = params.run("smoke", "cifar10-nin")
    net = build(run)
    torch.nn.init.constant_(net.mlpconv3.cccp6.bias, -1e6)  # type: ignore[union-attr, arg-type]  # a layer: torch types it as any value
    row = look_at_maps(net, data, run, CPU)
    assert not {"map_entropy", "map_gini"} & set(row)
    assert row["map_claim1_rate"] == pytest.approx(0.1)


def test_the_maps_that_are_kept_are_those_of_the_epochs_and_images_they_name(
    params: Params, data: TrainingData, tmp_path: Path
) -> None:
    run = params.run("smoke", "cifar10-nin")
    history = []
    for epoch in range(1, 101):
        net = build(run)
        initialise(net, "centred", 0.0, epoch)
        history.append({"epoch": epoch, "maps": followed_maps(net, data, run, CPU)})
    keep_followed(tmp_path / FOLLOWED, history, run, len(data.test_labels))
    kept = np.load(tmp_path / FOLLOWED)
    assert kept["epoch"][0] == 1
    assert kept["epoch"][-1] == 100
    assert 12 <= len(kept["epoch"]) <= KEPT_EPOCHS
    with torch.no_grad():
        logits = net.eval()(data.test_images[kept["image"].astype(int)])
    np.testing.assert_allclose(kept["maps"][-1].astype(float).mean((2, 3)), logits, atol=2e-3)


def test_a_network_without_maps_leaves_none(params: Params, data: TrainingData, tmp_path: Path) -> None:
    run = params.run("paper", "cifar10-maxout")
    keep_followed(tmp_path / FOLLOWED, [{"epoch": 1, "maps": followed_maps(build(run), data, run, CPU)}], run, 100)
    assert not (tmp_path / FOLLOWED).exists()


def test_a_run_records_its_looks_and_the_scores_of_seeds_whose_weights_are_not_kept(
    project: Path, params: Params
) -> None:
    run = short(params.run("smoke", "cifar10-nin-permuted"))
    first, second = train_experiment(run, project, compute=CPU, say=lambda _: None)
    rows = read_history(first / "history.csv")
    assert set(WITH_ENDS) <= set(rows[-1])
    assert (first / "weights.safetensors").is_file()
    assert not (first / OF_ONE_SEED).exists()
    assert not (second / FOLLOWED).exists()
    scores = read_scores(second / OF_ONE_SEED)
    assert 0 <= scores["gridpg3_hit.raw"].value <= 1
    assert len(load_seed(second / OF_ONE_SEED)["gridpg3_hit.raw"]["resamples"]) == RESAMPLES
    assert (second / OF_ONE_SEED).with_suffix(".npz").stat().st_size < 1_000_000
    assert not (second / "weights.safetensors").exists()


def test_a_trial_is_judged_by_its_errors_so_its_maps_are_not_scored(project: Path, params: Params) -> None:
    run = short(params.run("smoke", "cifar10-nin-permuted"))
    run = replace(run, scale=replace(run.scale, holdout=100))
    _, second = train_experiment(run, project, compute=CPU, say=lambda _: None)
    assert {path.name for path in second.iterdir()} == {
        "environment.json",
        "history.csv",
        "metrics.json",
        "predictions.npz",
    }


def test_where_a_scale_is_evidence_every_score_is_over_all_seeds(project: Path, params: Params) -> None:
    run = short(params.run("smoke", "cifar10-nin"))
    run = replace(run, scale=replace(run.scale, evidence=True))
    train_experiment(run, project, compute=CPU, say=lambda _: None)
    subjects, pictures = load_subjects(params, project / run.folder, CPU), load_pictures(run.data, project, CPU)
    scores = score_subjects(subjects, pictures, seed=0, grids=10, compute=CPU)
    compared = compare_subjects(subjects, pictures, seed=0, grids=10)
    assert not scores.keys() & compared.keys()
    for found in (scores["gridpg3_mass.raw"], compared["infidelity.raw"], compared["agreement_top.lrp.raw.untrained"]):
        assert set(found["seeds"]) == {"0", "1"}


def test_chance_on_true_test_labels_is_no_collapse_where_training_labels_are_permuted(
    project: Path, params: Params
) -> None:
    planned = params.run("smoke", "cifar10-nin-permuted")
    run = replace(planned, recipe=replace(planned.recipe, lr=1e-9, phases=((1, 1.0),)))
    train_experiment(run, project, seeds=[0], compute=CPU, say=lambda _: None)
    metrics = read_metrics(project / run.folder / "seed-0")
    assert metrics["test_error"] > 80
    assert metrics["collapsed"] is False


def test_a_seed_whose_numbers_overflow_is_recorded_as_collapsed(project: Path, params: Params) -> None:
    planned = params.run("smoke", "cifar10-nin")
    run = replace(planned, recipe=replace(planned.recipe, lr=1e20, phases=((1, 1.0),)))
    (folder,) = train_experiment(run, project, seeds=[1], compute=CPU, say=lambda _: None)
    metrics = read_metrics(folder)
    assert metrics["collapsed"] is True
    assert len(metrics["collapsed_attempts"]) == 3
    assert "completeness_error" not in read_scores(folder / OF_ONE_SEED)
    assert not (project / ".niny" / "checkpoints" / "smoke" / "cifar10-nin" / "seed-1").exists()
