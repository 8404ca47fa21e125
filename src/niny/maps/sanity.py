"""Do maps depend on what was learnt (Adebayo et al. 2018), and are they steady and true to small changes of the image?

Cascading randomisation draws the weights anew from the last layer down and compares the maps with the trained ones.
Signed rank correlations of many images can cancel where each is far from 0, because a pattern that survives may come
back with either sign, so the mean of the absolute values stands beside the mean.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from niny.maps.forward import class_maps
from niny.maps.views import raw
from niny.models import Network
from niny.models.network import WEIGHTED, fan_in

View = Callable[[Tensor], Tensor]

RADIUS = 0.02  # of the change in max-sensitivity, in units of the preprocessed image
CHANGES = 10
PATCHES = 32


def cascade(net: Network, seed: int) -> Iterator[tuple[str, Network]]:
    """The network with its last weighted layer drawn anew (He), its last two, and so on: (name of the layer, copy).

    The copy is the same object each time: use it before asking for the next one. Heads are left alone, as class maps
    do not see them.
    """
    twin = copy.deepcopy(net)
    generator = torch.Generator().manual_seed(seed)
    layers = [(name, layer) for name, layer in twin.named_modules() if isinstance(layer, WEIGHTED)]
    for name, layer in reversed([pair for pair in layers if not pair[0].startswith("head")]):
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


def infidelity(
    net: Network, images: Tensor, targets: Tensor, maps: Mapping[str, Tensor], seed: int
) -> dict[str, Tensor]:
    """How badly N x h x w maps foretell what the logit loses when a patch goes: captum's infidelity, N values for each.

    A patch of a quarter of the side, at random, becomes zero (the mean of the data). A map is scaled to fit best, and
    the remaining squared error divided by the squared change: 0 is perfect, 1 is a map that foretells nothing.
    """
    change = _squared_error(net, images, targets, torch.zeros_like(images, dtype=torch.float32), seed, scaled=False)
    found = {}
    for name, values in maps.items():
        spread = F.interpolate(values[:, None].float(), images.shape[2:]).expand_as(images)
        found[name] = _squared_error(net, images, targets, spread, seed, scaled=True) / change
    return found


@torch.no_grad()
def _squared_error(net: Network, images: Tensor, targets: Tensor, spread: Tensor, seed: int, scaled: bool) -> Tensor:
    from captum.metrics import infidelity as captums

    options = {"target": targets, "n_perturb_samples": PATCHES, "max_examples_per_batch": PATCHES * len(images)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # the same patches for every map
        error: Tensor = captums(net, _without_a_patch, images.float(), spread, normalize=scaled, **options)
    return error


def _without_a_patch(images: Tensor) -> tuple[Tensor, Tensor]:
    """(what the patch covers, images without it), as captum's infidelity wants them."""
    side = images.shape[-1]
    patch = side // 4
    corners = torch.randint(side - patch + 1, (2, len(images), 1))
    lines = ((torch.arange(side) >= corners) & (torch.arange(side) < corners + patch)).to(images.device)
    mask = (lines[0][:, :, None] & lines[1][:, None, :])[:, None].expand_as(images).float()
    return mask, images * (1 - mask)
