"""The data sets of section 4: fetched from any source, checked by digest, loaded, preprocessed and augmented.

`niny.data.preprocess` and `niny.data.augment` need torch and are imported by name; everything here needs numpy alone.
"""

from niny.data.digests import NAMES, verify
from niny.data.sets import Dataset, Split, TinyImageNetVal, describe, load, load_tiny_imagenet_val
from niny.data.sources import fetch

__all__ = [
    "NAMES",
    "Dataset",
    "Split",
    "TinyImageNetVal",
    "describe",
    "fetch",
    "load",
    "load_tiny_imagenet_val",
    "verify",
]
