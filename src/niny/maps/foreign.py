"""Scores of weights that are no run of this study, kept beside it: the authors' own network, above all."""

from pathlib import Path

from niny.config import Params
from niny.errors import NinyError
from niny.files import write_json
from niny.maps.listing import Found
from niny.maps.records import DIGITS
from niny.maps.suite import origin
from niny.models.registry import sha256
from niny.training.device import Compute
from niny.training.record import write_environment
from niny.training.weights_file import evaluate_file

RECORD = "maps.json"


def check_foreign(path: Path, folder: Path) -> None:
    """Raises NinyError where `folder` is none, and for weights of this study: stages keep the scores of those."""
    if folder.exists() and not folder.is_dir():
        raise NinyError(f"--keep: {folder} is a file; name a folder, as results/authors")
    if path.is_dir():
        raise NinyError(f"--keep: {path} is a folder; name a weights file of others")
    about = origin(path)
    if {"scale", "experiment"} <= set(about):
        stage = f"maps@{about['scale']}-{about['experiment']}"
        raise NinyError(f"--keep: {path} is of a run of this study; dvc repro {stage} keeps its scores")


def keep_found(found: Found, params: Params, folder: Path, root: Path, compute: Compute, *, attribution: bool) -> Path:
    """Write the scores with the test error and digest of the weights to `folder`, and where they were made beside."""
    said = evaluate_file(params, found.weights, params.datasets[found.data], root, compute.device.type)
    about = {
        "weights": found.weights.name,
        "sha256": sha256(found.weights),
        "data": found.data,
        "head": found.head,
        "test_error": said.error,
        "test_images": len(said.predicted),
        "grids": found.grids,
        "seconds": round(found.seconds, 1),
        "threads": found.threads,
        "skipped": found.left_out,
    }
    inside = folder.resolve().is_relative_to(root.resolve())  # where the study lies is no part of a record
    kept = folder.resolve().relative_to(root.resolve()) if inside else Path(folder.name)
    words = [found.weights.name, "--data", found.data, "--grids", str(found.grids), *["--attribution"] * attribution]
    command = f"niny maps score {' '.join(words)} --keep {kept}"
    write_json(folder / RECORD, {**about, "scores": found.scores}, DIGITS)
    write_environment(folder / "environment.json", compute, command, {"root": params.root_seed})
    return folder / RECORD
