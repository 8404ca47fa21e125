"""Runs survive kills at any moment, damaged checkpoints, and other processes at the same run."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from test_training import EXACT, silent, train

from niny.cli import main
from niny.config import Params, Run, load_params
from niny.errors import BusyError
from niny.training import runs
from niny.training.campaign import alarm, campaign, tasks_of
from niny.training.checkpoint import latest_first, load_checkpoint, save_checkpoint
from niny.training.lock import claim
from niny.training.record import name_machine, seed_folder

FAST = "cifar10-cnn-fc"
MEASURED = {"training_seconds", "images_per_second"}  # the only entries of a record that two runs need not share


@pytest.fixture
def run(project: Path) -> Run:
    """Three epochs, for this process and those that it starts."""
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("phases: [[5, 1.0], [1, 0.1]]", "phases: [[3, 1.0]]"))
    run = load_params(project).run("smoke", FAST)
    assert run.recipe.epochs == 3
    return run


def saved(folder: Path) -> Path:
    for epoch in (1, 2, 3):
        save_checkpoint(folder, epoch, "this", {"epoch": epoch, "weights": torch.ones(4)})
    return folder


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-5] ^= 1
    path.write_bytes(raw)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def foreign(path: Path) -> None:
    save_checkpoint(path.parent, 3, "another", {"epoch": 3, "weights": torch.zeros(4)})


DAMAGES = [truncate, flip, empty, foreign]


def test_the_two_latest_checkpoints_are_kept(tmp_path: Path) -> None:
    assert [path.name for path in latest_first(saved(tmp_path))] == ["epoch-0003.ckpt", "epoch-0002.ckpt"]
    state = load_checkpoint(tmp_path, "this", pytest.fail)
    assert state is not None
    assert state["epoch"] == 3
    assert load_checkpoint(tmp_path / "nothing", "this", pytest.fail) is None
    (tmp_path / "epoch-10000.ckpt").touch()  # not what comes last by name
    assert latest_first(tmp_path)[0].name == "epoch-10000.ckpt"


@pytest.mark.parametrize("damage", DAMAGES)
def test_of_a_damaged_checkpoint_the_one_before_is_used(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    latest = latest_first(saved(tmp_path))[0]
    damage(latest)
    said: list[str] = []
    state = load_checkpoint(tmp_path, "this", said.append)
    assert state is not None
    assert state["epoch"] == 2
    assert said == [f"{latest} is damaged or of another training: it is not used"]


def test_without_a_whole_checkpoint_the_training_starts_again(tmp_path: Path) -> None:
    for path in latest_first(saved(tmp_path)):
        flip(path)
    said: list[str] = []
    assert load_checkpoint(tmp_path, "this", said.append) is None
    assert len(said) == 3
    assert said[-1] == f"no checkpoint is left in {tmp_path}: the training starts again"
    assert not latest_first(tmp_path)


def test_what_a_killed_writer_left_is_taken_up_by_the_next(tmp_path: Path) -> None:
    (tmp_path / ".epoch-0001.ckpt.part").write_bytes(b"half of a longer file" * 1000)
    assert not list(saved(tmp_path).glob(".*"))
    assert load_checkpoint(tmp_path, "this", pytest.fail) is not None


@pytest.mark.parametrize(("damaged", "after"), [(1, 2), (2, None)])
def test_a_run_with_damaged_checkpoints_ends_as_an_undisturbed_one(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch, damaged: int, after: int | None
) -> None:
    whole = contents(train(run, project))
    seed_folder(project, run, 0).joinpath("metrics.json").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(runs, "write_record", stop)
        with pytest.raises(KeyboardInterrupt):
            train(run, project)
    checkpoints = sorted(project.glob(".niny/checkpoints/**/*.ckpt"), reverse=True)
    for path in checkpoints[:damaged]:
        truncate(path)
    said: list[str] = []
    assert contents(train(run, project, say=said.append)) == whole
    resumed = [line for line in said if "goes on after epoch" in line]
    assert resumed == ([f"smoke {FAST} seed 0  goes on after epoch {after}"] if after else [])


def stop(*_: Any) -> None:
    raise KeyboardInterrupt


def contents(folder: Path) -> dict[str, Any]:
    """Everything that a record says of the training, times apart."""
    rows = list(csv.DictReader((folder / "history.csv").read_text().splitlines()))
    metrics = json.loads((folder / "metrics.json").read_text())
    return {
        "weights": (folder / "weights.safetensors").read_bytes(),
        "predictions": (folder / "predictions.npz").read_bytes(),
        "history": [{key: value for key, value in row.items() if key != "seconds"} for row in rows],
        "metrics": {key: value for key, value in metrics.items() if key not in MEASURED},
    }


KILLED = """
import os, signal, sys
from pathlib import Path
from niny.cli import main
from niny.training import checkpoint, record, runs

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def at(number, real, doing=die):
    calls = iter(range(1, 100))
    return lambda *a, **k: doing(*a) if next(calls) == number else real(*a, **k)

def half(path, content):
    Path.open(path, "wb").write(content[: len(content) // 2])
    die()

moment = sys.argv[1]
if moment == "in an epoch":
    runs.evaluate_together = at(3, runs.evaluate_together)  # the second epoch's look at the errors
elif moment == "writing a checkpoint":
    Path.write_bytes = at(1, Path.write_bytes, half)
elif moment == "before renaming a checkpoint":
    Path.replace = at(1, Path.replace)
elif moment == "dropping the oldest checkpoint":
    checkpoint.latest_first = at(3, checkpoint.latest_first)
elif moment == "within the record":
    record.write_environment = die
raise SystemExit(main(sys.argv[2:]))
"""


def test_a_run_killed_again_and_again_ends_as_an_undisturbed_one(run: Run, project: Path) -> None:
    """SIGKILL of real processes, each going on from the one before; no kill costs more than the epoch it falls into."""
    epochs = {
        "in an epoch": 1,
        "writing a checkpoint": 1,
        "before renaming a checkpoint": 1,
        "dropping the oldest checkpoint": 3,
        "within the record": 3,
    }
    for moment, kept in epochs.items():
        done = command(project, "-c", KILLED, moment, *TRAIN)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert latest_first(next(project.glob(".niny/checkpoints/**/attempt-0")))[0].name == f"epoch-{kept:04}.ckpt"
        assert not seed_folder(project, run, 0).joinpath("metrics.json").exists()
    killed = contents(train(run, project))
    assert not list(project.glob("results/**/.*"))
    assert killed == contents(train(run, project, fresh=True))


TRAIN = ("train", FAST, "--scale", "smoke", "--seeds", "0", "--precision", "float32", "--device", "cpu")


def command(project: Path, *words: str, before: Sequence[Path] = ()) -> subprocess.CompletedProcess[str]:
    """Another Python, in the project, with the package from the source tree; `before` comes first on its path."""
    path = os.pathsep.join(map(str, (*before, ROOT / "src")))
    variables = environment() | {"PYTHONPATH": path}
    return subprocess.run([sys.executable, *words], cwd=project, env=variables, capture_output=True, text=True)


def environment() -> dict[str, str]:
    threads = str(torch.get_num_threads())  # sums depend on their order
    return {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": threads}


HELD = f"is being trained by process {os.getpid()} on {socket.gethostname()}"


def test_a_lock_names_its_holder_and_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "a.lock"
    holder = "import sys, time; from pathlib import Path; from niny.training.lock import claim\n"
    holder += "with claim(Path(sys.argv[1]), 'it'): print('held', flush=True); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(path)], env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match=f"trained by process {process.pid} on "), claim(path, "it"):
            pass
        process.kill()
        process.wait()
    with claim(path, "it"):
        pass


def test_train_leaves_a_run_to_the_process_that_has_it(
    run: Run, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with runs.claim_seed(run, 0, project):
        assert main(list(TRAIN)) == 1
    assert capsys.readouterr().err == f"niny: smoke {FAST} seed 0 {HELD}\n"
    assert not (project / "results").exists()
    assert main(list(TRAIN)) == 0


def test_a_folder_of_records_that_cannot_be_written_to_is_named_before_training(
    run: Run, project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project / "results" / "smoke"
    folder.mkdir(parents=True)
    monkeypatch.setattr(os, "access", lambda path, mode: path != folder)  # root may write anywhere
    assert main(list(TRAIN)) == 1
    said = capsys.readouterr().err
    assert said == f"niny: {folder} cannot be written to: make it writable, for the record comes there\n"


def test_a_run_that_another_process_has_just_finished_is_not_trained_again(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "train_seed", pytest.fail)
    looks = iter([False, True])
    monkeypatch.setattr(runs.record, "is_finished", lambda *_: next(looks))
    train(run, project)


def test_a_campaign_passes_over_what_is_held_and_takes_it_up_at_the_end(
    params: Params, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = tasks_of(params, "smoke", [FAST], 2)
    order, said = [], []
    lock = runs.claim_seed(tasks[0].run, 0, project)
    lock.__enter__()

    def note(run: Run, seed: int, *_: Any) -> None:
        order.append(seed)
        if seed == 1:
            lock.__exit__(None, None, None)

    monkeypatch.setattr("niny.training.campaign.train_seed", note)
    campaign(tasks, project, EXACT, say=said.append)
    assert order == [1, 0]
    assert said == [f"smoke {FAST} seed 0 {HELD}"]


def test_a_campaign_ends_without_what_is_held_to_the_end(params: Params, project: Path) -> None:
    tasks = tasks_of(params, "smoke", [FAST], 1)
    with runs.claim_seed(tasks[0].run, 0, project):
        assert campaign(tasks, project, EXACT, say=silent) == tasks


def test_a_budget_ends_within_an_epoch_that_lasts_too_long(
    params: Params, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = tasks_of(params, "smoke", [FAST], 1)
    monkeypatch.setattr(runs, "one_epoch", lambda *_: time.sleep(60))
    said: list[str] = []
    start = time.monotonic()
    assert campaign(tasks, project, EXACT, budget=1.0, say=said.append) == tasks
    assert time.monotonic() - start < 10
    assert said == ["the budget is spent: the same command goes on from here"]
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_record_that_was_begun_is_written_though_the_budget_ends_within() -> None:
    written = []

    def work() -> None:
        with runs.without_alarm():
            time.sleep(0.4)
            written.append("record")
        time.sleep(5)
        written.append("more")

    with pytest.raises(runs.OutOfTimeError), alarm(0.2):
        work()
    assert written == ["record"]
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    with runs.without_alarm():
        pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)  # where none was set none rings


def test_a_fresh_training_that_was_stopped_goes_on_and_the_next_begins_anew(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(run, project)
    with monkeypatch.context() as patch:
        patch.setattr(runs, "write_record", stop)
        for how in ("", "goes on after epoch 3"):
            said: list[str] = []
            with pytest.raises(KeyboardInterrupt):
                train(run, project, fresh=True, say=said.append)
            assert any("goes on" in line for line in said) == bool(how)
            assert how in "".join(said)
    said = []
    train(run, project, fresh=True, say=said.append)
    assert "goes on after epoch 3" in said[0]
    train(run, project, fresh=True, say=(again := list[str]()).append)
    assert not any("goes on" in line for line in again)


def test_a_training_that_went_on_elsewhere_tells_of_every_machine(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = train(run, project)
    assert "machines" not in json.loads((folder / "environment.json").read_text())
    with monkeypatch.context() as patch:
        patch.setattr(runs.record, "name_machine", lambda _: "another")
        patch.setattr(runs, "is_dead", stop_after(2))
        with pytest.raises(KeyboardInterrupt):
            train(run, project, fresh=True)
    folder = train(run, project, fresh=True)
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["machines"] == {"another": 1, name_machine(EXACT): 2}
    assert environment["shared_device"] is False


def stop_after(epochs: int) -> Callable[..., bool]:
    def is_dead(run: Run, row: dict[str, Any]) -> bool:
        if row["epoch"] == epochs:
            raise KeyboardInterrupt
        return False

    return is_dead


def test_a_run_of_other_settings_leaves_checkpoints_alone(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(runs, "write_record", stop)
        with pytest.raises(KeyboardInterrupt):
            train(run, project)
        before = set(project.glob(".niny/checkpoints/**/*.ckpt"))
        patch.setattr(runs.record, "code_digest", lambda: "other code")
        said: list[str] = []
        with pytest.raises(KeyboardInterrupt):
            train(run, project, say=said.append)
    assert "starts anew" in said[0]
    assert before < set(project.glob(".niny/checkpoints/**/*.ckpt"))
