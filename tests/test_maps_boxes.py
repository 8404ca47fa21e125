from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import ROOT
from torch import Tensor

from niny.config import DataSpec, load_params
from niny.data.preprocess import Preprocessor
from niny.data.sets import LABELS, TinyImageNetVal
from niny.evaluation.claims import load_claims
from niny.evaluation.rules import MapScore
from niny.maps import suite
from niny.maps.boxes import SHARED, balanced, best_overlaps, box_scores, max_box_accuracy, measure, prepare, shared
from niny.maps.records import nulls_of
from niny.models import initialise, nin_cifar
from niny.training import Compute, snapshots
from niny.training.snapshots import lacks_for_scores, scores_on_photographs

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BOXES = torch.tensor([[8, 16, 31, 47], [32, 0, 63, 31], [0, 0, 63, 63], [16, 16, 47, 39]] * 3)


def drawn(boxes: Tensor) -> Tensor:
    """16 x 16 maps of 64-pixel images that are one in the boxes (multiples of a cell) and zero elsewhere."""
    maps = torch.zeros(len(boxes), 16, 16)
    for one, (x0, y0, x1, y1) in zip(maps, (boxes // 4).tolist(), strict=True):
        one[y0 : y1 + 1, x0 : x1 + 1] = 1
    return maps


def validation(count: int = 12) -> TinyImageNetVal:
    images = np.random.default_rng(0).integers(0, 256, (count, 3, 64, 64), np.uint8)
    wnids = [wnid for wnids in SHARED.values() for wnid in wnids]
    return TinyImageNetVal(images, BOXES[:count].numpy(), (*wnids, "n01443537")[-count:], {})


def test_a_perfect_map_scores_one_in_everything_and_its_opposite_zero() -> None:
    boxes = BOXES[BOXES[:, 2] - BOXES[:, 0] < 63]  # the opposite of a map that fills the image is nothing
    right, wrong = (measure(maps, maps, boxes, 64) for maps in (drawn(boxes), 1 - drawn(boxes)))
    for metric in ("hit", "hit_near", "energy"):
        assert (right[metric] == 1).all(), metric
    assert (wrong["hit"] == 0).all()
    assert (wrong["energy"] == 0).all()
    assert right["maxacc"][1::2].tolist() == [1] * len(boxes[1::2])
    assert right["maxacc"][0::2].isnan().all()


def test_the_energy_of_a_map_of_one_value_is_the_share_of_the_box() -> None:
    flat = torch.ones(len(BOXES), 16, 16)
    area = (BOXES[:, 2] - BOXES[:, 0] + 1) * (BOXES[:, 3] - BOXES[:, 1] + 1) / 64**2
    assert torch.allclose(measure(flat, flat, BOXES, 64)["energy"], area.double())


def test_the_cells_of_a_map_of_one_value_share_the_hit() -> None:
    flat = torch.ones(len(BOXES), 16, 16)
    area = (BOXES[:, 2] - BOXES[:, 0] + 1) * (BOXES[:, 3] - BOXES[:, 1] + 1) / 64**2
    assert torch.allclose(measure(flat, flat, BOXES, 64)["hit"], area.double())  # boxes of whole cells


def test_a_miss_by_one_cell_is_within_the_tolerance_only() -> None:
    maps = torch.zeros(1, 16, 16)
    maps[0, 5, 1] = 1  # its middle at 5.5 pixels, the box begins at 8
    found = measure(maps, maps, BOXES[:1], 64)
    assert (found["hit"].item(), found["hit_near"].item()) == (0, 1)


def test_the_tolerance_is_a_distance_also_across_corners() -> None:
    maps = torch.zeros(1, 32, 32)
    maps[0, 6, 2] = 1  # 3.5 pixels left of the box and 3.5 above it: 4.9 off, beyond the 4.3 that are allowed
    assert measure(maps, maps, torch.tensor([[8, 16, 31, 47]]), 64)["hit_near"].item() == 0


def test_the_box_of_a_map_of_one_value_is_the_whole_image() -> None:
    area = (BOXES[:, 2] - BOXES[:, 0] + 1) * (BOXES[:, 3] - BOXES[:, 1] + 1) / 64**2
    expected = sum((area >= o).double() for o in (0.3, 0.5, 0.7)) / 3
    assert torch.equal(max_box_accuracy(torch.ones(len(BOXES), 16, 16), BOXES, 64)[1::2], expected[1::2])


def test_images_are_as_many_of_each_class() -> None:
    targets = torch.tensor([0] * 30 + [3] * 4 + [5] * 12)
    for count, each in ((9, 3), (100, 4)):
        some = balanced(targets, count, seed=1)
        assert targets[some].bincount().tolist() == [each, 0, 0, each, 0, each]
        assert len(some.unique()) == 3 * each


def test_the_best_connected_part_counts() -> None:
    maps = drawn(BOXES[:1])
    maps[0, 15, 15] = 1  # a part of its own, far away
    assert best_overlaps(maps, BOXES[:1], 64).max() > 0.8


def test_the_threshold_is_chosen_on_one_half_and_scored_on_the_other() -> None:
    rings = drawn(BOXES) + 0.4
    rings[:, 0, 0] = 0  # the background, after scaling at 0.29, joins everything below that threshold
    assert max_box_accuracy(rings, BOXES, 64)[1::2].mean() == 1
    backwards = rings.clone()
    backwards[0::2] = rings[1::2]  # tuned on maps that do not belong to their boxes
    assert max_box_accuracy(backwards, BOXES, 64)[1::2].mean() < 1


def test_only_images_of_shared_classes_are_taken() -> None:
    index, targets = shared(validation(), NAMES)
    assert len(index) == 11
    assert {NAMES[k] for k in targets.tolist()} <= set(SHARED)
    assert NAMES[int(targets[-1])] == "truck"


@pytest.mark.parametrize(("kind", "side"), [("dense", 64), ("shrunk", 32)])
def test_whole_images_are_whitened_in_parts_of_the_size_that_whitening_knows(kind: str, side: int) -> None:
    spec = DataSpec("cifar10", 10, 3, 32, "mean")
    fitted = Preprocessor.fit(np.random.default_rng(1).integers(0, 256, (50, 3, 32, 32), np.uint8), spec)
    val = validation(2)
    ready = prepare(kind, val.images, fitted)
    assert ready.shape == (2, 3, side, side)
    if kind == "dense":
        assert torch.equal(ready[:, :, 32:, :32], fitted.apply(np.ascontiguousarray(val.images[:, :, 32:, :32])))


def test_all_box_scores_come_with_their_nulls() -> None:
    spec = DataSpec("cifar10", 10, 3, 32, "mean")
    fitted = Preprocessor.fit(np.random.default_rng(1).integers(0, 256, (50, 3, 32, 32), np.uint8), spec)
    net = nin_cifar(width=0.05)
    initialise(net, "he", 0.0, 0)
    found = box_scores(net, validation(), fitted, names=NAMES, seed=0)
    for kind in ("dense", "shrunk"):
        assert found[f"box_energy.uniform.{kind}"]["value"] == pytest.approx(found["box_area"]["value"])
        for metric in ("hit", "hit_near", "energy", "maxacc"):
            nulls = nulls_of(found, f"box_{metric}.raw.{kind}")
            assert {"uniform", "centre", "random", "other_image"} <= set(nulls), metric
    assert all(0 <= score["value"] <= 1 for score in found.values())


def test_scores_of_boxes_that_claims_ask_for_are_found_under_their_names() -> None:
    fitted = Preprocessor.fit(
        np.random.default_rng(1).integers(0, 256, (50, 3, 32, 32), np.uint8), DataSpec("cifar10", 10, 3, 32, "mean")
    )
    net = nin_cifar(width=0.05)
    initialise(net, "he", 0.0, 0)
    found = box_scores(net, validation(), fitted, names=NAMES, seed=0)
    rules = [claim.rule for claim in load_claims(ROOT / "claims.yaml") if isinstance(claim.rule, MapScore)]
    asked = {name for rule in rules for name in (rule.score, *rule.nulls) if name.startswith("box_")}
    assert asked
    assert asked <= set(found)


def test_a_record_that_lacks_the_boxes_says_why_and_not_where_the_study_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = SimpleNamespace(images=np.zeros((2, 3, 32, 32), np.uint8), labels=np.zeros(2, np.int64))
    same = SimpleNamespace(apply=lambda images: torch.from_numpy(images).float())
    monkeypatch.setattr(suite, "load", lambda *_: SimpleNamespace(labels=LABELS["cifar10"], test=test))
    monkeypatch.setattr(suite, "fitted", lambda *_: same)
    spec = load_params(ROOT).datasets["cifar10"]
    why = suite.load_pictures(spec, tmp_path, Compute(torch.device("cpu"), torch.float32)).why_not_boxed
    assert why is not None
    assert "run `niny data fetch tiny-imagenet-val`" in why
    assert "(data/tiny-imagenet-val/val_annotations.txt is missing)" in why


def test_a_seed_whose_weights_are_not_kept_is_scored_on_the_boxes_as_the_kept_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, run = DataSpec("cifar10", 10, 3, 32, "mean"), load_params(ROOT).run("seeds", "cifar10-nin")
    fitted = Preprocessor.fit(np.random.default_rng(1).integers(0, 256, (50, 3, 32, 32), np.uint8), spec)
    net, compute = nin_cifar(width=0.05), Compute(torch.device("cpu"), torch.float32)
    initialise(net, "he", 0.0, 0)
    assert scores_on_photographs(net, run, tmp_path, compute) == {}
    assert "niny data fetch tiny-imagenet-val" in lacks_for_scores(run, tmp_path)[0]
    (tmp_path / "data/tiny-imagenet-val").mkdir(parents=True)
    assert lacks_for_scores(run, tmp_path) == []
    for name, found in {"load": None, "fitted": fitted, "load_tiny_imagenet_val": validation()}.items():
        monkeypatch.setattr(snapshots, name, lambda *_, found=found: found)
    count = run.scale.grids
    direct = box_scores(net, validation(), fitted, names=LABELS["cifar10"], seed=run.root_seed, count=count)
    kept = scores_on_photographs(net, run, tmp_path, compute)
    assert {name: of["value"] for name, of in kept.items()} == {name: of["value"] for name, of in direct.items()}
