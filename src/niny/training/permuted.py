"""Labels that say nothing of the image: what can a network's maps still show when there was nothing to learn?

Zhang et al. (2017) and Adebayo et al. (2018) permute the labels of the training images once. A network then learns
them by heart, which takes many looks at each image: the experiment has few images (`subset`) and a schedule of its own.
Whatever its maps show comes from its architecture and from the images alone.
"""

from dataclasses import replace

import torch

from niny.config import Run
from niny.training.loop import TrainingData
from niny.training.seeds import derive


def as_asked(run: Run, data: TrainingData) -> TrainingData:
    """The data with the training images and labels that the experiment asks for; the test split stays as it is.

    The permutation is the same for all seeds and scales of a study.
    """
    images, labels = data.train_images, data.train_labels
    if run.experiment.labels == "permuted":
        generator = torch.Generator().manual_seed(derive(run.root_seed, "permuted labels"))
        labels = labels[torch.randperm(len(labels), generator=generator).to(labels.device)]
    if run.experiment.subset < 1:
        few = slice(max(1, round(run.experiment.subset * len(labels))))
        images, labels = images[few], labels[few]
    return replace(data, train_images=images, train_labels=labels)
