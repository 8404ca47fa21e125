"""Run records with known numbers, for the tests of results and reports."""

import csv
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from shutil import copy
from typing import Any

import numpy as np

from niny.config import Params, Run, Scale, load_params
from niny.files import write_json

ROOT = Path(__file__).parents[1]
IMAGES = 10_000


def study_params() -> Params:
    """The project's parameters with two more scales for its experiments: `trial` without evidence, `full` with."""
    params = load_params(ROOT)
    trial = replace(params.scales["smoke"], name="trial", dataset=None, phases=((6, 1.0),), recipe=None, seeds=1)
    full = Scale("full", "the paper's networks", True, 5, 1, 5000, phases=((200, 1.0), (60, 0.1)))
    experiments = {
        name: replace(e, scales=(*e.scales, "trial", "full"))
        for name, e in params.experiments.items()
        if e.net != "nin_mnist"
    }
    return replace(params, scales={**params.scales, "trial": trial, "full": full}, experiments=experiments)


def project(root: Path) -> Path:
    root.mkdir(exist_ok=True)
    copy(ROOT / "params.yaml", root)
    copy(ROOT / "claims.yaml", root)
    copy(ROOT / "CITATION.cff", root)
    return root


def plant(root: Path, run: Run, seed: int, error: float, **changes: Any) -> Path:
    """A finished record with that test error in per cent; `changes` replace entries of its metrics.json."""
    folder = root / run.folder / f"seed-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    metrics: dict[str, Any] = {
        "experiment": run.experiment.name,
        "scale": run.scale.name,
        "seed": seed,
        "test_error": error,
        "train_error": error / 2,
        "test_images": IMAGES,
        "train_images": 50_000,
        "epochs": run.recipe.epochs,
        "collapsed": False,
        "collapsed_attempts": [],
        "parameters": 966_986,
        "forward_flops_per_image": 445_000_000,
        "training_seconds": 100.0 * run.recipe.epochs,
        "images_per_second": 500.0,
        "energy_joules": None,
        "run_digest": run.digest,
    }
    plant_history(folder / "history.csv", run.recipe.epochs, error)
    predicted = (np.arange(IMAGES) < round(error * IMAGES / 100)).astype(np.uint8)
    np.savez_compressed(folder / "predictions.npz", predicted=predicted, label=np.zeros(IMAGES, np.uint8))
    machine = {"processor": "Known CPU", "gpu": None, "threads": 2, "precision": "bfloat16"}
    origin = {"commit": "0123456789abcdef", "changed": False, "command": f"niny train {run.experiment.name}"}
    write_json(folder / "environment.json", machine | origin)
    write_json(folder / "metrics.json", metrics | changes)
    return folder


def plant_scores(root: Path, run: Run, scores: Mapping[str, tuple[float, float, float]], seeds: int = 1) -> Path:
    """Map scores of an experiment: {name: (value, low, high)} of 500 items, the same value for each seed."""
    path = root / "results" / run.scale.name / "maps" / f"{run.experiment.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {
        name: {"value": value, "interval": [low, high], "n": 500, "seeds": dict.fromkeys(map(str, range(seeds)), value)}
        for name, (value, low, high) in scores.items()
    }
    write_json(path, {"experiment": run.experiment.name, "scale": run.scale.name, "head": "gap", "scores": found})
    return path


def plant_history(path: Path, epochs: int, error: float) -> None:
    """Errors that fall like 1 / epoch to the final one; every second epoch without a look at train and test error."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["epoch", "lr", "train_loss", "train_error_masked", "train_error", "test_error", "seconds"])
        for epoch in range(1, epochs + 1):
            now = error + (90 - error) / epoch
            looked = ["", ""] if epoch % 2 else [f"{now / 2:.6g}", f"{now:.6g}"]
            writer.writerow([epoch, 0.1, 2.0 / epoch, f"{now * 0.7:.6g}", *looked, 10.0])


def change(path: Path, **entries: object) -> None:
    write_json(path, json.loads(path.read_text()) | entries)
