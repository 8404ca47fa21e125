"""A network with joined layers against the layers themselves, on a CPU."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from niny.config import Params
from niny.models import Network, initialise, nin_cifar, nin_mnist
from niny.models.baselines import build_cnn, build_linear, build_maxout
from niny.models.nin import Options
from niny.training import choose_compute, joined
from niny.training.joined import JoinedNetwork, steps_of
from niny.training.update import Update, make_update

NETWORKS: dict[str, Callable[[], Network]] = {
    "as the paper has it": lambda: nin_cifar(width=0.2),
    "no last ReLU, inverted dropout": lambda: nin_cifar(width=0.2, final_relu=False, inverted_dropout=True),
    "average pools": lambda: nin_cifar(width=0.2, pool2="average"),
    "batch norm": lambda: nin_cifar(width=0.2, batch_norm=True, dropout=0.0),
    "a fully connected head": lambda: nin_cifar(width=0.2, head="fc"),
    "MNIST's": lambda: nin_mnist(width=0.2),
    "one convolution a stage": lambda: build_linear(Options(width=0.2)),
    "the conventional CNN": lambda: build_cnn(Options(width=0.2)),
    "maxout": lambda: build_maxout(Options(width=0.2)),
}


def logits_and_gradients(net: Network, forward: Callable[[Tensor], Tensor], images: Tensor) -> list[Tensor]:
    torch.manual_seed(5)
    with torch.autocast("cpu", images.dtype, enabled=images.dtype is not torch.float32):
        logits = forward(images).float()
    loss = F.cross_entropy(logits, torch.arange(len(images)))
    return [logits, *torch.autograd.grad(loss, list(net.parameters()))]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_joined_network_is_the_network(name: str, dtype: torch.dtype) -> None:
    if not joined.can_join(dtype):
        pytest.skip(f"this PyTorch cannot join layers in {dtype} here")
    net = NETWORKS[name]().to(memory_format=torch.channels_last).train()
    initialise(net, "centred", 0.05, 1)
    first = next(net.parameters())
    side = 28 if first.shape[1] == 1 else 32
    images = torch.randn(6, first.shape[1], side, side, generator=torch.Generator().manual_seed(2))
    images = images.to(dtype, memory_format=torch.channels_last)
    expected = logits_and_gradients(net, net, images)
    found = logits_and_gradients(net, JoinedNetwork(net), images)
    close = 1e-5 if dtype is torch.float32 else 1e-2
    for a, b in zip(found, expected, strict=True):
        assert (a - b).norm() <= close * b.norm()


def test_a_relu_is_joined_to_its_convolution_or_comes_after_the_pool() -> None:
    conv, relu, pool, last = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 2, 1)
    joint, *rest = steps_of([conv, relu, conv, relu, pool, last])
    assert not isinstance(joint, nn.Module)
    assert rest == [conv, pool, relu, last]


def test_a_precision_that_onednn_lacks_goes_through_the_layers() -> None:
    conv = nn.Conv2d(2, 3, 3).double()
    maps = torch.randn(1, 2, 5, 5, dtype=torch.float64)
    assert torch.equal(joined.clipped(conv)(maps), torch.relu(conv(maps)))


@pytest.mark.parametrize("options", [{"bias": False}, {"padding": 1, "padding_mode": "reflect"}])
def test_what_one_call_cannot_express_is_left_as_it_is(options: dict[str, Any]) -> None:
    layers = [nn.Conv2d(3, 4, 3, **options), nn.ReLU()]
    assert list(steps_of(list(layers))) == layers


def test_where_the_joint_call_is_missing_the_layers_are_trained(
    monkeypatch: pytest.MonkeyPatch, params: Params
) -> None:
    recipe, net = params.recipes["authors"], nin_cifar(width=0.1)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    compute = choose_compute("cpu", "float32")
    if joined.can_join(torch.float32):
        assert make_update(net, optimiser, recipe, compute).form == "joined"
    joined.can_join.cache_clear()
    monkeypatch.setattr(joined, "clipped", lambda conv: torch.ops.mkldnn.no_such_call)
    update = make_update(net, optimiser, recipe, compute)
    joined.can_join.cache_clear()
    assert (update.form, update.network) == (Update.form, net)
