"""Write a network for other runtimes, and believe in the file only when it was held against the network.

Every format gives two outputs, `probabilities` [N, K] and `class_maps` [N, K, h, w] (the first alone where a network
has no maps), for float32 input [N, C, H, W] that is preprocessed as `model.config` says; batch and, where the head
allows it, size are free. With `pixels=True` preprocessing is in the file: input is then uint8 pixels [N, C, S, S].

    onnx          read by onnxruntime, and through it by most others    (needs `pip install '.[export]'`)
    torchscript   `torch.jit.load`, also from C++
    torch.export  `torch.export.load`, a .pt2 file; torch 2.11 needs `.module(check_guards=False)` for other sizes
    safetensors   the weights alone, float32, under our layer names
"""

import copy
import json
import warnings
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from niny.data.preprocess import DIVISORS, contrast, lcn
from niny.data.transforms import ImageNetTransform, Transform
from niny.errors import NinyError
from niny.files import replacing, write_text
from niny.inference.description import IMAGENET
from niny.inference.model import Model, chances
from niny.maps.forward import why_no_maps, why_one_size
from niny.models.loading import pools_of
from niny.models.weights import load_weights, save_weights

TOLERANCE = 1e-5  # of the largest value, for the file's outputs against the network's
OUTPUTS = ("probabilities", "class_maps")
OPSET = 20


class Exported(nn.Module):
    """What the file computes. In evaluation mode for good."""

    def __init__(self, model: Model, pixels: bool) -> None:
        super().__init__()
        self.net = model.net.eval()
        self.normalise = Normalise(model.transform) if pixels else nn.Identity()
        self.with_maps = why_no_maps(model.net) is None
        self.loss = model.loss

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.normalise(x)
        if not self.with_maps:
            return (chances(self.net(x), self.loss),)
        maps = self.net.class_maps(x)
        return chances(self.net.head(maps), self.loss), maps


class Normalise(nn.Module):
    """The preprocessing of the size of training as a module: uint8 N x C x S x S -> float32."""

    def __init__(self, transform: Transform | ImageNetTransform) -> None:
        super().__init__()
        self.transform = transform
        fit = None if isinstance(transform, ImageNetTransform) else transform.fit
        for name in ("mean", "whitening"):
            values = getattr(fit, name, None)
            self.register_buffer(name, None if values is None else torch.from_numpy(values))
        self.mean: Tensor | None
        self.whitening: Tensor | None

    def forward(self, pixels: Tensor) -> Tensor:
        if isinstance(self.transform, ImageNetTransform):
            return self.transform.normalise(pixels)
        spec = self.transform.fit.spec
        x = contrast(pixels, spec)
        if self.mean is None:
            return x if spec.preprocessing in DIVISORS else lcn(x)
        rows = x.flatten(1) - self.mean
        return (rows if self.whitening is None else rows @ self.whitening).view(pixels.shape)


def export(model: Model, kind: str, path: Path, *, pixels: bool = False) -> Path:
    """Write `model` as `kind` (onnx, torchscript, torch.export, safetensors) and `<path>.config.json` beside it.

    Raises NinyError for an unknown kind, a place that cannot be written to or holds the weights themselves, missing
    packages, and where the file's outputs differ from the network's by more than 1e-5 of their largest; then nothing is
    written.
    """
    if kind not in WRITERS:
        raise NinyError(f"unknown format {kind!r}: choose from {', '.join(WRITERS)}")
    if kind == "safetensors" and pixels:
        raise NinyError("safetensors holds weights alone: preprocessing cannot be in the file; leave out --pixels")
    check_target(model, path)
    write, run = WRITERS[kind]
    with replacing(path) as part:
        write(model, part, pixels)
        check(model, lambda x: run(part, model, x), pixels)
    config = {**model.config, "export": {"format": kind, **interface(model, kind, pixels)}}
    write_text(path.with_name(f"{path.name}.config.json"), json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    return path


def check_target(model: Model, path: Path) -> None:
    """Refuse a place that cannot be written to, or that holds the very weights, before any work is done."""
    if path.is_dir():
        raise NinyError(f"{path} is a folder: name a file in it")
    if not path.parent.is_dir():
        raise NinyError(f"{path.parent} is no folder: make it first, or name another file")
    if model.source is not None and path.resolve() == model.source.resolve():
        raise NinyError(f"{path} holds the weights that are exported: name another file")


def interface(model: Model, kind: str, pixels: bool) -> dict[str, Any]:
    """What goes into the file and comes out of it, by name, type and axes; free sides are meant from `least` up.

    Files cannot refuse a smaller image: onnxruntime 1.31 ends the process over one of less than 4 pixels a side.
    """
    if kind == "safetensors":
        return {"input": {}, "output": []}
    free = free_axes(model, pixels)
    axes = [model.transform.channels, model.transform.size, model.transform.size]
    shape = [free[0], *(free.get(axis, length) for axis, length in enumerate(axes, 1))]
    given: dict[str, Any] = {
        "name": "pixels" if pixels else "images",
        "type": "uint8" if pixels else "float32",
        "axes": shape,
    }
    if len(free) > 1:
        given["least"] = model.transform.size
    return {"input": given, "output": list(OUTPUTS[: 1 if why_no_maps(model.net) else 2])}


def target_for(model: Model, kind: str) -> Path:
    """A file name in this folder: that of the weights, with what the format usually ends in."""
    return Path(f"{model.config['meta']['name']}{SUFFIXES.get(kind, '')}")


def check(model: Model, run: Callable[[Tensor], tuple[Tensor, ...]], pixels: bool) -> None:
    """Hold a file's outputs against the network's, on other batches and, where they are free, other sizes."""
    channels, size = model.transform.channels, model.transform.size
    sides = [size] if pixels or not any_size(model) else [size, size + 13]
    generator = torch.Generator().manual_seed(0)
    reference = Exported(model, pixels)
    for count, side in ((n, s) for n in (1, 3) for s in sides):
        x = torch.randint(256, (count, channels, side, side), generator=generator, dtype=torch.uint8)
        given = x if pixels else x.float() / 64 - 2
        with torch.no_grad():
            expected = reference(given)
        found = run(given)
        if [tuple(of.shape) for of in found] != [tuple(of.shape) for of in expected]:
            raise NinyError("the file gives outputs of other shapes than the network")
        for name, ours, theirs in zip(OUTPUTS, expected, found, strict=False):  # some networks have no class maps
            difference = float((ours - theirs).abs().max() / ours.abs().max().clamp_min(1))
            if not difference <= TOLERANCE:
                raise NinyError(f"the file gives other {name} than the network: they differ by {difference:.1e}")


def any_size(model: Model) -> bool:
    return why_one_size(model.net) is None


def example(model: Model, pixels: bool) -> Tensor:
    """Two images: a batch of one would be taken for a constant."""
    shape = (2, model.transform.channels, model.transform.size, model.transform.size)
    return torch.zeros(shape, dtype=torch.uint8) if pixels else torch.zeros(shape)


def free_axes(model: Model, pixels: bool) -> dict[int, str]:
    return {0: "batch"} if pixels or not any_size(model) else {0: "batch", 2: "height", 3: "width"}


def write_onnx(model: Model, path: Path, pixels: bool) -> None:
    if missing := missing_for_onnx():
        raise NinyError(f"{', '.join(missing)}: not installed; pip install '.[export]' here brings what ONNX needs")
    about = interface(model, "onnx", pixels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter speaks of its own parts
        program = torch.onnx.export(
            Exported(model, pixels),
            (example(model, pixels),),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            dynamic_shapes=(free_axes(model, pixels),),
            input_names=[about["input"]["name"]],
            output_names=about["output"],
        )
        assert program is not None
        program.save(str(path), external_data=False)


def run_onnx(path: Path, model: Model, x: Tensor) -> tuple[Tensor, ...]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return tuple(torch.from_numpy(y) for y in session.run(None, {session.get_inputs()[0].name: x.numpy()}))


def write_torchscript(model: Model, path: Path, pixels: bool) -> None:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # tracing is frozen, not gone
        torch.jit.trace(Exported(model, pixels), example(model, pixels)).save(str(path))


def run_torchscript(path: Path, model: Model, x: Tensor) -> tuple[Tensor, ...]:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        return tuple(torch.jit.load(str(path))(x))


def write_exported(model: Model, path: Path, pixels: bool) -> None:
    shapes = (dict.fromkeys(free_axes(model, pixels), torch.export.Dim.DYNAMIC),)
    program = torch.export.export(Exported(model, pixels), (example(model, pixels),), dynamic_shapes=shapes)
    with path.open("wb") as file:
        torch.export.save(program, file)


def run_exported(path: Path, model: Model, x: Tensor) -> tuple[Tensor, ...]:
    with path.open("rb") as file, torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given buffer is not writable")  # torch 2.11 of its own reader
        program = torch.export.load(file)
        try:
            return tuple(program.module()(x))
        except AssertionError:
            # torch 2.11 guards sides against being odd where the example's was even, though it computes both rightly
            return tuple(program.module(check_guards=False)(x))


def write_safetensors(model: Model, path: Path, pixels: bool) -> None:
    about = {
        key: str(value) for key, value in model.config["niny"]["weights"].items() if key in ("experiment", "scale")
    }
    if isinstance(model.transform, ImageNetTransform):
        order = "bgr" if model.transform.blue_first else "rgb"
        about = {"experiment": IMAGENET, "channels": order, "classes": json.dumps(model.labels)}
    elif "experiment" not in about:
        about = pools_of(model.net)  # a network of others, which may pool otherwise than ours
    save_weights(path, model.net.state_dict(), about, torch.float32)


def run_safetensors(path: Path, model: Model, x: Tensor) -> tuple[Tensor, ...]:
    twin = copy.deepcopy(Exported(model, pixels=False))
    for value in twin.state_dict().values():
        value.fill_(0)
    twin.net.load_state_dict(twin.net.state_dict() | load_weights(path)[0])
    with torch.no_grad():
        return tuple(twin(x))


def missing_for_onnx() -> list[str]:
    return [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]


Write = Callable[[Model, Path, bool], None]
Run = Callable[[Path, Model, Tensor], tuple[Tensor, ...]]
WRITERS: Mapping[str, tuple[Write, Run]] = {
    "onnx": (write_onnx, run_onnx),
    "torchscript": (write_torchscript, run_torchscript),
    "torch.export": (write_exported, run_exported),
    "safetensors": (write_safetensors, run_safetensors),
}
SUFFIXES = {"onnx": ".onnx", "torchscript": ".torchscript.pt", "torch.export": ".pt2", "safetensors": ".safetensors"}
