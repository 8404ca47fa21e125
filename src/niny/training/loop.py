"""The training loop (paper section 4.1): minibatches of 128, SGD with momentum, the learning rate divided twice.

The whole data set lies on the device, preprocessed once; nothing is read back to the host within an epoch.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from niny.config import Recipe
from niny.data.augment import translate_and_flip
from niny.models import Network
from niny.training.device import Compute
from niny.training.optimiser import learning_rate, set_rate
from niny.training.processes import part, summed
from niny.training.seeds import Seeds
from niny.training.update import Update

EVALUATED = {"cpu": 100, "cuda": 2000}  # images at a time: what fits in a cache, what fills a GPU
VANISHED = 1e-30  # far below what makes a difference in float32, far above its denormals, which begin at 1e-38
FILE_BLOCK = 10_000  # the authors' batch files: consecutive slices within each, the last one of each smaller


@dataclass(frozen=True)
class TrainingData:
    """Preprocessed images N x C x H x W and labels N on the device; test images in float32, for the final error.

    Training images that a scale holds out stand in for them in the precision that all training images are kept in.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


@dataclass(frozen=True)
class EpochResult:
    """Means over one epoch of training, masks on."""

    lr: float
    loss: float
    error: float  # per cent


@dataclass(frozen=True)
class Evaluation:
    """What a network says about a set of images, masks off."""

    error: float  # per cent
    predicted: Tensor  # N


def batches(count: int, recipe: Recipe, seed: int, device: torch.device) -> Iterator[Tensor]:
    """Index tensors of one epoch: every image once, in file order as the authors did, or reshuffled."""
    if recipe.order == "shuffled":
        generator = torch.Generator(device).manual_seed(seed)
        yield from torch.randperm(count, generator=generator, device=device).split(recipe.batch)
    else:
        for block in torch.arange(count, device=device).split(FILE_BLOCK):
            yield from block.split(recipe.batch)


def steps_per_epoch(count: int, recipe: Recipe) -> int:
    blocks = [count] if recipe.order == "shuffled" else [FILE_BLOCK] * (count // FILE_BLOCK) + [count % FILE_BLOCK]
    return sum(math.ceil(block / recipe.batch) for block in blocks)


def train_epoch(
    update: Update, data: TrainingData, recipe: Recipe, epoch: int, seeds: Seeds, augment: bool
) -> EpochResult:
    """One pass over the training images; `epoch` counts from 0."""
    device, count = data.train_images.device, len(data.train_labels)
    update.net.train()
    update.totals.zero_()
    torch.manual_seed(seeds.of("masks", epoch))
    crops = torch.Generator(device).manual_seed(seeds.of("augmentation", epoch))
    steps, lr = steps_per_epoch(count, recipe), math.nan
    for step, index in enumerate(batches(count, recipe, seeds.of("order", epoch), device), epoch * steps):
        images, labels = data.train_images[index], data.train_labels[index]
        if augment:
            images = translate_and_flip(images, 4, crops)
        if (rate := learning_rate(recipe, step, steps)) != lr:  # to set it costs a GPU launches of their own
            set_rate(update.optimiser, lr := rate)
        update(images, labels)
    loss_sum, mistakes = update.sums()  # the only time that the host waits for the device
    drop_vanished(update.net)
    return EpochResult(lr, loss_sum / count, 100 * mistakes / count)


@torch.no_grad()
def drop_vanished(net: Network) -> None:
    """Set to zero what decay has left of the weights of filters that died.

    They shrink by a factor with every step, into float32's denormal numbers, with which a CPU computes tens of times
    more slowly.
    """
    for parameter in net.parameters():
        parameter.masked_fill_(parameter.abs() < VANISHED, 0)


@torch.no_grad()
def evaluate(net: Network, images: Tensor, labels: Tensor, compute: Compute) -> Evaluation:
    """Error and predictions on preprocessed images, masks off."""
    net.eval()
    with compute.autocast():
        predicted = torch.cat([net(part).argmax(1) for part in images.split(EVALUATED[compute.device.type])])
    wrong = (predicted != labels).sum().item()
    return Evaluation(100 * wrong / len(labels), predicted)


def evaluate_together(net: Network, images: Tensor, labels: Tensor, compute: Compute) -> Evaluation:
    """`evaluate` by all processes that train the network: each looks at its part, all get the whole."""
    mine, predicted = part(len(labels)), torch.zeros_like(labels)
    predicted[mine] = evaluate(net, images[mine], labels[mine], compute).predicted
    wrong = (summed(predicted) != labels).sum().item()
    return Evaluation(100 * wrong / len(labels), predicted)


@torch.no_grad()
def live_outputs(net: Network, images: Tensor, compute: Compute) -> tuple[float, int]:
    """Share of the logits above zero, and number of classes that no image has a logit above zero for.

    Under a last ReLU such a class is silent: these images send no gradient through its map.
    """
    net.eval()
    with compute.autocast():
        live = net(images) > 0
    return float(live.float().mean()), int((~live.any(0)).sum())


class Clock:
    """Seconds since it was made or last read, the device's queued work included."""

    def __init__(self, compute: Compute) -> None:
        self.compute = compute
        self.start = time.perf_counter()

    def lap(self) -> float:
        if self.compute.device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        seconds, self.start = now - self.start, now
        return seconds
