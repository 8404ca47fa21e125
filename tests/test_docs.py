"""The recipes for clusters are well formed, and both pages say what was measured and what the formulas give."""

import json
import math
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import ROOT
from test_processes import ALIKE

from niny.benchmark.estimate import (
    AIM,
    DEVICES,
    IMAGENET_BYTES,
    PAGE,
    Device,
    Work,
    devices,
    duration,
    estimate_text,
    imagenet_seconds,
    one_process,
    study_seconds,
    work,
    write_estimate,
)
from niny.benchmark.operations import operations
from niny.cli import make_parser
from niny.config import Params
from niny.errors import NinyError
from niny.files import write_json
from niny.models import nin_cifar

DOCS = ROOT / "docs"


def kuberay() -> dict[str, Any]:
    return {part["kind"]: part for part in yaml.safe_load_all((DOCS / "kuberay.yaml").read_text())}


def campaign_words(text: str) -> list[str]:
    """The words of the first `niny campaign` in a text, without the shell's own."""
    line = text.replace("\\\n", " ").partition("niny campaign ")[2].splitlines()[0]
    return ["campaign", *line.replace('"$@"', "").replace('"', "").replace(" &", "").split()]


def test_the_slurm_recipe_is_a_script_and_starts_a_campaign_that_niny_knows() -> None:
    subprocess.run(["bash", "-n", DOCS / "slurm.sh"], check=True, capture_output=True)
    text = (DOCS / "slurm.sh").read_text()
    options = make_parser().parse_args(campaign_words(text.partition("set -euo")[2]))
    assert (options.ray, options.gpus_per_run, options.cpus_per_run) == ("$address:$port", 0.5, 2)
    settings = [line.split()[1].partition("=")[0] for line in text.splitlines() if line.startswith("#SBATCH")]
    assert {"--ntasks-per-node", "--cpus-per-task", "--gpus-per-node", "--time", "--signal"} <= set(settings)


def test_the_kuberay_recipe_has_the_kinds_and_fields_of_a_job() -> None:
    found = kuberay()
    assert set(found) == {"RayJob", "PersistentVolumeClaim"}
    job = found["RayJob"]
    assert job["apiVersion"] == "ray.io/v1"
    options = make_parser().parse_args(campaign_words(job["spec"]["entrypoint"]))
    assert (options.ray, options.ship) == ("auto", True)
    cluster = job["spec"]["rayClusterSpec"]
    assert f"ray=={cluster['rayVersion']}" in (ROOT / "constraints.txt").read_text()
    head, (workers,) = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    assert 1 <= workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    for group in (head, workers):
        (container,) = group["template"]["spec"]["containers"]
        assert container["image"] == "IMAGE"
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    (volume,) = head["template"]["spec"]["volumes"]
    claim = volume["persistentVolumeClaim"]["claimName"]
    assert claim == found["PersistentVolumeClaim"]["metadata"]["name"]
    mounts = head["template"]["spec"]["containers"][0]["volumeMounts"]
    assert [mount["name"] for mount in mounts] == [volume["name"]]


SMALL = Work(1, [4.0, 1.0, 1.0], cifar_flops=1.0, imagenet_flops=5.0, gradient_bytes=8, batch=64)


def test_runs_divide_until_the_longest_one_bounds_them() -> None:
    device = Device("one", images_per_s=2.0)
    assert study_seconds(SMALL, device, 1) == 3.0
    assert study_seconds(SMALL, device, 8) == study_seconds(SMALL, device, 64) == 2.0


def test_imagenet_takes_measured_rates_before_operations_and_loses_at_every_doubling() -> None:
    by_operations = imagenet_seconds(SMALL, Device("one", 100.0), 1)
    assert by_operations == pytest.approx(1_281_167 * 90 / 20)
    device = Device("one", 100.0, imagenet_per_s=10.0, efficiency=0.9)
    assert imagenet_seconds(SMALL, device, 1) == pytest.approx(2 * by_operations)
    assert imagenet_seconds(SMALL, device, 8) == pytest.approx(2 * by_operations / 8 / 0.9**3)


def test_the_page_says_what_was_measured_and_names_what_is_assumed(params: Params, tmp_path: Path) -> None:
    text = estimate_text(params, ROOT)
    assert (ROOT / PAGE).read_text().count(text) == 1, "run niny estimate"
    assert "assumed, not measured" in text
    assert ("No GPU benchmarked" in text) == all("nvidia" not in device.name for device in devices(ROOT))
    assert devices(tmp_path) == [Device("assumed, not measured: the aim for one GPU", AIM)]
    todo = work(params)
    run = params.run("paper", "cifar10-nin")
    plain = operations(nin_cifar(), torch.randn(1, 3, 32, 32), run.recipe)
    assert todo.cifar_flops == pytest.approx(plain)
    assert todo.runs[0] == pytest.approx(plain * 50_000 * 260)
    assert len(todo.runs) == 20 * len(params.experiments_at("paper"))
    (tmp_path / "docs").mkdir()
    (tmp_path / PAGE).write_text("no markers")
    with pytest.raises(NinyError, match="no place for the estimate"):
        write_estimate(params, tmp_path)


def test_the_prose_about_scale_has_the_figures_of_the_formulas(params: Params) -> None:
    prose = flowing((ROOT / PAGE).read_text().partition("## What gives way first")[2])
    todo, most = work(params), DEVICES[-1]
    assert f"{most} devices are {most} times as quick as one until" in prose
    assert f"its batch of {params.run('paper', 'cifar10-nin').recipe.batch} is soon too small" in prose
    assert todo.batch == most
    assert f"the batch of {todo.batch}**: it leaves one image to each of {most} devices" in prose
    assert f"network card's {100e9 / 8 / 1e6:,.0f} (100 Gbit/s)" in prose
    assert f"{todo.batch} images to each of {most} devices are a batch of {todo.batch * most:,}" in prose
    assert f"{IMAGENET_BYTES / 1e9:.0f} GB fit" in prose


def test_the_page_about_clusters_tells_the_trial_on_photographs_as_it_was_recorded() -> None:
    trial = json.loads((ROOT / "results" / "benchmarks" / "imagenet" / "tiny-imagenet.json").read_text())
    assert trial["changed"] is False
    history, classes = trial["history"], len(trial["classes"])
    each, judged = (trial[f"{split}_images"] // classes for split in ("train", "val"))
    losses = ", ".join(f"{row['train_loss']:.3f}" for row in history)
    page = flowing((DOCS / "cluster.md").read_text())
    for told in (
        f"for {sum(row['updates'] for row in history)} updates at {trial['pixels']} pixels",
        f"of each of the {classes} classes the first {each} by name to learn from ({trial['train_images']:,}), "
        f"the other {judged} to be judged by ({trial['val_images']:,})",
        f"ln {classes} = {math.log(classes):.3f}, and the three epochs had {losses}; "
        f"of the {trial['val_images']:,} images, {history[-1]['val_error']:.2f} % were judged wrongly",
    ):
        assert told in page
    assert len(history) == 3


def test_the_page_about_clusters_says_how_near_two_processes_are_held_to_one() -> None:
    page = flowing((DOCS / "cluster.md").read_text())
    (updates, near), (many, nearer) = ALIKE["float32"], ALIKE["float64"]
    assert f"every loss of {many} updates, and curves and weights of a whole run, are the same bits" in page
    assert f"the losses of the first {updates} updates are within {near:.0e}, relative" in page
    assert f"in float64: within {nearer:.0e} over all {many}" in page


def flowing(text: str) -> str:
    """Without line ends."""
    return " ".join(text.split())


def test_a_measured_gpu_is_named(params: Params, tmp_path: Path) -> None:
    machine = {"gpu": "NVIDIA Test", "processor": "CPU", "threads": 2, "precision": "bfloat16"}
    result = {"experiment": "cifar10-nin", "images_per_s": 1e5, "machine": machine}
    write_json(tmp_path / "results" / "benchmarks" / "nvidia-test.json", result)
    assert "GPUs measured: NVIDIA Test." in estimate_text(params, tmp_path)


def test_one_process_of_a_machine_is_a_device() -> None:
    machine = {"gpu": None, "processor": "CPU", "threads": 2, "precision": "bfloat16"}
    rates = {"1": {"cifar10-nin": 100.0, "imagenet-nin": 20.0}}
    scaled = {"threads_each": 1, "machine": machine, "images_per_s": rates, "efficiency": {"1": {"imagenet-nin": 1.0}}}
    device = one_process(scaled)
    assert device == Device("one process (1 threads) of cpu-2-threads-bfloat16", 100.0, 20.0, None)
    assert one_process(scaled | {"efficiency": {"2": {"imagenet-nin": 0.8}}}) == replace(device, efficiency=0.8)


@pytest.mark.parametrize(("seconds", "text"), [(30, "30 s"), (600, "10 min"), (86_400, "24 h"), (1e9, "31.7 years")])
def test_durations_are_readable(seconds: float, text: str) -> None:
    assert duration(seconds) == text
