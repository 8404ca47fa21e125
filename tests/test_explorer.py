"""The explorer: what its file says is what the network does, and whatever is sent to it, one line or an answer."""

import base64
import io
import json
import math
import zlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image
from planted import plant
from torch import Tensor, nn

from niny.config import DataSpec, Params
from niny.data.preprocess import Preprocessor
from niny.data.sets import LABELS, Split, load
from niny.data.transforms import Transform, transform_for
from niny.errors import NinyError
from niny.explorer import Explorer, live, payload, widget
from niny.explorer.choice import choose
from niny.explorer.field import Field, receptive_field
from niny.explorer.live import LARGEST_FILE, Live
from niny.explorer.looks import attributions, look
from niny.explorer.packing import pack, png, unpack
from niny.explorer.payload import Record, payload_of, recorded, target, write_payload
from niny.inference import Model
from niny.maps import nulls
from niny.maps.agreement import rank_correlation
from niny.maps.attribution import METHODS, TITLES
from niny.models import Network, build, cnn, initialise, linear_cifar, nin_cifar, nin_cifar_variant, nin_mnist
from niny.models.blocks import FullyConnected, GlobalAveragePool, LocallyConnected
from niny.models.weights import save_weights
from niny.notebooks import execute
from niny.report import explorer as reported_page
from niny.training.snapshots import FOLLOWED, KEPT_IMAGES, followed_images, keep_followed

NAME, SCALE = "cifar10-nin", "smoke"
CONFIG = {
    "meta": {"name": "planted"},
    "model": {"provenance": "made by a test"},
    "niny": {"weights": {"sha256": "0" * 64}},
}
CORNER, CLASS = (0, 3), 7


def corner() -> Network:
    """On 16 x 16 images: class 7 is what the top right 4 x 4 pixels say, and nothing else says anything."""
    local = LocallyConnected(1, 10, 4, 1)
    with torch.no_grad():
        local.weight[CLASS, 0, 4 * CORNER[0] + CORNER[1]] = 1.0
    return Network({"pool": nn.AvgPool2d(4), "local": local}, GlobalAveragePool(), ()).eval()


def drawn(net: Network, seed: int = 0) -> Network:
    initialise(net, "centred", 0.0, seed)
    return net.eval()


@pytest.fixture
def planted(project: Path) -> Model:
    return Model(corner(), transform_for("digits"), LABELS["digits"], CONFIG, "digits")


def keep(project: Path, params: Params, name: str = NAME, seed: int = 0) -> Path:
    """A run of the smoke scale whose weights are drawn and not trained, with maps of two epochs."""
    run = params.run(SCALE, name)
    net = drawn(build(run), seed)
    folder = plant(project, run, 0, 50.0, weights_test_error=50.0)
    about = {"experiment": name, "scale": SCALE, "run_digest": run.digest}
    save_weights(folder / "weights.safetensors", net.state_dict(), about)
    tests = load("digits", project / "data").test
    followed = followed_images(run, len(tests))[:KEPT_IMAGES]
    maps = look(recorded(params, SCALE, name, project)[0], torch.from_numpy(tests.images[followed.numpy()])).maps
    history = [{"epoch": 1, "maps": torch.zeros_like(maps).half()}, {"epoch": 2, "maps": maps.half()}]
    keep_followed(folder / FOLLOWED, history, run, len(tests))
    return folder


# --- packing ----------------------------------------------------------------------------------------------------------


def test_packed_numbers_come_back_to_half_a_step() -> None:
    values = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0)) * 100
    packed = json.loads(json.dumps(pack(values)))
    assert unpack(packed).shape == values.shape
    assert (unpack(packed) - values).abs().max() <= packed["scale"] / 2 + 1e-9
    assert packed["scale"] == pytest.approx(float(values.abs().max()) / 32767)
    assert base64.b64decode(pack(torch.tensor([1.0, -0.5]))["data"])[:2] == b"\xff\x7f"
    assert unpack(pack(torch.zeros(2, 2))).abs().max() == 0


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(NinyError, match="no numbers"):
        pack(torch.tensor([1.0, math.nan]))


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_comes_back_as_it_was(channels: int) -> None:
    pixels = torch.randint(256, (channels, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    back = np.array(Image.open(io.BytesIO(base64.b64decode(png(pixels)))))
    assert np.array_equal(back if channels == 1 else back.transpose(2, 0, 1), pixels[0] if channels == 1 else pixels)


# --- the receptive field ----------------------------------------------------------------------------------------------

NETS = {
    "nin": (lambda: nin_cifar(width=0.05), 32),
    "nin, average": (lambda: nin_cifar(width=0.05, pool2="average"), 32),
    "nin, fully connected": (lambda: nin_cifar(width=0.05, head="fc"), 32),
    "nin, padded pools": (lambda: nin_cifar(width=0.05, pool_padding=1), 32),
    "nin, MNIST": (lambda: nin_mnist(width=0.05), 28),
    "linear": (lambda: linear_cifar(width=0.05), 32),
    "cnn": (lambda: cnn(width=0.05), 32),
}


def support(net: Network, side: int, cell: int) -> tuple[int, int]:
    """First and last row that the gradient of a map cell on the diagonal reaches, over many images."""
    with torch.no_grad():
        for weight in net.parameters():
            weight.uniform_(0.5, 1.0)  # nothing cancels, and no ReLU is shut
    channels = next(p for p in net.parameters() if p.dim() == 4).shape[1]
    images = torch.rand(48, channels, side, side, generator=torch.Generator().manual_seed(2)).requires_grad_()
    net.eval().class_maps(images)[:, :, cell, cell].sum().backward()  # type: ignore[no-untyped-call]  # torch has no types for it
    assert images.grad is not None
    rows = images.grad.abs().sum((0, 1, 3)).nonzero().flatten().tolist()
    return rows[0], rows[-1]


@pytest.mark.parametrize("name", NETS)
def test_the_field_is_what_the_gradient_reaches(name: str) -> None:
    make, side = NETS[name]
    net = make()
    field = receptive_field(net)
    assert field is not None
    cells = net.class_maps(torch.zeros(1, 1 if side == 28 else 3, side, side)).shape[-1]
    for cell in (0, 1, cells // 2, cells - 1):
        first = field.start + cell * field.stride
        seen = (max(first, 0), min(first + field.size - 1, side - 1))
        assert support(net, side, cell) == seen, cell


def test_the_field_of_the_paper_s_network_is_known_by_hand() -> None:
    assert receptive_field(nin_cifar()) == Field(stride=4, size=27, start=-10)
    assert receptive_field(nin_cifar_variant("gojay001")) == Field(stride=4, size=27, start=-13)
    assert receptive_field(corner()) == Field(stride=4, size=4, start=0)


def test_a_layer_that_is_not_known_has_no_field() -> None:
    assert receptive_field(Network({"other": nn.Softmax(1)}, GlobalAveragePool(), ())) is None
    uneven = nn.Conv2d(1, 1, (3, 5))
    assert receptive_field(Network({"conv": uneven}, GlobalAveragePool(), ())) is None


# --- which images -----------------------------------------------------------------------------------------------------


def test_followed_images_come_first_and_every_class_is_shown_right_and_wrong_where_it_is() -> None:
    labels = torch.arange(1000) % 10
    said = labels.clone()
    said[300::7] = 3  # what is wrong is called 3, so that no 3 is wrong
    chosen = choose(labels, lambda some: said[some], [11, 5], 40, seed=1)
    assert chosen[:2] == [11, 5]
    assert len(chosen) == len(set(chosen)) == 40
    kinds = {(int(labels[i]), bool(labels[i] == said[i])) for i in chosen}
    assert kinds == {(k, True) for k in range(10)} | {(k, False) for k in range(10) if k != 3}
    assert chosen == choose(labels, lambda some: said[some], [11, 5], 40, seed=1)
    assert chosen != choose(labels, lambda some: said[some], [11, 5], 40, seed=2)


def test_no_more_images_are_asked_about_than_it_takes_to_meet_every_kind() -> None:
    labels = torch.arange(10_000) % 2
    asked: list[int] = []

    def predict(some: list[int]) -> Tensor:
        asked.extend(some)
        return torch.tensor(some) // 2 % 2  # half of each class right

    assert len(choose(labels, predict, [], 5, seed=0)) == 5
    assert len(asked) <= 100
    assert choose(labels[:3], predict, [2, 0, 1], 3, seed=0) == [2, 0, 1]


# --- the payload ------------------------------------------------------------------------------------------------------


@pytest.fixture
def shown(planted: Model) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(payload_of(planted), allow_nan=False))
    return made


def test_planted_evidence_shows_where_it_was_planted_and_nowhere_else(planted: Model, shown: dict[str, Any]) -> None:
    maps = unpack(shown["maps"])
    assert maps.shape == (40, 10, 4, 4)
    assert (maps[:, CLASS, *CORNER] != 0).all()
    elsewhere = maps.clone()
    elsewhere[:, CLASS, *CORNER] = 0
    assert (elsewhere == 0).all()
    assert shown["field"] == {"stride": 4, "size": 4, "start": 0}
    occlusion = next(one for one in shown["attributions"] if one["name"] == "occlusion")
    seven = [i for i, image in enumerate(shown["images"]) if image["predicted"] == CLASS]
    assert seven
    marked = unpack(occlusion["maps"])[seven].abs().flatten(1).argmax(1)
    assert (marked == 4 * CORNER[0] + CORNER[1]).all()


def test_maps_average_to_the_logits_and_images_are_those_of_the_test_split(
    project: Path, shown: dict[str, Any]
) -> None:
    tests = load("digits", project / "data").test
    logits = torch.tensor([image["logits"] for image in shown["images"]])
    assert torch.allclose(unpack(shown["maps"]).mean((2, 3)).float(), logits, atol=shown["maps"]["scale"] + 1e-5)
    for image in shown["images"]:
        assert image["label"] == tests.labels[image["index"]]
        pixels = np.array(Image.open(io.BytesIO(base64.b64decode(image["png"]))))
        assert np.array_equal(pixels, tests.images[image["index"], 0])


def test_agreement_is_that_of_niny_maps_and_stands_beside_its_nulls(planted: Model, shown: dict[str, Any]) -> None:
    tests = load("digits", Path("data")).test
    seen = look(planted, torch.from_numpy(tests.images[[image["index"] for image in shown["images"]]]))
    centre = nulls.centre(4, 4).expand(40, 4, 4)
    for one in shown["attributions"]:
        found = attributions(seen)[one["name"]]
        assert torch.allclose(unpack(one["maps"]).float(), found, atol=one["maps"]["scale"])
        for kind, maps in {"agreement": seen.own, "other": seen.own.roll(1, 0), "centre": centre}.items():
            wanted = rank_correlation(found, maps).tolist()
            assert one[kind] == [None if math.isnan(w) else pytest.approx(w, abs=1e-5) for w in wanted]
    assert any(value is None for value in shown["attributions"][0]["agreement"])  # a map of zeros agrees with nothing


def test_every_method_has_a_title_and_a_sentence() -> None:
    assert set(TITLES) == set(METHODS)
    assert all(line.endswith(".") for _, line in TITLES.values())


def test_the_record_gives_epochs_scores_and_the_same_bytes_each_time(project: Path, params: Params) -> None:
    folder = keep(project, params)
    scores = {"claim1_rate.raw": {"value": 0.5, "interval": [0.4, 0.6], "n": 9}, "entropy.raw": {"value": 1.0}}
    (project / "results/smoke/maps").mkdir()
    (project / f"results/smoke/maps/{NAME}.json").write_text(json.dumps({"scores": scores}))
    path = write_payload(SCALE, NAME, project)
    assert path == target(project, SCALE, NAME)
    first = path.read_bytes()
    assert write_payload(SCALE, NAME, project).read_bytes() == first
    assert len(first) < 1_500_000
    shown = json.loads(first)
    followed = np.load(folder / FOLLOWED)["image"].tolist()
    assert [image["index"] for image in shown["images"]][:KEPT_IMAGES] == followed
    epochs = shown["epochs"]
    assert epochs["epoch"] == [1, 2]
    assert epochs["test_error"] == [None, pytest.approx(70.0)]
    assert epochs["image"] == list(range(KEPT_IMAGES))
    last = unpack(epochs["maps"])[-1]
    assert torch.allclose(last, unpack(shown["maps"])[:KEPT_IMAGES], atol=1e-2 * float(last.abs().max()))
    assert shown["scores"] == {"claim1_rate.raw": scores["claim1_rate.raw"]}
    assert (shown["title"], shown["label"]) == (
        "NIN + dropout, smoke scale",
        "Smoke scale: not a reproduction of the paper",
    )


def test_grids_are_the_first_of_those_that_are_scored_and_their_masses_those_of_their_maps(
    project: Path, params: Params
) -> None:
    keep(project, params)
    model, record = recorded(params, SCALE, NAME, project)
    shown = payload_of(model, record)
    assert len(shown["grids"]) == 4
    for grid in shown["grids"]:
        assert len(set(grid["labels"])) == 9
        maps = unpack(grid["maps"]).clamp_min(0)
        side = maps.shape[-1] // 3
        for i, one in enumerate(maps):
            row, column = side * (i // 3), side * (i % 3)
            inside = one[row : row + side, column : column + side].sum()
            assert grid["mass"]["raw"][i] == pytest.approx(float(inside / one.sum().clamp_min(1e-7)), abs=1e-3)
        assert Image.open(io.BytesIO(base64.b64decode(grid["png"]))).size == (48, 48)


def test_with_a_fully_connected_head_the_means_of_maps_are_the_logits(project: Path, params: Params) -> None:
    keep(project, params, "cifar10-nin-fc")
    model, record = recorded(params, SCALE, "cifar10-nin-fc", project)
    shown = payload_of(model, record)
    assert isinstance(model.net.head, FullyConnected)
    logits = torch.tensor([image["logits"] for image in shown["images"]])
    assert torch.allclose(unpack(shown["maps"]).mean((2, 3)).float(), logits, atol=1e-3 + shown["maps"]["scale"])
    assert shown["head"] == "fc"
    assert shown["epochs"] is None  # the head of an earlier epoch is not kept
    assert shown["field"] == asdict(Field(4, 27, -10))


@pytest.mark.parametrize("classes", ["cifar10", "cifar100"])
def test_the_file_stays_small_where_images_are_noise_epochs_many_and_classes_a_hundred(
    project: Path, params: Params, classes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    random, kinds = np.random.default_rng(0), len(LABELS[classes])
    images = random.integers(0, 256, (400, 3, 32, 32), np.uint8)
    monkeypatch.setattr(payload, "tests_of", lambda _: Split(images, np.arange(400) % kinds))
    monkeypatch.setattr(payload, "compared", lambda seen: [*map(dict, [{"maps": pack(seen.own)}] * len(METHODS))])
    spec = DataSpec(classes, kinds, 3, 32, "mean")
    transform = Transform(Preprocessor.fit(images, spec))
    model = Model(drawn(nin_cifar(kinds, width=0.05)), transform, LABELS[classes], CONFIG, classes)
    run = params.run("paper", "cifar10-nin")
    history = [{"epoch": e, "maps": torch.rand(12, kinds, 8, 8).half()} for e in range(1, 31)]
    folder = plant(project, run, 0, 10.0)
    keep_followed(folder / FOLLOWED, history, run, 400)
    shown = payload_of(model, Record(run, folder, {}))
    assert len(json.dumps(shown, indent=2)) < 1_500_000
    assert len(shown["images"]) >= 30
    assert len(shown["epochs"]["epoch"]) > 12


WRONG = [
    ("huge", NAME, "unknown scale 'huge'"),
    (SCALE, "cifar11", "unknown experiment 'cifar11'"),
    ("paper", "mnist-nin", "no weights of mnist-nin at scale paper: run niny train"),
    ("tune", NAME, "scale tune never meets the test images"),
    (SCALE, "cifar10-nin-aug", "is not run at scale smoke"),
]


@pytest.mark.parametrize(("scale", "experiment", "complaint"), WRONG)
def test_what_cannot_be_shown_is_one_line_and_writes_nothing(
    project: Path, scale: str, experiment: str, complaint: str
) -> None:
    with pytest.raises(NinyError, match=complaint) as error:
        write_payload(scale, experiment, project)
    assert "\n" not in str(error.value)
    assert not (project / "results").exists()


def test_a_damaged_record_and_a_network_without_maps_are_one_line(
    project: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = keep(project, params)
    whole = (folder / FOLLOWED).read_bytes()
    for content in (whole[:100], b"", b"no archive"):
        (folder / FOLLOWED).write_bytes(content)
        with pytest.raises(NinyError, match=r"followed\.npz is damaged"):
            write_payload(SCALE, NAME, project)
    np.savez(folder / FOLLOWED, epoch=np.array([1]), image=np.array([360]), maps=np.zeros((1, 1, 10, 4, 4)))
    with pytest.raises(NinyError, match=r"followed\.npz is damaged"):
        write_payload(SCALE, NAME, project)
    assert not target(project, SCALE, NAME).exists()
    monkeypatch.setattr(payload, "why_no_maps", lambda _: "its last layers are fully connected")
    with pytest.raises(NinyError, match="no class maps to explore"):
        payload_of(recorded(params, SCALE, NAME, project)[0])


# --- a running network ------------------------------------------------------------------------------------------------


def coded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def picture(kind: str = "PNG", size: tuple[int, int] = (40, 30)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (200, 30, 20)).save(file, kind)
    return file.getvalue()


def test_any_test_image_is_answered_as_it_is_kept(planted: Model, shown: dict[str, Any]) -> None:
    kept = shown["images"][3]
    answer = json.loads(json.dumps(Live(planted).answer({"type": "index", "index": kept["index"]})))
    assert answer["type"] == "image"
    assert answer["image"] == {**kept, "logits": pytest.approx(kept["logits"], abs=1e-4)}
    assert torch.allclose(unpack(answer["maps"]), unpack(shown["maps"])[3], atol=2 * shown["maps"]["scale"])
    assert [one["name"] for one in answer["attributions"]] == [one["name"] for one in shown["attributions"]]
    assert unpack(answer["attributions"][0]["map"]).shape == (4, 4)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_any_kind_of_image_file_is_answered(planted: Model, kind: str) -> None:
    answer = Live(planted).answer({"type": "file", "name": f"a.{kind}", "data": coded(picture(kind))})
    assert answer["type"] == "image"
    assert (answer["image"]["name"], answer["image"]["index"], answer["image"]["label"]) == (f"a.{kind}", None, None)
    assert Image.open(io.BytesIO(base64.b64decode(answer["image"]["png"]))).size == (16, 16)


def bomb() -> bytes:
    """A PNG of a kilobyte that claims 30,000 x 30,000 pixels."""
    small = bytearray(picture())
    small[16:24] = (30_000).to_bytes(4, "big") * 2
    small[29:33] = zlib.crc32(small[12:29]).to_bytes(4, "big")
    return bytes(small)


HOSTILE = {
    "no image": ({"type": "file", "name": "a.png", "data": coded(b"<svg/>")}, "no image that can be read"),
    "nothing": ({"type": "file", "name": "a.png", "data": ""}, "no image that can be read"),
    "half an image": ({"type": "file", "name": "a.png", "data": coded(picture()[:60])}, "cannot read a.png"),
    "a bomb": ({"type": "file", "name": "a.png", "data": coded(bomb())}, "pixels: shrink it first"),
    "too large": ({"type": "file", "name": "a.png", "data": "A" * (LARGEST_FILE * 4 // 3 + 8)}, "more than 7 MiB"),
    "no base64": ({"type": "file", "name": "a.png", "data": "!!"}, "did not arrive whole"),
    "other letters": ({"type": "file", "name": "a.png", "data": "ü"}, "did not arrive whole"),
    "a path": ({"type": "file", "name": "../../etc\\passwd\n<b>", "data": "!!"}, "passwd <b> did not"),
    "a long name": ({"type": "file", "name": "x" * 10_000, "data": "!!"}, "x…"),
    "no name": ({"type": "file", "name": "", "data": "!!"}, "the file did not"),
    "a name that is none": ({"type": "file", "name": 3, "data": "!!"}, "does not know"),
    "no test image": ({"type": "index", "index": 360}, "numbered from 0 to 359"),
    "below the first": ({"type": "index", "index": -1}, "no test image -1"),
    "no whole number": ({"type": "index", "index": 1.5}, "no test image 1.5"),
    "no number": ({"type": "index", "index": None}, "no test image None"),
    "true": ({"type": "index", "index": True}, "no test image True"),
    "much": ({"type": "index", "index": "9" * 10_000}, "no test image"),
    "another message": ({"type": "eval", "code": "1"}, "does not know"),
    "no message": ("hello", "does not know"),
    "none": (None, "does not know"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_whatever_is_sent_is_answered_in_one_short_line(planted: Model, kind: str) -> None:
    message, complaint = HOSTILE[kind]
    answer = Live(planted).answer(message)
    assert answer["type"] == "error"
    assert complaint in answer["text"]
    assert "\n" not in answer["text"]
    assert len(answer["text"]) < 200


def test_without_test_images_at_hand_files_are_still_answered(planted: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "tests_of", lambda _: None)
    network = Live(planted)
    assert "give an image file" in network.answer({"type": "index", "index": 0})["text"]
    assert network.answer({"type": "file", "name": "a.png", "data": coded(picture())})["type"] == "image"


# --- in a notebook ----------------------------------------------------------------------------------------------------


def test_the_widget_answers_what_its_page_sends(planted: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    explorer = Explorer(planted)
    sent: list[Any] = []
    monkeypatch.setattr(explorer, "send", sent.append)
    explorer._handle_custom_msg({"type": "index", "index": 5}, [])
    explorer._handle_custom_msg({"type": "index", "index": 5000}, [])
    assert [answer["type"] for answer in sent] == ["image", "error"]
    assert explorer.live is True
    assert explorer.payload["classes"] == list(LABELS["digits"])
    assert repr(explorer) == "Explorer of planted: 40 images of scikit-learn's digits, 10 classes"


def test_the_kept_payload_is_shown_only_if_it_is_of_these_weights(
    project: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(project, params)
    path = write_payload(SCALE, NAME, project)
    monkeypatch.setattr(widget, "payload_of", lambda *_: {"title": "made"})
    path.write_text(json.dumps({**json.loads(path.read_text()), "title": "kept"}))
    assert Explorer(scale=SCALE).payload["title"] == "kept"
    keep(project, params, seed=1)
    assert Explorer(scale=SCALE).payload["title"] == "made"
    path.write_text("no json")
    assert Explorer(scale=SCALE).payload["title"] == "made"


def test_an_explorer_needs_a_network_and_one_alone(planted: Model) -> None:
    for wrong in ({}, {"model": planted, "scale": SCALE}, {"model": planted, "experiment": NAME}):
        with pytest.raises(NinyError, match="name one"):
            Explorer(**wrong)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(NinyError, match="no weights of cifar10-nin at scale smoke"):
        Explorer(scale=SCALE)


def test_the_notebook_runs_and_keeps_nothing_of_the_widget_but_its_name(project: Path, params: Params) -> None:
    keep(project, params)
    executed = project / "08-explore.ipynb"
    execute(ROOT / "notebooks" / "08-explore.ipynb", executed, {"scale": SCALE})
    text = executed.read_text()
    assert "Explorer of NIN + dropout, smoke scale: 40 images" in text
    assert "widget-view" not in text
    assert target(project, SCALE, NAME).is_file()


def test_weights_of_others_are_explored_without_a_record(project: Path, planted: Model) -> None:
    shown = payload_of(replace(planted, net=drawn(nin_cifar(channels=1, size=16, width=0.05))))
    assert (shown["epochs"], shown["scores"], shown["scale"]) == (None, {}, None)
    assert shown["label"] == "made by a test"
    assert len(shown["grids"]) == 4


def test_the_report_reads_the_version_that_is_written() -> None:
    assert reported_page.VERSION == payload.VERSION
