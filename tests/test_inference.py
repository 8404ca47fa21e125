"""The network as something to use: kept weights by name, prediction on anything, and what it says of itself."""

import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image
from planted import plant
from test_loading import caffe_file, drawn

import niny
from niny import cli, inference, models
from niny.cli import main
from niny.config import Params
from niny.data.sets import LABELS
from niny.data.transforms import KEPT
from niny.errors import NinyError
from niny.inference import latency
from niny.inference.pictures import draw_answers
from niny.models import (
    build,
    get_weight,
    list_models,
    list_weights,
    nin_cifar,
    nin_cifar_variant,
    nin_imagenet,
    nin_mnist,
    variant_state,
)
from niny.models.registry import sha256
from niny.models.weights import save_weights
from niny.notebooks import execute
from niny.report.cards import write_weights

NAME = "cifar10-nin"
AUTHORS = Path(os.environ.get("NINY_CAFFEMODEL", "unset"))


def keep(root: Path, params: Params, scale: str, name: str = NAME, error: float = 20.0, seed: int = 1) -> Path:
    """A finished run of an experiment with weights that are drawn, not trained."""
    run = params.run(scale, name)
    folder = plant(root, run, 0, error, weights_test_error=error)
    about = {"experiment": name, "scale": scale, "run_digest": run.digest}
    save_weights(folder / "weights.safetensors", drawn(build(run), seed).state_dict(), about)
    return folder / "weights.safetensors"


@pytest.fixture
def kept(project: Path, params: Params) -> Path:
    """A project that keeps weights of scale `short`."""
    keep(project, params, "short")
    write_weights(params, "short", project)
    return project


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
    Image.fromarray(pixels).resize((90, 60), Image.Resampling.BICUBIC).save(path)
    return path


# --- names of weights -------------------------------------------------------------------------------------------------


def test_a_name_gives_the_recorded_weights_and_what_is_known_of_them(kept: Path) -> None:
    weights = list_weights()[NAME]
    assert list(list_weights()) == [NAME]
    assert weights.meta["test_error"] == 20.0
    assert weights.meta["scale"] == "short"
    assert (weights.meta["seed"], weights.meta["licence"]) == (0, "MIT")
    assert weights.meta["commit"] == "0123456789abcdef"
    assert weights.meta["sha256"] == sha256(weights.path)
    net = nin_cifar(num_classes=10, weights=NAME)
    assert not net.training
    state = weights.get_state_dict()
    assert all(torch.equal(state[key], value) for key, value in net.state_dict().items())


def test_an_enum_names_the_weights_as_in_torchvision(kept: Path) -> None:
    kind = models.NIN_CIFAR_Weights
    assert kind.DEFAULT is kind.CIFAR10_NIN
    assert kind.CIFAR10_NIN.meta["num_params"] == 966_986
    assert kind.CIFAR10_NIN.meta["categories"] == list(LABELS["cifar10"])
    x = torch.randint(256, (3, 50, 40), dtype=torch.uint8)
    assert kind.DEFAULT.transforms()(x).shape == (3, 32, 32)
    assert torch.equal(
        nin_cifar(weights=kind.DEFAULT).mlpconv1.conv1.weight, nin_cifar(weights=NAME).mlpconv1.conv1.weight
    )
    assert "nin_imagenet" in list_models()
    with pytest.raises(NinyError, match="niny train cifar10-nin-bce --scale paper"):
        _ = kind.CIFAR10_NIN_BCE.meta
    with pytest.raises(AttributeError):
        _ = models.NIN_MOON_Weights


def test_weights_are_named_in_every_way_that_torchvision_knows(kept: Path) -> None:
    kind = models.NIN_CIFAR_Weights
    assert models.get_model_weights("nin_cifar") is kind is models.NIN_CIFAR_Weights
    for name in ("NIN_CIFAR_Weights.DEFAULT", "NIN_CIFAR_Weights.CIFAR10_NIN", NAME):
        assert get_weight(name).meta == kind.DEFAULT.meta
    expected = nin_cifar(weights=NAME).mlpconv1.conv1.weight
    for weights in ("DEFAULT", "CIFAR10_NIN", kind.DEFAULT, get_weight(NAME)):
        assert torch.equal(nin_cifar(weights=weights).mlpconv1.conv1.weight, expected)
    for wrong in ("NIN_CIFAR_Weights.MOON", "NIN_MOON_Weights.DEFAULT"):
        with pytest.raises(NinyError, match="unknown"):
            get_weight(wrong)
    with pytest.raises(NinyError, match="takes a file"):
        nin_imagenet(weights=kind.DEFAULT)  # type: ignore[arg-type]  # wrong on purpose


def test_the_best_scale_comes_first_and_demo_never(project: Path, params: Params) -> None:
    for scale, error in (("demo", 1.0), ("short", 20.0)):
        keep(project, params, scale, error=error)
        write_weights(params, scale, project)
    assert get_weight(NAME).meta["test_error"] == 20.0
    keep(project, params, "paper", error=10.4, seed=2)
    write_weights(params, "paper", project)
    assert get_weight(NAME).meta["scale"] == "paper"


def test_a_name_without_weights_says_what_to_run(project: Path) -> None:
    remedy = r"niny train cifar10-nin --scale short, then niny weights write --scale short; or name a file"
    for call in (lambda: nin_cifar(weights=NAME), lambda: niny.load(NAME)):
        with pytest.raises(NinyError, match=remedy):
            call()
    with pytest.raises(NinyError, match="unknown name of weights 'cifar11'"):
        get_weight("cifar11")
    with pytest.raises(NinyError, match="no weights of cifar10-nin-aug-only-init go by that name: name a file"):
        get_weight("cifar10-nin-aug-only-init")
    assert list_weights() == {}


def test_a_file_that_is_not_the_recorded_one_is_refused(kept: Path) -> None:
    path = get_weight(NAME).path
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(NinyError, match="not the file that was recorded"):
        nin_cifar(weights=NAME)
    path.unlink()
    with pytest.raises(NinyError, match="cannot read"):
        niny.load(NAME)


def test_weights_of_another_network_are_refused(kept: Path) -> None:
    with pytest.raises(NinyError, match="weights of nin_cifar, not of nin_mnist"):
        nin_mnist(weights=NAME)
    with pytest.raises(NinyError, match="num_classes=100 does not fit"):
        nin_cifar(100, weights=NAME)
    with pytest.raises(NinyError, match="width: weights decide"):
        nin_cifar(weights=NAME, width=0.5)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_index_names_the_remedy(kept: Path, text: str) -> None:
    (kept / "results/short/weights/index.json").write_text(text)
    with pytest.raises(NinyError, match="niny weights write --scale short"):
        list_weights()


def test_torch_hub_loads_a_network(kept: Path) -> None:
    net = torch.hub.load(str(ROOT), "nin_cifar10", source="local", trust_repo=True)
    assert torch.equal(net.mlpconv1.conv1.weight, nin_cifar(weights=NAME).mlpconv1.conv1.weight)
    for name, classes in (("nin_cifar100", 100), ("nin_svhn", 10), ("nin_imagenet", 1000)):
        untrained = torch.hub.load(str(ROOT), name, source="local", trust_repo=True, weights=None)
        assert list(untrained.state_dict().values())[-1].shape == (classes,)


def test_kept_weights_load_with_torch_and_numpy_alone(kept: Path) -> None:
    others = ("PIL", "yaml", "pandas", "matplotlib", "scipy", "sklearn", "torchvision", "captum", "safetensors")
    blocked = "".join(f"sys.modules[{name!r}] = None; " for name in others)
    code = f"import sys; {blocked}from niny.models import nin_cifar; print(nin_cifar(weights={NAME!r}).training)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=kept)
    assert done.stdout == "False\n", done.stderr


# --- prediction -------------------------------------------------------------------------------------------------------


def test_one_interface_answers_paths_images_arrays_tensors_and_batches(kept: Path, photo: Path) -> None:
    model = niny.load(NAME)
    image = Image.open(photo)
    array = np.asarray(image)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    answer = model.predict(photo)
    assert [one["label"] for one in answer] == sorted(
        (one["label"] for one in answer), key=lambda k: -{a["label"]: a["probability"] for a in answer}[k]
    )
    assert len(answer) == 5
    assert sum(one["probability"] for one in model.predict(photo, top=99)) == pytest.approx(1)
    for given in (str(photo), image, array, tensor):
        assert model.predict(given) == answer
    for batch in ([photo, image], np.stack([array] * 2), torch.stack([tensor] * 2)):
        first, second = model.predict(batch)
        assert [one["label"] for one in first] == [one["label"] for one in second] == [a["label"] for a in answer]


def test_probabilities_and_maps_are_those_of_the_network(kept: Path, photo: Path) -> None:
    model, net = niny.load(NAME), nin_cifar(weights=NAME)
    x = get_weight(NAME).transforms()(photo)[None]
    with torch.no_grad():
        expected = net(x).softmax(1)[0]
    said = {one["label"]: one["probability"] for one in model.predict(photo, top=10)}
    torch.testing.assert_close(torch.tensor([said[label] for label in LABELS["cifar10"]]), expected)
    maps = model.class_maps(photo)
    assert maps.shape == (10, 8, 8)
    torch.testing.assert_close(maps.mean((1, 2)).softmax(0), expected)


def test_a_network_of_yes_or_no_questions_answers_each_by_itself(project: Path, params: Params, photo: Path) -> None:
    file = keep(project, params, "paper", "cifar10-nin-bce")
    write_weights(params, "paper", project)
    for model in niny.load("cifar10-nin-bce"), niny.load(str(file)):
        expected = model.class_maps(photo).mean((1, 2)).sigmoid()
        said = {one["label"]: one["probability"] for one in model.predict(photo, top=10)}
        torch.testing.assert_close(torch.tensor([said[label] for label in model.labels]), expected)
        (answers, _) = model.config["model"]["io"]["output"]
        assert "need not add up to 1" in answers["description"]


def test_larger_images_give_larger_maps(kept: Path, photo: Path) -> None:
    model = niny.load(NAME)
    assert model.class_maps(photo, size=64).shape == (10, 16, 24)
    assert model.class_maps([photo, photo], size=64).shape == (2, 10, 16, 24)
    square = Image.new("RGB", (70, 70))
    with pytest.raises(NinyError, match="one by one"):
        model.class_maps([photo, square], size=64)
    assert len(model.predict([photo, square], size=64)) == 2
    with pytest.raises(NinyError, match="from 32 pixels up"):
        model.predict(photo, size=16)


def test_a_bad_image_of_a_batch_does_not_cost_the_others(kept: Path, photo: Path) -> None:
    model = niny.load(NAME)
    batch = [photo, photo.with_name("none.png"), photo]
    with pytest.raises(NinyError, match=r"none\.png"):
        model.predict(batch)
    first, error, last = model.predict(batch, errors="return")
    labels = [[one["label"] for one in said] for said in (first, last, model.predict(photo))]
    assert labels[0] == labels[1] == labels[2]
    assert isinstance(error, NinyError)
    assert model.predict([]) == []
    photo.with_name("cut.png").write_bytes(photo.read_bytes()[:-900])
    with Image.open(photo.with_name("cut.png")) as opened:
        error, last = model.predict([opened, photo], errors="return")
    assert isinstance(error, NinyError)
    assert last[0]["label"] == labels[2][0]
    with pytest.raises(NinyError, match="choose raise or return"):
        model.predict(batch, errors="ignore")  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(NinyError, match="give at least one"):
        model.class_maps([])


def test_an_animation_is_answered_with_a_warning(kept: Path, photo: Path) -> None:
    frames = [Image.open(photo), Image.new("RGB", (90, 60))]
    frames[0].save(photo.with_suffix(".gif"), save_all=True, append_images=frames[1:])
    with pytest.warns(UserWarning, match="first of 2 frames"):
        assert len(niny.load(NAME).predict(photo.with_suffix(".gif"), top=3)) == 3


def test_the_description_has_the_fields_of_a_modelhub_package(kept: Path, tmp_path: Path) -> None:
    model = niny.load(NAME)
    config = json.loads(json.dumps(model.config))
    assert set(config) >= {"id", "meta", "publication", "model", "modelhub"}
    assert set(config["meta"]) == {"name", "application_area", "task", "task_extended", "data_type", "data_source"}
    assert set(config["publication"]) >= {"title", "source", "year", "authors", "email", "abstract", "url", "bibtex"}
    assert set(config["model"]["io"]) == {"input", "output"}
    assert config["model"]["io"]["output"][0]["type"] == "label_list"
    assert config["modelhub"] == {"top": 5, "sort": True}
    assert config["niny"]["weights"]["sha256"] == get_weight(NAME).meta["sha256"]
    assert config["niny"]["labels"] == list(LABELS["cifar10"])
    given = config["niny"]["input"]
    assert (given["channels"], given["height"], given["width"]) == (3, 32, 32)
    assert {"image/png", "image/jpeg", "image/webp", "image/x-portable-anymap"} <= set(
        config["model"]["io"]["input"]["format"]
    )


def test_samples_are_test_images_with_their_labels(project: Path, params: Params) -> None:
    path = keep(project, params, "smoke")
    model = niny.load(str(path))
    samples = model.samples()
    assert [sample.info["label"] for sample in samples] == list(LABELS["digits"])
    assert len(model.predict(samples)) == 10
    assert model.config["niny"]["weights"]["test_error"] == 20.0


def test_samples_of_a_set_that_was_not_fetched_name_the_command(kept: Path) -> None:
    with pytest.raises(NinyError, match="niny data fetch cifar10"):
        niny.load(NAME).samples()


def test_networks_with_other_heads_answer_but_take_one_size(project: Path, params: Params, photo: Path) -> None:
    model = niny.load(str(keep(project, params, "smoke", "cifar10-nin-fc")))
    assert len(model.predict(photo)) == 5
    assert model.class_maps(photo).shape == (10, 4, 4)
    with pytest.raises(NinyError, match="maps of one size"):
        model.predict(photo, size=64)


def test_the_rivals_of_nin_are_used_in_the_same_way(project: Path, params: Params, photo: Path) -> None:
    for scale, name in (("short", "cifar10-cnn-gap"), ("paper", "cifar10-maxout")):
        keep(project, params, scale, name)
        write_weights(params, scale, project)
    cnn, maxout = niny.load("cifar10-cnn-gap"), niny.load("cifar10-maxout")
    assert cnn.class_maps(photo).shape == (10, 4, 4)
    assert len(maxout.predict(photo)) == 5
    with pytest.raises(NinyError, match="no map belongs to a class"):
        maxout.class_maps(photo)
    for model in (cnn, maxout):
        with pytest.raises(NinyError, match="size=64"):
            model.predict(photo, size=64)


@pytest.mark.skipif(not AUTHORS.is_file(), reason="NINY_CAFFEMODEL names no file: the authors' cifar10_nin.caffemodel")
def test_the_authors_file_can_take_the_place_of_kept_weights(project: Path, photo: Path) -> None:
    named, given = niny.load(str(AUTHORS)), niny.load(NAME, weights=AUTHORS)
    assert named.predict(photo) == given.predict(photo)
    assert "a file of others" in given.config["model"]["provenance"]
    with pytest.raises(NinyError, match="10 classes"):
        niny.load("cifar100-nin", weights=AUTHORS)


def test_the_imagenet_network_is_used_through_a_file(project: Path, photo: Path) -> None:
    layers = {name: module for name, module in drawn(nin_imagenet()).named_modules() if hasattr(module, "weight")}
    blobs = {name.rpartition(".")[2]: list(module.state_dict().values()) for name, module in layers.items()}
    (project / "nin.caffemodel").write_bytes(caffe_file(blobs))
    model = niny.load("imagenet-nin", weights="nin.caffemodel")
    assert len(model.labels) == 1000
    assert "goldfish" in model.labels
    assert len(model.predict(photo)) == 5
    assert niny.load("nin.caffemodel").predict(photo) == model.predict(photo)
    inference.export.export(model, "safetensors", project / "nin.safetensors")
    exported = niny.load("nin.safetensors")
    assert exported.transform == model.transform, "blue first, as Caffe's"
    assert exported.predict(photo) == model.predict(photo)
    assert model.class_maps(photo).shape == (1000, 6, 6)
    assert len(model.predict(model.samples())) == 2
    with pytest.raises(NinyError, match="name a file"):
        niny.load("imagenet-nin")


@pytest.mark.parametrize("whose", ["jiecaoyu", "gojay001", "caffe"])
def test_exported_weights_of_others_pool_as_their_file_did(project: Path, photo: Path, whose: str) -> None:
    if whose == "caffe":
        layers = {name: module for name, module in drawn(nin_cifar()).named_modules() if hasattr(module, "weight")}
        blobs = {name.rpartition(".")[2]: list(module.state_dict().values()) for name, module in layers.items()}
        (project / "theirs.caffemodel").write_bytes(caffe_file(blobs))
        model = niny.load("theirs.caffemodel")
    else:
        torch.save(variant_state(drawn(nin_cifar_variant(whose)), whose), "theirs.pth")
        model = niny.load("theirs.pth")
    inference.export.export(model, "safetensors", project / "nin.safetensors")
    again = niny.load("nin.safetensors")
    assert torch.equal(again.class_maps(photo), model.class_maps(photo))
    assert again.predict(photo) == model.predict(photo)


def test_weights_of_another_experiment_are_refused(kept: Path) -> None:
    with pytest.raises(NinyError, match="holds weights of cifar10-nin, not of cifar10-nin-fc"):
        niny.load("cifar10-nin-fc", weights=get_weight(NAME).path)
    with pytest.raises(NinyError, match="unknown network"):
        niny.load("cifar11-nin", weights=get_weight(NAME).path)


def test_a_file_that_does_not_say_whose_it_is_takes_no_other_experiment_s_name(kept: Path) -> None:
    net = nin_cifar(weights=NAME)
    torch.save(net.state_dict(), "plain.pth")
    assert niny.load(NAME, weights="plain.pth").config["meta"]["name"] == NAME
    with pytest.raises(NinyError, match="does not say that it is of cifar10-maxout"):
        niny.load("cifar10-maxout", weights="plain.pth")
    save_weights(Path("half.safetensors"), net.state_dict(), {"experiment": NAME})
    with pytest.raises(NinyError, match="names its experiment but no scale"):
        niny.load("half.safetensors")


# --- cards and commands -----------------------------------------------------------------------------------------------


def test_a_card_says_what_the_record_says(kept: Path, params: Params) -> None:
    card = (kept / "results/short/weights/cifar10-nin.md").read_text()
    for said in ("No reproduction of the paper", "20.00 % of 10,000 test images", "19.23 to 20.8", "Not scored"):
        assert said in card
    assert get_weight(NAME).meta["sha256"] in card
    scores = {"claim1_rate.raw": {"value": 0.5, "interval": [0.4, 0.6], "n": 9, "seeds": {"0": 0.45, "1": 0.55}}}
    (kept / "results/short/maps").mkdir()
    (kept / "results/short/maps/cifar10-nin.json").write_text(json.dumps({"scores": scores}))
    write_weights(params, "short", kept)
    card = (kept / "results/short/weights/cifar10-nin.md").read_text()
    assert "| claim1_rate.raw | 0.450 | 2 | 0.500 | 0.400 to 0.600 |" in card, "of these weights, and of both networks"


def test_cards_of_runs_that_are_no_more_go(kept: Path, params: Params) -> None:
    keep(kept, params, "short", "cifar10-nin-fc")
    assert write_weights(params, "short", kept) == [NAME, "cifar10-nin-fc"]
    (kept / params.run("short", NAME).folder / "seed-0" / "metrics.json").unlink()
    assert write_weights(params, "short", kept) == ["cifar10-nin-fc"]
    assert not (kept / "results/short/weights/cifar10-nin.md").exists()


def test_what_learnt_permuted_labels_is_not_offered(kept: Path, params: Params) -> None:
    keep(kept, params, "short", "cifar10-nin-permuted")
    assert write_weights(params, "short", kept) == [NAME]


def test_predict_prints_answers_and_draws_maps(kept: Path, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(photo), "--top", "2", "--maps", "maps.png"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(photo)
    assert len(lines) == 3
    with Image.open("maps.png") as picture:
        assert picture.width > 500
    assert main(["predict", str(photo), str(photo), "--json", "--size", "48"]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert [len(answer["predictions"]) for answer in answers] == [5, 5]


def test_predict_answers_the_others_and_fails_with_a_line_for_each_bad_image(
    kept: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "none.png", str(photo), "params.yaml", "--json"]) == 1
    printed = capsys.readouterr()
    answers = json.loads(printed.out)
    assert ["error" in answer for answer in answers] == [True, False, True]
    assert [line[:5] for line in printed.err.splitlines()] == ["niny:", "niny:"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("predict PHOTO --top 0", "--top 0"),
        ("predict PHOTO --size 8", "from 32 pixels up"),
        ("predict PHOTO --maps maps.txt", "pictures are written as"),
        ("predict PHOTO --maps nowhere/maps.png", "no folder"),
        ("predict PHOTO --maps PHOTO", "one of the images"),
        ("predict PHOTO --weights cifar11", "unknown name of weights"),
        ("predict PHOTO --weights none.pth", "none.pth"),
        ("predict PHOTO --weights PHOTO", "not a weights file known here"),
        ("predict none.png", "none.png"),
        ("export cifar10-nin --format moon", "unknown format 'moon'"),
        ("export cifar10-nin --format safetensors --pixels", "leave out --pixels"),
        ("export none.caffemodel", "none.caffemodel"),
        ("export cifar10-nin --format torchscript --out nowhere/a.pt", "no folder"),
        ("weights write --scale huge", "unknown scale 'huge'"),
        ("weights write --scale paper", "no finished run of scale paper has weights"),
        ("data pack moon", "unknown data set 'moon'"),
        ("data pack mnist", "niny data fetch mnist"),
    ],
)
def test_a_wrong_word_is_one_line_and_status_1(
    kept: Path, photo: Path, capsys: pytest.CaptureFixture[str], words: str, complaint: str
) -> None:
    before = photo.read_bytes()
    assert main(words.replace("PHOTO", str(photo)).split()) == 1
    said = capsys.readouterr().err
    assert said.startswith("niny: ")
    assert complaint in said
    assert said.count("\n") == 1
    assert photo.read_bytes() == before
    assert sorted(p.name for p in kept.iterdir()) == [
        "claims.yaml", "data", "params.yaml", "photo.png", "plan.json", "results"
    ]  # fmt: skip


def test_weights_are_listed(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights"]) == 0
    assert "cifar10-nin" in capsys.readouterr().out
    assert main(["weights", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[NAME]["test_error"] == 20.0
    assert main(["weights", "write", "--scale", "short"]) == 0
    assert "index and cards of cifar10-nin" in capsys.readouterr().out


def test_a_picture_has_a_map_for_each_of_the_likeliest_classes(kept: Path, photo: Path) -> None:
    answers = [answer for answer in niny.load(NAME).answers([photo, photo]) if not isinstance(answer, NinyError)]
    figure = draw_answers(answers, "a title", top=3)
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    likeliest = [one["label"] for one in answers[0].ranked(3)]
    assert [title.partition("\n")[0] for title in titles] == ["photo.png", *likeliest] * 2


# --- the notebook, the README, the benchmark --------------------------------------------------------------------------


def test_the_notebook_runs(project: Path, params: Params) -> None:
    path = keep(project, params, "smoke")
    executed = project / "07-use.ipynb"
    execute(ROOT / "notebooks" / "07-use.ipynb", executed, {"weights": str(path)})
    text = executed.read_text()
    assert text.count('"image/png"') == 2
    assert "larger images: with a size" in text


def examples() -> list[str]:
    """The Python blocks of the README, as one runs them one after the other."""
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_the_readme_s_examples_run(kept: Path, photo: Path) -> None:
    Image.open(photo).save("photo.jpg")
    (kept / "hubconf.py").symlink_to(ROOT / "hubconf.py")
    assert len(examples()) == 3
    names: dict[str, object] = {}
    for example in examples():
        exec(example, names)
    assert names["logits"].shape == (1, 10)  # type: ignore[attr-defined]  # what the examples left there


def public(module: object) -> Iterator[tuple[str, object]]:
    """What a module offers, and the public methods of its own classes."""
    for name in module.__all__:  # type: ignore[attr-defined]  # every module here has one
        thing = getattr(module, name)
        yield name, thing
        for part, method in vars(thing).items() if inspect.isclass(thing) else ():
            if not part.startswith("_") and (inspect.isfunction(method) or isinstance(method, property)):
                yield f"{name}.{part}", method


@pytest.mark.parametrize("module", [models, inference], ids=lambda module: module.__name__)
def test_everything_public_is_documented(module: object) -> None:
    assert [name for name, thing in public(module) if not inspect.getdoc(thing)] == []


def test_how_long_answers_take_is_measured_for_each_runtime(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(latency.shutil, "which", lambda name: None)  # compiling takes half a minute
    monkeypatch.setattr(latency, "missing_for_onnx", lambda: ["onnx"])
    monkeypatch.setattr(latency, "BATCHES", (1, 3))
    monkeypatch.setattr(latency, "SECONDS", 0.0)
    monkeypatch.setattr(cli, "STANDARD", ("smoke", "cifar10-nin"))
    assert main(["bench", "--inference", "--scale", "smoke", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result["figures"]) == {"predict", "torch"}
    assert result["skipped"] == {"torch.compile": "no C++ compiler here", "onnxruntime": "onnx not installed"}
    for by_batch in result["figures"].values():
        for batch, figure in by_batch.items():
            assert figure["images_per_s"] == pytest.approx(1e3 * int(batch) / figure["ms"])
    assert len(list((project / "results/benchmarks/inference").glob("*.json"))) == 1
    assert "onnxruntime: not measured" in latency.table(result)


def test_the_weights_that_the_repository_keeps_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NINY_ROOT", str(ROOT))
    kept = list_weights()
    assert kept, "the index of results/*/weights has lost what it listed"
    for name, weights in kept.items():
        assert (weights.path.parents[3] / "weights" / f"{name}.md").is_file()
        dataset = weights.meta["dataset"]
        if not (KEPT / f"{dataset}.npz").is_file():
            assert dataset in ("svhn", "cifar100"), "run: niny data pack"
            if not (ROOT / "data" / dataset).is_dir():
                with pytest.raises(NinyError, match=f"niny data fetch {dataset}"):
                    niny.load(name)
                continue
        model = niny.load(name)
        assert model.predict(torch.zeros(3, 40, 40), top=1)[0]["label"] in model.labels


def test_a_damaged_weights_file_gets_no_digest(kept: Path, params: Params) -> None:
    (index,) = kept.glob("results/short/weights/*.json")
    before = index.read_bytes()
    next(kept.glob("results/short/runs/*/seed-0/weights.safetensors")).write_bytes(bytes(5000))
    with pytest.raises(NinyError, match="not a readable safetensors file"):
        write_weights(params, "short", kept)
    assert index.read_bytes() == before
