"""Results: run folders become what the rules judge by; a collapsed, foreign or damaged record never counts unseen."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import IMAGES, ROOT, plant, plant_scores, project, study_params

from niny.errors import NinyError
from niny.evaluation.claims import judge, load_claims
from niny.evaluation.results import load_results, run_table
from niny.evaluation.rules import MapScore, Ordering, Rule, VariesMore
from niny.files import write_json
from niny.maps.intervals import score
from niny.maps.nested import over_seeds
from niny.maps.records import save_scores

PARAMS = study_params()
RUN = PARAMS.run("full", "cifar10-nin")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return project(tmp_path)


def test_every_experiment_of_the_scale_is_there_and_empty_before_it_is_run(root: Path) -> None:
    results = load_results(PARAMS, "full", root)
    assert list(results) == [e.name for e in PARAMS.experiments_at("full")]
    assert not any(result.test_errors or result.history or result.maps for result in results.values())
    assert run_table(PARAMS, "full", root).empty


def test_a_record_gives_its_errors_its_curve_and_the_images_it_got_right(root: Path) -> None:
    plant(root, RUN, 0, 10.41)
    plant(root, RUN, 10, 10.5)
    plant(root, RUN, 2, 10.3)
    result = load_results(PARAMS, "full", root)["cifar10-nin"]
    assert dict(result.test_errors) == {0: 10.41, 2: 10.3, 10: 10.5}
    assert dict(result.train_errors) == {0: 5.205, 2: 5.15, 10: 5.25}
    assert (~result.correct[0]).sum() == round(0.1041 * IMAGES)
    first, second = result.history[0][:2]
    assert "test_error" not in first
    assert second["test_error"] == pytest.approx(10.41 + (90 - 10.41) / 2, rel=1e-5)


def test_the_run_table_has_a_line_for_each_run_in_order(root: Path) -> None:
    for seed in (10, 0, 2):
        plant(root, RUN, seed, 10.0 + seed)
    table = run_table(PARAMS, "full", root)
    assert table["seed"].to_list() == [0, 2, 10]
    assert table.loc[0, ["processor", "precision", "commit"]].to_list() == ["Known CPU", "bfloat16", "0123456789abcdef"]
    assert table.loc[0, "folder"] == "results/full/runs/cifar10-nin/seed-0"


def test_a_collapsed_run_is_counted_but_enters_no_mean(root: Path) -> None:
    plant(root, RUN, 0, 10.0)
    plant(root, RUN, 1, 90.0, collapsed=True)
    assert dict(load_results(PARAMS, "full", root)["cifar10-nin"].test_errors) == {0: 10.0}
    assert run_table(PARAMS, "full", root)["state"].to_list() == ["finished", "collapsed"]


def test_a_class_is_lost_where_the_network_takes_no_image_for_it(root: Path) -> None:
    folder = plant(root, RUN, 0, 50.0)
    label = np.arange(IMAGES, dtype=np.uint8) % 4
    np.savez_compressed(folder / "predictions.npz", predicted=label % 2, label=label)
    assert run_table(PARAMS, "full", root)["lost_classes"].to_list() == [2]


def test_a_record_of_other_settings_counts_for_nothing_and_is_named(root: Path) -> None:
    plant(root, RUN, 0, 10.0, run_digest="0" * 16)
    assert not load_results(PARAMS, "full", root)["cifar10-nin"].test_errors
    assert run_table(PARAMS, "full", root)["state"].to_list() == ["other settings"]


def test_a_folder_without_metrics_is_no_record(root: Path) -> None:
    (plant(root, RUN, 0, 10.0) / "metrics.json").unlink()
    assert run_table(PARAMS, "full", root).empty


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metrics.json", b"{"),
        ("metrics.json", b"[]"),
        ("metrics.json", b'{"test_error": "low"}'),
        ("environment.json", b"{"),
        ("history.csv", b"epoch,test_error\n1,low\n"),
        ("history.csv", b"epoch,test_error\n1,2,3\n"),
        ("history.csv", b"epoch,test_error\n,2\n"),
        ("history.csv", b"epoch,test_error\n"),
        ("history.csv", b""),
        ("predictions.npz", b"PK\x03\x04"),
        ("predictions.npz", b""),
    ],
)
def test_a_damaged_file_is_named(root: Path, name: str, content: bytes) -> None:
    (plant(root, RUN, 0, 10.0) / name).write_bytes(content)
    with pytest.raises(NinyError, match=rf"seed-0/{name} is damaged"):
        load_results(PARAMS, "full", root)


@pytest.mark.parametrize("name", ["environment.json", "history.csv", "predictions.npz"])
def test_a_missing_file_is_named(root: Path, name: str) -> None:
    (plant(root, RUN, 0, 10.0) / name).unlink()
    with pytest.raises(NinyError, match=rf"seed-0/{name} is damaged"):
        load_results(PARAMS, "full", root)


def test_a_flipped_byte_in_the_predictions_is_seen(root: Path) -> None:
    path = plant(root, RUN, 0, 10.0) / "predictions.npz"
    content = bytearray(path.read_bytes())
    content[80] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(NinyError, match=r"predictions\.npz is damaged"):
        load_results(PARAMS, "full", root)


def test_an_error_that_its_predictions_do_not_give_is_refused(root: Path) -> None:
    path = plant(root, RUN, 0, 10.0) / "metrics.json"
    write_json(path, json.loads(path.read_text()) | {"test_error": 9.0})
    with pytest.raises(NinyError, match=r"predictions\.npz is damaged .*9\.00"):
        load_results(PARAMS, "full", root)


def test_map_scores_are_read_beside_the_runs(root: Path) -> None:
    for seed in range(2):
        plant(root, RUN, seed, 10.0)
    score = {"value": 0.5, "interval": [0.4, 0.6], "n": 2, "seeds": {"0": 0.45, "1": 0.55}}
    write_json(root / "results/full/maps/cifar10-nin.json", {"scores": {"hit.raw": score}})
    maps = load_results(PARAMS, "full", root)["cifar10-nin"].maps
    assert (maps["hit.raw"].value, maps["hit.raw"].interval, dict(maps["hit.raw"].seeds)) == (
        0.5,
        (0.4, 0.6),
        {0: 0.45, 1: 0.55},
    )


@pytest.mark.parametrize("content", ["{", "{}", '{"scores": {"hit": {"interval": null}}}', '{"scores": {"hit": 1}}'])
def test_damaged_map_scores_are_named(root: Path, content: str) -> None:
    path = root / "results/full/maps/cifar10-nin.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(NinyError, match=r"maps/cifar10-nin\.json is damaged"):
        load_results(PARAMS, "full", root)


def test_the_judge_reads_what_map_scoring_records_for_every_claim_about_maps(root: Path) -> None:
    """Five seeds, their scores far on one side: every such claim is judged, none for want of a name or of seeds."""
    claims = load_claims(ROOT / "claims.yaml")
    about_maps = [c for c in claims if isinstance(c.rule, (MapScore, VariesMore)) or _asks_maps(c.rule)]
    assert len(about_maps) > 5
    names = set().union(*(_scores_of(c.rule) for c in about_maps))
    for experiment in {name for c in about_maps for name in c.rule.experiments}:
        seeds = {k: {name: score(*_planted(name, k), 500) for name in names} for k in range(5)}
        for k in seeds:
            plant(root, PARAMS.run("full", experiment), k, 10.0)
        save_scores(root / f"results/full/maps/{experiment}.json", experiment, "full", "gap", over_seeds(seeds))
    verdicts = judge(about_maps, load_results(PARAMS, "full", root), evidence=True)
    assert {v.n for v in verdicts} == {5}
    assert {v.status for v in verdicts} <= {"supported", "refuted", "undecided"}
    assert "supported" in {v.status for v in verdicts}


def test_scores_of_networks_that_collapsed_are_no_evidence(root: Path) -> None:
    run = PARAMS.run("full", "cifar10-nin")
    plant(root, run, 0, 90.0, collapsed=True)
    plant_scores(root, run, {"claim1_rate.raw": (0.1, 0.09, 0.11)})
    assert load_results(PARAMS, "full", root)["cifar10-nin"].maps == {}
    plant(root, run, 0, 10.0)
    assert "claim1_rate.raw" in load_results(PARAMS, "full", root)["cifar10-nin"].maps


def _asks_maps(rule: Rule) -> bool:
    return isinstance(rule, Ordering) and rule.quantity.startswith("maps.")


def _scores_of(rule: Rule) -> set[str]:
    if isinstance(rule, MapScore):
        return {rule.score, *rule.nulls}
    if isinstance(rule, VariesMore):
        return {rule.wide, rule.narrow}
    return {rule.quantity.partition(".")[2]} if isinstance(rule, Ordering) else set()


def _planted(name: str, seed: int) -> tuple[float, tuple[float, float]]:
    value = (0.1 if name.endswith("centre") else 0.6) + 0.001 * seed * (1 + len(name) % 3)
    return value, (value - 0.01, value + 0.01)


@settings(max_examples=50, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=100,
    )
)
def test_json_is_read_back_as_it_was_written(value: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "it.json"
        write_json(path, value)
        assert json.loads(path.read_text(encoding="utf-8")) == value


def test_json_keeps_short_things_and_lists_of_numbers_on_a_line(tmp_path: Path) -> None:
    numbers = [0.125] * 100
    write_json(tmp_path / "it.json", {"b": {"score": {"value": 1, "n": 2}}, "a": numbers})
    lines = ["{", f'  "a": {numbers},', '  "b": {"score": {"n": 2, "value": 1}}', "}", ""]
    assert (tmp_path / "it.json").read_text() == "\n".join(lines)
