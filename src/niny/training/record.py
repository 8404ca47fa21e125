"""What a run leaves behind: results/<scale>/runs/<experiment>/seed-<k>/.

    metrics.json      final errors, parameters, FLOPs, images/s, wall time, energy, collapsed attempts, what was trained
    history.csv       a line an epoch: lr, train loss, errors with and without masks, share of live outputs, classes
                      without one, seconds, joules where they can be read, and what the class maps of 64 fixed test
                      images say
    predictions.npz   predicted and true class of every test image, for paired tests
    environment.json  hardware, versions, commit, command, seeds, whether other runs shared the device, and in which
                      form the network was trained: as it is, joined, fused or compiled, which are the same function,
                      not the same bits; of a training that went on elsewhere the first epoch on each machine, too
    weights.safetensors   float16, kept for seed 0 unless the experiment says otherwise
    followed.npz      class maps of twelve fixed test images through the epochs, beside the weights
    maps.json, .npz   scores of the class maps and what they are on resampled images, for the other seeds

metrics.json is put there last: a folder without it is no record.
"""

import csv
import hashlib
import io
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from niny.config import Run
from niny.errors import NinyError
from niny.files import replacing, write_json, write_text
from niny.maps import followed
from niny.training.device import Compute

PACKAGE = Path(__file__).parents[1]
COMMIT = "NINY_COMMIT"  # what `describe_commit` says, as JSON, where the package was sent without its clone
COLUMNS = (
    "epoch",
    "lr",
    "train_loss",
    "train_error_masked",
    "train_error",
    "test_error",
    "live_share",
    "silent_classes",
    "seconds",
    "energy_joules",
    *followed.WITH_ENDS,
)


@cache
def code_digest() -> str:
    """Sixteen hex digits over the source that decides what a training does: data, models, training.

    As it was when a process first asked: code that is edited meanwhile is not what trains.
    """
    digest = hashlib.sha256()
    for folder in ("data", "models", "training"):
        for path in sorted((PACKAGE / folder).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def seed_folder(root: Path, run: Run, seed: int) -> Path:
    return root / run.folder / f"seed-{seed}"


def is_finished(folder: Path, run: Run) -> bool:
    """Is there a record of exactly this training? At scales that do not keep records, changed code voids it too."""
    try:
        metrics = json.loads((folder / "metrics.json").read_text())
    except (OSError, ValueError):
        return False
    if not isinstance(metrics, dict):
        return False
    same_code = run.scale.keep_records or metrics.get("code") == code_digest()
    return bool(metrics.get("run_digest") == run.digest and same_code)


def read_metrics(folder: Path) -> dict[str, Any]:
    try:
        metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
        if missing := sorted({"collapsed", "collapsed_attempts", "test_error"} - set(metrics)):
            raise ValueError(f"it lacks {missing[0]}")
    except OSError as error:
        raise NinyError(f"no record in {folder}: {error.strerror}") from None
    except ValueError as error:
        raise NinyError(
            f"{folder}/metrics.json is damaged ({error}): delete the folder and train that seed again"
        ) from None
    return metrics


def write_history(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """An empty field where an epoch was not evaluated."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _short(value) for key, value in row.items() if key in COLUMNS} for row in rows)
    write_text(path, text.getvalue())


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


def write_predictions(path: Path, predicted: np.ndarray, labels: np.ndarray) -> None:
    with replacing(path) as part, part.open("wb") as file:
        np.savez_compressed(file, predicted=predicted.astype(np.uint8), label=labels.astype(np.uint8))


def write_environment(
    path: Path, compute: Compute, command: str, seeds: Mapping[str, Any], more: Mapping[str, Any] | None = None
) -> None:
    told = {"command": command, "seeds": dict(seeds), **(more or {})}
    write_json(path, {**describe_machine(compute), **told, **describe_commit()})


def describe_machine(compute: Compute) -> dict[str, Any]:
    """Hardware and versions, as far as the standard library and torch can tell."""
    gpu = torch.cuda.get_device_name() if compute.device.type == "cuda" else None
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": compute.processes,
        "parts": compute.parts,
        "gpu": gpu,
        "precision": compute.precision,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.machine()}",
    }


def name_machine(compute: Compute) -> str:
    """What decides how long an epoch takes and how it rounds, in one line."""
    told = describe_machine(compute)
    device = told["gpu"] or f"{told['processor']}, {told['threads']} threads"
    return f"{device}, torch {told['torch']}"


@cache
def _processor() -> str:
    """Its name, and on x86 the family and model: virtual machines call generations of twice the speed by one name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = facts.get("model name", "unknown")
    return f"{name} (family {facts['cpu family']}, model {facts['model']})" if "cpu family" in facts else name


@cache
def describe_commit() -> Mapping[str, Any]:
    """The commit the code stands at, and whether the package differs from it; None outside a git clone.

    As it was when a process first asked, as with the digest.
    """
    if sent := os.environ.get(COMMIT):
        return dict(json.loads(sent))
    try:
        commit = _git("rev-parse", "HEAD")
        return {"commit": commit, "changed": bool(_git("status", "--porcelain", "--", str(PACKAGE), ":/params.yaml"))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "changed": None}


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, cwd=PACKAGE)
    return done.stdout.strip()
