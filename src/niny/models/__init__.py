"""Networks by name, untrained or with weights: `nin_cifar()` and its kin, and `build(run)` for an experiment.

Calls follow torchvision's: `nin_cifar(num_classes=10, weights="cifar10-nin")`, `list_models()`, `list_weights()`,
`get_weight(name)`, `get_model_weights(model)`, and enums `NIN_CIFAR_Weights`, `NIN_SVHN_Weights`, `NIN_MNIST_Weights`,
whose members may be given by name too: `nin_cifar(weights="DEFAULT")`.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from niny.config import Run, home, load_params, pick
from niny.errors import NinyError
from niny.models.baselines import build_cnn, build_linear, build_maxout
from niny.models.loading import by_layer, fill, load_file
from niny.models.network import Network, initialise, parameter_count
from niny.models.nin import CIFAR, MNIST, SVHN, Options, build_imagenet, build_nin
from niny.models.registry import Weights, WeightsEnum, get_model_weights, get_weight, list_weights
from niny.models.variants import nin_cifar_variant, own_state, variant_state

__all__ = [
    "Network",
    "Options",
    "Weights",
    "build",
    "cnn",
    "get_model",
    "get_model_weights",
    "get_weight",
    "initialise",
    "linear_cifar",
    "list_models",
    "list_weights",
    "load_file",
    "maxout",
    "nin_cifar",
    "nin_cifar_variant",
    "nin_imagenet",
    "nin_mnist",
    "nin_svhn",
    "own_state",
    "parameter_count",
    "trained",
    "variant_state",
]

Choice = Weights | WeightsEnum | str | None
IMAGENET_OPTIONS = {"channels", "final_relu", "inverted_dropout"}


def nin_cifar(num_classes: int | None = None, *, weights: Choice = None, **options: Any) -> Network:
    """NIN for CIFAR-10 and CIFAR-100: N x 3 x 32 x 32 -> N x classes (10); 966,986 parameters for ten classes.

    `weights` is a name of `list_weights()` ("cifar10-nin") or a member of `NIN_CIFAR_Weights`: the network is then the
    one of that experiment, in evaluation mode, and input must be prepared by the weights' `.transforms()`. `options`
    are the fields of `Options`. Raises NinyError for weights of another network, and for a name without weights.
    """
    if weights is not None:
        return _trained("nin_cifar", weights, num_classes, options)
    return build_nin(CIFAR, Options(_ten(num_classes), **options))


def nin_svhn(num_classes: int | None = None, *, weights: Choice = None, **options: Any) -> Network:
    """NIN for SVHN: N x 3 x 32 x 32 -> N x 10; 1,986,026 parameters. `weights` as for `nin_cifar`."""
    if weights is not None:
        return _trained("nin_svhn", weights, num_classes, options)
    return build_nin(SVHN, Options(_ten(num_classes), **options))


def nin_mnist(num_classes: int | None = None, *, weights: Choice = None, **options: Any) -> Network:
    """NIN for MNIST: N x 1 x 28 x 28 -> N x 10; 349,674 parameters. `weights` as for `nin_cifar`."""
    if weights is not None:
        return _trained("nin_mnist", weights, num_classes, options)
    return build_nin(MNIST, replace(Options(_ten(num_classes), channels=1, size=28), **options))


def _ten(num_classes: int | None) -> int:
    return 10 if num_classes is None else num_classes


def nin_imagenet(num_classes: int = 1000, *, weights: str | Path | None = None, **options: Any) -> Network:
    """The authors' ImageNet NIN: N x 3 x 224 x 224 -> N x 1000; 7,595,176 parameters.

    `weights` is a file (.caffemodel, .params, .pth, .safetensors); none are kept here. `options` are `channels`,
    `final_relu` and `inverted_dropout`. Raises NinyError for a file that does not fit, and for another option.
    """
    if others := sorted(set(options) - IMAGENET_OPTIONS):
        raise NinyError(f"{others[0]}: the ImageNet network has {', '.join(sorted(IMAGENET_OPTIONS))} to choose")
    if not isinstance(weights, str | Path | None):
        raise NinyError(f"weights={weights}: the ImageNet network takes a file; none are kept here")
    net = build_imagenet(replace(Options(num_classes, size=224), **options))
    if weights is not None:
        load_file(net, Path(weights))
        net.eval()
    return net


def _trained(builder: str, weights: Weights | WeightsEnum | str, num_classes: int | None, options: Any) -> Network:
    if options:
        raise NinyError(f"{', '.join(options)}: weights decide what the network is; leave this out, or the weights")
    kept = weights if isinstance(weights, Weights) else get_weight(_name(builder, weights))
    run = load_params(home()).run(kept.meta["scale"], kept.name)
    if run.experiment.net != builder:
        raise NinyError(f"{kept.name} are weights of {run.experiment.net}, not of {builder}")
    if num_classes not in (None, run.data.classes):
        raise NinyError(f"{kept.name} tells {run.data.classes} classes apart: num_classes={num_classes} does not fit")
    return trained(kept)


def _name(builder: str, weights: WeightsEnum | str) -> str:
    """The name of weights; a text may also be that of a member of the builder's enum."""
    if isinstance(weights, WeightsEnum):
        return str(weights.value)
    members = get_model_weights(builder).__members__
    return str(members[weights].value) if weights in members else str(weights)


def trained(weights: Weights) -> Network:
    """The network of kept weights, with them, in evaluation mode. Raises NinyError where the file was changed."""
    net = build(load_params(home()).run(weights.meta["scale"], weights.name))
    fill(net, by_layer(weights.get_state_dict()), weights.path)
    return net.eval()


def linear_cifar(**options: Any) -> Network:
    """NIN with linear convolutions in place of mlpconv."""
    return build_linear(Options(**options))


def cnn(**options: Any) -> Network:
    """Section 4.6's conventional CNN; its local layer reads larger grids in tiles of the size it was built for."""
    return build_cnn(Options(**options))


def maxout(**options: Any) -> Network:
    """Conv maxout + dropout, the rival of Table 1."""
    return build_maxout(Options(**options))


BUILDERS: Mapping[str, Callable[..., Network]] = {
    "nin_cifar": nin_cifar,
    "nin_svhn": nin_svhn,
    "nin_mnist": nin_mnist,
    "nin_imagenet": nin_imagenet,
    "linear_cifar": linear_cifar,
    "cnn": cnn,
    "maxout": maxout,
}


def list_models() -> list[str]:
    """The names that `get_model` knows."""
    return list(BUILDERS)


def get_model(name: str, **options: Any) -> Network:
    """A network by its builder's name. Raises NinyError for an unknown one."""
    return pick(BUILDERS, name, "network")(**options)


def build(run: Run) -> Network:
    """The untrained network of a run, in the run's width and for its data; weights as PyTorch leaves them."""
    e = run.experiment
    return BUILDERS[e.net](
        num_classes=run.data.classes,
        channels=run.data.channels,
        size=run.data.size,
        width=run.scale.width,
        head=e.head,
        dropout=e.dropout,
        inverted_dropout=run.recipe.inverted_dropout,
        pool2=e.pool2,
        final_relu=e.final_relu,
        batch_norm=e.batch_norm,
        norm_alpha=e.norm_alpha,
    )


def __getattr__(name: str) -> type[WeightsEnum]:
    """The enums of weights are made when they are asked for: their members are the experiments of params.yaml."""
    if name in ("NIN_CIFAR_Weights", "NIN_SVHN_Weights", "NIN_MNIST_Weights"):
        return get_model_weights(name.removesuffix("_Weights").lower())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
