"""niny: a reproducibility and interpretability study of *Network In Network* (arXiv:1312.4400)."""

__version__ = "0.1.0"
