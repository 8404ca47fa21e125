"""A network for training on a CPU, with fewer passes through memory than its layers make one by one.

A convolution and its ReLU are one call of oneDNN, which clips each value before it is written. A max pool comes before
the ReLU under it, which then has a quarter of the values to read: the largest of some values, clipped, is the largest
of the clipped ones, and where all are negative neither way lets a gradient through. Values and gradients are those of
the layers, up to the order of a convolution's sums, which oneDNN chooses.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from niny.models import Network

Step = Callable[[Tensor], Tensor]

JOINED = (torch.float32, torch.bfloat16)


class JoinedNetwork:
    """Logits of a network in training: N x C x H x W in the precision of training -> N x K."""

    def __init__(self, net: Network) -> None:
        self.steps: list[Step] = [
            *steps_of([part for name in net.layer_names for part in flat(getattr(net, name))]),
            net.head,
        ]

    def __call__(self, images: Tensor) -> Tensor:
        for step in self.steps:
            images = step(images)
        return images


def flat(layer: nn.Module) -> Iterator[nn.Module]:
    """The layers of a layer, in order: itself, unless it is a sequence of others."""
    return (part for child in layer for part in flat(child)) if isinstance(layer, nn.Sequential) else iter([layer])


def steps_of(layers: list[nn.Module]) -> Iterator[Step]:
    """The same function as `layers` one after the other, joined where that saves a pass."""
    while layers:
        match layers:
            case [nn.Conv2d() as conv, nn.ReLU() as relu, nn.MaxPool2d() as pool, *layers]:
                yield from (conv, pool, relu)
            case [nn.Conv2d() as conv, nn.ReLU(), *layers] if conv.padding_mode == "zeros" and conv.bias is not None:
                yield clipped(conv)
            case [layer, *layers]:
                yield layer


def clipped(conv: nn.Conv2d) -> Step:
    """A convolution with a bias, and its ReLU, in the precision of what they are given if oneDNN computes in it."""
    assert conv.bias is not None
    weight, bias = conv.weight, conv.bias
    settings = [conv.stride, conv.padding, conv.dilation, conv.groups]

    def step(maps: Tensor) -> Tensor:
        if maps.dtype not in JOINED:
            return torch.relu(conv(maps))
        return cast(Tensor, _Clipped.apply(maps, weight.to(maps.dtype), bias.to(maps.dtype), settings))

    return step


class _Clipped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, settings: list[Any]) -> Tensor:
        stride, padding, dilation, groups = settings
        join = torch.ops.mkldnn._convolution_pointwise  # what torch.compile makes of the two layers
        made: Tensor = join(maps, weight, bias, padding, stride, dilation, groups, "relu", [], "")
        ctx.save_for_backward(maps, weight, made)
        ctx.settings = settings
        return made

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        maps, weight, made = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.settings
        passed = torch.ops.aten.threshold_backward(gradients[0], made, 0)
        wanted = (ctx.needs_input_grad[0], True, True)
        settings = (stride, padding, dilation, False, [0, 0], groups)
        return *torch.ops.aten.convolution_backward(passed, maps, weight, [len(weight)], *settings, wanted), None


@cache
def can_join(dtype: torch.dtype) -> bool:
    """Has this PyTorch the joint call, and does it come to what the layers do? Tried on a small layer."""
    conv = nn.Conv2d(2, 3, 3, padding=1).to(dtype)
    maps = torch.randn(2, 2, 5, 5).to(dtype)
    try:
        return torch.allclose(clipped(conv)(maps), torch.relu(conv(maps)), atol=0.05)
    except Exception:  # whatever it is, the network trains by its own layers
        return False
