"""README.md: every command in it is run by a test, what it quotes is what programs say, its links lead somewhere."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import ROOT
from PIL import Image
from planted import plant, study_params
from planted import project as empty_project
from test_cli import AUTHOR_ERROR
from test_environment import COLLECT, INSTALL

from niny.cli import main, make_parser
from niny.config import load_params, plan
from niny.data.sets import LABELS
from niny.data.sources import NPM_PACKAGES
from niny.inference.export import TOLERANCE
from niny.report import summary, write_tables

README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKE = {
    "study": "the fixture `clone`, at smoke scale",
    "test": "running this test",
    "lab": "test_lab",
    "torture": "tests marked torture; results/reliability.json says when each was last run",
}
# Which test runs the command, or the same with the study's smallest scale or a file of the test's own in its place.
RUN_BY = {
    "dvc repro report@demo": "test_study.test_a_second_run_has_nothing_to_do",
    "dvc repro sources data@": "test_study.test_what_is_run_again_gives_the_same_bytes",
    "dvc repro train@": "test_study.test_what_is_run_again_gives_the_same_bytes",
    "dvc repro explorer@": "test_study.test_executed_notebooks_are_readable_records",
    "dvc repro -s tables@": "test_study.test_what_is_run_again_gives_the_same_bytes",
    "dvc repro -s maps@": "test_study.test_what_is_run_again_gives_the_same_bytes",
    "niny notebook run": "test_training.test_a_training_notebook_can_show_what_is_recorded_and_train_nothing",
    "dvc repro -s metrics@": "test_dvc.test_metrics_are_those_of_the_records",
    "dvc repro metrics@": "test_dvc.test_metrics_are_those_of_the_records",
    "dvc metrics show": "test_dvc.test_metrics_are_those_of_the_records",
    "dvc plots show": "test_dvc.test_plots_are_those_of_the_records",
    "dvc exp run": "test_dvc.test_the_readme_s_experiment_runs",
    "dvc exp show": "test_dvc.test_the_readme_s_experiment_runs",
    "git commit": "test_dvc.test_the_readme_s_experiment_runs",
    "git restore": "test_dvc.test_the_readme_s_experiment_runs",
    "niny campaign --scale paper --ray": "test_cluster.test_wrong_words_are_one_line",
    "torchrun --nproc-per-node": "test_processes.test_two_processes_leave_the_record_that_one_leaves",
    "niny train imagenet-nin": "test_imagenet.test_it_goes_on_where_it_stopped",
    "niny bench --processes": "test_benchmark.test_a_team_s_rates_are_held_against_those_of_one",
    "niny estimate": "test_docs.test_the_page_says_what_was_measured_and_names_what_is_assumed",
    "niny bench --inference": "test_inference.test_how_long_answers_take_is_measured_for_each_runtime",
    "niny bench": "test_benchmark.test_the_command_prints_one_object",
    "niny campaign --scale paper --budget": "test_campaign.test_the_command_runs_and_tells_what_is_left",
    "niny campaign --scale paper --jobs": "test_workers.test_two_workers_on_a_bare_machine_share_a_campaign",
    "niny data fetch": "test_cli.test_a_set_is_fetched_and_verified",
    "niny evaluate": "test_cli.test_train_then_status_then_evaluate",
    "niny export": "test_export.test_with_pixels_the_file_does_the_preprocessing",
    "niny maps score": "test_foreign.test_what_is_kept_names_the_file_its_digest_and_its_error",
    "niny maps show": "test_maps_show.test_show_draws_any_image_by_a_weights_file",
    "niny plan": "test_readme.test_the_experiment_that_the_readme_adds_ends_in_the_tables",
    "niny predict": "test_inference.test_predict_prints_answers_and_draws_maps",
    "niny status": "test_cli.test_train_then_status_then_evaluate",
    "niny train": "test_readme.test_the_experiment_that_the_readme_adds_ends_in_the_tables",
    "niny weights": "test_inference.test_weights_are_listed",
    "PYTHONPATH=src python -m niny": "test_workers.test_two_workers_on_a_bare_machine_share_a_campaign",
    "cp -r ELSEWHERE/results": "test_study.test_records_made_elsewhere_are_taken_over",
}
PROGRAMS = ("make ", "dvc ", "niny ", "git ", "cp ", "PYTHONPATH=", "pip ", "python ", "source ", "torchrun ")


def commands() -> list[str]:
    """The lines of README's plain blocks that start with a program, without what is said about them."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    lines = [line.partition("#")[0].strip() for language, text in blocks if not language for line in text.splitlines()]
    assert any(line.startswith("dvc exp run") for line in lines), "the blocks of README.md are not found"
    return [line for line in lines if line.startswith(PROGRAMS)]


@pytest.mark.parametrize("line", commands())
def test_every_command_is_one_that_a_test_runs(line: str) -> None:
    if line.startswith("make "):
        assert line.split()[1] in MAKE
        assert re.search(rf"^{line.split()[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return
    test = next((RUN_BY[known] for known in RUN_BY if line.startswith(known)), None)
    assert test, "name the test that runs it in RUN_BY"
    module, name = test.split(".")
    assert f"def {name}(" in (ROOT / "tests" / f"{module}.py").read_text(), f"{test} is gone"


@pytest.mark.parametrize("line", [line for line in commands() if "niny " in line])
def test_every_niny_command_is_understood(line: str) -> None:
    words = shlex.split(line.rpartition("niny ")[2])
    options = make_parser().parse_args(words)
    for what in ("scale", "experiment"):
        names = {
            *getattr(load_params(ROOT), f"{what}s"),
            *added(),
            "imagenet-nin",
        }  # which has no entry: it has no scale
        assert getattr(options, what, None) in {None, *names}


@pytest.mark.parametrize("line", [line for line in commands() if line.startswith("dvc repro")])
def test_every_stage_exists(line: str) -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    listed = plan(load_params(ROOT))
    for stage, _, item in (word.partition("@") for word in line.split()[2:] if "@" in word):
        assert item in listed[re.fullmatch(r"\$\{plan\.(\w+)\}", stages[stage]["foreach"])[1]]


def test_its_python_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the weights that are kept here, and a photograph of the test's own."""
    Image.new("RGB", (120, 90), (200, 120, 40)).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(ROOT)
    blocks = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    found: dict[str, Any] = {}
    for block in blocks:
        exec(block.replace('"photo.jpg"', repr(str(tmp_path / "photo.jpg"))), found)
    assert found["model"].labels == LABELS["cifar10"]
    assert found["logits"].shape == (1, 10)
    assert found["net"](torch.zeros(1, 3, 32, 32)).shape == (1, 10)  # torch.hub's


@pytest.mark.parametrize("page", ["README.md", "notebooks/README.md"])
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    paths = re.findall(r"\]\(([^)#:]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    assert paths
    made = "results/demo/"  # is there after make study
    missing = [p for p in paths if not ((ROOT / page).parent / p).exists() and made not in p]
    assert missing == []


def test_what_the_prose_says_is_so() -> None:
    """Numbers and names between the generated parts, each from where it is decided."""
    params, said = load_params(ROOT), " ".join(README.split())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    torch = next(need for need in project["dependencies"] if need.startswith("torch>"))
    demo, usual = params.run("demo", "cifar10-nin"), params.experiments["cifar10-nin"]
    permuted = params.experiments["cifar10-nin-permuted"]
    packages = ", ".join(f"`{package.partition('@')[0]}`" for package in NPM_PACKAGES.values())
    for told in (
        f"Python {project['requires-python'].removeprefix('>=')} or newer",
        f"torch ({torch.partition('>=')[2].partition(',')[0]} or newer) and numpy",
        f"errs here on {AUTHOR_ERROR} % of the test images",
        f"or npm ({packages})",
        f"which is {usual.dropout:g} (`-`)",
        f"to {TOLERANCE:.0e} of the largest value".replace("e-0", "e-"),
        "a third as wide and see five epochs" if (demo.scale.width, demo.recipe.epochs) == (0.333, 5) else "not so",
        "permuted labels by heart (`cifar10-nin-permuted`," if permuted.labels == "permuted" else "not so",
    ):
        assert told in said, told


def test_the_packages_of_a_machine_without_internet_are_collected_as_the_torture_collects_them() -> None:
    said = " ".join(README.split())
    for words in (COLLECT, INSTALL):
        assert f"`{shlex.join(('pip', *words))}`" in said


def test_what_make_study_ends_with_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, params = empty_project(tmp_path / "project"), study_params()
    plant(root, params.run("demo", "cifar10-nin"), 0, 31.0)
    (root / "results/demo/report.html").touch()
    monkeypatch.chdir(root)
    said = summary(params, "demo", root).splitlines()
    assert f"\n{said[0]}\n" in README
    assert f"\n{said[-1]}\n" in README


def test_the_house_has_ten_rooms_that_are_there() -> None:
    rooms = README.partition("## The house in ten lines")[2].partition("```text\n")[2].partition("```")[0].splitlines()
    assert len(rooms) == 10
    for name in (line.split()[0] for line in rooms):
        assert (ROOT / name.partition("<")[0]).exists(), name
    (stages,) = (line for line in rooms if line.startswith("dvc.yaml"))
    assert stages.partition("stages: ")[2].split(", ") == [*yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]]


def block() -> str:
    (found,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    return str(found)


def added() -> list[str]:
    return list(yaml.safe_load(block()))


def test_the_experiment_that_the_readme_adds_ends_in_the_tables(project: Path) -> None:
    (name,) = added()
    text, before = Path("params.yaml").read_text(), plan(load_params(project))
    Path("params.yaml").write_text(re.sub(r"^scales:", f"{block()}\\g<0>", text, flags=re.MULTILINE))
    assert main(["plan"]) == 0
    params = load_params(project)
    assert [plan(params)[part] for part in ("explored", "attributed")] == [before["explored"], before["attributed"]]
    assert {f"{scale}-{name}" for scale in params.experiments[name].scales} <= set(plan(params)["runs"])
    assert main(["train", name, "--scale", "smoke", "--seeds", "0"]) == 0
    (project / "results/benchmarks").mkdir(exist_ok=True)
    errors = next(path for path in write_tables(params, "smoke", project) if path.name == "errors.csv")
    (line,) = [line for line in errors.read_text().splitlines() if line.startswith(f"{name},")]
    assert line.split(",")[1] == "1"
