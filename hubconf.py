"""Entry points for torch.hub: torch.hub.load(".", "nin_cifar10", source="local", trust_repo=True).

`weights` is "DEFAULT" (those this repository keeps for the data set), another name of `niny.models.list_weights()`, or
None for an untrained network. What is returned is the network, in evaluation mode where it is trained; images must be
prepared as `niny.models.get_weight(name).transforms()` does. `nin_imagenet` takes a file: none is kept here.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "src"))  # the package need not be installed

from niny import models

dependencies = ["torch", "numpy"]


def nin_cifar10(weights: str | None = "DEFAULT", **options: Any) -> models.Network:
    """NIN for CIFAR-10: N x 3 x 32 x 32 -> N x 10 logits; `.class_maps(x)` gives N x 10 x 8 x 8."""
    return models.nin_cifar(weights=_name(weights, "cifar10-nin"), **options)


def nin_cifar100(weights: str | None = "DEFAULT", **options: Any) -> models.Network:
    """NIN for CIFAR-100: N x 3 x 32 x 32 -> N x 100 logits."""
    return models.nin_cifar(100, weights=_name(weights, "cifar100-nin"), **options)


def nin_svhn(weights: str | None = "DEFAULT", **options: Any) -> models.Network:
    """NIN for SVHN: N x 3 x 32 x 32 -> N x 10 logits."""
    return models.nin_svhn(weights=_name(weights, "svhn-nin"), **options)


def nin_mnist(weights: str | None = "DEFAULT", **options: Any) -> models.Network:
    """NIN for MNIST: N x 1 x 28 x 28 -> N x 10 logits."""
    return models.nin_mnist(weights=_name(weights, "mnist-nin"), **options)


def nin_imagenet(weights: str | None = None, **options: Any) -> models.Network:
    """The authors' ImageNet NIN: N x 3 x 224 x 224 -> N x 1000 logits; `weights` is a file."""
    return models.nin_imagenet(weights=weights, **options)


def _name(weights: str | None, default: str) -> str | None:
    return default if weights == "DEFAULT" else weights
