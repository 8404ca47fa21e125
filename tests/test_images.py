"""Any image file people have is read, and what is none is one clear error."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from niny.errors import NinyError
from niny.images import as_photo, is_batch, middle_square, pixels_of, read_image, resize

RED = (200, 30, 40)


def picture() -> Image.Image:
    """Left half red, right half green: 12 x 8, so that a turn shows."""
    image = Image.new("RGB", (12, 8), RED)
    image.paste((20, 220, 30), (6, 0, 12, 8))
    return image


def close(image: Image.Image, tolerance: int = 12) -> bool:
    difference = np.abs(np.asarray(image, int) - np.asarray(picture(), int))
    return image.size == (12, 8) and image.mode == "RGB" and int(difference[:, [1, 2, 9, 10]].max()) <= tolerance


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.ppm", "a.tga", "a.webp", "a.jpg", "a.gif", "no_ending"])
def test_common_formats_are_read_whatever_the_file_is_called(tmp_path: Path, name: str) -> None:
    options = {"lossless": True} if name == "a.webp" else {"quality": 95, "subsampling": 0} if name == "a.jpg" else {}
    picture().save(tmp_path / name, None if "." in name else "PNG", **options)
    assert close(read_image(tmp_path / name).image)


def test_a_large_image_of_the_callers_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("niny.images.MANY_PIXELS", 100 * 100)
    Image.new("RGB", (400, 300), RED).save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as opened:
        assert max(as_photo(opened).image.size) <= 200
        assert opened.size == (400, 300)
    assert max(read_image(tmp_path / "a.jpg").image.size) <= 200


@pytest.mark.parametrize("mode", ["RGBA", "P", "CMYK", "YCbCr"])
def test_kinds_of_colour_become_rgb(tmp_path: Path, mode: str) -> None:
    image = picture().convert(mode, palette=Image.Palette.ADAPTIVE)
    image.save(tmp_path / "a", {"CMYK": "TIFF", "YCbCr": "JPEG"}.get(mode, "PNG"))
    assert close(read_image(tmp_path / "a").image, 25)


@pytest.mark.parametrize("mode", ["L", "1", "LA", "I;16"])
def test_grey_images_become_rgb(tmp_path: Path, mode: str) -> None:
    grey = np.tile(np.array([[0] * 6 + [255] * 6], np.uint8), (8, 1))
    if mode == "I;16":
        Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "a.png")
    else:
        Image.fromarray(grey).convert(mode).save(tmp_path / "a.png")
    read = np.asarray(read_image(tmp_path / "a.png").image)
    assert np.array_equal(read, np.repeat(grey[:, :, None], 3, 2))


def test_what_is_transparent_becomes_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    image.save(tmp_path / "a.png")
    assert (np.asarray(read_image(tmp_path / "a.png").image) == 255).all()


def test_a_photograph_is_turned_as_its_exif_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side; to be shown turned by 90 degrees
    picture().transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.jpg", exif=exif, quality=95, subsampling=0)
    assert close(read_image(tmp_path / "a.jpg").image)


@pytest.mark.parametrize("kind", ["gif", "png", "webp"])
def test_of_an_animation_the_first_frame_is_taken_and_that_is_said(tmp_path: Path, kind: str) -> None:
    frames = [Image.new("RGB", (12, 8), "blue"), Image.new("RGB", (12, 8), "white")]
    options = {"lossless": True} if kind == "webp" else {}
    picture().save(tmp_path / f"a.{kind}", save_all=True, append_images=frames, **options)
    photo = read_image(tmp_path / f"a.{kind}")
    assert close(photo.image)
    assert photo.note == "first of 3 frames"
    assert as_photo(picture()).note is None
    with Image.open(tmp_path / f"a.{kind}") as opened:
        assert as_photo(opened).note == "first of 3 frames"
        opened.seek(2)
        assert as_photo(opened).note == "number 3 of 3 frames"


def bomb() -> bytes:
    """A PNG of some bytes that says it is 100,000 x 100,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "no image that can be read"),
        (b"%PDF-1.4 not a picture", "no image that can be read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image that can be read"),
        (b"# a text\n", "no image that can be read"),
        (png()[:-900], "cannot read"),
        (png()[:60] + b"\xff" * 200 + png()[260:], "cannot read"),
        (bomb(), "pixels: shrink it first"),
    ],
    ids=["empty", "pdf", "postscript", "text", "cut", "damaged", "bomb"],
)
def test_what_is_no_image_is_one_clear_line(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "thing.png"
    path.write_bytes(content)
    with pytest.raises(NinyError, match=complaint) as caught:
        read_image(path)
    assert "thing.png" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_without_an_agreed_range_are_refused_rather_than_guessed(tmp_path: Path, mode: str) -> None:
    image = picture().convert("L").convert(mode)  # 0..255 in 32 bits: read as 16 bits they would be black
    image.save(tmp_path / "a.tif")
    for given in (tmp_path / "a.tif", image):
        with pytest.raises(NinyError, match="32 bits have no agreed range"):
            as_photo(given)


def test_a_pgm_of_16_bits_has_its_range(tmp_path: Path) -> None:
    values = np.array([[0, 32896, 65535]], ">u2")
    (tmp_path / "a.pgm").write_bytes(b"P5\n3 1\n65535\n" + values.tobytes())
    assert np.asarray(read_image(tmp_path / "a.pgm").image)[0, :, 0].tolist() == [0, 128, 255]


def closed() -> Image.Image:
    image = Image.open(io.BytesIO(png()))
    image.close()
    return image


@pytest.mark.parametrize("open_image", [lambda: Image.open(io.BytesIO(png()[:-900])), closed], ids=["cut", "closed"])
def test_a_pil_image_that_cannot_be_decoded_is_one_clear_line_too(open_image: Callable[[], Image.Image]) -> None:
    with pytest.raises(NinyError, match="cannot read image 7: ") as caught:
        as_photo(open_image(), "image 7")
    assert "\n" not in str(caught.value)


def test_no_file_and_a_folder_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(NinyError, match="No such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(NinyError, match="directory"):
        read_image(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_file_that_may_not_be_read_is_one_clear_line(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.png")
    (tmp_path / "a.png").chmod(0)
    with pytest.raises(NinyError, match="Permission denied"):
        read_image(tmp_path / "a.png")


def test_arrays_and_tensors_are_the_same_image() -> None:
    array = np.asarray(picture())
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    given = [array, array / 255, array.astype(np.uint16) * 257, tensor, tensor.float() / 255]
    assert np.array_equal(np.asarray(as_photo((tensor > 99).bfloat16()).image), (array > 99) * np.uint8(255))
    for image in given:
        assert np.array_equal(np.asarray(as_photo(image).image), array)
    assert as_photo(array[:, :, 0]).image.mode == "RGB"
    assert as_photo(tensor[:1]).image.size == (12, 8)


@pytest.mark.parametrize(
    ("image", "complaint"),
    [
        (np.full((4, 4, 3), 2.5), r"0\.\.1"),
        (np.full((4, 4, 3), np.nan), r"0\.\.1"),
        (np.zeros((4, 4, 5), np.uint8), "channels"),
        (np.zeros((0, 4, 3), np.uint8), "channels"),
        (np.zeros((4, 4), np.int64), "int64"),
        (torch.zeros(8, 8), "C x H x W"),
        (torch.zeros(3, 8, 8, device="meta"), "without values"),
        (torch.zeros(3, 8, 8).to_sparse(), "without values"),
        (png(), "bytes is no image"),
        (3.5, "float is no image"),
    ],
)
def test_an_array_that_is_no_image_is_one_clear_line(image: object, complaint: str) -> None:
    with pytest.raises(NinyError, match=complaint):
        as_photo(image)


def test_a_list_and_four_axes_are_several_images() -> None:
    assert is_batch([picture()])
    assert is_batch(np.zeros((2, 4, 4, 3)))
    assert is_batch(torch.zeros(2, 3, 4, 4))
    assert not any(map(is_batch, ("a.png", png(), Path("a.png"), picture(), np.zeros((4, 4, 3)), torch.zeros(3, 4, 4))))


def test_an_image_of_the_right_size_is_left_as_it_is_and_a_larger_one_averaged() -> None:
    photo = as_photo(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
    assert np.array_equal(np.asarray(resize(photo, 32, 32)), np.asarray(photo.image))
    checks = as_photo(np.tile(np.array([[0, 255], [255, 0]], np.uint8), (16, 16)))
    assert set(np.unique(np.asarray(resize(checks, 16, 16)))) <= {127, 128}
    assert middle_square(as_photo(picture())).image.size == (8, 8)
    assert pixels_of(picture(), 3).shape == (3, 8, 12)
    assert pixels_of(picture(), 1).shape == (1, 8, 12)
