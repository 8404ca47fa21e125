"""What each data set of section 4 consists of: its files, and the digest that every one must have, whatever its source.

CIFAR: SHA-1 of the files of the official binary releases. SVHN: MD5 of the released .mat files, as torchvision lists
them. MNIST: SHA-1 of the four uncompressed idx files; their MD5s (6bbc9ace.., a25bea73.., 2646ac64.., 27ae3e4e..) are
the widely published ones, and gzip gives them the exact sizes of the official archives.
Two sets are stored in a form of this study's own, because their releases have none that fits one file per digest:
`digits.bin` (records as in CIFAR-10) and Tiny-ImageNet's `images.zip` (the unchanged JPEG files, stored in order).
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from niny.config import pick
from niny.errors import NinyError

FILES: dict[str, dict[str, str]] = {
    "cifar10": {
        "data_batch_1.bin": "sha1:aadd24acce27caa71bf4b10992e9e7b2d74c2540",
        "data_batch_2.bin": "sha1:c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
        "data_batch_3.bin": "sha1:1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
        "data_batch_4.bin": "sha1:aab85764eb3584312d3c7f65fd2fd016e36a258e",
        "data_batch_5.bin": "sha1:26e2849e66a845b7f1e4614ae70f4889ae604628",
        "test_batch.bin": "sha1:67eb016db431130d61cd03c7ad570b013799c88c",
    },
    "cifar100": {
        "train.bin": "sha1:e207cd2e05b73b1393c74c7f5e7bea451d63e08e",
        "test.bin": "sha1:8fb6623e830365ff53cf14adec797474f5478006",
    },
    "mnist": {
        "train-images-idx3-ubyte": "sha1:c3557c10f29b266e19b3eeee1553c85e0ef4a8ea",
        "train-labels-idx1-ubyte": "sha1:adbf52269f5d842899f287c269e2883e40b4f6e2",
        "t10k-images-idx3-ubyte": "sha1:65e11ec1fd220343092a5070b58418b5c2644e26",
        "t10k-labels-idx1-ubyte": "sha1:a6d52cc628797e845885543326e9f10abb8a6f89",
    },
    "svhn": {
        "train_32x32.mat": "md5:e26dedcc434d2e4c54c9b2d4a06d8373",
        "test_32x32.mat": "md5:eb5a983be6a315427106f1b164d9cef3",
        "extra_32x32.mat": "md5:a93ce644f1a588dc4d68dda5feec44a7",
    },
    "tiny-imagenet-val": {
        "images.zip": "sha1:afdf9e29c1b9b4a14ca11ee842c014a0d70e5792",
        "val_annotations.txt": "sha1:7a8029c9124a484bd839e5757cf25042e0bb0ede",
        "wnids.txt": "sha1:ea155a87f91c6a2ab05f12b06753c43fa69c0925",
        "words.txt": "sha1:17ecf5fa32ae3c51601a33b3f12c0b0f5ad9acf8",
    },
    "digits": {"digits.bin": "sha1:197d0f8e0cc2727e917879d0bf033ebea00c867a"},
}
NAMES = tuple(FILES)


def files_of(name: str) -> Mapping[str, str]:
    """File name -> "algorithm:hex digest" of a data set. Raises NinyError for an unknown name."""
    return pick(FILES, name, "data set")


def matches(data: bytes, digest: str) -> bool:
    algorithm, expected = digest.split(":")
    return hashlib.new(algorithm, data, usedforsecurity=False).hexdigest() == expected


def checked_bytes(name: str, file: str, root: Path) -> bytes:
    """The content of `root/name/file`, after checking it. Raises NinyError, naming the file, if it is absent or bad.

    Loading goes through here too: hashing costs a fraction of a second, and what was hashed is what is used.
    """
    path = root / name / file
    remedy = f"run `niny data fetch {name}`"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise NinyError(f"data set {name} is not here ({path} is missing): {remedy}") from None
    except OSError as error:
        raise NinyError(f"cannot read {path}: {error.strerror}") from error
    if not matches(data, files_of(name)[file]):
        raise NinyError(f"{path} is truncated or altered (wrong digest): {remedy}")
    return data


def verify(name: str, root: Path) -> None:
    """Check every file of a data set again. Raises NinyError naming the first bad one."""
    for file in files_of(name):
        checked_bytes(name, file, root)


def is_intact(name: str, root: Path) -> bool:
    """Are all files of a data set there, and undamaged?"""
    try:
        verify(name, root)
    except NinyError:
        return False
    return True
