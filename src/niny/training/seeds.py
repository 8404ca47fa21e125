"""Every random number of a run comes from one root seed.

A seed is derived from the root, the number of the run and what it is for, but not from the experiment: seed 3 of two
experiments starts from the same draws and sees the images in the same order, so ablations can be paired by seed. Each
epoch has its own seeds, so a run that is resumed at an epoch continues exactly as if it had never stopped.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

from niny.config import SOURCES


def derive(root: int, *keys: int | str) -> int:
    """A 63-bit seed that depends on the root and every key, in order."""
    text = "/".join(map(str, (root, *keys)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@dataclass(frozen=True)
class Seeds:
    """The seeds of one attempt at one run; `attempt` rises when an earlier attempt collapsed.

    What does not vary from run to run has the seeds of the first attempt at run 0.
    """

    root: int
    number: int
    attempt: int = 0
    varies: Collection[str] = SOURCES

    def of(self, purpose: str, epoch: int = 0) -> int:
        """`purpose` is one of init, order, masks, augmentation."""
        number, attempt = (self.number, self.attempt) if purpose in self.varies else (0, 0)
        return derive(self.root, "run", number, attempt, purpose, epoch)
