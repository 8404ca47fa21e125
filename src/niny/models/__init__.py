"""Networks by name, untrained: `nin_cifar()` and its kin, and `build(run)` for an experiment of params.yaml."""

from dataclasses import replace
from typing import Any

from niny.config import Run
from niny.models.baselines import build_cnn, build_linear, build_maxout
from niny.models.network import Network, initialise, parameter_count
from niny.models.nin import CIFAR, MNIST, SVHN, Options, build_imagenet, build_nin

__all__ = [
    "Network",
    "Options",
    "build",
    "cnn",
    "initialise",
    "linear_cifar",
    "maxout",
    "nin_cifar",
    "nin_imagenet",
    "nin_mnist",
    "nin_svhn",
    "parameter_count",
]


def nin_cifar(**options: Any) -> Network:
    """NIN for CIFAR-10 and CIFAR-100: N x 3 x 32 x 32 -> N x classes; 966,986 parameters for ten classes."""
    return build_nin(CIFAR, Options(**options))


def nin_svhn(**options: Any) -> Network:
    """NIN for SVHN: N x 3 x 32 x 32 -> N x 10; 1,986,026 parameters."""
    return build_nin(SVHN, Options(**options))


def nin_mnist(**options: Any) -> Network:
    """NIN for MNIST: N x 1 x 28 x 28 -> N x 10; 349,674 parameters."""
    return build_nin(MNIST, replace(Options(channels=1, size=28), **options))


def nin_imagenet(**options: Any) -> Network:
    """The authors' ImageNet NIN: N x 3 x 227 x 227 -> N x 1000."""
    return build_imagenet(replace(Options(classes=1000, size=227), **options))


def linear_cifar(**options: Any) -> Network:
    """NIN with linear convolutions in place of mlpconv."""
    return build_linear(Options(**options))


def cnn(**options: Any) -> Network:
    """Section 4.6's conventional CNN; its local layer works at the size it was built for only."""
    return build_cnn(Options(**options))


def maxout(**options: Any) -> Network:
    """Conv maxout + dropout, the rival of Table 1."""
    return build_maxout(Options(**options))


BUILDERS = {
    "nin_cifar": nin_cifar,
    "nin_svhn": nin_svhn,
    "nin_mnist": nin_mnist,
    "linear_cifar": linear_cifar,
    "cnn": cnn,
    "maxout": maxout,
}


def build(run: Run) -> Network:
    """The untrained network of a run, in the run's width and for its data; weights as PyTorch leaves them."""
    e = run.experiment
    return BUILDERS[e.net](
        classes=run.data.classes,
        channels=run.data.channels,
        size=run.data.size,
        width=run.scale.width,
        head=e.head,
        dropout=e.dropout,
        inverted_dropout=run.recipe.inverted_dropout,
        pool2=e.pool2,
        final_relu=e.final_relu,
        batch_norm=e.batch_norm,
    )
