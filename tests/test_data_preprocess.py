import errno
import json
import os
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT
from numpy.typing import NDArray

from niny.config import DataSpec
from niny.data import Dataset, Split, fetch, load
from niny.data import preprocess as module
from niny.data.preprocess import Preprocessor, fitted, gcn, lcn
from niny.errors import NinyError

ZCA = DataSpec("small", 2, 3, 8, "gcn_zca")
LCN = DataSpec("small", 2, 3, 8, "gcn_lcn")
MEAN = DataSpec("small", 2, 3, 8, "mean")


@pytest.fixture
def images() -> NDArray[np.uint8]:
    """Smooth random images, so that pixels are correlated as in photographs."""
    noise = np.random.default_rng(0).integers(0, 256, (600, 3, 4, 4), np.uint8)
    return noise.repeat(2, 2).repeat(2, 3) // 2 + np.random.default_rng(1).integers(0, 99, (600, 3, 8, 8), np.uint8)


@pytest.fixture
def dataset(images: NDArray[np.uint8]) -> Dataset:
    labels = np.zeros(300, np.int64)
    return Dataset("small", Split(images[:300], labels), Split(images[300:], labels), ("a", "b"))


def test_gcn_centres_each_image_and_gives_it_the_norm_of_the_scale(images: NDArray[np.uint8]) -> None:
    rows = gcn(torch.from_numpy(images), 55.0).flatten(1)
    assert rows.mean(1).abs().max() < 1e-5
    torch.testing.assert_close(rows.norm(dim=1), torch.full((600,), 55.0))


def test_gcn_ignores_brightness_and_contrast_and_leaves_a_blank_image_at_zero() -> None:
    x = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(gcn(x * 3 + 7, 55.0), gcn(x, 55.0), rtol=1e-3, atol=1e-3)
    assert not gcn(torch.full((1, 3, 8, 8), 9.0), 55.0).any()


def test_whitened_training_images_have_identity_covariance_up_to_the_bias(images: NDArray[np.uint8]) -> None:
    p = Preprocessor.fit(images, ZCA)
    assert p.eigenvalues is not None
    rows = p.apply(images).flatten(1).double().numpy()
    assert np.abs(rows.mean(0)).max() < 1e-4
    spectrum = np.linalg.eigvalsh(rows.T @ rows / len(rows))
    np.testing.assert_allclose(spectrum, np.sort(1 - 0.1 / p.eigenvalues), atol=1e-4)


def test_whitening_stays_in_pixel_space() -> None:
    """ZCA is the symmetric root: of all whitenings the one that changes an image least, unlike PCA's rotation."""
    images = np.random.default_rng(0).integers(0, 256, (400, 1, 4, 4), np.uint8)
    p = Preprocessor.fit(images, DataSpec("small", 2, 1, 4, "gcn_zca"))
    assert p.whitening is not None
    assert p.eigenvalues is not None
    np.testing.assert_allclose(p.whitening, p.whitening.T, atol=1e-6)
    assert np.linalg.eigvalsh(p.whitening).min() > 0
    np.testing.assert_allclose(np.linalg.eigvalsh(p.whitening)[::-1] ** -2, p.eigenvalues, rtol=1e-3)


@pytest.mark.parametrize("spec", [ZCA, MEAN], ids=lambda s: s.preprocessing)
def test_chunks_change_nothing(spec: DataSpec, images: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Preprocessor.fit(images, spec).apply(images)
    monkeypatch.setattr(module, "CHUNK", 70)
    torch.testing.assert_close(Preprocessor.fit(images, spec).apply(images), whole, rtol=1e-3, atol=1e-3)


def test_mean_takes_the_mean_training_image_away(images: NDArray[np.uint8]) -> None:
    result = Preprocessor.fit(images[:300], MEAN).apply(images[300:])
    expected = images[300:] / 255 - images[:300].mean(0) / 255
    np.testing.assert_allclose(result.numpy(), expected, atol=1e-6)


def test_other_readings_of_pixel_values_are_scaled_and_centred_as_they_say(images: NDArray[np.uint8]) -> None:
    wide, unit = (DataSpec("small", 2, 3, 8, kind) for kind in ("mean_255", "unit"))
    result = Preprocessor.fit(images[:300], wide).apply(images[300:])
    np.testing.assert_allclose(result.numpy(), images[300:] - images[:300].mean(0), atol=1e-4)
    np.testing.assert_allclose(Preprocessor.fit(images, unit).apply(images).numpy(), images / 255, atol=1e-6)


def test_lcn_treats_every_channel_alike() -> None:
    grey = torch.rand(4, 1, 32, 32)
    result = lcn(grey.expand(-1, 3, -1, -1).contiguous())
    torch.testing.assert_close(result[:, 1:], result[:, :1].expand(-1, 2, -1, -1))
    assert not torch.allclose(result[:, 1:], grey.expand(-1, 2, -1, -1))


def test_lcn_of_one_channel_does_not_depend_on_the_others() -> None:
    x = torch.rand(2, 3, 32, 32)
    y = x.clone()
    y[:, 0] = 0
    assert torch.equal(lcn(x)[:, 1:], lcn(y)[:, 1:])


def test_lcn_agrees_with_its_definition_written_as_loops() -> None:
    plane = torch.rand(9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weights = {
        (i, j): np.exp(-(i * i + j * j) / 8) for i in range(-3, 4) for j in range(-3, 4)
    }  # sigma 2: 2 sigma^2 = 8
    total = sum(weights.values())

    def blur(x: NDArray[np.float64]) -> NDArray[np.float64]:
        padded = np.pad(x, 3)
        return sum(w / total * padded[3 + i : 12 + i, 3 + j : 12 + j] for (i, j), w in weights.items())

    centred = plane.numpy() - blur(plane.numpy())
    deviation = np.sqrt(blur(centred**2))
    expected = centred / np.maximum(deviation, deviation.mean())
    np.testing.assert_allclose(lcn(plane.float()[None, None])[0, 0].numpy(), expected, atol=1e-5)


def test_lcn_ignores_contrast_and_leaves_a_black_image_at_zero() -> None:
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(lcn(x * 5), lcn(x), rtol=1e-3, atol=1e-4)
    assert not lcn(torch.zeros(1, 3, 16, 16)).any()


@pytest.mark.parametrize("spec", [ZCA, LCN, MEAN], ids=lambda s: s.preprocessing)
def test_a_saved_preprocessing_does_the_same(spec: DataSpec, images: NDArray[np.uint8], tmp_path: Path) -> None:
    p = Preprocessor.fit(images, spec)
    p.save(tmp_path / "p.npz")
    again = Preprocessor.load(tmp_path / "p.npz")
    assert again.spec == spec
    assert torch.equal(again.apply(images), p.apply(images))


def test_images_of_another_size_are_refused(images: NDArray[np.uint8]) -> None:
    with pytest.raises(NinyError, match="takes 3x8x8 images, got 3x4x8"):
        Preprocessor.fit(images, MEAN).apply(images[:, :, :4])


def test_only_the_training_images_are_learnt_from(dataset: Dataset, tmp_path: Path) -> None:
    other = Dataset("small", dataset.train, Split(255 - dataset.test.images, dataset.test.labels), ("a", "b"))
    first, second = fitted(dataset, ZCA, tmp_path / "1"), fitted(other, ZCA, tmp_path / "2")
    assert np.array_equal(first.whitening, second.whitening)
    assert np.array_equal(first.mean, Preprocessor.fit(dataset.train.images, ZCA).mean)


def test_a_fit_is_kept_and_not_repeated(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fitted(dataset, ZCA, tmp_path)
    monkeypatch.setattr(module, "_eigh", None)
    again = fitted(dataset, ZCA, tmp_path)
    assert np.array_equal(first.whitening, again.whitening)
    assert [path.name[:14] for path in (tmp_path / "small").iterdir()] == ["preprocessing-"]


def test_other_images_or_settings_are_fitted_anew(dataset: Dataset, tmp_path: Path) -> None:
    fewer = Dataset("small", Split(dataset.train.images[1:], dataset.train.labels[1:]), dataset.test, ("a", "b"))
    weaker = DataSpec("small", 2, 3, 8, "gcn_zca", zca_bias=0.2)
    fainter = DataSpec("small", 2, 3, 8, "gcn_zca", gcn_scale=12.0)
    for data, spec in ((dataset, ZCA), (fewer, ZCA), (dataset, weaker), (dataset, fainter), (dataset, MEAN)):
        fitted(data, spec, tmp_path)
    assert len(list((tmp_path / "small").iterdir())) == 5


def test_the_fit_of_other_settings_under_the_right_name_is_not_used(dataset: Dataset, tmp_path: Path) -> None:
    good = fitted(dataset, ZCA, tmp_path)
    (path,) = (tmp_path / "small").iterdir()
    fitted(dataset, DataSpec("small", 2, 3, 8, "gcn_zca", zca_bias=0.2), tmp_path)
    (other,) = set((tmp_path / "small").iterdir()) - {path}
    other.replace(path)
    assert np.array_equal(fitted(dataset, ZCA, tmp_path).whitening, good.whitening)


@pytest.mark.parametrize("damage", ["truncate", "flip", "replace"])
def test_a_damaged_fit_is_repeated(damage: str, dataset: Dataset, tmp_path: Path) -> None:
    good = fitted(dataset, ZCA, tmp_path)
    (path,) = (tmp_path / "small").iterdir()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes({"truncate": data[:-100], "flip": data, "replace": b"not an archive"}[damage])
    with pytest.raises(NinyError, match="not a readable preprocessing file"):
        Preprocessor.load(path)
    assert np.array_equal(fitted(dataset, ZCA, tmp_path).whitening, good.whitening)
    Preprocessor.load(path)


def test_a_full_disk_is_one_clear_line(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(NinyError, match=r"cannot write .*npz: No space left on device"):
        fitted(dataset, ZCA, tmp_path)
    assert list((tmp_path / "small").iterdir()) == []


@pytest.fixture(scope="module")
def cifar10(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Path]:
    where = os.environ.get("NINY_DATA")
    if not where or not Path(where, "cifar-10-batches-bin").is_dir():
        pytest.skip("needs the real CIFAR-10: set NINY_DATA to a folder that holds cifar-10-batches-bin")
    root = tmp_path_factory.mktemp("data")
    fetch("cifar10", root, ["local"], say=lambda _: None)
    return load("cifar10", root), root


def test_real_cifar10_has_the_published_contrast_after_gcn(cifar10: tuple[Dataset, Path]) -> None:
    x = gcn(torch.from_numpy(cifar10[0].train.images), 55.0)
    measured = [x.std().item(), x.min().item(), x.max().item()]
    assert measured == pytest.approx([0.9923, -11.98, 9.38], rel=5e-4)


def test_real_cifar10_has_the_published_spread_after_zca(cifar10: tuple[Dataset, Path]) -> None:
    data, root = cifar10
    p = fitted(data, DataSpec("cifar10", 10, 3, 32, "gcn_zca"), root)
    assert p.eigenvalues is not None
    extremes = [p.eigenvalues[0], np.median(p.eigenvalues), p.eigenvalues[-1]]
    assert extremes == pytest.approx([0.1, 0.1102, 467.06], rel=1e-3)
    train, test = p.apply(data.train.images), p.apply(data.test.images)
    assert [train.std().item(), test.std().item()] == pytest.approx([0.5207, 0.5272], abs=5e-5)
    assert train.std((0, 2, 3)).tolist() == pytest.approx([0.534, 0.501, 0.526], abs=5e-4)
    assert [x.flatten(1).norm(dim=1).mean().item() for x in (train, test)] == pytest.approx([27.90, 28.19], abs=5e-3)


@pytest.mark.parametrize("kind", get_args(get_type_hints(DataSpec)["preprocessing"]))
def test_the_notebook_about_data_asserts_what_every_preprocessing_gives(images: NDArray[np.uint8], kind: str) -> None:
    cells = json.loads((ROOT / "notebooks" / "01-data.ipynb").read_text())["cells"]
    labels = np.arange(300) % 2
    spec = DataSpec("small", 2, 3, 8, kind)  # type: ignore[arg-type]  # a value that the parameter names
    data = Dataset("small", Split(images[:300], labels), Split(images[300:], labels), ("a", "b"))
    train, test = (Preprocessor.fit(images[:300], spec).apply(part) for part in (images[:300], images[300:]))
    found = {"train_std": train.std().item()}
    check = pd.DataFrame({"found": found, "expected": dict.fromkeys(found, np.nan)})
    names = {"np": np, "torch": torch, "data": data, "spec": spec, "found": found, "check": check}
    exec("".join(cells[-1]["source"]), names | {"train": train, "test": test})
