"""`niny bench`: consistent figures, kept by machine. How quick anything is, no test asks."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from niny import cli
from niny.benchmark import Amount, keep, kept, measure, scaling, table
from niny.benchmark.bench import AMOUNTS
from niny.benchmark.operations import operations
from niny.benchmark.results import machine_name
from niny.cli import main
from niny.config import Params
from niny.errors import NinyError
from niny.models import nin_cifar
from niny.training import Compute, choose_compute
from niny.training.imagenet import RECIPE
from niny.training.record import PACKAGE

LITTLE = Amount(plain=64, engine=256, rounds=2, batches=(32, 64), zca=200, grids=3)


@pytest.fixture(scope="module")
def result(params: Params) -> dict[str, Any]:
    return measure(params.run("smoke", "cifar10-nin"), choose_compute("cpu"), LITTLE)


def test_the_figures_fit_together(result: dict[str, Any]) -> None:
    assert result["ratio"] == pytest.approx(result["images_per_s"] / result["plain_images_per_s"])
    reached = result["images_per_s"] * result["training_flops_per_image"]
    assert result["ceiling_share"] == pytest.approx(reached / result["ceiling_flops_per_s"])
    assert set(result["parts_us_per_image"]) == {"input", "forward", "backward", "update", "metrics"}
    assert set(result["images_per_s_by_batch"]) == {"32", "64"}
    assert set(result["seconds_by_images"]) == {"256", "512", "1024"}
    assert all(cost > 0 for cost in result["costs"].values())


def test_a_training_step_costs_three_forward_passes_but_for_the_first_layer(params: Params) -> None:
    """222.6 million multiply-adds forward (reference); twice as many backward, less the gradient of the images."""
    net, recipe = nin_cifar(), params.recipes["authors"]
    flops = operations(net, torch.randn(1, 3, 32, 32), recipe)
    first = 2 * 192 * 3 * 25 * 32 * 32
    assert flops == pytest.approx(3 * 2 * 222.6e6 - first, rel=1e-3)


def test_a_gpu_has_a_file_for_each_precision() -> None:
    machine = {"gpu": "NVIDIA H200", "processor": "any", "threads": 8}
    assert machine_name(machine | {"precision": "bfloat16"}) == "nvidia-h200-bfloat16"
    assert machine_name(machine | {"precision": "float32"}) == "nvidia-h200-float32"


def test_a_machine_keeps_its_last_result(result: dict[str, Any], tmp_path: Path) -> None:
    first = keep(result, tmp_path)
    assert keep(result | {"ratio": 1.0}, tmp_path) == first
    assert [r["ratio"] for r in kept(tmp_path)] == [1.0]
    assert f"{result['ratio']:.2f} times the plain loop" in table(result)


def test_a_damaged_result_is_named(result: dict[str, Any], tmp_path: Path) -> None:
    path = keep(result, tmp_path)
    path.write_text(path.read_text()[:50])
    with pytest.raises(NinyError, match=path.name):
        kept(tmp_path)


def test_the_command_prints_one_object(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(AMOUNTS, "cpu", LITTLE)
    words = ["bench", "--scale", "smoke", "--device", "cpu"]
    assert main(words) == 0
    assert "not kept: a machine's rates are those of cifar10-nin at scale paper" in capsys.readouterr().out
    assert kept(project) == []
    monkeypatch.setattr(cli, "STANDARD", ("smoke", "cifar10-nin"))
    assert main([*words, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert {"plain_images_per_s", "images_per_s", "ratio", "ceiling_share"} <= set(shown)
    assert [r["ratio"] for r in kept(project)] == [shown["ratio"]]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--device", "tpu"], "unknown device 'tpu'"),
        (["--precision", "int4"], "unknown precision 'int4'"),
        (["--experiment", "resnet"], "resnet"),
        (["--scale", "galactic"], "galactic"),
    ],
)
def test_wrong_words_are_one_line(
    project: Path, arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *arguments]) == 1
    assert complaint in capsys.readouterr().err
    assert not kept(project)


def test_a_team_s_rates_are_held_against_those_of_one(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, recipe = params.run("smoke", "cifar10-nin"), replace(params.recipes[RECIPE], batch=1)
    one = scaling.team_rates(run, recipe, Compute(torch.device("cpu"), torch.float32))
    assert set(one) == {"cifar10-nin", "imagenet-nin"}
    assert one["cifar10-nin"] > one["imagenet-nin"] > 0  # a sliver on digits, and the whole at 224 pixels
    monkeypatch.setattr(scaling, "run_team", lambda number, *_: {name: 1.5 * number * r for name, r in one.items()})
    monkeypatch.setattr(scaling, "JPEGS", 4)
    found = scaling.measure(run, recipe, [2, 1], [], choose_compute("cpu"), lambda _: None)
    assert found["efficiency"]["2"] == pytest.approx({"cifar10-nin": 1.0, "imagenet-nin": 1.0})
    assert found["decoding"]["images_per_s"] > 0
    keep(found, tmp_path, scaling.FOLDER)
    assert [result["decoding"] for result in kept(tmp_path, scaling.FOLDER)] == [found["decoding"]]
    assert "100 %" in scaling.table(found)


def test_two_processes_are_measured_as_a_team(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By torchrun; two images a batch of ImageNet's network, one to each."""
    head, name, rest = (project / "params.yaml").read_text().partition(f"  {RECIPE}:")
    (project / "params.yaml").write_text(head + name + rest.replace("batch: 64", "batch: 2", 1))
    monkeypatch.setenv("PYTHONPATH", str(PACKAGE.parent))
    rates = scaling.run_team(2, 1, ["--scale", "smoke", "--device", "cpu", "--precision", "float32"])
    assert rates["cifar10-nin"] > rates["imagenet-nin"] > 0


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--processes", "2"], "name 1, which the others are held against"),
        (["--processes", "1", "1"], "each number once"),
        (["--processes", "0", "1"], "--processes 0: this machine has"),
        (["--processes", "1", "999"], "--processes 999: this machine has"),
        (["--processes", "1", "--inference"], "leave one out"),
    ],
)
def test_wrong_numbers_of_processes_are_one_line(
    project: Path, words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "--device", "cpu", *words]) == 1
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1


def test_float32_is_measured_where_it_is_asked_for(params: Params) -> None:
    exact = Compute(torch.device("cpu"), torch.float32)
    assert measure(params.run("smoke", "cifar10-nin"), exact, LITTLE)["machine"]["precision"] == "float32"
