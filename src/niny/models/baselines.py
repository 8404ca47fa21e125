"""The networks NIN is held against: section 4.6's conventional CNN, NIN with linear convolutions, and conv maxout.

The conventional CNN is Hinton et al.'s (arXiv:1207.0580) with the local layer reduced from 16 to 10 maps, as section
4.6 says: three 5x5 convolutions of 64 maps, pooled 3x3 with stride 2 (max, average, average), response normalisation
over 9 maps after the first two pools, a 3x3 locally connected layer. The paper gives none of these numbers; they are
Hinton et al.'s as reported, and the ReLU after the local layer is what the paper calls its rectified activation.

Conv maxout is Goodfellow et al.'s CIFAR-10 network without augmentation (their published configuration): widths,
kernels, pools and dropout rates are theirs, max-norm constraints are not built.
"""

from collections import OrderedDict

from torch import Tensor, nn

from niny.errors import NinyError
from niny.models.blocks import Dropout, LocallyConnected, Maxout, ResponseNorm
from niny.models.network import Network, scaled
from niny.models.nin import CIFAR, Options, halved, last_layers, make_head, pool


def build_cnn(options: Options) -> Network:
    """Three convolutions and one locally connected layer with one map a class, under one of three heads."""
    maps = scaled(64, options.width)
    side = halved(halved(halved(options.size)))
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = options.channels
    for i, kind in enumerate(("max", "average", "average"), 1):
        layers[f"conv{i}"] = nn.Conv2d(channels, maps, 5, padding=2)
        layers[f"relu{i}"] = nn.ReLU()
        layers[f"pool{i}"] = pool(kind)
        if i < 3 and options.norm_alpha > 0:
            layers[f"norm{i}"] = ResponseNorm(maps, alpha=options.norm_alpha)
        channels = maps
    layers["local4"] = LocallyConnected(maps, options.num_classes, side, 3)
    if options.final_relu:
        layers["relu4"] = nn.ReLU()
    return Network(layers, make_head(options, options.num_classes, side), last_layers("local4", options))


def build_linear(options: Options) -> Network:
    """NIN with each mlpconv replaced by one convolution of the same kernel and output width: what does the MLP add?"""
    outs = [scaled(CIFAR.maps[0][-1], options.width), scaled(CIFAR.maps[1][-1], options.width), options.num_classes]
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = options.channels
    for i, (out, kernel) in enumerate(zip(outs, CIFAR.kernels, strict=True), 1):
        layers[f"conv{i}"] = nn.Conv2d(channels, out, kernel, padding=kernel // 2)
        if i < 3 or options.final_relu:
            layers[f"relu{i}"] = nn.ReLU()
        if i < 3:
            layers[f"pool{i}"] = pool(options.pool2 if i == 2 else "max")
            if options.dropout > 0:
                layers[f"drop{i}"] = Dropout(options.dropout, options.inverted_dropout)
        channels = out
    side = halved(halved(options.size))
    return Network(layers, make_head(options, options.num_classes, side), last_layers("conv3", options))


class MaxoutNetwork(Network):
    """Conv maxout ends in dense layers: it has logits, but no map that belongs to a class."""

    def class_maps(self, x: Tensor) -> Tensor:
        raise NinyError("the maxout network has no class maps: its last layers are fully connected")

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(super().class_maps(x))
        return logits


def build_maxout(options: Options) -> Network:
    """Three maxout convolutions (2 pieces), a maxout layer of 500 units (5 pieces), softmax; dropout before each."""
    shape = ((96, 8, 4, 4), (192, 8, 3, 4), (192, 5, 3, 2))  # maps, kernel, padding, pool
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["drop0"] = Dropout(0.2, options.inverted_dropout)
    channels, side = options.channels, options.size
    for i, (maps, kernel, padding, window) in enumerate(shape, 1):
        out = scaled(maps, options.width)
        layers[f"conv{i}"] = nn.Conv2d(channels, 2 * out, kernel, padding=padding)
        layers[f"maxout{i}"] = Maxout(2)
        layers[f"pool{i}"] = nn.MaxPool2d(window, 2, ceil_mode=True)
        layers[f"drop{i}"] = Dropout(0.5, options.inverted_dropout)
        side = -(-(side + 2 * padding - kernel + 1 - window) // 2) + 1
        channels = out
    units = scaled(500, options.width)
    dense = OrderedDict(
        fc1=nn.Linear(channels * side * side, 5 * units),
        maxout4=Maxout(5),
        drop4=Dropout(0.5, options.inverted_dropout),
        fc2=nn.Linear(units, options.num_classes),
    )
    return MaxoutNetwork(layers, nn.Sequential(OrderedDict(flatten=nn.Flatten(), **dense)), ("head.fc2",))
