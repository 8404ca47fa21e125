"""Read the authors' trained networks from Caffe's protobuf files, without Caffe: the proof that our layers are theirs.

A .caffemodel is a protobuf message. Only four fields of it matter here (layer name, its blobs, their shape and data),
and the wire format has four kinds of field, so a bounded reader of one page does; nothing in the file is executed.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from niny.errors import NinyError
from niny.models.weights import read_bounded

T = TypeVar("T")

# Field numbers in caffe.proto: NetParameter.layer / .layers (old), then name and blobs of either layer message.
LAYER, OLD_LAYER = 100, 2
NAME_AND_BLOBS = {LAYER: (1, 7), OLD_LAYER: (4, 6)}
BLOB_OLD_SHAPE, BLOB_DATA, BLOB_SHAPE = (1, 2, 3, 4), 5, 7
MAX_LAYERS, MAX_BLOBS, MAX_AXES = 10_000, 16, 32  # else a small file could ask for any amount of memory


def read_caffemodel(path: Path) -> dict[str, list[Tensor]]:
    """Blobs (float32, Caffe's shapes) of every layer that has any, by layer name. A malformed file is a NinyError."""
    try:
        layers = _layers(memoryview(read_bounded(path)))
    except OSError as error:
        raise NinyError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, IndexError, TypeError, RuntimeError, OverflowError) as error:
        raise NinyError(f"{path} is not a readable Caffe model: {' '.join(str(error).split()):.150}") from None
    layers = {name: blobs for name, blobs in layers.items() if blobs}
    if not layers:
        raise NinyError(f"{path} holds no Caffe layer with weights: is it a .caffemodel file?")
    return layers


def _layers(raw: memoryview) -> dict[str, list[Tensor]]:
    bodies = [(n, body) for n, body in _few(_fields(raw), 2 * MAX_LAYERS, "fields") if n in NAME_AND_BLOBS]
    return dict(_layer(body, *NAME_AND_BLOBS[n]) for n, body in bodies)


def _few(items: Iterator[T], most: int, what: str) -> Iterator[T]:
    for count, item in enumerate(items):
        if count == most:
            raise ValueError(f"more than {most} {what}")
        yield item


def _layer(body: memoryview | int, name_field: int, blob_field: int) -> tuple[str, list[Tensor]]:
    name = ""
    blobs: list[Tensor] = []
    for number, value in _few(_fields(_message(body)), MAX_LAYERS, "fields of a layer"):
        if number == name_field:
            name = bytes(_message(value)).decode()
        elif number == blob_field and len(blobs) == MAX_BLOBS:
            raise ValueError(f"more than {MAX_BLOBS} blobs of a layer")
        elif number == blob_field:
            blobs.append(_blob(_message(value)))
    return name, blobs


def _blob(body: memoryview) -> Tensor:
    shape: list[int] = []
    old_shape = [1, 1, 1, 1]
    data = np.empty(0, np.float32)
    for number, value in _fields(body):
        if number == BLOB_DATA:
            data = np.frombuffer(_message(value), "<f4")
        elif number == BLOB_SHAPE:
            lengths = (n for _, packed in _fields(_message(value)) for n in _varints(_message(packed)))
            shape = list(_few(lengths, MAX_AXES, "axes"))
        elif number in BLOB_OLD_SHAPE and isinstance(value, int):
            old_shape[number - 1] = value
    return torch.from_numpy(data.copy()).reshape(shape or old_shape)


def _message(value: memoryview | int) -> memoryview:
    if isinstance(value, int):
        raise TypeError("a number stands where a message should")
    return value


def _varint(raw: memoryview, at: int) -> tuple[int, int]:
    """A base-128 number and the position after it."""
    number = shift = 0
    while shift < 64:
        byte = raw[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
    raise ValueError("a number runs past ten bytes")


def _varints(raw: memoryview) -> Iterator[int]:
    at = 0
    while at < len(raw):
        number, at = _varint(raw, at)
        yield number


def _fields(raw: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """The (field number, value) pairs of a message; no length is believed before it is checked."""
    at = 0
    while at < len(raw):
        key, at = _varint(raw, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(raw, at)
            yield number, value
            continue
        if kind == 2:
            size, at = _varint(raw, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind} at byte {at}")
        if size > len(raw) - at:
            raise ValueError(f"a field of {size} bytes at byte {at}, but only {len(raw) - at} are left")
        yield number, raw[at : at + size]
        at += size
