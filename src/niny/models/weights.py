"""Trained weights as safetensors files: eight bytes of length, a JSON header, raw little-endian tensors.

The format is written and read here in a few lines so that a bare machine needs nothing but numpy; the tests hold both
directions against the safetensors library. Nothing in such a file can be executed.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from niny.errors import NinyError
from niny.files import replacing

WEIGHTS = "weights.safetensors"  # in the folder of a run
DTYPES: dict[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4")}
MAX_HEADER = 1 << 20
LARGEST = 1 << 28  # bytes of a weights file, and of its tensors: the largest network here, for ImageNet, has 3.1e7


def save_weights(
    path: Path, state: Mapping[str, Tensor], about: Mapping[str, str], dtype: torch.dtype = torch.float16
) -> None:
    """Write `state` as float16, or as float32, with `about` as the file's metadata.

    Counters stay out: the updates that batch norm has seen are no weight, and soon more than a float16 can hold.
    """
    kind = {torch.float16: "F16", torch.float32: "F32"}[dtype]
    header: dict[str, Any] = {"__metadata__": dict(about)}
    blobs, offset = [], 0
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            continue
        blob = tensor.detach().cpu().to(dtype).contiguous().numpy().tobytes()
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path) as part:
        part.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blobs))


def load_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(state as float32 tensors, metadata). A file that is cut short or no safetensors is a NinyError."""
    try:
        raw = read_bounded(path)
        size = int.from_bytes(raw[:8], "little")
        if len(raw) < 8 or size > min(MAX_HEADER, len(raw) - 8):
            raise ValueError("the header does not fit in the file")
        header = json.loads(raw[8 : 8 + size])
        about = header.pop("__metadata__", {})
        if not all(isinstance(text, str) for text in about.values()):
            raise ValueError("its metadata are no texts")
        body = memoryview(raw)[8 + size :]
        _check_apart(header.values(), len(body))
        return {name: _tensor(body, entry) for name, entry in header.items()}, about
    except OSError as error:
        raise NinyError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise NinyError(f"{path} is not a readable safetensors file: {' '.join(str(error).split()):.150}") from None


def read_bounded(path: Path) -> bytes:
    """The content of a weights file. Raises NinyError for one that is larger than any network here could fill."""
    with path.open("rb") as file:
        large = os.fstat(file.fileno()).st_size > LARGEST
        raw = b"" if large else file.read(LARGEST + 1)
    if large or len(raw) > LARGEST:  # a pipe does not tell its size
        raise NinyError(f"{path} is larger than the weights of any network here ({LARGEST >> 20} MB)")
    return raw


def _check_apart(entries: Iterable[Mapping[str, Any]], size: int) -> None:
    """Tensors that share bytes could ask for any amount of memory."""
    if sum(end - start for start, end in (entry["data_offsets"] for entry in entries)) > size:
        raise ValueError("its tensors overlap")


def _tensor(body: memoryview, entry: Mapping[str, Any]) -> Tensor:
    start, end = entry["data_offsets"]
    if min(entry["shape"], default=0) < 0 or not 0 <= start <= end <= len(body):
        raise ValueError(f"a tensor lies outside the file ({start} to {end} of {len(body)} bytes)")
    array = np.frombuffer(body[start:end], DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return torch.from_numpy(array.astype(np.float32))
