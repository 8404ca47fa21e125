"""What several processes (torchrun) gain on one network, and how quickly images come in: `niny bench --processes 1 2`.

The batch of the recipe is shared, as `niny train` does it, so more processes have less each. Every process has as many
threads, whatever their number: the rate of one is that of one share of the machine. Images are random; ImageNet's
network is measured too, and one process's rate of decoding and cropping JPEGs of ImageNet's usual size.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from niny.benchmark.bench import RATE, random_images
from niny.benchmark.loops import EngineLoop, seconds
from niny.benchmark.results import machine_name
from niny.config import Recipe, Run
from niny.errors import NinyError
from niny.models import Network
from niny.training.device import Compute
from niny.training.imagenet import Streamed, fresh_network
from niny.training.optimiser import make_optimiser, set_rate
from niny.training.processes import agreed, part, size
from niny.training.record import describe_commit, describe_machine
from niny.training.seeds import Seeds
from niny.training.update import make_update

FOLDER = Path("results", "benchmarks", "scaling")
UPDATES = {"cpu": 8, "cuda": 200}  # of each network, after one for a warm-up
IMAGENET_UPDATES = {"cpu": 2, "cuda": 50}
JPEG = (500, 375)  # pixels of ImageNet's usual image
JPEGS = 48

Say = Callable[[str], None]


def check_processes(numbers: Sequence[int], compute: Compute) -> None:
    """Raises NinyError for numbers that this machine cannot serve, or that leave out the one to compare with."""
    there = torch.cuda.device_count() if compute.device.type == "cuda" else os.cpu_count() or 1
    kind = "GPUs" if compute.device.type == "cuda" else "cores"
    if wrong := [number for number in numbers if not 1 <= number <= there]:
        raise NinyError(f"--processes {wrong[0]}: this machine has {there} {kind}: from 1 to {there}")
    if 1 not in numbers or len(set(numbers)) < len(numbers):
        raise NinyError("--processes: name 1, which the others are held against, and each number once")


def measure(
    run: Run, recipe: Recipe, numbers: Sequence[int], words: Sequence[str], compute: Compute, say: Say
) -> dict[str, Any]:
    """Images/s of both networks for each number of processes, and how near the rates are to so many times that of one.

    `recipe` is ImageNet's, `words` choose the same network and compute on the command line. Raises NinyError where a
    process fails.
    """
    threads = max(1, torch.get_num_threads() // max(numbers)) if compute.device.type == "cpu" else 1
    rates: dict[str, dict[str, float]] = {}
    for number in sorted(numbers):
        say(f"{number} process{'es' if number > 1 else ''}, {threads} of the CPU's threads each")
        rates[str(number)] = run_team(number, threads, words)
    say("decoding")
    return {
        "experiment": run.experiment.name,
        "batch": {run.experiment.name: run.recipe.batch, "imagenet-nin": recipe.batch},
        "threads_each": threads,
        "images_per_s": rates,
        "efficiency": {
            number: {name: rate / (int(number) * rates["1"][name]) for name, rate in found.items()}
            for number, found in rates.items()
        },
        "decoding": decoding(),
        "machine": {"device": compute.device.type, **describe_machine(compute)},
        **describe_commit(),
    }


def run_team(number: int, threads: int, words: Sequence[str]) -> dict[str, float]:
    """Let torchrun start so many processes of `niny bench --team`, and read what the first one wrote."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rates.json")
        starter = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(number)]
        command = [*starter, "-m", "niny", "bench", "--team", str(path), *words]
        variables = os.environ | {"OMP_NUM_THREADS": str(threads)}
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        if done.returncode:
            told = [line for line in done.stderr.splitlines() if line.startswith("niny: ")] or ["it said nothing clear"]
            raise NinyError(f"{number} processes: {told[0].removeprefix('niny: ')}")
        rates: dict[str, float] = json.loads(path.read_text())
        return rates


def team_rates(run: Run, recipe: Recipe, compute: Compute) -> dict[str, float]:
    """Within each process of a team: images/s of the experiment's network and of ImageNet's, by all together."""
    kind = compute.device.type
    count = UPDATES[kind] * run.recipe.batch
    images, labels = random_images(run, count)
    engine = EngineLoop(replace(run, recipe=replace(run.recipe, lr=RATE)), images, labels, compute)
    engine.epoch()
    rates = {run.experiment.name: count / seconds(engine.epoch, compute)}
    rates["imagenet-nin"] = imagenet_rate(fresh_network(1000, recipe, compute, Seeds(0, 0)), recipe, compute)
    return agreed(rates)


def imagenet_rate(net: Network, recipe: Recipe, compute: Compute) -> float:
    """Images/s of updates on random images that are on the device already."""
    mine = len(range(recipe.batch)[part(recipe.batch)])
    images = compute.place(torch.randn(mine, 3, 224, 224))
    labels = torch.randint(1000, (mine,)).to(compute.device)
    update = make_update(net.train(), make_optimiser(net, recipe), recipe, compute)
    set_rate(update.optimiser, RATE)

    def steps(number: int) -> None:
        for _ in range(number):
            if size() > 1:
                update.learn(images, labels, mine * size() / recipe.batch)
            else:
                update(images, labels)

    steps(1)
    number = IMAGENET_UPDATES[compute.device.type]
    return number * recipe.batch / seconds(partial(steps, number), compute)


def decoding() -> dict[str, Any]:
    """Images/s of one process that reads, scales and crops JPEGs: smooth random pictures, at ImageNet's usual size."""
    from torchvision.io import write_jpeg

    draws = torch.Generator().manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        for split in ("train", "val"):
            home = Path(folder, split, "class")
            home.mkdir(parents=True)
            for i in range(JPEGS if split == "train" else 1):
                coarse = torch.rand(1, 3, 47, 63, generator=draws)
                picture = F.interpolate(coarse, size=JPEG[::-1], mode="bicubic").clamp(0, 1)[0]
                write_jpeg((255 * picture).to(torch.uint8), str(home / f"{i}.jpg"), quality=90)
        images, _ = Streamed(Path(folder)).sets()
        took = seconds(lambda: [images[i] for i in range(JPEGS)], Compute(torch.device("cpu"), torch.float32))
        size_of = sum(Path(path).stat().st_size for path, _ in images.samples) / JPEGS
    return {"images_per_s": JPEGS / took, "pixels": list(JPEG), "bytes_per_image": size_of}


def table(result: dict[str, Any]) -> str:
    names = list(result["batch"])
    lines = [f"images/s on {machine_name(result['machine'])}", f"processes  {'  '.join(f'{n:>20}' for n in names)}"]
    for number, rates in result["images_per_s"].items():
        cells = (f"{rates[name]:12,.1f} {100 * result['efficiency'][number][name]:5.0f} %" for name in names)
        lines.append(f"{number:>9}  {'  '.join(f'{cell:>20}' for cell in cells)}")
    decoded = result["decoding"]
    return "\n".join([*lines, f"one process decodes and crops {decoded['images_per_s']:,.0f} JPEGs/s"])
