"""The command line: what goes wrong is one line that names the thing, and exit status 1."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from planted import plant

from niny.cli import main
from niny.config import Params
from niny.training import runs


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("train cifar11-nin --scale smoke", "unknown experiment 'cifar11-nin'"),
        ("train cifar10-nin --scale huge", "unknown scale 'huge'"),
        ("train cifar10-nin --scale smoke --device tpu", "unknown device 'tpu'"),
        ("train cifar10-nin --scale smoke --seeds -1", "seed"),
        ("campaign --scale smoke --seeds -3", "--seeds -3"),
        ("campaign --scale smoke --budget soon", "not a duration: 'soon'"),
        ("status --scale huge", "unknown scale 'huge'"),
        ("summary --scale huge", "unknown scale 'huge'"),
        ("data fetch imagenet", "unknown data set 'imagenet'"),
        ("data fetch imagenet --from local", "unknown data set 'imagenet'"),
        ("data verify cifar10", "niny data fetch cifar10"),
        ("bench --inference --precision float32", "leave out --device, --precision, --eager"),
        ("evaluate nothing.caffemodel --data cifar10", "nothing.caffemodel"),
        ("evaluate nothing.safetensors --data moon", "unknown data set 'moon'"),
        ("notebook run missing.ipynb out.ipynb", "missing.ipynb"),
        ("notebook clean missing.ipynb", "missing.ipynb"),
    ],
)
def test_bad_input_is_one_line_and_status_1(
    project: Path, capsys: pytest.CaptureFixture[str], words: str, complaint: str
) -> None:
    assert main(words.split()) == 1
    said = capsys.readouterr().err
    assert said.startswith("niny: ")
    assert complaint in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("words", ["train", "status", "train cifar10-nin --scale smoke --seeds x", "dance"])
def test_a_wrong_command_line_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str], words: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words.split())
    assert stopped.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_one_line(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "results").mkdir()
    (project / "results").chmod(0o500)
    assert main(["train", "cifar10-nin-nodropout", "--scale", "smoke", "--seeds", "0"]) == 1
    assert "Permission denied" in capsys.readouterr().err.splitlines()[-1]


AUTHOR_ERROR = 10.43  # per cent of the test images
AUTHORS = Path(os.environ.get("NINY_CAFFEMODEL", "unset"))


@pytest.mark.skipif(not AUTHORS.is_file(), reason="NINY_CAFFEMODEL names no file: the authors' cifar10_nin.caffemodel")
@pytest.mark.skipif("NINY_DATA" not in os.environ, reason="NINY_DATA names no folder with cifar-10-batches-bin")
def test_the_authors_network_errs_as_published(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "fetch", "cifar10", "--from", "local"]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(AUTHORS), "--data", "cifar10", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["n"] == 10_000
    assert result["error"] == pytest.approx(AUTHOR_ERROR, abs=0.05)


def test_a_set_is_fetched_and_verified(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(project / "data" / "digits")
    assert main(["data", "fetch", "digits"]) == 0
    assert main(["data", "verify", "digits"]) == 0
    assert "digits" in capsys.readouterr().out


def test_a_wrong_parameters_file_is_one_line(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("dropout: 0.0", "dropout: none"))
    assert main(["status", "--scale", "smoke"]) == 1
    assert "dropout: expected float, got 'none'" in capsys.readouterr().err


def test_a_full_disk_is_one_line(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "results")

    monkeypatch.setattr(runs, "train_seed", full)
    assert main(["train", "cifar10-nin", "--scale", "smoke"]) == 1
    assert capsys.readouterr().err == "niny: results: No space left on device\n"


def test_ctrl_c_says_that_nothing_is_lost(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "train_seed", stop)
    assert main(["train", "cifar10-nin", "--scale", "smoke"]) == 130
    assert "run the same command again" in capsys.readouterr().err


def test_a_record_that_says_too_little_is_named(
    project: Path, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = plant(project, params.run("paper", "cifar10-nin"), 0, 10.4)
    metrics = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps({k: v for k, v in metrics.items() if k != "collapsed_attempts"}))
    assert main(["status", "--scale", "paper"]) == 1
    assert "metrics.json is damaged (it lacks collapsed_attempts)" in capsys.readouterr().err


def test_status_tells_attempts_that_collapsed_before_a_run_that_finished(
    project: Path, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    died = [{"attempt": 0, "epochs": 126}]
    plant(project, params.run("paper", "cifar10-nin-nodropout"), 0, 14.5, collapsed_attempts=died)
    plant(project, params.run("paper", "cifar10-nin"), 0, 10.4)
    assert main(["status", "--scale", "paper"]) == 0
    told = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert told["cifar10-nin-nodropout"].endswith(
        "recorded 1/5  missing 4  collapsed 0  test error %: 14.50  (after 1 collapsed)"
    )
    assert told["cifar10-nin"].endswith("test error %: 10.40")
    (project / "results/paper/runs/cifar10-nin/seed-0/metrics.json").write_text("{")
    assert main(["status", "--scale", "paper"]) == 0
    assert "test error %: not run  (damaged, or of other settings or code: seed-0)" in capsys.readouterr().out


def test_status_calls_held_out_errors_so(project: Path, params: Params, capsys: pytest.CaptureFixture[str]) -> None:
    plant(project, params.run("tune", "cifar10-nin"), 0, 60.5)
    assert main(["status", "--scale", "tune"]) == 0
    assert "held-out error %: 60.50" in capsys.readouterr().out


def test_train_then_status_then_evaluate(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "cifar10-nin-nodropout", "--scale", "smoke", "--seeds", "0", "--precision", "float32"]
    assert main(words) == 0
    capsys.readouterr()
    assert main(["status", "--scale", "smoke"]) == 0
    assert "recorded 1/2  missing 1" in capsys.readouterr().out
    weights = "results/smoke/runs/cifar10-nin-nodropout/seed-0/weights.safetensors"
    assert main(["evaluate", weights, "--data", "digits", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    record = json.loads(Path(weights).with_name("metrics.json").read_text())
    assert result["n"] == record["test_images"]
    assert result["error"] == pytest.approx(record["weights_test_error"], abs=1e-3)


def test_it_runs_from_the_source_tree_too() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "niny", "--help"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "status" in done.stdout
