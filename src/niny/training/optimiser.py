"""Stochastic gradient descent as the authors ran it (paper section 4.1; rates from their parameter files).

Their code updates  inc = 0.9 inc + lr (g - decay w),  w += inc,  with one pair (lr, decay) per layer. In PyTorch's
terms: weights at lr with decay 1e-4, the last layer at a tenth of it, biases at twice their layer's rate, undecayed.
PyTorch keeps lr out of the momentum buffer, so after a drop of the rate the old gradients fade with the new rate
instead of the old one: a difference over about ten updates, twice in a run.
"""

import torch
from torch import nn

from niny.config import Recipe
from niny.models import Network


def parameter_groups(net: Network, recipe: Recipe) -> list[dict[str, object]]:
    """One group for each (rate, decay) pair; `rate` is the group's factor on the recipe's lr."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        last = name.rpartition(".")[0] in net.last_layers
        bias = name.endswith("bias")
        rate = (recipe.last_layer_lr if last else 1.0) * (recipe.bias_lr if bias else 1.0)
        decay = 0.0 if bias or parameter.dim() == 1 else recipe.weight_decay  # nor are batch norm's scales decayed
        groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": p, "rate": r, "weight_decay": d} for (r, d), p in groups.items()]


def make_optimiser(net: Network, recipe: Recipe) -> torch.optim.SGD:
    return torch.optim.SGD(parameter_groups(net, recipe), lr=recipe.lr, momentum=recipe.momentum, fused=True)


def set_rate(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Set every group's rate, in place where it lies on the device for a graph to read."""
    for group in optimiser.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(lr * group["rate"])
        else:
            group["lr"] = lr * group["rate"]


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The rate of update `step` (counted from 0): a warm-up, then steps by phase, or one rise and fall."""
    total = recipe.epochs * steps_per_epoch
    if recipe.schedule == "one_cycle":
        peak = 0.25 * total
        return recipe.lr * (step / peak if step < peak else (total - step) / (total - peak))
    warm = min(1.0, (step + 1) / max(1.0, recipe.warmup_epochs * steps_per_epoch))
    return recipe.lr * warm * phase_factor(recipe, step // steps_per_epoch)


def phase_factor(recipe: Recipe, epoch: int) -> float:
    for epochs, factor in recipe.phases:
        if epoch < epochs:
            return factor
        epoch -= epochs
    return recipe.phases[-1][1]
