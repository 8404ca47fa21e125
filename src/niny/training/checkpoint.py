"""Checkpoints: a run that is killed goes on from its last finished epoch.

A file is a digest followed by what torch.save wrote; it is written under a temporary name, synced and renamed, so a
kill leaves the one before in place. What does not match its digest or belongs to another training is not used.
"""

import hashlib
import io
from pathlib import Path
from typing import Any

import torch

from niny.files import replacing


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    body = buffer.getvalue()
    with replacing(path) as part:
        part.write_bytes(hashlib.sha256(body).digest() + body)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The saved state, or None where there is none that can be trusted."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    digest, body = raw[:32], raw[32:]
    if hashlib.sha256(body).digest() != digest:
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(body), weights_only=True, map_location="cpu")
    return state
