"""Loading the data sets of section 4 from a folder of verified files, and describing them.

Images are uint8 [N,C,H,W], labels int64 [N]. CIFAR-100 uses the 100 fine labels (section 4.3). SVHN's label 10 is the
digit 0. Tiny-ImageNet's validation images carry one box each, which the paper has no use for and the class maps do.
The embedded digits stand in for a data set in tests: 8x8 grey images, each pixel doubled, the last 360 held out.
"""

import io
import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from niny.config import pick
from niny.data.digests import checked_bytes, files_of
from niny.errors import NinyError

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]

DIGITS = tuple("0123456789")
DIGITS_HELD_OUT = 360
TINY_IMAGES = 10_000
CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"
CIFAR100 = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
willow_tree wolf woman worm
"""
LABELS: dict[str, tuple[str, ...]] = {
    "cifar10": tuple(CIFAR10.split()),
    "cifar100": tuple(CIFAR100.split()),
    "mnist": DIGITS,
    "svhn": DIGITS,
    "digits": DIGITS,
}
CIFAR_ORIGIN = (
    "Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images",
    "none stated; cite the report",
)
ORIGINS = {  # (source, licence)
    "cifar10": CIFAR_ORIGIN,
    "cifar100": CIFAR_ORIGIN,
    "mnist": ("LeCun, Cortes and Burges, the MNIST database", "CC BY-SA 3.0"),
    "svhn": ("Netzer et al. 2011, Reading Digits in Natural Images", "non-commercial use only"),
    "digits": ("Alpaydin and Kaynak 1998, Handwritten Digits (UCI), through scikit-learn", "CC BY 4.0"),
}


@dataclass(frozen=True, eq=False)
class Split:
    images: Images  # [N,C,H,W]
    labels: Labels  # [N]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Dataset:
    name: str
    train: Split
    test: Split
    labels: tuple[str, ...]  # the name of each class
    extra: Split | None = None  # SVHN's additional training images


@dataclass(frozen=True, eq=False)
class TinyImageNetVal:
    images: Images  # [10000,3,64,64]
    boxes: Labels  # [10000,4]: x0, y0, x1, y1 in pixels, both ends inside the box
    wnids: tuple[str, ...]  # the WordNet id of each image
    words: dict[str, str]  # WordNet id -> description, for the 200 classes


def load(name: str, root: Path) -> Dataset:
    """The data set `name` from `root/name`, every file checked by digest.

    Raises NinyError for an unknown name, an absent set (with the command that fetches it) and an altered file.
    """
    files_of(name)
    if name == "tiny-imagenet-val":
        raise NinyError(f"{name} has no training images: load it with load_tiny_imagenet_val")
    splits = _READERS[name](lambda file: checked_bytes(name, file, root))
    return Dataset(name, splits["train"], splits["test"], LABELS[name], splits.get("extra"))


Read = Callable[[str], bytes]


def _cifar10(read: Read) -> dict[str, Split]:
    train = b"".join(read(f"data_batch_{i}.bin") for i in range(1, 6))
    return {
        "train": _records(train, 1, (3, 32, 32)),
        "test": _records(read("test_batch.bin"), 1, (3, 32, 32)),
    }


def _cifar100(read: Read) -> dict[str, Split]:
    return {s: _records(read(f"{s}.bin"), 2, (3, 32, 32)) for s in ("train", "test")}


def _mnist(read: Read) -> dict[str, Split]:
    def split(prefix: str) -> Split:
        images, labels = _idx(read(f"{prefix}-images-idx3-ubyte")), _idx(read(f"{prefix}-labels-idx1-ubyte"))
        return Split(images[:, None], labels.astype(np.int64))

    return {"train": split("train"), "test": split("t10k")}


def _svhn(read: Read) -> dict[str, Split]:
    return {s: _mat(read(f"{s}_32x32.mat")) for s in ("train", "test", "extra")}


def _digits(read: Read) -> dict[str, Split]:
    every = _records(read("digits.bin"), 1, (1, 16, 16))
    train, test = slice(None, -DIGITS_HELD_OUT), slice(-DIGITS_HELD_OUT, None)
    return {k: Split(every.images[s], every.labels[s]) for k, s in (("train", train), ("test", test))}


_READERS: dict[str, Callable[[Read], dict[str, Split]]] = {
    "cifar10": _cifar10,
    "cifar100": _cifar100,
    "mnist": _mnist,
    "svhn": _svhn,
    "digits": _digits,
}


def _records(data: bytes, label_bytes: int, shape: tuple[int, int, int]) -> Split:
    """CIFAR's binary records: label bytes, of which the last is the finest, then the planes of one image."""
    table = np.frombuffer(data, np.uint8).reshape(-1, label_bytes + math.prod(shape))
    images = np.ascontiguousarray(table[:, label_bytes:]).reshape(-1, *shape)
    return Split(images, table[:, label_bytes - 1].astype(np.int64))


def _idx(data: bytes) -> Images:
    """An array of bytes in MNIST's idx form: two zeros, the type, the number of axes, big-endian lengths, values."""
    axes = data[3]
    shape = np.frombuffer(data, ">i4", axes, offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape).copy()


def _mat(data: bytes) -> Split:
    try:
        from scipy.io import loadmat
    except ImportError:
        raise NinyError("svhn: its files are MATLAB's, which take SciPy to read: pip install scipy") from None
    content = loadmat(io.BytesIO(data))
    images = np.ascontiguousarray(content["X"].transpose(3, 2, 0, 1))
    return Split(images, content["y"].ravel().astype(np.int64) % 10)


def load_tiny_imagenet_val(root: Path) -> TinyImageNetVal:
    """Tiny-ImageNet's validation images with their boxes from `root/tiny-imagenet-val`. Raises as `load` does."""

    def read(file: str) -> bytes:
        return checked_bytes("tiny-imagenet-val", file, root)

    rows = [line.split("\t") for line in read("val_annotations.txt").decode().splitlines()]
    return TinyImageNetVal(
        _jpegs(read("images.zip"), [row[0] for row in rows]),
        np.array([row[2:6] for row in rows]).astype(np.int64),
        tuple(row[1] for row in rows),
        dict(line.split("\t", 1) for line in read("words.txt").decode().splitlines()),
    )


def _jpegs(archive: bytes, names: list[str]) -> Images:
    from PIL import Image

    images = np.empty((len(names), 64, 64, 3), np.uint8)
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        for image, name in zip(images, names, strict=True):
            image[:] = np.asarray(Image.open(io.BytesIO(files.read(name))).convert("RGB"))
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def describe(dataset: Dataset) -> dict[str, Any]:
    """JSON-ready statistics: origin, licence, and for each split its size, images per class, channel mean and std.

    Mean and standard deviation are over all pixels of a channel, on the scale 0..1.
    """
    source, licence = pick(ORIGINS, dataset.name, "data set")
    splits = {"train": dataset.train, "test": dataset.test, "extra": dataset.extra}
    return {
        "name": dataset.name,
        "source": source,
        "licence": licence,
        "labels": list(dataset.labels),
        "shape": list(dataset.train.images.shape[1:]),
        "splits": {k: _describe_split(s, len(dataset.labels)) for k, s in splits.items() if s is not None},
    }


def _describe_split(split: Split, classes: int) -> dict[str, Any]:
    levels = np.arange(256) / 255
    shares = [_histogram(split.images[:, c]) / split.images[:, c].size for c in range(split.images.shape[1])]
    means = [float(share @ levels) for share in shares]
    return {
        "images": len(split),
        "per_class": np.bincount(split.labels, minlength=classes).tolist(),
        "mean": means,
        "std": [math.sqrt(share @ (levels - mean) ** 2) for share, mean in zip(shares, means, strict=True)],
    }


def _histogram(pixels: Images) -> Labels:
    counts = np.zeros(256, np.int64)
    for start in range(0, len(pixels), 5000):  # bincount widens its input eightfold
        counts += np.bincount(pixels[start : start + 5000].ravel(), minlength=256)
    return counts
