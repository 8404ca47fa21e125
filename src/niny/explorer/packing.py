"""Numbers and pictures as text for JSON: maps as scaled 16-bit integers, images as PNG, both in base64."""

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from niny.errors import NinyError

LARGEST = 32767
DTYPE = "<i2"  # little-endian, whatever the machine


def pack(values: Tensor) -> dict[str, Any]:
    """A tensor of any shape as {shape, scale, data}: a value is scale x integer, off by half of scale at most.

    Raises NinyError where a value is no number, as those of a network that diverged.
    """
    array = values.detach().cpu().double().numpy()
    if not np.isfinite(array).all():
        raise NinyError("the network gives values that are no numbers, so there is nothing to show: train it again")
    scale = float(np.abs(array).max(initial=0.0)) / LARGEST or 1.0
    data = np.rint(array / scale).astype(DTYPE).tobytes()
    return {"shape": list(array.shape), "scale": scale, "data": _text(data)}


def unpack(packed: Mapping[str, Any]) -> Tensor:
    """What `pack` packed, float64."""
    integers = np.frombuffer(base64.b64decode(packed["data"]), DTYPE)
    return torch.from_numpy(integers.astype(np.float64) * packed["scale"]).view(packed["shape"])


def png(pixels: Tensor) -> str:
    """An image, uint8 C x H x W with one channel or three, as a PNG."""
    array = pixels.cpu().numpy()
    file = io.BytesIO()
    Image.fromarray(array[0] if len(array) == 1 else array.transpose(1, 2, 0)).save(file, "PNG", optimize=True)
    return _text(file.getvalue())


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
