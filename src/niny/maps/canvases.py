"""Place and detect: is one image found on a canvas of nine times its area (section 5: "object detection via NIN")?

An image is laid at a random place on a canvas three times as wide and high, and the map of its class must find it; the
box it fills is known exactly. Three canvases: the mean of the data (zero after preprocessing), noise of the image's
own mean and spread, and nine real images of other classes. Images are preprocessed first and laid down then, because
whitening is defined for one image size only. Maps are compared with the box pixel by pixel, each cell filling the
pixels it stands for, those at its place (see `niny.maps.boxes`); nothing is smoothed.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from niny.maps.grids import assemble

KINDS = ("mean", "noise", "distractors")
SIDE = 3  # a canvas is this many images wide


def places(count: int, image_side: int, seed: int) -> Tensor:
    """Top left corners, [count, 2] as row and column in pixels, every place equally likely."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint((SIDE - 1) * image_side + 1, (count, 2), generator=generator)


def canvases(kind: str, images: Tensor, labels: Tensor, chosen: Tensor, corners: Tensor, seed: int) -> Tensor:
    """Canvases M x C x 3H x 3W of a kind, with the `chosen` (M indices) of the images pasted at their corners."""
    canvas = _background(kind, images, labels, chosen, seed).clone()
    height, width = images.shape[2:]
    for one, index, (top, left) in zip(canvas, chosen.tolist(), corners.tolist(), strict=True):
        one[:, top : top + height, left : left + width] = images[index]
    return canvas


def _background(kind: str, images: Tensor, labels: Tensor, chosen: Tensor, seed: int) -> Tensor:
    pasted = images[chosen]
    if kind == "distractors":
        return torch.stack([_others(images, labels, int(i), seed + n) for n, i in enumerate(chosen)])
    shape = (len(chosen), images.shape[1], SIDE * images.shape[2], SIDE * images.shape[3])
    if kind == "mean":
        return pasted.new_zeros(shape)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(pasted)
    return pasted.mean((2, 3), keepdim=True) + pasted.std((2, 3), keepdim=True) * noise


def _others(images: Tensor, labels: Tensor, index: int, seed: int) -> Tensor:
    """Nine random images of classes other than that of image `index`, laid side by side."""
    rest = torch.nonzero(labels.cpu() != labels[index].cpu()).flatten()
    generator = torch.Generator().manual_seed(seed)
    drawn = rest[torch.randint(len(rest), (SIDE**2,), generator=generator)]
    return assemble(images[drawn.to(images.device)][None])[0]


def detect(maps: Tensor, order: Tensor, corners: Tensor, image_side: int) -> dict[str, Tensor]:
    """How well M x h x w maps find the images at `corners`; `order` ranks the cells. M values each of

    hit: the largest cell lies in the box (ties by share; a cell on the rim by the share of it inside);
    energy: the share of the positive part inside the box;
    iou: 1 where the window of the image's size that holds most of the positive part overlaps the box by IoU >= 0.5
    (ties by share).
    """
    positive, ranked = (_enlarged(of, SIDE * image_side) for of in (maps.clamp_min(0), order))
    boxes = _inside(corners.to(maps.device), image_side, positive.shape[1])
    best = (ranked == ranked.amax((1, 2), keepdim=True)).double()
    return {
        "hit": (best * boxes).sum((1, 2)) / best.sum((1, 2)),
        "energy": (positive * boxes).sum((1, 2)) / positive.sum((1, 2)).clamp_min(1e-7),
        "iou": _windows_that_overlap(positive, corners.to(maps.device), image_side),
    }


def _enlarged(maps: Tensor, side: int) -> Tensor:
    """Maps with every cell repeated over the pixels it stands for."""
    cell = side // maps.shape[1]
    return maps.double().repeat_interleave(cell, 1).repeat_interleave(cell, 2)


def _inside(corners: Tensor, side: int, canvas: int) -> Tensor:
    """Which pixels lie in the boxes: M x canvas x canvas, 0 or 1."""
    offsets = torch.arange(canvas, device=corners.device) - corners[..., None]  # M x 2 x canvas
    within = ((offsets >= 0) & (offsets < side)).double()
    return within[:, 0, :, None] * within[:, 1, None, :]


def _windows_that_overlap(positive: Tensor, corners: Tensor, side: int) -> Tensor:
    """Of the windows that hold most, the share that overlaps the image at its corner by an IoU of 0.5 or more: M."""
    sums = F.avg_pool2d(F.avg_pool2d(positive[:, None], (side, 1), 1), (1, side), 1)[:, 0]
    best = (sums == sums.amax((1, 2), keepdim=True)).double()
    apart = torch.arange(sums.shape[1], device=sums.device) - corners[..., None]  # M x 2 x windows
    down, right = (side - apart.abs()).clamp_min(0).double().unbind(1)
    overlap = down[:, :, None] * right[:, None, :]
    return (best * (overlap / (2 * side**2 - overlap) >= 0.5)).sum((1, 2)) / best.sum((1, 2))
