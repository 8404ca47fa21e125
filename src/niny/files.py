"""Writing files so that a reader never meets half of one: temporary name, lock, sync, rename.

A temporary name follows from the one that it stands for, and the kernel's lock on it ends with its process. So nothing
of a killed process stays for long: whoever does its work again takes up what it left.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from niny.errors import NinyError

LINE = 160  # characters of JSON that stay together


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`: synced and put in its place on success, removed on any error.

    A process that would write the same file meanwhile waits.
    """
    if path.is_dir():
        raise NinyError(f"{path} is a folder: name a file in it")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        with _locked(part) as handle:
            try:
                os.ftruncate(handle, 0)
                yield part
                _sync(part)
                part.replace(path)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
        _sync(path.parent)  # after a power cut, too, the new name shall be there
    except OSError as error:
        if error.filename in (None, str(part)):  # a user needs a name, and knows only the one that was asked for
            error.filename, error.filename2 = str(path), None
        raise


@contextmanager
def scratch_folder(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[Path]:
    """Make `path` an empty folder and remove it at the end. Another process that wants it calls `waiting` and waits."""
    lock = scratch_lock(path)
    lock.parent.mkdir(parents=True, exist_ok=True)
    with _locked(lock, waiting):
        try:
            if path.exists():  # a killed process left it
                shutil.rmtree(path)
            path.mkdir()
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
            lock.unlink(missing_ok=True)


def scratch_lock(path: Path) -> Path:
    """The file that is there as long as a scratch folder is, or has been left by a killed process."""
    return path.with_name(f"{path.name}.lock")  # a file, for a network's file systems lock no folders


@contextmanager
def replacing_record(folder: Path, last: str) -> Iterator[Path]:
    """Yield an empty folder; on success its files take the place of those in `folder`, on any error nothing changes.

    `last` is the file without which the others are no record: the old one goes before they come, the new one after.
    """
    with scratch_folder(folder.with_name(f".{folder.name}")) as new:
        yield new
        folder.mkdir(exist_ok=True)
        (folder / last).unlink(missing_ok=True)
        for old in folder.iterdir():
            if old.is_file() and not (new / old.name).exists():
                old.unlink()
        for path in sorted(new.iterdir(), key=lambda path: path.name == last):
            _sync(path)
            path.replace(folder / path.name)
        _sync(folder)


@contextmanager
def _locked(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[int]:
    """Hold the lock on the file `path`, made where there is none; again where its last holder has moved it away."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(handle, waiting)
            if _bears(path, handle):
                yield handle
                return
        finally:
            os.close(handle)


def _lock(handle: int, waiting: Callable[[], None]) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        waiting()
        fcntl.flock(handle, fcntl.LOCK_EX)


def _bears(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def between(text: str, begin: str, end: str, part: str) -> str | None:
    """`text` with `part`, on lines of its own, between two markers; None where it does not have them."""
    head, found, rest = text.partition(begin)
    _, ended, tail = rest.partition(end)
    return f"{head}{begin}\n{part}\n{end}{tail}" if found and ended else None


def write_json(path: Path, value: Any, digits: int = 17) -> None:
    """Deterministic JSON: sorted keys, a final newline; what is short, and any list of plain values, on one line.

    Fractions keep `digits` significant digits; 17 keep all that there is.
    """
    text = json.dumps(value, sort_keys=True, allow_nan=False)
    ordered = json.loads(text, parse_float=lambda fraction: float(f"{float(fraction):.{digits}g}"))
    write_text(path, _laid_out(ordered) + "\n")


def _laid_out(value: Any, inset: str = "") -> str:
    line, further = json.dumps(value), f"{inset}  "
    if len(line) <= LINE or not isinstance(value, dict | list):
        return line
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {_laid_out(part, further)}" for key, part in value.items()]
    elif any(isinstance(part, dict | list) for part in value):
        parts = [_laid_out(part, further) for part in value]
    else:
        return line
    inside = f",\n{further}".join(parts)
    return f"{line[0]}\n{further}{inside}\n{inset}{line[-1]}"
