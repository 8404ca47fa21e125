"""From scores of single networks to those of a recipe: intervals against known variances, and the records they need."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from niny.errors import NinyError
from niny.maps.charts import draw_cascade, draw_scores, score_html, score_table, training_table
from niny.maps.intervals import RESAMPLES, Scores, bootstrap, rates, score
from niny.maps.meaning import told
from niny.maps.nested import bootstrap_interval, over_seeds, runs
from niny.maps.records import load_seed, save_seed

TRIALS, ITEMS = 200, 100


def studies(networks: int, between: float, shared: float, rest: float) -> dict[int, Scores]:
    """TRIALS studies of so many networks scored on the same ITEMS, by seed; the true mean of each study is 0.

    Standard deviations: of the networks' own means, of what an item brings to all networks, of one item in one network.
    """
    draw = torch.Generator().manual_seed(networks)
    level = between * torch.randn(TRIALS, networks, 1, generator=draw)
    items = shared * torch.randn(TRIALS, 1, ITEMS, generator=draw)
    values = level + items + rest * torch.randn(TRIALS, networks, ITEMS, generator=draw)
    return {seed: bootstrap({str(i): values[i, seed] for i in range(TRIALS)}, 7) for seed in range(networks)}


def coverage(intervals: list[tuple[float, float]]) -> float:
    """The share that holds the true mean, 0."""
    return float(np.mean([low <= 0 <= high for low, high in intervals]))


@pytest.mark.parametrize(
    ("between", "shared", "rest"),
    [(0.1, 0.0, 1.0), (0.1, 1.0, 0.5), (0.3, 0.0, 0.5), (0.0, 1.0, 0.5)],
    ids=["two levels", "images shared by all networks", "networks above all", "images above all"],
)
@pytest.mark.parametrize("networks", [3, 5, 10])
def test_the_interval_holds_the_true_mean_in_95_of_100_studies(
    networks: int, between: float, shared: float, rest: float
) -> None:
    found = over_seeds(studies(networks, between, shared, rest))
    covered = coverage([of["interval"] for of in found.values()])
    assert 0.92 <= covered <= 0.995


def test_the_bootstrap_alone_is_too_narrow_over_few_networks_and_right_over_many() -> None:
    few, many = (studies(networks, 0.3, 0.0, 0.5) for networks in (3, 20))
    alone = [
        coverage([bootstrap_interval([of[str(i)]["resamples"] for of in by_seed.values()]) for i in range(TRIALS)])
        for by_seed in (few, many)
    ]
    assert alone[0] < 0.85
    assert 0.92 <= alone[1] <= 0.98


def test_the_bootstrap_sees_the_variance_of_networks_and_of_the_images_that_they_share() -> None:
    networks, between, shared, rest = 20, 0.1, 1.0, 0.5
    found = studies(networks, between, shared, rest)
    halves = [np.ptp(bootstrap_interval([of[str(i)]["resamples"] for of in found.values()])) / 2 for i in range(100)]
    expected = math.sqrt(between**2 / networks + shared**2 / ITEMS + rest**2 / networks / ITEMS)
    assert np.mean(halves) / 1.96 == pytest.approx(expected, rel=0.05)


def test_one_network_keeps_its_own_interval_and_is_called_one_run() -> None:
    alone = bootstrap({"x": torch.rand(50, generator=torch.Generator().manual_seed(0))}, 0)
    found = over_seeds({3: alone})["x"]
    assert found["interval"] == alone["x"]["interval"]
    assert (found["seeds"], runs(found)) == ({"3": alone["x"]["value"]}, "one run")
    assert "resamples" not in found
    assert runs(over_seeds({0: alone, 1: alone})["x"]) == "2"


def test_networks_that_agree_in_everything_have_the_interval_of_one() -> None:
    alone = bootstrap({"x": torch.rand(50, generator=torch.Generator().manual_seed(0))}, 0)
    assert over_seeds(dict.fromkeys(range(5), alone))["x"]["interval"] == pytest.approx(alone["x"]["interval"])


def test_a_kind_that_some_resamples_lack_is_left_out_of_these_alone() -> None:
    rare = torch.full((30,), math.nan)
    rare[:2] = torch.tensor([0.0, 1.0])
    alone = bootstrap({"x": rare}, 0)
    assert 0.05 < np.isnan(alone["x"]["resamples"]).mean() < 0.25  # (28/30)^30 = 0.13
    assert over_seeds({0: alone, 1: alone})["x"]["interval"] == [0, 1]


def test_shares_of_hits_have_wilsons_interval_alone_and_resamples_for_more_networks() -> None:
    found = rates({"x": torch.tensor([1.0] * 20)}, 0)["x"]
    assert found["interval"][0] == pytest.approx(0.839, abs=1e-3)
    assert set(found["resamples"]) == {1}


def scored(count: int = 3, items: int = 200) -> Scores:
    values = torch.randn(count, items, generator=torch.Generator().manual_seed(1))
    rare = torch.full((items,), math.nan)
    rare[0] = 1
    return bootstrap({str(i): row for i, row in enumerate(values)} | {"rare": rare, "flat": torch.ones(items)}, 0)


def test_a_seed_comes_back_from_its_two_files_to_six_digits(tmp_path: Path) -> None:
    before = scored() | {"error": score(0.25, None, 9)}
    save_seed(tmp_path / "maps.json", "cifar10-nin", "paper", before)
    after = load_seed(tmp_path / "maps.json")
    assert json.loads((tmp_path / "maps.json").read_text())["scores"]["error"] == score(0.25, None, 9)
    assert list(after) == sorted(before)
    for name in ("0", "1", "2", "rare", "flat"):
        drawn = np.array(before[name].pop("resamples"))
        furthest = np.nanmax(np.abs(drawn - before[name]["value"]))
        np.testing.assert_allclose(after[name].pop("resamples"), drawn, atol=furthest / 61 + 1e-6)
    for name, found in after.items():
        assert found["n"] == before[name]["n"]
        assert found["value"] == pytest.approx(before[name]["value"], rel=1e-5)
        assert found["interval"] == (before[name]["interval"] and pytest.approx(before[name]["interval"], rel=1e-5))


def test_intervals_over_seeds_are_the_same_from_files(tmp_path: Path) -> None:
    direct = {0: scored(), 1: scored()}
    save_seed(tmp_path / "maps.json", "cifar10-nin", "paper", direct[1])
    read = over_seeds({0: direct[0], 1: load_seed(tmp_path / "maps.json")})
    for name, found in over_seeds(direct).items():
        assert read[name]["interval"] == pytest.approx(found["interval"], abs=0.005), name


def test_the_record_of_a_seed_with_a_thousand_scores_stays_well_under_a_megabyte(tmp_path: Path) -> None:
    save_seed(tmp_path / "maps.json", "cifar10-nin", "paper", scored(1000))
    assert (tmp_path / "maps.npz").stat().st_size < 800_000


def test_seeds_of_before_there_were_resamples_have_the_t_interval_and_the_images_error(tmp_path: Path) -> None:
    (tmp_path / "maps.json").write_text(json.dumps({"scores": {"0": score(0.5, (0.4, 0.6), 9)}}))
    old = load_seed(tmp_path / "maps.json")
    assert old == {"0": score(0.5, (0.4, 0.6), 9)}
    new = {"0": score(0.3, (0.2, 0.4), 9, [0.3] * RESAMPLES)}
    half = math.hypot(12.706 * 0.1, 0.1)  # t with one degree of freedom, standard error 0.1; sampling error of images
    assert over_seeds({0: new, 1: old})["0"]["interval"] == pytest.approx((0.4 - half, 0.4 + half), abs=1e-3)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", b"nothing"])
def test_a_damaged_record_is_named(tmp_path: Path, damage: bytes) -> None:
    save_seed(tmp_path / "maps.json", "cifar10-nin", "paper", scored())
    (tmp_path / "maps.npz").write_bytes(damage)
    with pytest.raises(NinyError, match=r"maps\.npz is damaged"):
        load_seed(tmp_path / "maps.json")


def labels(figure: object) -> set[str]:
    return {text.get_text() for text in figure.legends[0].get_texts()}  # type: ignore[attr-defined]  # a figure has them


def test_tables_and_charts_show_scores_beside_their_nulls() -> None:
    one = over_seeds({0: {"a.raw": score(0.5, (0.4, 0.6), 9), "a.raw.untrained": score(0.1, (0.0, 0.2), 9)}})
    (row,) = score_table(one, ["a.raw", "b"]).to_dict("records")
    assert row == {
        "value": 0.5,
        "low": 0.4,
        "high": 0.6,
        "n": 9,
        "runs": "one run",
        "untrained": 0.1,
        "lies": "above untrained",
    }
    assert "null: untrained" in labels(draw_scores(one, ["a.raw"], "t", "x"))


def test_a_notebook_cuts_nothing_off_and_says_what_a_score_is() -> None:
    nulls = {"random": 0.1, "centre": 0.5, "raw.other_image": 0.2, "raw.untrained": 0.1}
    one = over_seeds(
        {0: {"focus.raw": score(0.5, (0.4, 0.6), 9)} | {f"focus.{n}": score(v, None, 9) for n, v in nulls.items()}}
    )
    html = score_html({**one, "entropy.raw": one["focus.raw"]}, ["focus.raw", "entropy.raw"])
    assert "above random, other image, untrained; not told apart from centre" in html
    assert "share of the positive part on the two of four images that show the class" in html
    assert "nan" not in html.lower()
    assert "..." not in html


def test_looks_in_training_are_told_from_the_first_to_the_last_with_what_is_known_of_them() -> None:
    rows = [{"epoch": n, "test_error": 50.0 / n, "map_entropy": 0.5 / n} for n in (1.0, 2.0)]
    rows[1] |= {"map_entropy_low": 0.2, "map_entropy_high": 0.3, "map_gridpg3_mass_raw": 0.25}
    late = {"epoch": 3.0, "train_loss": 1.0}  # nobody looked
    table = training_table({0: [*rows, late]}, 10)
    entropy = "entropy (1 flat, 0 one cell), as they are"
    assert table.loc[entropy].to_dict() == {
        "epoch 1": "0.500",
        "epoch 2": "0.250",
        "95 % interval": "0.200 to 0.300",
        "n": "64 images",
        "chance": "1, flat",
    }
    mass = table.loc["mass in the right cell of 9, as they are"]
    assert mass[["epoch 2", "95 % interval", "n", "chance"]].to_list() == ["0.250", "–", "16 grids", "0.111"]
    other = [rows[0], rows[1] | {"map_entropy": 0.35}]
    low, high = training_table({0: rows, 1: other}, 10).loc[entropy, "95 % interval"].split(" to ")
    assert (float(high) + float(low)) / 2 == pytest.approx(0.3, abs=1e-3)
    assert float(high) - float(low) == pytest.approx(2 * 12.7062 * 0.05, rel=1e-2), "t of one degree of freedom"
    assert training_table({0: [late]}, 10).empty


def test_sentences_hold_what_was_measured_and_leave_out_what_was_not() -> None:
    one = over_seeds({0: {"a.raw": score(0.5, (0.4, 0.6), 9), "a.raw.untrained": score(0.1, (0.0, 0.2), 9)}})
    text = told({**one, "b": one["a.raw"]}, {"a.raw": "It is {} so", "b": "This is {}", "c": "Nobody measured {}"})
    assert text.splitlines() == [
        "- It is **0.500** (0.400 to 0.600) so: above untrained.",
        "- This is **0.500** (0.400 to 0.600): it has no null.",
    ]


def test_the_cascade_stands_beside_its_null() -> None:
    kinds = ("", ".other_image", ".absolute", ".absolute.other_image")
    one = over_seeds({0: {f"cascade_rank.1-cccp6.raw{kind}": score(0.5, (0.4, 0.6), 9) for kind in kinds}})
    assert {"null: other image, signed", "null: other image, absolute"} <= labels(draw_cascade(one, "t"))
