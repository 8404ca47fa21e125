"""Writing files so that a reader never meets half of one: temporary name, sync, rename."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`: synced and put in its place on success, removed on any error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    part = Path(name)
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.chmod(0o644)  # mkstemp makes private files; results are meant to be read
        part.replace(path)
        _sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """After a power cut, too, the new name shall be there."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_parts(folder: Path) -> None:
    """Take away what killed writers left in a folder that nobody else writes to."""
    for part in folder.glob(".*.part"):
        part.unlink()


def write_text(path: Path, text: str) -> None:
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def between(text: str, begin: str, end: str, part: str) -> str | None:
    """`text` with `part`, on lines of its own, between two markers; None where it does not have them."""
    head, found, rest = text.partition(begin)
    _, ended, tail = rest.partition(end)
    return f"{head}{begin}\n{part}\n{end}{tail}" if found and ended else None


def write_json(path: Path, value: Any) -> None:
    """Deterministic JSON: sorted keys, two spaces, a final newline."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def sha1(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha1").hexdigest()
