"""Fill a network with the weights of a file, whoever wrote it: by the names of layers, which all packagings share.

    .safetensors    ours, or anybody's with our layer names or a variant's
    .caffemodel     the authors' (Caffe), read by a small protobuf reader
    .params         MXNet's
    .pt .pth .tar   PyTorch checkpoints, read with weights_only=True, so that a pickle cannot run code

Whatever stands before a layer's own name (`mlpconv1.`, `module.`, a variant's place in a sequence) is put aside; every
tensor of the network must then be in the file with its shape.
"""

import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from niny.errors import NinyError
from niny.models.caffe import read_caffemodel
from niny.models.mxnet import read_params
from niny.models.network import Network
from niny.models.nin import CIFAR, POOLS, Options, build_nin
from niny.models.variants import LAYER_NAMES, VARIANTS, variant_of
from niny.models.weights import LARGEST, load_weights

State = Mapping[str, Tensor]
MOST_CLASSES = 1000
COUNTER = ".num_batches_tracked"  # of batch norm's updates, which no network here reads


def read_raw(path: Path) -> dict[str, Tensor]:
    """The tensors of any weights file under its own names. Raises NinyError for what cannot be read."""
    if path.suffix not in READERS:
        raise NinyError(f"{path}: not a weights file known here; known are {', '.join(READERS)}")
    return {key.removeprefix("module."): value for key, value in READERS[path.suffix](path).items()}


def by_layer(state: State) -> dict[str, Tensor]:
    """Tensors under their layers' own names, `<layer>.<weight or bias>`, a variant's renamed to the authors'."""
    names = LAYER_NAMES.get(variant_of(state) or "", {})
    return {_short(key, names): value for key, value in state.items() if not key.endswith(COUNTER)}


def _short(key: str, names: Mapping[str, str]) -> str:
    layer, _, kind = key.rpartition(".")
    return f"{names.get(layer, layer).rpartition('.')[2]}.{kind}"


def fill(net: nn.Module, state: State, path: Path) -> None:
    """Copy `state` (named by layer) into `net`. Raises NinyError naming the first layer that is missing or another."""
    wanted = by_layer(net.state_dict())
    for key, value in wanted.items():
        if key not in state:
            raise NinyError(f"{path} does not fit the network: {key} is missing")
        if state[key].numel() != value.numel() or (value.dim() > 1 and state[key].shape != value.shape):
            found, expected = tuple(state[key].shape), tuple(value.shape)
            raise NinyError(f"{path} does not fit the network: {key} has shape {found}, not {expected}")
        if not torch.isfinite(state[key]).all():
            raise NinyError(f"{path} holds no trained network: numbers of {key} are not finite")
    if extra := sorted(set(state) - set(wanted)):
        raise NinyError(f"{path} does not fit the network: {extra[0]} belongs to no layer of it")
    with torch.no_grad():
        for key, value in wanted.items():
            value.copy_(state[key].reshape(value.shape))


def load_file(net: nn.Module, path: Path) -> None:
    """Fill `net` with the weights of any file known here."""
    fill(net, by_layer(read_raw(path)), path)


def read_cifar(path: Path) -> Network:
    """The CIFAR NIN that a file of others holds: its pools and its number of classes are told by the file."""
    raw = read_raw(path)
    variant, state = variant_of(raw), by_layer(raw)
    if "cccp6.bias" not in state:
        raise NinyError(f"{path} holds no CIFAR NIN: layer cccp6 is missing")
    classes = state["cccp6.bias"].numel()
    if classes > MOST_CLASSES:
        raise NinyError(f"{path} holds no CIFAR NIN: {classes} classes")
    net = build_nin(CIFAR, Options(classes, **(VARIANTS[variant] if variant else _told_pools(path))))
    fill(net, state, path)
    return net


def pools_of(net: Network) -> dict[str, str]:
    """How a CIFAR NIN pools, in words for a weights file: what its tensors do not tell."""
    pool = net.get_submodule("pool2")
    kind = "average" if isinstance(pool, nn.AvgPool2d) else "max"
    return {"pool2": kind, "pool_padding": str(getattr(pool, "padding", 0))}


def _told_pools(path: Path) -> dict[str, Any]:
    """The pools that a file with our layer names tells of; else those that it is known to have been trained with."""
    about = load_weights(path)[1] if path.suffix == ".safetensors" else {}
    if about.get("pool2") in POOLS and about.get("pool_padding") in ("0", "1"):
        return {"pool2": about["pool2"], "pool_padding": int(about["pool_padding"])}
    return {"pool2": "average" if path.suffix == ".caffemodel" else "max"}


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The state dict of a PyTorch file; one wrapped in a training checkpoint (`state_dict`) is taken out of it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch tells of old storage classes; nothing a user can mend
            _check_size(path)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise NinyError(f"cannot read {path}: {error.strerror}") from None
    except UnpicklingError:
        raise NinyError(f"{path} holds more than tensors and plain containers: not opened, it could run code") from None
    except NinyError:
        raise
    except Exception as error:  # what a pickle holds decides how reading it fails
        raise NinyError(f"{path} is not a readable PyTorch file: {' '.join(str(error).split()):.150}") from None
    return _tensors(content, path)


def _check_size(path: Path) -> None:
    """What a file unpacks to must not be larger than weights are: PyTorch would inflate anything."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    else:
        size = path.stat().st_size
    if size > LARGEST:
        raise NinyError(f"{path} is larger than the weights of any network here ({LARGEST >> 20} MB)")


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise NinyError(f"{path} holds no state dict: save net.state_dict()")
    if not all(map(_is_plain, content.values())) or sum(4 * v.numel() for v in content.values()) > 2 * LARGEST:
        raise NinyError(f"{path} holds tensors that are not the plain numbers of weights")
    return {str(key): value.float() for key, value in content.items()}


def _is_plain(value: Tensor) -> bool:
    """Real numbers in memory, each with bytes of its own: an expanded tensor could be of any size."""
    strided = value.layout is torch.strided and value.device.type == "cpu" and not value.is_quantized
    return strided and not value.is_complex() and value.untyped_storage().nbytes() >= value.numel() * value.itemsize


def _caffe(path: Path) -> dict[str, Tensor]:
    kinds = ("weight", "bias")
    return {
        f"{_plain(layer)}.{kind}": blob
        for layer, blobs in read_caffemodel(path).items()
        for kind, blob in zip(kinds, blobs, strict=False)
    }


def _mxnet(path: Path) -> dict[str, Tensor]:
    parts = ((*name.rpartition("_"), value) for name, value in read_params(path).items())
    return {f"{_plain(layer)}.{kind}": value for layer, _, kind, value in parts}


def _plain(layer: str) -> str:
    """`cccp8-1024`, as the ImageNet files name the layers of the last block, without that number."""
    return re.sub(r"[-_]1024$", "", layer)


READERS: Mapping[str, Callable[[Path], dict[str, Tensor]]] = {
    ".safetensors": lambda path: load_weights(path)[0],
    ".caffemodel": _caffe,
    ".params": _mxnet,
    ".pt": read_checkpoint,
    ".pth": read_checkpoint,
    ".tar": read_checkpoint,
}
