"""niny: a reproducibility and interpretability study of *Network In Network* (arXiv:1312.4400)."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from niny.inference import Model

__version__ = "0.1.0"


def load(name: str = "cifar10-nin", weights: str | Path | None = None) -> "Model":
    """A trained network to use: see `niny.inference.load`."""
    from niny.inference import load as load_model  # only now: `import niny` stays light

    return load_model(name, weights)
