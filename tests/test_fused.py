"""Fused stages and their kernels against the layers they stand for: on a GPU, or interpreted on a CPU.

Interpreted products of bfloat16 are wrong in Triton itself, so a CPU tests float32 alone; training fuses in bfloat16.
"""

import importlib
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from niny.models import Network, initialise, nin_cifar, nin_imagenet
from niny.models.baselines import build_cnn, build_linear, build_maxout
from niny.models.nin import Options

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(scope="module")
def fused() -> ModuleType:
    pytest.importorskip("triton", reason="needs Triton, which PyTorch's builds without CUDA lack")
    return importlib.import_module("niny.training.fused")


@pytest.fixture(scope="module")
def kernels(fused: ModuleType) -> Any:
    return fused.kernels


@pytest.fixture(autouse=True)
def exact() -> None:
    torch.backends.cudnn.allow_tf32 = False


def channels_last(*shape: int) -> Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    return values.to(DEVICE).contiguous(memory_format=torch.channels_last)


def rows(count: int, columns: int) -> Tensor:
    return channels_last(1, columns, count, 1)[0, :, :, 0].T.contiguous()


def gradients(net: Network, logits: Tensor) -> list[Tensor]:
    labels = torch.arange(len(logits), device=logits.device)
    return list(torch.autograd.grad(F.cross_entropy(logits, labels), list(net.parameters())))


def small(**options: Any) -> Network:
    return nin_cifar(width=0.1, **options)


NETWORKS = {
    "as the paper has it, masks aside": lambda: small(dropout=0.0),
    "no last ReLU": lambda: small(dropout=0.0, final_relu=False),
    "a fully connected head": lambda: small(dropout=0.0, head="fc", size=8),
    "one convolution a stage": lambda: build_linear(Options(width=0.1, dropout=0.0)),
}
if DEVICE == "cpu":  # a GPU's eager layers draw masks of their own
    NETWORKS |= {
        "dropout": lambda: small(dropout=0.5),
        "inverted dropout at another rate": lambda: small(dropout=0.25, inverted_dropout=True),
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_a_fused_network_is_the_network(fused: ModuleType, name: str) -> None:
    """8 pixels become 4, then 2: the last windows are clipped at the far edge."""
    net = NETWORKS[name]().to(DEVICE).to(memory_format=torch.channels_last).train()
    initialise(net, "centred", 0.05, 1)
    images, quick = channels_last(3, 3, 8, 8), fused.fuse(net, torch.float32)
    torch.manual_seed(5)
    expected = net(images)
    torch.manual_seed(5)
    logits = quick(images)
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
    for parameter, found, wanted in zip(
        net.parameters(), gradients(net, logits), gradients(net, expected), strict=True
    ):
        assert wanted.abs().max() > 0
        assert (found - wanted).norm() < 1e-4 * wanted.norm()
        assert found.stride() == parameter.stride()  # the fused optimiser takes no other


def changed(name: str, **settings: object) -> Network:
    """A network of which one layer has other settings."""
    net = small()
    layer = net.get_submodule(name)
    for setting, value in settings.items():
        assert getattr(layer, setting) != value
        setattr(layer, setting, value)
    return net


@pytest.mark.parametrize(
    "net",
    [
        small(batch_norm=True),
        small(pool2="average"),
        small(pool_padding=1),
        changed("pool1", ceil_mode=False),
        changed("pool1", dilation=2),
        changed("mlpconv2.conv2", dilation=(2, 2)),
        changed("mlpconv2.conv2", stride=(2, 2)),
        changed("mlpconv2.conv2", kernel_size=(4, 4)),
        changed("mlpconv2.conv2", padding_mode="circular"),
        build_cnn(Options(width=0.1)),
        build_maxout(Options(width=0.1)),
        nin_imagenet(num_classes=2),
    ],
    ids=lambda net: type(net).__name__,
)
def test_other_layers_are_not_fused(fused: ModuleType, net: Network) -> None:
    assert fused.fuse(small(), torch.float32) is not None
    assert fused.fuse(net, torch.float32) is None


def test_masks_are_never_drawn_where_they_should_be_off(fused: ModuleType) -> None:
    net = small(dropout=0.5).to(DEVICE)
    with pytest.raises(AssertionError, match="masks are on"):
        fused.fuse(net.eval(), torch.float32)(channels_last(1, 3, 8, 8))


def test_what_pooling_does_not_need_is_not_kept(fused: ModuleType) -> None:
    """The first stage's last maps are the largest but one of the network."""
    net, kept = small(dropout=0.0).to(DEVICE).train(), list[int]()
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.append(t.untyped_storage().nbytes()) or t, lambda t: t
    ):
        fused.fuse(net, torch.float32)(channels_last(2, 3, 8, 8))
    outputs = net.mlpconv1.cccp2.out_channels
    assert 4 * 2 * 8 * 8 * outputs not in kept
    assert 0 in kept


@pytest.mark.parametrize("side", [7, 8])
def test_pooling_and_its_gradient(kernels: Any, side: int) -> None:
    """Many ties: PyTorch, too, takes the first of its window. What came from a ReLU at rest gets no gradient."""
    maps = channels_last(2, 16, side, side).mul(2).round().relu_().requires_grad_()
    expected = F.max_pool2d(maps, 3, 2, ceil_mode=True)
    found, origin = kernels.max_pool(maps.detach(), None, 256, 1.0)
    torch.testing.assert_close(found, expected)
    gradient = channels_last(*expected.shape)
    (wanted,) = torch.autograd.grad(expected, maps, gradient)
    back = kernels.max_pool_backward(gradient, origin, side, side, 1.0)
    torch.testing.assert_close(back, torch.where(maps > 0, wanted, 0))


def test_dropped_values_get_no_gradient(kernels: Any) -> None:
    maps = channels_last(2, 16, 8, 8).abs() + 0.1
    random = torch.arange(2 * 16 * 16, dtype=torch.uint8, device=DEVICE).view(2, 4, 4, 16).permute(0, 3, 1, 2)
    found, origin = kernels.max_pool(maps, random, 128, 2.0)
    kept = random < 128
    torch.testing.assert_close(found, torch.where(kept, 2 * F.max_pool2d(maps, 3, 2, ceil_mode=True), 0))
    assert torch.equal(origin == kernels.NONE, ~kept)
    assert 0 < int(kept.sum()) < kept.numel()


def test_what_is_no_number_is_passed_on(kernels: Any) -> None:
    """A training that diverged must be seen to, dropped values included."""
    maps = channels_last(1, 16, 8, 8).relu_()
    maps[0, 3, 4, 4] = torch.nan
    dropped = torch.full((1, 4, 4, 16), 255, dtype=torch.uint8, device=DEVICE).permute(0, 3, 1, 2)
    for random in (None, dropped):
        pooled, _ = kernels.max_pool(maps, random, 128, 1.0)
        assert pooled[0, 3].isnan().any()
        assert not pooled[0, 4].isnan().any()
    assert kernels.bias_relu_(maps, torch.zeros(16, device=DEVICE))[0, 3, 4, 4].isnan()
    inputs, weight = rows(20, 24), rows(16, 24)
    inputs[5] = torch.nan
    assert kernels.relu_product(inputs, weight, torch.zeros(16, device=DEVICE))[5].isnan().all()
    assert kernels.masked_product(inputs, weight.T.contiguous(), rows(20, 16))[0][5].isnan().any()


def test_patches_are_the_rows_of_a_convolution(kernels: Any, fused: ModuleType) -> None:
    images, conv = channels_last(2, 3, 6, 7), nn.Conv2d(3, 8, 5, padding=2, bias=False).to(DEVICE)
    found = kernels.patches(images, 5) @ fused._patch_weight(conv.weight).T
    expected = conv(images).permute(0, 2, 3, 1).flatten(0, 2)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_flat_kernels_reach_every_value(kernels: Any) -> None:
    """More values than two programs take."""
    maps, bias = channels_last(2, 16, 12, 12), channels_last(1, 16, 1, 1).flatten()
    assert maps.numel() > 2 * kernels.BLOCK
    expected = (maps + bias[:, None, None]).relu()
    torch.testing.assert_close(kernels.bias_relu_(maps.clone(), bias), expected)
    maps = channels_last(4, 32, 9, 9).relu_()
    found, _ = kernels.max_pool(maps, None, 256, 1.0)
    assert found.numel() > 2 * kernels.BLOCK - 100
    torch.testing.assert_close(found, F.max_pool2d(maps, 3, 2, ceil_mode=True))


def test_sums_of_what_was_kept(kernels: Any) -> None:
    """More pixels and more channels than a program takes."""
    gradient = channels_last(2, kernels.COLUMNS + 16, 9, 9)
    origin = (gradient > 0).to(torch.uint8) * kernels.NONE
    assert kernels.ROWS < 2 * 9 * 9
    expected = torch.where(gradient > 0, 0, gradient).sum((0, 2, 3))
    torch.testing.assert_close(kernels.kept_sums(gradient, origin), expected, rtol=1e-4, atol=1e-4)


def test_products_of_several_tiles(kernels: Any) -> None:
    """More rows, columns and depth than a tile has, and numbers that are no multiples of it."""
    m, k, n = kernels.ROWS + 22, 2 * kernels.DEPTH + 16, kernels.COLUMNS + 16
    gradient, weight, activations, bias = rows(m, k), rows(k, n), rows(m, n), rows(1, n)[0]
    found, sums = kernels.masked_product(gradient, weight, activations)
    expected = torch.where(activations > 0, gradient @ weight, 0)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sums, expected.sum(0), rtol=1e-4, atol=1e-3)
    found = kernels.relu_product(gradient, weight.T.contiguous(), bias)
    torch.testing.assert_close(found, (gradient @ weight + bias).relu(), rtol=1e-4, atol=1e-4)


def test_a_weight_gradient_is_summed_over_all_its_parts(fused: ModuleType) -> None:
    if DEVICE == "cuda":
        pytest.skip("its product with float32 sums takes bfloat16 alone there: see the test below")
    gradient, below = rows(4 * fused.SHORTEST, 8), rows(4 * fused.SHORTEST, 16)
    torch.testing.assert_close(fused._weight_gradient(gradient, below), gradient.T @ below, rtol=1e-4, atol=1e-3)


@pytest.mark.skipif(DEVICE == "cpu", reason="needs a CUDA device: interpreted products of bfloat16 are wrong")
def test_bfloat16_gradients_are_as_good_as_those_of_the_layers(fused: ModuleType) -> None:
    net = nin_cifar(dropout=0.0).to(DEVICE).to(memory_format=torch.channels_last).train()
    initialise(net, "centred", 0.05, 1)
    images, labels = channels_last(128, 3, 32, 32), torch.arange(128, device=DEVICE) % 10

    def found(call: Any, dtype: torch.dtype) -> list[Tensor]:
        with torch.autocast(DEVICE, torch.bfloat16, enabled=dtype is not torch.float32):
            loss = F.cross_entropy(call(images.to(dtype)).float(), labels)
        return list(torch.autograd.grad(loss, list(net.parameters())))

    exactly, plain = found(net, torch.float32), found(net, torch.bfloat16)
    for e, p, f in zip(exactly, plain, found(fused.fuse(net, torch.bfloat16), torch.bfloat16), strict=True):
        assert (f - e).norm() < 1.2 * (p - e).norm() + 0.01 * e.norm()


@pytest.mark.skipif(DEVICE == "cpu", reason="needs a CUDA device")
def test_each_replay_of_a_graph_draws_masks_of_its_own(fused: ModuleType) -> None:
    maps = channels_last(64, 96, 32, 32).abs().to(torch.bfloat16) + 1
    for _ in range(2):
        fused.kernels.max_pool(maps, fused._random_bytes(maps), 128, 1.0)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        pooled, _ = fused.kernels.max_pool(maps, fused._random_bytes(maps), 128, 1.0)
    masks = []
    for _ in range(2):
        graph.replay()
        masks.append((pooled == 0).clone())
        assert abs(float(masks[-1].float().mean()) - 0.5) < 0.01
    assert 0.4 < float((masks[0] != masks[1]).float().mean()) < 0.6
