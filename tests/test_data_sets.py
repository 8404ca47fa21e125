import hashlib
import io
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from niny.config import Params
from niny.data import NAMES, Dataset, Split, describe, digests, load, load_tiny_imagenet_val, verify
from niny.errors import NinyError
from niny.training import choose_compute, train_experiment
from niny.training.record import is_finished
from niny.training.update import Update


def put(root: Path, monkeypatch: pytest.MonkeyPatch, name: str, files: dict[str, bytes]) -> Path:
    """Write a made-up release into the store `root`, and declare its digests official."""
    (root / name).mkdir()
    for file, data in files.items():
        (root / name / file).write_bytes(data)
    sums = {file: f"sha1:{hashlib.sha1(data).hexdigest()}" for file, data in files.items()}
    monkeypatch.setitem(digests.FILES, name, sums)
    return root


def test_cifar100_records_give_fine_labels_and_planar_rgb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planes = bytes([10]) * 1024 + bytes([20]) * 1024 + bytes([30]) * 1024
    files = {"train.bin": bytes([3, 99]) + planes + bytes([4, 0]) + planes, "test.bin": bytes([5, 7]) + planes}
    data = load("cifar100", put(tmp_path, monkeypatch, "cifar100", files))
    assert data.train.labels.tolist() == [99, 0]
    assert data.test.labels.tolist() == [7]
    assert data.train.images.shape == (2, 3, 32, 32)
    assert data.train.images[0, :, 31, 31].tolist() == [10, 20, 30]


def test_cifar10_batches_are_joined_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {file: bytes([i]) * 3073 for i, file in enumerate(digests.FILES["cifar10"])}
    data = load("cifar10", put(tmp_path, monkeypatch, "cifar10", files))
    assert data.train.labels.tolist() == [0, 1, 2, 3, 4]
    assert data.test.labels.tolist() == [5]
    assert (data.train.images == np.arange(5)[:, None, None, None]).all()


def test_mnist_idx_files_give_grey_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def images(n: int) -> bytes:
        return bytes([0, 0, 8, 3, 0, 0, 0, n, 0, 0, 0, 28, 0, 0, 0, 28]) + bytes(range(28)) * 28 * n

    def labels(*values: int) -> bytes:
        return bytes([0, 0, 8, 1, 0, 0, 0, len(values), *values])

    files = dict(zip(digests.FILES["mnist"], (images(2), labels(4, 9), images(1), labels(1)), strict=True))
    data = load("mnist", put(tmp_path, monkeypatch, "mnist", files))
    assert data.train.images.shape == (2, 1, 28, 28)
    assert data.train.images[1, 0, 27].tolist() == list(range(28))
    assert (data.train.labels.tolist(), data.test.labels.tolist()) == ([4, 9], [1])


def mat(count: int) -> bytes:
    """A file as SVHN's authors publish them: X [32,32,3,N], y [N,1] in which the digit 0 is 10."""
    from scipy.io import savemat

    buffer = io.BytesIO()
    pixels = np.random.default_rng(count).integers(0, 256, (32, 32, 3, count), np.uint8)
    savemat(buffer, {"X": pixels, "y": np.array([[10 - i % 10] for i in range(count)], np.uint8)})
    return buffer.getvalue()


def test_svhn_label_ten_is_the_digit_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {file: mat(2) for file in digests.FILES["svhn"]}
    data = load("svhn", put(tmp_path, monkeypatch, "svhn", files))
    assert data.extra is not None
    assert data.extra.labels.tolist() == [0, 9]
    pixels = np.random.default_rng(2).integers(0, 256, (32, 32, 3, 2), np.uint8)
    assert np.array_equal(data.train.images[1, 2], pixels[:, :, 2, 1])


def test_the_svhn_experiment_runs_from_files_as_they_are_published(
    tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Local contrast normalisation, the extra images among the training images, training, and the record."""
    counts = {"train_32x32.mat": 30, "extra_32x32.mat": 34, "test_32x32.mat": 20}
    (tmp_path / "data").mkdir()
    put(tmp_path / "data", monkeypatch, "svhn", {file: mat(count) for file, count in counts.items()})
    run = params.run("paper", "svhn-nin")
    scale = replace(run.scale, width=0.1, probe_images=10)
    run = replace(run, scale=scale, recipe=replace(run.recipe, phases=((2, 1.0),)))
    learned_from = list[int]()
    usual = Update.__call__

    def watched(update: Update, images: torch.Tensor, labels: torch.Tensor) -> None:
        learned_from.append(len(images))
        usual(update, images, labels)

    monkeypatch.setattr(Update, "__call__", watched)
    (folder,) = train_experiment(run, tmp_path, seeds=[0], compute=choose_compute("cpu"), say=lambda _: None)
    assert learned_from == [64, 64]
    with np.load(folder / "predictions.npz") as kept:
        assert len(kept["label"]) == counts["test_32x32.mat"]
    assert is_finished(folder, run)


def test_tiny_imagenet_images_come_with_their_boxes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        for name, picture in (
            ("val_0.JPEG", Image.new("RGB", (64, 64), (255, 0, 0))),
            ("val_1.JPEG", Image.new("L", (64, 64), 7)),
        ):
            jpeg = io.BytesIO()
            picture.save(jpeg, "JPEG")
            files.writestr(name, jpeg.getvalue())
    content = {
        "images.zip": archive.getvalue(),
        "val_annotations.txt": b"val_0.JPEG\tn02\t0\t32\t44\t62\nval_1.JPEG\tn01\t1\t2\t3\t4\n",
        "wnids.txt": b"n01\nn02\n",
        "words.txt": b"n01\ta cat, felis\nn02\ta dog\n",
    }
    tiny = load_tiny_imagenet_val(put(tmp_path, monkeypatch, "tiny-imagenet-val", content))
    assert tiny.images.shape == (2, 3, 64, 64)
    assert tiny.images[0, :, 5, 5].tolist() == pytest.approx([254, 0, 0], abs=1)
    assert (tiny.images[1] == 7).all()
    assert tiny.boxes.tolist() == [[0, 32, 44, 62], [1, 2, 3, 4]]
    assert tiny.wnids == ("n02", "n01")
    assert tiny.words["n01"] == "a cat, felis"


def test_an_absent_set_names_the_command_that_fetches_it(tmp_path: Path) -> None:
    with pytest.raises(NinyError, match="niny data fetch cifar10"):
        load("cifar10", tmp_path)


def test_an_altered_file_is_named_and_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = put(tmp_path, monkeypatch, "cifar100", {"train.bin": bytes(3074), "test.bin": bytes(3074)})
    (root / "cifar100" / "test.bin").write_bytes(bytes(3073) + b"1")
    for use in (load, verify):
        with pytest.raises(NinyError, match=r"test\.bin is truncated or altered"):
            use("cifar100", root)


def test_an_unknown_set_is_refused_with_the_choices(tmp_path: Path) -> None:
    with pytest.raises(NinyError, match=r"unknown data set 'imagenet': choose from cifar10, cifar100"):
        load("imagenet", tmp_path)


def test_the_description_counts_classes_and_measures_channels() -> None:
    images = np.zeros((4, 2, 2, 2), np.uint8)
    images[:2, 0] = 255
    images[:, 1] = 51
    train = Split(images, np.array([0, 0, 2, 9]))
    facts = describe(Dataset("mnist", train, Split(images[:1], np.array([1])), tuple("0123456789")))
    assert facts["splits"]["train"] == {
        "images": 4,
        "per_class": [2, 0, 1, 0, 0, 0, 0, 0, 0, 1],
        "mean": pytest.approx([0.5, 0.2]),
        "std": pytest.approx([0.5, 0.0], abs=1e-7),
    }
    assert set(facts["splits"]) == {"train", "test"}
    assert facts["licence"]


def test_every_classification_set_names_its_classes() -> None:
    from niny.data.sets import LABELS

    assert {name: len(set(labels)) for name, labels in LABELS.items()} == {
        name: 100 if name == "cifar100" else 10 for name in NAMES if name != "tiny-imagenet-val"
    }


def test_loading_imports_numpy_alone_and_preprocessing_torch_besides() -> None:
    code = (
        "import sys, niny.data; heavy = {'torch', 'PIL', 'scipy', 'sklearn', 'torchvision', 'yaml', 'pandas'};"
        "print(*heavy & set(sys.modules)); import niny.data.preprocess, niny.data.augment;"
        "print(*heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["", "torch"]
