"""Campaigns: what is missing is run, in order, within the budget, and stopping loses nothing."""

import re
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_training import EXACT, silent

from niny.benchmark import remaining
from niny.benchmark.operations import run_flops
from niny.benchmark.remaining import describe_left
from niny.cli import main
from niny.config import Params, Run, load_params
from niny.errors import NinyError, UnwritableError
from niny.evaluation.claims import load_claims
from niny.maps.records import load_scores
from niny.models import build, initialise
from niny.paper import OPEN_CHOICES, reported
from niny.training import campaign as campaigns
from niny.training import runs, snapshots
from niny.training.campaign import campaign, parse_duration, tasks_of
from niny.training.loop import TrainingData

ROOT = Path(__file__).parents[1]
FAST = ["cifar10-nin-nodropout", "cifar10-cnn-fc"]


def test_first_seeds_come_first_and_experiments_in_the_order_of_the_file(params: Params) -> None:
    tasks = tasks_of(params, "paper")
    assert [t.seed for t in tasks] == sorted(t.seed for t in tasks)
    assert [t.run.experiment.name for t in tasks[:3]] == ["cifar10-nin", "cifar10-nin-nodropout", "cifar10-nin-fc"]
    assert len(tasks) == 5 * len(params.experiments_at("paper"))


def test_what_is_missing_is_run_and_nothing_twice(params: Params, project: Path) -> None:
    tasks = tasks_of(params, "smoke", FAST, 1)
    assert campaign(tasks, project, EXACT, say=silent) == []
    before = [t.folder(project).joinpath("metrics.json").stat().st_mtime_ns for t in tasks]
    assert campaign(tasks, project, EXACT, say=silent) == []
    assert [t.folder(project).joinpath("metrics.json").stat().st_mtime_ns for t in tasks] == before


@pytest.mark.parametrize("every", [0.0, 1e9])
def test_a_budget_stops_between_epochs_and_the_next_campaign_ends_alike(
    params: Params, project: Path, monkeypatch: pytest.MonkeyPatch, every: float
) -> None:
    """However rarely checkpoints are due, a budget's end has one."""
    monkeypatch.setitem(runs.KEEP_EVERY, "cpu", every)
    tasks = tasks_of(params, "smoke", FAST[:1], 1)
    campaign(tasks, project, EXACT, say=silent)
    weights = tasks[0].folder(project) / "weights.safetensors"
    whole = weights.read_bytes()
    tasks[0].folder(project).joinpath("metrics.json").unlink()
    clock = iter(range(0, 10_000, 10))  # every look at the clock finds ten seconds gone
    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: float(next(clock)))
        assert campaign(tasks, project, EXACT, budget=35.0, say=silent) == tasks
    said: list[str] = []
    assert campaign(tasks, project, EXACT, say=said.append) == []
    assert re.search("goes on after epoch [1-9]", said[0])
    assert weights.read_bytes() == whole


def test_what_is_left_is_told_with_its_time(params: Params, project: Path) -> None:
    tasks = tasks_of(params, "smoke", FAST, 2)
    left = campaign(tasks[:1], project, EXACT, say=silent) + tasks[1:]
    assert describe_left(tasks, [], project, EXACT) == "4 of 4 runs are recorded"
    assert describe_left(tasks, tasks, project, EXACT).endswith("4 are left, of which none was timed on such a machine")
    text = describe_left(tasks, left, project, EXACT)
    assert re.fullmatch(
        r"1 of 4 runs are recorded; 3 are left, about \d\d:\d\d:\d\d by what was measured; "
        "of cifar10-cnn-fc by operations",
        text,
    )
    (tasks[0].folder(project) / "environment.json").write_text("{")
    assert describe_left(tasks, left, project, EXACT).endswith("3 are left, of which none was timed on such a machine")


def test_one_run_is_not_shared_by_several_jobs_and_none_waits_for_images_that_are_not_there(
    params: Params, project: Path
) -> None:
    tasks = tasks_of(params, "smoke", FAST, 2)
    left = campaign(tasks[:1], project, EXACT, say=silent) + tasks[2:3]
    assert [task.seed for task in left] == [1]
    assert describe_left(tasks, left, project, EXACT, 8) == describe_left(tasks, left, project, EXACT, 1)
    shutil.rmtree(project / "data" / "digits")
    told = describe_left(tasks, left, project, EXACT)
    assert told.endswith("about 00:00:00 by what was measured; not counted, for want of images: digits")


def test_a_gpu_that_failed_ends_the_campaign_of_its_process(
    params: Params, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def train(run: Run, *about: Any) -> None:
        asked.append(run.experiment.name)
        raise torch.AcceleratorError("an illegal memory access")

    monkeypatch.setattr(campaigns, "train_seed", train)
    with pytest.raises(NinyError, match="1 of the runs failed"):
        campaign(tasks_of(params, "smoke", FAST, 2), project, EXACT, say=silent)
    assert asked == FAST[:1]


def test_time_left_is_by_operations_where_nothing_was_timed_and_counts_checkpoints(
    params: Params, project: Path
) -> None:
    known, new = (params.run("smoke", name) for name in FAST)
    tasks = tasks_of(params, "smoke", FAST, 1)
    assert remaining.rate_of(tasks, {FAST[0]: 100.0}) == pytest.approx(run_flops(known) / 100)
    assert remaining.share_left(tasks[1], project) == 1
    kept = runs.checkpoints(project, new, 0) / "digest" / "attempt-0"
    kept.mkdir(parents=True)
    (kept / f"epoch-{new.recipe.epochs // 2:04}.ckpt").touch()
    assert remaining.share_left(tasks[1], project) == 1 - new.recipe.epochs // 2 / new.recipe.epochs


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("no kernel\nfor this"), "RuntimeError: no kernel"),
        (NinyError("no layer 'conv9' here"), "no layer 'conv9' here"),
    ],
)
def test_a_run_that_fails_costs_the_others_nothing(
    params: Params,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    told: str,
) -> None:
    def train(run: Run, *about: Any) -> None:
        if run.experiment.name == FAST[0]:
            raise error
        runs.train_seed(run, *about)

    monkeypatch.setattr(campaigns, "train_seed", train)
    assert main(["campaign", "--scale", "smoke", "--only", *FAST, "--seeds", "1", "--precision", "float32"]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("1 of 2 runs are recorded; 1 are left")
    reason = f"1 of the runs failed: smoke {FAST[0]} seed 0, {told}"
    assert said.err.endswith(f"niny: {reason}\n")
    assert (project / params.run("smoke", FAST[1]).folder / "seed-0" / "metrics.json").is_file()


@pytest.mark.parametrize("captum", [True, False])
def test_a_machine_without_captum_records_all_other_scores_of_a_seed_without_weights(
    params: Params, project: Path, monkeypatch: pytest.MonkeyPatch, captum: bool
) -> None:
    smoke = params.run("smoke", "cifar10-nin")
    run = replace(smoke, scale=replace(smoke.scale, evidence=True))
    if not captum:
        for name in ("captum", "captum.attr", "captum.metrics"):
            monkeypatch.setitem(sys.modules, name, None)
    lacking = snapshots.lacks_for_scores(run, project)
    assert any("captum" in line for line in lacking) is not captum
    net, data = build(run), runs.prepare_data(run, project, EXACT)
    initialise(net, "he", 0.0, 0)
    snapshots.keep_scores(project / "maps.json", net, data, run, project, EXACT)
    metrics = {name.partition(".")[0] for name in load_scores(project / "maps.json")}
    assert "claim1_rate" in metrics
    assert ("agreement_rank" in metrics) is captum


def test_a_budget_that_ends_within_a_compiler_is_spent_and_nothing_has_failed(
    params: Params, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compile_long(*_: Any) -> None:
        try:
            time.sleep(60)
        except Exception as error:
            raise RuntimeError("the compiler failed") from error

    monkeypatch.setattr(campaigns, "train_seed", compile_long)
    tasks, said = tasks_of(params, "smoke", FAST, 1), list[str]()
    assert campaign(tasks, project, EXACT, budget=2.0, say=said.append) == tasks
    assert said == ["the budget is spent: the same command goes on from here"]


def test_an_experiment_without_data_is_left_out_and_the_others_run(params: Params, project: Path) -> None:
    tune = tasks_of(params, "tune", ["mnist-nin-mean255"], 1)
    smoke = tasks_of(params, "smoke", FAST[:1], 1)
    said: list[str] = []
    assert campaign([*tune, *smoke], project, EXACT, say=said.append) == tune
    assert "mnist-nin-mean255 is left out" in said[0]
    assert "niny data fetch mnist" in said[0]


def test_a_campaign_that_lacks_images_does_not_end_well(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["campaign", "--scale", "tune", "--only", "mnist-nin-mean255"]) == 1
    said = capsys.readouterr()
    assert "0 of 3 runs are recorded; 3 are left, of which none was timed on such a machine" in said.out
    assert said.err.endswith("niny: left out for want of images: mnist; niny data fetch mnist brings them\n")


def test_what_is_no_fault_of_the_images_does_not_pass_for_their_absence(
    project: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    too_many = replace(params.scales["smoke"], holdout=60_000)
    tasks = [replace(t, run=replace(t.run, scale=too_many)) for t in tasks_of(params, "smoke", FAST[:1], 1)]
    with pytest.raises(NinyError, match=r"holds out 60000 of \d+ images: lower holdout"):
        campaign(tasks, project, EXACT, say=silent)

    def full(*_: object) -> TrainingData:
        raise UnwritableError("cannot write data: No space left on device")

    monkeypatch.setattr(campaigns, "prepare_data", full)
    with pytest.raises(UnwritableError, match="No space left"):
        campaign(tasks_of(params, "smoke", FAST[:1], 1), project, EXACT, say=silent)


def test_embedded_images_need_no_fetching(project: Path, params: Params) -> None:
    shutil.rmtree(project / "data")
    assert campaign(tasks_of(params, "smoke", FAST[:1], 1), project, EXACT, say=silent) == []


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["campaign", "--seeds", "100000000"], "--seeds 100000000: from 1 to 1000 runs of each experiment"),
        (["train", FAST[0], "--seeds", "1000"], "seed 1000: runs are numbered from 0 to 999"),
    ],
)
def test_numbers_of_seeds_that_no_study_has_are_refused(
    project: Path, capsys: pytest.CaptureFixture[str], words: list[str], complaint: str
) -> None:
    assert main([*words, "--scale", "smoke"]) == 1
    assert capsys.readouterr().err == f"niny: {complaint}\n"


def test_a_holdout_never_sees_the_test_split(params: Params, project: Path) -> None:
    run = params.run("smoke", "cifar10-nin")
    whole = runs.prepare_data(run, project, EXACT)
    part = runs.prepare_data(replace(run, scale=replace(run.scale, holdout=100)), project, EXACT)
    assert part.test_images.equal(whole.train_images[-100:])
    assert part.train_images.equal(whole.train_images[:-100])


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("25m", 1500), ("1.5h", 5400)])
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "25", "m", "-5m", "0m", "1d", "1e3s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(NinyError, match="not a duration"):
        parse_duration(text)


def test_the_command_runs_and_tells_what_is_left(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = f"campaign --scale smoke --only {FAST[0]} --seeds 1 --precision float32".split()
    assert main(words) == 0
    assert capsys.readouterr().out == "1 of 1 runs are recorded\n"
    assert main(["campaign", "--scale", "smoke", "--only", "nothing"]) == 1
    assert "unknown experiment 'nothing'" in capsys.readouterr().err


def test_claims_and_tables_name_experiments_that_exist(params: Params) -> None:
    at_paper_scale = {e.name for e in params.experiments_at("paper")}
    named = {name for claim in load_claims(ROOT / "claims.yaml") for name in claim.rule.experiments}
    named |= set(reported()) | {name for choice in OPEN_CHOICES for name in choice.experiments}
    assert named <= at_paper_scale


def test_ablations_differ_from_the_paper_s_network_in_what_they_are_named_for() -> None:
    params = load_params(ROOT)
    base = params.experiments["cifar10-nin"]
    assert params.experiments["cifar10-nin-nodropout"].dropout == 0
    assert params.experiments["cifar10-nin-fc"].dropout == base.dropout == 0.5  # only the head is replaced
    assert params.run("paper", "cifar10-nin-inverted").recipe.inverted_dropout
    assert params.run("paper", "cifar10-nin-he").recipe.init == "he"
