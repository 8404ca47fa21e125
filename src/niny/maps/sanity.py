"""Do maps depend on what was learnt (Adebayo et al. 2018), and are they steady and true to small changes of the image?

Cascading randomisation draws the weights anew from the last layer down and compares the maps with the trained ones.
Signed rank correlations of many images can cancel where each is far from 0, because a pattern that survives may come
back with either sign, so the mean of the absolute values stands beside the mean.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from niny.maps.forward import class_maps, logits
from niny.maps.views import raw
from niny.models import Network
from niny.models.blocks import BATCH_NORM
from niny.models.network import WEIGHTED, fan_in

View = Callable[[Tensor], Tensor]

RADIUS = 0.02  # of the change in max-sensitivity, in units of the preprocessed image
CHANGES = 10
PATCHES = 32


def cascade(net: Network, seed: int) -> Iterator[tuple[str, Network]]:
    """The network with its last weighted layer drawn anew (He), its last two, and so on: (name of the layer, copy).

    A fully connected head comes first, as class maps are read through it; batch norm after a layer is reset with it.
    The copy is the same object each time: use it before asking for the next one.
    """
    twin = copy.deepcopy(net)
    generator = torch.Generator().manual_seed(seed)
    for name, layer in reversed([*twin.named_modules()]):
        if isinstance(layer, BATCH_NORM):
            layer.reset_parameters()
        elif isinstance(layer, WEIGHTED):
            _redraw(layer, generator)
            yield name, twin


@torch.no_grad()
def _redraw(layer: nn.Module, generator: torch.Generator) -> None:
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, Tensor)
    weight.copy_(torch.randn(weight.shape, generator=generator) * math.sqrt(2.0 / fan_in(layer)))
    if isinstance(bias, Tensor):
        bias.zero_()


def own_maps(net: Network, images: Tensor, targets: Tensor, read: View = raw) -> Tensor:
    """The class maps of `targets` alone, in one reading: N x h x w."""
    return read(class_maps(net, images))[torch.arange(len(images), device=images.device), targets]


def max_sensitivity(net: Network, images: Tensor, targets: Tensor, seed: int, read: View = raw) -> Tensor:
    """The largest relative change of the targets' maps under small random changes of the image (captum), N values.

    A map that never changes is perfect here: read it beside a score of what the map says.
    """
    from captum.metrics import sensitivity_max

    def explain(changed: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (own_maps(net, changed[0], targets.repeat_interleave(len(changed[0]) // len(targets)), read),)

    with torch.random.fork_rng(devices=[]):  # captum draws from the global generator
        torch.manual_seed(seed)
        found: Tensor = sensitivity_max(explain, images.float(), perturb_radius=RADIUS, n_perturb_samples=CHANGES)
    return found


@dataclass(frozen=True)
class Patched:
    """N x C x H x W images with PATCHES patches each, N x PATCHES x C x H x W, and what a network says of them.

    `whole` are the logits of the images, N x K, `without` those of each without one patch, N PATCHES x K, in float64.
    """

    images: Tensor
    masks: Tensor
    whole: Tensor
    without: Tensor


@torch.no_grad()
def patched(net: Network, images: Tensor, seed: int) -> Patched:
    """Take patches of a quarter of the side away at random: they become zero, the mean of the data."""
    masks = _patches(len(images), images.shape[-1], seed).to(images.device)[:, :, None]
    masks = masks.expand(-1, -1, *images.shape[1:])
    without = logits(net, (images[:, None] * ~masks).flatten(0, 1))
    return Patched(images, masks, logits(net, images).double(), without.double())


@torch.no_grad()
def infidelity(on: Patched, targets: Tensor, maps: Mapping[str, Tensor], read: View = raw) -> dict[str, Tensor]:
    """How badly N x h x w maps foretell what the logit loses when a patch goes (Yeh et al. 2019): N values for each.

    captum's infidelity, normalised (each map is scaled to fit best, by a negative number too), over that of a map of
    zeros: 0 is perfect, 1 foretells nothing. The logit is taken in a reading, as a class map of one cell. The patches,
    and so what they cost the network, are the same for all maps: it need not be asked again for each.
    """
    from captum.metrics import infidelity as of_captum

    covered = on.masks.flatten(0, 1)
    said = {len(of): read(of[:, :, None, None])[:, :, 0, 0] for of in (on.whole, on.without)}

    def lost(values: Tensor) -> Tensor:
        shares = F.interpolate(values[:, None].double(), on.images.shape[2:]).expand_as(on.images)
        found: Tensor = of_captum(
            lambda asked: said[len(asked)],
            lambda asked: (covered.double(), asked * ~covered),
            on.images,
            shares,
            target=targets,
            n_perturb_samples=on.masks.shape[1],
            normalize=True,
        )
        return found

    nothing = lost(torch.zeros_like(on.images[:, 0]))
    return {name: lost(values) / nothing for name, values in maps.items()}


def _patches(count: int, side: int, seed: int) -> Tensor:
    """count x PATCHES x side x side: where each patch lies."""
    patch = side // 4
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(side - patch + 1, (2, PATCHES, count, 1), generator=generator)
    rows, columns = (torch.arange(side) >= corners) & (torch.arange(side) < corners + patch)
    inside: Tensor = rows[..., :, None] & columns[..., None, :]
    return inside.transpose(0, 1)
