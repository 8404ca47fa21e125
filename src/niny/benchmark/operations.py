"""Floating-point operations of a training, counted by PyTorch on its device without memory: nothing is computed."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from niny.config import Recipe, Run
from niny.models import Network, build
from niny.training.update import loss_of

TRAIN_IMAGES = {"cifar10": 50_000, "cifar100": 50_000, "mnist": 60_000, "svhn": 73_257 + 531_131, "digits": 1_437}


def image_flops(run: Run) -> float:
    with torch.device("meta"):
        return operations(build(run), torch.empty(2, run.data.channels, run.data.size, run.data.size), run.recipe)


def operations(net: Network, images: torch.Tensor, recipe: Recipe) -> float:
    """Of one image's forward and backward pass."""
    labels = torch.zeros(len(images), dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        loss_of(net(images), labels, recipe).backward()
    return float(counter.get_total_flops() / len(images))


def run_flops(run: Run) -> float:
    """Of a whole training, looks at the test images left out."""
    images = TRAIN_IMAGES[run.data.name] - run.scale.holdout
    return image_flops(run) * images * run.experiment.subset * run.recipe.epochs
