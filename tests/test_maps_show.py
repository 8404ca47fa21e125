"""niny maps: what a file shows, and what a network's maps score, from the command line."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image
from planted import plant

import niny
from niny.cli import main
from niny.config import Params, load_params
from niny.maps.photograph import read_square
from niny.maps.pictures import choose_surest
from niny.models import build, initialise
from niny.models.weights import save_weights

RED, GREEN = (200, 30, 20), (20, 160, 40)


def photo(width: int = 80, height: int = 60) -> Image.Image:
    """Green, the upper half red."""
    image = Image.new("RGB", (width, height), GREEN)
    image.paste(RED, (0, 0, width, height // 2))
    return image


@pytest.fixture
def weights(project: Path, params: Params) -> Path:
    """An untrained network of the smoke scale, as a run of this study leaves it."""
    run = params.run("smoke", "cifar10-nin")
    net = build(run)
    initialise(net, "centred", 0.0, 0)
    path = project / run.folder / "seed-0" / "weights.safetensors"
    save_weights(path, net.state_dict(), {"experiment": "cifar10-nin", "scale": "smoke", "run_digest": run.digest})
    return path


def test_any_kind_of_image_file_gives_the_same_square(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x112] = 6  # stored lying on its side
    kinds = {
        "rgb.png": (photo(), {}),
        "rgb.jpg": (photo(), {"quality": 95}),
        "rgb.webp": (photo(), {"quality": 95}),
        "palette.png": (photo().quantize(4), {}),
        "cmyk.jpg": (photo().convert("CMYK"), {"quality": 95}),
        "alpha.png": (photo().convert("RGBA"), {}),
        "turned.jpg": (photo().rotate(90, expand=True), {"exif": turned, "quality": 95}),
    }
    for name, (image, options) in kinds.items():
        image.save(tmp_path / name, **options)
        square = read_square(tmp_path / name)
        assert square.shape == (60, 60, 3), name
        assert np.allclose(square[5, 30], RED, atol=12), name
        assert np.allclose(square[-5, 30], GREEN, atol=12), name


def test_sixteen_bits_keep_their_range_and_what_is_transparent_is_white(tmp_path: Path) -> None:
    deep = np.full((20, 20), 65535, np.uint16)
    deep[:10] = 32896
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert read_square(tmp_path / "deep.png")[[0, 19], 0].tolist() == [[128] * 3, [255] * 3]
    Image.new("RGBA", (9, 9), (0, 0, 0, 0)).save(tmp_path / "nothing.png")
    assert (read_square(tmp_path / "nothing.png") == 255).all()


def test_the_surest_recognised_image_of_each_class_is_chosen_and_a_class_without_one_is_missing() -> None:
    logits = torch.tensor([[3.0, 0, 0], [5, 0, 0], [0, 1, 0], [9, 0, 1]])
    assert choose_surest(torch.tensor([0, 0, 1, 2]), logits).tolist() == [1, 2]
    assert choose_surest(torch.tensor([1, 1, 2, 2]), logits).tolist() == []


def test_of_many_classes_the_surest_ten_are_chosen() -> None:
    logits = torch.diag(torch.arange(1.0, 13))[torch.randperm(12, generator=torch.Generator().manual_seed(0))]
    labels = logits.argmax(1)
    assert labels[choose_surest(labels, logits)].tolist() == list(range(2, 12))


def test_show_draws_any_image_by_a_weights_file(
    project: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo().save("photo.jpg")
    assert main(["maps", "show", "photo.jpg", "--weights", str(weights)]) == 0
    said = capsys.readouterr().out
    likeliest = niny.load(str(weights)).predict("photo.jpg", top=1)[0]["label"]
    assert said.startswith(f"photo.jpg: {likeliest} (")
    assert "photo-maps.png" in said
    with Image.open("photo-maps.png") as drawn:
        assert drawn.size[0] > 1000


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("show missing.png", "missing.png: No such file"),
        ("show text.png", "no image that can be read"),
        ("show cut.jpg", "damaged or cut short"),
        ("show photo.jpg --out photo.jpg.gif", "written as .png"),
        ("show photo.png --out photo.png", "is one of the images"),
        ("show photo.png --out nowhere/x.png", "nowhere is no folder"),
        ("show photo.png --weights nothing.safetensors", "nothing.safetensors"),
        ("show photo.png", "no weights of cifar10-nin are recorded"),
        ("score nothing.safetensors", "nothing.safetensors"),
        ("score nothing.caffemodel", "add --data NAME"),
        ("score photo.png", "not a readable safetensors file"),
        ("score .", "holds no weights.safetensors"),
        ("score nothing.safetensors --grids 1", "--grids 1: from 10"),
    ],
)
def test_bad_input_is_one_line(project: Path, capsys: pytest.CaptureFixture[str], words: str, complaint: str) -> None:
    photo().save("photo.png")
    photo().save("photo.jpg")
    Path("cut.jpg").write_bytes(Path("photo.jpg").read_bytes()[:400])
    Path("text.png").write_text("no picture")
    assert main(["maps", *words.split()]) == 1
    said = capsys.readouterr().err
    assert complaint in said
    assert said.startswith("niny: ")
    assert said.count("\n") == 1


def test_score_gives_every_score_with_n_interval_and_nulls(
    project: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["maps", "score", str(weights.parents[1]), "--grids", "10", "--device", "cpu"]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    hit = found["scores"]["gridpg3_hit.raw"]
    assert hit["interval"][0] <= hit["value"] <= hit["interval"][1]
    assert hit["n"] == 10
    assert set(hit["nulls"]) == {"uniform", "random", "centre", "other_image", "untrained"}
    assert "not run" in found["skipped"]["permuted_labels"]
    assert (found["data"], found["seeds"]) == ("digits", [0])


def test_what_a_later_seed_recorded_and_permuted_labels_stand_beside_the_first_seed(
    project: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    score = {"value": 0.25, "interval": [0.2, 0.3], "n": 10}
    (weights.parents[1] / "seed-1").mkdir()
    (weights.parents[1] / "seed-1" / "maps.json").write_text(json.dumps({"scores": {"gridpg3_hit.raw": score}}))
    twin = project / "results/smoke/maps/cifar10-nin-permuted.json"
    twin.parent.mkdir(parents=True)
    twin.write_text(json.dumps({"scores": {"gridpg3_hit.raw": score, "claim1_rate.raw.correct": score}}))
    run = load_params(project).run("smoke", "cifar10-nin-permuted")
    plant(project, run, 0, 90.0, train_error=20.0)
    assert main(["maps", "score", str(weights.parents[1]), "--grids", "50", "--device", "cpu", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "permuted_labels" not in found["skipped"]
    assert "permuted_labels" not in found["scores"]["claim1_rate.raw.correct"]["nulls"]
    hit = found["scores"]["gridpg3_hit.raw"]
    assert hit["seeds"]["1"] == 0.25
    assert hit["value"] == pytest.approx((hit["seeds"]["0"] + 0.25) / 2)
    assert hit["nulls"]["permuted_labels"]["value"] == 0.25
    assert main(["maps", "score", str(weights), "--grids", "50", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "gridpg3_hit: 3x3 grids" in said
    assert "permuted_labels" in said
    assert "one run" in said
    plant(project, run, 0, 90.0, train_error=88.15)
    assert main(["maps", "score", str(weights), "--grids", "50", "--device", "cpu"]) == 0
    assert "permuted labels: not learnt (training error 88.2 %, by chance 90.0 %)" in capsys.readouterr().out
    twin.unlink()
    plant(project, run, 0, 90.0, train_error=20.0)
    assert main(["maps", "score", str(weights), "--grids", "50", "--device", "cpu"]) == 0
    assert "permuted labels: not scored: dvc repro maps@smoke-cifar10-nin-permuted" in capsys.readouterr().out


def test_seeds_that_were_scored_otherwise_enter_no_mean_and_are_named(
    project: Path, params: Params, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = params.run("smoke", "cifar10-nin")
    plant(project, run, 0, 50.0)
    kept = {"scores": {"gridpg3_hit.raw": {"value": 0.5, "interval": [0.4, 0.6], "n": 10}}}
    (plant(project, run, 1, 50.0) / "maps.json").write_text(json.dumps(kept))
    words = ["maps", "score", str(weights.parents[1]), "--device", "cpu", "--json", "--grids"]
    assert main([*words, "10"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert set(said["scores"]["gridpg3_hit.raw"]["seeds"]) == {"0"}
    assert said["skipped"]["seeds 1"] == "their weights are not kept, and their scores are of 50 grids of digits"
    assert main([*words, str(run.scale.grids)]) == 0
    assert set(json.loads(capsys.readouterr().out)["scores"]["gridpg3_hit.raw"]["seeds"]) == {"0", "1"}


def test_a_collapsed_seed_enters_no_mean(project: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dead = {"scores": {"gridpg3_hit.raw": {"value": 0.0, "interval": [0.0, 0.0], "n": 10}}}
    (weights.parents[1] / "seed-1").mkdir()
    (weights.parents[1] / "seed-1" / "maps.json").write_text(json.dumps(dead))
    metrics = {"collapsed": True, "collapsed_attempts": [], "test_error": 90.0}
    (weights.parents[1] / "seed-1" / "metrics.json").write_text(json.dumps(metrics))
    assert main(["maps", "score", str(weights.parents[1]), "--grids", "50", "--device", "cpu", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["scores"]["gridpg3_hit.raw"]["seeds"]) == {"0"}


def test_a_seed_of_other_settings_enters_no_mean(
    project: Path, params: Params, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = params.run("smoke", "cifar10-nin")
    plant(project, run, 0, 50.0)
    folder = weights.parents[1] / "seed-1"
    for digest, seeds in (("another", {"0"}), (run.digest, {"0", "1"})):
        plant(project, run, 1, 50.0, run_digest=digest)
        kept = {"scores": {"gridpg3_hit.raw": {"value": 0.5, "interval": [0.4, 0.6], "n": 10}}}
        (folder / "maps.json").write_text(json.dumps(kept))
        assert main(["maps", "score", str(weights.parents[1]), "--grids", "50", "--device", "cpu", "--json"]) == 0
        assert set(json.loads(capsys.readouterr().out)["scores"]["gridpg3_hit.raw"]["seeds"]) == seeds
    plant(project, run, 0, 50.0, run_digest="another")
    assert main(["maps", "score", str(weights.parents[1]), "--grids", "10", "--device", "cpu"]) == 1
    assert "are of other settings than params.yaml has now: train that seed again" in capsys.readouterr().err


AUTHORS = Path(os.environ.get("NINY_CAFFEMODEL", "unset"))


@pytest.mark.skipif(not AUTHORS.is_file(), reason="NINY_CAFFEMODEL names no file: the authors' cifar10_nin.caffemodel")
def test_the_authors_network_is_not_scored_on_other_images(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load_params(ROOT).datasets["digits"].channels == 1
    assert main(["maps", "score", str(AUTHORS), "--data", "digits"]) == 1
    assert "cannot read images of digits" in capsys.readouterr().err
