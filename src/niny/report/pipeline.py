"""The stages of dvc.yaml and what goes from one to the next, as a graph that a forge draws (Mermaid)."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from re import sub
from typing import Any

from niny.errors import NinyError
from niny.strict_yaml import load_yaml

Edges = set[tuple[str, str]]


def pipeline_text(root: Path) -> str:
    """The graph of the project in `root`, an arrow only where no other way leads. Raises NinyError without stages."""
    raw = load_yaml(root / "dvc.yaml")
    stages = raw.get("stages") if isinstance(raw, dict) else None
    if not isinstance(stages, dict) or not stages:
        raise NinyError(f"{root / 'dvc.yaml'}: no stages; restore it from git")
    arrows = [f"  {a} --> {b}" for a, b in sorted(reduced(edges(stages)))]
    return "\n".join(["```mermaid", "flowchart LR", *arrows, "```"])


def edges(stages: Mapping[str, Any]) -> Edges:
    """(stage, one that reads what it makes); whatever `foreach` lists counts as one stage."""
    work = {name: stage.get("do", stage) for name, stage in stages.items()}
    made = {name: _paths(stage.get("outs", ())) for name, stage in work.items()}
    read = {name: _paths(stage.get("deps", ())) for name, stage in work.items()}
    return {(a, b) for a in work for b in work if a != b and _meet(made[a], read[b])}


def _paths(entries: Iterable[Any]) -> list[list[str]]:
    """Paths by their parts, what is filled in as *; a path that is filled in as a whole says nothing."""
    names = [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]
    paths = [sub(r"\$\{[^}]*\}", "*", name).split("/") for name in names]
    return [path for path in paths if path != ["*"]]


def _meet(made: list[list[str]], read: list[list[str]]) -> bool:
    """Is one of `read` what was made, a folder above it, or within it?"""
    return any(all(a == b for a, b in zip(m, r, strict=False)) for m in made for r in read)


def reduced(all_edges: Edges) -> Edges:
    """Without the arrows that only shorten a way over other stages."""
    return {edge for edge in all_edges if not _reaches(all_edges - {edge}, *edge)}


def _reaches(known: Edges, start: str, end: str) -> bool:
    ahead = [b for a, b in known if a == start]
    return end in ahead or any(_reaches(known, stage, end) for stage in ahead)
