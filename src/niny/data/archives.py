"""Opening what data sets come packed in: tar archives, gzip files, pickled batches. Nothing in them is believed.

What is damaged or more than a data set needs is a NinyError that names the file. No link is made, nothing is written
outside the folder that was asked for, no class of a pickle is called but stand-ins of ours, and sizes are bounded.
"""

import gzip
import io
import pickle
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from niny.errors import NinyError

LARGEST = 1 << 31  # bytes that a file or an archive may hold, unpacked: the largest official one, of SVHN, has 1.3e9
LARGEST_IDX = 1 << 26  # the same of MNIST's files, which have up to 4.7e7
MOST_IMAGES = 50_000  # of a pickled batch


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Any failure within is about this file: its content decides which error a library raises."""
    try:
        yield
    except NinyError as error:
        raise NinyError(f"{path.name}: {error}") from None
    except OSError as error:
        if error.errno is not None:  # the machine's, as of a full disk, and not of the content
            raise
        raise NinyError(f"{path.name} is damaged: {error}") from None
    except Exception as error:
        raise NinyError(f"{path.name} is damaged: {type(error).__name__}: {error}") from None


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar archive of plain files into `folder`."""
    with naming(archive), tarfile.open(archive) as tar:
        size = 0
        for member in tar:
            _check_member(member)
            size += member.size
            if size > LARGEST:
                raise NinyError("it holds more than any data set has")
        named: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # not in Python 3.11.2
        tar.extractall(folder, **named)


def _check_member(member: tarfile.TarInfo) -> None:
    path = PurePosixPath(member.name)
    if not (member.isreg() or member.isdir()):
        raise NinyError(f"{member.name!r} is neither file nor folder but a link or a device: not unpacked")
    if path.is_absolute() or ".." in path.parts:
        raise NinyError(f"{member.name!r} would lie outside the folder it is unpacked in: not unpacked")


def gunzip(path: Path) -> bytes:
    """The content of one of MNIST's gzip files."""
    with naming(path), gzip.open(path) as file:
        data = file.read(LARGEST_IDX + 1)
        if len(data) > LARGEST_IDX:
            raise NinyError("it holds more than the official file")
        return data


def read_batch(path: Path, kinds: tuple[str, ...]) -> tuple[NDArray[np.uint8], list[NDArray[np.uint8]]]:
    """Images [N, 3072] and, for each of `kinds`, labels [N] of one of CIFAR's pickled batches."""
    raw = path.read_bytes()
    with naming(path):
        batch = unpickle(raw)
        images = batch["data"]
        if not isinstance(images, np.ndarray) or images.ndim != 2 or not 0 < len(images) <= MOST_IMAGES:
            raise NinyError("its images are no table of bytes")
        return images, [_labels(batch[kind], len(images)) for kind in kinds]


def _labels(values: Any, count: int) -> NDArray[np.uint8]:
    # lists that hold lists, each of them many times over, would grow without end as an array
    if not isinstance(values, list) or len(values) != count or not all(type(value) is int for value in values):
        raise NinyError(f"its labels are no list of {count} numbers")
    return np.array(values, np.uint8)


def unpickle(raw: bytes) -> dict[str, Any]:
    """A pickled dict of arrays of bytes, strings, numbers, lists and dicts: all that a data set needs."""
    stream = io.BytesIO(raw)
    content = _BatchUnpickler(stream, encoding="latin1").load()
    if stream.read(1):
        raise NinyError("more follows where it should end")
    if not isinstance(content, dict):
        raise NinyError(f"it holds a {type(content).__name__} where a dict should be")
    return {str(key): value.values if isinstance(value, _Array) else value for key, value in content.items()}


class _BatchUnpickler(pickle.Unpickler):
    """Makes arrays, strings, numbers, lists and dicts: a pickle that asks for any other class is refused."""

    def find_class(self, module: str, name: str) -> Any:
        # numpy's array maker moved from numpy.core to numpy._core
        stand_ins = {"_reconstruct": _Array, "ndarray": _Array, "dtype": _Bytes}
        if module.split(".")[0] == "numpy" and name in stand_ins:
            return stand_ins[name]
        raise NinyError(f"it asks for {module}.{name}, which no data set needs: not opened, it could run code")


class _Bytes:
    """Stands for numpy.dtype, which must be of bytes."""

    def __init__(self, code: str, *_: Any) -> None:
        if code.lstrip("|") != "u1":
            raise NinyError(f"it holds an array of {code!r:.20}, not of bytes")

    def __setstate__(self, state: Any) -> None:
        pass


class _Array:
    """Stands for numpy.ndarray, whose own way to take up a state is not meant for states of unknown origin."""

    def __init__(self, *_: Any) -> None:
        self.values = np.empty(0, np.uint8)

    def __setstate__(self, state: tuple[int, tuple[int, ...], _Bytes, bool, Any]) -> None:
        _, shape, kind, fortran, content = state
        if not isinstance(kind, _Bytes):
            raise NinyError("it holds an array that is not of bytes")
        raw = content.encode("latin1") if isinstance(content, str) else content  # Python 2 knew only one kind
        self.values = np.frombuffer(raw, np.uint8).reshape(shape, order="F" if fortran else "C")
