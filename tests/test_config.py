"""params.yaml: what stands there is read, and nothing else is accepted."""

import copy
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from niny.cli import plan_text
from niny.config import SOURCES, Params, load_params, parse_params, project_root
from niny.errors import NinyError
from niny.strict_yaml import load_yaml


@pytest.fixture
def raw() -> dict[str, Any]:
    return copy.deepcopy(load_yaml(ROOT / "params.yaml"))


def test_authors_recipe_is_the_translated_one(params: Params) -> None:
    recipe = params.recipes["authors"]
    assert (recipe.lr, recipe.last_layer_lr, recipe.bias_lr, recipe.weight_decay) == (0.1, 0.1, 2.0, 1e-4)
    assert (recipe.momentum, recipe.batch, recipe.epochs) == (0.9, 128, 260)
    assert (recipe.init, recipe.init_std, recipe.inverted_dropout, recipe.order) == ("normal", 0.05, False, "file")


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("experiments.cifar10-nin.dropuot", 0.5, r"experiments\.cifar10-nin: unknown name 'dropuot'"),
        ("experiments.cifar10-nin.dropout", "half", r"dropout: expected float, got 'half'"),
        ("experiments.cifar10-nin.augment", "yes", r"augment: expected bool, got 'yes'"),
        ("experiments.cifar10-nin.augment", 1, r"augment: expected bool, got 1"),
        ("experiments.cifar10-nin.net", "resnet", r"net: expected one of .*nin_cifar.*, got 'resnet'"),
        ("experiments.cifar10-nin.dataset", "imagenet", r"dataset: unknown dataset 'imagenet'"),
        ("experiments.cifar10-nin.scales", ["huge"], r"unknown scale 'huge'"),
        (
            "datasets.imagenet",
            load_yaml(ROOT / "params.yaml")["datasets"]["cifar10"],
            r"datasets: unknown name 'imagenet'; known are cifar10, ",
        ),
        ("experiments.cifar10-nin.recipe", "secret", r"unknown recipe 'secret'"),
        ("recipes.authors.lr", "1e-3", r"recipes\.authors\.lr: expected float, got '1e-3'"),
        ("recipes.authors.lr", float("nan"), r"lr: expected float, got nan"),
        ("recipes.authors.lr", -1, r"lr: must not be negative"),
        ("recipes.authors.batch", -128, r"batch: must not be negative"),
        ("recipes.authors.batch", True, r"batch: expected int, got True"),
        ("recipes.authors.phases", [[200, 1.0, 3]], r"phases\[0\]: expected a list of 2"),
        ("recipes.authors.loss", "cross_entropy", r"recipes\.authors: unknown name 'loss'"),
        ("recipes.authors.phases", [], r"phases: expected a list"),
        ("recipes.authors.phases", [[0, 1.0]], r"recipes\.authors\.phases: a phase of 0 epochs"),
        ("recipes.authors.momentum", 1.0, r"momentum: must be less than 1"),
        ("recipes.robust.warmup_epochs", 1.0, r"recipes\.robust: one_cycle needs no warmup"),
        ("recipes.robust.init_std_of", [["conv1", 0.1]], r"recipes\.robust\.init_std_of: only init normal"),
        ("experiments.cifar10-nin.dropout", 1.5, r"dropout: must be less than 1"),
        ("experiments.cifar10-cnn-fc.dropout", 0.5, r"cnn-fc\.dropout: net cnn has no such choice: expected 0\.0"),
        ("experiments.cifar10-linear-gap.batch_norm", True, r"net linear_cifar has no such choice: expected False"),
        ("experiments.cifar10-maxout.head", "fc", r"maxout\.head: net maxout has no such choice: expected 'gap'"),
        ("experiments.cifar10-nin.dropout", 0.001, r"nin\.dropout: a rate from 1/256 to 255/256, or 0 for none"),
        ("scales.demo.evaluate_every", 0, r"evaluate_every: must be greater than 0"),
        ("scales.demo.seeds", 1.5, r"seeds: expected int, got 1.5"),
        ("experiments.cifar10-nin-aug.varies", [], r"varies: expected a list"),
        ("experiments.cifar10-nin-aug.varies", ["weather"], r"varies\[0\]: expected one of init, order, .*'weather'"),
        ("experiments.cifar10-nin-aug.varies", ["order"], r"at scale tune: varies: order is not left to chance"),
        ("experiments.cifar10-nin.varies", ["augmentation"], r"varies: augmentation is not left to chance"),
        ("experiments.cifar10-nin-nodropout.varies", ["masks"], r"varies: masks is not left to chance"),
        (
            "experiments.cifar10-nin-aug.scales",
            ["paper"],
            r"only-init at scale seeds: varies: no experiment there is the same",
        ),
        ("surprise", 1, r"unknown name 'surprise'"),
    ],
)
def test_a_wrong_entry_is_refused_and_named(raw: dict[str, Any], path: str, value: Any, complaint: str) -> None:
    *parents, name = path.split(".")
    place = raw
    for parent in parents:
        place = place[parent]
    place[name] = value
    with pytest.raises(NinyError, match=complaint):
        parse_params(raw, "params.yaml")


def test_a_missing_entry_is_named(raw: dict[str, Any]) -> None:
    del raw["recipes"]["authors"]["lr"]
    with pytest.raises(NinyError, match=r"recipes\.authors: 'lr' is missing"):
        parse_params(raw, "params.yaml")


def test_a_doubled_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("root_seed: 1\nroot_seed: 2\n")
    with pytest.raises(NinyError, match="root_seed stands twice"):
        load_params(tmp_path)


def test_broken_yaml_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("a: [1\nb: }")
    with pytest.raises(NinyError) as error:
        load_params(tmp_path)
    assert "\n" not in str(error.value)


def test_identity_of_a_run_changes_with_what_is_trained_and_with_nothing_else(raw: dict[str, Any]) -> None:
    def digest() -> str:
        return parse_params(raw, "params.yaml").run("demo", "cifar10-nin").digest

    before = digest()
    raw["experiments"]["cifar10-nin"]["title"] = "another title"
    raw["scales"]["demo"]["seeds"] = 7
    raw["experiments"]["cifar10-nin"]["varies"] = list(SOURCES)  # what it is without the entry
    assert digest() == before
    run = parse_params(raw, "params.yaml").run("demo", "cifar10-nin")
    assert replace(run, experiment=replace(run.experiment, varies=("init",))).digest != before
    raw["recipes"]["robust"]["lr"] = 0.123
    assert digest() != before


def test_what_varies_says_the_same_in_any_order(raw: dict[str, Any]) -> None:
    plain = parse_params(raw, "params.yaml").experiments["cifar10-nin-aug"]
    raw["experiments"]["cifar10-nin-aug"]["varies"] = [*reversed(SOURCES), "init"]
    assert parse_params(raw, "params.yaml").experiments["cifar10-nin-aug"] == plain


def test_another_preprocessing_is_tried_at_scales_that_hold_images_out_and_nowhere_else(raw: dict[str, Any]) -> None:
    raw["experiments"]["mnist-nin"] |= {"preprocessing": "unit", "scales": ["tune"]}
    params = parse_params(raw, "params.yaml")
    assert params.run("tune", "mnist-nin").data.preprocessing == "unit"
    assert params.datasets["mnist"].preprocessing == "gcn_zca"
    raw["experiments"]["mnist-nin"]["scales"] = ["tune", "short"]
    with pytest.raises(
        NinyError, match=r"mnist-nin at scale short: preprocessing: .* set what was chosen at datasets.mni"
    ):
        parse_params(raw, "params.yaml")


def test_a_scale_with_a_recipe_of_its_own_leaves_an_experiment_its_loss(params: Params) -> None:
    asked = params.run("seeds", "cifar10-nin-bce").recipe
    assert (asked.loss, asked.lr) == ("binary_cross_entropy", params.recipes["robust"].lr)
    assert params.run("seeds", "cifar10-nin").recipe.loss == "cross_entropy"


def test_plan_is_derived_from_the_parameters(params: Params) -> None:
    assert (ROOT / "plan.json").read_text() == plan_text(ROOT, params), "run `niny plan`"


def test_runs_that_hold_images_out_make_no_stage_and_those_without_maps_of_their_own_no_maps(params: Params) -> None:
    stages = json.loads((ROOT / "plan.json").read_text())["plan"]
    assert "tune" not in stages["scales"]
    assert "paper-cifar10-maxout" in stages["runs"]
    parts = {key for key in stages["runs"] if "-aug-only-" in key}
    assert len(parts) == 4
    dead = {f"{scale}-cifar10-nin-nodropout-literal" for scale in ("short", "paper")}
    assert set(stages["runs"]) - set(stages["mapped"]) == {"paper-cifar10-maxout"} | parts | dead
    first = {"smoke-cifar10-nin", "demo-cifar10-nin", "seeds-cifar10-nin", "short-cifar10-nin"}
    kept = {key for key in stages["mapped"] if key.startswith(("seeds-", "short-", "paper-"))}
    assert set(stages["attributed"]) == first | kept
    nulls = {key: run["null"] for key, run in stages["attributed"].items()}
    assert nulls["short-cifar10-nin"] == "results/short/maps/cifar10-nin-permuted.attribution.json"
    assert nulls["short-cifar10-nin-permuted"] == nulls["demo-cifar10-nin"] == "data/cifar10"
    assert nulls["paper-cifar100-nin"] == "data/cifar100"
    scores = "results/smoke/maps/cifar10-nin-permuted.json"  # of maps alone: only the first network is compared there
    assert stages["mapped"]["smoke-cifar10-nin-fc"]["null"] == nulls["smoke-cifar10-nin"] == scores
    assert set(stages["explored"]) == first | {"paper-cifar10-nin"}


def test_a_machine_without_pyyaml_reads_the_same_parameters(params: Params) -> None:
    code = (
        "import sys; sys.modules['yaml'] = None\n"
        "from pathlib import Path; from niny.config import load_params; print(load_params(Path(sys.argv[1])))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(ROOT)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(params)


HEAVY = [
    "yaml",
    "pandas",
    "scipy",
    "matplotlib",
    "seaborn",
    "captum",
    "papermill",
    "dvc",
    "sklearn",
    "PIL",
    "nbformat",
]


@pytest.mark.parametrize(
    "words", ["status --scale smoke", "campaign --scale smoke --only cifar10-nin-nodropout --seeds 2"]
)
def test_a_machine_with_torch_and_numpy_alone_trains(project: Path, words: str) -> None:
    """Two seeds: the class maps of the second are scored where it was trained."""
    start = f"from niny.cli import main\nsys.exit(main({words.split()}))"
    code = f"import sys\nfor m in {HEAVY}: sys.modules[m] = None\n{start}"
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "2 of 2 runs are recorded\n" or words.startswith("status")


def test_the_engine_imports_with_torch_and_numpy_alone() -> None:
    light = "niny.training, niny.cli, niny.benchmark.bench, niny.models.caffe"
    code = f"import sys\nfor m in {HEAVY}: sys.modules[m] = None\nimport {light}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_outside_a_clone_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NINY_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NinyError, match="inside a clone"):
        project_root()


def test_smoke_covers_every_experiment_of_the_demo(params: Params) -> None:
    smoke, demo = ({e.name for e in params.experiments_at(scale)} for scale in ("smoke", "demo"))
    assert demo <= smoke
    assert json.loads((ROOT / "plan.json").read_text())["plan"]["scales"][0] == "smoke"
