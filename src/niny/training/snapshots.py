"""What the class maps say while a network learns, and when it has learnt: looks at them that training takes itself.

While it learns: 64 fixed test images at every epoch at which the errors are looked at, at a cost far below 2 % of an
epoch; under global average pooling the maps of the first twelve are kept, to be leafed through. When it has
learnt: all scores of `niny.maps.scores` (and, where the scale is evidence, of `niny.maps.comparison`) for those seeds
whose weights are not kept, so that claims about maps can be judged over seeds.
Neither is ever used to choose anything.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from niny.config import SOURCES, Run
from niny.data.preprocess import fitted
from niny.data.sets import LABELS, load, load_tiny_imagenet_val
from niny.errors import NinyError
from niny.files import replacing
from niny.maps import figure4, grids
from niny.maps.concentration import entropy, gini
from niny.maps.followed import GRIDS, IMAGES, column
from niny.maps.forward import class_maps, head_kind, why_no_maps
from niny.maps.heads import orders_of, values_of
from niny.maps.intervals import Scores, bootstrap, rates
from niny.maps.records import save_seed
from niny.maps.views import VIEWS
from niny.models import Network
from niny.training.device import Compute
from niny.training.loop import TrainingData
from niny.training.seeds import derive

SIDE = 3
KEPT_IMAGES, KEPT_EPOCHS = 12, 24
FOLLOWED = "followed.npz"
PHOTOGRAPHS = "tiny-imagenet-val"


def followed_images(run: Run, count: int) -> Tensor:
    """Which of `count` test images are followed: the same for every experiment on one data set."""
    generator = torch.Generator().manual_seed(derive(run.root_seed, "maps", "followed"))
    return torch.randperm(count, generator=generator)[:IMAGES]


def look_at_maps(net: Network, data: TrainingData, run: Run, compute: Compute) -> dict[str, float]:
    """The columns of history.csv that tell of class maps, without those that the network or the images cannot have."""
    if why_no_maps(net):
        return {}
    some = followed_images(run, len(data.test_labels)).to(compute.device)
    images, labels = data.test_images[some], data.test_labels[some]
    with compute.autocast():
        maps, orders = class_maps(net, images), orders_of(net)
        hits = {column("claim1_rate", v): figure4.holds_largest(orders[v](maps), labels) for v in VIEWS}
        spread = concentrations(net, maps, labels)
        masses = grid_masses(net, images, labels)
    return with_ends(rates(hits, seed=0) | bootstrap(spread, seed=0) | bootstrap(masses, seed=0))


def concentrations(net: Network, maps: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """How concentrated the true class's map is in every reading; a dead map has no entropy."""
    place, found = torch.arange(len(maps), device=maps.device), dict[str, Tensor]()
    readings = values_of(net)
    for view in VIEWS:
        own = readings[view](maps)[place, labels]
        found |= {column("entropy", view): entropy(own), column("gini", view): gini(own)}
    return found


def with_ends(scores: Scores) -> dict[str, float]:
    """Scores as columns of history.csv: each with the ends of its interval."""
    ends = {f"{name}_{end}": of["interval"][i] for name, of in scores.items() for i, end in enumerate(("low", "high"))}
    return {name: of["value"] for name, of in scores.items()} | ends


def grid_masses(net: Network, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """GridPG on 3x3 grids of these images, by grid, in every reading; nothing where such grids cannot be made."""
    if len(labels.unique()) < SIDE**2:
        return {}
    index = grids.sample_grids(labels, SIDE, GRIDS, seed=0).to(labels.device)
    maps = class_maps(net, grids.assemble(images[index]))
    readings = values_of(net, SIDE)
    return {column("gridpg3_mass", view): grids.mass(readings[view](maps), labels[index], SIDE) for view in VIEWS}


def followed_maps(net: Network, data: TrainingData, run: Run, compute: Compute) -> Tensor | None:
    """The maps of the first followed images as they are now, KEPT_IMAGES x K x h x w in float16 on the host."""
    if head_kind(net) != "gap":
        return None
    some = followed_images(run, len(data.test_labels))[:KEPT_IMAGES].to(compute.device)
    with compute.autocast():
        return class_maps(net, data.test_images[some]).to("cpu", torch.float16)


def keep_followed(path: Path, history: Sequence[Mapping[str, Any]], run: Run, test_images: int) -> None:
    """Write what `followed_maps` left under "maps" in the history, at KEPT_EPOCHS epochs at most, early ones closest.

    The file holds `epoch` E, `image` N (numbers of test images) and `maps` E x N x K x h x w in float16.
    """
    rows = [row for row in history if row.get("maps") is not None]
    if not rows:
        return
    steps = np.geomspace(1, len(rows), KEPT_EPOCHS).round().astype(int) - 1
    chosen = rows if len(rows) <= KEPT_EPOCHS else [rows[step] for step in np.unique(steps)]
    images = followed_images(run, test_images)[:KEPT_IMAGES]
    with replacing(path) as part, part.open("wb") as file:
        np.savez_compressed(
            file,
            epoch=np.array([row["epoch"] for row in chosen], dtype=np.uint16),
            image=images.numpy().astype(np.uint16),
            maps=np.stack([row["maps"].numpy() for row in chosen]),
        )


def keep_scores(path: Path, net: Network, data: TrainingData, run: Run, root: Path, compute: Compute) -> None:
    """Score the maps of a trained network whose weights are not kept; read back by `niny.maps.records.load_seed`."""
    from niny.maps.comparison import compare_network, few_of
    from niny.maps.scores import score_network  # which build on this package

    about = (net, data.test_images, data.test_labels)
    names, seed = LABELS[run.data.name], run.root_seed
    scores = score_network(*about, names=names, seed=seed, grids=run.scale.grids, compute=compute)
    if why_no_maps(net) is None:
        scores |= scores_on_photographs(net, run, root, compute)
    if run.scale.evidence and why_no_maps(net) is None:
        with suppress(ImportError):  # a bare machine has no captum, and a trained network is not lost for that
            scores |= compare_network(*about, names=names, seed=seed, count=few_of(run.scale.grids))
    if run.experiment.varies != SOURCES:  # compared by values alone: no interval over runs is made of these
        scores = {name: {key: of[key] for key in of if key != "resamples"} for name, of in scores.items()}
    save_seed(path, run.experiment.name, run.scale.name, scores)


def lacks_for_scores(run: Run, root: Path) -> list[str]:
    """What to say before a network is trained whose weights, and so what else it could be asked, will not be kept."""
    from niny.maps.boxes import SHARED

    lacking = []
    if set(SHARED) <= set(LABELS[run.data.name]) and not (root / "data" / PHOTOGRAPHS).is_dir():
        lacking.append(f"no photographs with boxes here, and so no scores on them: niny data fetch {PHOTOGRAPHS}")
    if run.scale.evidence and find_spec("captum") is None:
        lacking.append("no captum here, and so no scores of other attributions: pip install captum")
    return lacking


def scores_on_photographs(net: Network, run: Run, root: Path, compute: Compute) -> Scores:
    """Scores on photographs with boxes; none where they, or the libraries that read them, are not at hand."""
    from niny.maps.boxes import SHARED, box_scores

    names = LABELS[run.data.name]
    if not set(SHARED) <= set(names):
        return {}
    try:
        boxed = load_tiny_imagenet_val(root / "data")
        preprocessor = fitted(load(run.data.name, root / "data"), run.data, root / "data")
        with compute.autocast():
            return box_scores(net, boxed, preprocessor, names=names, seed=run.root_seed, count=run.scale.grids)
    except (NinyError, ImportError):  # a trained network is not lost for that
        return {}
