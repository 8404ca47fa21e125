"""Answers to what the explorer asks of a running network: any test image by its number, any image file.

What comes in was sent by a page and is not trusted: a wrong number, a file that is no image, is broken or too large,
or a message of another kind gives one line that says so, and nothing else happens.
"""

import base64
import binascii
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from niny.data.sets import Split
from niny.errors import NinyError
from niny.explorer.looks import attributions, entries, look
from niny.explorer.packing import pack
from niny.explorer.payload import tests_of
from niny.images import read_bytes
from niny.inference import Model

LARGEST_FILE = 7 << 20  # bytes: as base64 it fits into the 10 MiB that a Jupyter server takes in one message
NAME = 60  # characters of a file's name that are shown


@dataclass(frozen=True, eq=False)
class Live:
    """A network that answers."""

    model: Model

    def answer(self, message: Any) -> dict[str, Any]:
        """{"type": "image", image, maps, attributions} or {"type": "error", text} to one message of the page."""
        try:
            match message:
                case {"type": "index", "index": index}:
                    return self.of_test(index)
                case {"type": "file", "name": str(name), "data": str(data)}:
                    return self.of_file(name, data)
            raise NinyError("a message that the explorer does not know: ask for a test image or send an image file")
        except NinyError as error:
            return {"type": "error", "text": str(error)}

    def of_test(self, index: object) -> dict[str, Any]:
        """The test image of that number, from 0. Raises NinyError where there is none."""
        if self.tests is None:
            raise NinyError(f"test images of {self.model.dataset} are not at hand: give an image file")
        if type(index) is not int or not 0 <= index < len(self.tests):
            raise NinyError(f"no test image {index!r:.40}: they are numbered from 0 to {len(self.tests) - 1}")
        return self._seen(torch.from_numpy(self.tests.images[index]), index, None, int(self.tests.labels[index]))

    def of_file(self, name: str, data: str) -> dict[str, Any]:
        """An image file, base64: its middle square at the size of training. Raises NinyError for what is no image."""
        shown = _plain(name)
        if len(data) > LARGEST_FILE * 4 // 3 + 4:
            raise NinyError(f"{shown} has more than {LARGEST_FILE >> 20} MiB: shrink it first")
        try:
            content = base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            raise NinyError(f"{shown} did not arrive whole: give it again") from None
        photo = read_bytes(content, shown)
        caption = f"{shown} ({photo.note})" if photo.note else shown
        return self._seen(self.model.transform.pixels(photo.image), None, caption, None)

    @cached_property
    def tests(self) -> Split | None:
        """Loaded when the first is asked for."""
        return tests_of(self.model)

    def _seen(self, pixels: Tensor, index: int | None, name: str | None, label: int | None) -> dict[str, Any]:
        seen = look(self.model, pixels[None])
        found = attributions(seen)
        return {
            "type": "image",
            "image": entries(seen, [index], [name], [label])[0],
            "maps": pack(seen.maps[0]),
            "attributions": [{"name": name, "map": pack(maps[0])} for name, maps in found.items()],
        }


def _plain(name: str) -> str:
    """A file's own name, short and in one line, whatever was sent."""
    last = name.replace("\\", "/").rpartition("/")[2]
    shown = " ".join("".join(c if c.isprintable() else " " for c in last).split())
    return shown if 0 < len(shown) <= NAME else f"{shown[: NAME - 1]}…" if shown else "the file"
