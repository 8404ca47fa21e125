"""`niny maps show`: the class maps of any image file.

The network sees what `niny predict` shows it: the middle square of the image at the side that it was trained on, so
that an object should fill the picture as in the training images; what is transparent becomes white.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from niny.config import Params, pick
from niny.errors import NinyError
from niny.images import middle_square, read_image
from niny.inference.loading import load
from niny.inference.pictures import check_target
from niny.maps.forward import why_no_maps
from niny.maps.pictures import show_photograph
from niny.maps.suite import origin, weights_in
from niny.models.weights import WEIGHTS
from niny.style import save_picture

REFERENCE = "cifar10-nin"  # whose weights are taken where none are named


def draw_photograph(params: Params, image: Path, weights: Path | None, out: Path | None, root: Path) -> str:
    """Draw an image beside its class maps into `out`; a line that says what the network sees and where the file is."""
    target = out or Path(f"{image.stem}-maps.png")
    check_target(target, [image])
    square = read_square(image)
    file = weights_in(weights)[0] if weights else best_weights(params, root)
    model, about = load(str(file)), origin(file)
    if reason := why_no_maps(model.net):
        raise NinyError(f"{file} has no class maps: {reason}")
    (answer,) = model.answers([image])
    if isinstance(answer, NinyError):
        raise answer
    assert answer.maps is not None
    name = f"{about['experiment']}, {about['scale']} scale" if "scale" in about else file.name
    title = f"{image.name}: class maps of {name}"
    seen = answer.seen.pixels.numpy()
    save_picture(show_photograph(square, seen, answer.maps, answer.probabilities, answer.labels, title=title), target)
    top = answer.ranked(1)[0]
    return f"{image}: {top['label']} ({top['probability']:.0%}), by {file}; its class maps are in {target}"


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
