from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from niny.errors import NinyError
from niny.evaluation.results import read_scores
from niny.evaluation.rules import Score
from niny.maps.concentration import entropy, gini
from niny.maps.faithfulness import blurred, deletion, insertion, ranks
from niny.maps.forward import head_kind, untrained, why_one_size
from niny.maps.grids import assemble
from niny.maps.heads import connected_maps, values_of
from niny.maps.intervals import Scores, bootstrap, bootstrap_median, only, rates, score, wilson
from niny.maps.nested import over_seeds
from niny.maps.records import is_null, load_scores, nulls_of, save_scores
from niny.maps.scores import OF_MAPS, groups, score_network, skipped
from niny.maps.translation import correlation, equivariance, error_rise, shift, shifted_maps
from niny.models import Network, cnn, initialise, maxout, nin_cifar
from niny.models.blocks import Dropout, FullyConnected, GlobalAveragePool
from niny.training.device import choose_compute

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class Colours(nn.Module):
    """A map for each of ten channels: its mean over 4 x 4 pixels. Knows the class of `painted` images exactly."""

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(images, 4)


def oracle(head: nn.Module | None = None) -> Network:
    return Network({"colours": Colours()}, head or GlobalAveragePool(), ())


def painted(count: int = 60) -> tuple[Tensor, Tensor]:
    """Images of ten channels with a bright 8 x 8 square at some place of the channel of their class."""
    labels = torch.arange(count) % 10
    images = torch.zeros(count, 10, 16, 16)
    for i, label in enumerate(labels):
        top, left = 4 * (i // 10 % 3), 4 * (i // 20 % 3)
        images[i, label, top : top + 8, left : left + 8] = 10
    return images, labels


def scored(net: Network, seed: int = 1) -> Scores:
    images, labels = painted()
    return score_network(net, images, labels, names=NAMES, seed=seed, grids=20)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Thousands of tiny operations: waiting for a second thread costs more than it brings, on a busy machine much."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def found() -> Scores:
    """The scores of the oracle."""
    return scored(oracle())


def test_an_oracle_scores_one_wherever_its_maps_decide(found: Scores) -> None:
    assert found["completeness_error"]["value"] < 1e-6
    for name in ("claim1_rate.raw", "gridpg3_mass.raw", "gridpg3_hit.raw", "gridpg2_hit.margin", "equivariance.raw"):
        assert found[name]["value"] == pytest.approx(1), name
    assert found["gridpg3_hit.raw.vehicles"]["value"] == found["gridpg3_hit.raw.animals"]["value"] == 1
    assert found["gridpg3_hit.raw"]["n"] == 20
    assert found["insertion_gain_other.raw"]["value"] > 0


def test_bfloat16_changes_scores_little_and_completeness_not_at_all() -> None:
    net = nin_cifar(channels=10, size=16, width=0.05)
    initialise(net, "he", 0.0, 1)
    images, labels = painted()
    half, exact = (
        score_network(net, images, labels, names=NAMES, seed=1, grids=20, compute=compute)
        for compute in (choose_compute("cpu", "bfloat16"), None)
    )
    assert half["completeness_error"] == exact["completeness_error"]
    assert half["gridpg3_mass.raw"] != exact["gridpg3_mass.raw"]
    assert half["gridpg3_mass.raw"]["value"] == pytest.approx(exact["gridpg3_mass.raw"]["value"], abs=0.01)


def test_every_score_of_the_claims_is_found_under_its_name(found: Scores) -> None:
    from niny.evaluation.claims import load_claims

    claims = load_claims(Path(__file__).parents[1] / "claims.yaml")
    rules = [vars(claim.rule) for claim in claims]
    asked = {rule[key] for rule in rules for key in ("score", "wide", "narrow") if key in rule}
    asked |= {null for rule in rules for null in rule.get("nulls", ())}
    asked |= {rule["quantity"][5:] for rule in rules if rule.get("quantity", "").startswith("maps.")}
    assert asked
    assert asked - set(found) == {name for name in asked if name.startswith("box_")}  # tested with the boxes


def test_the_nulls_of_an_oracle_score_by_chance(found: Scores) -> None:
    for name in ("gridpg3_mass.uniform", "gridpg3_mass.centre", "gridpg3_hit.centre", "gridpg3_hit.uniform"):
        assert found[name]["value"] == pytest.approx(1 / 9), name
    assert found["gridpg3_mass.raw.other_image"]["value"] < 0.3
    low, high = found["gridpg3_mass.random"]["interval"]
    assert high - low < 0.02
    assert abs(found["gridpg3_mass.random"]["value"] - 1 / 9) < 0.01


def test_the_seed_alone_decides_all_scores() -> None:
    net = nin_cifar(channels=10, size=16, width=0.05)
    initialise(net, "he", 0.0, 0)
    first = scored(net)
    assert repr(scored(net)) == repr(first)  # some resamples are NaN
    assert scored(net, seed=2)["gridpg3_mass.raw"] != first["gridpg3_mass.raw"]


def test_networks_that_cannot_have_a_score_say_why_and_keep_the_others() -> None:
    fixed, dense = cnn(channels=10, size=16, width=0.1), maxout(channels=10, size=16, width=0.1)
    full = oracle(FullyConnected(160, 10))
    assert {"claim1_rate.raw", "gridpg3_mass.raw", "place_hit.raw.noise"} <= set(scored(fixed))
    assert skipped(fixed) == {}
    assert set(scored(dense)) == {"translation_rise_4px", "translation_rise_4px.untrained"}
    assert all(name.startswith(OF_MAPS) or "4px" in name for name in scored(full))
    assert set(skipped(dense)) == set(OF_MAPS)
    assert scored(full)["completeness_error"]["value"] < 1e-5
    assert {"claim1_rate.margin", "gridpg3_mass.raw", "focus.channel"} <= set(scored(full))
    assert [head_kind(net) for net in (oracle(), full, dense)] == ["gap", "fc", "dense"]
    assert why_one_size(oracle()) is None
    assert "one size" in str(why_one_size(full))
    assert "has weights for each place" in str(why_one_size(fixed))


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_maps_of_a_fully_connected_head_have_its_logits_as_means_also_on_a_grid(rate: float) -> None:
    head = FullyConnected(160, 10, Dropout(rate, inverted=False) if rate else None).eval()
    maps = torch.rand(9, 10, 4, 4)
    alone = connected_maps(head, 1, maps)
    assert torch.allclose(alone.mean((2, 3)), head(maps), atol=1e-5)
    assert torch.allclose(connected_maps(head, 3, assemble(maps[None])), assemble(alone[None]), atol=1e-5)


def test_what_is_added_to_the_weights_of_all_classes_changes_raw_maps_alone() -> None:
    """Softmax leaves it open: no probability changes, so nothing else may that networks are compared by."""
    net, maps = oracle(FullyConnected(160, 10)), torch.rand(9, 10, 4, 4)
    before = {view: read(maps) for view, read in values_of(net).items()}
    with torch.no_grad():
        net.head.fc.weight += torch.randn(160)  # type: ignore[union-attr, operator]  # a layer: torch types it as any value
    after = {view: read(maps) for view, read in values_of(net).items()}
    assert not torch.allclose(before["raw"], after["raw"], atol=0.1)
    for view in ("centred", "margin", "softmax", "channel"):
        assert torch.allclose(before[view], after[view], atol=1e-4), view


def test_an_untrained_twin_forgets_everything_and_leaves_its_original_alone() -> None:
    net = nin_cifar(size=16, width=0.05, batch_norm=True)
    initialise(net, "normal", 0.05, 0)
    net.mlpconv1.norm_conv1.running_mean.fill_(3)  # type: ignore[union-attr]  # a layer: torch types it as any value
    fresh = untrained(net, seed=1)
    assert not torch.equal(fresh.mlpconv1.conv1.weight, net.mlpconv1.conv1.weight)  # type: ignore[union-attr]  # a layer: torch types it as any value
    assert fresh.mlpconv1.norm_conv1.running_mean.sum() == 0  # type: ignore[union-attr]  # a layer: torch types it as any value
    assert net.mlpconv1.norm_conv1.running_mean.sum() > 0  # type: ignore[union-attr]  # a layer: torch types it as any value


def test_pixels_come_in_the_order_of_the_map_and_ties_in_an_order_of_the_seed() -> None:
    assert ranks(torch.tensor([[[3.0, 1.0], [2.0, 4.0]]]), 0).tolist() == [[[1, 3], [2, 0]]]
    flat = torch.zeros(2, 8, 8)
    assert sorted(ranks(flat, 0)[0].flatten().tolist()) == list(range(64))
    assert not torch.equal(ranks(flat, 0), ranks(flat, 1))


def test_blurring_keeps_flat_images_and_spreads_a_point_evenly() -> None:
    flat, point = torch.full((1, 2, 16, 16), 3.0), torch.zeros(1, 1, 17, 17)
    point[0, 0, 8, 8] = 1
    assert torch.allclose(blurred(flat), flat)
    spread = blurred(point)[0, 0]
    assert spread.sum().item() == pytest.approx(1, abs=0.02)
    assert torch.allclose(spread, spread.T)
    assert spread.max() < 0.1


def test_restoring_the_evidence_first_beats_restoring_it_last() -> None:
    images, labels = painted(10)
    evidence = Colours()(images)[torch.arange(10), labels]
    orders = {"first": evidence, "last": -evidence}
    restored, taken = (area(oracle(), images, labels, orders, 0) for area in (insertion, deletion))
    assert (restored["first"] > restored["last"]).all()
    assert (taken["first"] < taken["last"]).all()


@pytest.mark.parametrize("head", ["gap", "fc"])
def test_the_untrained_network_is_the_same_beside_every_trained_one(head: str) -> None:
    """One that was read through the trained head would be another beside each."""
    images, labels = painted()
    found = []
    for seed in (1, 2):
        net = nin_cifar(channels=10, size=16, width=0.05, head=head)
        initialise(net, "he", 0.0, seed)
        found.append(score_network(net, images, labels, names=NAMES, seed=1, grids=20))
    first, second = found
    kinds = ("claim1_rate", "top10_share", "gridpg3_mass", "focus", "place_energy", "equivariance", "entropy")
    nulls = [name for name in first if name.endswith(".untrained") and name.partition(".")[0] in kinds]
    assert {name.partition(".")[0] for name in nulls} == set(kinds)
    of_said = (".correct", ".wrong", ".confident")  # by what the trained network says
    for name in (name for name in nulls if not any(part in name for part in of_said)):
        assert first[name]["value"] == second[name]["value"], name
    for name in ("gridpg3_mass.centred", "equivariance.raw", "place_energy.raw.noise", "focus.raw"):
        assert first[f"{name}.untrained"]["value"] != first[name]["value"] != second[name]["value"]


@pytest.mark.parametrize("area", [insertion, deletion])
def test_what_no_pixel_changes_has_its_probability_as_area(area: Callable[..., dict[str, Tensor]]) -> None:
    images, labels = torch.rand(4, 10, 16, 16), torch.arange(4)
    certain = Network({"none": nn.Conv2d(10, 10, 1)}, GlobalAveragePool(), ())
    nn.init.zeros_(certain.none.weight)
    certain.none.bias.data = torch.arange(10.0)
    found = area(certain, images, labels, {"any": torch.rand(4, 4, 4)}, 0)["any"]
    torch.testing.assert_close(found, torch.arange(10.0).softmax(0)[:4].double())


def test_vehicles_are_not_animals_and_together_they_are_all_classes() -> None:
    found = groups(torch.arange(10), NAMES)
    assert {name: [NAMES[i] for i in torch.nonzero(of).flatten()] for name, of in found.items()} == {
        ".vehicles": ["airplane", "automobile", "ship", "truck"],
        ".animals": ["bird", "cat", "deer", "dog", "frog", "horse"],
    }


def test_grids_are_told_apart_by_what_the_network_says_of_each_image() -> None:
    """Frogs are taken for horses and planes shine: the rest is neither wrong nor sure."""
    images, labels = painted()
    images[labels == 6] = images[labels == 6][:, [0, 1, 2, 3, 4, 5, 7, 6, 8, 9]]
    images[labels == 0] *= 4
    found = score_network(oracle(), images, labels, names=NAMES, seed=1, grids=20)
    assert found["gridpg3_hit.raw.wrong"]["value"] < 0.5
    assert found["gridpg3_hit.raw.confident"]["value"] == 1
    assert found["gridpg3_hit.raw.correct"]["value"] > 0.9  # a horse's map finds frogs, too
    sizes = {name: found[f"gridpg3_hit.raw.{name}"]["n"] for name in ("confident", "wrong", "correct", "vehicles")}
    assert 0 < sizes["confident"] <= sizes["vehicles"] <= sizes["correct"]
    assert found["gridpg3_hit.raw.vehicles"]["value"] == 1
    assert found["gridpg3_hit.raw.animals"]["value"] < 1


def test_a_shift_moves_content_and_brings_in_zeros() -> None:
    images = torch.rand(1, 1, 8, 8) + 1
    moved = shift(images, 3, -2)
    assert torch.equal(moved[..., 3:, :-2], images[..., :-3, 2:])
    assert moved[..., :3, :].sum() == moved[..., -2:].sum() == 0


def test_the_error_rises_where_the_evidence_leaves_the_image() -> None:
    images, labels = torch.full((4, 10, 16, 16), -1.0), torch.arange(1, 5)  # class 0 wins what is left empty
    images[torch.arange(4), labels, :4] = 1
    rise = error_rise(oracle(), images, labels, labels, 4)
    assert rise.tolist() == [25] * 4  # gone only when moved up


def test_maps_that_move_with_the_image_are_equivariant_and_frozen_maps_are_not() -> None:
    images, labels = torch.rand(6, 10, 32, 32), torch.arange(6)
    aligned, unaligned = equivariance(Colours()(images), shifted_maps(oracle(), images, 8), labels)
    assert torch.allclose(aligned, torch.ones(6, dtype=torch.float64))
    assert unaligned.mean() < 0.5
    constant = correlation(torch.ones(1, 5), torch.rand(1, 5))
    assert constant.isnan().all()


@pytest.mark.parametrize(("hits", "n"), [(10, 100), (0, 10), (10, 10), (867, 1000)])
def test_wilsons_interval_is_scipys(hits: int, n: int) -> None:
    expected = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert wilson(hits / n, n) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_the_bootstrap_interval_is_scipys_up_to_its_draws() -> None:
    items = torch.rand(200, generator=torch.Generator().manual_seed(0)) ** 3  # skewed
    low, high = bootstrap({"x": items}, 0)["x"]["interval"]
    expected = stats.bootstrap((items.numpy(),), np.mean, method="percentile", rng=0).confidence_interval
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.1 * (high - low))


def test_rates_and_bootstrap_count_only_items_that_were_asked() -> None:
    hits, asked = torch.tensor([1.0, 0, 1, 1]), torch.tensor([True, True, False, False])
    samples = {"all": hits, "some": only(hits, asked), "none": only(hits, ~asked & asked)}
    assert rates(samples, 0).keys() == {"all", "some"}
    found = bootstrap(samples, 0)
    assert found["some"]["value"] == 0.5
    assert found["some"]["n"] == 2
    assert "none" not in found


def test_the_bootstrap_interval_has_the_width_that_theory_gives() -> None:
    items = torch.randn(400, generator=torch.Generator().manual_seed(0))
    low, high = bootstrap({"x": items}, 0)["x"]["interval"]
    assert (high - low) / 2 == pytest.approx(1.96 * items.std().item() / 20, rel=0.1)


def test_the_median_comes_with_the_interval_of_theory() -> None:
    items = torch.randn(400, generator=torch.Generator().manual_seed(0))
    found = bootstrap_median({"x": items}, 0)["x"]
    low, high = found["interval"]
    assert found["value"] == pytest.approx(items.median().item())
    assert low < found["value"] < high
    assert (high - low) / 2 == pytest.approx(1.96 * 1.2533 / 20, rel=0.3)


def test_numbers_of_one_item_are_resampled_together() -> None:
    items = torch.randn(100, 1, generator=torch.Generator().manual_seed(0))
    alone, repeated = bootstrap({"x": items}, 0)["x"], bootstrap({"x": items.expand(-1, 9)}, 0)["x"]
    assert repeated["interval"] == pytest.approx(alone["interval"])
    assert repeated["n"] == 100


def test_saved_scores_come_back_with_all_seeds(tmp_path: Path) -> None:
    path = tmp_path / "maps" / "x.json"
    save_scores(path, "x", "demo", "gap", over_seeds({0: {"a": score(0.5, (0.4, 0.6), 9)}}))
    assert read_scores(path) == {"a": Score(0.5, (0.4, 0.6), {0: 0.5}, 9)}
    seeds = {k: {"a": score(v, (v - 0.1, v + 0.1), 9)} for k, v in enumerate((0.4, 0.6))}
    save_scores(path, "x", "demo", "gap", over_seeds(seeds))
    both = read_scores(path)["a"]
    assert (both.value, both.seeds) == (0.5, {0: 0.4, 1: 0.6})
    assert both.interval is not None
    assert both.interval[1] - both.interval[0] > 2 * 12.706 * 0.1  # t with one degree of freedom, standard error 0.1


def test_no_file_is_no_score_and_a_damaged_one_an_error(tmp_path: Path) -> None:
    assert read_scores(tmp_path / "x.json") == {}
    (tmp_path / "x.json").write_text('{"scores": {"a": {}}}')
    with pytest.raises(NinyError, match="damaged"):
        read_scores(tmp_path / "x.json")
    assert load_scores(tmp_path / "y.json") == {}
    with pytest.raises(NinyError, match="damaged"):
        load_scores(tmp_path / "x.json")


def test_every_score_of_an_oracle_stands_beside_its_nulls(found: Scores) -> None:
    measured = {name for name in found if not is_null(name)}
    assert "gridpg3_hit.raw.animals" in measured
    assert not {"gridpg3_hit.centre", "claim1_rate.raw.untrained", "place_hit.random.mean"} & measured
    known = {"uniform", "random", "centre", "other_image", "untrained"}
    for name in (
        "claim1_rate.raw.correct",
        "claim1_rate.raw.frog",
        "gridpg3_hit.raw.vehicles",
        "top10_share.margin",
        "gridpg2_mass.softmax",
        "focus.centred",
    ):
        assert set(nulls_of(found, name)) == known, name
    assert set(nulls_of(found, "gridpg3_mass_median.raw")) == set(nulls_of(found, "gridpg3_mass.raw"))
    assert nulls_of(found, "gridpg3_mass_median.raw")["centre"] == found["gridpg3_mass_median.centre"]
    assert nulls_of(found, "claim1_rate.raw.frog")["other_image"] == found["claim1_rate.raw.frog.other_image"]
    assert set(nulls_of(found, "place_energy.raw.noise")) == known
    assert nulls_of(found, "place_energy.raw.noise")["centre"] == found["place_energy.centre.noise"]
    assert {"unaligned", "random", "centre"} <= set(nulls_of(found, "equivariance.raw"))
    assert set(nulls_of(found, "insertion_area.centred")) == known
    assert set(nulls_of(found, "insertion_gain_other.margin")) == known - {"other_image"}
    assert set(nulls_of(found, "deletion_gain_centre.softmax")) == known - {"centre"}
    assert {name for name in measured if "untrained" not in nulls_of(found, name)} == set()


def test_a_gain_is_the_area_beyond_that_of_the_null_it_is_named_after(found: Scores) -> None:
    areas = {name: found[f"insertion_area.{name}"]["value"] for name in ("margin", "margin.other_image", "centre")}
    gain = found["insertion_gain_other.margin"]["value"]
    assert gain == pytest.approx(areas["margin"] - areas["margin.other_image"])
    of_centre = found["insertion_gain_other.margin.centre"]["value"]
    assert of_centre == pytest.approx(areas["centre"] - areas["margin.other_image"])
    taken = found["deletion_area.raw.other_image"]["value"] - found["deletion_area.raw"]["value"]
    assert found["deletion_gain_other.raw"]["value"] == pytest.approx(taken)


def test_entropy_and_gini_of_flat_and_of_single_cells() -> None:
    flat, single = torch.ones(1, 4, 4), torch.zeros(1, 4, 4)
    single[0, 2, 1] = 7
    maps = torch.cat([flat, single, single - 1, -flat])
    assert entropy(maps)[:3].tolist() == pytest.approx([1, 0, 0])
    assert gini(maps)[:3].tolist() == pytest.approx([0, 15 / 16, 15 / 16])
    assert entropy(maps)[3].isnan()
    half = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    assert (entropy(half).item(), gini(half).item()) == pytest.approx((0.5, 0.5))
