"""Weights files that lie, would run code or are damaged: one clear error each, in bounded memory and time."""

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from conftest import ROOT
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from PIL import Image
from reliability import Tally
from test_models import caffe_message
from torch import Tensor

from niny.errors import NinyError
from niny.models import nin_cifar
from niny.models.caffe import read_caffemodel
from niny.models.loading import read_cifar, read_raw
from niny.models.weights import LARGEST, save_weights

PEAK = 1_000_000_000  # bytes that a reader may take, torch itself included
PEAK_SAID = 'print(*(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))'

READ = """
import sys
from pathlib import Path
from niny.errors import NinyError
from niny.models.loading import read_cifar

for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        read_cifar(path)
        print(path.name, "READ")
    except NinyError as error:
        print(error)
"""
PREDICT = """
import sys
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from niny.cli import main

for path in sorted(Path(sys.argv[1]).iterdir()):
    with redirect_stderr(StringIO()) as said:
        code = main(["predict", sys.argv[2], "--weights", str(path)])
    print(said.getvalue().removesuffix("\\n") if code == 1 else f"{path.name} READ")
"""


def read_all(code: str, *words: str) -> tuple[list[str], int]:
    """What `code`, in a process of its own, says of each file, and its peak memory in bytes."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code + PEAK_SAID, *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    *said, peak = done.stdout.splitlines()
    return said, int(peak)


def held_up(folder: Path, code: str = READ, *words: str) -> int:
    """Every file of the folder is refused with one line that names it, in bounded memory; how many there are."""
    names = sorted(path.name for path in folder.iterdir())
    said, peak = read_all(code, str(folder), *words)
    assert len(said) == len(names)
    assert not [line for name, line in zip(names, said, strict=True) if name not in line or line.endswith("READ")]
    assert peak < PEAK
    return len(names)


# --- safetensors ------------------------------------------------------------------------------------------------------


def safetensors(header: Any, body: bytes = bytes(64), size: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if size is None else size).to_bytes(8, "little") + text + body


def entry(**changes: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]} | changes


def false_headers() -> dict[str, bytes]:
    many = {str(i): entry() for i in range(12_000)}
    true = json.dumps({"cccp6.bias": entry()}).encode()
    headers: list[Any] = [
        *(
            {"cccp6.bias": entry(data_offsets=o)}
            for o in ([0, 65], [-64, 0], [64, 0], [0, 1 << 62], [0], "ab", [0.0, 64])
        ),
        *({"cccp6.bias": entry(shape=s)} for s in ([-1], [17], [1 << 62, 1 << 62], [4, -4, -1], "16", None, [1e30])),
        *({"cccp6.bias": entry(dtype=d)} for d in ("F64", "O", "", None, ["F32"], "I8")),
        *({"cccp6.bias": e} for e in (None, [], {}, "x", 1)),
        *(h for h in ([], "text", 1, None, {"__metadata__": []}, {"__metadata__": {"scale": 1}})),
        {"__metadata__": {"experiment": "cifar10-nin"}, "cccp6.bias": entry()},
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xff\xfe{}",
        b"{'a': 1}",
        true[:-1],
    ]
    files = {f"header-{i:02}": safetensors(header) for i, header in enumerate(headers)}
    files |= {
        f"length-{n}": safetensors(true, size=n) for n in (0, 1, len(true) - 1, len(true) + 65, 1 << 63, 2**64 - 1)
    }
    files["overlapping"] = safetensors(many, bytes(1 << 20), None)
    return {f"{name}.safetensors": raw for name, raw in files.items()} | {
        "empty.safetensors": b"",
        "s.safetensors": b"7",
    }


# --- Caffe and MXNet --------------------------------------------------------------------------------------------------


def lying_caffe() -> dict[str, bytes]:
    """Messages that end before they say they do, and small ones that ask for many objects or much memory."""
    blob = caffe_message(7, caffe_message(1, b"\x10")) + caffe_message(5, bytes(64))
    layer = caffe_message(1, b"conv1") + caffe_message(7, blob)
    files = {
        "layers": b"".join(caffe_message(100, caffe_message(1, b"%d" % i)) for i in range(40_000)),
        "blobs": caffe_message(100, caffe_message(1, b"a") + caffe_message(7, b"") * 1_000_000),
        "axes": caffe_message(100, caffe_message(7, caffe_message(7, caffe_message(1, b"\1" * 4_000_000)))),
        "shape": caffe_message(100, caffe_message(7, caffe_message(7, caffe_message(1, (b"\xff" * 8 + b"\x7f") * 4)))),
        "negative": caffe_message(100, caffe_message(7, caffe_message(7, caffe_message(1, b"\xff" * 9 + b"\1")))),
        "odd": caffe_message(100, caffe_message(7, caffe_message(5, bytes(63)))),
        "name": caffe_message(100, caffe_message(1, b"\xff\xfe")),
        "number": caffe_message(100, 7),
        "endless": b"\xff" * 1000,
        "group": b"\x0b\x0c",
        "half": caffe_message(100, layer)[:-9],
        "nan": caffe_message(
            100, caffe_message(1, b"cccp6") + caffe_message(7, blob.replace(bytes(64), b"\xff" * 64)) * 2
        ),
    }
    files |= {f"length-{n}": b"\xa2\x06" + varint(n) + layer for n in (0, 1 << 31, 1 << 40, 2**63, 2**64 - 1)}
    return {f"{name}.caffemodel": raw for name, raw in files.items()}


def varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def lying_mxnet() -> dict[str, bytes]:
    start, version = struct.pack("<QQ", 0x112, 0), struct.pack("<Ii", 0xF993FAC9, 0)

    def file(count: int, *parts: bytes) -> bytes:
        return start + struct.pack("<Q", count) + b"".join(parts)

    def array(*shape: int, axes: int | None = None) -> bytes:
        head = struct.pack("<I", len(shape) if axes is None else axes)
        return version + head + struct.pack(f"<{len(shape)}q", *shape) + struct.pack("<iii", 1, 0, 0)

    empty = array(0)
    files = {
        "many": file(1_000_000, empty * 1_000_000, struct.pack("<Q", 1_000_000)),
        "huge": file(1, array(1 << 40, 1 << 20)),
        "overflow": file(1, array(1 << 62, 1 << 62, 0), struct.pack("<QQ", 1, 1), b"a"),
        "nothing": file(0, struct.pack("<Q", 0)),
        "axes": file(1, array(2, axes=1 << 31)),
        "negative": file(1, array(-4)),
        "names": file(1, empty, struct.pack("<QQ", 1, 1 << 60), b"a"),
        "unnamed": file(1, empty, struct.pack("<QQ", 1, 2), b"\xff\xfe"),
        "counted": file(2**64 - 1),
        "empty": b"",
    }
    return {f"{name}.params": raw for name, raw in files.items()}


# --- PyTorch ----------------------------------------------------------------------------------------------------------


class Hostile:
    def __init__(self, call: Callable[..., object], *given: object) -> None:
        self.call, self.given = call, given

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call, self.given


def hostile_pickles(proof: Path) -> dict[str, bytes]:
    calls = [
        Hostile(os.mkdir, str(proof)),
        Hostile(os.system, f"mkdir {proof}"),
        Hostile(subprocess.check_call, ["mkdir", str(proof)]),
        Hostile(eval, f"__import__('os').mkdir({str(proof)!r})"),
        Hostile(torch.load, str(proof)),
        Hostile(getattr, "a", "upper"),
    ]
    files = {}
    for i, call in enumerate(calls):
        for j, content in enumerate((call, {"state_dict": call}, {"cccp6.bias": call}, OrderedDict(a=[call]))):
            files[f"zip-{i}-{j}.pth"] = saved(content)
            files[f"old-{i}-{j}.pt"] = saved(content, _use_new_zipfile_serialization=False)
            files[f"bare-{i}-{j}.tar"] = pickle.dumps(content)
    return files


def saved(content: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def strange_states() -> dict[str, bytes]:
    """States without any code in them that ask for much memory, or are no weights."""
    one = torch.zeros(1)
    half = torch.zeros(1 << 22, dtype=torch.float16)
    state = nin_cifar(width=0.05).state_dict()
    contents = {
        "expanded": {"cccp6.bias": one.expand(1 << 40)},
        "expanded-half": {"cccp6.bias": one.half().expand(1 << 36)},
        "shared": {str(i): half for i in range(400)},
        "sparse": {"cccp6.bias": torch.zeros(10).to_sparse()},
        "complex": {"cccp6.bias": torch.zeros(10, dtype=torch.complex64)},
        "meta": {"cccp6.bias": torch.zeros(1 << 40, device="meta")},
        "classes": {"cccp6.bias": torch.zeros(1 << 20)},
        "nan": state | {"mlpconv1.conv1.weight": state["mlpconv1.conv1.weight"] * float("nan")},
        "list": [one],
        "number": 3,
        "nested": {"state_dict": {"state_dict": {"a": one}}},
    }
    files = {f"{name}.pth": saved(content) for name, content in contents.items()}
    return files | {"bomb.pth": inflated(saved({"cccp6.bias": one}))}


def inflated(raw: bytes) -> bytes:
    """The same archive with an entry of a gigabyte of zeros, which takes a megabyte."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(raw)) as old,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new,
    ):
        for item in old.infolist():
            data = old.read(item)
            new.writestr(item.filename, bytes(LARGEST + 1) if item.filename.endswith("data/0") else data)
    return buffer.getvalue()


def damaged(count: int, random: Random, folder: Path) -> int:
    """True files with random damage: read, or refused with one line; every answer within seconds."""
    state = nin_cifar(width=0.05).state_dict()
    save_weights(folder / "true.safetensors", state, {"experiment": "cifar10-nin", "scale": "paper"})
    true = {
        ".safetensors": (folder / "true.safetensors").read_bytes(),
        ".pth": saved(state),
        ".pt": saved(dict(list(state.items())[:4]), _use_new_zipfile_serialization=False),
    }
    for _ in range(count):
        suffix = random.choice(sorted(true))
        path = folder / f"spoilt{suffix}"
        path.write_bytes(spoil(true[suffix], random))
        start = time.monotonic()
        for read in (read_raw, read_cifar):
            try:
                read(path)
            except NinyError as error:
                said = str(error)
                if path.name not in said or "\n" in said:
                    pytest.fail(said)
        assert time.monotonic() - start < 10
    return count


def spoil(raw: bytes, random: Random) -> bytes:
    spoilt = bytearray(raw)
    for _ in range(random.choice((1, 3, 20))):
        place = random.choice((random.randrange(len(raw)), random.randrange(min(len(raw), 3000))))
        spoilt[place] = random.randrange(256)
    return bytes(spoilt[: random.randrange(len(raw))] if random.random() < 0.2 else spoilt)


def battery(folder: Path, through_predict: Sequence[str] = ("*",)) -> int:
    """All such files through the reader, and those that are asked for through `niny predict`."""
    proof = folder / "proof"
    files = write_battery(folder / "files", proof)
    image = folder / "image.png"
    Image.new("RGB", (32, 32)).save(image)
    count = held_up(files)
    wanted = {path for pattern in through_predict for path in files.glob(pattern)}
    assert wanted
    for path in set(files.iterdir()) - wanted:
        path.unlink()
    assert held_up(files, PREDICT, str(image)) == len(wanted)
    assert not proof.exists()
    return count


def write_battery(folder: Path, proof: Path) -> Path:
    folder.mkdir(parents=True)
    files = false_headers() | lying_caffe() | lying_mxnet() | hostile_pickles(proof) | strange_states()
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    for suffix in (".safetensors", ".caffemodel", ".params", ".pth"):
        with (folder / f"sparse{suffix}").open("wb") as file:
            file.truncate(40 << 30)  # bytes that no disk holds and no reader should ask for
    return folder


def test_files_that_lie_or_would_run_code_are_refused_in_bounded_memory(tmp_path: Path) -> None:
    assert battery(tmp_path, ("sparse*", "bomb*", "expanded*", "layers*", "many*", "zip-0-0*")) > 100


def test_damaged_weights_are_read_or_refused_by_name(tmp_path: Path) -> None:
    damaged(60, Random(0), tmp_path)


@pytest.mark.torture("hostile-weights")
def test_two_thousand_damaged_weights_files(tmp_path: Path, tally: Tally) -> None:
    tally.count = battery(tmp_path / "battery")
    refused = tally.count
    tally.count += damaged(2000, Random(1312), tmp_path)
    tally.found = (
        f"{refused} files that lie or would run code refused within 1 GB, by the readers and by niny predict; "
        f"2,000 random damages crash nothing"
    )


# --- the reader of Caffe's files, fuzzed ------------------------------------------------------------------------------


def fields(inner: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """A field of a message: a length of bytes, which may be a message, a varint, fixed bytes, or one that lies."""
    number = st.sampled_from((1, 2, 3, 4, 5, 6, 7, 8, 100, 1 << 28))
    whole = st.builds(caffe_message, number, st.one_of(inner, st.integers(0, 2**64 - 1)))
    lying = st.builds(
        lambda n, size, raw: varint(n << 3 | 2) + varint(size) + raw, number, st.integers(0, 2**64), inner
    )
    return st.one_of(whole, whole, whole, lying)


NUMBERS = st.lists(st.one_of(st.integers(0, 4), st.integers(0, 2**64)), max_size=5)
LEAVES = st.one_of(
    st.binary(max_size=40),
    NUMBERS.map(lambda numbers: b"".join(map(varint, numbers))),
    st.lists(st.floats(width=32), max_size=8).map(lambda values: struct.pack(f"<{len(values)}f", *values)),
)
MESSAGES = st.recursive(LEAVES, lambda inner: st.lists(fields(inner), max_size=4).map(b"".join), max_leaves=12)
FILES = st.one_of(st.binary(max_size=200), MESSAGES, MESSAGES.map(lambda raw: caffe_message(100, raw)))


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    raw = bytearray(draw(FILES))
    for _ in range(draw(st.integers(0, 3)) if raw else 0):
        raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
    return bytes(raw)


def read_or_refuse(raw: bytes, path: Path) -> None:
    path.write_bytes(raw)
    start = time.monotonic()
    try:
        layers = read_caffemodel(path)
    except NinyError as error:
        said = str(error)
        assert path.name in said
        assert "\n" not in said
    else:
        assert all(isinstance(blob, Tensor) for blobs in layers.values() for blob in blobs)
        assert sum(4 * blob.numel() for blobs in layers.values() for blob in blobs) <= len(raw)
    assert time.monotonic() - start < 5


def fuzz(path: Path, number: int, examples: int) -> int:
    """One round of examples; how many were tried."""
    tried = 0

    @seed(number)
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(mutated())
    def one(raw: bytes) -> None:
        nonlocal tried
        tried += 1
        read_or_refuse(raw, path)

    one()
    return tried


def test_the_reader_of_caffe_files_reads_or_refuses_any_bytes(tmp_path: Path) -> None:
    assert fuzz(tmp_path / "a.caffemodel", 0, 150) >= 150


@pytest.mark.torture("protobuf-fuzz")
def test_ten_minutes_of_messages_for_the_reader_of_caffe_files(tmp_path: Path, tally: Tally) -> None:
    end, rounds = time.monotonic() + 600, 0
    while time.monotonic() < end:
        rounds += 1
        tally.count += fuzz(tmp_path / "a.caffemodel", rounds, 2000)
    with suppress(FileNotFoundError):
        (tmp_path / "a.caffemodel").unlink()
    tally.found = f"ten minutes, {rounds} rounds of other seeds: each was read or refused with one line within 5 s"
