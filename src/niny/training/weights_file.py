"""The test error of a weights file: of a run of this study, the authors' own Caffe network, or a published variant."""

from pathlib import Path

import torch

from niny.config import PARAMS, DataSpec, Params, Run
from niny.data.preprocess import fitted
from niny.data.sets import load
from niny.errors import NinyError
from niny.models import Network, build
from niny.models.loading import by_layer, fill, read_cifar
from niny.models.weights import load_weights
from niny.training.device import choose_compute
from niny.training.loop import Evaluation, evaluate


def load_network(params: Params, path: Path) -> Network:
    """The network a file belongs to, with its weights: by its metadata, or by the names of its layers.

    A file of others is a CIFAR NIN: the authors' .caffemodel, or a published variant's state dict. Raises NinyError for
    a file of another kind, an unknown experiment, weights that do not fit, and those of a trial of another
    preprocessing: whatever reads the network would give it images as its data set's are preprocessed.
    """
    if path.suffix != ".safetensors":
        return read_cifar(path)
    state, about = load_weights(path)
    if not {"scale", "experiment"} <= set(about):
        return read_cifar(path)
    run = params.run(about["scale"], about["experiment"])
    _check_no_trial(run, path)
    net = build(run)
    fill(net, by_layer(state), path)
    return net


def _check_no_trial(run: Run, path: Path) -> None:
    if tried := run.experiment.preprocessing:
        raise NinyError(
            f"{path} was trained to try preprocessing {tried!r}, and {run.data.name} is read otherwise: its record "
            f"holds the error on held-out images; to use it, set datasets.{run.data.name} in {PARAMS} and train again"
        )


def evaluate_file(params: Params, path: Path, spec: DataSpec, root: Path, device: str = "auto") -> Evaluation:
    """Evaluate `path` on the test images of a data set, in float32, preprocessed as in training."""
    compute = choose_compute(device, "float32")
    net = load_network(params, path).to(compute.device)
    dataset = load(spec.name, root / "data")
    images = compute.place(fitted(dataset, spec, root / "data").apply(dataset.test.images))
    labels = torch.from_numpy(dataset.test.labels).to(compute.device)
    check_fit(net, images, spec, path)
    return evaluate(net, images, labels, compute)


def check_fit(net: Network, images: torch.Tensor, spec: DataSpec, path: Path) -> None:
    """A network for other channels, another size or other classes cannot be evaluated on this set."""
    try:
        with torch.no_grad():
            classes = net.eval()(images[:1]).shape[1]
    except (RuntimeError, ValueError) as error:
        raise NinyError(f"{path} cannot read images of {spec.name}: {' '.join(str(error).split()):.200}") from None
    if classes != spec.classes:
        raise NinyError(f"{path} tells {classes} classes apart, {spec.name} has {spec.classes}")
