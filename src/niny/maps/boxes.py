"""Real objects with boxes: do the maps of a CIFAR-10 network lie on the objects of Tiny-ImageNet's validation images?

Seven classes of CIFAR-10 have counterparts among the 200 of Tiny-ImageNet (`SHARED`; `LEFT_OUT` has what comes near and
is not taken); aeroplanes, deer and horses are not among the 200. Objects fill half of these images, so that a map of
one value already has half of its mass in the box: every score stands beside the centre's and that of one value.

Whitening is defined for the size of the training images. `dense` whitens the four quarters of an image by themselves
and lays them together again; `shrunk` averages the image down to the training size, the scale the network knows.

A cell is laid on the pixels at its place in the map, as is usual where maps are drawn over images: cell k of 8 on
pixels 4k to 4k + 3. What it sees has its middle at pixel 4k + 3 (pooling windows begin at the edge), 1.5 pixels further
down and to the right, so that these scores ask a little more of maps than of a Gaussian at the centre. Measured once,
on `cifar10-nin` at paper scale: laid there, peaks of raw maps lie in the box 88.3 % of the time in place of 86.6, those
of the Gaussian 91.3 in place of 90.8; no interval came to lie elsewhere.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from niny.data.preprocess import Preprocessor
from niny.data.sets import TinyImageNetVal
from niny.maps.forward import class_maps, decide, untrained
from niny.maps.grids import assemble
from niny.maps.intervals import Scores, bootstrap, padded
from niny.maps.scores import sampled, some_of, with_nulls
from niny.models import Network

SHARED: Mapping[str, Mapping[str, str]] = {  # CIFAR-10 class: WordNet ids of Tiny-ImageNet that are plainly of it
    "automobile": {
        "n02814533": "station wagon",
        "n03100240": "convertible",
        "n03670208": "limousine",
        "n04285008": "sports car",
    },
    "bird": {
        "n01855672": "goose",
        "n02002724": "black stork",
        "n02056570": "king penguin",
        "n02058221": "albatross",
    },
    "cat": {"n02123045": "tabby", "n02123394": "Persian cat", "n02124075": "Egyptian cat"},
    "dog": {
        "n02085620": "Chihuahua",
        "n02094433": "Yorkshire terrier",
        "n02099601": "golden retriever",
        "n02099712": "Labrador retriever",
        "n02106662": "German shepherd",
        "n02113799": "standard poodle",
    },
    "frog": {"n01641577": "bullfrog", "n01644900": "tailed frog"},
    "ship": {"n03662601": "lifeboat"},
    "truck": {"n03796401": "moving van"},
}
LEFT_OUT = {  # what comes near a class, and why it is not taken
    "wild cats": "CIFAR-10's cats are domestic",
    "gazelle": "no deer",
    "gondola, police van": "neither plainly a ship nor a truck",
    "buses, pickup-like cars": "no class of CIFAR-10 means them",
}
TOLERANCE = 15 / 224  # of the side: the pointing game's 15 pixels
THRESHOLDS = np.arange(0, 1, 0.05)
OVERLAPS = (0.3, 0.5, 0.7)  # of MaxBoxAccV2


def shared(val: TinyImageNetVal, names: Sequence[str]) -> tuple[NDArray[np.int64], Tensor]:
    """Indices of the images whose class CIFAR-10 has too, and those classes as positions in `names`."""
    classes = {wnid: names.index(name) for name, wnids in SHARED.items() for wnid in wnids}
    index = np.array([i for i, wnid in enumerate(val.wnids) if wnid in classes])
    return index, torch.tensor([classes[val.wnids[i]] for i in index])


def prepare(kind: str, images: NDArray[np.uint8], preprocessor: Preprocessor) -> Tensor:
    """uint8 N x 3 x 64 x 64 -> preprocessed, `dense` at their size or `shrunk` to the training size."""
    side = preprocessor.shape[1]
    if kind == "shrunk":
        small = F.adaptive_avg_pool2d(torch.from_numpy(images).float(), side).round()
        return preprocessor.apply(small.to(torch.uint8).numpy())
    count = images.shape[2] // side
    cells = images.reshape(len(images), 3, count, side, count, side).transpose(0, 2, 4, 1, 3, 5)
    return assemble(preprocessor.apply(cells.reshape(-1, 3, side, side)).view(len(images), -1, 3, side, side))


def box_scores(
    net: Network,
    val: TinyImageNetVal,
    preprocessor: Preprocessor,
    *,
    names: Sequence[str],
    seed: int,
    count: int = 1050,
) -> Scores:
    """Scores on `count` of the shared images or fewer: `box_METRIC.READING.KIND`, named as in `niny.maps.scores`.

    hit: the largest cell's middle lies in the box (ties by share); hit_near: within its tolerance; energy: share of
    the positive part in the box; maxacc: MaxBoxAccV2, its threshold chosen on every other image and scored on the
    rest. `box_accuracy` says how many of the images the network recognises. Images are as many of each class, so that
    a mean over images is one over classes.
    """
    index, targets = shared(val, names)
    some = balanced(targets, count, seed)
    index, targets, boxes = index[some.numpy()], targets[some], torch.from_numpy(val.boxes[index[some.numpy()]])
    side, place = val.images.shape[-1], next(net.parameters()).device
    area = ((boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)).double() / side**2
    blank, few = untrained(net, seed), some_of(len(index))

    def ask(values: Tensor, order: Tensor) -> dict[str, Tensor]:
        own = torch.arange(len(values), device=place), targets[: len(values)].to(place)
        found = measure(values[own].cpu(), order[own].cpu(), boxes[: len(values)], side)
        return {f"box_{metric}": value for metric, value in found.items()}

    samples = {"box_area": area}
    for kind, across in (("dense", side // preprocessor.shape[1]), ("shrunk", 1)):
        images = prepare(kind, val.images[index], preprocessor).to(place)
        maps, alone = class_maps(net, images), class_maps(blank, images[:few])
        variants = with_nulls(net, blank, maps, maps, alone, seed, across, classes=targets.to(place))
        samples |= sampled(variants, ask, len(index), f".{kind}")
        if kind == "shrunk":
            samples["box_accuracy"] = (decide(net, maps).argmax(1).cpu() == targets).double()
            right = (decide(blank, alone).argmax(1).cpu() == targets[:few]).double()
            samples["box_accuracy.untrained"] = padded(right, len(index))
    return bootstrap(samples, seed)


def balanced(targets: Tensor, count: int, seed: int) -> Tensor:
    """Which images to take, at most `count` and as many of each class, in an order that mixes classes."""
    generator = torch.Generator().manual_seed(seed)
    pools = [torch.nonzero(targets == k).flatten() for k in targets.unique()]
    each = max(1, min(count // len(pools), *map(len, pools)))
    some = torch.cat([pool[torch.randperm(len(pool), generator=generator)[:each]] for pool in pools])
    return some[torch.randperm(len(some), generator=generator)]


def measure(values: Tensor, order: Tensor, boxes: Tensor, side: int) -> dict[str, Tensor]:
    """N x h x w maps and N boxes (x0, y0, x1, y1, ends included, of `side` pixels) -> N values of each metric."""
    cell = side // values.shape[1]
    best = (order == order.amax((1, 2), keepdim=True)).double()
    inside = _pixels_in(boxes, side)
    positive = values.double().clamp_min(0).repeat_interleave(cell, 1).repeat_interleave(cell, 2)
    return {
        "hit": (best * _within(order.shape[1], cell, boxes, 0)).sum((1, 2)) / best.sum((1, 2)),
        "hit_near": (best * _within(order.shape[1], cell, boxes, TOLERANCE * side)).sum((1, 2)) / best.sum((1, 2)),
        "energy": (positive * inside).sum((1, 2)) / positive.sum((1, 2)).clamp_min(1e-7),
        "maxacc": max_box_accuracy(values, boxes, side),
    }


def _within(cells: int, cell: int, boxes: Tensor, slack: float) -> Tensor:
    """Which of cells x cells cells have their middle in each box, or at most `slack` pixels off: N x cells x cells."""
    x0, y0, x1, y1 = boxes.T[:, :, None]
    middle = cell * (torch.arange(cells) + 0.5) - 0.5
    across, down = (torch.maximum(low - middle, middle - high).clamp_min(0) for low, high in ((x0, x1), (y0, y1)))
    inside: Tensor = (torch.hypot(down[:, :, None], across[:, None, :]) <= slack).double()
    return inside


def _pixels_in(boxes: Tensor, side: int) -> Tensor:
    line = torch.arange(side)
    across = (line >= boxes[:, :1]) & (line <= boxes[:, 2:3])
    down = (line >= boxes[:, 1:2]) & (line <= boxes[:, 3:])
    return (down[:, :, None] & across[:, None, :]).double()


def max_box_accuracy(maps: Tensor, boxes: Tensor, side: int) -> Tensor:
    """MaxBoxAccV2 (Choe et al. 2020) of each image, NaN for those on which the threshold was chosen: N values.

    Maps are scaled to 0..1 by image and enlarged bilinearly, as there; for each overlap the threshold that is best on
    the images at even places is scored on those at odd places.
    """
    best = best_overlaps(maps, boxes, side)  # N x thresholds
    tuned, kept = best[0::2], best[1::2]
    hits = [kept[:, int((tuned >= o).mean(0).argmax())] >= o for o in OVERLAPS]
    found = torch.full((len(maps),), torch.nan, dtype=torch.float64)
    found[1::2] = torch.from_numpy(np.mean(hits, axis=0))
    return found


def best_overlaps(maps: Tensor, boxes: Tensor, side: int) -> NDArray[np.float64]:
    """The best IoU with the box of any connected part of the map above each threshold: N x thresholds.

    A map of one value is one part, the whole image, at every threshold.
    """
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    scaled = torch.where(high > low, (maps - low) / (high - low).clamp_min(1e-12), 1).float()
    large = F.interpolate(scaled[:, None], (side, side), mode="bilinear")[:, 0].cpu().numpy()
    return np.stack([_best_parts(large > threshold, boxes.numpy()) for threshold in THRESHOLDS], 1)


def _best_parts(masks: NDArray[np.bool_], boxes: NDArray[np.int64]) -> NDArray[np.float64]:
    """For each of N masks the best IoU of its box with the box around a connected part: N values."""
    from scipy.ndimage import find_objects, generate_binary_structure, label

    within = np.zeros((3, 3, 3), bool)
    within[1] = generate_binary_structure(2, 1)  # neighbours in an image, not in the next one
    parts = find_objects(label(masks, within)[0])
    found = np.array([(z.start, x.start, y.start, x.stop - 1, y.stop - 1) for z, y, x in parts], int).reshape(-1, 5)
    best = np.zeros(len(masks))
    np.maximum.at(best, found[:, 0], _iou(found[:, 1:], boxes[found[:, 0]]))
    return best


def _iou(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float64]:
    """IoU of M boxes with M others, ends included."""
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    overlap = (high - low + 1).clip(0).prod(1)
    sizes = sum((of[:, 2:] - of[:, :2] + 1).prod(1) for of in (a, b))
    shares: NDArray[np.float64] = overlap / (sizes - overlap)
    return shares
