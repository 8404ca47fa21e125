"""Damaged data of every official format is refused with a message that names the file, and is never kept."""

import contextlib
import gzip
import hashlib
import io
import json
import os
import pickle
import re
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from random import Random
from types import MappingProxyType

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from reliability import Tally

from niny.data import digests, fetch, load, load_tiny_imagenet_val, sources, verify
from niny.data.archives import unpickle
from niny.errors import NinyError
from niny.report.words import plural

Files = dict[str, bytes]  # by path in the folder that a source offers
Bytes = NDArray[np.uint8]
Splits = dict[str, tuple[Bytes, Bytes]]  # images [N,C,H,W] and labels [N,K] of each split
IMAGES = 3  # of a split
SHAPES = MappingProxyType({"mnist": (1, 28, 28), "tiny-imagenet-val": (3, 64, 64)})
SPLITS = MappingProxyType(
    {
        "cifar10": (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"),
        "cifar100": ("train", "test"),
        "mnist": ("train", "t10k"),
        "svhn": ("train", "test", "extra"),
        "tiny-imagenet-val": ("val",),
    }
)


def drawn(name: str) -> Splits:
    """Random images; the labels of a split differ from one another and from those of the other splits."""
    rng = np.random.default_rng(len(name))
    kinds = 2 if name == "cifar100" else 1
    labels = iter(range(1, 1000))
    return {
        split: (
            rng.integers(0, 256, (IMAGES, *SHAPES.get(name, (3, 32, 32))), np.uint8),
            np.array([[next(labels) for _ in range(kinds)] for _ in range(IMAGES)], np.uint8),
        )
        for split in SPLITS[name]
    }


# --- the official formats ---------------------------------------------------------------------------------------------


def records(name: str, splits: Splits) -> Files:
    return {f"{split}.bin": np.hstack([y, x.reshape(len(x), -1)]).tobytes() for split, (x, y) in splits.items()}


def idx(name: str, splits: Splits) -> Files:
    content = {}
    for split, (x, y) in splits.items():
        sizes = b"".join(n.to_bytes(4, "big") for n in (len(x), 28, 28))
        content[f"{split}-images-idx3-ubyte"] = bytes([0, 0, 8, 3]) + sizes + x.tobytes()
        content[f"{split}-labels-idx1-ubyte"] = bytes([0, 0, 8, 1]) + len(y).to_bytes(4, "big") + y.tobytes()
    return content


def mat(name: str, splits: Splits, compressed: bool = False) -> Files:
    from scipy.io import savemat

    content = {}
    for split, (x, y) in splits.items():
        buffer = io.BytesIO()
        savemat(buffer, {"X": x.transpose(2, 3, 1, 0), "y": y}, do_compression=compressed)
        raw = buffer.getvalue()
        content[f"{split}_32x32.mat"] = b"MATLAB 5.0 MAT-file".ljust(116) + raw[116:]  # without the time of writing
    return content


def compressed_mat(name: str, splits: Splits) -> Files:
    """As the official ones are."""
    return mat(name, splits, compressed=True)


def tiny(name: str, splits: Splits) -> Files:
    x, y = splits["val"]
    content = {"wnids.txt": b"".join(b"n%02d\n" % k for k in range(1, 4)), "words.txt": b"n01\ta\nn02\tb\nn03\tc\n"}
    lines = [f"val_{i}.JPEG\tn{k:02}\t1\t2\t{i + 3}\t4\n" for i, (k,) in enumerate(y)]
    content["val/val_annotations.txt"] = "".join(lines).encode()
    for i, image in enumerate(x):
        buffer = io.BytesIO()
        Image.fromarray(image.transpose(1, 2, 0)).save(buffer, "JPEG")
        content[f"val/images/val_{i}.JPEG"] = buffer.getvalue()
    return content


def pickles(name: str, splits: Splits) -> Files:
    kinds = ("coarse_labels", "fine_labels") if name == "cifar100" else ("labels",)
    return {
        split: pickle.dumps(
            {"batch_label": split, "data": x.reshape(len(x), -1)}
            | {kind: y[:, i].tolist() for i, kind in enumerate(kinds)},
            protocol=3 + (split == "train"),
        )
        for split, (x, y) in splits.items()
    }


def sheets(name: str, splits: Splits) -> Files:
    content = {}
    for split, (x, _) in splits.items():
        buffer = io.BytesIO()
        Image.fromarray(x.reshape(len(x), 3, -1).transpose(0, 2, 1)).save(buffer, "PNG")
        content[f"{split}.png"] = buffer.getvalue()
    labels = [splits[split][1].ravel().tolist() for split in SPLITS[name]]
    content["train_lables.json"] = json.dumps([label for part in labels[:-1] for label in part]).encode()
    content["test_lables.json"] = json.dumps(labels[-1]).encode()
    return content


def tarred(content: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in content.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


@dataclass(frozen=True)
class Format:
    """How a data set is handed out: its files below `folder`, alone, each in a gzip file, or in one archive.

    `exact`: every byte that is handed out is of the data; else some, as of a header's date, can change and do no harm.
    """

    name: str
    folder: str
    make: Callable[[str, Splits], Files]
    archive: str = ""
    gzipped: bool = False
    exact: bool = True
    source: str = "local"

    def files(self, splits: Splits) -> Files:
        return {f"{self.folder}/{file}": data for file, data in self.make(self.name, splits).items()}

    def offered(self, files: Files) -> Files:
        if self.archive:
            return {self.archive: tarred(files)}
        return {f"{file}.gz": gzip.compress(data, mtime=0) for file, data in files.items()} if self.gzipped else files


PACKED = MappingProxyType({"exact": False})
FORMATS = (
    Format("cifar10", "cifar-10-batches-bin", records),
    Format("cifar100", "cifar-100-binary", records),
    Format("cifar10", "cifar-10-batches-py", pickles, **PACKED),
    Format("cifar100", "cifar-100-python", pickles, **PACKED),
    Format("cifar10", "cifar-10-batches-bin", records, "cifar-10-binary.tar.gz", **PACKED),
    Format("cifar10", "cifar-10-batches-py", pickles, "cifar-10-python.tar.gz", **PACKED),
    Format("cifar100", "cifar-100-binary", records, "cifar-100-binary.tar.gz", **PACKED),
    Format("cifar100", "cifar-100-python", pickles, "cifar-100-python.tar.gz", **PACKED),
    Format("mnist", "MNIST/raw", idx),
    Format("mnist", "MNIST/raw", idx, gzipped=True, **PACKED),
    Format("svhn", "svhn", mat),
    Format("svhn", "svhn", compressed_mat),
    Format("tiny-imagenet-val", "tiny-imagenet-200", tiny, **PACKED),
    Format("cifar10", "package", sheets, "made.tgz", source="npm", **PACKED),
    Format("mnist", "package/data", idx, "made.tgz", source="npm", **PACKED),
)


# --- damages ----------------------------------------------------------------------------------------------------------


def flip(raw: bytes, random: Random) -> bytes:
    spoilt = bytearray(raw)
    for _ in range(random.choice((1, 1, 1, 8, 64))):
        spoilt[random.randrange(len(raw))] ^= 1 << random.randrange(8)
    return bytes(spoilt)


def cut(raw: bytes, random: Random) -> bytes:
    return raw[: random.randrange(1, len(raw))]


def extend(raw: bytes, random: Random) -> bytes:
    return raw + random.randbytes(random.choice((1, 16, 3073)))


def empty(raw: bytes, random: Random) -> bytes:
    return b""


Offer = tuple[Files, set[str]]  # what is handed out, and the names of what is damaged: a refusal says one, and no other


def in_a_file(damage: Callable[[bytes, Random], bytes], form: Format, random: Random) -> Offer:
    """Damage in a file before it is packed, or in the packing."""
    files = form.files(drawn(form.name))
    outside = form.offered(files)
    if random.random() < 0.5:
        path = random.choice(sorted(outside))
        return outside | {path: damage(outside[path], random)}, told(form, path)
    path = random.choice(sorted(files))
    return form.offered(files | {path: damage(files[path], random)}), told(form, path)


def told(form: Format, path: str) -> set[str]:
    """A file is known by its own name or that of the official file made of it, an archive by any file in it too."""
    name = Path(path).name
    if name == form.archive:
        return {name, *known(form)}
    if name == "train_lables.json":  # one label more or less moves all that follow
        return {name, *official(form)}
    made_of = {"test_lables": "test_batch", **dict.fromkeys((f"val_{i}" for i in range(IMAGES)), "images")}
    stem = made_of.get(Path(path).stem, Path(path).stem)
    return {name, *(file for file in official(form) if Path(file).stem == stem)}


def official(form: Format) -> tuple[str, ...]:
    return tuple(digests.FILES[form.name])


def known(form: Format) -> set[str]:
    """Every file of which a message can speak."""
    files = form.files(drawn(form.name))
    return {*official(form), *(Path(file).name for file in (*files, *form.offered(files)))}


def swapped_labels(form: Format, random: Random) -> Offer:
    """Two labels change places, of two splits where there are two."""
    splits = drawn(form.name)
    split = random.choice(sorted(splits))
    other = random.choice(sorted(set(splits) - {split}) or [split])
    a, b = random.sample(range(IMAGES), 2)
    labels = {name: y.copy() for name, (_, y) in splits.items()}
    labels[split][a], labels[other][b] = splits[other][1][b].copy(), splits[split][1][a].copy()
    swapped = {file for file in official(form) if file.startswith((split, other)) and "images" not in file}
    return form.offered(form.files({name: (x, labels[name]) for name, (x, _) in splits.items()})), swapped


def swapped_files(form: Format, random: Random) -> Offer:
    files = form.files(drawn(form.name))
    a = random.choice(sorted(files))
    b = random.choice(sorted(path for path in files if files[path] != files[a]))
    return form.offered(files | {a: files[b], b: files[a]}), told(form, a) | told(form, b)


def another_set(form: Format, random: Random) -> Offer:
    """A file of another set, or of another packing, under the right name."""
    strange = random.choice([f for f in FORMATS if (f.name, f.make) != (form.name, form.make)])
    content = strange.offered(strange.files(drawn(strange.name)))
    outside = form.offered(form.files(drawn(form.name)))
    path = random.choice(sorted(outside))
    foreign = content[random.choice(sorted(content))]
    return outside | {path: foreign}, told(form, path)


DAMAGES: Mapping[str, Callable[[Format, Random], Offer]] = MappingProxyType(
    {
        "flipped bits": partial(in_a_file, flip),
        "cut short": partial(in_a_file, cut),
        "overlong": partial(in_a_file, extend),
        "empty": partial(in_a_file, empty),
        "swapped labels": swapped_labels,
        "swapped files": swapped_files,
        "another set": another_set,
    }
)
PAIRS = [(form, kind) for form in FORMATS for kind in DAMAGES]


# --- what must come of them -------------------------------------------------------------------------------------------


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is both $NINY_DATA and what an `npm` of ours packs from."""
    folder = tmp_path / "shop"
    folder.mkdir()
    monkeypatch.setenv("NINY_DATA", str(folder))
    script = tmp_path / "bin" / "npm"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\ncp "{folder}/made.tgz" made.tgz && echo made.tgz\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=os.pathsep)
    monkeypatch.setattr(sources, "TINY_IMAGES", IMAGES)
    return folder


def declare(form: Format, monkeypatch: pytest.MonkeyPatch) -> Files:
    """What this format's images are in the official form becomes the official release."""
    splits = drawn(form.name)
    make = {"mnist": idx, "svhn": form.make, "tiny-imagenet-val": tiny}.get(form.name, records)
    made = make(form.name, splits)
    if form.name == "tiny-imagenet-val":
        names = [f"val/images/val_{i}.JPEG" for i in range(IMAGES)]
        made["images.zip"] = zipped({Path(name).name: made.pop(name) for name in names})
        made = {Path(file).name: data for file, data in made.items()}
    sums = {file: f"sha1:{hashlib.sha1(made[file]).hexdigest()}" for file in digests.FILES[form.name]}
    monkeypatch.setitem(digests.FILES, form.name, sums)
    return made


def zipped(content: Files) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in content.items():
            entry = zipfile.ZipInfo(name)
            entry.create_system = 3
            archive.writestr(entry, data)
    return buffer.getvalue()


def clear(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()


def offer(shop: Path, files: Files) -> None:
    clear(shop)
    for name, data in files.items():
        (shop / name).parent.mkdir(parents=True, exist_ok=True)
        (shop / name).write_bytes(data)


def held(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def use(name: str, store: Path) -> None:
    load_tiny_imagenet_val(store) if name == "tiny-imagenet-val" else load(name, store)


def taken(form: Format, store: Path, made: Files, names: set[str]) -> bool:
    """Whether the set is taken: then it is the official one, else one line names the damaged file, none that is whole,
    and nothing is kept."""
    clear(store)
    try:
        fetch(form.name, store, [form.source], say=lambda _: None)
    except NinyError as refusal:
        said = str(refusal)
        named = set(re.split(r"[\s/:;,()'\"]+", said)) & known(form)
        assert named, f"{said} names no file"
        assert named <= names, f"{said} names others than {sorted(names)}"
        assert "\n" not in said
        with pytest.raises(NinyError):
            use(form.name, store)
    kept = held(store / form.name)
    assert all(made[file] == data for file, data in kept.items()), "a damaged file was kept"
    assert {path.name for path in store.iterdir()} <= {form.name}, "something was left behind"
    return set(kept) == set(made)


def damaged_at_rest(form: Format, store: Path, made: Files, random: Random) -> None:
    """Damage that comes after the set was fetched is found whenever it is used."""
    file = random.choice(sorted(made))
    (store / form.name).mkdir(parents=True, exist_ok=True)
    for name, data in made.items():
        (store / form.name / name).write_bytes(data)
    verify(form.name, store)
    spoilt = random.choice((flip, cut, extend, empty))(made[file], random)
    (store / form.name / file).write_bytes(spoilt)
    if spoilt == made[file]:  # two flips of the same bit
        return
    for check in (verify, use) if file != "wnids.txt" else (verify,):  # which nothing uses
        with pytest.raises(NinyError, match=file):
            check(form.name, store)


def attack(
    monkeypatch: pytest.MonkeyPatch, shop: Path, store: Path, wanted: int, random: Random
) -> tuple[Counter[tuple[Format, str]], int]:
    """Damage after damage, until `wanted` were refused and each kind in each format was: how often, by pair, and how
    many did no harm."""
    refused: Counter[tuple[Format, str]] = Counter()
    harmless = 0
    for form, kind in cycle(random.sample(PAIRS, len(PAIRS))):
        if refused.total() >= wanted and len(refused) == len(PAIRS):
            break
        if refused.total() >= wanted and (form, kind) in refused:
            continue
        made = declare(form, monkeypatch)
        files, names = DAMAGES[kind](form, random)
        if files != form.offered(form.files(drawn(form.name))):
            offer(shop, files)
            if taken(form, store, made, names):
                assert not form.exact, "a damaged file was taken"
                assert harmless < wanted + 500, f"{kind} in {form} is never refused"
                harmless += 1
            else:
                refused[form, kind] += 1
        damaged_at_rest(form, store, made, random)
    return refused, harmless


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: f"{form.make.__name__}-{form.archive or form.folder}")
def test_what_is_not_damaged_is_taken(
    form: Format, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = declare(form, monkeypatch)
    offer(shop, form.offered(form.files(drawn(form.name))))
    assert taken(form, tmp_path / "store", made, set())
    use(form.name, tmp_path / "store")


def test_every_kind_of_damage_is_refused_in_every_format(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "store").mkdir()
    refused, _ = attack(monkeypatch, shop, tmp_path / "store", 0, Random(0))
    assert set(refused) == set(PAIRS)


@pytest.mark.torture("damaged-data")
def test_a_thousand_damages_are_refused(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    (tmp_path / "store").mkdir()
    refused, harmless = attack(monkeypatch, shop, tmp_path / "store", 1000, Random(1312))
    tally.count = refused.total() + harmless
    tally.found = (
        f"{refused.total():,} refused by the name of what was damaged and nothing of them kept, each of "
        f"{len(DAMAGES)} kinds in each of {len(FORMATS)} formats at least {plural(min(refused.values()), 'time')}; the "
        f"other {harmless} were in bytes of a packing that carry no data, and gave the official files"
    )
    assert refused.total() >= 1000
    assert set(refused) == set(PAIRS)


# --- archives and pickles that mean harm ------------------------------------------------------------------------------


def entry(name: str, **settings: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    for key, value in settings.items():
        setattr(made, key, value)
    return made


HOSTILE = (
    entry("../outside"),
    entry("package/../../outside"),
    entry("/tmp/niny-outside"),
    entry("package/link", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    entry("package/link", type=tarfile.SYMTYPE, linkname="data_batch_1.png"),
    entry("package/link", type=tarfile.LNKTYPE, linkname="package/train_lables.json"),
    entry("package/pipe", type=tarfile.FIFOTYPE),
    entry("package/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
    entry("package/disk", type=tarfile.BLKTYPE),
    entry("package/huge", size=1 << 40),
)


def hostile_archive(entries: Sequence[tarfile.TarInfo], files: Files) -> bytes:
    """The whole of the true archive with these entries in front of it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for one in (*entries, *(entry(name, size=len(data)) for name, data in files.items())):
            data = files.get(one.name, b"")
            if one.size == len(data):
                archive.addfile(one, io.BytesIO(data))
            else:
                archive.fileobj.write(one.tobuf())  # type: ignore[union-attr]  # open for writing: there is one
    return buffer.getvalue()


def refuse_archive(
    form: Format, entries: Sequence[tarfile.TarInfo], shop: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = declare(form, monkeypatch)
    offer(shop, {form.archive: hostile_archive(entries, form.files(drawn(form.name)))})
    assert not taken(form, store, made, {form.archive})
    assert not (store.parent / "outside").exists()
    assert not Path("/tmp/niny-outside").exists()


ARCHIVED = [form for form in FORMATS if form.archive]


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda one: f"{one.name}-{one.type.decode()}")
def test_archives_with_links_devices_and_paths_that_leave_are_refused(
    hostile: tarfile.TarInfo, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    store.mkdir()
    for form in ARCHIVED:
        refuse_archive(form, [hostile], shop, store, monkeypatch)


def test_a_gzip_file_that_grows_without_end_is_refused(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = next(form for form in FORMATS if form.gzipped)
    made = declare(form, monkeypatch)
    files = form.offered(form.files(drawn("mnist")))
    path = sorted(files)[0]
    offer(shop, files | {path: gzip.compress(bytes(1 << 27), 1)})
    (tmp_path / "store").mkdir()
    assert not taken(form, tmp_path / "store", made, {Path(path).name})


class Trap:
    def __init__(self, call: Callable[..., object], *given: object) -> None:
        self.call, self.given = call, given

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call, self.given


def traps(proof: Path) -> list[object]:
    """Objects that would do something when they are unpickled."""
    import builtins
    import subprocess

    return [
        Trap(os.mkdir, str(proof)),
        Trap(os.system, f"mkdir {proof}"),
        Trap(subprocess.check_call, ["mkdir", str(proof)]),
        Trap(builtins.eval, f"__import__('os').mkdir({str(proof)!r})"),
        Trap(builtins.exec, f"import os; os.mkdir({str(proof)!r})"),
        Trap(getattr, "text", "upper"),
        Trap(np.load, str(proof)),
        Trap(np.fromfile, "/etc/passwd", np.uint8),
        Trap(np.memmap, str(proof), np.uint8, "w+", 0, (4,)),
        Trap(np.save, str(proof), np.zeros(3)),
        Path(proof),
        Counter(a=1),
        complex(1, 2),
        np.array([Trap(os.mkdir, str(proof))], object),
        np.zeros(3, "f4"),
        np.zeros(3, [("a", "u1")]),
    ]


def placed(trap: object, i: int) -> object:
    """The trap as the whole, as a value, in a list, in a dict of a dict."""
    return (trap, {"data": trap, "labels": [1]}, {"data": [trap]}, {"a": {"b": {"c": trap}}})[i]


def spring(proof: Path) -> Iterator[str]:
    """Every trap in every place and protocol; what is left is what was said."""
    for trap in traps(proof):
        for i in range(4):
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
                raw = pickle.dumps(placed(trap, i), protocol)
                try:
                    unpickle(raw)
                except (NinyError, pickle.UnpicklingError) as error:
                    yield str(error)
                else:
                    pytest.fail(f"{trap} in place {i}, protocol {protocol}, was opened")
    assert not proof.exists()


def test_pickles_make_arrays_strings_lists_and_dicts_alone(tmp_path: Path) -> None:
    assert len(list(spring(tmp_path / "proof"))) > 300
    plain = {"data": np.arange(6, dtype=np.uint8).reshape(2, 3, order="F"), "names": ["a", {"b": [1, 2.5, None, True]}]}
    for protocol in (2, 3, 4):
        again = unpickle(pickle.dumps(plain, protocol)) if protocol > 3 else unpickle(python2(protocol))
        assert again["names" if protocol > 3 else "labels"]


def python2(protocol: int) -> bytes:
    """As CIFAR's own files are: arrays of Python 2 strings."""
    return (
        b"\x80\x02}(U\x06labels]K\x07aU\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x01K\x03\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x03ABCtbu."
    )


def test_labels_that_would_grow_without_end_are_refused(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = next(form for form in FORMATS if form.make is pickles)
    made = declare(form, monkeypatch)
    endless: object = 1
    for _ in range(40):
        endless = [endless] * 10
    files = form.files(drawn(form.name))
    path = f"{form.folder}/data_batch_2"
    for labels in (endless, [endless] * IMAGES, [1.5] * IMAGES, [-1] * IMAGES, [256] * IMAGES, "123", [1], None):
        batch = {"data": np.zeros((IMAGES, 3072), np.uint8), "labels": labels}
        offer(shop, files | {path: pickle.dumps(batch, 4)})
        (tmp_path / "store").mkdir(exist_ok=True)
        assert not taken(form, tmp_path / "store", made, {"data_batch_2"})


@pytest.mark.torture("hostile-archives")
def test_hostile_archives_and_pickles_in_every_order(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    random, store = Random(1312), tmp_path / "store"
    store.mkdir()
    for _ in range(200):
        entries = random.sample(HOSTILE, random.randint(1, 3))
        refuse_archive(random.choice(ARCHIVED), entries, shop, store, monkeypatch)
        tally.count += 1
    archives = tally.count
    for _ in spring(tmp_path / "proof"):
        tally.count += 1
    raw = pickle.dumps({"data": np.zeros((3, 3072), np.uint8), "labels": [1, 2, 3]}, 2)
    for _ in range(20_000):  # random damage of a true pickle: an answer or an error, and no crash of the process
        tally.count += 1
        spoilt = random.choice((flip, cut, extend))(raw[:200], random) + raw[200:]
        with contextlib.suppress(Exception):
            unpickle(spoilt)
    tally.found = f"{archives} archives refused, nothing outside their folder; no pickle ran code or stopped the reader"
