"""Two published PyTorch versions of the CIFAR network, and the names that others gave its layers.

Both pad their pools by one pixel where the authors clip windows at the far edge, so the same weights compute another
function; both have the 966,986 parameters of `nin_cifar()`.

gojay001    Gojay001/DeepLearning-pwcn, Classification/NIN: blocks `features1..3`, both pools max.
jiecaoyu    jiecaoyu/pytorch-nin-cifar10: one sequence `classifer` (so spelt), max, then average.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from torch import Tensor

from niny.config import pick
from niny.errors import NinyError
from niny.models.network import Network
from niny.models.nin import CIFAR, NAMES, Options, build_nin

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "gojay001": {"pool_padding": 1},
    "jiecaoyu": {"pool_padding": 1, "pool2": "average"},
}
PLACES = (0, 2, 4)  # of a block's convolutions, each followed by a ReLU
LENGTH = 8  # of a block with its pool and dropout
LAYER_NAMES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "gojay001": {
            f"features{block}.{place}": name
            for block, names in enumerate(NAMES, 1)
            for place, name in zip(PLACES, names, strict=True)
        },
        "jiecaoyu": {
            f"classifer.{LENGTH * block + place}": name
            for block, names in enumerate(NAMES)
            for place, name in zip(PLACES, names, strict=True)
        },
    }
)


def nin_cifar_variant(name: str, num_classes: int = 10) -> Network:
    """The network as `name` ("gojay001" or "jiecaoyu") published it: N x 3 x 32 x 32 -> N x classes, untrained."""
    return build_nin(CIFAR, Options(num_classes=num_classes, **pick(VARIANTS, name, "variant")))


def variant_state(net: Network, name: str) -> dict[str, Tensor]:
    """The weights of a CIFAR NIN under the names of a variant: what its own class's `load_state_dict` takes."""
    ours = {layer.rpartition(".")[2]: module for layer, module in net.named_modules()}
    return {
        f"{theirs}.{kind}": getattr(ours[layer], kind)
        for theirs, layer in pick(LAYER_NAMES, name, "variant").items()
        for kind in ("weight", "bias")
    }


def own_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A variant's state dict under our names: what `nin_cifar_variant(name).load_state_dict` takes.

    Raises NinyError where the names are those of no variant.
    """
    variant = variant_of(state)
    if variant is None:
        raise NinyError(f"these layers are those of no variant known here; known are {', '.join(VARIANTS)}")
    blocks = {layer: f"mlpconv{block}.{layer}" for block, names in enumerate(NAMES, 1) for layer in names}
    parts = ((*key.rpartition("."), value) for key, value in state.items())
    return {f"{blocks[LAYER_NAMES[variant][layer]]}.{kind}": value for layer, _, kind, value in parts}


def variant_of(state: Mapping[str, Tensor]) -> str | None:
    """Whose layer names these are, or None where they are no variant's."""
    layers = {key.rpartition(".")[0] for key in state}
    return next((name for name, names in LAYER_NAMES.items() if layers == set(names)), None)
