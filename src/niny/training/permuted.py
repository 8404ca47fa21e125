"""Labels that say nothing of the image: what can a network's maps still show when there was nothing to learn?

Zhang et al. (2017) and Adebayo et al. (2018) permute the labels of the training images once. A network then learns
them by heart, and whatever its maps show comes from its architecture and from the images alone.
"""

from dataclasses import replace

import torch

from niny.config import Run
from niny.training.loop import TrainingData
from niny.training.seeds import derive


def with_labels_of(run: Run, data: TrainingData) -> TrainingData:
    """The data with the training labels that the experiment asks for; test labels stay as they are.

    The permutation is the same for all seeds and scales of a study.
    """
    if run.experiment.labels == "true":
        return data
    generator = torch.Generator().manual_seed(derive(run.root_seed, "permuted labels"))
    order = torch.randperm(len(data.train_labels), generator=generator).to(data.train_labels.device)
    return replace(data, train_labels=data.train_labels[order])
