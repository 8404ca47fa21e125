import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from niny.maps.agreement import rank_correlation, top_overlap
from niny.maps.attribution import METHODS, Explained, attribute, contribution, dipart, grad_cam, propagate
from niny.maps.charts import draw_cascade, score_table
from niny.maps.comparison import METRICS, RELEARNT, available, compare_network
from niny.maps.forward import class_maps, logits
from niny.maps.nested import over_seeds
from niny.maps.records import nulls_of
from niny.maps.sanity import _patches, cascade, infidelity, max_sensitivity, own_maps, patched
from niny.maps.views import ORDERS, VIEWS
from niny.models import Network, cnn, initialise, linear_cifar, nin_cifar
from niny.models.blocks import GlobalAveragePool

IMAGES = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([1, 0, 2, 5])


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Thousands of tiny operations: waiting for a second thread costs more than it brings, on a busy machine much."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def network(**options: object) -> Network:
    net = nin_cifar(size=16, width=0.05, **options)
    initialise(net, "he", 0.0, 4)
    return net.eval()


class Colours(nn.Module):
    """A map for each of ten channels: its mean over 4 x 4 pixels."""

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(images, 4)


class Everywhere(nn.Module):
    """Maps without locality: each cell is the mean of the whole image."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3), keepdim=True).expand(-1, -1, images.shape[2] // 4, images.shape[3] // 4)


def looking(eye: nn.Module) -> Network:
    return Network({"eye": eye}, GlobalAveragePool(), ())


def test_grad_cam_at_the_last_block_is_the_class_map_over_the_number_of_cells() -> None:
    net = network()
    found = attribute(grad_cam("mlpconv3"), net, IMAGES, TARGETS, 4)
    own = own_maps(net, IMAGES, TARGETS)
    assert own.abs().max() > 0
    assert torch.allclose(16 * found, own, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("head", ["gap", "fc", "fc_dropout"])
def test_contributions_add_up_to_the_logit(head: str) -> None:
    net = network(head=head)
    parts = attribute(contribution, net, IMAGES, TARGETS, 4).sum((1, 2))
    bias = 0 if head == "gap" else net.head.fc.bias[TARGETS]  # type: ignore[union-attr, index]  # a layer: torch types it as any value
    assert torch.allclose(parts + bias, logits(net, IMAGES).gather(1, TARGETS[:, None])[:, 0], atol=1e-5)


@pytest.mark.parametrize(("bias", "tolerance"), [(0.0, 1e-5), (0.1, 0.02)])
def test_integrated_gradients_add_up_to_the_difference_from_the_baseline(bias: float, tolerance: float) -> None:
    """Exactly where nothing is biased: the gradient is then the same all the way from zero, whatever the steps."""
    net = network(final_relu=False)
    for name, parameter in net.named_parameters():
        if name.endswith("bias"):
            nn.init.constant_(parameter, bias)
    total = attribute(METHODS["integrated_gradients"], net, IMAGES, TARGETS, 16).sum((1, 2))
    said = logits(net, torch.cat([IMAGES, torch.zeros(1, 3, 16, 16)]))
    expected = said[torch.arange(4), TARGETS] - said[4, TARGETS]
    assert torch.allclose(total, expected, rtol=0, atol=tolerance * expected.abs().max().item())


@pytest.mark.parametrize("view", ORDERS)
@pytest.mark.parametrize("head", ["gap", "fc", "fc_dropout"])
def test_the_epsilon_rule_everywhere_is_gradient_x_input(head: str, view: str) -> None:
    from captum.attr._utils.lrp_rules import EpsilonRule

    net, images = network(head=head).double(), IMAGES.double()
    said = Explained(net, ORDERS[view])
    ruled, product = (
        method(said, images.clone().requires_grad_(), TARGETS).detach()
        for method in (lambda *about: propagate(*about, EpsilonRule), METHODS["gradient_x_input"])
    )
    assert torch.allclose(ruled, product, rtol=0, atol=1e-5 * product.abs().max().item())
    assert not hasattr(net.mlpconv1.conv1, "rule")  # type: ignore[union-attr]  # a layer: torch types it as any value


def test_relevance_is_the_logit_shared_among_the_pixels_that_made_it() -> None:
    """Without biases nothing is lost on the way back, and what was zero in the image made nothing."""
    net, labels = network().double(), torch.tensor([3, 8])
    for name, value in net.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(value)
    images = torch.zeros(2, 3, 16, 16).double()
    images[:, :, :6, :6] = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(2))
    found = METHODS["lrp"](net, images.requires_grad_(), labels).detach()
    said = net(images).detach()[torch.arange(2), labels]
    assert said.abs().min() > 0
    assert torch.allclose(found.sum((1, 2, 3)), said, rtol=1e-5)
    assert (found[:, :, 6:] == 0).all()
    assert (found[:, :, :, 6:] == 0).all()


def test_every_method_finds_the_only_square_that_counts() -> None:
    images = torch.zeros(1, 10, 16, 16)
    images[0, 3, 8:12, 4:8] = 5
    for name in available(looking(Colours())):
        if name not in (
            "saliency",
            "lrp",
        ):  # the gradient of a linear map is the same everywhere, relevance knows no pool
            found = attribute(METHODS[name], looking(Colours()), images, torch.tensor([3]), 4)
            assert found.flatten().argmax().item() == 4 * 2 + 1, name


class Corner(nn.Module):
    """A network that looks at one corner alone, whatever else the image shows: right for the wrong reason."""

    def forward(self, images: Tensor) -> Tensor:
        seen = torch.zeros_like(images)
        seen[..., :4, :4] = images[..., :4, :4]
        return nn.functional.avg_pool2d(seen, 4)


def test_maps_and_attributions_find_a_decoy_in_the_corner_and_not_the_object() -> None:
    net, labels = looking(Corner()), torch.arange(10)
    images = torch.zeros(10, 10, 16, 16)
    images[torch.arange(10), (labels + 1) % 10, 8:, 8:] = 9  # an object that says another class
    images[torch.arange(10), labels, :4, :4] = 1  # the decoy that says this one
    assert torch.equal(logits(net, images).argmax(1), labels)
    own = own_maps(net, images, labels)
    assert (own[:, 0, 0] / own.sum((1, 2))).tolist() == [1] * 10
    for name in ("gradient_x_input", "integrated_gradients", "occlusion", "saliency"):
        found = attribute(METHODS[name], net, images, labels, 4).abs()
        assert (found.flatten(1).argmax(1) == 0).all(), name
        assert (found[:, 2:, 2:] == 0).all(), name


def test_rank_correlation_is_scipys() -> None:
    from scipy.stats import spearmanr

    a, b = torch.randn(3, 4, 4).round(decimals=0), torch.randn(3, 4, 4)  # rounded: with ties
    expected = [spearmanr(x.flatten(), y.flatten()).statistic for x, y in zip(a, b, strict=True)]
    assert rank_correlation(a, b).tolist() == pytest.approx(expected)


def test_top_overlap_of_equal_and_of_opposite_maps() -> None:
    maps = torch.rand(5, 8, 8)
    assert top_overlap(maps, maps).tolist() == [1] * 5
    assert top_overlap(maps, -maps).tolist() == [0] * 5


def test_the_order_of_probabilities_can_be_traced_back_where_one_class_takes_all() -> None:
    maps = torch.tensor([200.0, 3.0, -50.0])[None, :, None, None].requires_grad_()
    (gradient,) = torch.autograd.grad(ORDERS["softmax"](maps)[0, 0].sum(), maps)
    assert gradient.flatten().tolist() == pytest.approx([1, -1, 0], abs=1e-6)


def test_dipart_of_a_local_and_of_a_global_network() -> None:
    canvas, classes = torch.rand(3, 10, 48, 48), torch.tensor([0, 4, 9])
    for view, shares in dipart(looking(Colours()), canvas, classes, 3, 4, ORDERS).items():
        assert shares.tolist() == [1] * 3, view
    for view, shares in dipart(looking(Everywhere()), canvas, classes, 3, 4, ORDERS).items():
        assert shares.tolist() == pytest.approx([1 / 9] * 3), view


@pytest.mark.parametrize(("head", "first"), [("gap", []), ("fc", ["fc"])])
def test_the_cascade_starts_at_the_last_weights_and_leaves_the_network_alone(head: str, first: list[str]) -> None:
    net = network(head=head)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    steps = [(name, {k: v.clone() for k, v in twin.state_dict().items()}) for name, twin in cascade(net, 0)]
    layers = ["cccp6", "cccp5", "conv3", "cccp4", "cccp3", "conv2", "cccp2", "cccp1", "conv1"]
    assert [name.rpartition(".")[2] for name, _ in steps] == first + layers
    for depth, (_, state) in enumerate(steps, 1):  # biases are zero before and after
        changed = {k for k, value in state.items() if k.endswith("weight") and not torch.equal(value, before[k])}
        assert changed == {f"{name}.weight" for name, _ in steps[:depth]}
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("shared", [False, True])
def test_the_cascade_forgets_what_batch_norm_remembers(shared: bool) -> None:
    net = nin_cifar(size=16, width=0.05, batch_norm=True)
    if shared:  # as processes that share batches train it
        nn.SyncBatchNorm.convert_sync_batchnorm(net)
    net.mlpconv1.norm_conv1.running_mean.fill_(3)  # type: ignore[union-attr]  # a layer: torch types it as any value
    *_, (_, twin) = cascade(net, 0)
    assert (twin.mlpconv1.norm_conv1.running_mean == 0).all()  # type: ignore[union-attr]  # a layer: torch types it as any value
    assert (net.mlpconv1.norm_conv1.running_mean == 3).all()  # type: ignore[union-attr]  # a layer: torch types it as any value


def test_infidelity_of_the_exact_map_is_zero_and_of_a_stranger_is_not() -> None:
    images = torch.rand(4, 10, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)  # flat within each cell
    net = looking(Colours())
    own = own_maps(net, images, TARGETS)
    maps = {"own": own, "scaled": 7 * own, "stranger": own.roll(1, 0), "opposite": -own, "nothing": 0 * own}
    found = infidelity(patched(net, images, 0), TARGETS, maps)
    assert found["own"].tolist() == pytest.approx([0] * 4, abs=1e-5)
    assert found["scaled"].tolist() == pytest.approx([0] * 4, abs=1e-5)
    assert (found["stranger"] > 0.01).all()
    assert found["opposite"].tolist() == pytest.approx([0] * 4, abs=1e-5), "the best scale may be negative"
    assert found["nothing"].tolist() == [1] * 4


def test_infidelity_is_captums_of_the_network_itself() -> None:
    from captum.metrics import infidelity as captums

    net, shown = network(), torch.rand(4, 4, 4, generator=torch.Generator().manual_seed(2))
    masks = _patches(4, 16, seed=5)  # 4 images x 32
    found = infidelity(patched(net, IMAGES, 5), TARGETS, {"shown": shown})["shown"]

    def changed(images: Tensor) -> tuple[Tensor, Tensor]:  # captum asks for all patches of an image one after another
        mask = masks.flatten(0, 1)[:, None].expand_as(images).float()
        return mask, images * (1 - mask)

    spread = nn.functional.interpolate(shown[:, None], (16, 16)).expand(-1, 3, -1, -1)
    many = {"target": TARGETS, "n_perturb_samples": 32, "max_examples_per_batch": 128}
    with torch.no_grad():
        theirs = captums(net, changed, IMAGES, spread, normalize=True, **many)
        none = captums(net, changed, IMAGES, 0 * spread, **many)
    assert torch.allclose(found.float(), theirs / none, rtol=1e-4, equal_nan=True)
    assert (found < 0.999).any()


def test_sensitivity_of_a_linear_map_is_bounded_by_the_change_and_leaves_the_global_generator_alone() -> None:
    images = torch.ones(4, 10, 16, 16)
    state = torch.get_rng_state()
    found = max_sensitivity(looking(Colours()), images, TARGETS, 0)
    assert torch.equal(state, torch.get_rng_state())
    assert (found > 0).all()
    assert (found <= 0.02).all()
    assert torch.equal(found, max_sensitivity(looking(Colours()), images, TARGETS, 0))


@pytest.mark.parametrize(
    "net",
    [
        network(),
        network(head="fc_dropout", inverted_dropout=False),
        cnn(size=16, width=0.1),
        linear_cifar(size=16, width=0.1),
    ],
)
def test_all_comparisons_run_on_every_kind_of_network_and_lie_in_their_bounds(net: Network) -> None:
    images = torch.randn(20, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    found = compare_network(net, images, torch.arange(20) % 10, names="abcdefghij", seed=0, count=6)
    for name, score in found.items():
        if name.startswith(("agreement_rank", "cascade_rank")):
            assert -1 - 1e-9 <= score["value"] <= 1 + 1e-9, name
        elif name.startswith(("agreement_top", "dipart")):
            assert 0 <= score["value"] <= 1, name
    assert {"max_sensitivity.raw", "agreement_top.gradcam1.raw", "agreement_top.gradcam2.raw"} <= set(found)
    assert {name.partition(".")[0] for name in found} <= set(METRICS)
    assert class_maps(net, images).isfinite().all()


def test_every_comparison_stands_beside_its_nulls_in_every_reading() -> None:
    images = torch.randn(20, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    found = compare_network(network(), images, torch.arange(20) % 10, names="abcdefghij", seed=0, count=6)
    ranked = {"centre", "random", "other_image"}
    for view in VIEWS:
        for metric in ("agreement_rank", "agreement_top"):
            assert found[f"{metric}.map.{view}"]["value"] == pytest.approx(1)
            for method in ("map", *available(network())):
                assert set(nulls_of(found, f"{metric}.{method}.{view}")) == ranked | {"untrained"}, method
        assert set(nulls_of(found, f"infidelity.{view}")) == ranked | {"untrained", "uniform"}
        assert set(nulls_of(found, f"max_sensitivity.{view}")) == {"untrained"}
        for null in ("other_image", "untrained"):
            assert found[f"agreement_rank.map.{view}.{null}"]["value"] < 0.99
            assert found[f"infidelity.{view}.{null}"]["value"] != found[f"infidelity.{view}"]["value"]
        for end in ("", ".absolute"):
            assert set(nulls_of(found, f"cascade_rank.9-conv1.{view}{end}")) == ranked
    centre = nulls_of(found, "cascade_rank.9-conv1.raw.absolute")["centre"]
    assert centre == found["cascade_rank.centre.raw.absolute"]
    assert centre["value"] >= abs(nulls_of(found, "cascade_rank.9-conv1.raw")["centre"]["value"])
    pairs = [(found[n.replace(".absolute", "")]["value"], of["value"]) for n, of in found.items() if ".absolute" in n]
    assert all(absolute >= abs(signed) - 1e-9 for signed, absolute in pairs)
    assert any(absolute > abs(signed) + 0.05 for signed, absolute in pairs), "draws of either sign must not cancel"


def test_what_all_maps_share_changes_no_score_of_a_reading_that_drops_it() -> None:
    images = torch.randn(20, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    net, about = network(final_relu=False), {"names": "abcdefghij", "seed": 0, "count": 6}
    shifted = copy.deepcopy(net)
    with torch.no_grad():  # the same weights more for every class: one more map, the same for all
        last = shifted.mlpconv3.cccp6
        last.weight += 0.5 * torch.randn(last.weight[:1].shape, generator=torch.Generator().manual_seed(3))  # type: ignore[operator, index]  # a layer: torch types it as any value
    before, after = (compare_network(of, images, torch.arange(20) % 10, **about) for of in (net, shifted))
    free = ("lrp", "cascade_rank", "map.raw", "untrained")  # the gamma rule reads weights, not what the network says
    moved = {name for name in before if abs(before[name]["value"] - after[name]["value"]) > 1e-3}
    kept = {name for name in before if not any(part in name for part in free) and "raw" not in name.split(".")}
    assert {"agreement_rank.occlusion.margin", "infidelity.centred.centre"} <= kept
    assert not kept & moved
    assert "infidelity.raw" in moved


def test_a_network_is_held_against_the_maps_of_one_that_learnt_permuted_labels() -> None:
    images = torch.randn(20, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    net, about = network(), {"names": "abcdefghij", "seed": 0, "count": 6}
    name = f"cascade_rank.{RELEARNT}.centred"
    itself, coarser = (
        compare_network(net, images, torch.arange(20) % 10, twin=twin, **about)
        for twin in (net, cnn(size=16, width=0.1))
    )
    assert itself[name]["value"] == itself[f"{name}.absolute"]["value"] == pytest.approx(1)
    assert set(nulls_of(itself, name)) == {"centre", "random", "other_image"}
    assert itself[f"{name}.other_image"]["value"] < 0.9
    assert name not in coarser
    connected = compare_network(network(head="fc"), images, torch.arange(20) % 10, twin=net, **about)
    assert name in connected
    assert name.replace("centred", "raw") not in connected, "raw maps of such a head are free"


def test_a_network_that_learnt_nothing_is_compared_and_has_no_correlations() -> None:
    """Collapsed training at the literal learning rates ends in maps of zeros; its notebook must tell so, not fail."""
    net, images = network(), torch.randn(20, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    for values in net.parameters():
        nn.init.zeros_(values)
    scores = over_seeds({0: compare_network(net, images, torch.arange(20) % 10, names="abcdefghij", seed=0, count=6)})
    assert {name.partition(".")[0] for name in scores} == {"agreement_top", "dipart_inside", "max_sensitivity"}
    assert draw_cascade(scores, "t") is None
    assert len(score_table(scores, [])) == 0
