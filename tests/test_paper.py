"""The paper as data: complete, consistent, and in agreement with what else is known of its figures."""

from dataclasses import replace

import pytest
from conftest import ROOT

from niny.config import load_params
from niny.paper import FIGURE_3, OPEN_CHOICES, TABLES, TEXT, Figure3, reported


def late(curve: tuple[float, ...]) -> float:
    return sum(curve[-5:]) / 5


def test_every_row_of_the_five_tables_is_kept() -> None:
    assert [len(table.rows) for table in TABLES] == [8, 5, 7, 4, 3]
    assert [table.place for table in TABLES] == [f"Table {i}" for i in range(1, 6)]
    assert sum(len(text.rows) for text in TEXT) == 4


def test_tables_of_rivals_run_from_the_worst_error_to_the_best() -> None:
    for table in TABLES:
        errors = [row.error for row in table.rows]
        assert errors == sorted(errors, reverse=True)


def test_a_row_is_the_papers_own_or_names_its_reference() -> None:
    for row in [row for part in TABLES + TEXT for row in part.rows]:
        assert bool(row.source) != (row.experiment is not None) or row.experiment == "cifar10-maxout"


def test_the_same_network_has_the_same_error_in_every_table() -> None:
    pairs = {(row.experiment, row.error) for part in TABLES + TEXT for row in part.rows if row.experiment}
    assert len(pairs) == len(reported()) == 12


def test_dropout_cuts_the_papers_own_error_by_28_per_cent() -> None:
    errors = reported()
    assert 1 - errors["cifar10-nin"] / errors["cifar10-nin-nodropout"] == pytest.approx(0.28, abs=0.005)


def test_figure_3_has_26_points_a_curve_from_chance_to_epoch_200() -> None:
    assert Figure3._fields[0] == "epochs"
    assert FIGURE_3.epochs[0] == 0
    assert FIGURE_3.epochs[-1] == 200
    assert [len(curve) for curve in FIGURE_3] == [26] * 5
    assert [curve[0] for curve in FIGURE_3[1:]] == [90.0] * 4


def test_the_last_points_of_figure_3_agree_with_the_authors_log_of_about_14_per_cent() -> None:
    assert late(FIGURE_3.train_no_dropout) == pytest.approx(2.2, abs=0.05)
    assert late(FIGURE_3.train_dropout) == pytest.approx(6.1, abs=0.05)
    assert late(FIGURE_3.test_no_dropout) == pytest.approx(18.2, abs=0.05)
    assert late(FIGURE_3.test_dropout) == pytest.approx(13.8, abs=0.05)


def test_every_point_of_figure_3_is_a_whole_number_of_the_drawings_units() -> None:
    step = 90.0 / 382  # per cent a unit: a mistyped value falls between two units
    for curve in FIGURE_3[1:]:
        assert all(abs(error - step * round(error / step)) < 0.008 for error in curve)


def test_what_was_chosen_is_what_the_study_runs() -> None:
    chosen = {choice.item: choice.ours for choice in OPEN_CHOICES}
    params = load_params(ROOT)
    net, recipe = params.experiments["cifar10-nin"], params.recipes["authors"]
    hundred = params.recipes["authors-cifar100"]
    assert chosen["dropout rate and place"].startswith(f"{net.dropout:g}, ")
    assert chosen["initial weights"].startswith(f"N(0, {recipe.init_std:g}), ")
    assert chosen["schedule"] == f"{' + '.join(str(epochs) for epochs, _ in recipe.phases)} epochs"
    last = recipe.lr * recipe.last_layer_lr
    rates = f"{recipe.lr:g}, last layer {last:g}; biases double; momentum {recipe.momentum:g}; "
    assert chosen["learning rates and momentum"].startswith(rates)
    assert recipe.bias_lr == 2
    gentle = params.recipes[params.experiments["cifar10-nin-nodropout"].recipe]
    assert gentle == replace(recipe, lr=recipe.lr / 4)
    rates = f"{gentle.lr:g}, last layer {gentle.lr * gentle.last_layer_lr:g}"
    assert chosen["learning rate without dropout"].startswith(f"a quarter: {rates};")
    assert params.experiments["cifar10-nin-nodropout-literal"].recipe == "authors"
    assert chosen["learning rates and momentum"].endswith(f"once more with {hundred.lr:g} everywhere")
    assert hundred.last_layer_lr == 1
    assert chosen["weight decay"].startswith("1e-4, ")
    assert chosen["weight decay"].endswith("5e-4")
    assert (recipe.weight_decay, hundred.weight_decay) == (1e-4, 5e-4)
    assert not recipe.inverted_dropout
    assert net.pool2 == "max"
    assert net.final_relu


def test_a_choice_is_measured_against_networks_for_the_same_images() -> None:
    experiments = load_params(ROOT).experiments
    for choice in (choice for choice in OPEN_CHOICES if choice.experiments):
        compared = {experiments[name].dataset for name in (choice.reference, *choice.experiments)}
        assert len(compared) == 1, choice.item


def test_open_choices_name_item_reading_choice_and_source_once_each() -> None:
    assert len({choice.item for choice in OPEN_CHOICES}) == len(OPEN_CHOICES)
    assert all(choice.paper and choice.ours and choice.source for choice in OPEN_CHOICES)
    assert {"cifar10-nin-avgpool", "cifar10-nin-inverted", "cifar10-nin-he"} <= {
        name for choice in OPEN_CHOICES for name in choice.experiments
    }
