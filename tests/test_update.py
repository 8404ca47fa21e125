"""One update of the engine, against the same update written down plainly."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from niny.config import Params, Recipe
from niny.models import Network, initialise, nin_cifar
from niny.training import Compute, choose_compute
from niny.training.optimiser import make_optimiser, parameter_groups, set_rate
from niny.training.update import Update, make_update

EXACT = Compute(torch.device("cpu"), torch.float32)


@pytest.fixture
def recipe(params: Params) -> Recipe:
    return replace(params.recipes["authors"], batch=16)


@pytest.fixture
def net() -> Network:
    """Without dropout: two ways of updating draw different masks."""
    net = nin_cifar(width=0.25, dropout=0.0)
    initialise(net, "centred", 0.05, 1)
    return net


@pytest.fixture
def stack() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(2)
    return [
        (torch.randn(16, 3, 32, 32, generator=generator), torch.randint(10, (16,), generator=generator))
        for _ in range(6)
    ]


def plain_updates(net: Network, stack: list[tuple[Tensor, Tensor]], recipe: Recipe) -> Network:
    """As most public code does it: float32, channels first, PyTorch's plainest optimiser."""
    net = copy.deepcopy(net).train()
    optimiser = torch.optim.SGD(parameter_groups(net, recipe), lr=recipe.lr, momentum=0.9, foreach=False)
    set_rate(optimiser, recipe.lr)
    for images, labels in stack:
        optimiser.zero_grad()
        F.cross_entropy(net(images), labels).backward()
        optimiser.step()
    return net


def engine_updates(net: Network, stack: list[tuple[Tensor, Tensor]], recipe: Recipe, compute: Compute) -> Update:
    net = copy.deepcopy(net).to(compute.device).to(memory_format=torch.channels_last).train()
    optimiser = make_optimiser(net, recipe)
    update = make_update(net, optimiser, recipe, compute)
    for images, labels in stack:
        set_rate(optimiser, recipe.lr)
        update(compute.place(images), labels.to(compute.device))
    return update


def relative_difference(a: Network, b: Network) -> float:
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return max(((p.cpu() - q.cpu()).norm() / q.cpu().norm()).item() for p, q in pairs)


def test_float32_updates_are_the_plain_ones(net: Network, stack: list[tuple[Tensor, Tensor]], recipe: Recipe) -> None:
    """Momentum included. Each begins at the same weights, since rounding alone parts two trainings in a few updates;
    now and then it opens or shuts a ReLU within one, which a few of six may show."""
    update, differences = engine_updates(net, [], recipe, EXACT), []
    for taken in range(1, len(stack) + 1):
        plain = plain_updates(net, stack[:taken], recipe)
        before = plain_updates(net, stack[: taken - 1], recipe)
        assert relative_difference(plain, before) > 0.1  # an update moves the weights
        update.net.load_state_dict(before.state_dict())
        set_rate(update.optimiser, recipe.lr)
        update(*stack[taken - 1])
        differences.append(relative_difference(update.net, plain))
    assert sorted(differences)[len(differences) // 2] < 1e-5
    assert max(differences) < 1e-2


def test_the_sums_are_those_of_the_batches(net: Network, stack: list[tuple[Tensor, Tensor]], recipe: Recipe) -> None:
    still = replace(recipe, lr=0.0)
    loss, mistakes = engine_updates(net, stack, still, EXACT).totals.tolist()
    logits = net(torch.cat([images for images, _ in stack]))
    labels = torch.cat([labels for _, labels in stack])
    assert loss == pytest.approx(F.cross_entropy(logits, labels, reduction="sum").item(), rel=1e-5)
    assert mistakes == (logits.argmax(1) != labels).sum().item()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_graph_on_the_gpu_computes_the_eager_updates(
    net: Network, stack: list[tuple[Tensor, Tensor]], recipe: Recipe, precision: str
) -> None:
    ragged = stack + [(images[:5], labels[:5]) for images, labels in stack] + stack[:2]
    graph = engine_updates(net, ragged, recipe, choose_compute("cuda", precision))
    eager = engine_updates(net, ragged, recipe, choose_compute("cuda", precision, eager=True))
    assert relative_difference(graph.net, eager.net) < (1e-4 if precision == "float32" else 2e-2)
    torch.testing.assert_close(graph.totals, eager.totals, rtol=1e-2, atol=1)
