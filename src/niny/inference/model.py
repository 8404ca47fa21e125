"""One interface for every network: images in, labels with probabilities and class maps out."""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor

from niny.config import Loss, home
from niny.data.sets import LABELS, load
from niny.data.transforms import ImageNetTransform, Transform
from niny.errors import NinyError
from niny.images import as_photo, is_batch
from niny.maps.forward import PIXELS, class_maps, decide, logits, why_no_maps, why_one_size
from niny.maps.pictures import choose_images
from niny.models import Network

CHUNK = 50  # images read and answered at a time: bounds the memory of a long list

Prediction = dict[str, Any]  # {"label": str, "probability": float}


@dataclass(frozen=True, eq=False)
class Seen:
    """An image as the network is shown it, uint8 C x H x W; its name, and what a reader should know of its reading."""

    name: str
    note: str | None
    pixels: Tensor


@dataclass(frozen=True, eq=False)
class Answer:
    """What a network says of one image: `probabilities` [K] and, where it has them, class maps [K, h, w]."""

    seen: Seen
    labels: tuple[str, ...]
    probabilities: Tensor
    maps: Tensor | None

    def ranked(self, top: int | None = None) -> list[Prediction]:
        """The `top` likeliest classes (all), most likely first."""
        values, order = self.probabilities.sort(descending=True, stable=True)
        pairs = zip(order.tolist(), values.tolist(), strict=True)
        return [{"label": self.labels[k], "probability": value} for k, value in islice(pairs, top)]


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network, its preprocessing, its labels, and a description with the fields of a ModelHub config.json."""

    net: Network
    transform: Transform | ImageNetTransform
    labels: tuple[str, ...]
    config: Mapping[str, Any]
    dataset: str
    source: Path | None = None  # the weights file
    loss: Loss = "cross_entropy"  # that it was trained with

    def predict(
        self, images: Any, *, top: int = 5, size: int | None = None, errors: Literal["raise", "return"] = "raise"
    ) -> Any:
        """Labels with probabilities, most likely first: [{"label": ..., "probability": ...}, ...].

        `images` is a path, a PIL image, an array (H x W x C) or a tensor (C x H x W), or several of them (a list, an
        array with four axes), which gives a list of such lists. At most `top` labels are given. Without `size` the
        middle square is read at the size of training; with it the whole image, its shorter side that many pixels.
        Raises NinyError for what is no image; with `errors="return"` the error takes the place of that image's answer.
        """
        if top < 1:
            raise NinyError(f"top={top}: at least 1")
        if errors not in ("raise", "return"):
            raise NinyError(f"errors={errors!r}: choose raise or return")
        several = is_batch(images)
        answers = self.answers(images if several else [images], size)
        said = [self._checked(answer, errors) for answer in answers]
        ranked: list[Any] = [one if isinstance(one, NinyError) else one.ranked(top) for one in said]
        return ranked if several else ranked[0]

    def class_maps(self, images: Any, *, size: int | None = None) -> Tensor:
        """The map of each class, K x h x w, or N x K x h x w for several images of the same size.

        `images` and `size` are as for `predict`; larger images give larger maps. Under global average pooling the mean
        of a map is the class's logit. Raises NinyError for a network without maps, for a list without images, and where
        maps differ in size.
        """
        if reason := why_no_maps(self.net):
            raise NinyError(f"no class maps: {reason}")
        several = is_batch(images)
        answers = [self._checked(answer, "raise") for answer in self.answers(images if several else [images], size)]
        maps = [answer.maps for answer in answers if isinstance(answer, Answer) and answer.maps is not None]
        if not maps:
            raise NinyError("no images, so no class maps: give at least one")
        if len({one.shape for one in maps}) > 1:
            raise NinyError("these images give maps of different sizes: ask for them one by one")
        return torch.stack(maps) if several else maps[0]

    def answers(self, images: Iterable[Any], size: int | None = None) -> Iterator[Answer | NinyError]:
        """What is said of each image, in order; an error where one cannot be read. Reads some, then answers them."""
        if size is not None and (reason := why_one_size(self.net)):
            raise NinyError(f"size={size}: {reason}")
        numbered = enumerate(images)
        while chunk := list(islice(numbered, CHUNK)):
            yield from self._answer([self._read(image, number, size) for number, image in chunk])

    def samples(self) -> list[Image.Image]:
        """One test image of each class, drawn by chance; `.info["label"]` tells its class. `predict` takes them.

        Of more than ten classes ten are drawn, too.
        Raises NinyError, naming the command, where the data set has not been fetched; for ImageNet two photographs of
        scikit-learn (CC BY 2.0) stand in.
        """
        if self.dataset not in LABELS:
            return _photographs()
        test = load(self.dataset, home() / "data").test
        chosen = choose_images(torch.from_numpy(test.labels), seed=0)
        return [_picture(test.images[i], self.labels[test.labels[i]]) for i in chosen.tolist()]

    def _read(self, image: Any, number: int, size: int | None) -> Seen | NinyError:
        try:
            photo = as_photo(image, f"image {number}")
            return Seen(photo.name, photo.note, self.transform.pixels(photo.image, size))
        except NinyError as error:
            return error

    def _answer(self, read: list[Seen | NinyError]) -> list[Answer | NinyError]:
        """Images of the same size go through the network together."""
        said: dict[int, Answer | NinyError] = {i: one for i, one in enumerate(read) if isinstance(one, NinyError)}
        shown = {i: one for i, one in enumerate(read) if isinstance(one, Seen)}
        for shape in {one.pixels.shape for one in shown.values()}:
            group = {i: one for i, one in shown.items() if one.pixels.shape == shape}
            maps, chances = self._run(torch.stack([one.pixels for one in group.values()]))
            for n, (i, one) in enumerate(group.items()):
                said[i] = Answer(one, self.labels, chances[n], None if maps is None else maps[n])
        return [said[i] for i in range(len(read))]

    def _run(self, pixels: Tensor) -> tuple[Tensor | None, Tensor]:
        """Maps, where there are any, and probabilities; large images go a few at a time."""
        parts = [self._look(part) for part in pixels.split(max(1, PIXELS // pixels[0, 0].numel()))]
        chances = torch.cat([said for _, said in parts])
        maps = [maps for maps, _ in parts if maps is not None]
        return torch.cat(maps) if maps else None, chances

    def _look(self, pixels: Tensor) -> tuple[Tensor | None, Tensor]:
        x = self.transform.normalise(pixels)
        if why_no_maps(self.net):
            return None, chances(logits(self.net, x), self.loss)
        maps = class_maps(self.net, x)
        return maps, chances(decide(self.net, maps), self.loss)

    def _checked(self, answer: Answer | NinyError, errors: str) -> Answer | NinyError:
        if isinstance(answer, NinyError) and errors == "raise":
            raise answer
        if isinstance(answer, Answer) and answer.seen.note:
            warnings.warn(f"{answer.seen.name}: {answer.seen.note}", stacklevel=3)
        return answer


def chances(logits: Tensor, loss: Loss) -> Tensor:
    """Probabilities N x K of logits, as training read them: of one class among all, or of each class by itself."""
    return logits.softmax(1) if loss == "cross_entropy" else logits.sigmoid()


def _picture(image: Any, label: str) -> Image.Image:
    picture = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
    picture.info["label"] = label
    return picture


def _photographs() -> list[Image.Image]:
    from sklearn.datasets import load_sample_images

    return [Image.fromarray(image) for image in load_sample_images().images]
