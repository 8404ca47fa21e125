"""Any image people have as 8-bit RGB: files of all common kinds, PIL images, arrays, tensors.

Files are turned as their EXIF says; grey, palette, CMYK and 16-bit images become RGB; what is transparent becomes
white; of an animation the first frame is taken. Only formats that Pillow decodes by itself are opened.
"""

import io
import math
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from niny.errors import NinyError

MOST_BYTES = 5 << 26  # that decoding a file may take, beside what torch and a network do, to stay below a gigabyte
MANY_PIXELS = 1 << 24  # above which an image is averaged down at once, still to more than any network reads
STRIP = 256  # rows
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM", "ICO", "TGA")  # none runs a program


@dataclass(frozen=True)
class Photo:
    """An RGB image, what to call it, and what a reader should know of how it was read."""

    image: Image.Image
    name: str
    note: str | None = None


def read_image(path: Path) -> Photo:
    """Open an image file. Raises NinyError, one line, for what is broken, too large to be meant, or no image."""
    return _read(path, str(path))


def read_bytes(content: bytes, name: str) -> Photo:
    """An image file that is in memory, called `name`. Raises as `read_image` does."""
    return _read(io.BytesIO(content), name)


def _read(file: Path | io.BytesIO, name: str) -> Photo:
    with complaints(name):
        Image.init()
        with Image.open(file, formats=[kind for kind in FORMATS if kind in Image.OPEN]) as opened:
            _check_pixels(opened, name)
            _decode_smaller(opened)  # a caller's own image is left as it is
            return first_frame(opened, name)


def first_frame(image: Image.Image, name: str) -> Photo:
    """An opened image, turned as its EXIF says, as RGB; of an animation the frame that it stands at, the first."""
    frames = getattr(image, "n_frames", 1)
    if image.mode == "F" or (image.mode == "I" and image.format != "PPM"):  # of PPM Pillow makes 0..65535
        raise ValueError("pixels of 32 bits have no agreed range; save the image with 8 or 16 bits")
    _check_pixels(image, name)
    image.load()
    _check_pixels(image, name)  # an ICO file's header may tell another size than the image in it
    rgb = ImageOps.exif_transpose(_reduced(image))
    place = f"number {image.tell() + 1}" if image.tell() else "first"
    return Photo(rgb, name, f"{place} of {frames} frames" if frames > 1 else None)


@contextmanager
def complaints(name: str) -> Iterator[None]:
    """Whatever Pillow raises over a bad image becomes a NinyError of one line, so that a batch goes on without it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of metadata that is wrong but does no harm
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except UnidentifiedImageError:
        raise NinyError(f"{name} is no image that can be read here; PNG, JPEG and WebP can") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise NinyError(f"{name} has more than {MOST_BYTES // 8:,} pixels: shrink it first") from None
    except OSError as error:
        raise NinyError(f"cannot read {name}: {error.strerror or 'the image is damaged or cut short'}") from None
    except (ValueError, SyntaxError, EOFError, struct.error, MemoryError, IndexError, KeyError, TypeError) as error:
        raise NinyError(f"cannot read {name}: {' '.join(str(error).split()) or 'it is damaged':.100}") from None


def _check_pixels(image: Image.Image, name: str) -> None:
    """Measured: decoders of WebP and AVIF keep several copies, and of progressive JPEG all coefficients."""
    each = 16 if image.format in ("WEBP", "AVIF") else 12 if image.mode == "CMYK" else 8
    if image.width * image.height * each > MOST_BYTES:
        raise NinyError(f"{name} has more than {MOST_BYTES // each:,} pixels: shrink it first")


def _decode_smaller(image: Image.Image) -> None:
    """JPEG is averaged down as it is decoded, where it is large; other formats know no such way."""
    factor = _factor(image)
    image.draft(image.mode, (image.width // factor, image.height // factor))


def _factor(image: Image.Image) -> int:
    return max(1, math.ceil(math.sqrt(image.width * image.height / MANY_PIXELS)))


def _reduced(image: Image.Image) -> Image.Image:
    """The image as RGB; a large one averaged down, strip by strip, so that no second one of its size is made."""
    factor = _factor(image)
    small = Image.new("RGB", (-(-image.width // factor), -(-image.height // factor)))
    for top in range(0, image.height, STRIP * factor):
        strip = to_rgb(image.crop((0, top, image.width, min(top + STRIP * factor, image.height))))
        small.paste(strip.reduce(factor) if factor > 1 else strip, (0, top // factor))
    small.info["exif"] = image.getexif().tobytes()  # which may say how to turn it
    return small


def to_rgb(image: Image.Image) -> Image.Image:
    """Any kind of image as 8-bit RGB: 16 bits scaled down, transparency laid on white."""
    if image.mode.startswith("I"):  # 16 bits, which Pillow would clip at 255
        image = Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert("RGB")
    layered = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")


def is_batch(images: Any) -> bool:
    """Is this several images (a list, or an array with four axes) or one?"""
    if isinstance(images, (np.ndarray, Tensor)):
        return images.ndim == 4
    return isinstance(images, Sequence) and not isinstance(images, (str, bytes, bytearray))


def as_photo(image: Any, name: str = "image") -> Photo:
    """A path, PIL image, array (H x W, H x W x C) or tensor (C x H x W) as RGB.

    Arrays and tensors hold 0..255 (uint8), 0..65535 (uint16) or 0..1 (floats). Raises NinyError for anything else.
    """
    if isinstance(image, (str, Path)):
        return read_image(Path(image))
    if isinstance(image, Image.Image):
        name = str(getattr(image, "filename", "")) or name
        with complaints(name):
            return first_frame(image, name)
    if isinstance(image, Tensor):
        if image.ndim != 3:
            raise NinyError(f"{name}: a tensor is C x H x W, or N x C x H x W for a batch; got {tuple(image.shape)}")
        image = _values(image, name).permute(1, 2, 0).numpy()
    if isinstance(image, np.ndarray):
        return Photo(_from_array(image, name), name)
    raise NinyError(f"{name}: a {type(image).__name__} is no image; give a path, a PIL image, an array or a tensor")


def _values(tensor: Tensor, name: str) -> Tensor:
    """A tensor as numpy can take it over: dense, in memory, and not bfloat16, which numpy does not know."""
    if tensor.layout != torch.strided or tensor.is_meta:
        raise NinyError(f"{name}: a tensor without values in a row ({tensor.layout}, {tensor.device}) is no image")
    return tensor.detach().cpu().to(torch.float32 if tensor.is_floating_point() else tensor.dtype)


def _from_array(array: NDArray[Any], name: str) -> Image.Image:
    pixels = _bytes(array, name)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))) or not pixels.size:
        raise NinyError(f"{name}: an array is H x W or H x W x C with 1, 3 or 4 channels; got {array.shape}")
    return to_rgb(Image.fromarray(np.ascontiguousarray(pixels)))


def _bytes(array: NDArray[Any], name: str) -> NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        return (array // 257).astype(np.uint8)
    if array.dtype.kind == "f":
        if array.size and not (array.min() >= 0 and array.max() <= 1):  # also refuses what is no number
            raise NinyError(f"{name}: floats must lie in 0..1, got {array.min():.3g} to {array.max():.3g}")
        return np.asarray(np.rint(array * 255), np.uint8)
    raise NinyError(f"{name}: pixels are uint8, uint16 or floats in 0..1, got {array.dtype}")


def resize(photo: Photo, width: int, height: int) -> Image.Image:
    """Smaller by averaging what a pixel stands for, larger by cubic interpolation."""
    smaller = width <= photo.image.width and height <= photo.image.height
    return photo.image.resize((width, height), Image.Resampling.BOX if smaller else Image.Resampling.BICUBIC)


def middle_square(photo: Photo) -> Photo:
    """The largest square around the middle."""
    side = min(photo.image.size)
    left, top = ((length - side) // 2 for length in photo.image.size)
    return Photo(photo.image.crop((left, top, left + side, top + side)), photo.name, photo.note)


def pixels_of(image: Image.Image, channels: int) -> Tensor:
    """An RGB image as uint8 C x H x W, with 3 channels or, averaged by luminance, with 1."""
    values = np.array(image if channels == 3 else image.convert("L"))
    return torch.from_numpy(values).permute(2, 0, 1) if channels == 3 else torch.from_numpy(values)[None]
