"""Other people's attributions beside the class maps, through captum: do they see the same, and more than chance would?

For a class, each method gives one number a cell of the class maps: Grad-CAM, saliency, gradient x input, integrated
gradients, occlusion and layer-wise relevance. Everything is signed as the method gives it (saliency has no sign),
summed over colour channels, and averaged over the pixels of a cell; nothing is clipped, scaled or smoothed.

Two of them are the class map itself over the number of cells: under global average pooling Grad-CAM at the last block,
under a fully connected head gradient x activation there (HiResCAM), less the bias. Agreement would say nothing: they
test this module and niny.maps.heads instead.

What all maps of an image share is free, and so is what all its logits do. A map in a reading that drops it stands
beside attributions of the logit in the same reading (`Explained`): less the mean, less the best other, log odds.
"""

import copy
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from niny.maps.grids import cells_of, of_classes
from niny.maps.heads import Reading
from niny.maps.views import raw
from niny.models import Network
from niny.models.blocks import Dropout, GlobalAveragePool, LocallyConnected, ResponseNorm

warnings.filterwarnings("ignore", message="IProgress not found")  # captum asks for a progress bar that nobody sees

Method = Callable[["Network | Explained", Tensor, Tensor], Tensor]

# What ends a block before its pool: an mlpconv, or the ReLU of a single convolution.
INNER = {"gradcam1": ("mlpconv1", "relu1"), "gradcam2": ("mlpconv2", "relu2"), "gradcam3": ("mlpconv3", "relu3")}
STEPS = 32  # of the path of integrated gradients
PART = 25  # images at a time


class Explained(nn.Module):
    """A network whose outputs are its logits in a reading, taken as class maps of a single cell."""

    def __init__(self, net: Network, read: Reading) -> None:
        super().__init__()
        self.net, self.read = net, read

    def forward(self, images: Tensor) -> Tensor:
        return self.read(self.net(images)[:, :, None, None])[:, :, 0, 0]


def _network(said: Network | Explained) -> Network:
    return said.net if isinstance(said, Explained) else said


def grad_cam(*layers: str) -> Method:
    """Grad-CAM at the first of these blocks that there is, signed: its maps times the mean gradient of the logit."""

    def attribute(net: Network | Explained, images: Tensor, targets: Tensor) -> Tensor:
        from captum.attr import LayerGradCam

        blocks = dict(_network(net).named_children())
        layer = next(blocks[name] for name in layers if name in blocks)
        found: Tensor = LayerGradCam(net, layer).attribute(images, targets)
        return found

    return attribute


def contribution(net: Network | Explained, images: Tensor, targets: Tensor) -> Tensor:
    """Gradient x activation of the class maps, over all maps: what each cell adds to the logit, less the bias."""
    from captum.attr import LayerGradientXActivation

    last = _network(net).get_submodule(_network(net).layer_names[-1])
    found: Tensor = LayerGradientXActivation(net, last).attribute(images, targets)
    return found.sum(1, keepdim=True)


def saliency(net: Network | Explained, images: Tensor, targets: Tensor) -> Tensor:
    from captum.attr import Saliency

    found: Tensor = Saliency(net).attribute(images, targets)
    return found


def gradient_x_input(net: Network | Explained, images: Tensor, targets: Tensor) -> Tensor:
    from captum.attr import InputXGradient

    found: Tensor = InputXGradient(net).attribute(images, targets)
    return found


def integrated_gradients(net: Network | Explained, images: Tensor, targets: Tensor) -> Tensor:
    """From the mean of the data (zero after preprocessing) to the image."""
    from captum.attr import IntegratedGradients

    path = IntegratedGradients(net)
    found: Tensor = path.attribute(images, target=targets, n_steps=STEPS, internal_batch_size=PART * 4)
    return found


def occlusion(net: Network | Explained, images: Tensor, targets: Tensor) -> Tensor:
    """What the logit loses when a window of a quarter of the side is set to zero, moved by an eighth."""
    from captum.attr import Occlusion

    channels, side = images.shape[1], images.shape[-1]
    window, step = (channels, side // 4, side // 4), (channels, side // 8, side // 8)
    with torch.no_grad():
        found: Tensor = Occlusion(net).attribute(images, window, step, baselines=0, target=targets)
    return found


def relevance(net: Network | Explained, images: Tensor, targets: Tensor) -> Tensor:
    """Layer-wise relevance propagation: gamma rule for convolutions, epsilon rule for the rest.

    With the epsilon rule everywhere it would be gradient x input once more, which the tests show.
    """
    from captum.attr._utils.lrp_rules import GammaRule

    return propagate(net, images, targets, GammaRule)


def propagate(net: Network | Explained, images: Tensor, targets: Tensor, rule: Callable[[], Any]) -> Tensor:
    """Relevance of the input, `rule` making the rule of each convolution.

    It is linear in what is handed back: of a reading, the sum over all logits of how fast the reading grows with each.
    """
    if isinstance(net, Explained):
        slopes = _slopes(net, images, targets)
        parts = [
            slopes[:, k, None, None, None] * propagate(net.net, images, torch.full_like(targets, k), rule)
            for k in slopes.any(0).nonzero().flatten().tolist()
        ]
        return torch.stack(parts).sum(0)
    return _propagate(net, images, targets, rule)


def _slopes(said: Explained, images: Tensor, targets: Tensor) -> Tensor:
    """How fast each image's target grows with each logit, N x K."""
    logits = said.net(images).detach().requires_grad_()
    chosen = said.read(logits[:, :, None, None]).gather(1, targets[:, None, None, None])
    found: Tensor = torch.autograd.grad(chosen.sum(), logits)[0]
    return found


def _propagate(net: Network, images: Tensor, targets: Tensor, rule: Callable[[], Any]) -> Tensor:
    from captum.attr import LRP
    from captum.attr._utils.lrp_rules import EpsilonRule, IdentityRule

    twin = copy.deepcopy(net)  # captum leaves its rules on the layers
    for layer in twin.modules():
        if isinstance(layer, nn.Conv2d):
            layer.rule = rule()  # an attribute that captum looks for
        elif isinstance(layer, (Dropout, GlobalAveragePool, LocallyConnected, nn.Identity)):
            layer.rule = EpsilonRule()
        elif isinstance(layer, ResponseNorm):
            layer.rule = IdentityRule()  # it scales channels by a factor near 1 and mixes none of their evidence
    found: Tensor = LRP(twin).attribute(images, targets)
    return found


METHODS: Mapping[str, Method] = {
    **{name: grad_cam(*layers) for name, layers in INNER.items()},
    "saliency": saliency,
    "gradient_x_input": gradient_x_input,
    "integrated_gradients": integrated_gradients,
    "occlusion": occlusion,
    "lrp": relevance,
}

TITLES: Mapping[str, tuple[str, str]] = {  # of each method: its title, and what it is
    "gradcam1": (
        "Grad-CAM at mlpconv1",
        "The feature maps of the first block, each weighted by the mean gradient of the logit.",
    ),
    "gradcam2": (
        "Grad-CAM at mlpconv2",
        "The feature maps of the second block, each weighted by the mean gradient of the logit.",
    ),
    "gradcam3": (
        "Grad-CAM at mlpconv3",
        "The feature maps of the third block, each weighted by the mean gradient of the logit.",
    ),
    "saliency": ("Saliency", "How much the logit changes with each pixel, whichever way: the size of its gradient."),
    "gradient_x_input": ("Gradient x input", "The gradient of the logit at each pixel times the pixel."),
    "integrated_gradients": (
        "Integrated Gradients",
        "Gradient x input, the gradient averaged along the way from the mean of the data to the image.",
    ),
    "occlusion": ("Occlusion", "What the logit loses when a window of a quarter of the side is set to the mean."),
    "lrp": (
        "Layer-wise relevance",
        "The logit handed back layer by layer to what it came from (gamma rule for convolutions).",
    ),
}


def attribute(method: Method, net: Network, images: Tensor, targets: Tensor, cells: int, read: Reading = raw) -> Tensor:
    """N x cells x cells attributions of the logits `targets`, in a reading; gradients of the weights are not kept."""
    net.eval()
    said = net if read is raw else Explained(net, read)
    parts = zip(images.float().split(PART), targets.split(PART), strict=True)
    return torch.cat([_to_cells(method(said, some.clone().requires_grad_(), of), cells) for some, of in parts])


def _to_cells(found: Tensor, cells: int) -> Tensor:
    summed = found.detach().sum(1, keepdim=True)
    return F.adaptive_avg_pool2d(summed, cells)[:, 0]


def dipart(
    net: Network, canvas: Tensor, classes: Tensor, side: int, cell: int, readings: Mapping[str, Reading]
) -> dict[str, Tensor]:
    """DiPart (Rao et al. 2022): what does a part of the map see of its neighbours?

    The map, in each of the readings, of the class shown in one cell of n x n grids, averaged over that cell alone, is
    traced back to the input: the share of the gradient's size that lies in the cell, G values a reading. Below 1 by
    what the receptive field (27 pixels of a 32-pixel image) takes in from beyond; a network without any locality scores
    1/n². NaN where a reading does not depend on the image.
    """
    net.eval()
    shares: dict[str, list[Tensor]] = {view: [] for view in readings}
    for some, of in zip(canvas.float().split(2), classes.split(2), strict=True):
        images = some.clone().requires_grad_()
        maps = net.class_maps(images)
        for view, read in readings.items():
            own = cells_of(of_classes(read(maps), of[:, None]), side)[:, 0, cell]
            (gradient,) = torch.autograd.grad(own.mean(-1).sum(), images, retain_graph=True)
            by_cell = cells_of(gradient.abs().sum(1, keepdim=True), side)[:, 0].double().sum(-1)
            shares[view].append(by_cell[:, cell] / by_cell.sum(1))
    return {view: torch.cat(found) for view, found in shares.items()}
