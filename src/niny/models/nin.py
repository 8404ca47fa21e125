"""Network In Network for the paper's data sets and ImageNet (sections 3.3, 4.1; widths from the authors' files).

The paper prints no widths. Choices it leaves open, and what is built here: pooling is 3x3 with stride 2, windows from
0 and clipped at the far edge (the authors' code; `MaxPool2d(3, 2, ceil_mode=True)`); pool 2 is max (paper and first
code; the authors' later Caffe network averages); dropout stands after the pools; there is no pool after mlpconv 3; the
last ReLU, before global average pooling, is kept as equation 2 has it.
"""

from collections import OrderedDict
from dataclasses import dataclass

from torch import nn

from niny.errors import NinyError
from niny.models.blocks import Dropout, FullyConnected, GlobalAveragePool, MLPConv
from niny.models.network import Network, scaled

HEADS = ("gap", "fc", "fc_dropout")
POOLS = ("max", "average")
NAMES = (("conv1", "cccp1", "cccp2"), ("conv2", "cccp3", "cccp4"), ("conv3", "cccp5", "cccp6"))


@dataclass(frozen=True)
class Shape:
    """Feature maps and kernel of each mlpconv block; the last number of the last block is the number of classes."""

    maps: tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int]]
    kernels: tuple[int, int, int]


CIFAR = Shape(((192, 160, 96), (192, 192, 192), (192, 192)), (5, 5, 3))
SVHN = Shape(((128, 96, 64), (320, 256, 128), (384, 256)), (5, 5, 5))
MNIST = Shape(((96, 64, 48), (128, 96, 48), (128, 96)), (5, 5, 5))


@dataclass(frozen=True)
class Options:
    """What the experiments vary about a network (see niny.config.Experiment for the meaning)."""

    num_classes: int = 10
    channels: int = 3
    size: int = 32
    width: float = 1.0
    head: str = "gap"
    dropout: float = 0.5
    inverted_dropout: bool = True
    pool2: str = "max"
    pool_padding: int = 0
    final_relu: bool = True
    batch_norm: bool = False
    norm_alpha: float = 1e-3

    def __post_init__(self) -> None:
        if self.num_classes < 1 or self.channels < 1:
            raise NinyError(f"num_classes={self.num_classes}, channels={self.channels}: at least 1 of each")
        for name, known in (("head", HEADS), ("pool2", POOLS)):
            if (value := getattr(self, name)) not in known:
                raise NinyError(f"{name}={value!r}: choose from {', '.join(known)}")


def pool(kind: str = "max", padding: int = 0) -> nn.Module:
    """Halve the side, rounding up: 32 -> 16 -> 8 and 28 -> 14 -> 7.

    Windows begin at the edge and are clipped at the far one; with `padding` 1 they are centred, as in others' versions.
    """
    make = nn.MaxPool2d if kind == "max" else nn.AvgPool2d
    return make(3, 2, padding, ceil_mode=padding == 0)


def halved(side: int) -> int:
    """The side of a map after `pool`."""
    return -(-side // 2)


def make_head(options: Options, maps: int, side: int) -> nn.Module:
    """GAP, or the fully connected layers of Table 5 on all `maps` x `side` x `side` cells."""
    if options.head == "gap":
        return GlobalAveragePool()
    dropout = Dropout(0.5, options.inverted_dropout) if options.head == "fc_dropout" else None
    return FullyConnected(maps * side * side, options.num_classes, dropout)


def last_layers(map_layer: str, options: Options) -> tuple[str, ...]:
    return (map_layer,) if options.head == "gap" else (map_layer, "head.fc")


def build_nin(shape: Shape, options: Options) -> Network:
    """Three mlpconv blocks with pooling and dropout between them, then the head."""
    blocks = [[scaled(m, options.width) for m in maps] for maps in shape.maps]
    blocks[2].append(options.num_classes)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = options.channels
    for i, (names, maps, kernel) in enumerate(zip(NAMES, blocks, shape.kernels, strict=True), 1):
        relu = options.final_relu or i < 3
        widths = list(zip(names, maps, strict=True))
        layers[f"mlpconv{i}"] = MLPConv(channels, widths, kernel, final_relu=relu, batch_norm=options.batch_norm)
        if i < 3:
            layers[f"pool{i}"] = pool(options.pool2 if i == 2 else "max", options.pool_padding)
            if options.dropout > 0:
                layers[f"drop{i}"] = Dropout(options.dropout, options.inverted_dropout)
        channels = maps[-1]
    head = make_head(options, options.num_classes, halved(halved(options.size)))
    return Network(layers, head, last_layers("mlpconv3.cccp6", options))


def build_imagenet(options: Options) -> Network:
    """The authors' ImageNet network (their Caffe model, not in the paper): four blocks, 224 pixels, 6 x 6 maps.

    Of `options` only classes, channels, the last ReLU and the convention of dropout are its to vary.
    """
    blocks = (
        ([("conv1", 96), ("cccp1", 96), ("cccp2", 96)], 11, 4, 0),
        ([("conv2", 256), ("cccp3", 256), ("cccp4", 256)], 5, 1, 2),
        ([("conv3", 384), ("cccp5", 384), ("cccp6", 384)], 3, 1, 1),
        ([("conv4", 1024), ("cccp7", 1024), ("cccp8", options.num_classes)], 3, 1, 1),
    )
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = options.channels
    for i, (widths, kernel, stride, padding) in enumerate(blocks, 1):
        relu = options.final_relu or i < 4
        layers[f"mlpconv{i}"] = MLPConv(channels, widths, kernel, stride=stride, padding=padding, final_relu=relu)
        channels = widths[-1][1]
        if i < 4:
            layers[f"pool{i}"] = pool()
    layers["drop"] = Dropout(0.5, options.inverted_dropout)
    layers.move_to_end("mlpconv4")
    return Network(layers, GlobalAveragePool(), ("mlpconv4.cccp8",))
