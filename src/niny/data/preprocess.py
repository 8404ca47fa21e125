"""The preprocessing of sections 4.2 to 4.5, fitted on training images only.

CIFAR: the global contrast normalisation and ZCA whitening of the maxout paper (section 4.2), as its published scripts
do them. GCN takes each image's mean over all values away and divides by its L2 norm / scale (a divisor under 1e-8
becomes 1);
ZCA takes the training mean away and multiplies by V diag(1/sqrt(eig)) V' of C = X'X/n + bias I.
SVHN ("local contrast normalization"): GCN, then LeCun's divisive normalisation with a 7x7 Gaussian of sigma 2, every
channel by itself. The paper gives no constants; window, sigma, threshold 1e-4 and zero padding are those of the maxout
scripts of December 2013. GCN here is the norm form too: the second step cancels the scale of the first.
MNIST: the paper says nothing; as CIFAR, by trial at scale tune. What else it may have been: x less the mean training
image ("mean_255"), as the authors' data provider subtracts the mean, the same of x/255 ("mean"), and x/255 ("unit"), as
the maxout paper's. Under the authors' initial weights and rates large pixels silence some outputs in most runs, and
small ones take epochs to begin.
"""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from niny.config import DataSpec
from niny.data.sets import Dataset, Images
from niny.errors import NinyError, UnwritableError
from niny.files import replacing

DIVISORS = {"mean": 255.0, "mean_255": 1.0, "unit": 255.0}  # of pixel values, where contrast is left as it is
CHUNK = 5000  # images at a time: bounds the memory, not the result
MIN_DIVISOR = 1e-8
UNFITTED = ("gcn_lcn", "unit")  # learn nothing from the training images
LCN_WINDOW, LCN_SIGMA, LCN_THRESHOLD = 7, 2.0, 1e-4
FORMAT = 1  # of the cache: raise it when the same settings come to mean something else

# What any implementation must find on a set: standard deviations of the values and the largest eigenvalue. Measured on
# the official CIFAR-10 files, in float32 with a float64 decomposition.
CHECK_VALUES = {"cifar10": {"gcn_std": 0.9923, "largest_eigenvalue": 467.06, "train_std": 0.5207, "test_std": 0.5272}}

Matrix = NDArray[np.float32]
Wide = NDArray[np.float64]


def gcn(images: Tensor, scale: float) -> Tensor:
    """Global contrast normalisation: [N,C,H,W] of any type -> float32, each image of mean 0 and L2 norm `scale`."""
    rows = images.float().flatten(1)
    rows = rows - rows.mean(1, keepdim=True)
    divisor: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True) / scale
    return (rows / divisor.masked_fill(divisor < MIN_DIVISOR, 1.0)).view(images.shape)


def contrast(images: Tensor, spec: DataSpec) -> Tensor:
    """The first step, [N,C,H,W] of any type -> float32: values divided, or each image's contrast normalised."""
    divisor = DIVISORS.get(spec.preprocessing)
    return gcn(images, spec.gcn_scale) if divisor is None else images.float() / divisor


def lcn(images: Tensor) -> Tensor:
    """Local contrast normalisation of every channel by itself, float32 [N,C,H,W] -> the same.

    The Gaussian-weighted local mean is taken away; what is left is divided by the larger of its local deviation and
    the mean of that deviation over the channel.
    """
    centred = images - _blur(images)
    deviation = _blur(centred.square()).sqrt()
    divisor = deviation.maximum(deviation.mean((2, 3), keepdim=True)).clamp_min(LCN_THRESHOLD)
    return centred / divisor


def _blur(images: Tensor) -> Tensor:
    channels = images.shape[1]
    return F.conv2d(images, _gaussian_window().expand(channels, -1, -1, -1), padding="same", groups=channels)


def _gaussian_window() -> Tensor:
    offsets = torch.arange(LCN_WINDOW, dtype=torch.float64) - LCN_WINDOW // 2
    line = torch.exp(-offsets.square() / (2 * LCN_SIGMA**2))
    window = torch.outer(line, line)
    return (window / window.sum()).float()[None, None]


@dataclass(frozen=True, eq=False)
class Preprocessor:
    """A preprocessing and what it learnt from the training images. Arrays are absent where the kind needs none."""

    spec: DataSpec
    shape: tuple[int, int, int]  # C, H, W
    mean: Matrix | None = None  # [D]: of the training images after GCN (gcn_zca) or over 255 (mean)
    whitening: Matrix | None = None  # [D,D], symmetric (gcn_zca)
    eigenvalues: Wide | None = None  # [D], rising, bias included (gcn_zca)

    @classmethod
    def fit(cls, images: Images, spec: DataSpec) -> "Preprocessor":
        """Learn from training images, uint8 [N,C,H,W]. ZCA on 50,000 CIFAR images takes some seconds and 150 MB."""
        unfitted = cls(spec, tuple(images.shape[1:]))
        if spec.preprocessing in UNFITTED:
            return unfitted
        mean = _mean(unfitted._contrast(images))
        if spec.preprocessing in DIVISORS:
            return cls(spec, unfitted.shape, mean)
        whitening, eigenvalues = _whitening(unfitted._contrast(images), mean, spec.zca_bias)
        return cls(spec, unfitted.shape, mean, whitening, eigenvalues)

    def apply(self, images: Images) -> Tensor:
        """uint8 [N,C,H,W] -> float32 [N,C,H,W]. Raises NinyError for images of another size than it was fitted on."""
        if tuple(images.shape[1:]) != self.shape:
            raise NinyError(
                f"preprocessing of {self.spec.name} takes {_size(self.shape)} images, got {_size(images.shape[1:])}"
            )
        done = torch.empty(images.shape, dtype=torch.float32)
        for chunk, contrast in zip(done.split(CHUNK), self._contrast(images), strict=True):
            chunk.copy_(self._finish(contrast))
        return done

    def _contrast(self, images: Images) -> Iterator[Tensor]:
        """The step that looks at one image at a time, chunk by chunk."""
        for start in range(0, len(images), CHUNK):
            chunk = torch.from_numpy(images[start : start + CHUNK].astype(np.float32))
            yield contrast(chunk, self.spec)

    def _finish(self, chunk: Tensor) -> Tensor:
        if self.mean is None:
            return chunk if self.spec.preprocessing in DIVISORS else lcn(chunk)
        rows = chunk.flatten(1).numpy() - self.mean
        return torch.from_numpy(rows if self.whitening is None else rows @ self.whitening).view(chunk.shape)

    def save(self, path: Path) -> None:
        """Write an .npz file that `load` reads back, as long as it keeps its name."""
        learnt = {"mean": self.mean, "whitening": self.whitening, "eigenvalues": self.eigenvalues}
        arrays: dict[str, Any] = {name: array for name, array in learnt.items() if array is not None}
        with replacing(path) as part, part.open("wb") as file:
            spec = np.array(json.dumps(asdict(self.spec)))
            np.savez(file, name=np.array(path.stem), spec=spec, shape=np.array(self.shape), **arrays)

    @classmethod
    def load(cls, path: Path) -> "Preprocessor":
        """Read what `save` wrote. Raises NinyError for a file that is damaged, no such thing, or another renamed."""
        try:
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                stored = {name: file[name] for name in file.files}
            if str(stored.pop("name")) != path.stem:
                raise ValueError("it was written under another name")
            spec = DataSpec(**json.loads(str(stored.pop("spec"))))
            c, h, w = (int(n) for n in stored.pop("shape"))
            return cls(spec, (c, h, w), **stored)
        except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise NinyError(f"{path} is not a readable preprocessing file: delete it to fit it again") from error


def fitted(dataset: Dataset, spec: DataSpec, root: Path) -> Preprocessor:
    """The preprocessing `spec` fitted on the training images, kept in `root/<name>/preprocessing-<digest>.npz`.

    The digest is of the images and of every setting that matters, so that a file can never be taken for another's;
    a damaged one is fitted again. Raises UnwritableError where the file cannot be written.
    """
    if spec.preprocessing in UNFITTED:
        return Preprocessor.fit(dataset.train.images, spec)
    path = root / dataset.name / f"preprocessing-{_digest(dataset.train.images, spec)}.npz"
    try:
        return replace(Preprocessor.load(path), spec=spec)
    except NinyError:
        preprocessor = Preprocessor.fit(dataset.train.images, spec)
    try:
        preprocessor.save(path)
    except OSError as error:
        raise UnwritableError(f"cannot write {path}: {error.strerror}; make room there or make it writable") from error
    return preprocessor


def _digest(images: Images, spec: DataSpec) -> str:
    settings = [FORMAT, spec.preprocessing, spec.gcn_scale, spec.zca_bias, images.shape]
    content = hashlib.sha256(json.dumps(settings).encode())
    content.update(np.ascontiguousarray(images).data)
    return content.hexdigest()[:12]


def _mean(chunks: Iterator[Tensor]) -> Matrix:
    total, count = 0.0, 0
    for chunk in chunks:
        total = total + chunk.flatten(1).numpy().sum(0, dtype=np.float64)
        count += len(chunk)
    return np.asarray(total / count, np.float32)


def _whitening(chunks: Iterator[Tensor], mean: Matrix, bias: float) -> tuple[Matrix, Wide]:
    """The ZCA matrix and the eigenvalues. Products in float32, sums over chunks and the decomposition in float64."""
    covariance, count = np.zeros((mean.size, mean.size)), 0
    for chunk in chunks:
        rows = chunk.flatten(1).numpy() - mean
        covariance += rows.T @ rows
        count += len(rows)
    eigenvalues, V = _eigh(covariance / count + bias * np.eye(mean.size))
    half = V / eigenvalues**0.25
    return (half @ half.T).astype(np.float32), eigenvalues


def _eigh(matrix: Wide) -> tuple[Wide, Wide]:
    """Eigenvalues, rising, and eigenvectors; on one thread, which takes 6 s for 3072 features.

    LAPACK's threads wait for one another by spinning: a second one saves 3 s on an idle machine and costs 50 s on a
    busy one. Nor can the number of cores then change the result.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        eigenvalues, V = torch.linalg.eigh(torch.from_numpy(matrix))
    finally:
        torch.set_num_threads(before)
    return eigenvalues.numpy(), V.numpy()


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
