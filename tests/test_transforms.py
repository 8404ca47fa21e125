"""Preprocessing for prediction: the small form loses nothing that matters, larger images are whitened soundly."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image
from torch import Tensor

from niny.config import DataSpec, Params
from niny.data import Dataset, fetch, load
from niny.data.preprocess import Preprocessor, fitted, gcn
from niny.data.sets import Images
from niny.data.transforms import (
    KEPT,
    ImageNetTransform,
    Transform,
    load_small,
    save_small,
    slide,
    transform_for,
    whole,
)
from niny.errors import NinyError
from niny.models.loading import read_cifar

AUTHORS = Path(os.environ.get("NINY_CAFFEMODEL", "unset"))
SPEC = DataSpec("digits", 10, 3, 12, "gcn_zca", gcn_scale=12.0)


def scenes(count: int, side: int = 12, seed: int = 0) -> Images:
    """Smooth random images: neighbouring pixels are alike, as in photographs."""
    noise = torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.avg_pool2d(noise, 5, 1, 2, count_include_pad=False)
    return ((smooth * 100 + 128).clamp(0, 255)).to(torch.uint8).numpy()


@pytest.fixture(scope="module")
def fit() -> Preprocessor:
    return Preprocessor.fit(scenes(2000), SPEC)


def test_the_small_form_gives_back_what_was_learnt(fit: Preprocessor, tmp_path: Path) -> None:
    save_small(fit, tmp_path / "a.npz")
    again = load_small(tmp_path / "a.npz", SPEC)
    assert fit.whitening is not None
    assert again.whitening is not None
    assert np.abs(again.whitening - fit.whitening).max() <= 1.26e-4  # half a step
    assert np.array_equal(again.whitening, again.whitening.T)
    assert np.array_equal(again.mean, fit.mean)  # type: ignore[arg-type]  # there is one
    images = scenes(50, seed=1)
    torch.testing.assert_close(again.apply(images), fit.apply(images), atol=5e-3, rtol=0)


def test_the_whitening_of_cifar10_in_the_package_has_the_spectrum_measured_on_the_official_files(
    params: Params,
) -> None:
    """Of its covariance with the bias of 0.1: least 0.1000, median 0.1102, largest 467.06 (pylearn2's pipeline)."""
    kept = load_small(KEPT / "cifar10.npz", params.datasets["cifar10"])
    values = torch.linalg.eigvalsh(torch.from_numpy(kept.whitening))
    expected = torch.tensor([467.06, 0.1102, 0.1000]).rsqrt()
    found = torch.stack([values[0], values.median(), values[-1]])
    torch.testing.assert_close(found, expected, rtol=0.005, atol=0)


def test_gains_too_large_for_the_small_form_are_refused(fit: Preprocessor, tmp_path: Path) -> None:
    assert fit.whitening is not None
    with pytest.raises(NinyError, match="raise zca_bias"):
        save_small(replace(fit, whitening=10 * fit.whitening), tmp_path / "a.npz")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", [b"", b"no archive", None])
def test_a_damaged_small_form_or_one_of_other_settings_names_the_remedy(
    fit: Preprocessor, tmp_path: Path, damage: bytes | None
) -> None:
    save_small(fit, tmp_path / "a.npz")
    if damage is not None:
        (tmp_path / "a.npz").write_bytes(damage)
    with pytest.raises(NinyError, match="niny data pack digits"):
        load_small(tmp_path / "a.npz", SPEC if damage is not None else replace(SPEC, zca_bias=0.2))


def test_at_the_size_of_training_an_image_is_preprocessed_as_in_training(fit: Preprocessor) -> None:
    image = scenes(1, seed=2)[0]
    shown = Image.fromarray(image.transpose(1, 2, 0))
    assert torch.equal(Transform(fit)(shown), fit.apply(image[None])[0])


def test_a_sliding_window_whitens_a_pixel_as_the_middle_of_its_own_window(fit: Preprocessor) -> None:
    """Wherever the window is a whole image without a mean of its own, the two preprocessings agree."""
    x = gcn(torch.from_numpy(scenes(1, 36, seed=3)), 36.0)
    slid = slide(fit, x)
    assert slid.shape == x.shape
    window = x[:, :, 8:20, 14:26]  # its middle is pixel (14, 20)
    centred = (window - window.mean()).flatten(1).numpy()
    assert fit.mean is not None
    assert fit.whitening is not None
    expected = ((centred - fit.mean + fit.mean.mean()) @ fit.whitening).reshape(3, 12, 12)[:, 6, 6]
    filters = fit.whitening.reshape(3, 12, 12, -1)[:, 6, 6]
    expected = expected - fit.mean.mean() * filters.sum(1)
    torch.testing.assert_close(slid[0, :, 14, 20], torch.from_numpy(expected), atol=1e-3, rtol=1e-3)


def test_sliding_whitens_a_larger_image_as_much_as_one_of_the_size_of_training(fit: Preprocessor) -> None:
    """Neighbouring pixels of smooth images are alike before; how alike they are after must not depend on the size."""

    def likeness(x: Tensor) -> float:
        pairs = torch.stack([x[..., :-1].flatten(), x[..., 1:].flatten()])
        return float(torch.corrcoef(pairs)[0, 1])

    larger = torch.from_numpy(scenes(4, 48, seed=4))
    usual = likeness(fit.apply(scenes(100, seed=5)))
    assert likeness(gcn(larger, 48.0)) > usual + 0.2
    assert likeness(Transform(fit).normalise(larger)) == pytest.approx(usual, abs=0.1)


def test_the_whole_image_is_taken_at_a_larger_size(fit: Preprocessor) -> None:
    image = Image.fromarray(scenes(1, 60)[0].transpose(1, 2, 0)).resize((90, 60))
    transform = Transform(fit)
    assert transform(image).shape == (3, 12, 12)
    assert transform(image, size=24).shape == (3, 24, 36)
    assert transform.pixels(image).float().mean() == pytest.approx(np.asarray(image)[:, 15:75].mean(), abs=1)


def test_a_size_that_is_too_small_or_too_large_is_refused() -> None:
    assert whole((640, 480), 96, 32) == (128, 96)
    with pytest.raises(NinyError, match="from 32 pixels up"):
        whole((640, 480), 31, 32)
    with pytest.raises(NinyError, match="take a smaller size"):
        whole((64_000, 480), 96, 32)


def test_a_set_that_was_fetched_is_fitted_where_nothing_is_kept(project: Path) -> None:
    transform = transform_for("digits")
    data = load("digits", project / "data")
    images = data.test.images[:5]
    shown = [Image.fromarray(image[0]) for image in images]
    expected = fitted(data, transform.fit.spec, project / "data").apply(images)
    torch.testing.assert_close(torch.stack([transform(image) for image in shown]), expected, atol=1e-5, rtol=1e-4)
    with pytest.raises(NinyError, match="niny data fetch cifar100"):
        transform_for("cifar100")
    with pytest.raises(NinyError, match="unknown data set"):
        transform_for("moon")


def test_svhn_needs_nothing_that_was_learnt(project: Path) -> None:
    image = Image.fromarray(scenes(1, 64)[0].transpose(1, 2, 0))
    assert transform_for("svhn")(image).shape == (3, 32, 32)
    assert transform_for("svhn")(image, size=48).shape == (3, 48, 48)


def test_a_mean_image_has_one_size(params: Params) -> None:
    fit = Preprocessor.fit(scenes(20)[:, :1], DataSpec("mnist", 10, 1, 12, "mean"))
    image = Image.fromarray(scenes(1, 40)[0, 0])
    assert Transform(fit)(image).shape == (1, 12, 12)
    with pytest.raises(NinyError, match="no other size"):
        Transform(fit)(image, size=24)


def test_imagenet_images_lose_their_mean_colour_and_caffe_reads_blue_first() -> None:
    image = Image.new("RGB", (300, 400), (123, 117, 104))
    red_first = ImageNetTransform(blue_first=False)(image)
    assert red_first.shape == (3, 224, 224)
    assert red_first.abs().max() < 0.5
    half = Image.new("RGB", (300, 300), (255, 0, 0))
    assert ImageNetTransform(blue_first=True)(half)[2].min() > 100
    assert ImageNetTransform(blue_first=True)(half)[0].max() < 0
    assert ImageNetTransform()(image, size=256).shape == (3, 341, 256)


# --- the file that the package brings --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    if "NINY_DATA" not in os.environ:
        pytest.skip("NINY_DATA names no folder with cifar-10-batches-bin")
    root = tmp_path_factory.mktemp("cifar") / "data"
    fetch("cifar10", root, ["local"], say=lambda _: None)
    return load("cifar10", root)


def test_the_kept_matrix_of_cifar10_whitens_its_training_images(params: Params, cifar: Dataset) -> None:
    """W (C + bias I) W is the identity, C the covariance of all 50,000 images: held on random vectors."""
    spec = params.datasets["cifar10"]
    kept = load_small(KEPT / "cifar10.npz", spec)
    W, mean = torch.from_numpy(kept.whitening), torch.from_numpy(kept.mean)  # type: ignore[arg-type]  # there is one
    v = torch.randn(len(W), 4, generator=torch.Generator().manual_seed(0))
    u, product, total = W @ v, spec.zca_bias * (W @ v), torch.zeros(len(W))
    for chunk in torch.from_numpy(cifar.train.images).split(5000):
        rows = gcn(chunk, spec.gcn_scale).flatten(1)
        total += rows.sum(0) / len(cifar.train)
        product += (rows - mean).T @ ((rows - mean) @ u) / len(cifar.train)
    torch.testing.assert_close(mean, total, atol=1e-4, rtol=1e-3)
    assert torch.linalg.vector_norm(W @ product - v) < 0.02 * torch.linalg.vector_norm(v)


@pytest.mark.skipif(not AUTHORS.is_file(), reason="NINY_CAFFEMODEL names no file: the authors' cifar10_nin.caffemodel")
def test_the_authors_network_reads_images_through_it_and_nearly_as_well_through_the_sliding_window(
    cifar: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its published error is 10.4 %; 300 images tell that to within five points."""
    monkeypatch.setenv("NINY_ROOT", str(ROOT))
    images, labels = torch.from_numpy(cifar.test.images[:300]), torch.from_numpy(cifar.test.labels[:300])
    transform, net = transform_for("cifar10"), read_cifar(AUTHORS).eval()
    ways = {"matrix": transform.normalise(images), "sliding": slide(transform.fit, gcn(images, 55.0))}
    with torch.no_grad():
        said = {name: net(x.contiguous(memory_format=torch.channels_last)).argmax(1) for name, x in ways.items()}
    errors = {name: 100 * float((classes != labels).float().mean()) for name, classes in said.items()}
    assert errors["matrix"] == pytest.approx(10.43, abs=5)
    assert errors["sliding"] < errors["matrix"] + 6
