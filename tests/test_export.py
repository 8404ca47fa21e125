"""Files for other runtimes compute what the network computes, at sizes and batches it was not exported with."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from test_inference import keep

import niny
from niny.config import Params
from niny.errors import NinyError
from niny.inference import export as exporting
from niny.inference.export import TOLERANCE, export
from niny.inference.model import Model
from niny.models.weights import load_weights

needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="onnx, onnxscript and onnxruntime are not installed: pip install 'niny[export]'",
)


@pytest.fixture
def model(project: Path, params: Params) -> Model:
    """A sliver of the network, drawn; its data set is the digits."""
    return niny.load(str(keep(project, params, "smoke")))


def compare(model: Model, x: torch.Tensor, outputs: list[np.ndarray]) -> None:
    """The two outputs against the network itself, to 1e-5 of the largest value."""
    with torch.no_grad():
        maps = model.net.class_maps(x)
    expected = (maps.mean((2, 3)).softmax(1), maps)
    assert len(outputs) == 2
    for ours, theirs in zip(expected, outputs, strict=True):
        np.testing.assert_allclose(theirs, ours.numpy(), rtol=0, atol=TOLERANCE * max(1.0, float(ours.abs().max())))


SHAPES = [(1, 1, 16, 16), (5, 1, 16, 16), (2, 1, 23, 40), (1, 1, 64, 50)]


@needs_onnx
def test_onnxruntime_gives_probabilities_and_maps_for_any_batch_and_size(model: Model, tmp_path: Path) -> None:
    import onnxruntime

    path = export(model, "onnx", tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(str(path))
    assert [output.name for output in session.get_outputs()] == ["probabilities", "class_maps"]
    assert session.get_inputs()[0].shape == ["batch", 1, "height", "width"]
    for shape in SHAPES:
        x = torch.randn(shape)
        compare(model, x, session.run(None, {"images": x.numpy()}))
    about = json.loads((tmp_path / "net.onnx.config.json").read_text())
    assert about["niny"]["labels"] == list(model.labels)
    given = {"name": "images", "type": "float32", "axes": ["batch", 1, "height", "width"], "least": 16}
    assert about["export"]["input"] == given


@needs_onnx
def test_with_pixels_the_file_does_the_preprocessing(model: Model, tmp_path: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(export(model, "onnx", tmp_path / "net.onnx", pixels=True)))
    pixels = torch.randint(256, (3, 1, 16, 16), dtype=torch.uint8)
    compare(model, model.transform.normalise(pixels), session.run(None, {"pixels": pixels.numpy()}))


@pytest.mark.parametrize("pixels", [False, True])
@pytest.mark.parametrize("kind", ["torchscript", "torch.export"])
def test_torch_s_own_formats_give_the_same(model: Model, tmp_path: Path, kind: str, pixels: bool) -> None:
    path = export(model, kind, tmp_path / "net", pixels=pixels)
    for shape in SHAPES[: 2 if pixels else None]:
        given = torch.randint(256, shape, dtype=torch.uint8)
        x = model.transform.normalise(given)
        with torch.no_grad():
            outputs = exporting.WRITERS[kind][1](path, model, given if pixels else x)
        compare(model, x, [output.numpy() for output in outputs])


def test_a_network_of_yes_or_no_questions_answers_each_by_itself(project: Path, params: Params, tmp_path: Path) -> None:
    model = niny.load(str(keep(project, params, "seeds", "cifar10-nin-bce")))
    path, x = export(model, "torch.export", tmp_path / "net.pt2"), torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        chances, maps = torch.export.load(path).module()(x)
    torch.testing.assert_close(chances, maps.mean((2, 3)).sigmoid())


def test_safetensors_hold_the_weights_and_whose_they_are(model: Model, tmp_path: Path) -> None:
    path = export(model, "safetensors", tmp_path / "net.safetensors")
    state, about = load_weights(path)
    assert all(torch.equal(state[key], value) for key, value in model.net.state_dict().items())
    assert about == {"experiment": "cifar10-nin", "scale": "smoke"}
    image = torch.randint(256, (3, 20, 20), dtype=torch.uint8)
    assert niny.load(str(path)).predict(image) == model.predict(image)


def test_a_network_with_a_fully_connected_head_is_exported_for_its_size(params: Params, project: Path) -> None:
    model = niny.load(str(keep(project, params, "smoke", "cifar10-nin-fc")))
    x = torch.randn(3, 1, 16, 16)
    probabilities, maps = exporting.run_exported(export(model, "torch.export", project / "net"), model, x)
    with torch.no_grad():
        torch.testing.assert_close(probabilities, model.net(x).softmax(1))
    assert maps.shape == (3, 10, 4, 4)


def test_a_file_that_computes_something_else_is_not_kept(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(path: Path, model: Model, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        probabilities, maps = exporting.run_torchscript(path, model, x)
        return probabilities, maps * 1.001

    monkeypatch.setattr(exporting, "WRITERS", {"torchscript": (exporting.write_torchscript, wrong)})
    with pytest.raises(NinyError, match="other class_maps than the network"):
        export(model, "torchscript", tmp_path / "net")
    assert not list(tmp_path.glob("*net*"))


def test_the_weights_themselves_are_never_written_over(model: Model, tmp_path: Path) -> None:
    assert model.source is not None
    before = model.source.read_bytes()
    with pytest.raises(NinyError, match="holds the weights that are exported"):
        export(model, "safetensors", model.source)
    assert model.source.read_bytes() == before
    with pytest.raises(NinyError, match="is a folder: name a file in it"):
        export(model, "safetensors", tmp_path)


def test_without_onnx_one_line_names_the_remedy(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "find_spec", lambda name: None)
    with pytest.raises(
        NinyError, match=r"onnx, onnxscript, onnxruntime: not installed; pip install '\.\[export\]' here"
    ):
        export(model, "onnx", tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()
