"""The suite on a real trained NIN: the author's Caffe network, which errs on 10.43 % of the test images."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from niny.config import DataSpec
from niny.data.preprocess import Preprocessor
from niny.data.sets import LABELS
from niny.maps.intervals import Scores
from niny.maps.scores import score_network
from niny.models import nin_cifar
from niny.models.loading import load_file

DATA = Path(os.environ.get("NINY_DATA", "unset"))
MODEL = Path(os.environ.get("NINY_CAFFEMODEL", DATA / "cifar10_nin.caffemodel"))
BATCHES = DATA / "cifar-10-batches-bin"

pytestmark = [
    pytest.mark.skipif(not MODEL.is_file(), reason="NINY_CAFFEMODEL names no file, nor is one in NINY_DATA"),
    pytest.mark.skipif(not BATCHES.is_dir(), reason="NINY_DATA holds no cifar-10-batches-bin"),
]


def batch(name: str) -> tuple[NDArray[np.uint8], Tensor]:
    rows = np.fromfile(BATCHES / f"{name}.bin", np.uint8).reshape(-1, 3073)
    return rows[:, 1:].reshape(-1, 3, 32, 32), torch.from_numpy(rows[:, 0].astype(np.int64))


@pytest.fixture(scope="module")
def found() -> Scores:
    spec = DataSpec("cifar10", 10, 3, 32, "gcn_zca")
    images, labels = batch("test_batch")
    ready = Preprocessor.fit(batch("data_batch_1")[0], spec).apply(images[:250])  # a fifth of the images fits about
    net = nin_cifar(pool2="average")
    load_file(net, MODEL)
    return score_network(net, ready, labels[:250], names=LABELS["cifar10"], seed=0, grids=15)


def test_the_maps_average_to_the_logits(found: Scores) -> None:
    assert found["completeness_error"]["value"] < 1e-4


def test_the_true_classs_map_holds_the_largest_cell_in_about_three_images_of_four(found: Scores) -> None:
    assert 0.7 < found["claim1_rate.raw"]["value"] < 0.85
    assert found["claim1_rate.raw.wrong"]["value"] < 0.5 < found["claim1_rate.raw.correct"]["value"]


def test_maps_point_to_the_right_cell_of_a_grid_and_more_so_the_less_they_share(found: Scores) -> None:
    raw, centred, margin = (found[f"gridpg3_mass.{view}"]["value"] for view in ("raw", "centred", "margin"))
    assert 1 / 9 < raw < centred < margin
    assert found["gridpg3_hit.raw"]["interval"][0] > 3 / 9
    assert found["gridpg3_hit.raw.untrained"]["value"] < found["gridpg3_hit.raw"]["interval"][0]
    for null in ("raw.other_image", "random"):
        assert found[f"gridpg3_hit.{null}"]["interval"][0] < 1 / 9 < found[f"gridpg3_hit.{null}"]["interval"][1] + 0.05
