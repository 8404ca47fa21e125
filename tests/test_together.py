"""Processes that start the same thing at the same time: one works, the others wait or leave with one line."""

import errno
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import copy_tree
from processes import FAST, Work, niny, notebook, prepare, report, said, start, train, whole
from reliability import Tally
from test_killed import files, folder, forget_report, strays, wait_in_notebook

from niny.errors import NinyError
from niny.files import replacing, write_text

__all__ = ["folder"]  # a fixture


@dataclass(frozen=True)
class Heard:
    """What processes that started together said in all, and those that left with an error, progress apart."""

    lines: list[str]
    refused: list[list[str]]

    def count(self, words: str) -> int:
        return sum(words in line for line in self.lines)


def together(work: Work, root: Path, number: int, *arguments: object) -> Heard:
    """Start it so many times at once."""
    processes = [start(work, root, *arguments) for _ in range(number)]
    for process in processes:
        process.join()
    left = [process for process in processes if process.exitcode]
    assert len(left) < number, said(processes[0])
    assert {process.exitcode for process in left} <= {1}
    lines = [line for process in processes for line in said(process)]
    return Heard(lines, [[line for line in said(process) if line.startswith("niny: ")] for process in left])


def one_fetches(root: Path, number: int) -> None:
    """The others wait, or come when all is there."""
    (root / "data" / "digits" / "digits.bin").unlink()
    heard = together(prepare, root, number)
    assert heard.refused == []
    assert heard.count("fetched from") == 1
    assert heard.count("present and verified") == number - 1


def one_trains(work: Work, root: Path, number: int, seed: int, *arguments: object) -> None:
    """The others leave with one line, or come when it has ended."""
    heard = together(work, root, number, *arguments)
    assert heard.count("epoch 1/") == 1, heard.lines
    assert heard.refused, "none met the one that trained"
    for lines in heard.refused:
        assert len(lines) == 1
        assert f"seed {seed} is being trained by process" in lines[0]


def all_report(root: Path, number: int) -> None:
    """The report has no lock: it follows from the records alone, so all its writers write the same bytes."""
    alone = files(root)
    forget_report(root)
    assert files(root) != alone
    assert together(report, root, number).refused == []
    assert files(root) == alone


def start_everything(root: Path, number: int) -> None:
    """Data, a run, the report: by one process, then by many; the same must come out."""
    for work in (prepare, train, report):
        whole(work, root)
    alone = files(root)
    one_fetches(root, number)
    all_report(root, number)
    (root / "results" / "smoke" / "runs" / FAST / "seed-1" / "metrics.json").unlink()
    one_trains(train, root, number, 1)  # last, for the report shows times
    assert files(root) == alone
    assert strays(root) == []


def test_of_processes_that_start_the_same_one_works(folder: Path) -> None:
    whole(prepare, folder)
    alone = files(folder)
    one_fetches(folder, 4)
    assert files(folder) == alone
    train_one = ("train", FAST, "--scale", "smoke", "--seeds", "0", "--precision", "float32", "--device", "cpu")
    one_trains(niny, folder, 4, 0, *train_one)
    whole(report, folder)
    all_report(folder, 2)
    assert strays(folder) == []


def test_a_notebook_that_is_being_run_is_left_to_its_process(folder: Path) -> None:
    first = start(wait_in_notebook, folder)
    while not (folder / "started").exists():
        first.join(0.1)
        assert first.is_alive(), said(first)
    second = start(wait_in_notebook, folder)
    second.join()
    assert said(second) == ["niny: long is being run by another process: wait for its end"]
    first.kill()
    first.join()


def test_writers_of_one_file_take_turns(tmp_path: Path) -> None:
    number, root = 8, tmp_path / "project"
    root.mkdir()
    processes = [start(write_again_and_again, root, str(i) * 50_000) for i in range(number)]
    for process in processes:
        process.join()
        assert process.exitcode == 0, said(process)
    assert set((root / "it").read_text()) in [{str(i)} for i in range(number)]
    assert [p.name for p in root.iterdir()] == ["it"]


def write_again_and_again(root: Path, text: str) -> None:
    for _ in range(20):
        write_text(root / "it", text)
        assert len(set((root / "it").read_text())) == 1


def test_a_writer_that_fails_leaves_the_file_and_names_it(tmp_path: Path) -> None:
    path = tmp_path / "it"
    path.write_text("before")
    with pytest.raises(OSError, match="No space left") as raised:
        fill_disk_writing(path)
    assert raised.value.filename == str(path)
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["it"]


def test_a_folder_in_the_place_of_a_file_is_named_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(NinyError, match="is a folder: name a file in it"):
        write_text(tmp_path, "text")
    assert list(tmp_path.parent.glob(".*.part")) == []


def test_a_place_that_cannot_be_written_to_is_named_as_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_: object) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError) as caught:
        write_text(tmp_path / "x.txt", "text")
    assert caught.value.filename == str(tmp_path / "x.txt")


def fill_disk_writing(path: Path) -> None:
    with replacing(path) as part:
        part.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")


def two_repros(root: Path) -> list[str]:
    """Two `dvc repro` of one stage in one clone; what the one that left said."""
    copy_tree(root)
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "NINY_ROOT": "", "OMP_NUM_THREADS": "1"}
    words = ["dvc", "repro", "data@digits"]
    started = [
        subprocess.Popen(words, cwd=root, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    heard = [process.communicate()[1] for process in started]
    left = [text for process, text in zip(started, heard, strict=True) if process.returncode]
    assert len(left) == 1, heard
    assert (root / "results" / "data" / "digits" / "01-data.ipynb").is_file()
    return left[0].replace(f"{root}/", "").splitlines()


@pytest.mark.torture("two-at-once")
def test_of_twenty_processes_that_start_the_same_one_works(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, tally: Tally
) -> None:
    number = 20
    start_everything(folder, number)
    heard = together(notebook, folder, number)
    assert heard.refused
    assert heard.count(": done in ") == number - len(heard.refused)
    assert all(len(lines) == 1 and "is being run by another process" in lines[0] for lines in heard.refused)
    lines = two_repros(tmp_path_factory.mktemp("clone") / "niny")
    assert not [line for line in lines if "Traceback" in line]
    assert "lock" in lines[0]
    tally.count = 4 * number + 2
    message = lines[0].removeprefix("ERROR: ").partition(". ")[0].partition(", it is being blocked by")[0].rstrip(":")
    tally.found = (
        f"{number} processes each: one fetched, one trained, and a notebook was run by one at a time; all wrote the "
        f"report, with the bytes of one; of two dvc repro one went through, the other ended with: {message}"
    )
