"""The rules by which claims are judged: each a frozen dataclass of arguments with one pure function of the results.

All rules share one caution. Fewer runs than the rule asks for leave a claim undecided, whatever their numbers; an
interval wholly on the claimed side supports it, one wholly on the other side refutes it, anything else is undecided.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean
from typing import ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from niny.evaluation.statistics import LEVEL, Interval, Paired, holm, mcnemar, paired, spread_ratio, summarise
from niny.paper import FIGURE_3, reported

Status = Literal["supported", "refuted", "undecided", "not run", "not tested at this scale"]
BySeed = Mapping[int, float]


@dataclass(frozen=True)
class Score:
    """A number about class maps: value and interval over all networks, the value for each seed, n images or grids."""

    value: float
    interval: Interval | None = None
    seeds: BySeed = field(default_factory=dict)
    n: int = 0


@dataclass(frozen=True)
class ExperimentResult:
    """What is known of one experiment at one scale; every mapping is by seed, empty where nothing was measured.

    Errors are per cent. `train_errors` are those without dropout masks. `correct` has shape [test images]. A row of
    `history` has the numbers of history.csv for one epoch, without the columns that were not measured in it.
    """

    test_errors: BySeed = field(default_factory=dict)
    train_errors: BySeed = field(default_factory=dict)
    correct: Mapping[int, NDArray[np.bool_]] = field(default_factory=dict)
    history: Mapping[int, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    maps: Mapping[str, Score] = field(default_factory=dict)


Results = Mapping[str, ExperimentResult]
FLOOR = 0.1  # per cent: below it a training error is none
NOTHING = ExperimentResult()


@dataclass(frozen=True)
class Verdict:
    """A claim judged: our number, the paper's where it gives one, n runs, the interval that decided, and why."""

    status: Status
    ours: float | None
    paper: float | None
    n: int
    interval: Interval | None
    because: str


class Rule(Protocol):
    """`revision` counts what the code of a kind of rule has come to mean: raise it when that changes."""

    revision: ClassVar[int]

    @property
    def experiments(self) -> tuple[str, ...]: ...

    def judge(self, results: Results) -> Verdict: ...


@dataclass(frozen=True)
class _OneExperiment:
    revision: ClassVar[int] = 1
    experiment: str
    runs: int  # fewest runs that may decide

    @property
    def experiments(self) -> tuple[str, ...]:
        return (self.experiment,)


@dataclass(frozen=True)
class PredictionInterval(_OneExperiment):
    """Is the paper's single number inside the prediction interval of our runs, itself no wider than ± `precision`?"""

    paper: float
    precision: float

    def judge(self, results: Results) -> Verdict:
        summary = summarise([*results.get(self.experiment, NOTHING).test_errors.values()])
        status, because = too_few(summary.n, self.runs) or self._place(summary.prediction)
        return Verdict(status, summary.mean, self.paper, summary.n, summary.prediction, because)

    def _place(self, prediction: Interval | None) -> tuple[Status, str]:
        if prediction is None:
            return "undecided", "one run has no prediction interval"
        low, high = prediction
        text = f"the 95 % prediction interval {show(low, high)}"
        if not low <= self.paper <= high:
            return "refuted", f"{self.paper:.2f} lies {'below' if self.paper < low else 'above'} {text}"
        if (high - low) / 2 > self.precision:
            return "undecided", f"{text} is wider than ±{self.precision:g} points: it would hold almost any number"
        return "supported", f"{self.paper:.2f} lies inside {text}"


@dataclass(frozen=True)
class ErrorBelow(_OneExperiment):
    """Does one more run of ours stay below `value`, a single number that others published or we aimed at?"""

    value: float

    def judge(self, results: Results) -> Verdict:
        summary = summarise([*results.get(self.experiment, NOTHING).test_errors.values()])
        status, because = too_few(summary.n, self.runs) or side(summary.prediction, "below", self.value)
        return Verdict(status, summary.mean, reported().get(self.experiment), summary.n, summary.prediction, because)


@dataclass(frozen=True)
class RelativeReduction:
    """Does `after` cut the test error of `before` by more than `more_than` per cent of it, seed by seed?"""

    revision: ClassVar[int] = 1
    before: str
    after: str
    more_than: float
    runs: int

    @property
    def experiments(self) -> tuple[str, ...]:
        return self.before, self.after

    def judge(self, results: Results) -> Verdict:
        before, after = (results.get(name, NOTHING).test_errors for name in self.experiments)
        summary = summarise(
            [100 * (1 - after[k] / before[k]) for k in sorted(before.keys() & after.keys()) if before[k]]
        )
        status, because = too_few(summary.n, self.runs) or side(summary.interval, "above", self.more_than)
        return Verdict(status, summary.mean, self._paper(), summary.n, summary.interval, because)

    def _paper(self) -> float | None:
        errors = reported()
        known = self.before in errors and self.after in errors
        return 100 * (1 - errors[self.after] / errors[self.before]) if known else None


@dataclass(frozen=True)
class Ordering:
    """Is `quantity` smaller in each experiment than in the next? Paired t tests of neighbours, Holm over the chain.

    `quantity`: "test_error"; "gap", test less training error; "curve.COLUMN", the mean of a column of the history over
    the epochs of figure 3 from `first_epoch` on, "curve.gap" that of the gap; "maps.SCORE". The verdict's number is
    the margin of the closest pair.
    """

    revision: ClassVar[int] = 2  # no gap is judged where no training error is left
    experiments: tuple[str, ...]
    quantity: str
    runs: int
    first_epoch: int = 0

    def __post_init__(self) -> None:
        if len(set(self.experiments)) < 2 or len(set(self.experiments)) < len(self.experiments):
            raise ValueError("experiments: expected two or more different names")
        if self.quantity.split(".")[0] not in ("test_error", "gap", "curve", "maps"):
            raise ValueError(f"quantity: expected test_error, gap, curve.COLUMN or maps.SCORE, got {self.quantity!r}")

    def judge(self, results: Results) -> Verdict:
        values = [by_seed(results.get(name, NOTHING), self.quantity, self.first_epoch) for name in self.experiments]
        missing = [name for name, of in zip(self.experiments, values, strict=True) if not of]
        if missing:
            return Verdict("not run", None, None, 0, None, f"nothing to judge by of {', '.join(missing)}")
        pairs = [paired(a, b) for a, b in pairwise(values)]
        if not all(pair.difference.n for pair in pairs):
            return Verdict("undecided", None, None, 0, None, "no seed in common")
        closest = max(range(len(pairs)), key=lambda i: pairs[i].difference.mean or 0.0)
        margin, n = pairs[closest].difference, min(pair.difference.n for pair in pairs)
        status, because = self._at_floor(results) or too_few(n, self.runs) or self._test(pairs)
        ours = 0.0 - (margin.mean or 0.0)
        interval = None if margin.interval is None else (-margin.interval[1], -margin.interval[0])
        return Verdict(status, ours, self._paper(closest), n, interval, because + self._images(results, closest))

    def _at_floor(self, results: Results) -> tuple[Status, str] | None:
        """Where all know the training images by heart, a gap is a test error, of which other claims speak."""
        left = [error for name in self.experiments for error in results[name].train_errors.values()]
        if self.quantity != "gap" or not left or any(error > FLOOR for error in left):
            return None
        return "undecided", f"no training error above {FLOOR} % is left: the gap is the test error"

    def _test(self, pairs: Sequence[Paired]) -> tuple[Status, str]:
        steps = [pair.difference.mean or 0.0 for pair in pairs]
        p_values = holm([1.0 if pair.p is None else pair.p for pair in pairs])
        sure = [p < 1 - LEVEL for p in p_values]
        because = "; ".join(
            f"{a} {'below' if step < 0 else 'not below'} {b} by {abs(step):.2f} (p = {p:.2g})"
            for (a, b), step, p in zip(pairwise(self.experiments), steps, p_values, strict=True)
        )
        if any(step > 0 and known for step, known in zip(steps, sure, strict=True)):
            return "refuted", because
        return "supported" if all(sure) else "undecided", because

    def _paper(self, i: int) -> float | None:
        errors, (better, worse) = reported(), self.experiments[i : i + 2]
        known = self.quantity == "test_error" and better in errors and worse in errors
        return errors[worse] - errors[better] if known else None

    def _images(self, results: Results, i: int) -> str:
        a, b = (results[name].correct for name in self.experiments[i : i + 2])
        if self.quantity != "test_error" or not (seeds := a.keys() & b.keys()):
            return ""
        return f"; image by image, seed {min(seeds)}: McNemar p = {mcnemar(a[min(seeds)], b[min(seeds)]).p:.2g}"


@dataclass(frozen=True)
class CurveDistance(_OneExperiment):
    """Is our curve, from `first_epoch` on, within `tolerance` points of figure 3's, in the mean over its points?"""

    curve: Literal["train_no_dropout", "train_dropout", "test_no_dropout", "test_dropout"]
    first_epoch: int
    tolerance: float

    def judge(self, results: Results) -> Verdict:
        distances = [self._distance(rows) for rows in results.get(self.experiment, NOTHING).history.values()]
        summary = summarise([d for d in distances if d is not None])
        status, because = too_few(summary.n, self.runs) or side(summary.interval, "below", self.tolerance)
        return Verdict(status, summary.mean, None, summary.n, summary.interval, because)

    def _distance(self, rows: Sequence[Mapping[str, float]]) -> float | None:
        ours = figure_points(rows, "test_error" if self.curve.startswith("test") else "train_error_masked")
        theirs = dict(zip(FIGURE_3.epochs, getattr(FIGURE_3, self.curve), strict=True))
        epochs = figure_epochs(self.first_epoch)
        return fmean(abs(ours[e] - theirs[e]) for e in epochs) if ours.keys() >= set(epochs) else None


@dataclass(frozen=True)
class MapScore(_OneExperiment):
    """Is a score of the class maps above (below) a `value` and above (below) every null, intervals not overlapping?"""

    score: str
    side: Literal["above", "below"]
    value: float | None = None
    nulls: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.value is None and not self.nulls:
            raise ValueError("expected a value, nulls, or both to hold the score against")

    def judge(self, results: Results) -> Verdict:
        maps = results.get(self.experiment, NOTHING).maps
        if missing := [name for name in (self.score, *self.nulls) if name not in maps]:
            return Verdict("not run", None, None, 0, None, f"no score {', '.join(missing)} for {self.experiment}")
        ours, n = maps[self.score], len(maps[self.score].seeds)
        status, because = too_few(n, self.runs) or self._against(ours.interval, maps)
        return Verdict(status, ours.value, None, n, ours.interval, because)

    def _against(self, interval: Interval | None, maps: Mapping[str, Score]) -> tuple[Status, str]:
        bounds = [] if self.value is None else [side(interval, self.side, self.value)]
        bounds += [side(interval, self.side, maps[n].interval or maps[n].value, n) for n in self.nulls]
        order: tuple[Status, ...] = ("refuted", "undecided", "supported")
        return min(bounds, key=lambda bound: order.index(bound[0]))[0], "; ".join(text for _, text in bounds)


@dataclass(frozen=True)
class VariesMore(_OneExperiment):
    """Does the score `wide` vary more over seeds, relative to its size, than `narrow`? Pitman and Morgan's test."""

    wide: str
    narrow: str

    def judge(self, results: Results) -> Verdict:
        maps = results.get(self.experiment, NOTHING).maps
        wide, narrow = (maps[name].seeds if name in maps else {} for name in (self.wide, self.narrow))
        n = len(wide.keys() & narrow.keys())
        ratio = spread_ratio(wide, narrow)
        status, because = too_few(n, self.runs) or self._test(ratio)
        return Verdict(status, ratio and ratio[0], None, n, None, because)

    def _test(self, result: tuple[float, float] | None) -> tuple[Status, str]:
        if result is None:
            return "undecided", "too few seeds, or scores without spread"
        ratio, p = result
        because = f"spread over seeds {ratio:.2f} times that of {self.narrow} (p = {p:.2g})"
        if p >= 1 - LEVEL:
            return "undecided", because
        return "supported" if ratio > 1 else "refuted", because


def too_few(n: int, runs: int) -> tuple[Status, str] | None:
    """What a rule says of n runs when it asks for more: the words of tables, never a blank."""
    if n >= runs:
        return None
    if n == 0:
        return "not run", "no finished run to judge by"
    return "undecided", f"{'one run' if n == 1 else f'{n} runs'}, the rule asks for {runs}"


def side(
    interval: Interval | None, claimed: Literal["above", "below"], bound: float | Interval, name: str = ""
) -> tuple[Status, str]:
    """Where an interval lies against a number or another interval: on the claimed side, on the other, or across."""
    if interval is None:
        return "undecided", "no interval was recorded"
    low, high = bound if isinstance(bound, tuple) else (bound, bound)
    is_above, is_below = interval[0] > high, interval[1] < low
    where = "above" if is_above else "below" if is_below else "across"
    status: Status = "undecided" if where == "across" else "supported" if where == claimed else "refuted"
    label = f"{name} {show(low, high)}".strip()
    return status, f"{show(*interval)} lies {where} {label}"


def show(low: float, high: float) -> str:
    """An interval, or a single number, to four digits."""
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"


def figure_epochs(first: int) -> list[int]:
    """The epochs of figure 3 from the given one on, but epoch 0: no run looks at its untrained network."""
    return [epoch for epoch in FIGURE_3.epochs if epoch >= max(first, 1)]


def figure_points(rows: Sequence[Mapping[str, float]], column: str) -> dict[int, float]:
    """A column of the history, or "gap", at those epochs of figure 3 at which it was measured."""
    if column == "gap":
        test, train = (figure_points(rows, f"{part}_error") for part in ("test", "train"))
        return {epoch: test[epoch] - train[epoch] for epoch in test.keys() & train.keys()}
    return {int(row["epoch"]): row[column] for row in rows if row["epoch"] in FIGURE_3.epochs and column in row}


def by_seed(result: ExperimentResult, quantity: str, first_epoch: int = 0) -> BySeed:
    """{seed: value} of a quantity as `Ordering` names it; empty where nothing was measured."""
    kind, _, name = quantity.partition(".")
    if kind == "maps":
        return result.maps[name].seeds if name in result.maps else {}
    if kind == "gap":
        return {k: result.test_errors[k] - train for k, train in result.train_errors.items() if k in result.test_errors}
    if kind == "curve":
        return _late_means(result, name, first_epoch)
    return result.test_errors


def _late_means(result: ExperimentResult, column: str, first_epoch: int) -> BySeed:
    epochs = figure_epochs(first_epoch)
    points = {seed: figure_points(rows, column) for seed, rows in result.history.items()}
    return {seed: fmean(p[e] for e in epochs) for seed, p in points.items() if p.keys() >= set(epochs)}


RULES: Mapping[str, type[Rule]] = {
    "prediction_interval": PredictionInterval,
    "error_below": ErrorBelow,
    "relative_reduction": RelativeReduction,
    "ordering": Ordering,
    "curve_distance": CurveDistance,
    "map_score": MapScore,
    "varies_more": VariesMore,
}
