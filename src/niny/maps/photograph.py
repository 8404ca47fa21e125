"""`niny maps show`: the class maps of any image file.

The middle square of the image is averaged down to the side that the network was trained on, so that its object should
fill the picture as in the training images; what is transparent becomes white.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from niny.config import Params, pick
from niny.data.preprocess import fitted
from niny.data.sets import load
from niny.errors import NinyError
from niny.images import middle_square, read_image
from niny.maps.forward import class_maps, decide, why_no_maps
from niny.maps.heads import of_classes
from niny.maps.pictures import show_photograph
from niny.maps.suite import WEIGHTS, origin, weights_in
from niny.style import save_picture
from niny.training.weights_file import load_network

REFERENCE = "cifar10-nin"  # whose weights are taken where none are named
FORMATS = (".png", ".svg", ".pdf")


def draw_photograph(params: Params, image: Path, weights: Path | None, out: Path | None, root: Path) -> str:
    """Draw an image beside its class maps into `out`; a line that says what the network sees and where the file is."""
    target = out or Path(f"{image.stem}-maps.png")
    if target.suffix.lower() not in FORMATS:
        raise NinyError(f"{target}: pictures are written as {', '.join(FORMATS)}")
    if target.resolve() == image.resolve():
        raise NinyError(f"{target} is the image itself: name another file with --out")
    if not target.parent.is_dir():
        raise NinyError(f"{target.parent} is no folder: make it first, or name another file with --out")
    square = read_square(image)
    file = weights_in(weights)[0] if weights else best_weights(params, root)
    net = load_network(params, file).eval()
    if reason := why_no_maps(net):
        raise NinyError(f"{file} has no class maps: {reason}")
    about = origin(file)
    name = f"{about['experiment']}, {about['scale']} scale" if about else file.name
    data = params.run(about["scale"], about["experiment"]).data if about else params.datasets["cifar10"]
    dataset = load(data.name, root / "data")
    pixels = shrink(square, data.size, data.channels)
    maps = class_maps(net, fitted(dataset, data, root / "data").apply(pixels[None]))
    chances = decide(net, maps).softmax(1)[0]
    figure = show_photograph(
        square, pixels, of_classes(net, maps)[0], chances, dataset.labels, title=f"{image.name}: class maps of {name}"
    )
    save_picture(figure, target)
    top = int(chances.argmax())
    return f"{image}: {dataset.labels[top]} ({chances[top]:.0%}), by {file}; its class maps are in {target}"


def best_weights(params: Params, root: Path) -> Path:
    """The weights of the reference network at the scale that says most. Raises NinyError where none are recorded."""
    known = [pick(params.scales, name, "scale") for name in params.experiments[REFERENCE].scales]
    ranked = sorted((s for s in known if s.dataset is None and not s.holdout), key=lambda s: (s.evidence, s.width))
    for scale in reversed(ranked):
        file = root / params.run(scale.name, REFERENCE).folder / "seed-0" / WEIGHTS
        if file.is_file():
            return file
    raise NinyError(f"no weights of {REFERENCE} are recorded here: name some with --weights, or run make study")


def read_square(path: Path) -> NDArray[np.uint8]:
    """The middle square of an image file, upright, S x S x 3. Raises NinyError, one line, for what is no such thing."""
    return np.asarray(middle_square(read_image(path)).image)


def shrink(square: NDArray[np.uint8], size: int, channels: int) -> NDArray[np.uint8]:
    """S x S x 3 -> channels x size x size, each pixel the mean of what it stands for."""
    small = Image.fromarray(square).resize((size, size), Image.Resampling.BOX)
    return np.asarray(small).transpose(2, 0, 1) if channels == 3 else np.asarray(small.convert("L"))[None]
