"""One benchmark: rates in turns within one process, their ratio and share of the ceiling, and what else costs time."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from niny.benchmark import loops
from niny.benchmark.loops import EngineLoop, PlainLoop, seconds
from niny.benchmark.operations import image_flops
from niny.config import Run
from niny.data.preprocess import Preprocessor
from niny.maps import grids
from niny.maps.forward import class_maps
from niny.training.device import Compute, exact
from niny.training.loop import evaluate
from niny.training.record import describe_commit, describe_machine

RATE = 1e-3  # far from divergence: random labels teach nothing, and numbers that are none take longer to multiply

Say = Callable[[str], None]


@dataclass(frozen=True)
class Amount:
    """How many images each measurement takes."""

    plain: int
    engine: int
    rounds: int  # of plain and engine, in turns; medians are kept
    batches: tuple[int, ...]  # batch sizes to try
    zca: int
    grids: int


AMOUNTS = {
    "cpu": Amount(plain=384, engine=1280, rounds=5, batches=(16, 32, 64, 128, 256), zca=5_000, grids=500),
    "cuda": Amount(plain=6_400, engine=51_200, rounds=5, batches=(64, 128, 256, 512, 1024), zca=5_000, grids=500),
}


def measure(run: Run, compute: Compute, amount: Amount | None = None, say: Say = lambda _: None) -> dict[str, Any]:
    """All figures of `niny bench` for the network and recipe of `run`, on random images. Raises nothing of its own."""
    amount = amount or AMOUNTS[compute.device.type]
    run = replace(run, recipe=replace(run.recipe, lr=RATE))
    images, labels = random_images(run, max(amount.plain, 4 * amount.engine))
    say("the ceiling, the plain loop and the engine")
    result = rates(run, images, labels, compute, amount)
    say("the parts of an update")
    engine = EngineLoop(run, images[: amount.engine], labels[: amount.engine], compute)
    result["parts_us_per_image"] = {k: 1e6 * v for k, v in loops.part_seconds(engine, compute).items()}
    say("how time grows with the batch and with the number of images")
    result["images_per_s_by_batch"] = by_batch(run, images, labels, compute, amount)
    result["seconds_by_images"] = by_images(run, images, labels, compute, amount)
    say("whitening, evaluation and class maps")
    result["costs"] = costs(run, images, engine, compute, amount)
    machine = {"device": compute.device.type, **describe_machine(compute)}
    return result | {"experiment": run.experiment.name, "machine": machine, **describe_commit()}


def random_images(run: Run, count: int) -> tuple[Tensor, Tensor]:
    """uint8 images N x C x H x W and labels N: what is in them changes no speed, and a bare machine has them too."""
    generator = torch.Generator().manual_seed(0)
    shape = (count, run.data.channels, run.data.size, run.data.size)
    images = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
    return images, torch.randint(run.data.classes, (count,), generator=generator)


def rates(run: Run, images: Tensor, labels: Tensor, compute: Compute, amount: Amount) -> dict[str, Any]:
    """Images a second of both loops, in turns, the rate of matrix products, and how they compare."""
    plain = PlainLoop(run, images[: amount.plain], labels[: amount.plain], compute)
    engine = EngineLoop(run, images[: amount.engine], labels[: amount.engine], compute)
    for loop in (plain, engine):
        loop.epoch()  # warm-up: memory, choice of algorithms, compilation
    turns = [(warm_seconds(plain, compute), warm_seconds(engine, compute)) for _ in range(amount.rounds)]
    plain_rate = amount.plain / statistics.median(turn[0] for turn in turns)
    rate = amount.engine / statistics.median(turn[1] for turn in turns)
    most = loops.ceiling(compute)
    flops = image_flops(run)
    return {
        "plain_images_per_s": plain_rate,
        "images_per_s": rate,
        "ratio": rate / plain_rate,
        "ceiling_flops_per_s": most,
        "training_flops_per_image": flops,
        "ceiling_share": rate * flops / most,
        "rounds_images_per_s": [[amount.plain / p, amount.engine / e] for p, e in turns],
    }


def warm_seconds(loop: PlainLoop | EngineLoop, compute: Compute) -> float:
    """The time of an epoch in which the loop goes on from another of its own."""
    loop.prepare()
    return seconds(loop.epoch, compute)


def by_batch(run: Run, images: Tensor, labels: Tensor, compute: Compute, amount: Amount) -> dict[str, float]:
    """Images a second of the engine at other batch sizes."""
    rates = {}
    for batch in amount.batches:
        sized = replace(run, recipe=replace(run.recipe, batch=batch))
        engine = EngineLoop(sized, images[: amount.engine], labels[: amount.engine], compute)
        engine.epoch()
        rates[str(batch)] = amount.engine / seconds(engine.epoch, compute)
    return rates


def by_images(run: Run, images: Tensor, labels: Tensor, compute: Compute, amount: Amount) -> dict[str, float]:
    """Seconds of an epoch over one, two and four times as many images."""
    took: dict[str, float] = {}
    for count in (amount.engine, 2 * amount.engine, 4 * amount.engine):
        engine = EngineLoop(run, images[:count], labels[:count], compute)
        engine.epoch()
        took[str(count)] = seconds(engine.epoch, compute)
    return took


def costs(run: Run, images: Tensor, engine: EngineLoop, compute: Compute, amount: Amount) -> dict[str, float | None]:
    """Seconds of what stands around training."""
    net, placed, labels = engine.update.net, engine.data.train_images, engine.data.train_labels
    raw, made = images[: amount.zca].numpy(), list[Preprocessor]()
    cells = grids.sample_grids(labels, 3, amount.grids, 0)
    canvases = grids.assemble(placed[cells].float())
    return {
        "preprocessing_images": len(raw),
        "preprocessing_fit_s": seconds(lambda: made.append(Preprocessor.fit(raw, run.data)), compute),
        "preprocessing_apply_s": seconds(lambda: made[0].apply(raw), compute),
        "evaluation_images": len(placed),
        "evaluation_s": seconds(lambda: evaluate(net, placed, labels, compute), compute),
        "final_evaluation_s": seconds(lambda: evaluate(net, placed.float(), labels, exact(compute)), compute),
        "grids_3x3": amount.grids,
        "grids_3x3_s": seconds(lambda: class_maps(net, canvases), compute),
    }
