"""How long work takes that is larger than what was tried: computed from what `niny bench` measured, for docs/scale.md.

    a run                  = training FLOPs an image x images x epochs / (images/s of CIFAR-10's network x its FLOPs)
    the study on G devices = max(all runs / G, the longest run)               runs are independent
    ImageNet on G devices  = images x epochs / (G x images/s x e^(log2 G))    e: measured efficiency of two

A device is whatever a benchmark was kept of. Nothing here is a measurement of more than that, and what is assumed is
called so.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from niny.benchmark.operations import image_flops, operations, run_flops
from niny.benchmark.results import kept, machine_name
from niny.benchmark.scaling import FOLDER as SCALING
from niny.config import Params
from niny.errors import NinyError
from niny.files import between, write_text
from niny.models import nin_imagenet, parameter_count
from niny.training.imagenet import RECIPE

PAGE = Path("docs", "scale.md")
BEGIN, END = "<!-- estimate: begin (niny estimate) -->", "<!-- estimate: end -->"
DEVICES = (1, 8, 64)
SEEDS = 20
SCALE = "paper"
IMAGENET_IMAGES, IMAGENET_BYTES, IMAGENET_EPOCHS = 1_281_167, 147_897_477_120, 90  # the archive of ILSVRC2012_img_train
AIM = 200_000.0  # images/s of CIFAR-10's network on one GPU: this project's aim, which nobody has measured
ASSUMED = "assumed, not measured: the aim for one GPU"


@dataclass(frozen=True)
class Device:
    """One unit of hardware, as a benchmark was kept of it."""

    name: str
    images_per_s: float  # of CIFAR-10's network in training
    imagenet_per_s: float | None = None  # None: taken by operations, at the same rate of them
    efficiency: float | None = None  # of two on ImageNet's network; None: not measured


@dataclass(frozen=True)
class Work:
    """What is to be done, in floating-point operations."""

    experiments: int
    runs: Sequence[float]  # of each run of the study
    cifar_flops: float  # of one image of training, CIFAR-10's network
    imagenet_flops: float  # likewise ImageNet's
    gradient_bytes: int  # of ImageNet's network
    batch: int  # the authors', on ImageNet


def work(params: Params) -> Work:
    """All runs of the paper's scale with SEEDS seeds each, and ImageNet's network."""
    names = [experiment.name for experiment in params.experiments_at(SCALE)]
    runs = [run_flops(params.run(SCALE, name)) for name in names]
    recipe, cifar = params.recipes[RECIPE], image_flops(params.run(SCALE, "cifar10-nin"))
    with torch.device("meta"):
        net = nin_imagenet()
        imagenet = operations(net, torch.empty(2, 3, 224, 224), recipe)
    return Work(len(names), runs * SEEDS, cifar, imagenet, 4 * parameter_count(net), recipe.batch)


def study_seconds(work: Work, device: Device, number: int) -> float:
    """Of all runs on so many devices: they divide the whole, and it does not end before its longest run."""
    rate = device.images_per_s * work.cifar_flops
    return max(sum(work.runs) / number, max(work.runs)) / rate


def imagenet_rate(work: Work, device: Device, number: int) -> float:
    """Images/s of so many devices: what two lose is lost again at every doubling, nothing where it was not measured."""
    one = device.imagenet_per_s or device.images_per_s * work.cifar_flops / work.imagenet_flops
    return float(one * number * (device.efficiency or 1.0) ** math.log2(number))


def imagenet_seconds(work: Work, device: Device, number: int) -> float:
    return IMAGENET_IMAGES * IMAGENET_EPOCHS / imagenet_rate(work, device, number)


def devices(root: Path) -> list[Device]:
    """What was measured here, and the aim as an assumption."""
    found = [
        Device(machine_name(result["machine"]), result["images_per_s"])
        for result in kept(root)
        if result["experiment"] == "cifar10-nin"
    ]
    found += [one_process(result) for result in kept(root, SCALING) if result["experiment"] == "cifar10-nin"]
    return [*found, Device(ASSUMED, AIM)]


def one_process(result: Mapping[str, Any]) -> Device:
    """A share of a machine: one process with its threads or its GPU."""
    rates, efficiency = result["images_per_s"]["1"], result["efficiency"].get("2", {}).get("imagenet-nin")
    name = f"one process ({result['threads_each']} threads) of {machine_name(result['machine'])}"
    return Device(name, rates["cifar10-nin"], rates["imagenet-nin"], efficiency)


def estimate_text(params: Params, root: Path) -> str:
    """The part of docs/scale.md between its markers."""
    todo, found = work(params), devices(root)
    gpus = [result["machine"]["gpu"] for result in [*kept(root), *kept(root, SCALING)] if result["machine"]["gpu"]]
    said = f"GPUs measured: {', '.join(sorted(set(gpus)))}." if gpus else "**No GPU benchmarked.**"
    total, longest = sum(todo.runs), max(todo.runs)
    parts = [
        f"{said} Rows named after a machine use what was measured on it; what else was measured of a GPU is in "
        f"[NOTES.md](../benchmarks/NOTES.md). The row `{ASSUMED}` takes {AIM:,.0f} images/s of CIFAR-10's network, "
        "this project's aim, which nobody has measured, as if it had been.",
        f"**A larger study**: {todo.experiments} experiments x {SEEDS} seeds (the scale `paper` has "
        f"{params.scale('paper').seeds}) = {len(todo.runs)} runs at full length; "
        f"{total:.2e} operations in all, {longest:.2e} in the longest.",
        markdown("CIFAR-10 images/s", found, lambda d: f"{d.images_per_s:,.0f}", partial(study_seconds, todo)),
        f"**ImageNet**: {IMAGENET_IMAGES:,} images x {IMAGENET_EPOCHS} epochs, {todo.imagenet_flops:.2e} operations an "
        f"image (CIFAR-10's network: {todo.cifar_flops:.2e}).",
        markdown("images/s of one", found, lambda d: imagenet_told(todo, d), partial(imagenet_seconds, todo)),
        f"**What ImageNet asks of everything else**, at {DEVICES[-1]} devices:",
        needs(todo, found, decoding_rate(root)),
    ]
    return "\n\n".join(parts)


def imagenet_told(todo: Work, device: Device) -> str:
    told = f"{imagenet_rate(todo, device, 1):,.1f}"
    return told if device.imagenet_per_s else f"{told} (by operations)"


def markdown(
    what: str, found: Sequence[Device], tell: Callable[[Device], str], took: Callable[[Device, int], float]
) -> str:
    rows = [["device", what, *(f"{number} of them" for number in DEVICES)], ["---", *["--:"] * (1 + len(DEVICES))]]
    rows += [[d.name, tell(d), *(duration(took(d, number)) for number in DEVICES)] for d in found]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def needs(todo: Work, found: Sequence[Device], decoded: float | None) -> str:
    """Decoding, reading, traffic of gradients (each device sends and receives 2 (G - 1) / G of them an update)."""
    number = DEVICES[-1]
    header = [
        "device",
        "images/s",
        "decoding processes",
        "read MB/s",
        "gradients MB/s a device",
        "images of a batch each",
    ]
    rows = [header, ["---", *["--:"] * (len(header) - 1)]]
    for device in found:
        rate = imagenet_rate(todo, device, number)
        traffic = rate / todo.batch * 2 * todo.gradient_bytes * (number - 1) / number
        processes = f"{math.ceil(rate / decoded):,}" if decoded else "not measured"
        read = rate * IMAGENET_BYTES / IMAGENET_IMAGES
        cells = [f"{rate:,.0f}", processes, f"{read / 1e6:,.1f}", f"{traffic / 1e6:,.0f}", f"{todo.batch / number:g}"]
        rows.append([device.name, *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def decoding_rate(root: Path) -> float | None:
    """JPEGs/s of one process, the best that was measured."""
    return max((result["decoding"]["images_per_s"] for result in kept(root, SCALING)), default=None)


def duration(seconds: float) -> str:
    for unit, size in (("years", 365.25 * 86_400), ("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.3g} {unit}"
    return f"{seconds:.0f} s"


def write_estimate(params: Params, root: Path) -> Path:
    """Bring docs/scale.md up to date with what was measured. Raises NinyError where it has lost its markers."""
    path = root / PAGE
    text = between(path.read_text(encoding="utf-8"), BEGIN, END, estimate_text(params, root))
    if text is None:
        raise NinyError(f"{PAGE} has no place for the estimate: put the lines {BEGIN} and {END} where they belong")
    write_text(path, text)
    return path
