"""The preprocessing of training, for prediction: from any image to what a network reads, without the training set.

At the size of training the middle square of an image is averaged down to it, then normalised exactly as in training.
What that learnt from the training images is kept in a small form (`niny data pack`): of the whitening matrix, which is
symmetric and almost zero far from its diagonal, the triangle is rounded to steps of STEP and compressed, 36 MB to 4.

A larger image is taken whole. Whitening acts on images of one size, so each pixel of a larger one is whitened as the
middle of the window of that size around it, less the mean of that window, as the trained size's images come without
theirs; at its edges the image is mirrored. Contrast is normalised once, over the whole image, to the same mean square
per value. At the size of training that would be another preprocessing, so there the matrix itself is used.

Measured with the authors' network on all 10,000 CIFAR-10 test images: 10.43 % error through the fitted matrix, 10.42 %
through the kept one (8 predictions differ), 11.87 % through the sliding window.
"""

import json
import math
import zipfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from niny.config import DataSpec, home, load_params, pick
from niny.data.preprocess import DIVISORS, UNFITTED, Matrix, Preprocessor, contrast, fitted, gcn, lcn
from niny.data.sets import load
from niny.errors import NinyError
from niny.files import replacing
from niny.images import as_photo, middle_square, pixels_of, resize

KEPT = Path(__file__).parent / "fitted"
STEP = 2.5e-4  # of the whitening matrix as kept; tests/test_transforms.py measures what is lost
LARGEST = 3 << 16  # pixels of one image: with its feature maps, prediction takes less than a gigabyte
IMAGENET_MEAN = (122.68, 116.67, 104.01)  # of the training images' red, green and blue, as Caffe's users know it
IMAGENET_MARGIN = 256 / 224  # the side that is averaged down to, over the side of the middle that the network reads


def save_small(fit: Preprocessor, path: Path) -> None:
    """Write what a preprocessing learnt, its whitening matrix rounded to steps of STEP.

    Raises NinyError where the matrix has gains too large for that.
    """
    arrays: dict[str, Any] = {"spec": np.array(json.dumps(asdict(fit.spec))), "shape": np.array(fit.shape)}
    if fit.mean is not None:
        arrays["mean"] = fit.mean
    if fit.whitening is not None:
        steps = np.rint(fit.whitening[np.triu_indices(len(fit.whitening))] / STEP)
        if np.abs(steps).max() > np.iinfo(np.int16).max:  # gains end at 1 / sqrt(bias)
            raise NinyError(f"{path}: gains of the whitening are too large to be kept so: raise zca_bias")
        arrays["whitening"] = steps.astype(np.int16)
    with replacing(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)


def load_small(path: Path, spec: DataSpec) -> Preprocessor:
    """Read what `save_small` wrote for these settings. Raises NinyError for a damaged file, or one of others."""
    remedy = f"run niny data pack {spec.name}"
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            stored = {name: file[name] for name in file.files}
        if json.loads(str(stored["spec"])) != asdict(spec):
            raise NinyError(f"{path} was made with other settings: {remedy}")
        c, h, w = (int(n) for n in stored["shape"])
        whitening = _symmetric(stored["whitening"], c * h * w) if "whitening" in stored else None
        return Preprocessor(spec, (c, h, w), stored.get("mean"), whitening)
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise NinyError(f"{path} is not readable ({error}): {remedy}") from None


def _symmetric(triangle: Any, side: int) -> Matrix:
    matrix = np.zeros((side, side), np.float32)
    matrix[np.triu_indices(side)] = triangle * np.float32(STEP)
    return matrix + np.triu(matrix, 1).T


@dataclass(frozen=True, eq=False)
class Transform:
    """From any image to what a network of a data set reads: float32 C x H x W."""

    fit: Preprocessor

    @property
    def channels(self) -> int:
        return self.fit.shape[0]

    @property
    def size(self) -> int:
        """Pixels a side of the images of training."""
        return self.fit.shape[1]

    def __call__(self, image: Any, size: int | None = None) -> Tensor:
        """One image (path, PIL image, array, tensor). `size`: take it whole, with the shorter side that many pixels."""
        return self.normalise(self.pixels(image, size)[None])[0]

    def pixels(self, image: Any, size: int | None = None) -> Tensor:
        """The image as the network sees it, not yet normalised: uint8 C x H x W. Raises NinyError for a wrong size."""
        photo, spec = as_photo(image), self.fit.spec
        if size is None:
            return pixels_of(resize(middle_square(photo), spec.size, spec.size), spec.channels)
        return pixels_of(resize(photo, *whole(photo.image.size, size, spec.size)), spec.channels)

    def normalise(self, pixels: Tensor) -> Tensor:
        """uint8 N x C x H x W -> float32 of the same shape, preprocessed as in training."""
        if tuple(pixels.shape[1:]) == self.fit.shape:
            return self.fit.apply(pixels.numpy())
        spec = self.fit.spec
        if spec.preprocessing == "unit":
            return contrast(pixels, spec)
        if spec.preprocessing in DIVISORS:
            raise NinyError(f"{spec.name} is centred by a mean image of {spec.size} pixels: it has no other size")
        normal = gcn(pixels, spec.gcn_scale * math.sqrt(pixels[0].numel() / math.prod(self.fit.shape)))
        return lcn(normal) if spec.preprocessing == "gcn_lcn" else slide(self.fit, normal)


def slide(fit: Preprocessor, images: Tensor) -> Tensor:
    """Whiten [N, C, H, W] after contrast normalisation, each pixel as the middle of the window around it."""
    assert fit.whitening is not None
    channels, height, width = fit.shape
    top, left = height // 2, width // 2
    rows = torch.arange(channels) * height * width + top * width + left
    filters = torch.from_numpy(fit.whitening)[rows]
    bias = -(filters @ torch.from_numpy(fit.mean))
    filters = filters - filters.mean(1, keepdim=True)  # the window's own mean goes, as GCN takes that of an image
    padded = F.pad(images, (left, width - 1 - left, top, height - 1 - top), mode="reflect")
    return F.conv2d(padded, filters.view(channels, *fit.shape), bias)


@dataclass(frozen=True)
class ImageNetTransform:
    """As the authors' ImageNet network was trained: 0..255 less the mean colour; blue first in Caffe's files."""

    blue_first: bool = True
    size: int = 224
    channels: int = 3

    def __call__(self, image: Any, size: int | None = None) -> Tensor:
        return self.normalise(self.pixels(image, size)[None])[0]

    def pixels(self, image: Any, size: int | None = None) -> Tensor:
        """uint8 3 x H x W: the middle 224 pixels of the middle square averaged down to 256, or the whole image."""
        photo = as_photo(image)
        if size is not None:
            return pixels_of(resize(photo, *whole(photo.image.size, size, self.size)), 3)
        side = round(self.size * IMAGENET_MARGIN)
        edge = (side - self.size) // 2
        square = pixels_of(resize(middle_square(photo), side, side), 3)
        return square[:, edge : edge + self.size, edge : edge + self.size]

    def normalise(self, pixels: Tensor) -> Tensor:
        """uint8 N x 3 x H x W -> float32, in the order of channels that the weights were trained with."""
        centred = pixels.float() - torch.tensor(IMAGENET_MEAN, device=pixels.device)[:, None, None]
        return centred.flip(1) if self.blue_first else centred


def whole(size: tuple[int, int], shorter: int, least: int) -> tuple[int, int]:
    """Width and height with the shorter side `shorter`. Raises NinyError where that is too small or too large."""
    if shorter < least:
        raise NinyError(f"size {shorter}: this network reads images from {least} pixels up")
    width, height = (max(shorter, round(length * shorter / min(size))) for length in size)
    if width * height > LARGEST:
        raise NinyError(f"size {shorter}: {width} x {height} pixels are more than {LARGEST:,}; take a smaller size")
    return width, height


def transform_for(dataset: str) -> Transform:
    """The preprocessing of a data set, from the package, or fitted on the set where that has been fetched.

    Raises NinyError for an unknown set, and where neither is there.
    """
    root = home()
    spec = pick(load_params(root).datasets, dataset, "data set")
    if spec.preprocessing in UNFITTED:
        return Transform(Preprocessor(spec, (spec.channels, spec.size, spec.size)))
    kept = KEPT / f"{dataset}.npz"
    return Transform(
        load_small(kept, spec) if kept.is_file() else fitted(load(dataset, root / "data"), spec, root / "data")
    )


def pack(dataset: str, root: Path) -> Path:
    """Fit the preprocessing of a fetched data set and keep it, made small, in the package; where it is."""
    spec = pick(load_params(root).datasets, dataset, "data set")
    path = KEPT / f"{dataset}.npz"
    save_small(fitted(load(dataset, root / "data"), spec, root / "data"), path)
    return path
