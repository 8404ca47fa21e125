"""Training: the loop, the authors' optimiser, and runs that leave a record."""

from niny.training.device import Compute, choose_compute
from niny.training.runs import train_experiment

__all__ = ["Compute", "choose_compute", "train_experiment"]
