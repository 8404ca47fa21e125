"""The networks as something to use: one interface for every network, `niny.load(name)`, and export to other runtimes.

model = niny.load("cifar10-nin")            what `niny.models.list_weights()` names
model = niny.load("cifar10-nin", weights="cifar10_nin.caffemodel")
model.predict("cat.jpg")                    [{"label": ..., "probability": ...}, ...], most likely first
model.class_maps("cat.jpg", size=96)        a map for each class; larger images give larger maps
model.config, model.samples()
"""

from niny.inference.loading import load
from niny.inference.model import Answer, Model

__all__ = ["Answer", "Model", "load"]
