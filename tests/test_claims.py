"""Claims: the file is complete and strict, each rule gives known answers, and a rule that has judged stays as it is."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from niny.config import load_params
from niny.errors import NinyError
from niny.evaluation.claims import (
    Claim,
    check_unchanged,
    judge,
    load_claims,
    read_records,
    rule_digest,
    to_records,
)
from niny.evaluation.rules import (
    CurveDistance,
    ErrorBelow,
    ExperimentResult,
    MapScore,
    Ordering,
    PredictionInterval,
    RelativeReduction,
    Rule,
    Score,
    Status,
    VariesMore,
)
from niny.files import write_json
from niny.paper import FIGURE_3, reported
from niny.report.study import experiments_run

ROOT = Path(__file__).parents[1]
CLAIMS = load_claims(ROOT / "claims.yaml")

ONE = """
claims:
  - id: nin
    version: 1
    origin: paper
    place: Table 1
    says: It errs little.
    refuted_by: It errs much.
    rule: {kind: prediction_interval, experiment: cifar10-nin, paper: 10.41, precision: 1.0, runs: 3}
"""


def runs(*errors: float) -> ExperimentResult:
    return ExperimentResult(test_errors=dict(enumerate(errors)))


def scored(**scores: Score) -> dict[str, ExperimentResult]:
    return {"a": ExperimentResult(maps=scores)}


def score(low: float, high: float, seeds: int = 3) -> Score:
    return Score((low + high) / 2, (low, high), dict.fromkeys(range(seeds), (low + high) / 2))


def claim(rule: Rule, version: int = 1) -> Claim:
    return Claim("nin", version, "paper", "Table 1", "It errs little.", "It errs much.", rule)


def written(folder: Path, text: str) -> Path:
    path = folder / "claims.yaml"
    path.write_text(text)
    return path


# The project's own claims


def test_no_rule_of_the_project_has_changed_under_its_recorded_verdicts() -> None:
    paths = sorted(ROOT.glob("results/*/tables/claims.json"))
    assert paths
    for path in paths:
        check_unchanged(CLAIMS, read_records(path), experiments_run(load_params(ROOT), ROOT))


def test_every_number_of_the_paper_that_we_measure_is_a_claim_and_only_as_the_paper_prints_it() -> None:
    numbers = {c.rule.experiment: c.rule.paper for c in CLAIMS if isinstance(c.rule, PredictionInterval)}
    assert numbers == reported()


def test_nothing_is_called_a_result_before_anything_was_run() -> None:
    verdicts = judge(CLAIMS, {}, evidence=True)
    assert {(v.status, v.ours, v.n, v.interval) for v in verdicts} == {("not run", None, 0, None)}
    assert all(v.because for v in verdicts)


def test_the_papers_claims_come_with_our_own_predictions_told_apart() -> None:
    assert {c.origin for c in CLAIMS} == {"paper", "niny"}
    assert not any(isinstance(c.rule, PredictionInterval) for c in CLAIMS if c.origin == "niny")


def test_the_papers_own_numbers_meet_its_orderings() -> None:
    errors = reported()
    for rule in [c.rule for c in CLAIMS if isinstance(c.rule, Ordering) and c.rule.quantity == "test_error"]:
        known = [errors[name] for name in rule.experiments if name in errors]
        assert known == sorted(known)


def test_small_scales_show_numbers_and_judge_nothing() -> None:
    (verdict,) = judge([claim(PredictionInterval("a", 3, 10.41, 1.0))], {"a": runs(35.0, 35.2, 35.1)}, evidence=False)
    assert verdict.status == "not tested at this scale"
    assert (verdict.ours, verdict.n) == (pytest.approx(35.1), 3)


# Rules


@pytest.mark.parametrize(
    ("errors", "status"),
    [
        ((), "not run"),
        ((10.41,), "undecided"),
        ((10.3, 10.5), "undecided"),
        ((10.3, 10.4, 10.5), "supported"),
        ((11.3, 11.4, 11.5), "refuted"),
        ((9.1, 9.2, 9.3), "refuted"),
        ((9.0, 10.5, 12.0), "undecided"),  # an interval of ± 7 points would hold almost any number
    ],
)
def test_a_number_is_judged_by_the_prediction_interval(errors: tuple[float, ...], status: Status) -> None:
    assert PredictionInterval("a", 3, 10.41, 1.0).judge({"a": runs(*errors)}).status == status


def test_one_run_is_called_one_run() -> None:
    verdict = PredictionInterval("a", 3, 10.41, 1.0).judge({"a": runs(10.4)})
    assert verdict.because.startswith("one run")
    assert (verdict.ours, verdict.n, verdict.interval) == (10.4, 1, None)
    assert PredictionInterval("a", 1, 10.41, 1.0).judge({"a": runs(10.4)}).status == "undecided"


@pytest.mark.parametrize(
    ("errors", "status"),
    [((10.3, 10.4, 10.5), "supported"), ((12.6, 12.8, 12.7), "refuted"), ((11.3, 11.4, 11.5), "undecided")],
)
def test_better_than_published_means_that_one_more_run_would_be_too(errors: tuple[float, ...], status: Status) -> None:
    assert ErrorBelow("a", 3, 11.68).judge({"a": runs(*errors)}).status == status


def test_dropouts_reduction_is_relative_and_by_seed() -> None:
    rule = RelativeReduction("a", "b", 20.0, 3)
    before = runs(14.0, 15.0, 14.5)
    verdict = rule.judge({"a": before, "b": runs(10.5, 11.25, 10.875)})
    assert (verdict.status, verdict.ours) == ("supported", pytest.approx(25))
    assert rule.judge({"a": before, "b": runs(12.6, 13.5, 13.05)}).status == "refuted"
    assert rule.judge({"a": before, "b": runs(10.0, 13.5, 11.4)}).status == "undecided"
    assert rule.judge({"a": runs(0.0), "b": runs(1.0)}).status == "not run"
    paper = RelativeReduction("cifar10-nin-nodropout", "cifar10-nin", 20.0, 3).judge({}).paper
    assert paper == pytest.approx(28.26, abs=0.01)


def test_an_order_holds_only_if_every_step_holds() -> None:
    rule = Ordering(("a", "b", "c"), "test_error", 3)
    a, b, c = runs(10.1, 10.5, 10.3), runs(11.0, 11.5, 11.2), runs(12.1, 12.4, 12.3)
    assert rule.judge({"a": a, "b": b, "c": c}).status == "supported"
    assert rule.judge({"a": a, "b": c, "c": b}).status == "refuted"
    assert rule.judge({"a": a, "b": b, "c": runs(10.9, 11.9, 11.3)}).status == "undecided"
    assert rule.judge({"a": a, "b": b}).status == "not run"
    assert rule.judge({"a": runs(1.0), "b": runs(2.0), "c": runs(3.0)}).status == "undecided"


def test_an_order_shows_the_margin_of_its_closest_pair_beside_the_papers() -> None:
    names = ("cifar10-nin", "cifar10-nin-fc-dropout", "cifar10-nin-fc")
    results = dict(zip(names, [runs(10, 11, 10), runs(12, 13, 12.5), runs(12.5, 13.6, 13)], strict=True))
    verdict = Ordering(names, "test_error", 3).judge(results)
    assert (verdict.ours, verdict.paper) == (pytest.approx(1.6 / 3), pytest.approx(11.59 - 10.88))
    low, high = verdict.interval or (0.0, 0.0)
    assert low < 1.6 / 3 < high


def test_a_chain_of_comparisons_pays_for_its_length() -> None:
    a, b, c = runs(10.0, 10.0, 10.0, 10.0), runs(10.2, 10.5, 10.5, 10.9), runs(10.4, 11.0, 11.0, 11.8)
    assert Ordering(("a", "b"), "test_error", 3).judge({"a": a, "b": b}).status == "supported"
    assert Ordering(("b", "c"), "test_error", 3).judge({"b": b, "c": c}).status == "supported"
    assert Ordering(("a", "b", "c"), "test_error", 3).judge({"a": a, "b": b, "c": c}).status == "undecided"


def test_seeds_that_are_not_shared_compare_nothing() -> None:
    results = {"a": ExperimentResult(test_errors={1: 1.0}), "b": ExperimentResult(test_errors={2: 2.0})}
    verdict = Ordering(("a", "b"), "test_error", 1).judge(results)
    assert (verdict.status, verdict.because) == ("undecided", "no seed in common")


def test_the_same_images_add_mcnemars_test_of_the_two_networks() -> None:
    right, wrong = np.array([True] * 6), np.array([False] * 6)
    a = ExperimentResult(test_errors={0: 0.0}, correct={0: right})
    b = ExperimentResult(test_errors={0: 100.0}, correct={0: wrong})
    verdict = Ordering(("a", "b"), "test_error", 3).judge({"a": a, "b": b})
    assert verdict.because.endswith("McNemar p = 0.031")
    assert verdict.status == "undecided"


def test_the_gap_is_test_less_training_error() -> None:
    def result(train: float, *test: float) -> ExperimentResult:
        errors = dict(enumerate(test))
        return ExperimentResult(test_errors=errors, train_errors=dict.fromkeys(errors, train))

    results = {"gap": result(6.0, 10.0, 10.1, 10.2), "fc": result(1.0, 10.0, 10.2, 10.1)}
    verdict = Ordering(("gap", "fc"), "gap", 3).judge(results)
    assert (verdict.status, verdict.ours) == ("supported", pytest.approx(5.0))
    one_by_heart = results | {"fc": result(0.0, 10.0, 10.2, 10.1)}
    verdict = Ordering(("gap", "fc"), "gap", 3).judge(one_by_heart)
    assert (verdict.status, verdict.ours) == ("supported", pytest.approx(6.0))
    by_heart = {"gap": result(0.0, 10.0, 10.1, 10.2), "fc": result(0.05, 11.0, 11.2, 11.1)}
    verdict = Ordering(("gap", "fc"), "gap", 3).judge(by_heart)
    assert (verdict.status, verdict.ours) == ("undecided", pytest.approx(0.95))
    assert verdict.because == "no training error above 0.1 % is left: the gap is the test error"


def test_order_by_a_score_of_maps_is_paired_by_seed() -> None:
    def result(*values: float) -> dict[str, Score]:
        return {"rise": Score(values[0], None, dict(enumerate(values)))}

    results = {name: ExperimentResult(maps=result(*v)) for name, v in {"a": (1, 1.1, 1.2), "b": (2, 2.2, 2.1)}.items()}
    assert Ordering(("a", "b"), "maps.rise", 3).judge(results).status == "supported"
    assert Ordering(("a", "b"), "maps.other", 3).judge(results).status == "not run"


def curve(shift: float, until: int = 200) -> list[dict[str, float]]:
    points = zip(FIGURE_3.epochs, FIGURE_3.test_dropout, FIGURE_3.train_dropout, strict=True)
    rows = [{"epoch": e, "test_error": test + shift, "train_error_masked": train} for e, test, train in points]
    return [row for row in rows if 0 < row["epoch"] <= until]  # no run looks at the figure's epoch 0


def test_the_distance_of_a_shifted_curve_is_the_shift() -> None:
    def at(*shifts: float) -> dict[str, ExperimentResult]:
        return {"a": ExperimentResult(history={k: curve(s) for k, s in enumerate(shifts)})}

    rule = CurveDistance("a", 3, "test_dropout", 80, 2.0)
    verdict = rule.judge(at(1.0, -1.1, 1.2))
    assert (verdict.status, verdict.ours) == ("supported", pytest.approx(1.1))
    assert rule.judge(at(4.0, 4.1, 4.2)).status == "refuted"
    assert rule.judge(at(0.1, 2.0, 5.0)).status == "undecided"
    assert CurveDistance("a", 3, "train_dropout", 80, 2.0).judge(at(9.0, 9.0, 9.0)).ours == pytest.approx(0)
    assert CurveDistance("a", 3, "test_dropout", 0, 2.0).judge(at(1.0, 1.1, 1.2)).ours == pytest.approx(1.1)


def test_a_run_that_ends_before_the_figure_does_says_nothing_of_it() -> None:
    results = {"a": ExperimentResult(history={0: curve(0.0, until=160)})}
    assert CurveDistance("a", 1, "test_dropout", 80, 2.0).judge(results).status == "not run"
    assert Ordering(("a", "b"), "curve.test_error", 1, 80).judge(results).status == "not run"


def test_curves_are_ordered_by_their_means_from_the_first_epoch_on() -> None:
    results = {
        name: ExperimentResult(history={k: curve(shift + k / 10) for k in range(3)})
        for name, shift in {"dropout": 0.0, "none": 4.0}.items()
    }
    verdict = Ordering(("dropout", "none"), "curve.test_error", 3, 80).judge(results)
    assert (verdict.status, verdict.ours) == ("supported", pytest.approx(4.0))


def test_the_gap_of_curves_is_that_of_the_points_that_have_both_errors() -> None:
    def at(train: float, *, until: int = 200) -> ExperimentResult:
        rows = [{"epoch": e, "test_error": 12.0, "train_error": train} for e in range(4, until + 1, 4)]
        return ExperimentResult(history={k: [{"epoch": 1, "test_error": 80.0}, *rows] for k in range(2)})

    rule = Ordering(("gap", "fc"), "curve.gap", 2, 80)
    verdict = rule.judge({"gap": at(5.0), "fc": at(2.0)})
    assert (verdict.ours, verdict.n) == (pytest.approx(3.0), 2)
    assert rule.judge({"gap": at(5.0), "fc": at(2.0, until=160)}).status == "not run"


@pytest.mark.parametrize(
    ("interval", "status"), [((0.91, 0.93), "supported"), ((0.76, 0.78), "refuted"), ((0.88, 0.92), "undecided")]
)
def test_the_sentence_about_figure_4_is_put_to_all_test_images(interval: tuple[float, float], status: Status) -> None:
    (rule,) = [c.rule for c in CLAIMS if c.id == "figure4-true-class"]
    results = {"cifar10-nin": ExperimentResult(maps={"claim1_rate.raw": score(*interval)})}
    assert rule.judge(results).status == status
    (mirror,) = [c.rule for c in CLAIMS if c.id == "one-image-in-ten"]
    swapped: dict[str, str] = {"supported": "refuted", "refuted": "supported"}
    assert mirror.judge(results).status == swapped.get(status, status)


def test_a_score_must_pass_its_value_and_every_null() -> None:
    rule = MapScore("a", 3, "hit", "above", 0.1112, ("centre",))
    assert rule.judge(scored(hit=score(0.6, 0.7), centre=score(0.1, 0.2))).status == "supported"
    assert rule.judge(scored(hit=score(0.6, 0.7), centre=score(0.65, 0.8))).status == "undecided"
    assert rule.judge(scored(hit=score(0.6, 0.7), centre=score(0.8, 0.9))).status == "refuted"
    assert rule.judge(scored(hit=score(0.0, 0.1), centre=score(0.0, 0.0))).status == "refuted"
    assert rule.judge(scored(hit=score(0.6, 0.7))).status == "not run"


def test_one_network_decides_nothing_about_maps() -> None:
    rule = MapScore("a", 3, "hit", "above", 0.5)
    verdict = rule.judge(scored(hit=score(0.6, 0.7, seeds=1)))
    assert (verdict.status, verdict.n, verdict.interval) == ("undecided", 1, (0.6, 0.7))


def test_spread_over_seeds_is_compared_relative_to_size() -> None:
    def by_seed(values: np.ndarray) -> Score:
        return Score(float(values.mean()), None, dict(enumerate(values.tolist())))

    rng = np.random.default_rng(0)
    loose, tight = 0.25 * np.exp(rng.normal(0, 0.3, 12)), 0.45 * np.exp(rng.normal(0, 0.03, 12))
    rule = VariesMore("a", 5, "raw", "centred")
    verdict = rule.judge(scored(raw=by_seed(loose), centred=by_seed(tight)))
    assert verdict.status == "supported"
    assert (verdict.ours or 0) > 4
    assert rule.judge(scored(raw=by_seed(tight), centred=by_seed(loose))).status == "refuted"
    assert rule.judge(scored(raw=by_seed(loose), centred=by_seed(100 * loose[::-1]))).status == "undecided"
    assert rule.judge(scored(raw=by_seed(loose * 0 + 1), centred=by_seed(tight))).status == "undecided"
    assert rule.judge(scored(raw=by_seed(loose[:4]), centred=by_seed(tight[:4]))).status == "undecided"


# The file


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("claims:\n", "claim:\n", "expected one name, claims"),
        ("claims:\n", "notes: none\nclaims:\n", "unknown name 'notes'; known is claims"),
        ("version: 1", "versoin: 1", "unknown name 'versoin'"),
        ("version: 1", "version: '1'", "expected int"),
        ("    version: 1\n", "", "'version' is missing"),
        ("version: 1", "version: 1\n    version: 2", "version stands twice"),
        ("version: 1", "version: 2", "formerly: expected the words of every version before 2"),
        ("version: 1", "version: 1\n    formerly: [so]", "formerly: expected the words of every version before 1"),
        ("version: 1", "version: 0", "version: must be greater than 0"),
        ("origin: paper", "origin: me", "expected one of paper, niny"),
        ("runs: 3", "runs: true", "expected int"),
        ("runs: 3", "runs: 3, seeds: 5", "unknown name 'seeds'"),
        (", runs: 3", "", "'runs' is missing"),
        ("paper: 10.41", "paper: ten", "paper: expected float"),
        ("prediction_interval", "close_enough", "unknown kind of rule 'close_enough'"),
        ("kind: prediction_interval", "kind: [1]", "unknown kind of rule"),
        ("kind: prediction_interval, ", "", "unknown kind of rule None"),
        ("    rule:", "    rules:", "rule among them"),
        ("id: nin", "id: [nin", "not valid YAML"),
    ],
)
def test_a_faulty_file_is_refused_by_name(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert len(load_claims(written(tmp_path, ONE))) == 1
    with pytest.raises(NinyError, match=complaint) as caught:
        load_claims(written(tmp_path, ONE.replace(old, new)))
    assert "claims.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_id_may_stand_only_once(tmp_path: Path) -> None:
    with pytest.raises(NinyError, match="'nin' stands twice"):
        load_claims(written(tmp_path, ONE + ONE.partition("claims:\n")[2]))


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(NinyError, match="cannot read"):
        load_claims(tmp_path / "claims.yaml")


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ("kind: ordering, experiments: [a], quantity: gap, runs: 3", "two or more"),
        ("kind: ordering, experiments: [a, b, a], quantity: gap, runs: 3", "two or more"),
        ("kind: ordering, experiments: [a, b], quantity: test_eror, runs: 3", "got 'test_eror'"),
        ("kind: map_score, experiment: a, score: hit, side: above, runs: 3", "expected a value, nulls"),
        ("kind: map_score, experiment: a, score: hit, side: over, value: 0.1, runs: 3", "expected one of above, below"),
    ],
)
def test_a_rule_checks_its_own_arguments(tmp_path: Path, rule: str, complaint: str) -> None:
    with pytest.raises(NinyError, match=complaint):
        load_claims(written(tmp_path, ONE.partition("    rule")[0] + f"    rule: {{{rule}}}\n"))


# Rules that have judged


def recorded(rule: Rule, version: int = 1, *errors: float, earlier: list[dict[str, Any]] | None = None) -> list[Any]:
    claims = [claim(rule, version)]
    return to_records(claims, judge(claims, {"a": runs(*errors)}, evidence=True), earlier or [])


def test_a_changed_rule_needs_a_new_version_once_it_has_judged() -> None:
    rule = PredictionInterval("a", 3, 10.41, 1.0)
    records = recorded(rule, 1, 11.3, 11.4, 11.5)
    check_unchanged([claim(rule)], records)
    softer = replace(rule, paper=11.0)
    with pytest.raises(NinyError, match="raise its version"):
        check_unchanged([claim(softer)], records)
    check_unchanged([claim(softer, version=2)], records)


def test_a_judged_claim_cannot_be_dropped_or_wound_back() -> None:
    rule = PredictionInterval("a", 3, 10.41, 1.0)
    with pytest.raises(NinyError, match="restore it"):
        check_unchanged([], recorded(rule, 1, 10.4))
    with pytest.raises(NinyError, match="restore it"):
        check_unchanged([claim(rule, version=1)], recorded(rule, 2, 10.4))


def test_a_rule_stays_fixed_when_the_runs_that_it_met_are_gone() -> None:
    rule = PredictionInterval("a", 3, 10.41, 1.0)
    gone = recorded(rule, earlier=recorded(rule, 1, 11.3, 11.4, 11.5))
    assert [(record["n"], record["status"]) for record in gone] == [(0, "not run")]
    with pytest.raises(NinyError, match="raise its version"):
        recorded(replace(rule, paper=11.0), earlier=gone)
    assert [r["version"] for r in recorded(replace(rule, paper=11.0), 2, earlier=gone)] == [2, 1]


def test_a_rule_that_met_no_record_may_still_be_mended() -> None:
    rule = PredictionInterval("a", 3, 10.41, 1.0)
    check_unchanged([claim(replace(rule, runs=5))], recorded(rule))


def test_a_rule_is_fixed_by_runs_that_its_records_do_not_know_yet() -> None:
    rule = PredictionInterval("a", 3, 10.41, 1.0)
    softer = claim(replace(rule, runs=5))
    with pytest.raises(NinyError, match="raise its version"):
        check_unchanged([softer], recorded(rule), kept={"a"})
    check_unchanged([softer], recorded(rule), kept={"b"})
    raised, before = to_records([replace(softer, version=2)], judge([softer], {}, True), recorded(rule), {"a"})
    assert (raised["version"], raised["met"], before["version"]) == (2, True, 1)


def test_a_rule_whose_number_was_seen_is_fixed_though_the_scale_was_too_small_to_judge() -> None:
    rule = PredictionInterval("a", 3, 10.41, 1.0)
    small = to_records([claim(rule)], judge([claim(rule)], {"a": runs(35.0)}, evidence=False), [])
    with pytest.raises(NinyError, match="raise its version"):
        check_unchanged([claim(replace(rule, runs=5))], small)
    kept = recorded(replace(rule, runs=5), 2, 10.4, earlier=small)
    assert [(record["version"], record["status"]) for record in kept] == [
        (2, "undecided"),
        (1, "not tested at this scale"),
    ]


def test_the_verdict_of_an_earlier_version_stays_beside_the_new_one(tmp_path: Path) -> None:
    rule = PredictionInterval("a", 3, 10.41, 1.0)
    first = recorded(rule, 1, 11.3, 11.4, 11.5)
    path = tmp_path / "claims.json"
    write_json(path, first)
    both = recorded(replace(rule, precision=2.0), 2, 10.3, 10.4, 10.5, earlier=read_records(path))
    assert [(r["version"], r["status"]) for r in both] == [(2, "supported"), (1, "refuted")]
    again = recorded(replace(rule, precision=2.0), 2, 10.3, 10.4, 10.5, earlier=both)
    assert again == both


def test_an_earlier_version_that_met_no_record_leaves_no_trace() -> None:
    rule = PredictionInterval("a", 3, 10.41, 1.0)
    assert [r["version"] for r in recorded(rule, 2, 10.4, earlier=recorded(rule, 1))] == [2]


def test_a_digest_holds_the_rule_what_its_code_means_and_what_would_refute_the_claim(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = claim(PredictionInterval("a", 3, 10.41, 1.0))
    assert rule_digest(one) == rule_digest(replace(one, says="Otherwise worded.", version=7))
    others = [replace(one.rule, **{k: v}) for k, v in {"experiment": "b", "runs": 4, "paper": 1.0}.items()]
    digests = {rule_digest(replace(one, rule=rule)) for rule in [one.rule, *others, ErrorBelow("a", 3, 10.41)]}
    digests.add(rule_digest(replace(one, refuted_by="It errs more.")))
    monkeypatch.setattr(PredictionInterval, "revision", 2)
    digests.add(rule_digest(one))
    assert len(digests) == 7


def test_damaged_records_are_one_line(tmp_path: Path) -> None:
    assert read_records(tmp_path / "claims.json") == []
    for text in ("{", "[{}]", "[1]", '{"a": 1}', '[{"id": "a", "version": "1", "digest": "", "status": ""}]'):
        (tmp_path / "claims.json").write_text(text)
        with pytest.raises(NinyError, match="damaged"):
            read_records(tmp_path / "claims.json")
