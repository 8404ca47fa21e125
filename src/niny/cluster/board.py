"""Who runs what: the table that a campaign on a cluster shows, and the file that `niny status` reads it from."""

import json
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from niny.errors import BusyError
from niny.files import write_json
from niny.training.lock import claim


@dataclass
class Row:
    """A run that is on the cluster. Times are seconds since 1970; `ends` is None until an epoch has been measured."""

    experiment: str
    seed: int
    epochs: int
    node: str = "(not started)"
    since: float | None = None
    epoch: int = 0
    ends: float | None = None
    losses: int = 0  # processes that it has outlived


def path_of(root: Path, scale: str) -> Path:
    return root / ".niny" / "cluster" / f"{scale}.json"


def lock_of(root: Path, scale: str) -> Path:
    """Held by the process that leads the campaign: how `describe` knows that there is one."""
    return root / ".niny" / "locks" / scale / "cluster.lock"


def write_board(root: Path, scale: str, rows: Sequence[Row], counts: dict[str, int]) -> None:
    board = {"host": socket.gethostname(), "updated": time.time(), "counts": counts}
    write_json(path_of(root, scale), board | {"rows": [asdict(row) for row in rows]})


def describe(root: Path, scale: str) -> str:
    """What `niny status` adds where a campaign of that scale is, or was, on a cluster; empty where none ever was."""
    try:
        board: dict[str, Any] = json.loads(path_of(root, scale).read_text())
        rows = [Row(**row) for row in board["rows"]]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    try:
        with claim(lock_of(root, scale), scale):
            head = f"on a cluster: nothing now; a campaign led from {board['host']} ended {clock(board['updated'])}"
            return head if not rows else f"{head}, with {len(rows)} runs under way: the same command goes on"
    except BusyError:
        counts = ", ".join(f"{number} {name}" for name, number in board["counts"].items())
        head = f"on a cluster, led from {board['host']}, as of {clock(board['updated'])}: {counts}"
        return "\n".join([head, *table(rows)])


def table(rows: Sequence[Row]) -> list[str]:
    """A head and a line for each run: where it is, since when, how far, when it is expected to end."""
    if not rows:
        return []
    width = max(len(row.experiment) for row in rows)
    nodes = max(len("node"), *(len(row.node) for row in rows))
    head = f"{'experiment':{width}}  seed  {'node':{nodes}}  since         epoch      expected end  lost"
    return [head] + [
        f"{row.experiment:{width}}  {row.seed:4}  {row.node:{nodes}}  {clock(row.since):12}  "
        f"{f'{row.epoch}/{row.epochs}':9}  {clock(row.ends):12}  {row.losses or '-'}"
        for row in rows
    ]


def clock(moment: float | None) -> str:
    return "-" if moment is None else time.strftime("%d %b %H:%M", time.localtime(moment))
