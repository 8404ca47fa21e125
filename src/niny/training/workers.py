"""Several processes of one machine share a campaign: each claims one missing run after another.

Workers are `niny campaign` again, each with its device. What they say comes through one pipe a worker, so that lines
stay whole and tell who speaks, and so that workers whose campaign was killed stop at the next thing they say.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import torch

from niny.errors import NinyError
from niny.training.device import Compute
from niny.training.energy import SHARED
from niny.training.runs import Say, say_progress


def check_jobs(jobs: int, compute: Compute) -> None:
    if jobs < 1:
        raise NinyError(f"--jobs {jobs}: at least one worker")
    cores = os.cpu_count() or 1
    if compute.device.type == "cpu" and jobs > cores:
        raise NinyError(f"--jobs {jobs}: this machine has {cores} cores and runs would only slow each other down")


def describe_jobs(jobs: int, compute: Compute) -> str:
    """How the workers share the machine."""
    if compute.device.type == "cpu":
        return f"{jobs} workers, {threads_of_each(jobs)} of the CPU's threads each"
    devices = torch.cuda.device_count()
    if jobs <= devices:
        return f"{jobs} workers, a CUDA device each"
    return f"{jobs} workers for {devices} CUDA devices: up to {-(-jobs // devices)} runs side by side on one"


def environments(jobs: int, compute: Compute) -> list[dict[str, str]]:
    """The variables that give each worker its CUDA device, in turns, and its part of the CPU's threads."""
    common = {"OMP_NUM_THREADS": str(threads_of_each(jobs))}
    devices = visible_devices() if compute.device.type == "cuda" else []
    if jobs > max(len(devices), 1):
        common[SHARED] = "1"
    if not devices:
        return [common] * jobs
    return [common | {"CUDA_VISIBLE_DEVICES": devices[i % len(devices)]} for i in range(jobs)]


def threads_of_each(jobs: int) -> int:
    return max(1, torch.get_num_threads() // jobs)


def visible_devices() -> list[str]:
    """As CUDA_VISIBLE_DEVICES names them."""
    number = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",")[:number] if named else [str(i) for i in range(number)]


def run_workers(words: Sequence[str], settings: Sequence[Mapping[str, str]], say: Say = say_progress) -> None:
    """Run `niny WORDS` once for each of the settings (environment variables), all at the same time, to their end.

    Raises NinyError, when all have ended, with the reason of each worker that failed. Ctrl-C and SIGTERM stop them all.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    workers = [start(words, variables) for variables in settings]
    with ThreadPoolExecutor(len(workers)) as pool:
        try:
            reasons = list(pool.map(lambda i, w: follow(i, w, say), count(1), workers))
        finally:
            for worker in workers:
                worker.terminate()  # those that still run, after Ctrl-C; their checkpoints stand it
    if failed := [reason for reason in reasons if reason]:
        raise NinyError(f"{len(failed)} of {len(workers)} workers failed: {'; '.join(failed)}")


def start(words: Sequence[str], variables: Mapping[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "niny", *words],
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C comes to us alone, and from us to them
    )


def follow(number: int, worker: subprocess.Popen[str], say: Say) -> str | None:
    """Pass on what a worker says until it ends; if it failed, for what reason: the last thing it said, or a signal."""
    line = "it said nothing"
    with worker:  # until it has ended
        for line in worker.stderr or ():
            say(f"[{number}] {line.rstrip()}")
    if worker.returncode < 0:
        return f"worker {number} was killed by {signal.Signals(-worker.returncode).name}"
    return f"worker {number}: {line.strip().removeprefix('niny: ')}" if worker.returncode else None
