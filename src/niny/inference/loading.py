"""`niny.load`: a network by the name of its weights, or from a file of this study or of others."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from niny.config import Loss, home, load_params, pick
from niny.data.sets import LABELS
from niny.data.transforms import ImageNetTransform, transform_for
from niny.errors import NinyError
from niny.inference.description import IMAGENET, Origin, describe
from niny.inference.model import Model
from niny.models import Network, get_weight, nin_imagenet, trained
from niny.models.loading import READERS, by_layer, read_cifar, read_raw
from niny.models.registry import sha256
from niny.models.weights import load_weights
from niny.training.weights_file import load_network


def load(name: str = "cifar10-nin", weights: str | Path | None = None) -> Model:
    """A trained network in evaluation mode, ready for `predict` and `class_maps`.

    `name` is one of `niny.models.list_weights()`, "imagenet-nin", or a weights file; `weights` is a file in place of
    the weights kept here (.safetensors, .caffemodel, .params, .pth). Raises NinyError for an unknown name, a name
    without weights, and a file that cannot be read or does not fit.
    """
    if weights is None and (Path(name).suffix in READERS or Path(name).is_file()):
        return _from_file(Path(name), None)
    if name == IMAGENET and weights is None:
        raise NinyError(f"no weights of {IMAGENET} are kept here: name a file (niny.load({name!r}, weights=FILE))")
    if name == IMAGENET:
        return _imagenet(Path(str(weights)))
    if weights is not None:
        pick(load_params(home()).experiments, name, "network")
        return _from_file(Path(weights), name)
    kept = get_weight(name)
    origin = Origin(name, kept.path, kept.meta["sha256"], kept.meta)
    return _model(trained(kept), kept.meta["dataset"], origin, load_params(home()).experiments[kept.name].loss)


def _from_file(file: Path, name: str | None) -> Model:
    """A file of this study says whose it is; one of others is a NIN for CIFAR or, by its layers, for ImageNet."""
    about = load_weights(file)[1] if file.suffix == ".safetensors" else {}
    if about.get("experiment", IMAGENET) != IMAGENET:
        return _own(file, name, about)
    if name is None and "cccp8.bias" in by_layer(read_raw(file)):
        return _imagenet(file)
    net = read_cifar(file)
    classes = by_layer(net.state_dict())["cccp6.bias"].numel()
    dataset = {10: "cifar10", 100: "cifar100"}.get(classes)
    wanted = load_params(home()).experiments[name].dataset if name else dataset
    if dataset is None or dataset != wanted:
        raise NinyError(f"{file} tells {classes} classes apart: not those of {wanted or 'CIFAR'}")
    if name not in (None, f"{dataset}-nin"):
        raise NinyError(f"{file} does not say that it is of {name}: files of others are read as {dataset}-nin")
    return _model(net.eval(), dataset, Origin(f"{dataset}-nin", file, sha256(file), {}))


def _own(file: Path, name: str | None, about: Mapping[str, str]) -> Model:
    params = load_params(home())
    if "scale" not in about:
        raise NinyError(f"{file} names its experiment but no scale: export the weights again, or load them by name")
    if name not in (None, about["experiment"]):
        raise NinyError(f"{file} holds weights of {about['experiment']}, not of {name}")
    net = load_network(params, file).eval()
    run = params.run(about["scale"], about["experiment"])
    origin = Origin(about["experiment"], file, sha256(file), {**about, **_record(file)})
    return _model(net, run.data.name, origin, run.experiment.loss)


def _record(file: Path) -> dict[str, Any]:
    """What the run's record beside the file says of it; nothing where the file stands alone."""
    try:
        metrics = json.loads((file.parent / "metrics.json").read_text())
        return {"seed": metrics["seed"], "test_error": metrics["weights_test_error"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _model(net: Network, dataset: str, origin: Origin, loss: Loss = "cross_entropy") -> Model:
    transform, labels = transform_for(dataset), LABELS[dataset]
    config = describe(net, dataset, transform, labels, origin, loss)
    return Model(net, transform, labels, config, dataset, origin.path, loss)


def _imagenet(file: Path) -> Model:
    """Caffe reads blue first; MXNet's copy of the network, and PyTorch, read red first. A file of ours says which."""
    about = load_weights(file)[1] if file.suffix == ".safetensors" else {}
    labels = _classes(file, about["classes"]) if "classes" in about else imagenet_labels()
    net = nin_imagenet(len(labels), weights=file).eval()
    order = about.get("channels", "bgr" if file.suffix == ".caffemodel" else "rgb")
    transform = ImageNetTransform(blue_first=order == "bgr")
    origin = Origin(IMAGENET, file, sha256(file), {})
    return Model(net, transform, labels, describe(net, "imagenet", transform, labels, origin), "imagenet", file)


def _classes(file: Path, text: str) -> tuple[str, ...]:
    try:
        return tuple(str(name) for name in json.loads(text))
    except (ValueError, TypeError):
        raise NinyError(f"{file} is damaged: its classes are no list of names; train or export it again") from None


def imagenet_labels() -> tuple[str, ...]:
    """The 1000 classes of ILSVRC 2012 in their usual order, from torchvision."""
    try:
        from torchvision.models import AlexNet_Weights
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision that was built for another torch
        raise NinyError(f"ImageNet's labels come from torchvision, which does not load here: {error}") from None
    return tuple(AlexNet_Weights.IMAGENET1K_V1.meta["categories"])
