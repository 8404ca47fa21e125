"""Weights of others: Caffe, MXNet, published PyTorch variants; each file gives the network that its authors meant."""

import base64
import os
import pickle
import random
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from test_models import caffe_message
from torch import Tensor, nn
from torch.nn import functional as F

from niny.errors import NinyError
from niny.models import (
    initialise,
    nin_cifar,
    nin_cifar_variant,
    nin_imagenet,
    own_state,
    parameter_count,
    variant_state,
)
from niny.models.loading import by_layer, load_file, read_checkpoint, read_cifar
from niny.models.mxnet import read_params
from niny.models.nin import CIFAR, Options, build_nin
from niny.models.weights import save_weights

# Written by MXNet 1.9.1 itself: mx.nd.save({"arg:conv1_weight": 0..5 as 1x2x1x3, "arg:conv1_bias": 0.5, "aux:x": 1, 2
# as float16}), and mx.npx.save({"conv1_weight": [[1, 2]]}) under NumPy semantics.
MXNET = (
    "EgEAAAAAAAAAAAAAAAAAAAMAAAAAAAAAyfqT+QAAAAAEAAAAAQAAAAAAAAACAAAAAAAAAAEAAAAAAAAAAwAAAAAAAAABAAAAAAAA"
    "AAAAAAAAAAAAAACAPwAAAEAAAEBAAACAQAAAoEDJ+pP5AAAAAAEAAAABAAAAAAAAAAEAAAAAAAAAAAAAAAAAAD/J+pP5AAAAAAEA"
    "AAACAAAAAAAAAAEAAAAAAAAAAgAAAAA8AEADAAAAAAAAABAAAAAAAAAAYXJnOmNvbnYxX3dlaWdodA4AAAAAAAAAYXJnOmNvbnYx"
    "X2JpYXMFAAAAAAAAAGF1eDp4"
)
MXNET_NUMPY = (
    "EgEAAAAAAAAAAAAAAAAAAAEAAAAAAAAAyvqT+QAAAAACAAAAAQAAAAAAAAACAAAAAAAAAAEAAAAAAAAAAAAAAAAAgD8AAABAAQAA"
    "AAAAAAAMAAAAAAAAAGNvbnYxX3dlaWdodA=="
)


def drawn(net: nn.Module, seed: int = 1) -> nn.Module:
    initialise(net, "he", 0.0, seed)  # type: ignore[arg-type]  # its layers are all it needs
    return net.eval()


def test_mxnet_files_are_read_as_mxnet_wrote_them(tmp_path: Path) -> None:
    path = tmp_path / "a.params"
    path.write_bytes(base64.b64decode(MXNET))
    arrays = read_params(path)
    assert set(arrays) == {"conv1_weight", "conv1_bias", "x"}
    assert torch.equal(arrays["conv1_weight"], torch.arange(6.0).view(1, 2, 1, 3))
    assert arrays["conv1_bias"].tolist() == [0.5]
    assert arrays["x"].tolist() == [1.0, 2.0]
    path.write_bytes(base64.b64decode(MXNET_NUMPY))
    assert read_params(path)["conv1_weight"].tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize("cut", [0, 7, 24, 40, 60, 100, 200, 240])
def test_an_mxnet_file_that_is_cut_short_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.params"
    path.write_bytes(base64.b64decode(MXNET)[:cut])
    with pytest.raises(NinyError, match=r"a\.params"):
        read_params(path)


@pytest.mark.parametrize(
    ("at", "value"),
    [(0, b"\x13"), (16, b"\xff" * 8), (24, b"\x00"), (28, b"\x01"), (32, b"\xff\xff\xff\x7f"), (36, b"\xff" * 8)],
)
def test_an_mxnet_file_with_a_wrong_number_is_refused(tmp_path: Path, at: int, value: bytes) -> None:
    """Magic, number of arrays, version, storage, number of axes, a length: none is believed."""
    raw = base64.b64decode(MXNET)
    path = tmp_path / "a.params"
    path.write_bytes(raw[:at] + value + raw[at + len(value) :])
    with pytest.raises(NinyError, match=r"a\.params"):
        read_params(path)


def params_file(arrays: dict[str, Tensor]) -> bytes:
    """A .params file by the format's description; the fixture above shows that MXNet agrees."""
    body = struct.pack("<QQQ", 0x112, 0, len(arrays))
    for value in arrays.values():
        shape = struct.pack(f"<I{value.dim()}q", value.dim(), *value.shape)
        body += struct.pack("<Ii", 0xF993FAC9, 0) + shape + struct.pack("<iii", 1, 0, 0) + value.numpy().tobytes()
    names = [name.encode() for name in arrays]
    return body + struct.pack("<Q", len(names)) + b"".join(struct.pack("<Q", len(n)) + n for n in names)


def caffe_file(layers: dict[str, list[Tensor]]) -> bytes:
    def blob(value: Tensor) -> bytes:
        dims = b"".join(varint(n) for n in value.shape)
        return caffe_message(7, caffe_message(7, caffe_message(1, dims)) + caffe_message(5, value.numpy().tobytes()))

    return b"".join(
        caffe_message(100, caffe_message(1, name.encode()) + b"".join(map(blob, blobs)))
        for name, blobs in layers.items()
    )


def varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def theirs(layer: str) -> str:
    """The name that the ImageNet files give a layer."""
    return f"{layer}-1024" if layer in ("conv4", "cccp7", "cccp8") else layer


def test_the_imagenet_network_makes_the_round_trip_through_caffe_and_mxnet_files(tmp_path: Path) -> None:
    net = drawn(nin_imagenet())
    layers = {name.rpartition(".")[2]: m for name, m in net.named_modules() if isinstance(m, nn.Conv2d)}
    weights = {name: [m.weight.detach(), m.bias.detach()] for name, m in layers.items() if m.bias is not None}
    arrays = {f"arg:{theirs(n)}_{kind}": v for n, m in layers.items() for kind, v in m.state_dict().items()}
    files = {
        "nin.caffemodel": caffe_file({theirs(name): pair for name, pair in weights.items()}),
        "nin.params": params_file(arrays),
    }
    x = torch.randn(1, 3, 224, 224)
    for name, raw in files.items():
        (tmp_path / name).write_bytes(raw)
        again = nin_imagenet(weights=tmp_path / name)
        assert torch.equal(again(x), net(x))


def test_the_imagenet_network_is_the_authors() -> None:
    """Widths, 6 x 6 maps of 224 pixels, 7,595,176 parameters; larger images give larger maps."""
    net = nin_imagenet()
    outputs = {name.rpartition(".")[2]: m.out_channels for name, m in net.named_modules() if isinstance(m, nn.Conv2d)}
    assert list(outputs.values()) == [96] * 3 + [256] * 3 + [384] * 3 + [1024, 1024, 1000]
    assert parameter_count(net) == 7_595_176
    assert net.eval().class_maps(torch.randn(1, 3, 224, 224)).shape == (1, 1000, 6, 6)
    assert net.class_maps(torch.randn(1, 3, 256, 320)).shape == (1, 1000, 7, 9)


def test_the_imagenet_network_trains() -> None:
    net = nin_imagenet()
    initialise(net, "centred", 0.0, 0)
    net.train()
    x, y = torch.randn(2, 3, 224, 224), torch.arange(2)
    before = F.cross_entropy(net(x), y)
    before.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
    torch.optim.SGD(net.parameters(), lr=1e-3).step()
    assert F.cross_entropy(net.eval()(x), y) < before


# --- published PyTorch variants: their classes, from the paper's table of peers -------------------------------------


def block(channels: int, maps: tuple[int, int, int], kernel: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for width, size in zip(maps, (kernel, 1, 1), strict=True):
        layers += [nn.Conv2d(channels, width, size, padding=size // 2), nn.ReLU()]
        channels = width
    return layers


def gojay001() -> nn.Module:
    pool = [nn.MaxPool2d(3, 2, 1), nn.Dropout(0.5)]
    return nn.Sequential(
        OrderedDict(
            features1=nn.Sequential(*block(3, (192, 160, 96), 5), *pool),
            features2=nn.Sequential(*block(96, (192, 192, 192), 5), *pool),
            features3=nn.Sequential(*block(192, (192, 192, 10), 3)),
            gap=nn.AvgPool2d(8),
            flat=nn.Flatten(),
        )
    )


def jiecaoyu() -> nn.Module:
    pools = ([nn.MaxPool2d(3, 2, 1), nn.Dropout(0.5)], [nn.AvgPool2d(3, 2, 1), nn.Dropout(0.5)])
    layers = block(3, (192, 160, 96), 5) + pools[0] + block(96, (192, 192, 192), 5) + pools[1]
    classifer = nn.Sequential(*layers, *block(192, (192, 192, 10), 3), nn.AvgPool2d(8))
    return nn.Sequential(OrderedDict(classifer=classifer, flat=nn.Flatten()))


@pytest.mark.parametrize(("name", "make"), [("gojay001", gojay001), ("jiecaoyu", jiecaoyu)])
def test_weights_go_both_ways_between_us_and_a_published_variant(
    tmp_path: Path, name: str, make: Callable[[], nn.Module]
) -> None:
    ours, other, x = drawn(nin_cifar_variant(name)), make().eval(), torch.randn(4, 3, 32, 32)
    assert parameter_count(other) == parameter_count(ours) == 966_986
    other.load_state_dict(variant_state(ours, name))  # strict: every name and shape is theirs
    torch.testing.assert_close(other(x), ours(x))
    for layer in other.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    torch.save({"acc": 0.1, "state_dict": other.state_dict()}, tmp_path / "theirs.pth")
    back = read_cifar(tmp_path / "theirs.pth").eval()
    torch.testing.assert_close(other(x), back(x))
    assert not torch.allclose(back(x), ours(x))
    ours.load_state_dict(own_state(other.state_dict()))  # without a file
    assert torch.equal(ours(x), back(x))
    with pytest.raises(NinyError, match="no variant known here"):
        own_state(ours.state_dict())


def test_padded_pools_are_another_function_than_the_authors() -> None:
    ours = drawn(nin_cifar())
    variant = nin_cifar_variant("gojay001").eval()
    variant.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, 32, 32)
    assert not torch.allclose(variant(x), ours(x), rtol=1e-3)


# --- PyTorch files ----------------------------------------------------------------------------------------------------


class Hostile:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.proof),)


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_a_hostile_pickle_is_refused_and_does_nothing(tmp_path: Path, save: Callable[..., object]) -> None:
    path, proof = tmp_path / "weights.pth", tmp_path / "owned"
    save({"state_dict": Hostile(proof)}, path)
    with pytest.raises(NinyError, match=r"weights\.pth"):
        load_file(nin_cifar(), path)
    assert not proof.exists()
    torch.load(path, weights_only=False) if save is torch.save else pickle.loads(path.read_bytes())
    assert proof.exists()  # the file was as hostile as it was meant to be


@pytest.mark.parametrize("old", [False, True], ids=["zip", "legacy"])
def test_a_damaged_checkpoint_is_refused_wherever_the_damage_is(tmp_path: Path, old: bool) -> None:
    """Whatever torch.load raises, from its unpickler or from further in, becomes one line."""
    path, chance = tmp_path / "w.pth", random.Random(0)
    torch.save({"a.weight": torch.ones(3, 3)}, path, _use_new_zipfile_serialization=not old)
    raw, refused = path.read_bytes(), 0
    for _ in range(150):
        damaged = bytearray(raw)
        damaged[chance.randrange(len(raw))] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            read_checkpoint(path)
        except NinyError as error:
            refused += "\n" not in str(error)
    assert refused > 20


def test_a_plain_state_dict_of_ours_is_read_too(tmp_path: Path) -> None:
    net = drawn(nin_cifar(width=0.1))
    torch.save({f"module.{key}": value for key, value in net.state_dict().items()}, tmp_path / "w.pt")
    again = nin_cifar(width=0.1)
    load_file(again, tmp_path / "w.pt")
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 no zip", pickle.dumps([1, 2]), pickle.dumps({})])
def test_a_file_that_is_no_checkpoint_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(NinyError, match=r"w\.pth") as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_batch_norm_is_kept_after_more_updates_than_a_float16_can_count(tmp_path: Path) -> None:
    kept, read = (build_nin(CIFAR, Options(10, width=0.05, batch_norm=True)).eval() for _ in range(2))
    for layer in kept.modules():
        if isinstance(layer, nn.BatchNorm2d) and layer.num_batches_tracked is not None:
            layer.num_batches_tracked += 200_000
            nn.init.normal_(layer.running_mean)  # type: ignore[arg-type]  # a buffer, which torch types as optional
    save_weights(tmp_path / "kept.safetensors", kept.state_dict(), {})
    load_file(read, tmp_path / "kept.safetensors")
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(read.eval()(images), kept.eval()(images), rtol=0.02, atol=0.02)
    torch.save(kept.state_dict(), tmp_path / "kept.pt")
    load_file(read, tmp_path / "kept.pt")
    assert torch.equal(read.eval()(images), kept(images))


def test_weights_that_do_not_fit_name_the_layer(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", nin_cifar(width=0.1).state_dict(), {})
    with pytest.raises(NinyError, match=r"conv1\.weight has shape"):
        load_file(nin_cifar(), tmp_path / "w.safetensors")
    state = nin_cifar(width=0.1).state_dict()
    save_weights(tmp_path / "w.safetensors", {**state, "more.weight": torch.zeros(1)}, {})
    with pytest.raises(NinyError, match=r"more\.weight belongs to no layer"):
        load_file(nin_cifar(width=0.1), tmp_path / "w.safetensors")
    with pytest.raises(NinyError, match="not a weights file known here"):
        load_file(nin_cifar(), tmp_path / "w.onnx")
    assert len(by_layer(state)) == len(state)  # no two layers share a name
