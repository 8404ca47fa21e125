"""One process trains a run at a time: the kernel's lock on a file, gone with its process however that ends."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from niny.errors import BusyError


@contextmanager
def claim(path: Path, what: str) -> Iterator[None]:
    """Hold the lock at `path`, on `what`. Raises BusyError naming the process that has it.

    The file stays: it says who held the lock last, and removing it would let two processes lock two files of one name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise BusyError(f"{what} is being trained by {holder}") from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield
