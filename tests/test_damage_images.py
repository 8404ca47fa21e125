"""Images that are bombs, broken or unusual: `niny predict` answers or says one line for each, within a gigabyte."""

import io
import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image, features
from reliability import Tally
from test_damage_data import cut, extend, flip

from niny.models import nin_cifar
from niny.models.network import initialise
from niny.models.weights import save_weights

PEAK = 1_000_000_000  # bytes that niny predict may take, torch and the network included
PREDICT = """
import sys
from niny.cli import main
code = main(["predict", "--json", *sys.argv[1:]])
# not getrusage, whose peak is that of the process that started this one, where that is larger
print(*(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")), file=sys.stderr)
raise SystemExit(code)
"""


def predict(folder: Path, weights: Path, *words: str) -> tuple[dict[str, Any], int]:
    """What is said of each file of a folder by its name, and the peak memory."""
    paths = [str(path) for path in sorted(folder.iterdir())]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PREDICT, *paths, "--weights", str(weights), *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode in (0, 1), done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    answers = json.loads(done.stdout)
    assert [answer["image"] for answer in answers] == paths
    return {Path(answer["image"]).name: answer for answer in answers}, int(done.stderr.splitlines()[-1])


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "net.safetensors"
    net = nin_cifar()
    initialise(net, "centred", 0.0, 0)
    save_weights(path, net.state_dict(), {})
    return path


def picture(mode: str = "RGB", width: int = 60, height: int = 40) -> Image.Image:
    noise = np.random.default_rng(1).integers(0, 256, (40, 60, 4), np.uint8)
    return Image.fromarray(noise).convert(mode).resize((width, height), Image.Resampling.NEAREST)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(width: int, height: int, rows: bytes = b"", depth: int = 8, colour: int = 2) -> bytes:
    """A PNG file that says this size, whatever is in it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def unusual() -> dict[str, bytes]:
    """What must be answered."""
    sixteen = Image.fromarray(np.random.default_rng(2).integers(0, 65536, (40, 60)).astype(np.uint16))
    frames = [picture(), picture().rotate(90, expand=False)]
    return {
        "cmyk.jpg": encoded(picture("CMYK"), "JPEG"),
        "cmyk.tif": encoded(picture("CMYK"), "TIFF"),
        "lab.tif": encoded(picture().convert("YCbCr"), "TIFF"),
        "16-bit.png": encoded(sixteen, "PNG"),
        "16-bit.tif": encoded(sixteen, "TIFF"),
        "palette.gif": encoded(picture().convert("P"), "GIF"),
        "bilevel.png": encoded(picture("1"), "PNG"),
        "alpha.png": encoded(picture("RGBA"), "PNG"),
        "animated.gif": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "animated.png": encoded(frames[0], "PNG", save_all=True, append_images=frames[1:]),
        "animated.webp": encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        "pixel.png": encoded(picture(width=1, height=1), "PNG"),
        "line.png": encoded(picture(width=20_000, height=1), "PNG"),
        "progressive.jpg": encoded(picture(), "JPEG", progressive=True),
    }


def broken() -> dict[str, bytes]:
    """What must be refused."""
    true = {"png": encoded(picture(), "PNG"), "jpg": encoded(picture(), "JPEG"), "webp": encoded(picture(), "WEBP")}
    ico = struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, 1 << 10, 22)
    return {
        "empty.png": b"",
        "text.jpg": b"no image\n" * 100,
        "zero.png": png(0, 0),
        "no-height.png": png(10, 0),
        "bomb.png": png(60_000, 60_000, bytes(1 << 20)),
        "large.png": png(2**31 - 1, 2**31 - 1),
        "100-megapixels.png": png(10_000, 10_000, bytes(1 << 16)),
        "100-megapixels-16-bit.png": png(10_000, 10_000, bytes(1 << 16), 16, 0),
        "zero.gif": b"GIF89a" + bytes(7) + b";",
        "zero.bmp": b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 0, 0, 1, 24, 0, 0, 0, 0, 0, 0),
        "large.bmp": b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 1 << 30, 1 << 30, 1, 24, 0, 0, 0, 0, 0, 0),
        "large.ppm": b"P6 1000000 1000000 255\n" + bytes(100),
        "large.tif": b"II*\0\x08\0\0\0\2\0\0\1\4\0\1\0\0\0\xff\xff\xff\x7f\1\1\4\0\1\0\0\0\xff\xff\xff\x7f\0\0\0\0",
        "bomb.ico": ico + png(60_000, 60_000, bytes(1 << 20)),
        "picture.svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "picture.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n",
        **{f"half.{kind}": raw[: len(raw) // 2] for kind, raw in true.items()},
        **{f"head.{kind}": raw[:20] for kind, raw in true.items()},
    }


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    folder.mkdir()
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    return folder


def judge(answers: Mapping[str, Any], good: set[str], bad: set[str]) -> None:
    wrong = {name for name in good if "predictions" not in answers[name]} | {
        n for n in bad if "error" not in answers[n]
    }
    assert not wrong, {name: answers[name] for name in wrong}
    for name, answer in answers.items():
        if "error" in answer:
            assert name in answer["error"]
            assert "\n" not in answer["error"]
        else:
            assert np.isfinite([one["probability"] for one in answer["predictions"]]).all()


def test_unusual_images_are_answered_and_broken_ones_refused_within_a_gigabyte(tmp_path: Path, weights: Path) -> None:
    good, bad = unusual(), broken()
    answers, peak = predict(write(tmp_path / "images", good | bad), weights)
    judge(answers, set(good), set(bad))
    assert peak < PEAK


def test_maps_of_unusual_images_are_drawn_within_a_gigabyte(tmp_path: Path, weights: Path) -> None:
    some = {name: raw for name, raw in unusual().items() if name in ("cmyk.jpg", "16-bit.png", "animated.gif")}
    assert draw_maps(write(tmp_path / "images", some), weights, "--top", "2") < PEAK


def draw_maps(folder: Path, weights: Path, *words: str) -> int:
    """The peak memory of drawing the class maps of each file of a folder."""
    picture = folder.with_name(f"{folder.name}.png")
    answers, peak = predict(folder, weights, "--maps", str(picture), *words)
    judge(answers, set(answers), set())
    with Image.open(picture) as drawn:
        assert drawn.height > 150 * len(answers)  # a row for each
    return peak


def largest(name: str, kind: str, pixels: int, mode: str = "RGB", **options: Any) -> dict[str, bytes]:
    """An image of so many pixels."""
    side = int(pixels**0.5)
    return {name: encoded(picture(mode, side, side), kind, **options)}


def large() -> dict[str, bytes]:
    """The largest that are read of each kind, and photographs of 100 megapixels, which are refused."""
    most = (5 << 26) // 8
    files = largest("most.png", "PNG", most, "RGBA", compress_level=1) | largest("most.tif", "TIFF", most, "RGBA")
    files |= largest("most.jpg", "JPEG", most, progressive=True, subsampling=0)
    files |= largest("most-cmyk.jpg", "JPEG", most * 2 // 3, "CMYK", progressive=True)
    files |= largest("most.webp", "WEBP", most // 2, "RGBA", method=0)
    files |= largest("most.gif", "GIF", most, "P") | largest("most.bmp", "BMP", most)
    if features.check("avif"):
        files |= largest("most.avif", "AVIF", most // 2, speed=10)
    return files | largest("refused.jpg", "JPEG", 100_000_000) | largest("refused.bmp", "BMP", 89_000_000)


def test_a_large_photograph_is_averaged_down_as_the_whole_would_be(tmp_path: Path) -> None:
    """Strips, turned as EXIF says, whatever the format: the same picture as Pillow's own reduction of the whole."""
    from niny.images import MANY_PIXELS, read_image

    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)).resize((4301, 3999))
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, options, tolerance in (("a.png", {"compress_level": 1}, 0), ("a.jpg", {"quality": 95}, 12)):
        image.save(tmp_path / name, exif=exif, **options)
        read = read_image(tmp_path / name).image
        assert read.size[0] * read.size[1] <= MANY_PIXELS * 1.01
        true = image.reduce(2).transpose(Image.Transpose.ROTATE_270)
        assert read.size == true.size
        assert np.abs(np.asarray(read, int) - np.asarray(true, int)).max() <= tolerance


@pytest.mark.torture("hostile-images")
def test_hostile_images_of_all_kinds_and_sizes(tmp_path: Path, weights: Path, tally: Tally) -> None:
    good, bad, random = unusual(), broken(), Random(1312)
    answers, peak = predict(write(tmp_path / "images", good | bad), weights)
    judge(answers, set(good), set(bad))
    peaks = [peak]
    for name, raw in large().items():  # one by one, so that each has its own peak
        folder = write(tmp_path / f"large-{name}", {name: raw})
        answers, peak = predict(folder, weights)
        refused = name.startswith("refused")
        judge(answers, set() if refused else {name}, {name} if refused else set())
        (folder / name).unlink()
        peaks.append(peak)
        tally.count += 1
    photos = {"photo.png": encoded(picture(), "PNG"), "square.png": encoded(picture(width=40), "PNG")}
    sized = write(tmp_path / "sized", photos)
    peaks += [predict(sized, weights, "--size", str(size))[1] for size in (96, 256, 360)]
    batch_files = {f"{i}.jpg": encoded(picture("RGB", 5000 + i, 4000), "JPEG") for i in range(6)}
    batch = write(tmp_path / "batch", batch_files)
    peaks += [draw_maps(write(tmp_path / "unusual", good), weights), draw_maps(batch, weights, "--size", "256")]
    spoilt = {}
    for i in range(600):
        name, raw = random.choice(sorted((good | bad).items()))
        if raw:
            spoilt[f"{i}-{name}"] = random.choice((flip, cut, extend))(raw, random)
    answers, peak = predict(write(tmp_path / "spoilt", spoilt), weights)
    judge(answers, set(), set())
    peaks.append(peak)
    tally.count += 2 * len(good) + len(bad) + 2 * 3 + len(batch_files) + len(spoilt)
    said = sum("error" in answer for answer in answers.values())
    tally.found = (
        f"each answered or refused by name; of {len(spoilt)} with random damage {said} refused; "
        f"niny predict took at most {max(peaks) / 1e6:.0f} MB, with --size, --maps and several large photographs too"
    )
    assert max(peaks) < PEAK, peaks
