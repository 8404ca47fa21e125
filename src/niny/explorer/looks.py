"""What a network says of some images: logits, class maps, other attributions and how far these agree with the maps.

The maps are those that belong to classes: under global average pooling what the last layer makes, whose mean is the
logit; under a fully connected head what it makes of each cell, with the same mean. Agreement is Spearman's correlation
with the map of the predicted class as it is, beside two nulls: another image's map, and a Gaussian at the centre.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from niny.explorer.packing import pack, png
from niny.inference import Model
from niny.maps import nulls
from niny.maps.agreement import rank_correlation
from niny.maps.attribution import METHODS, TITLES, attribute
from niny.maps.comparison import available
from niny.maps.forward import class_maps, decide
from niny.maps.heads import of_classes
from niny.models import Network


@dataclass(frozen=True, eq=False)
class Look:
    """N images as the network saw them, and what it said: pixels uint8 and inputs float32 N x C x H x W, logits N x K,
    class maps N x K x h x w."""

    net: Network
    pixels: Tensor
    inputs: Tensor
    logits: Tensor
    maps: Tensor

    @property
    def predicted(self) -> Tensor:
        return self.logits.argmax(1)

    @property
    def own(self) -> Tensor:
        """The maps of the predicted classes, N x h x w."""
        return self.maps[torch.arange(len(self.maps)), self.predicted]


def look(model: Model, pixels: Tensor) -> Look:
    """Show images, uint8 N x C x H x W, to a network that has class maps."""
    inputs = model.transform.normalise(pixels)
    read = class_maps(model.net, inputs)
    return Look(model.net, pixels, inputs, decide(model.net, read), of_classes(model.net, read))


def entries(
    seen: Look, index: Sequence[int | None], names: Sequence[str | None], labels: Sequence[int | None]
) -> list[dict[str, Any]]:
    """Each image with what is known of it: number in the test split, file name and label, None where it has none."""
    logits, predicted = seen.logits.double().tolist(), seen.predicted.tolist()
    return [
        {
            "index": index[i],
            "name": names[i],
            "label": labels[i],
            "predicted": predicted[i],
            "logits": [round(value, 5) for value in logits[i]],
            "png": png(pixels),
        }
        for i, pixels in enumerate(seen.pixels)
    ]


def attributions(seen: Look) -> dict[str, Tensor]:
    """By method, what each cell of the class map's grid has in the logit of the predicted class: N x h x w."""
    cells = seen.maps.shape[-1]
    return {
        name: attribute(METHODS[name], seen.net, seen.inputs, seen.predicted, cells) for name in available(seen.net)
    }


def compared(seen: Look) -> list[dict[str, Any]]:
    """The attributions with their agreement and its nulls, image by image; null where a map is one value."""
    own = seen.own
    centre = nulls.centre(*own.shape[1:]).expand_as(own)
    against = {"agreement": own, "other": own.roll(1, 0), "centre": centre}
    return [
        {
            "name": name,
            "title": TITLES[name][0],
            "line": TITLES[name][1],
            "maps": pack(found),
            **{kind: _numbers(rank_correlation(found, maps)) for kind, maps in against.items()},
        }
        for name, found in attributions(seen).items()
    ]


def _numbers(values: Tensor) -> list[float | None]:
    return [None if math.isnan(value) else round(value, 5) for value in values.tolist()]
