"""Checkpoints: a run that is killed goes on from the last epoch that was written, which `runs.Keeper` decides.

The two latest that were are kept, a file each: a digest, then what torch.save wrote. Files are written under
a temporary name, synced and renamed, so a kill leaves those before in place; should the latest be damaged all the same,
the one before is used. The digest covers the identity of the training too: a file of another one counts as damaged.
"""

import hashlib
import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from niny.files import replacing

KEPT = 2


def save_checkpoint(folder: Path, epoch: int, identity: str, state: dict[str, Any]) -> None:
    """Write the state after so many epochs of the training `identity`, and drop what is older than the one before."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    body = buffer.getvalue()
    with replacing(folder / f"epoch-{epoch:04}.ckpt") as part:
        part.write_bytes(_digest(identity, body) + body)
    for path in latest_first(folder)[KEPT:]:
        path.unlink()


def load_checkpoint(folder: Path, identity: str, say: Callable[[str], None]) -> dict[str, Any] | None:
    """The latest state that can be trusted, or None. What cannot be is named and removed."""
    paths = latest_first(folder)
    for path in paths:
        try:
            raw = path.read_bytes()
        except FileNotFoundError:  # another process of the same training found it damaged first
            continue
        digest, body = raw[:32], raw[32:]
        if digest == _digest(identity, body):
            state: dict[str, Any] = torch.load(io.BytesIO(body), weights_only=True, map_location="cpu")
            return state
        say(f"{path} is damaged or of another training: it is not used")
        path.unlink(missing_ok=True)
    if paths:
        say(f"no checkpoint is left in {folder}: the training starts again")
    return None


def latest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("epoch-*.ckpt"), key=epoch_of, reverse=True)


def latest_below(folder: Path) -> Path | None:
    """The last written checkpoint of a run, whatever its attempt and the code that made it."""
    written: list[tuple[int, str, Path]] = []
    for path in folder.glob("*/attempt-*/epoch-*.ckpt"):
        with suppress(FileNotFoundError):  # whoever trains the run has just dropped it
            written.append((path.stat().st_mtime_ns, path.name, path))
    return max(written)[2] if written else None


def epoch_of(checkpoint: Path | None) -> int:
    return int(checkpoint.stem.removeprefix("epoch-")) if checkpoint else 0


def _digest(identity: str, body: bytes) -> bytes:
    return hashlib.sha256(identity.encode() + b"\0" + body).digest()
