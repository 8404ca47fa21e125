"""ImageNet's network from a folder of class folders: the authors' recipe, streamed, resumed, judged whole."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
import torch
from PIL import Image
from test_processes import torchrun
from test_training import EXACT

import niny
from niny.cli import main
from niny.config import Params, Recipe
from niny.models import nin_imagenet
from niny.models.weights import load_weights
from niny.training import processes
from niny.training.imagenet import RECIPE, Streamed, batch_numbers, fresh_network, judged_numbers, train_folder
from niny.training.optimiser import learning_rate, parameter_groups
from niny.training.seeds import Seeds

SEEDS = Seeds(13, 0)
WORDS = ["--pixels", "64", "--workers", "0", "--device", "cpu", "--precision", "float32"]


@pytest.fixture
def recipe(params: Params) -> Recipe:
    """The authors', with batches of four."""
    return replace(params.recipes[RECIPE], batch=4)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two classes by colour, odd sizes: 5 + 5 to learn from, 3 + 2 to judge by; greener to one side: crops differ."""
    for split, counts in (("train", (5, 5)), ("val", (3, 2))):
        for name, count, colour in zip(("blue", "red"), counts, ((0, 200), (200, 0)), strict=True):
            home = tmp_path / "pictures" / split / name
            home.mkdir(parents=True)
            for i in range(count):
                red, blue = (Image.new("L", (80 + 7 * i, 75), value) for value in colour)
                green = Image.linear_gradient("L").rotate(90).resize(red.size)
                Image.merge("RGB", (red, green, blue)).save(home / f"{i}.JPEG")
    return tmp_path / "pictures"


def test_the_recipe_is_the_authors(params: Params) -> None:
    recipe = params.recipes[RECIPE]
    net = fresh_network(1000, recipe, EXACT, SEEDS)
    stds = {name: p.std().item() for name, p in net.named_parameters() if name.endswith("weight")}
    for name, std in stds.items():
        narrow = name.split(".")[1] in ("conv1", "conv3", "cccp8")
        assert std == pytest.approx(0.01 if narrow else 0.05, rel=0.05), name
    assert {(g["rate"], g["weight_decay"]) for g in parameter_groups(net, recipe)} == {(1.0, 5e-4), (2.0, 0.0)}
    epoch = 1_281_167 // 64
    rates = [learning_rate(recipe, step, epoch) for step in (0, 199_000, 201_000, 399_000, 401_000)]
    assert rates == pytest.approx([0.01, 0.01, 0.001, 0.001, 0.0001])


def test_images_are_scaled_cropped_and_judged_in_the_middle(images: Path) -> None:
    train, val = Streamed(images, 64).sets()
    assert train.classes == ["blue", "red"]
    picture, label = val[0]
    assert (picture.shape, picture.dtype, label) == ((3, 64, 64), torch.uint8, 0)
    assert torch.equal(picture, val[0][0])
    assert abs(int(picture[2].float().mean()) - 200) < 8


def test_processes_share_batches_and_judge_every_image_once(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = batch_numbers(10, recipe, 0)
    parts, judged = [], []
    monkeypatch.setattr(processes, "size", lambda: 3)
    for rank in range(3):
        monkeypatch.setattr(processes, "rank", lambda rank=rank: rank)
        parts.append(batch_numbers(10, recipe, 0))
        judged += [i for batch in judged_numbers(11, 2) for i in batch]
    assert [list(chain(*pieces)) for pieces in zip(*parts, strict=True)] == whole
    assert len(whole) == 2
    assert len(set(chain(*whole))) == 8
    assert sorted(judged) == list(range(11))


@pytest.mark.parametrize("workers", [0, 2])
def test_it_goes_on_where_it_stopped(images: Path, recipe: Recipe, tmp_path: Path, workers: int) -> None:
    """Random crops drawn by worker processes are the same ones again."""
    quick = replace(recipe, phases=((3, 1.0),))
    said: list[str] = []

    def train(steps: int, root: str) -> dict[str, torch.Tensor]:
        out = tmp_path / root / "net.safetensors"
        train_folder(Streamed(images, 64, workers), quick, SEEDS, tmp_path / root, out, EXACT, said.append, steps)
        return load_weights(out)[0]

    train(4, "a")
    resumed, straight = train(6, "a"), train(6, "b")
    assert [line[:7] for line in said] == ["epoch 1", "epoch 2", "epoch 3", "epoch 1", "epoch 2", "epoch 3"]
    assert all(torch.equal(resumed[name], straight[name]) for name in straight)
    nin_imagenet(2).load_state_dict(straight)
    about = json.loads((tmp_path / "b" / "net.json").read_text())
    assert (about["classes"], about["train_images"], about["val_images"]) == (["blue", "red"], 10, 5)
    assert about["root_seed"] == SEEDS.root
    used = niny.load(str(tmp_path / "b" / "net.safetensors"))
    assert used.labels == ("blue", "red")
    assert used.transform.blue_first, "as it was trained"
    assert {row["val_error"] for row in about["history"]} <= {0.0, 20.0, 40.0, 60.0, 80.0, 100.0}


def batches_of_four(project: Path) -> None:
    head, name, rest = (project / "params.yaml").read_text().partition(f"  {RECIPE}:")
    (project / "params.yaml").write_text(head + name + rest.replace("batch: 64", "batch: 4", 1))


def test_two_processes_train_from_a_folder(images: Path, project: Path) -> None:
    batches_of_four(project)
    done = torchrun(2, "train", "imagenet-nin", "--images", str(images), "--steps", "2", *WORDS, cwd=project)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("weights in imagenet-nin.safetensors")
    about = json.loads((project / "imagenet-nin.json").read_text())
    assert about["machine"]["processes"] == 2
    assert about["history"][0]["updates"] == 2


def spoil(images: Path) -> None:
    for path in (images / "train" / "red").iterdir():
        path.write_bytes(b"no picture")


def unlike(images: Path) -> None:
    (images / "val" / "red").rename(images / "val" / "green")


def nothing(_: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("damage", "words", "complaint"),
    [
        (spoil, ["--workers", "1"], "JPEG is not a readable image"),
        (unlike, [], "train and val do not have the same class folders"),
        (nothing, ["--pixels", "32"], "--pixels 32: this network reads images from 64 pixels up"),
        (nothing, ["--workers", "-1"], "--workers -1"),
        (nothing, ["--steps", "0"], "--steps 0: at least one update"),
        (nothing, ["--out", "net.json"], "--out net.json: weights are written as .safetensors"),
        (nothing, ["--images", "nowhere"], "nowhere/train is no folder of class folders"),
        (nothing, ["--scale", "paper"], "--scale is for the experiments of params.yaml alone"),
        (nothing, ["--seeds", "3"], "--seeds is for the experiments of params.yaml alone"),
        (nothing, ["--fresh"], "--fresh is for the experiments of params.yaml alone"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    images: Path,
    project: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], None],
    words: list[str],
    complaint: str,
) -> None:
    damage(images)
    batches_of_four(project)
    assert main(["train", "imagenet-nin", "--images", str(images), *WORDS, *words]) == 1
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1
    assert not (project / "imagenet-nin.safetensors").exists()


@pytest.mark.parametrize(
    "words", [["--steps", "3"], ["--pixels", "64"], ["--workers", "0"], ["--out", "x.safetensors"]]
)
def test_an_experiment_refuses_what_is_for_imagenet(
    project: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main(["train", "cifar10-nin", "--scale", "smoke", *words]) == 1
    assert capsys.readouterr().err == f"niny: train cifar10-nin: {words[0]} is for imagenet-nin alone\n"


def test_an_experiment_wants_a_scale(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "cifar10-nin"]) == 1
    assert "name its scale with --scale" in capsys.readouterr().err
    assert main(["train", "imagenet-nin"]) == 1
    assert "name its folder of images with --images" in capsys.readouterr().err
