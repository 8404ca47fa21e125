"""Fused stages and their kernels against the layers they stand for: on a GPU, or interpreted on a CPU."""

import importlib
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from niny.models import Network, initialise, nin_cifar
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


@pytest.mark.parametrize(
    "net",
    [
        small(batch_norm=True),
        small(pool2="average"),
        small(pool_padding=1),
        build_cnn(Options(width=0.1)),
        build_maxout(Options(width=0.1)),
    ],
    ids=["batch norm", "average pool", "padded pool", "conventional CNN", "maxout"],
)
def test_other_layers_are_not_fused(fused: ModuleType, net: Network) -> None:
    assert fused.fuse(net, torch.float32) is None


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
    """A training that diverged must be seen to."""
    maps = channels_last(1, 16, 8, 8).relu_()
    maps[0, 3, 4, 4] = torch.nan
    pooled, _ = kernels.max_pool(maps, None, 256, 1.0)
    assert pooled[0, 3].isnan().any()
    assert not pooled[0, 4].isnan().any()
    assert kernels.bias_relu_(maps, torch.zeros(16, device=DEVICE))[0, 3, 4, 4].isnan()


def test_patches_are_the_rows_of_a_convolution(kernels: Any, fused: ModuleType) -> None:
    images, conv = channels_last(2, 3, 6, 7), nn.Conv2d(3, 8, 5, padding=2, bias=False).to(DEVICE)
    found = kernels.patches(images, 5) @ fused._patch_weight(conv.weight).T
    expected = conv(images).permute(0, 2, 3, 1).flatten(0, 2)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_masked_product_and_its_sums(kernels: Any) -> None:
    """More rows than a program's tile takes, and numbers of columns that are no multiple of it."""
    gradient, weight, activations = rows(150, 24), rows(24, 80), rows(150, 80)
    found, sums = kernels.masked_product(gradient, weight, activations)
    expected = torch.where(activations > 0, gradient @ weight, 0)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(sums, expected.sum(0), rtol=1e-4, atol=1e-4)
