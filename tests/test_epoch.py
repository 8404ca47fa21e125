"""What an epoch shows the network, at which rates and by whose random numbers; losses and groups of rates."""

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from niny.config import Recipe
from niny.data.augment import translate_and_flip
from niny.models import cnn, nin_cifar
from niny.models.network import Network
from niny.training.device import choose_compute
from niny.training.loop import TrainingData, batches, steps_per_epoch, train_epoch
from niny.training.optimiser import learning_rate, make_optimiser, parameter_groups
from niny.training.seeds import Seeds
from niny.training.update import Update, loss_of

CPU = torch.device("cpu")
EXACT = choose_compute("cpu", "float32")
SEEDS = Seeds(7, 2)
RISING = Recipe(init="he", lr=0.4, phases=((3, 1.0),), batch=16, warmup_epochs=2.0, order="shuffled")


class Watched(Update):
    """An update that learns nothing and remembers what it was given, and when."""

    def __init__(self, recipe: Recipe) -> None:
        net = nin_cifar(width=0.05)
        super().__init__(net, make_optimiser(net, recipe), recipe, EXACT)
        self.seen: list[tuple[Tensor, Tensor]] = []
        self.rates: list[list[float]] = []
        self.masks: list[int] = []

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        self.seen.append((images.clone(), labels.clone()))
        self.rates.append([group["lr"] / group["rate"] for group in self.optimiser.param_groups])
        self.masks.append(torch.initial_seed())


@pytest.fixture
def data() -> Iterator[TrainingData]:
    before = torch.get_rng_state()  # an epoch sets the seed of all draws
    images = torch.rand(50, 3, 32, 32, generator=torch.Generator().manual_seed(0)) + 1
    yield TrainingData(images, torch.arange(50), images, torch.arange(50))
    torch.set_rng_state(before)


@pytest.mark.parametrize("epoch", [0, 1])
def test_an_epoch_shows_its_own_order_and_masks(data: TrainingData, epoch: int) -> None:
    update = Watched(RISING)
    train_epoch(update, data, RISING, epoch, SEEDS, augment=False)
    order = list(batches(50, RISING, SEEDS.of("order", epoch), CPU))
    assert [labels.tolist() for _, labels in update.seen] == [index.tolist() for index in order]
    assert all(torch.equal(images, data.train_images[labels]) for images, labels in update.seen)
    assert set(update.masks) == {SEEDS.of("masks", epoch)}


@pytest.mark.parametrize("epoch", [0, 1])
def test_an_epoch_moves_and_flips_images_by_its_own_draws(data: TrainingData, epoch: int) -> None:
    update = Watched(RISING)
    train_epoch(update, data, RISING, epoch, SEEDS, augment=True)
    draws = torch.Generator().manual_seed(SEEDS.of("augmentation", epoch))
    for images, labels in update.seen:
        assert torch.equal(images, translate_and_flip(data.train_images[labels], 4, draws))
        assert not torch.equal(images, data.train_images[labels])


@pytest.mark.parametrize("schedule", ["steps", "one_cycle"])
def test_every_update_has_the_rate_of_its_step(data: TrainingData, schedule: Any) -> None:
    recipe = replace(RISING, schedule=schedule, warmup_epochs=2.0 if schedule == "steps" else 0.0)
    update, steps = Watched(recipe), steps_per_epoch(50, recipe)
    for epoch in (0, 1):
        train_epoch(update, data, recipe, epoch, SEEDS, augment=False)
    expected = [learning_rate(recipe, step, steps) for step in range(2 * steps)]
    assert all(before != after for before, after in pairwise(expected))
    for rates, wanted in zip(update.rates, expected, strict=True):
        assert rates == pytest.approx([wanted] * len(rates))


def test_what_decay_has_left_of_dead_filters_ends_with_the_epoch(data: TrainingData) -> None:
    update = Watched(RISING)
    weight = update.net.get_parameter("mlpconv1.conv1.weight")
    with torch.no_grad():
        weight[0] *= 1e-40
    before = weight.detach().clone()
    train_epoch(update, data, RISING, 0, SEEDS, augment=False)
    assert before[0].any()
    assert not weight[0].any()
    assert torch.equal(weight[1:], before[1:])


def test_losses_are_what_their_formulas_say() -> None:
    logits, labels = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([1])
    total = math.exp(2) + 1 + math.exp(-1)
    chances = [math.exp(value) / total for value in (2, 0, -1)]
    plain = loss_of(logits, labels, RISING).item()
    assert plain == pytest.approx(-math.log(chances[1]))
    smooth = loss_of(logits, labels, replace(RISING, label_smoothing=0.3)).item()
    assert smooth == pytest.approx(-sum(w * math.log(p) for w, p in zip((0.1, 0.8, 0.1), chances, strict=True)))
    binary = loss_of(logits, labels, replace(RISING, loss="binary_cross_entropy")).item()
    yes = [1 / (1 + math.exp(-value)) for value in (2, 0, -1)]
    assert binary == pytest.approx(-math.log(1 - yes[0]) - math.log(yes[1]) - math.log(1 - yes[2]))


def groups_of(net: Network, recipe: Recipe) -> dict[str, tuple[object, object]]:
    """(factor on the rate, weight decay) of every parameter, by its name."""
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    groups: list[Any] = parameter_groups(net, recipe)
    return {names[id(p)]: (group["rate"], group["weight_decay"]) for group in groups for p in group["params"]}


@pytest.mark.parametrize(
    ("net", "last"),
    [
        (nin_cifar(width=0.05), ["mlpconv3.cccp6"]),
        (nin_cifar(width=0.05, head="fc"), ["mlpconv3.cccp6", "head.fc"]),
        (nin_cifar(width=0.05, head="fc_dropout"), ["mlpconv3.cccp6", "head.fc"]),
        (cnn(width=0.2, head="fc"), ["local4", "head.fc"]),
        (nin_cifar(width=0.05, batch_norm=True), ["mlpconv3.cccp6"]),
    ],
    ids=["gap", "fc", "fc and dropout", "conventional", "batch norm"],
)
def test_last_layers_learn_at_a_tenth_and_weights_alone_decay(net: Network, last: list[str]) -> None:
    found = groups_of(net, RISING)
    assert set(found) == {name for name, _ in net.named_parameters()}
    scales = {f"{name}.weight" for name, layer in net.named_modules() if isinstance(layer, nn.BatchNorm2d)}
    for name, (rate, decay) in found.items():
        layer, _, kind = name.rpartition(".")
        assert rate == pytest.approx((0.1 if layer in last else 1.0) * (2.0 if kind == "bias" else 1.0)), name
        assert decay == (0.0 if kind == "bias" or name in scales else RISING.weight_decay), name
    assert {f"{layer}.weight" for layer in last} <= set(found)
