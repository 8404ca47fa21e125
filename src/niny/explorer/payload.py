"""All that the explorer shows of one network, as JSON: results/<scale>/explorer/<experiment>.json.

It is made from the record of a run (weights, the maps that training followed, scores) and the test images alone, so
that the same record gives the same bytes. What it holds is kept small: a page has to carry it.
"""

import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from niny.config import Params, Run, home, load_params
from niny.data.sets import LABELS, Split, load
from niny.errors import NinyError
from niny.evaluation.results import read_history
from niny.explorer.choice import choose
from niny.explorer.field import receptive_field
from niny.explorer.looks import Look, compared, entries, look
from niny.explorer.packing import pack, png
from niny.files import write_json
from niny.inference import Model
from niny.inference import load as load_model
from niny.maps import grids
from niny.maps.forward import class_maps, head_kind, why_no_maps
from niny.maps.heads import of_classes
from niny.maps.intervals import Scores
from niny.maps.records import load_scores
from niny.maps.views import VIEWS
from niny.models.weights import WEIGHTS
from niny.report.study import data_name, scale_label
from niny.training.record import seed_folder
from niny.training.seeds import derive
from niny.training.snapshots import FOLLOWED, KEPT_IMAGES, followed_images

VERSION = 1
IMAGES, GRIDS, SIDE = 40, 4, 3
NUMBERS = 200_000  # of class maps, of all images and once more of all epochs: bounds the file where classes are many
READINGS = ("raw", "centred", "margin")
SCORES = (  # what is named beside a picture, with its nulls
    *(f"{metric}.{view}" for metric in ("claim1_rate", "top10_share") for view in (*VIEWS, "random")),
    *(f"claim1_rate.raw.{part}" for part in ("correct", "wrong")),
    *(f"gridpg3_{kind}.{view}" for kind in ("mass", "hit") for view in (*VIEWS, "centre")),
    *(f"gridpg3_{kind}.raw.{null}" for kind in ("mass", "hit") for null in ("other_image", "untrained")),
)


@dataclass(frozen=True)
class Record:
    """What is recorded of a network beside its weights: the folder of its run, and the scores of its maps by name."""

    run: Run
    folder: Path
    scores: Scores


def target(root: Path, scale: str, experiment: str) -> Path:
    """Where the payload of an experiment's network is kept."""
    return root / "results" / scale / "explorer" / f"{experiment}.json"


def write_payload(scale: str, experiment: str, root: Path) -> Path:
    """Make and keep the payload of the weights that an experiment's record holds; its path.

    Raises NinyError for unknown names, a scale that holds images out, a network without class maps, and where weights,
    data or a file of the record are missing or damaged; nothing is written then.
    """
    model, record = recorded(load_params(root), scale, experiment, root)
    path = target(root, scale, experiment)
    write_json(path, payload_of(model, record))
    return path


def recorded(params: Params, scale: str, experiment: str, root: Path) -> tuple[Model, Record]:
    """The network that a run's record keeps, and that record."""
    run = params.run(scale, experiment)
    if run.scale.holdout:
        raise NinyError(f"scale {scale} never meets the test images, which the explorer shows: take another scale")
    folder = seed_folder(root, run, 0)
    if not (folder / WEIGHTS).is_file():
        raise NinyError(f"no weights of {experiment} at scale {scale}: run niny train {experiment} --scale {scale}")
    maps = root / "results" / scale / "maps"
    scores = load_scores(maps / f"{experiment}.json") | load_scores(maps / f"{experiment}.attribution.json")
    return load_model(str(folder / WEIGHTS)), Record(run, folder, scores)


def kept_payload(path: Path, model: Model) -> dict[str, Any] | None:
    """The payload at `path`, or None where there is none of these very weights."""
    try:
        payload: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return payload if (payload["version"], payload["weights"]) == (VERSION, _digest(model)) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def payload_of(model: Model, record: Record | None = None) -> dict[str, Any]:
    """The payload of any network that has class maps, with what is recorded of it.

    Raises NinyError for a network without class maps, and where the test images have not been fetched.
    """
    if reason := why_no_maps(model.net):
        raise NinyError(f"{model.config['meta']['name']} has no class maps to explore: {reason}")
    tests = tests_of(model)
    followed = _followed(record, len(tests)) if record and tests else {}
    seen, images = _of_tests(model, tests, record, followed) if tests else _of_samples(model)
    field = receptive_field(model.net)
    return {
        "version": VERSION,
        **_about(model, record),
        "head": head_kind(model.net),
        "classes": list(model.labels),
        "images": images,
        "maps": pack(seen.maps),
        "field": None if field is None else asdict(field),
        "epochs": _epochs(record, followed, seen) if record and head_kind(model.net) == "gap" else None,
        "attributions": compared(seen),
        "grids": _grids(model, tests) if tests else [],
        "scores": _scores(record),
    }


def _about(model: Model, record: Record | None) -> dict[str, Any]:
    """Whose network it is, and what it may stand for."""
    data = {"data": data_name(model.dataset), "weights": _digest(model)}
    if record is None:
        name, origin = model.config["meta"]["name"], model.config["model"]["provenance"]
        return {"experiment": name, "scale": None, "title": name, "label": origin, **data}
    run = record.run
    title = f"{run.experiment.title}, {run.scale.name} scale"
    about = {"experiment": run.experiment.name, "scale": run.scale.name, "title": title}
    return {**about, "label": scale_label(run.scale), **data}


def _digest(model: Model) -> str:
    return str(model.config["niny"]["weights"]["sha256"])


# --- images ---------------------------------------------------------------------------------------------------------


def tests_of(model: Model) -> Split | None:
    """The test images of a network's data set, None for one that is not among ours."""
    return load(model.dataset, home() / "data").test if model.dataset in LABELS else None


def _of_samples(model: Model) -> tuple[Look, list[dict[str, Any]]]:
    """Where a network's own data are none of ours, the pictures that stand in for them."""
    seen = look(model, torch.stack([model.transform.pixels(image) for image in model.samples()]))
    nothing = [None] * len(seen.pixels)
    return seen, entries(seen, nothing, nothing, nothing)


def _of_tests(
    model: Model, tests: Split, record: Record | None, followed: Mapping[str, Any]
) -> tuple[Look, list[dict[str, Any]]]:
    """The test images that are shown: those that were followed first, as many as there is room for."""
    pixels, labels = torch.from_numpy(tests.images), torch.from_numpy(tests.labels)
    count = min(IMAGES, max(1, NUMBERS // look(model, pixels[:1]).maps.numel()), len(labels))
    first = [int(i) for i in followed["image"]] if followed else _to_follow(record, len(labels))
    seed = derive(load_params(home()).root_seed, "explorer", "images")
    chosen = choose(labels, lambda some: look(model, pixels[some]).predicted, first, count, seed)
    seen = look(model, pixels[chosen])
    return seen, entries(seen, chosen, [None] * len(chosen), labels[chosen].tolist())


def _to_follow(record: Record | None, count: int) -> list[int]:
    """The images that runs follow; where a record was made before any did, the same, so that networks compare."""
    chosen: list[int] = [] if record is None else followed_images(record.run, count)[:KEPT_IMAGES].tolist()
    return chosen


# --- epochs ---------------------------------------------------------------------------------------------------------


def _followed(record: Record, tests: int) -> dict[str, Any]:
    """The maps of those of `tests` images that training followed; nothing where it followed none."""
    path = record.folder / FOLLOWED
    if not path.is_file():
        return {}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            epoch, image, maps = (arrays[name] for name in ("epoch", "image", "maps"))
        if maps.ndim != 5 or maps.shape[:2] != (len(epoch), len(image)) or image.max() >= tests:
            raise ValueError
        return {"epoch": epoch, "image": image, "maps": maps}
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise NinyError(f"{path} is damaged ({type(error).__name__}): delete the folder and train that seed") from None


def _epochs(record: Record, followed: Mapping[str, Any], seen: Look) -> dict[str, Any] | None:
    """Maps through the epochs, of as many followed images as there is room for, which are the first of all images.

    Under global average pooling only: what a cell adds under another head depends on the head of that epoch too.
    """
    if not followed:
        return None
    maps = torch.from_numpy(followed["maps"].astype(np.float32))
    room = max(1, NUMBERS // maps[:, 0].numel())
    shown = min(room, maps.shape[1], len(seen.pixels))
    errors = {int(row["epoch"]): row.get("test_error") for row in read_history(record.folder / "history.csv")}
    epochs = [int(epoch) for epoch in followed["epoch"]]
    return {
        "epoch": epochs,
        "test_error": [errors.get(epoch) for epoch in epochs],
        "image": list(range(shown)),
        "maps": pack(maps[:, :shown]),
    }


# --- grids and scores -----------------------------------------------------------------------------------------------


def _grids(model: Model, tests: Split) -> list[dict[str, Any]]:
    """The first of the 3 x 3 grids on which the network is scored, each with the maps of the classes in it."""
    if why_no_maps(model.net) or len(set(tests.labels.tolist())) < SIDE**2:
        return []
    labels = torch.from_numpy(tests.labels)
    index = grids.sample_grids(labels, SIDE, GRIDS, derive(load_params(home()).root_seed, "maps", "grids", SIDE))
    return [_grid(model, torch.from_numpy(tests.images[row.numpy()]), labels[row]) for row in index]


def _grid(model: Model, pixels: Tensor, labels: Tensor) -> dict[str, Any]:
    """One grid of nine images: each preprocessed by itself and laid beside the others, as for the scores."""
    canvas = grids.assemble(model.transform.normalise(pixels)[None])
    maps = of_classes(model.net, class_maps(model.net, canvas), SIDE)
    classes = labels[None]
    mass = {view: grids.mass(VIEWS[view](maps), classes, SIDE)[0].tolist() for view in READINGS}
    hit = {view: grids.hit(VIEWS[view](maps), classes, SIDE)[0].tolist() for view in READINGS}
    return {
        "labels": labels.tolist(),
        "png": png(grids.assemble(pixels[None])[0]),
        "maps": pack(grids.of_classes(maps, classes)[0]),
        "mass": {view: [round(share, 5) for share in shares] for view, shares in mass.items()},
        "hit": {view: [share > 0.5 for share in shares] for view, shares in hit.items()},  # ties share a hit
    }


def _scores(record: Record | None) -> dict[str, Any]:
    """The few scores that are named beside a picture: value, interval, n."""
    found: Scores = {} if record is None else record.scores
    return {name: {key: found[name][key] for key in ("value", "interval", "n")} for name in SCORES if name in found}
