"""Does the network use what a map marks? Pixels restored or removed in the map's order (Petsiuk et al. 2018).

From a blurred image, pixels come back an eighth of them at a time, in the order of the map of the predicted class;
what counts is the area under that class's probability (insertion). Deletion goes the other way, from the image to the
blurred one. At 32 pixels any blob in the middle does nearly as well, so the score is the gain over such a blob and over
another image's map, not the area itself. The blur is of the preprocessed image (sigma an eighth of the side). Pixels of
one cell of the map come together; tied cells come in an order drawn by chance, the same for all maps.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from niny.maps.forward import logits
from niny.models import Network

STEPS = 8


def ranks(maps: Tensor, seed: int) -> Tensor:
    """N x H x W maps -> N x H x W ranks, 0 for the largest cell; cells that tie are ordered by chance."""
    cells = maps.flatten(1)
    mixed = torch.randperm(cells.shape[1], generator=torch.Generator().manual_seed(seed)).to(cells.device)
    order = mixed[cells[:, mixed].argsort(dim=1, descending=True, stable=True)]
    places = torch.arange(cells.shape[1], device=cells.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places).view(maps.shape)


def blurred(images: Tensor) -> Tensor:
    """N x C x H x W -> the same, by a Gaussian of an eighth of the side, cut off and rescaled at the rim."""
    down, across = (_smoothing(n).to(images.device) for n in images.shape[2:])
    smooth: Tensor = down @ images.double() @ across.T
    return smooth.to(images.dtype)


def _smoothing(n: int) -> Tensor:
    offsets = torch.arange(n, dtype=torch.float64)
    weights = torch.exp(-((offsets[:, None] - offsets) ** 2) / (2 * (n / 8) ** 2))
    return weights / weights.sum(1, keepdim=True)


def insertion(
    net: Network, images: Tensor, targets: Tensor, orders: Mapping[str, Tensor], seed: int
) -> dict[str, Tensor]:
    """Area under the target's probability while the N x H x W maps `orders` restore the blurred images.

    N values between 0 and 1 for each order. All orders start from the same images and end with the same.
    """
    return _areas(net, images, blurred(images), targets, orders, seed)


def deletion(
    net: Network, images: Tensor, targets: Tensor, orders: Mapping[str, Tensor], seed: int
) -> dict[str, Tensor]:
    """The same while the maps' pixels are blurred, largest first."""
    return _areas(net, blurred(images), images, targets, orders, seed)


def _areas(
    net: Network, new: Tensor, old: Tensor, targets: Tensor, orders: Mapping[str, Tensor], seed: int
) -> dict[str, Tensor]:
    first, last = (_probability(net, images, targets) for images in (old, new))
    areas = {}
    for name, maps in orders.items():
        place = ranks(maps, seed)[:, None]
        between = [_probability(net, _mixed(new, old, place, step), targets) for step in range(1, STEPS)]
        areas[name] = torch.trapezoid(torch.stack([first, *between, last]), dim=0) / STEPS
    return areas


def _mixed(new: Tensor, old: Tensor, place: Tensor, step: int) -> Tensor:
    mask = F.interpolate((place < place[0].numel() * step / STEPS).float(), new.shape[2:], mode="nearest")
    return torch.where(mask > 0, new, old)


def _probability(net: Network, images: Tensor, targets: Tensor) -> Tensor:
    return logits(net, images).softmax(1).gather(1, targets[:, None])[:, 0].double()
