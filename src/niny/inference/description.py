"""`model.config`: what goes in, what comes out, whose work it is, in the fields of a ModelHub config.json.

Beyond those fields, `niny` has what the earlier package lacked: digest and record of the weights, the labels, and the
preprocessing step by step.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from niny.config import Loss
from niny.data.sets import ORIGINS
from niny.data.transforms import IMAGENET_MEAN, STEP, ImageNetTransform, Transform
from niny.images import FORMATS
from niny.maps.forward import head_kind, why_no_maps, why_one_size
from niny.models import Network, parameter_count
from niny.models.blocks import MLPConv
from niny.models.registry import LICENCE

IMAGENET = "imagenet-nin"
PAPER = {
    "title": "Network In Network",
    "source": "arXiv",
    "year": 2014,
    "authors": "Min Lin, Qiang Chen, Shuicheng Yan",
    "email": "linmin@nus.edu.sg",
    "abstract": "Perceptrons slide over the image in place of linear filters, and the mean of each map of the last "
    "layer is the score of its class. (Not the authors' words.)",
    "url": "https://arxiv.org/abs/1312.4400",
    "google_scholar": "https://scholar.google.com/scholar?q=arXiv:1312.4400",
    "bibtex": "@article{lin2013network, author = {Min Lin and Qiang Chen and Shuicheng Yan}, "
    "title = {Network In Network}, journal = {arXiv:1312.4400}, year = {2013}}",
}
SOURCES = {
    "cifar10": "https://www.cs.toronto.edu/~kriz/cifar.html",
    "cifar100": "https://www.cs.toronto.edu/~kriz/cifar.html",
    "svhn": "http://ufldl.stanford.edu/housenumbers/",
    "mnist": "https://yann.lecun.org/exdb/mnist/",
    "imagenet": "https://www.image-net.org/",
}
LARGER = {
    "gcn_zca": "with a size, the whole image is read: its contrast is normalised once, each pixel is whitened as the "
    "middle of the window of the trained size around it (mirrored at the edges), and the maps grow with the image",
    "gcn_lcn": "with a size, the whole image is read, normalised as in training, and the maps grow with the image",
    "mean": "none: the mean image has one size",
    "mean_255": "none: the mean image has one size",
    "unit": "with a size, the whole image is read, and the maps grow with it",
}


@dataclass(frozen=True)
class Origin:
    """Where weights come from; `record` is the run's (experiment, scale, seed, test error), empty for others' files."""

    name: str
    path: Path
    sha256: str
    record: Mapping[str, Any]

    @property
    def provenance(self) -> str:
        if self.record:
            return f"trained by this study: {self.record['experiment']} at scale {self.record['scale']}"
        return (
            f"a file of others ({self.path.name}), not trained here; images are preprocessed as listed under niny, "
            "which is right only if its authors did the same"
        )

    @property
    def licence(self) -> str:
        return LICENCE if self.record else "that of the file's authors"


def describe(
    net: Network,
    dataset: str,
    transform: Transform | ImageNetTransform,
    labels: Sequence[str],
    origin: Origin,
    loss: Loss = "cross_entropy",
) -> dict[str, Any]:
    """The description as plain data; `json.dumps` takes it."""
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"niny:{origin.name}:{origin.sha256}")),
        "meta": {
            "name": origin.name,
            "application_area": dataset,
            "task": "Classification",
            "task_extended": f"one of {len(labels)} classes, and a map of where each is seen",
            "data_type": "Image/Photo",
            "data_source": SOURCES.get(dataset, ORIGINS.get(dataset, (dataset, ""))[0]),
        },
        "publication": PAPER,
        "model": {
            "description": f"{'mlpconv' if is_nin(net) else 'convolutional'} layers; head: {head_kind(net)}",
            "provenance": origin.provenance,
            "architecture": "Convolutional Neural Network (CNN)",
            "learning_type": "Supervised learning",
            "format": origin.path.suffix,
            "io": {"input": _input(), "output": _output(net, len(labels), loss)},
        },
        "modelhub": {"top": 5, "sort": True},
        "niny": {
            "weights": {"sha256": origin.sha256, "licence": origin.licence, **origin.record},
            "parameters": parameter_count(net),
            "input": {
                "type": "image, as uint8 pixels 0..255 before preprocessing",
                "channels": transform.channels,
                "height": transform.size,
                "width": transform.size,
            },
            "labels": list(labels),
            "preprocessing": _preprocessing(transform),
            "larger_images": why_one_size(net) or _larger(transform),
        },
    }


def is_nin(net: Network) -> bool:
    return any(isinstance(layer, MLPConv) for layer in net.modules())


def _input() -> dict[str, Any]:
    Image.init()
    formats = [Image.MIME[name] for name in FORMATS if name in Image.MIME]
    return {"format": [*formats, "image/jpg"], "dim_limits": [{"min": 1, "max": 4}, {"min": 1}, {"min": 1}]}


def _output(net: Network, classes: int, loss: Loss) -> list[dict[str, str]]:
    each = "" if loss == "cross_entropy" else ", each asked for by itself: they need not add up to 1"
    chances = {
        "name": "probabilities",
        "type": "label_list",
        "description": f"probabilities of the {classes} classes, most likely first{each}",
    }
    maps = {"name": "class_maps", "type": "custom", "description": f"{classes} maps; under GAP their means are logits"}
    return [chances] if why_no_maps(net) else [chances, maps]


def _preprocessing(transform: Transform | ImageNetTransform) -> list[str]:
    if isinstance(transform, ImageNetTransform):
        mean = ", ".join(map(str, IMAGENET_MEAN))
        order = "blue, green, red" if transform.blue_first else "red, green, blue"
        return [
            "the middle square, averaged down to 256 x 256; of it the middle 224 x 224",
            f"values 0..255 less {mean} (red, green, blue)",
            f"channels in the order {order}",
        ]
    spec = transform.fit.spec
    colours = "RGB" if spec.channels == 3 else "grey"
    first = f"the middle square as {colours}, averaged down to {spec.size} x {spec.size}"
    first += " (light strokes on a dark ground)" if spec.name == "mnist" else ""
    contrast = f"less the mean of all its values, divided by its norm / {spec.gcn_scale:g}"
    whitening = f"ZCA whitening fitted on the training images, bias {spec.zca_bias:g}"
    steps = {
        "gcn_zca": [contrast, f"{whitening}, its matrix rounded to {STEP:g}"],
        "gcn_lcn": [contrast, "LeCun's local contrast normalisation in windows of 7 x 7, each channel by itself"],
        "mean": ["values 0..1 less the mean training image"],
        "mean_255": ["values 0..255 less the mean training image"],
        "unit": ["values 0..1"],
    }
    return [first, *steps[spec.preprocessing]]


def _larger(transform: Transform | ImageNetTransform) -> str:
    if isinstance(transform, ImageNetTransform):
        return "with a size, the whole image is read and the maps grow with it"
    return LARGER[transform.fit.spec.preprocessing]
