"""Where runs differ: spreads by source follow from the records, and no sentence says more than the intervals do."""

from pathlib import Path

import pandas as pd
import pytest
from planted import change, plant, plant_scores, project, study_params

from niny.config import SOURCES
from niny.maps.intervals import score
from niny.maps.records import OF_ONE_SEED, save_seed
from niny.report.article import chance
from niny.report.spread import RATIO, families, mixtures, spread_findings, spread_table
from niny.report.study import Study, load_study
from niny.report.tables import missing_table
from niny.training.campaign import tasks_of

PARAMS = study_params()
WHOLE = "cifar10-nin-aug"
WIDE = [10.0, 12.0, 14.0, 16.0, 18.0]  # standard deviation 3.162
NARROW = [14.0, 14.1, 14.2, 14.3, 14.4]  # a twentieth of it


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return project(tmp_path / "project")


def planted(root: Path, runs: dict[str, list[float]]) -> Study:
    for name, errors in runs.items():
        plant_all(root, name, errors)
    return load_study(PARAMS, "seeds", root)


def rows(study: Study) -> pd.DataFrame:
    return spread_table(study).set_index(["Of", "What varies"])


def test_each_source_has_an_experiment_that_differs_from_the_whole_in_that_alone(root: Path) -> None:
    (family,) = families(planted(root, {}))
    assert family.whole.name == WHOLE
    assert [experiment.varies for experiment in family.parts] == [(source,) for source in SOURCES]


def test_standard_deviations_intervals_and_ratios_are_those_of_the_runs(root: Path) -> None:
    table = rows(planted(root, {WHOLE: WIDE, f"{WHOLE}-only-init": NARROW, f"{WHOLE}-only-masks": WIDE}))
    whole, init = table.loc[("test error, %", "everything")], table.loc[("test error, %", "initial weights")]
    assert (whole["Experiment"], whole["Mean"], whole["n"], whole["Standard deviation"]) == (
        WHOLE,
        "14.00",
        "5",
        "3.16",
    )
    assert whole["95 % interval"] == "1.89 to 9.09"  # 3.162 times 0.599 and 2.874, chi-square with 4 degrees
    assert whole[RATIO] == "–"
    assert init[RATIO] == "0.003 (0.00026 to 0.024)"  # 0.05 squared, over and times 9.605
    assert table.loc[("test error, %", "dropout masks"), RATIO] == "1.00 (0.104 to 9.60)"


def test_what_was_not_run_or_once_looks_so(root: Path) -> None:
    table = rows(planted(root, {WHOLE: WIDE, f"{WHOLE}-only-init": [14.0]}))
    assert table.loc[("test error, %", "initial weights"), "Standard deviation"] == "one run"
    assert table.loc[("test error, %", "order of images"), "Standard deviation"] == "not run"
    assert spread_findings(load_study(PARAMS, "short", root)) == []


def test_nothing_is_found_without_runs(root: Path) -> None:
    assert spread_findings(planted(root, {})) == []
    assert spread_findings(planted(root, {WHOLE: WIDE})) == []


def test_a_sentence_says_less_or_more_only_where_the_test_does(root: Path) -> None:
    less = planted(root, {WHOLE: WIDE, f"{WHOLE}-only-init": NARROW, f"{WHOLE}-only-order": WIDE})
    assert spread_findings(less) == [
        f"`{WHOLE}`, 5 runs: its test errors spread by initial weights less than all sources together; the spread by "
        "order of images alone cannot be told apart from that by all sources together: with so few runs only a "
        "variance 14 times as large, or 14 times as small, would show."
    ]


def test_a_source_that_spreads_more_is_said_to(root: Path) -> None:
    (said,) = spread_findings(planted(root, {WHOLE: NARROW, f"{WHOLE}-only-masks": WIDE}))
    assert said == f"`{WHOLE}`, 5 runs: its test errors spread by dropout masks more than all sources together."


def test_map_scores_spread_as_their_seeds_do(root: Path) -> None:
    study = planted(root, {WHOLE: WIDE})
    assert {*spread_table(study)["Of"]} == {"test error, %"}
    plant_scores(root, PARAMS.run("seeds", WHOLE), {"claim1_rate.raw": (0.8, 0.78, 0.82)}, seeds=5)
    table, of = rows(load_study(PARAMS, "seeds", root)), "largest in the true map\nclaim1_rate.raw"
    assert table.loc[(of, "everything"), "Standard deviation"] == "0"
    assert table.loc[(of, "dropout masks"), "n"] == "0"


def test_run_0_of_what_varies_alone_is_not_missed(root: Path) -> None:
    alone = PARAMS.run("seeds", f"{WHOLE}-only-init")
    assert (alone.seeds, PARAMS.run("seeds", WHOLE).seeds) == (range(1, 5), range(5))
    tasks = tasks_of(PARAMS, "seeds", [WHOLE, alone.experiment.name])
    assert [(t.run.experiment.name, t.seed) for t in tasks[:3]] == [(WHOLE, 0), (WHOLE, 1), (alone.experiment.name, 1)]
    study = planted(root, {WHOLE: WIDE})
    plant_all(root, alone.experiment.name, dict(enumerate(NARROW[1:], 1)))
    study = load_study(PARAMS, "seeds", root)
    assert alone.experiment.name not in set(missing_table(study)["Not run"])
    assert study.wanted == 5 * len(study.experiments) - 4


def test_scales_that_vary_nothing_alone_have_no_such_section(root: Path) -> None:
    assert chance(load_study(PARAMS, "short", root)) == ()
    (section,) = chance(planted(root, {}))
    assert section.title.startswith("Where the differences")


def test_run_0_of_the_whole_is_one_of_every_part_that_was_made_alike(root: Path) -> None:
    plant_all(root, WHOLE, WIDE)
    plant_all(root, f"{WHOLE}-only-init", {1: 10.2, 2: 10.4})
    elsewhere = plant_all(root, f"{WHOLE}-only-order", {1: 10.2, 2: 10.4})
    for folder in elsewhere:
        change(folder / "environment.json", precision="float32")
    table = rows(load_study(PARAMS, "seeds", root)).loc["test error, %"]
    assert (table.loc["initial weights", "n"], table.loc["initial weights", "Mean"]) == ("3", "10.20")
    assert (table.loc["order of images", "n"], table.loc["order of images", "Mean"]) == ("2", "10.30")
    assert table.loc["dropout masks", "n"] == "0"


def test_runs_of_other_machines_are_said_to_differ_by_more(root: Path) -> None:
    first, *_ = plant_all(root, WHOLE, WIDE)
    assert mixtures(load_study(PARAMS, "seeds", root)) == []
    change(first / "environment.json", precision="float32", threads=1)
    (said,) = mixtures(load_study(PARAMS, "seeds", root))
    assert said.startswith(f"The runs of `{WHOLE}` differ in threads and precision, too")


def test_a_run_0_that_was_tried_again_is_no_part_s(root: Path) -> None:
    (first,) = plant_all(root, WHOLE, [10.0])
    plant_all(root, f"{WHOLE}-only-init", {1: 10.2, 2: 10.4})
    change(first / "metrics.json", collapsed_attempts=[{"attempt": 0, "epochs": 1}])
    assert rows(load_study(PARAMS, "seeds", root)).loc[("test error, %", "initial weights"), "n"] == "2"


def test_map_scores_of_a_part_are_those_of_its_runs(root: Path) -> None:
    plant_all(root, WHOLE, WIDE)
    plant_scores(root, PARAMS.run("seeds", WHOLE), {"claim1_rate.raw": (0.5, 0.4, 0.6)}, seeds=5)
    for folder, value in zip(plant_all(root, f"{WHOLE}-only-init", {1: 10.2, 2: 10.4}), (0.6, 0.7), strict=True):
        save_seed(folder / OF_ONE_SEED, f"{WHOLE}-only-init", "seeds", {"claim1_rate.raw": score(value, (0.4, 0.8), 9)})
        assert [path.name for path in folder.glob("maps.*")] == [OF_ONE_SEED]
    found = rows(load_study(PARAMS, "seeds", root)).loc[("largest in the true map\nclaim1_rate.raw", "initial weights")]
    assert (found["n"], found["Mean"], found["Standard deviation"]) == ("3", "0.600", "0.100")


def plant_all(root: Path, name: str, errors: list[float] | dict[int, float]) -> list[Path]:
    by_seed = errors if isinstance(errors, dict) else dict(enumerate(errors))
    return [plant(root, PARAMS.run("seeds", name), seed, error) for seed, error in by_seed.items()]
