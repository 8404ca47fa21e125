"""Several processes that train one network (torchrun): which of them this is, and what they tell one another.

Every process has the whole data set and comes to the same batches; it learns from its part of each (see
niny.training.update), and looks at its part of the test images. The first one alone writes. Where only one process
trains, everything here gives back what it got.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed

from niny.errors import NinyError

T = TypeVar("T")

PATIENCE = timedelta(hours=2)  # while the first process measures and writes a record


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Meet the other processes that torchrun started, if it did; on GPUs each takes the one of its local rank.

    Raises NinyError where there are more processes than GPUs.
    """
    if not distributed.is_torchelastic_launched() or int(os.environ["WORLD_SIZE"]) == 1:
        yield
        return
    gpu = device != "cpu" and torch.cuda.is_available()
    if gpu:
        local, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= there:
            raise NinyError(f"torchrun started more processes than the {there} GPUs here: --nproc-per-node {there}")
        torch.cuda.set_device(local)
    distributed.init_process_group("nccl" if gpu else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def size() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    return distributed.get_rank() if distributed.is_initialized() else 0


def leads() -> bool:
    """Is this the process that speaks and writes?"""
    return rank() == 0


def part(count: int) -> slice:
    """Our part of so many things: consecutive, none left out, none in two parts, sizes equal but for one."""
    return part_of(count, rank(), size())


def part_of(count: int, number: int, parts: int) -> slice:
    return slice(number * count // parts, (number + 1) * count // parts)


def summed(values: Tensor) -> Tensor:
    """The sum over all processes, in place."""
    if size() > 1:
        distributed.all_reduce(values)
    return values


def agreed(value: T) -> T:
    """What the first process has, once all have come to this point."""
    if size() == 1:
        return value
    box = [value]
    distributed.broadcast_object_list(box)
    return box[0]
