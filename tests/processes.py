"""Parts of the study in processes of their own, to be killed, doubled or starved. They start from one that has
everything loaded, so that a random moment falls into the work and not into imports."""

import atexit
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

LOADED = (  # before any of them starts
    "niny.cli",
    "niny.data",
    "niny.maps.suite",
    "niny.notebooks",
    "niny.report",
    "niny.training",
    "sklearn.datasets",
)
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(list(LOADED))
FAST = "cifar10-cnn-fc"
Work = Callable[..., None]


def prepare(root: Path) -> None:
    """Data preparation: fetch, verify, fit."""
    from niny.config import load_params
    from niny.data import fetch, load
    from niny.data.preprocess import fitted

    fetch("digits", root / "data")
    fitted(load("digits", root / "data"), load_params(root).datasets["digits"], root / "data")


def train(root: Path, seeds: Sequence[int] = (0, 1), fresh: bool = False) -> None:
    from niny.config import load_params
    from niny.training import choose_compute, train_experiment

    compute = choose_compute("cpu", "float32")
    train_experiment(load_params(root).run("smoke", FAST), root, seeds=seeds, fresh=fresh, compute=compute)


def report(root: Path) -> None:
    from niny.config import load_params
    from niny.report import write_figures, write_report, write_tables

    params = load_params(root)
    write_tables(params, "smoke", root)
    write_figures(params, "smoke", root)
    write_report(params, "smoke", root)


def notebook(root: Path, name: str = "01-data") -> None:
    from niny.notebooks import execute

    parameters = {"01-data": {"dataset": "digits"}, "02-train": {"scale": "smoke", "experiment": FAST}}[name]
    execute(root / "notebooks" / f"{name}.ipynb", root / "results" / "notebooks" / f"{name}.ipynb", parameters)


def niny(root: Path, *words: str) -> None:
    from niny.cli import main

    sys.exit(main(words))


@cache
def elsewhere() -> Path:
    """Where processes say what they say, until the tests end: their own folder may be full."""
    folder = Path(tempfile.mkdtemp(prefix="niny-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def start(work: Work, root: Path, *arguments: Any, before: Callable[[], None] | None = None) -> ForkServerProcess:
    """`work(root, ...)` in a process that works in `root` and keeps what it says elsewhere."""
    process = CONTEXT.Process(target=_within, args=(work, root, arguments, before, temporary(root)))
    process.start()
    return process


def _within(
    work: Work, root: Path, arguments: Sequence[Any], before: Callable[[], None] | None, temporary: Path
) -> None:
    import torch

    from niny.errors import NinyError

    os.chdir(root)
    os.environ.pop("NINY_ROOT", None)
    os.environ["TMPDIR"] = str(temporary)
    said = os.open(temporary.parent / f"said-{os.getpid()}", os.O_CREAT | os.O_WRONLY, 0o644)
    os.dup2(said, 1)
    os.dup2(said, 2)
    sys.stdout = os.fdopen(1, "w")
    sys.stderr = os.fdopen(2, "w", buffering=1)
    torch.set_num_threads(1)
    if before:
        before()
    try:
        work(root, *arguments)
    except NinyError as error:
        sys.exit(f"niny: {error}")
    finally:
        sys.stdout.flush()


def temporary(root: Path) -> Path:
    """What processes in `root` take for the system's temporary folder."""
    folder = elsewhere() / str(root).replace("/", "-")
    folder.mkdir(exist_ok=True)
    return folder


def said(process: ForkServerProcess) -> list[str]:
    """The lines that an ended process wrote, progress included."""
    return (elsewhere() / f"said-{process.pid}").read_text(encoding="utf-8").splitlines()


def whole(work: Work, root: Path, *arguments: Any) -> float:
    """Let it work undisturbed; the seconds it took."""
    began = time.monotonic()
    process = start(work, root, *arguments)
    process.join()
    assert process.exitcode == 0, said(process)
    return time.monotonic() - began


def killed(work: Work, root: Path, after: float, *arguments: Any) -> bool:
    """Kill it after so many seconds; whether it was still at work. It must not have left with an error before."""
    process = start(work, root, *arguments)
    process.join(after)
    process.kill()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL), said(process)
    return process.exitcode != 0


def moments(seconds: float, number: int, dice: random.Random) -> list[float]:
    """Random ones, one in each of as many equal parts of what lasts so long."""
    return dice.sample([seconds * (part + dice.random()) / number for part in range(number)], number)
