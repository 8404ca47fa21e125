"""Statistics against textbook answers, independent routes through other libraries, and the edges n = 0, 1, 2."""

import numpy as np
import pytest
from statsmodels.api import OLS

from niny.evaluation.statistics import (
    McNemar,
    Summary,
    deviation_interval,
    holm,
    mcnemar,
    paired,
    spread_ratio,
    summarise,
    telling_ratios,
    variance_ratio,
    wilson,
)

RUNS = [10.41, 10.12, 10.66, 10.35, 10.51]


def test_intervals_agree_with_a_regression_on_a_constant() -> None:
    ours = summarise(RUNS)
    theirs = OLS(RUNS, np.ones(5)).fit().get_prediction([1.0]).summary_frame(alpha=0.05).iloc[0]
    assert ours.interval == pytest.approx((theirs["mean_ci_lower"], theirs["mean_ci_upper"]))
    assert ours.prediction == pytest.approx((theirs["obs_ci_lower"], theirs["obs_ci_upper"]))


def test_intervals_of_one_two_three_are_those_done_by_hand() -> None:
    t = 4.302652729911275  # 97.5 % quantile of Student's t with 2 degrees of freedom, from tables
    result = summarise([1.0, 2.0, 3.0])
    assert (result.n, result.mean, result.sd) == (3, 2.0, 1.0)
    assert result.interval == pytest.approx((2 - t / 3**0.5, 2 + t / 3**0.5))
    assert result.prediction == pytest.approx((2 - t * (4 / 3) ** 0.5, 2 + t * (4 / 3) ** 0.5))


def test_no_run_and_one_run_have_no_interval() -> None:
    assert summarise([]) == Summary(0)
    assert summarise([10.41]) == Summary(1, 10.41)


def test_two_runs_have_very_wide_intervals_and_equal_runs_have_none_to_speak_of() -> None:
    assert summarise([10.0, 10.2]).interval == pytest.approx((10.1 - 1.2706, 10.1 + 1.2706), abs=1e-4)
    assert summarise([10.1] * 3) == Summary(3, 10.1, 0.0, (10.1, 10.1), (10.1, 10.1))


def test_prediction_interval_holds_a_new_run_in_95_of_100_studies() -> None:
    rng = np.random.default_rng(1)
    draws = rng.normal(10.4, 0.2, (2000, 6))
    hits = 0
    for *runs, new in draws.tolist():
        low, high = summarise(runs).prediction or (0.0, 0.0)
        hits += low <= new <= high
    assert hits / 2000 == pytest.approx(0.95, abs=0.015)


def test_a_value_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        summarise([10.4, float("nan")])


def test_interval_of_a_standard_deviation_is_that_of_the_tables_and_holds_the_true_one_in_95_of_100_studies() -> None:
    # 2.5 and 97.5 % quantiles of chi-square with 9 degrees of freedom, from tables: 2.700 and 19.023
    assert deviation_interval(10, 2.0) == pytest.approx((2 * (9 / 19.023) ** 0.5, 2 * (9 / 2.700) ** 0.5), rel=1e-3)
    spreads = np.random.default_rng(2).normal(10.4, 0.2, (2000, 5)).std(axis=1, ddof=1)
    bounds = [deviation_interval(5, sd) for sd in spreads.tolist()]
    assert np.mean([low <= 0.2 <= high for low, high in bounds]) == pytest.approx(0.95, abs=0.015)


def test_variances_are_compared_by_the_f_of_the_tables_and_equal_ones_told_apart_in_5_of_100_studies() -> None:
    # 97.5 % quantile of F with 4 and 4 degrees of freedom, from tables: 9.605
    twice, once = summarise([10.0, 12.0, 14.0, 16.0, 18.0]), summarise([10.0, 11.0, 12.0, 13.0, 14.0])
    found = variance_ratio(twice, once)
    assert found is not None
    assert (found.value, found.interval) == (pytest.approx(4), pytest.approx((4 / 9.605, 4 * 9.605), rel=1e-3))
    assert telling_ratios(5, 5, 1) == pytest.approx((9.605, 9.605), rel=1e-4)  # of the usual tables
    assert telling_ratios(2, 3, 1) == pytest.approx((38.51, 799.5), rel=1e-4)
    assert telling_ratios(3, 3, 4)[0] == pytest.approx(159.0), "Holm's first of four tests asks for p below 0.0125"
    assert variance_ratio(twice, summarise([10.0])) is None
    draws = [summarise(row) for row in np.random.default_rng(4).normal(10.4, 0.2, (4000, 5)).tolist()]
    ratios = [variance_ratio(a, b) for a, b in zip(draws[::2], draws[1::2], strict=True)]
    assert np.mean([ratio.p < 0.05 for ratio in ratios if ratio]) == pytest.approx(0.05, abs=0.015)


def test_wilson_gives_the_published_example_and_the_known_half_width() -> None:
    # Newcombe (1998), method 3: 81 of 263 and 0 of 20.
    assert wilson(81, 263) == pytest.approx((25.53, 36.62), abs=0.005)
    assert wilson(0, 20) == pytest.approx((0.0, 16.11), abs=0.005)
    low, high = wilson(900, 10_000)
    assert (high - low) / 2 == pytest.approx(0.56, abs=0.005)


def test_pairs_are_made_by_seed_whatever_the_order_and_unshared_seeds_are_left_out() -> None:
    a, b = {3: 10.3, 1: 10.1, 2: 10.2, 9: 50.0}, {1: 11.1, 2: 11.2, 3: 11.0, 7: 1.0}
    result = paired(a, b)
    assert result.difference.n == 3
    assert result.difference.mean == pytest.approx((-1.0 - 1.0 - 0.7) / 3)


def test_paired_p_value_is_that_of_students_sleep_data() -> None:
    # Student (1908), hours of sleep gained under two drugs: t = -4.0621 with 9 degrees of freedom, p = 0.002833.
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    result = paired(dict(enumerate(first)), dict(enumerate(second)))
    assert result.p == pytest.approx(0.002833, abs=1e-6)
    assert result.difference.interval == pytest.approx((-2.4598858, -0.7001142), abs=1e-6)
    assert result.outperforms == pytest.approx(0.95)  # nine wins and one tie


def test_swapping_the_sides_mirrors_the_comparison() -> None:
    a, b = dict(enumerate(RUNS)), dict(enumerate([10.9, 10.1, 10.66, 10.8, 11.0]))
    one, other = paired(a, b), paired(b, a)
    assert (one.difference.mean, one.p) == pytest.approx((-(other.difference.mean or 0), other.p))
    assert (one.outperforms or 0) + (other.outperforms or 0) == pytest.approx(1)


def test_a_side_that_always_wins_by_the_same_margin_is_no_numerical_accident() -> None:
    result = paired({1: 10.41, 2: 10.3, 3: 10.12}, {1: 10.5, 2: 10.39, 3: 10.21})
    assert result.difference.sd == 0
    assert (result.p, result.outperforms) == (0.0, 1.0)
    assert paired({1: 1.0, 2: 2.0}, {1: 1.0, 2: 2.0}).p == 1.0


def test_few_pairs_say_only_what_they_can() -> None:
    nothing, single = paired({1: 10.0}, {2: 11.0}), paired({1: 10.0}, {1: 11.0})
    assert (nothing.difference, nothing.outperforms) == (Summary(0), None)
    assert (single.difference.mean, single.outperforms) == (-1.0, 1.0)
    assert (single.p, single.difference.interval) == (None, None)


def test_mcnemar_is_a_fair_coin_on_the_images_that_differ() -> None:
    a = np.array([True] * 8 + [False] * 2 + [True] * 50)
    b = np.array([False] * 8 + [True] * 2 + [True] * 50)
    result = mcnemar(a, b)
    assert (result.only_a, result.only_b) == (8, 2)
    assert result.p == pytest.approx(2 * (1 + 10 + 45) / 2**10)
    assert mcnemar(a, a) == McNemar(0, 0, 1.0)


def test_mcnemar_refuses_different_test_sets() -> None:
    with pytest.raises(ValueError, match="same images"):
        mcnemar(np.ones(3, bool), np.ones(4, bool))


def test_holm_steps_down_keeps_the_order_and_never_exceeds_one() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert holm([0.9, 0.8]) == (1.0, 1.0)
    assert holm([]) == ()


def test_spread_is_relative_and_swapping_the_sides_inverts_it() -> None:
    rng = np.random.default_rng(3)
    loose, tight = dict(enumerate(np.exp(rng.normal(0, 0.4, 20)))), dict(enumerate(np.exp(rng.normal(5, 0.1, 20))))
    one, other = spread_ratio(loose, tight), spread_ratio(tight, loose)
    assert one is not None
    assert other is not None
    assert one[0] == pytest.approx(4, rel=0.4)
    assert (one[0] * other[0], one[1]) == pytest.approx((1.0, other[1]))
    assert one[1] < 0.001


def test_pitman_and_morgan_find_no_difference_where_there_is_none_in_95_of_100_studies() -> None:
    rng = np.random.default_rng(4)
    results = [spread_ratio(*(dict(enumerate(v)) for v in np.exp(rng.normal(size=(2, 8))))) for _ in range(1000)]
    assert np.mean([r[1] < 0.05 for r in results if r]) == pytest.approx(0.05, abs=0.02)


def test_spread_needs_three_seeds_and_some_spread() -> None:
    assert spread_ratio({1: 1.0, 2: 2.0}, {1: 1.0, 2: 3.0}) is None
    assert spread_ratio({1: 1.0, 2: 1.0, 3: 1.0}, {1: 1.0, 2: 3.0, 3: 2.0}) is None
    assert spread_ratio({1: 0.0, 2: 1.0, 3: 2.0}, {1: 1.0, 2: 3.0, 3: 2.0}) is None
