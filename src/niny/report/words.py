"""Numbers as the report's words: the same ones in every table, sentence and figure."""

from collections.abc import Iterable, Sequence

from niny.evaluation.statistics import Interval

NONE = "–"  # a cell to which the question does not apply
NOT_MEASURED = "not measured"


def number(value: float | None) -> str:
    """Two decimals, three of what is smaller than one, and two digits of what is below a thousandth."""
    if value is None:
        return NONE
    value = round(value, 12) + 0.0  # what rounding left of 0 is 0
    if abs(value) >= 1:
        return f"{value:.2f}"
    return f"{value:.3f}" if abs(value) >= 0.001 else f"{value:.2g}"


def p_value(p: float | None) -> str:
    """A p value, which is never nothing."""
    return "< 0.0001" if p is not None and p < 0.0001 else number(p)


def printed(value: float | None) -> str:
    """A number of the paper, in the two decimals that it gives."""
    return NONE if value is None else f"{value:.2f}"


def between(interval: Interval, form: str = ".2f") -> str:
    return f"{interval[0]:{form}} to {interval[1]:{form}}"


def through(interval: Interval) -> str:
    """An interval in the digits of `number`."""
    return " to ".join(map(number, interval))


def duration(seconds: float) -> str:
    """Seconds as people say them: 48 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.0f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def told_commit(commit: str | None, changed: bool) -> str:
    """A commit in short, and whether the code differed from it."""
    return f"commit {commit[:10]}{' with changes' if changed else ''}" if commit else "no commit"


def plural(n: int, word: str) -> str:
    return f"{n:,} {word}{'' if n == 1 else 's'}"


def listed(words: Sequence[str]) -> str:
    """a; a and b; a, b and c."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else ""


def distinct(values: Iterable[object]) -> str:
    """The different values in order of appearance, or that there are none."""
    return ", ".join(dict.fromkeys(str(value) for value in values)) or "not run"
