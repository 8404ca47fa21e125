"""All scores of one network, or of all networks of a run: what `niny maps score` prints and the notebooks record."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from niny.config import PARAMS, DataSpec, Params
from niny.data.preprocess import Preprocessor, fitted
from niny.data.sets import Dataset, TinyImageNetVal, load, load_tiny_imagenet_val
from niny.errors import NinyError
from niny.maps.boxes import SHARED, box_scores
from niny.maps.comparison import METRICS, compare_network, few_of
from niny.maps.forward import why_no_maps
from niny.maps.intervals import Scores
from niny.maps.nested import over_seeds
from niny.maps.records import OF_ONE_SEED, load_seed
from niny.maps.scores import score_network, skipped
from niny.models import Network
from niny.models.loading import READERS
from niny.models.weights import WEIGHTS, load_weights
from niny.training.device import Compute, exact
from niny.training.record import read_metrics
from niny.training.weights_file import check_fit, load_network

FIRST = 0  # the seed of which weights are kept


@dataclass(frozen=True)
class Pictures:
    """The test images of a data set as networks see them, float32 on the device that scores, and images with boxes."""

    data: Dataset
    preprocessor: Preprocessor
    images: Tensor
    labels: Tensor
    boxed: TinyImageNetVal | None
    why_not_boxed: str | None  # where there are none


@dataclass(frozen=True)
class Subjects:
    """What a path names: networks by seed, scores of seeds whose weights are not kept, and which seeds collapsed."""

    path: Path
    nets: Mapping[int, Network]
    recorded: Mapping[int, Scores]
    collapsed: frozenset[int] = frozenset()

    @cached_property
    def net(self) -> Network:
        return next(iter(self.nets.values()))


def load_pictures(spec: DataSpec, root: Path, compute: Compute) -> Pictures:
    """Load and preprocess the test images of a data set, and the images with boxes that share its classes."""
    data = load(spec.name, root / "data")
    preprocessor = fitted(data, spec, root / "data")
    images = exact(compute).place(preprocessor.apply(data.test.images))
    labels = torch.from_numpy(data.test.labels).to(compute.device)
    boxed, why_not = None, None if set(SHARED) <= set(data.labels) else "the images with boxes show other classes"
    if why_not is None:
        try:
            boxed = load_tiny_imagenet_val(root / "data")
        except NinyError as error:
            why_not = str(error).replace(f"{root}/", "")  # where the study lies is no part of a record
    return Pictures(data, preprocessor, images, labels, boxed, why_not)


def load_subjects(params: Params, path: Path, compute: Compute) -> Subjects:
    """The networks of a weights file, the folder of one seed, or a run folder: all seeds that tables count."""
    weights, scored = weights_in(path), sorted(path.glob(f"seed-*/{OF_ONE_SEED}"))
    folders = of_present_settings(params, {_seed(file): file.parent for file in (*scored, *weights)})
    files = {_seed(file): file for file in weights if _seed(file) in folders}
    if not files:
        raise NinyError(f"the weights in {path} are of other settings than {PARAMS} has now: train that seed again")
    nets = {seed: load_network(params, file).to(compute.device).eval() for seed, file in files.items()}
    others = [file for file in scored if _seed(file) in folders.keys() - nets.keys()]
    collapsed = frozenset(
        k for k, f in folders.items() if (f / "metrics.json").is_file() and read_metrics(f)["collapsed"]
    )
    return Subjects(path, nets, {_seed(file): load_seed(file) for file in others}, collapsed)


def of_present_settings(params: Params, folders: dict[int, Path]) -> dict[int, Path]:
    """Of several run folders by seed those trained as params.yaml says now; all where none was."""
    if len(folders) < 2:
        return folders
    return {seed: folder for seed, folder in folders.items() if not _is_outdated(params, folder)} or folders


def _is_outdated(params: Params, folder: Path) -> bool:
    metrics = read_metrics(folder) if (folder / "metrics.json").is_file() else {}
    if not {"scale", "experiment", "run_digest"} <= set(metrics):
        return False
    return bool(metrics["run_digest"] != params.run(metrics["scale"], metrics["experiment"]).digest)


def weights_in(path: Path) -> list[Path]:
    """The weights files at a path, which may be one itself. Raises NinyError where there is none."""
    if not path.is_dir():
        return [path]
    found = [path / WEIGHTS] if (path / WEIGHTS).is_file() else sorted(path.glob(f"seed-*/{WEIGHTS}"))
    if not found:
        raise NinyError(f"{path} holds no {WEIGHTS}: name a weights file, or the folder of a finished run")
    return found


def _seed(file: Path) -> int:
    number = file.parent.name.removeprefix("seed-")
    return int(number) if number.isdecimal() else FIRST


def origin(path: Path) -> dict[str, str]:
    """What a weights file of ours says of itself: experiment, scale, run_digest. Nothing for those of others."""
    file = weights_in(path)[0]
    others = file.suffix in READERS and file.suffix != ".safetensors"
    return {} if others else load_weights(file)[1]


def score_subjects(subjects: Subjects, pictures: Pictures, *, seed: int, grids: int, compute: Compute) -> Scores:
    """All scores but those of `compare_subjects`, over all seeds; `seed` fixes the draws, the same for all networks.

    Collapsed runs enter no mean, as in all tables; where every run has collapsed, the scores say so themselves.
    """
    check_fit(subjects.net, pictures.images, pictures.preprocessor.spec, subjects.path)
    names = pictures.data.labels

    def score(net: Network) -> Scores:
        about = (net, pictures.images, pictures.labels)
        found = score_network(*about, names=names, seed=seed, grids=grids, compute=compute)
        if pictures.boxed is not None and why_no_maps(net) is None:
            with compute.autocast():
                found |= box_scores(net, pictures.boxed, pictures.preprocessor, names=names, seed=seed, count=grids)
        return found

    return _over_seeds(subjects, {k: score(net) for k, net in subjects.nets.items()}, compared=False)


def compare_subjects(
    subjects: Subjects, pictures: Pictures, *, seed: int, grids: int, twin: Network | None = None
) -> Scores:
    """The scores that need gradients or many passes, in float32 on few images, over all seeds as above.

    `twin` is the network that learnt permuted labels of the same data, where there is one.
    """
    if why_no_maps(subjects.net):
        return {}
    about = (pictures.images, pictures.labels)
    found = {
        k: compare_network(net, *about, names=pictures.data.labels, seed=seed, count=few_of(grids), twin=twin)
        for k, net in subjects.nets.items()
    }
    return _over_seeds(subjects, found, compared=True)


def _over_seeds(subjects: Subjects, found: Mapping[int, Scores], compared: bool) -> Scores:
    """With what the other seeds recorded of the same kind; collapsed runs left out unless there are no others."""
    every = dict(found)
    for seed, scores in subjects.recorded.items():
        if kept := {name: of for name, of in scores.items() if (name.partition(".")[0] in METRICS) == compared}:
            every[seed] = kept
    return over_seeds({k: scores for k, scores in every.items() if k not in subjects.collapsed} or every)


def left_out(subjects: Subjects, pictures: Pictures) -> dict[str, str]:
    """Which scores cannot be had here, and why."""
    boxes = pictures.why_not_boxed or why_no_maps(subjects.net)
    return skipped(subjects.net) | ({"box": boxes} if boxes else {})
