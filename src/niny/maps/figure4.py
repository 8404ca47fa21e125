"""What section 4.7 says of figure 4, asked of every test image: are the largest activations in the true class's map?

Two readings. Claim 1: the single largest cell of all K maps lies in the map of the true class. Top tenth: the share of
the image's largest tenth of all K x H x W cells (the paper's "top 10 %", pooled over the maps of one image as measured
on its figure) that lies in that map; 1/K by chance. Cells that tie share their place evenly, so that dead maps, all
zero after the last ReLU, score as chance would and not by the order of the classes.
"""

import torch
from torch import Tensor

TOP = 0.1


def completeness_error(maps: Tensor, logits: Tensor) -> float:
    """The largest |mean of a map - logit|: 0 up to rounding under global average pooling (section 3.2)."""
    return float((maps.mean((2, 3)) - logits).abs().max())


def holds_largest(maps: Tensor, labels: Tensor) -> Tensor:
    """Claim 1: N x K x H x W maps, N labels -> N values, 1 for a hit, 1/m where m classes tie for the largest cell."""
    peaks = maps.amax((2, 3))
    best = peaks == peaks.amax(1, keepdim=True)
    return best.gather(1, labels[:, None])[:, 0].double() / best.sum(1)


def share_of_top(maps: Tensor, labels: Tensor, share: float = TOP) -> Tensor:
    """N x K x H x W maps, N labels -> N shares of the image's largest cells that lie in the map of the label."""
    count, above, tied = _split_at(maps, share)
    places = (count - above.sum((1, 2))) / tied.sum((1, 2))  # of each tied cell among the top
    own = torch.arange(len(maps), device=maps.device), labels
    return (above[own].sum(1) + places * tied[own].sum(1)).double() / count


def top_cells(maps: Tensor, share: float = TOP) -> Tensor:
    """N x K x H x W maps -> where their image's largest cells are (ties at the threshold all count), bool."""
    _, above, tied = _split_at(maps, share)
    return (above | tied).view(maps.shape)


def _split_at(maps: Tensor, share: float) -> tuple[int, Tensor, Tensor]:
    """How many cells are the top `share`, and which N x K x cells lie above the smallest of them or tie with it."""
    cells = maps.flatten(2)
    count = max(1, round(share * cells[0].numel()))
    threshold = cells.flatten(1).topk(count).values[:, -1, None, None]
    return count, cells > threshold, cells == threshold
