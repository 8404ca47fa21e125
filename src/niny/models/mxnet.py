"""Read MXNet's `.params` files (`nin-0000.params` of its model zoo) without MXNet.

Such a file is a list of dense arrays and their names, little-endian: a magic number, how many arrays, then for each a
version mark, its storage (0 is dense), shape, device, element type and values; last the names, which start with `arg:`
or `aux:`. Files of versions 2 (since 2017) and 3 (NumPy shapes) are read, as MXNet 1.9.1 writes them; no length is
believed before it is held against the file, and nothing in it is executed.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from niny.errors import NinyError
from niny.models.weights import read_bounded

LIST_MAGIC = 0x112
VERSIONS = (0xF993FAC9, 0xF993FACA)
TYPES = {0: "<f4", 1: "<f8", 2: "<f2"}  # MXNet's numbers for element types that weights come in
MAX_AXES, MAX_ARRAYS = 32, 10_000


def read_params(path: Path) -> dict[str, Tensor]:
    """Arrays by name (`conv1_weight`, without `arg:`), as float32. A malformed file is a NinyError."""
    try:
        return _Reader(memoryview(read_bounded(path))).arrays()
    except OSError as error:
        raise NinyError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, struct.error, RuntimeError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise NinyError(f"{path} is not a readable MXNet .params file: {reason:.150}") from None


@dataclass
class _Reader:
    raw: memoryview
    at: int = 0

    def arrays(self) -> dict[str, Tensor]:
        magic, _, count = self.numbers("QQQ")
        if magic != LIST_MAGIC:
            raise ValueError("it does not begin as MXNet's lists of arrays do")
        if count > MAX_ARRAYS:
            raise ValueError(f"{count} arrays are more than any network has")
        values = [self.array() for _ in range(count)]
        (named,) = self.numbers("Q")
        if named != count:
            raise ValueError(f"{count} arrays, but {named} names")
        names = [bytes(self.take(self.numbers("Q")[0])).decode() for _ in range(count)]
        return {name.removeprefix("arg:").removeprefix("aux:"): v for name, v in zip(names, values, strict=True)}

    def array(self) -> Tensor:
        version, storage, axes = self.numbers("IiI")
        if version not in VERSIONS or storage != 0 or axes > MAX_AXES:
            raise ValueError(f"an array at byte {self.at} is of a version or storage that no dense weights have")
        shape = self.numbers("q" * axes)
        _, _, kind = self.numbers("iii")
        if kind not in TYPES or any(length < 0 for length in shape):
            raise ValueError(f"element type {kind} and shape {shape} are not those of weights")
        dtype = np.dtype(TYPES[kind])
        count = 1
        for length in shape:
            count *= length  # Python's integers cannot overflow
        values = np.frombuffer(self.take(count * dtype.itemsize), dtype)
        return torch.from_numpy(values.astype(np.float32)).reshape(shape)

    def numbers(self, kinds: str) -> tuple[int, ...]:
        return struct.unpack(f"<{kinds}", self.take(struct.calcsize(f"<{kinds}")))

    def take(self, size: int) -> memoryview:
        if size > len(self.raw) - self.at:
            raise ValueError(f"{size} bytes at byte {self.at}, but only {len(self.raw) - self.at} are left")
        self.at += size
        return self.raw[self.at - size : self.at]
