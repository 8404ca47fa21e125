"""Networks held against each other, pair by pair: over seeds, and image by image.

Over seeds a pair tells two ways of training apart (Bouthillier et al. 2021), image by image two trained networks alone,
which is all that a single run allows. p values are Holm's over the pairs of the table.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import pandas as pd

from niny.evaluation.rules import Ordering
from niny.evaluation.statistics import McNemar, Paired, holm, mcnemar, paired
from niny.report.heads import is_rival
from niny.report.study import MADE, REFERENCE, Study
from niny.report.words import NONE, between, listed, number, p_value, plural

COLUMNS = ("First", "Second", "n", "Difference", "p", "Wins", "Right alone", "p, images")


@dataclass(frozen=True)
class Pair:
    """Two experiments with seeds in common; `images` are those of the first such seed."""

    first: str
    second: str
    seeds: Paired
    images: McNemar | None


def pairs(study: Study) -> list[Pair]:
    """All that an ordering of claims.yaml holds apart, and the reference against all that learns its data otherwise.

    In an ordering the first is the one that is said to err less.
    """
    rules = [c.rule for c in study.claims if isinstance(c.rule, Ordering) and c.rule.quantity == "test_error"]
    asked = [two for rule in rules for two in combinations(rule.experiments, 2)]
    named = {frozenset(two) for two in asked}
    others = [e.name for e in study.experiments if is_rival(study, e.name)] if REFERENCE in study.results else []
    asked += [(REFERENCE, other) for other in others if frozenset((REFERENCE, other)) not in named]
    return [pair for two in asked if (pair := _pair(study, *two)).seeds.difference.n]


def _pair(study: Study, first: str, second: str) -> Pair:
    a, b = study.result(first), study.result(second)
    common = sorted(a.correct.keys() & b.correct.keys())
    images = mcnemar(a.correct[common[0]], b.correct[common[0]]) if common else None
    return Pair(first, second, paired(a.test_errors, b.test_errors), images)


def pairs_table(study: Study) -> pd.DataFrame:
    """A row for each pair."""
    found = pairs(study)
    by_seed = adjusted([pair.seeds.p for pair in found])
    by_image = adjusted([None if pair.images is None else pair.images.p for pair in found])
    rows = [_row(pair, *p) for pair, *p in zip(found, by_seed, by_image, strict=True)]
    return pd.DataFrame(rows, columns=COLUMNS)


def not_alike(study: Study) -> str:
    """In how many pairs the runs of a seed were made on other machines or in other precisions, as a sentence."""
    found = pairs(study)
    unlike = [names for pair in found if (names := _unlike(study, pair))]
    if not unlike:
        return ""
    what = [word for name, word in MADE.items() if any(name in names for names in unlike)]
    return f" In {len(unlike)} of {plural(len(found), 'pair')} runs of one seed differ in {listed(what)} as well."


def _unlike(study: Study, pair: Pair) -> list[str]:
    first, second = (study.of(name, "finished").set_index("seed") for name in (pair.first, pair.second))
    common = first.index.intersection(second.index)
    first, second = (runs.loc[common, list(MADE)].astype(object) for runs in (first, second))
    return [name for name in MADE if not first[name].equals(second[name])]


def adjusted(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's p values of those that there are."""
    known = iter(holm([p for p in p_values if p is not None]))
    return [None if p is None else next(known) for p in p_values]


def _row(pair: Pair, p_seeds: float | None, p_images: float | None) -> dict[str, str]:
    difference = pair.seeds.difference
    how_sure = "one run" if difference.interval is None else between(difference.interval, "+.2f")
    cells = (
        pair.first,
        pair.second,
        str(difference.n),
        f"{difference.mean:+.2f}\n{how_sure}",
        p_value(p_seeds),
        number(pair.seeds.outperforms) if difference.n > 1 else NONE,
        NONE if pair.images is None else f"{pair.images.only_a:,} : {pair.images.only_b:,}",
        p_value(p_images),
    )
    return dict(zip(COLUMNS, cells, strict=True))
