"""Training: the authors' update, reproducible runs, resumption, collapse, records."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from niny.benchmark.loops import fresh_network
from niny.config import SOURCES, Params, Recipe, Run
from niny.errors import NinyError
from niny.models import build, initialise, nin_cifar
from niny.notebooks import execute
from niny.training import Compute, choose_compute, record, train_experiment
from niny.training import runs as runs_module
from niny.training.loop import Evaluation, TrainingData, batches, live_outputs, steps_per_epoch, train_epoch
from niny.training.optimiser import learning_rate, make_optimiser, set_rate
from niny.training.record import COLUMNS, code_digest, is_finished, read_metrics, seed_folder
from niny.training.seeds import Seeds, derive
from niny.training.update import make_update
from niny.training.weights_file import evaluate_file, load_network

EXACT = Compute(torch.device("cpu"), torch.float32)
CPU = torch.device("cpu")


def silent(_: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture
def run(params: Params) -> Run:
    return params.run("smoke", "cifar10-nin")


@pytest.fixture
def brief(run: Run) -> Run:
    """The same in two epochs, where what it learns is of no concern."""
    return replace(run, recipe=replace(run.recipe, phases=((1, 1.0), (1, 0.1))))


def train(run: Run, root: Path, **options: Any) -> Path:
    return train_experiment(run, root, seeds=[0], compute=EXACT, **{"say": silent} | options)[0]


def losses(folder: Path) -> list[str]:
    return [row["train_loss"] for row in csv.DictReader((folder / "history.csv").read_text().splitlines())]


@pytest.mark.parametrize("name", ["cifar10-maxout", "cifar10-nin-modern", "cifar10-linear-gap", "cifar10-nin-avgpool"])
def test_the_first_updates_at_full_width_are_far_from_divergence(params: Params, name: str) -> None:
    """Of recipes that no long run has tried: a rate too high, or weights too large, show at once."""
    run = params.run("paper", name)
    net = fresh_network(run, EXACT, torch.channels_last)
    recipe = replace(run.recipe, batch=16)
    update = make_update(net, make_optimiser(net, recipe), recipe, EXACT)
    draw = torch.Generator().manual_seed(0)
    images = 0.53 * torch.randn(96, 3, 32, 32, generator=draw)  # as wide as whitened ones
    labels = torch.randint(10, (96,), generator=draw)
    data = TrainingData(EXACT.place(images), labels, images, labels)
    result = train_epoch(update, data, recipe, 0, Seeds(0, 0), augment=False)
    assert result.loss < 5


def test_a_step_is_the_authors_update(params: Params) -> None:
    """inc = 0.9 inc + lr (g - decay w), w += inc, with the rates and decays of their parameter files."""
    recipe = params.recipes["authors"]
    net = nin_cifar(width=0.1)
    initialise(net, "normal", 0.05, 1)
    optimiser = make_optimiser(net, recipe)
    expected = {name: (p.detach().clone(), torch.zeros_like(p)) for name, p in net.named_parameters()}
    for step in range(3):
        torch.manual_seed(step)
        net(torch.randn(8, 3, 32, 32)).square().mean().backward()
        for name, parameter in net.named_parameters():
            lr = 0.01 if "cccp6" in name else 0.1
            lr, decay = (2 * lr, 0.0) if name.endswith("bias") else (lr, 1e-4)
            w, inc = expected[name]
            inc = 0.9 * inc - lr * (parameter.grad + decay * w)
            expected[name] = (w + inc, inc)
        set_rate(optimiser, recipe.lr)
        optimiser.step()
        optimiser.zero_grad()
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(parameter.detach(), expected[name][0], rtol=1e-5, atol=1e-7)


def test_the_rate_drops_twice_to_a_hundredth(params: Params) -> None:
    recipe = params.recipes["authors"]
    rates = [learning_rate(recipe, epoch * 395, 395) for epoch in (0, 199, 200, 229, 230, 259)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_warm_up_rises_in_a_line_to_the_rate(params: Params) -> None:
    recipe = replace(params.recipes["tiny"], lr=1.0, warmup_epochs=0.04)
    assert [learning_rate(recipe, step, 100) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_one_cycle_rises_and_falls_to_nothing() -> None:
    recipe = Recipe(init="he", lr=1.0, phases=((4, 1.0),), schedule="one_cycle")
    rates = [learning_rate(recipe, step, 25) for step in range(100)]
    assert rates[25] == 1.0
    assert rates == [*sorted(rates[:25]), *sorted(rates[25:], reverse=True)]
    assert rates[99] < 0.02


def test_file_order_has_the_authors_395_updates(params: Params) -> None:
    recipe = params.recipes["authors"]
    parts = list(batches(50_000, recipe, 0, CPU))
    assert len(parts) == steps_per_epoch(50_000, recipe) == 395
    assert torch.equal(torch.cat(parts), torch.arange(50_000))
    assert len(parts[78]) == 16


def test_shuffled_order_shows_every_image_once_and_differs_by_seed(params: Params) -> None:
    recipe = params.recipes["robust"]
    first, second = (torch.cat(list(batches(1000, recipe, seed, CPU))) for seed in (1, 2))
    assert torch.equal(first.sort().values, torch.arange(1000))
    assert not torch.equal(first, second)
    assert len(list(batches(1000, recipe, 1, CPU))) == steps_per_epoch(1000, recipe)


def test_seeds_differ_by_every_key_and_not_by_experiment() -> None:
    seeds = Seeds(1, 0)
    numbers = {seeds.of(p, e) for p in ("init", "order", "masks", "augmentation") for e in range(5)}
    numbers |= {Seeds(1, 1).of("init"), Seeds(2, 0).of("init"), Seeds(1, 0, 1).of("init")}
    assert len(numbers) == 23
    assert derive(1, "a", 2) == 7_207_999_916_064_586_904, (
        "another formula would give every run of the study other seeds"
    )


def test_what_does_not_vary_has_the_seeds_of_run_0() -> None:
    first, third = Seeds(1, 0), Seeds(1, 3, varies=("order", "masks"))
    assert [third.of(p, 2) == first.of(p, 2) for p in SOURCES] == [True, False, False, True]
    assert third.of("order", 2) == Seeds(1, 3).of("order", 2)
    again = replace(third, attempt=1)  # after a collapse, what does not vary stays as it was
    assert [again.of(p) == third.of(p) for p in SOURCES] == [True, False, False, True]


@pytest.mark.parametrize(
    ("varies", "same"), [("augmentation", True), ("init", False), ("order", False), ("masks", False)]
)
def test_runs_differ_by_what_varies_alone(brief: Run, project: Path, varies: Any, same: bool) -> None:
    alone = replace(brief, experiment=replace(brief.experiment, varies=(varies,)))  # images are seen as they are
    first, second = train_experiment(alone, project, seeds=(0, 1), compute=EXACT, say=silent)
    assert (losses(first) == losses(second)) is same
    assert json.loads((second / "environment.json").read_text())["seeds"]["varies"] == [varies]


def test_a_run_learns_and_leaves_a_whole_record(run: Run, project: Path) -> None:
    folder = train(run, project)
    metrics = read_metrics(folder)
    assert metrics["test_error"] < 80  # chance is 90
    assert not metrics["collapsed"]
    with np.load(folder / "predictions.npz") as saved:
        wrong = 100 * np.mean(saved["predicted"] != saved["label"])
    assert wrong == pytest.approx(metrics["test_error"])
    rows = list(csv.DictReader((folder / "history.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == [str(epoch) for epoch in range(1, 7)]
    assert set(rows[0]) == set(COLUMNS)
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["torch"] == torch.__version__
    assert environment["seeds"]["root"] == run.root_seed
    assert not list(project.glob(".niny/checkpoints/**/*.ckpt"))


def test_a_run_that_only_asks_whether_it_learns_keeps_its_errors_and_no_weights(brief: Run, project: Path) -> None:
    bare = replace(brief, experiment=replace(brief.experiment, keeps_weights=False))
    kept = {path.name for path in train(brief, project).iterdir()}
    folder = train(bare, project, fresh=True)
    assert kept - {path.name for path in folder.iterdir()} == {"weights.safetensors", "followed.npz"}
    assert "weights_test_error" not in read_metrics(folder)
    assert bare.digest == brief.digest


def test_a_record_names_the_precision_that_it_was_trained_in(run: Run) -> None:
    eager = choose_compute("cpu", "float32", eager=True)
    words = f"niny train {run.experiment.name} --scale smoke --seeds 2 --precision float32 --eager"
    assert runs_module.command_of(run, 2, eager) == words


@pytest.mark.parametrize(("error", "collapsed"), [(25.0, True), (20.0, False)])
def test_answering_the_likeliest_class_alone_is_no_learning(
    run: Run, project: Path, error: float, collapsed: bool
) -> None:
    data = runs_module.prepare_data(run, project, EXACT)
    labels = (torch.arange(len(data.test_labels)) % 4 == 0).long()  # naming class 0 always errs on a quarter
    row = {"seconds": 1.0, "energy_joules": None, "energy_counted": ""}
    trained = runs_module.Trained(build(run), [row], False, "layers")
    final = Evaluation(error, torch.zeros_like(labels))
    metrics = runs_module.metrics_of(run, 0, trained, final, replace(data, test_labels=labels), EXACT)
    assert metrics["collapsed"] is collapsed


def test_the_same_seed_gives_the_same_bits(brief: Run, project: Path) -> None:
    folder = train(brief, project)
    kept = {name: (folder / name).read_bytes() for name in ("weights.safetensors", "predictions.npz")}
    errors = read_metrics(folder)["test_error"]
    train(brief, project, fresh=True)
    assert all((folder / name).read_bytes() == content for name, content in kept.items())
    assert read_metrics(folder)["test_error"] == errors


def test_an_interrupted_run_ends_as_an_undisturbed_one(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (train(run, project) / "weights.safetensors").read_bytes()
    shutil.rmtree(project / "results")
    real = runs_module.one_epoch
    with monkeypatch.context() as patch:
        patch.setattr(runs_module, "one_epoch", stop_before(real, epoch=2))
        with pytest.raises(KeyboardInterrupt):
            train(run, project)
    said: list[str] = []
    folder = train(run, project, say=said.append)
    assert any("goes on after epoch 2" in line for line in said)
    assert (folder / "weights.safetensors").read_bytes() == whole


def stop_before(real: Callable[..., Any], epoch: int) -> Callable[..., Any]:
    def one_epoch(run: Run, update: Any, data: Any, at: int, *rest: Any) -> Any:
        if at == epoch:
            raise KeyboardInterrupt
        return real(run, update, data, at, *rest)

    return one_epoch


def test_a_finished_seed_is_not_trained_again(brief: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = train(brief, project)
    before = (folder / "metrics.json").stat().st_mtime_ns
    said: list[str] = []
    train(brief, project, say=said.append)
    assert "nothing to train" in said[0]
    assert (folder / "metrics.json").stat().st_mtime_ns == before


def test_a_record_counts_for_its_own_settings_and_code_only(
    brief: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = train(brief, project)
    assert is_finished(folder, brief)
    assert not is_finished(folder, replace(brief, recipe=replace(brief.recipe, lr=0.001)))
    monkeypatch.setattr("niny.training.record.code_digest", lambda: "another")
    assert not is_finished(folder, brief)
    assert is_finished(folder, replace(brief, scale=replace(brief.scale, keep_records=True)))


def test_a_dead_network_is_recorded_as_collapsed_after_three_attempts(run: Run, project: Path) -> None:
    hot = replace(run, recipe=replace(run.recipe, lr=1e4, warmup_epochs=0.0))
    metrics = read_metrics(train(hot, project))
    assert metrics["collapsed"]
    assert [entry["attempt"] for entry in metrics["collapsed_attempts"]] == [0, 1, 2]
    assert metrics["test_error"] > 80
    last = list(csv.DictReader((seed_folder(project, hot, 0) / "history.csv").read_text().splitlines()))[-1]
    assert (float(last["live_share"]), int(last["silent_classes"])) == (0, 10)


def test_a_class_is_silent_where_no_image_has_a_logit_above_zero_for_it() -> None:
    net, images = nin_cifar(width=0.1), torch.rand(20, 3, 32, 32)
    initialise(net, "centred", 0.05, 1)
    with torch.no_grad():
        net.get_submodule("mlpconv3.cccp6").bias.copy_(torch.tensor([1e3] * 7 + [-1e3] * 3))
    assert live_outputs(net, images, EXACT) == (pytest.approx(0.7), 3)
    lifted = torch.cat([images, images[:1]])
    net.head.register_forward_hook(lambda *given: given[2].index_fill(0, torch.tensor([20]), 1.0))
    assert live_outputs(net, lifted, EXACT) == (pytest.approx((20 * 7 + 10) / 210), 0)


def test_an_attempt_that_died_is_remembered_however_rare_checkpoints_are(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a second start would try it once more, perhaps with better luck."""
    monkeypatch.setitem(runs_module.KEEP_EVERY, "cpu", 1e9)
    hot = replace(run, recipe=replace(run.recipe, lr=1e4, warmup_epochs=0.0))
    real, begun = runs_module.one_epoch, list[int]()

    def one_epoch(run: Run, update: Any, data: Any, epoch: int, seeds: Seeds, *rest: Any) -> Any:
        begun.append(seeds.attempt)
        if begun.count(1) == 1 and begun[-1] == 1:
            raise KeyboardInterrupt
        return real(run, update, data, epoch, seeds, *rest)

    monkeypatch.setattr(runs_module, "one_epoch", one_epoch)
    with pytest.raises(KeyboardInterrupt):
        train(hot, project)
    first = begun.count(0)
    metrics = read_metrics(train(hot, project))
    assert begun.count(0) == first > 0
    assert [entry["attempt"] for entry in metrics["collapsed_attempts"]] == [0, 1, 2]


def test_a_failure_while_writing_the_record_leaves_no_half_record(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("niny.training.record.write_environment", full)
        with pytest.raises(OSError, match="No space"):
            train(run, project)
    folder = seed_folder(project, run, 0)
    assert not is_finished(folder, run)
    assert read_metrics(train(run, project))["epochs"] == 6


def test_errors_of_a_weights_file_are_those_of_its_run(run: Run, project: Path, params: Params) -> None:
    folder = train(run, project)
    result = evaluate_file(params, folder / "weights.safetensors", params.datasets["digits"], project)
    assert result.error == pytest.approx(read_metrics(folder)["weights_test_error"])


def test_weights_of_another_size_are_refused_in_one_line(run: Run, project: Path, params: Params) -> None:
    path = train(run, project) / "weights.safetensors"
    narrower = replace(params, scales={**params.scales, "smoke": replace(run.scale, width=0.05)})
    with pytest.raises(NinyError, match="does not fit") as error:
        evaluate_file(narrower, path, params.datasets["digits"], project)
    assert "\n" not in str(error.value)


def test_weights_of_a_tried_preprocessing_are_refused_and_not_read_with_the_data_sets_own(
    run: Run, project: Path, params: Params
) -> None:
    path = train(run, project) / "weights.safetensors"
    trial = replace(params.experiments["cifar10-nin"], preprocessing="unit")
    tried = replace(params, experiments={**params.experiments, "cifar10-nin": trial})
    with pytest.raises(NinyError, match="trained to try preprocessing 'unit', and digits is read otherwise"):
        load_network(tried, path)


def test_devices_and_precisions_that_are_not_there_are_named() -> None:
    with pytest.raises(NinyError, match="unknown device 'tpu'"):
        choose_compute("tpu")
    with pytest.raises(NinyError, match="unknown precision 'int8'"):
        choose_compute(precision="int8")


def test_the_digest_of_the_code_is_of_what_decides_a_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "niny"
    shutil.copytree(record.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    before, digest = code_digest(), code_digest.__wrapped__
    monkeypatch.setattr(record, "PACKAGE", package)
    assert digest() == before
    for name, decides in (("report/tables.py", False), ("training/loop.py", True)):
        (package / name).write_text((package / name).read_text() + "# changed\n")
        assert (digest() != before) is decides
    assert code_digest() == before, "a process trains by the code that it has read"


def test_a_training_notebook_can_show_what_is_recorded_and_train_nothing(run: Run, project: Path) -> None:
    source = Path(__file__).parents[1] / "notebooks/02-train.ipynb"
    asked = {"scale": "smoke", "experiment": run.experiment.name, "train": False}
    with pytest.raises(NinyError, match=f"no run of {run.experiment.name} is recorded at scale smoke"):
        execute(source, project / "none.ipynb", asked)
    train_experiment(run, project, seeds=[1], compute=EXACT, say=silent)
    execute(source, project / "one.ipynb", asked)
    assert [folder.name for folder in (project / run.folder).iterdir()] == ["seed-1"]
