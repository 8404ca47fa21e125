"""What all networks of the study share: two questions, class maps and logits, and how weights are drawn."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from niny.errors import NinyError
from niny.models.blocks import LocallyConnected

# A centred filter sees the variance of a rectified normal, (1 - 1/pi) of the mean square that He's rule counts on.
CENTRED_GAIN = 1 / math.sqrt(1 - 1 / math.pi)
LAST_LAYER = 0.3
WEIGHTED = (nn.Conv2d, nn.Linear, LocallyConnected)


class Network(nn.Module):
    """Named layers, then a head. `class_maps(x)` is what the layers make: N x classes x H x W; `net(x)` its logits.

    `last_layers` names the layers whose learning rate the authors reduced: the one that makes the class maps, and with
    a fully connected head that one too, since it is then the last.
    """

    def __init__(self, layers: Mapping[str, nn.Module], head: nn.Module, last_layers: tuple[str, ...]) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.head = head
        self.layer_names = tuple(layers)
        self.last_layers = last_layers

    def class_maps(self, x: Tensor) -> Tensor:
        """The maps the head reads: N x classes x H x W. With a GAP head their spatial mean is the logit, exactly."""
        for name in self.layer_names:
            x = getattr(self, name)(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Logits, N x classes: what the head makes of the class maps of N x C x H x W preprocessed images."""
        logits: Tensor = self.head(self.class_maps(x))
        return logits


def scaled(maps: int, width: float) -> int:
    """A number of feature maps times `width`, to a multiple of 8 (vector units like that), at least 8."""
    return maps if width == 1.0 else max(8, round(maps * width / 8) * 8)


def fan_in(layer: nn.Module) -> int:
    """How many inputs one output of a weighted layer sums over."""
    assert isinstance(layer, WEIGHTED)
    return layer.weight.shape[1] if isinstance(layer, LocallyConnected) else layer.weight[0].numel()


@torch.no_grad()
def initialise(net: Network, init: str, std: float, seed: int, std_of: Sequence[tuple[str, float]] = ()) -> None:
    """Draw all weights on the CPU from `seed`; biases become 0. Raises NinyError where `std_of` names no layer.

    `normal`: N(0, std), the authors' choice; `std_of` gives some layers, by their last name, another. `he`: N(0,
    sqrt(2 / fan-in)). `centred`: He's, less the mean of each filter whose input has been through a ReLU; the last layer
    gets a third of that and, if it makes the class maps, bias 1. Why: after nine ReLUs without normalisation most of a
    He network's signal is common to all images, so the logits sink to 0 within fifty steps and stay there for long, or
    the last ReLU dies. Centred filters pass on what differs between images; a last ReLU that starts open, with little
    noise, lets all cells learn.
    """
    generator = torch.Generator().manual_seed(seed)
    layers = {name: layer for name, layer in net.named_modules() if isinstance(layer, WEIGHTED)}
    own = dict(std_of)
    if unknown := sorted(own.keys() - {_last_name(name) for name in layers}):
        raise NinyError(f"init_std_of: no layer {unknown[0]!r} here: {', '.join(map(_last_name, layers))}")
    for i, (name, layer) in enumerate(layers.items()):
        spread = own.get(_last_name(name), std) if init == "normal" else math.sqrt(2.0 / fan_in(layer))
        weight = torch.randn(layer.weight.shape, generator=generator) * spread
        if init == "centred" and i > 0:
            inputs = 1 if isinstance(layer, LocallyConnected) else tuple(range(1, weight.dim()))
            weight = (weight - weight.mean(inputs, keepdim=True)) * CENTRED_GAIN
        last = init == "centred" and name == net.last_layers[-1]
        layer.weight.copy_(weight * LAST_LAYER if last else weight)
        if layer.bias is not None:
            layer.bias.fill_(1.0 if last and len(net.last_layers) == 1 else 0.0)


def _last_name(name: str) -> str:
    return name.rpartition(".")[2]


def parameter_count(net: nn.Module) -> int:
    """How many numbers training may change."""
    return sum(p.numel() for p in net.parameters())
