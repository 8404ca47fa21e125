"""Keeps what torture tests found: a pytest plugin that merges the last outcome of each into results/reliability.json.

A test marked `torture("name")`, name from niny.report.trust.LINES, is deselected unless asked for (`make torture`, or
`pytest -m torture -k WORD` for one). It counts what it tries with `tally`, and says at its end what was found.
"""

import fcntl
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from niny.files import write_json
from niny.report.trust import FILE, LINES, read_records
from niny.training import choose_compute
from niny.training.record import describe_commit, describe_machine


@dataclass
class Tally:
    """`count` grows with each attempt; `found` is what the report shows below the outcome of a test that passed."""

    count: int = 0
    found: str = ""


TALLY = pytest.StashKey[Tally]()


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    return request.node.stash.setdefault(TALLY, Tally())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    taken: set[str] = set()
    for item in items:
        if (name := line_of(item)) is None:
            continue
        if name not in LINES or name in taken:
            raise pytest.UsageError(f"{item.nodeid}: torture({name!r}) is no line of niny.report.trust, or is taken")
        taken.add(name)


def line_of(item: pytest.Item) -> str | None:
    marker = item.get_closest_marker("torture")
    return None if marker is None else str(marker.args[0]) if marker.args else ""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    report = yield
    name = line_of(item)
    if name is not None and report.when == "call" and not report.skipped:  # a skipped test leaves its last record
        tally = item.stash.setdefault(TALLY, Tally())
        why = "" if call.excinfo is None else call.excinfo.exconly().partition("\n")[0][:200]
        keep(item.config.rootpath, name, tally.count, report.passed, why or tally.found, report.duration)
    return report


def keep(root: Path, name: str, count: int, held: bool, found: str, seconds: float) -> None:
    """Put one record in the place of the last of its name; other processes that do the same wait for one another."""
    machine = describe_machine(choose_compute("cpu", "float32"))
    record = {
        "name": name,
        "tried": LINES[name],
        "count": count,
        "outcome": "held" if held else "failed",
        "found": found,
        "seconds": round(seconds, 1),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}",
        **describe_commit(),
    }
    with alone(root / FILE.parent):
        records = read_records(root) | {name: record}
        write_json(root / FILE, [records[name] for name in sorted(records)])


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
