"""Networks: sizes, parameter counts, and that they are what the paper describes."""

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from captum.attr import LayerActivation, LayerGradCam
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from niny.config import SETTLED, Params
from niny.errors import NinyError
from niny.models import (
    Network,
    build,
    cnn,
    get_model,
    initialise,
    linear_cifar,
    maxout,
    nin_cifar,
    nin_imagenet,
    nin_mnist,
    nin_svhn,
    parameter_count,
)
from niny.models.blocks import Dropout, LocallyConnected, Maxout, MLPConv, ResponseNorm
from niny.models.caffe import read_caffemodel
from niny.models.loading import load_file
from niny.models.weights import load_weights, save_weights

SMALL = {"width": 0.1}


@pytest.mark.parametrize(
    ("net", "count"),
    [
        (nin_cifar(), 966_986),
        (nin_cifar(num_classes=100), 984_356),
        (nin_svhn(), 1_986_026),
        (nin_mnist(), 349_674),
        (nin_imagenet(), 7_595_176),
        (nin_cifar(head="fc"), 966_986 + 640 * 10 + 10),
        # three convolutions of 64 maps, a 3x3 local layer of 10 maps on 4x4, then 160 -> 10
        (cnn(), 4_864 + 2 * 102_464 + 16 * 10 * (576 + 1)),
        (cnn(head="fc"), 4_864 + 2 * 102_464 + 16 * 10 * (576 + 1) + 160 * 10 + 10),
    ],
)
def test_parameter_counts_are_the_authors(net: Network, count: int) -> None:
    assert parameter_count(net) == count


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: nin_cifar(0), "num_classes=0"),
        (lambda: nin_mnist(-3), "num_classes=-3"),
        (lambda: nin_cifar(head="moon"), "head='moon': choose from gap, fc, fc_dropout"),
        (lambda: nin_svhn(pool2="min"), "pool2='min': choose from max, average"),
        (lambda: nin_imagenet(width=0.5), "width: the ImageNet network has"),
    ],
)
def test_an_option_that_no_network_has_is_refused(make: Callable[[], Network], complaint: str) -> None:
    with pytest.raises(NinyError, match=complaint):
        make()


@pytest.mark.parametrize(
    ("net", "channels", "sides"), [(nin_cifar(**SMALL), 3, (32, 16, 8)), (nin_mnist(**SMALL), 1, (28, 14, 7))]
)
def test_feature_maps_halve_rounding_up(net: Network, channels: int, sides: tuple[int, ...]) -> None:
    x, seen = torch.randn(2, channels, sides[0], sides[0]), []
    for name in net.layer_names:
        x = getattr(net, name)(x)
        if name.startswith("mlpconv"):
            seen.append(x.shape[-1])
    assert tuple(seen) == sides


def test_mlpconv_is_a_perceptron_slid_over_the_image() -> None:
    block = MLPConv(3, [("a", 7), ("b", 6), ("c", 5)], kernel=5)
    x = torch.randn(2, 3, 9, 9)
    patches = F.unfold(x, 5, padding=2).transpose(1, 2)  # N x places x values
    for name in "abc":
        layer = getattr(block, name)
        patches = F.relu(patches @ layer.weight.flatten(1).T + layer.bias)
    torch.testing.assert_close(block(x), patches.transpose(1, 2).reshape(2, 5, 9, 9), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("net", [nin_cifar(**SMALL), nin_svhn(**SMALL), linear_cifar(**SMALL), cnn(**SMALL)])
def test_class_maps_average_to_the_logits(net: Network) -> None:
    initialise(net, "he", 0.0, 1)
    x = torch.randn(4, 3, 32, 32)
    net.eval()
    assert torch.equal(net.class_maps(x).mean((2, 3)), net(x))


@pytest.mark.parametrize("net", [nin_cifar(**SMALL), linear_cifar(**SMALL)])
def test_larger_images_give_larger_maps(net: Network) -> None:
    assert net.class_maps(torch.randn(1, 3, 96, 64)).shape == (1, 10, 24, 16)
    assert net(torch.randn(1, 3, 96, 64)).shape == (1, 10)


def test_a_local_layer_refuses_a_size_that_is_no_multiple_of_its_own() -> None:
    with pytest.raises(ValueError, match="4 x 4"):
        cnn(**SMALL)(torch.randn(1, 3, 48, 48))


def test_a_local_layer_reads_a_grid_tile_by_tile_each_as_if_it_stood_alone() -> None:
    layer = LocallyConnected(3, 5, 4, 3)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    grid = torch.randn(2, 3, 8, 12)
    found = layer(grid)
    assert found.shape == (2, 5, 8, 12)
    for row, column in itertools.product(range(2), range(3)):
        tile = slice(None), slice(None), slice(4 * row, 4 * row + 4), slice(4 * column, 4 * column + 4)
        torch.testing.assert_close(found[tile], layer(grid[tile].contiguous()))


def test_a_local_layer_with_shared_weights_is_a_convolution() -> None:
    layer, conv = LocallyConnected(3, 5, 6, 3), nn.Conv2d(3, 5, 3, padding=1)
    layer.weight.data = conv.weight.data.flatten(1)[:, :, None].expand(-1, -1, 36).clone()
    layer.bias.data = conv.bias.data[:, None].expand(-1, 36).clone()
    x = torch.randn(2, 3, 6, 6)
    torch.testing.assert_close(layer(x), conv(x), rtol=1e-4, atol=1e-5)


def test_response_norm_is_torch_s_own() -> None:
    x = torch.randn(2, 24, 5, 5) * 30
    for alpha in (1e-3, 9e-3):
        reference = nn.LocalResponseNorm(9, alpha=alpha, beta=0.75, k=1.0)(x)
        torch.testing.assert_close(ResponseNorm(24, alpha=alpha)(x), reference, rtol=1e-5, atol=1e-5)


def test_maxout_takes_the_largest_piece() -> None:
    assert Maxout(2)(torch.tensor([[1.0, 3.0, 5.0, 4.0]])).tolist() == [[3.0, 5.0]]


def test_the_maxout_network_says_that_it_has_no_class_maps() -> None:
    net = maxout(width=0.1)
    assert net(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    with pytest.raises(NinyError, match="no class maps"):
        net.class_maps(torch.randn(2, 3, 32, 32))


@pytest.mark.parametrize("rate", [0.5, 0.25])
def test_dropout_conventions_compute_the_same_function_when_the_weights_are_scaled(rate: float) -> None:
    """W (m x) in training and W (k x) in testing, k = 1 - rate, against W' (m x / k) and W' x with W' = k W."""
    authors, inverted = Dropout(rate, inverted=False), Dropout(rate, inverted=True)
    x, W = torch.randn(64, 30), torch.randn(30, 5, requires_grad=True)
    kept = 1 - rate
    scaled_down = (kept * W).detach().requires_grad_()
    losses = []
    for dropout, weight in ((authors, W), (inverted, scaled_down)):
        torch.manual_seed(0)
        y = dropout(x) @ weight
        y.square().sum().backward()
        losses.append(y)
    torch.testing.assert_close(losses[0], losses[1])
    # where half is kept the gradient doubles, so a quarter of the rate moves W' by half of what the rate moves W
    torch.testing.assert_close(scaled_down.grad, W.grad / kept, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(authors.eval()(x) @ W, inverted.eval()(x) @ scaled_down)


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.999, 1.0])
def test_a_rate_that_drops_none_or_all_is_refused(rate: float) -> None:
    with pytest.raises(NinyError, match=f"dropout {rate:g}: a rate from 1/256 to 255/256"):
        Dropout(rate)


def test_dropout_keeps_the_share_it_should() -> None:
    kept = Dropout(0.2, inverted=False)(torch.ones(100_000))
    assert abs(kept.mean().item() - 0.8) < 0.01


@pytest.mark.parametrize(("init", "expected"), [("normal", 0.05), ("he", (2 / (3 * 25)) ** 0.5)])
def test_weights_are_drawn_as_asked(init: str, expected: float) -> None:
    net = nin_cifar()
    initialise(net, init, 0.05, 3)
    first = net.mlpconv1.conv1
    assert abs(first.weight.std().item() / expected - 1) < 0.02
    assert not first.bias.any()
    again = nin_cifar()
    initialise(again, init, 0.05, 3)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))


def test_centred_filters_add_up_to_nothing_and_the_last_layer_starts_small_and_open() -> None:
    """Filters of mean 0 see the variance of a rectified normal, 1/2 - 1/(2 pi) of the normal's, and restore it."""
    net = nin_cifar()
    initialise(net, "centred", 0.0, 3)
    layers = {name: layer for name, layer in net.named_modules() if isinstance(layer, nn.Conv2d)}
    inputs = {name: layer.weight[0].numel() for name, layer in layers.items()}
    for name, layer in list(layers.items())[1:-1]:
        assert layer.weight.mean((1, 2, 3)).abs().max() < 1e-6
        expected = 1 / (inputs[name] * (0.5 - 0.5 / math.pi))
        assert layer.weight.var().item() == pytest.approx(expected, rel=0.05), name
        assert not layer.bias.any()
    first, last = layers["mlpconv1.conv1"], layers["mlpconv3.cccp6"]
    assert first.weight.std().item() == pytest.approx((2 / 75) ** 0.5, rel=0.02)
    before = 1 / (inputs["mlpconv3.cccp6"] * (0.5 - 0.5 / math.pi))
    assert last.weight.std().item() == pytest.approx(0.3 * before**0.5, rel=0.1)
    assert (last.bias == 1).all()


def test_layers_may_start_from_spreads_of_their_own() -> None:
    net, usual = nin_cifar(), nin_cifar()
    initialise(usual, "normal", 0.05, 3)
    initialise(net, "normal", 0.05, 3, [("conv1", 0.001), ("cccp2", 0.01)])
    torch.testing.assert_close(net.mlpconv1.conv1.weight, usual.mlpconv1.conv1.weight / 50)
    torch.testing.assert_close(net.mlpconv1.cccp2.weight, usual.mlpconv1.cccp2.weight / 5)
    assert torch.equal(net.mlpconv1.cccp1.weight, usual.mlpconv1.cccp1.weight)
    with pytest.raises(NinyError, match="conv9"):
        initialise(net, "normal", 0.05, 3, [("conv9", 0.001)])


def test_attribution_hooks_see_the_class_maps() -> None:
    net = nin_cifar(**SMALL).eval()
    initialise(net, "he", 0.0, 1)
    x = torch.randn(3, 3, 32, 32)
    maps = LayerActivation(net, net.mlpconv3.relu_cccp6).attribute(x)
    assert torch.equal(maps, net.class_maps(x))
    # at the layer that is pooled, Grad-CAM is the map itself: the gradient of a mean is 1/64 everywhere
    cam = LayerGradCam(net, net.mlpconv3.relu_cccp6).attribute(x, target=4)
    torch.testing.assert_close(64 * cam[:, 0], maps[:, 4], rtol=1e-5, atol=1e-6)


def test_no_relu_works_in_place(params: Params) -> None:
    for experiment in params.experiments_at("demo"):
        net = build(params.run("demo", experiment.name))
        assert not any(getattr(layer, "inplace", False) for layer in net.modules())


# --- weights files ------------------------------------------------------------------------------------------------


def some_state() -> dict[str, Tensor]:
    net = nin_cifar(**SMALL)
    initialise(net, "he", 0.0, 1)
    return net.state_dict()


def test_the_safetensors_library_reads_what_we_write(tmp_path: Path) -> None:
    state = some_state()
    save_weights(tmp_path / "w.safetensors", state, {"experiment": "x"})
    with safe_open(str(tmp_path / "w.safetensors"), "pt") as file:
        assert file.metadata() == {"experiment": "x"}
        assert set(file.keys()) == set(state)
        assert all(torch.equal(file.get_tensor(name), value.half()) for name, value in state.items())


def test_we_read_what_the_safetensors_library_writes(tmp_path: Path) -> None:
    state = {name: value.contiguous() for name, value in some_state().items()}
    save_file(state, str(tmp_path / "w.safetensors"), {"scale": "demo"})
    read, about = load_weights(tmp_path / "w.safetensors")
    assert about == {"scale": "demo"}
    assert all(torch.equal(read[name], value) for name, value in state.items())


deep, odd = b"[" * 500_000, b'{"__metadata__": 5}'


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:100],
        lambda raw: raw[:-1000],
        lambda raw: b"",
        lambda raw: b"\xff" * 8 + raw[8:],
        lambda raw: raw[:8] + b"x" * (len(raw) - 8),
        lambda raw: raw.replace(b"F16", b"Z99"),
        lambda raw: len(deep).to_bytes(8, "little") + deep,
        lambda raw: len(odd).to_bytes(8, "little") + odd,
    ],
)
def test_a_damaged_weights_file_is_refused(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, some_state(), {})
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]  # of the parameters
    with pytest.raises(NinyError, match=r"w\.safetensors"):
        load_weights(path)


def caffe_message(number: int, body: bytes | int) -> bytes:
    """One protobuf field, written by hand: the reader is tested against the format, not against itself."""

    def varint(value: int) -> bytes:
        out = b""
        while value > 127:
            out, value = out + bytes([value & 127 | 128]), value >> 7
        return out + bytes([value])

    if isinstance(body, int):
        return varint(number << 3) + varint(body)
    return varint(number << 3 | 2) + varint(len(body)) + body


def caffemodel(weight: Tensor, name: str = "conv1", *, old: bool) -> bytes:
    data = caffe_message(5, weight.numpy().tobytes())
    if old:
        shape = b"".join(caffe_message(i + 1, n) for i, n in enumerate(weight.shape))
        layer = caffe_message(4, name.encode()) + caffe_message(6, shape + data)
        return caffe_message(2, layer)
    dims = caffe_message(7, caffe_message(1, bytes(weight.shape)))
    return caffe_message(100, caffe_message(1, name.encode()) + caffe_message(7, dims + data))


@pytest.mark.parametrize("old", [True, False])
def test_caffe_blobs_come_out_as_they_went_in(tmp_path: Path, old: bool) -> None:
    weight = torch.randn(4, 3, 5, 5)
    path = tmp_path / "net.caffemodel"
    path.write_bytes(caffe_message(1, b"a name") + caffemodel(weight, old=old))
    assert torch.equal(read_caffemodel(path)["conv1"][0], weight)


@pytest.mark.parametrize(
    "raw", [b"", b"hello, this is no model", b"\xa2\x06\xff\xff\xff\xff\x7f", json.dumps({}).encode()]
)
def test_a_file_that_is_no_caffe_model_is_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "net.caffemodel"
    path.write_bytes(raw)
    with pytest.raises(NinyError, match=r"net\.caffemodel"):
        read_caffemodel(path)


def test_caffe_blobs_whose_shape_and_data_disagree_are_refused(tmp_path: Path) -> None:
    raw = caffemodel(torch.randn(4, 3, 5, 5), old=False)
    path = tmp_path / "net.caffemodel"
    path.write_bytes(raw.replace(bytes([4, 3, 5, 5]), bytes([4, 3, 5, 6])))
    with pytest.raises(NinyError, match=r"net\.caffemodel"):
        read_caffemodel(path)


def test_a_caffe_model_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.caffemodel"
    path.write_bytes(caffemodel(torch.randn(4, 3, 5, 5), old=True))
    with pytest.raises(NinyError, match="conv1"):
        load_file(nin_cifar(), path)


@pytest.mark.parametrize("net", ["nin_cifar", "nin_svhn", "nin_mnist", "linear_cifar", "cnn", "maxout"])
def test_networks_follow_every_choice_but_those_that_are_settled(net: str) -> None:
    usual: dict[str, Any] = {
        "head": "gap",
        "dropout": 0.5,
        "pool2": "max",
        "final_relu": True,
        "batch_norm": False,
        "norm_alpha": 1e-3,
    }
    other = {
        "head": "fc",
        "dropout": 0.25,
        "pool2": "average",
        "final_relu": False,
        "batch_norm": True,
        "norm_alpha": 9e-3,
    }
    built = repr(get_model(net, width=0.1, **usual))
    same = {name for name in usual if repr(get_model(net, width=0.1, **usual | {name: other[name]})) == built}
    assert same == set(SETTLED.get(net, {}))
