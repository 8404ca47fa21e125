"""What the class maps say while a network learns, and when it has learnt: looks at them that training takes itself.

While it learns: 64 fixed test images at every epoch at which the errors are looked at, at a cost far below 2 % of an
epoch. When it has learnt: all scores of `niny.maps.scores` for those seeds whose weights are not kept, so that claims
about maps can be judged over seeds. Neither is ever used to choose anything.
"""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from niny.config import Run
from niny.data.sets import LABELS
from niny.files import write_json
from niny.maps import figure4, grids
from niny.maps.concentration import entropy, gini
from niny.maps.forward import class_maps, why_no_grids, why_no_maps
from niny.maps.views import VIEWS
from niny.models import Network
from niny.training.device import Compute
from niny.training.loop import TrainingData
from niny.training.seeds import derive

IMAGES, GRIDS, SIDE = 64, 16, 3
READINGS = ("raw", "centred", "margin")
COLUMNS = ("map_claim1_rate", "map_entropy", "map_gini", *(f"map_gridpg3_mass_{view}" for view in READINGS))


def look_at_maps(net: Network, data: TrainingData, run: Run, compute: Compute) -> dict[str, float]:
    """The columns of history.csv that tell of class maps, without those that the network or the images cannot have."""
    if why_no_maps(net):
        return {}
    generator = torch.Generator().manual_seed(derive(run.root_seed, "maps", "followed"))
    some = torch.randperm(len(data.test_labels), generator=generator)[:IMAGES].to(compute.device)
    images, labels = data.test_images[some], data.test_labels[some]
    with compute.autocast():
        maps = class_maps(net, images)
        own = maps[torch.arange(len(maps), device=maps.device), labels]
        found = (figure4.holds_largest(maps, labels), entropy(own), gini(own))
        row = {name: float(values.nanmean()) for name, values in zip(COLUMNS, found, strict=False)}
        row |= grid_masses(net, images, labels)
    return {name: value for name, value in row.items() if math.isfinite(value)}  # a dead map has no entropy


def grid_masses(net: Network, images: Tensor, labels: Tensor) -> dict[str, float]:
    """GridPG on 3x3 grids of these images, for three readings; nothing where such grids cannot be made."""
    if why_no_grids(net) or len(labels.unique()) < SIDE**2:
        return {}
    index = grids.sample_grids(labels, SIDE, GRIDS, seed=0).to(labels.device)
    maps = class_maps(net, grids.assemble(images[index]))
    return {
        f"map_gridpg3_mass_{view}": float(grids.mass(VIEWS[view](maps), labels[index], SIDE).mean())
        for view in READINGS
    }


def keep_scores(path: Path, net: Network, data: TrainingData, run: Run, compute: Compute) -> None:
    """Score the class maps of a trained network whose weights are not kept; read back by `niny.maps.suite`."""
    from niny.maps.scores import score_network  # which builds on this package

    scores: dict[str, Any] = score_network(
        net,
        data.test_images,
        data.test_labels,
        names=LABELS[run.data.name],
        seed=run.root_seed,
        grids=run.scale.grids,
        compute=compute,
    )
    write_json(path, {"experiment": run.experiment.name, "scale": run.scale.name, "scores": scores})
