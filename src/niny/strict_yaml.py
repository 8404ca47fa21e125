"""YAML read strictly: what people meant to write, or an error that names file, line and key.

PyYAML takes the last of two equal keys, reads 0100 as 64, 1:30 as 90 and yes as true, and follows aliases that make a
few lines into gigabytes. None of these is accepted here.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from niny.errors import NinyError

PLAIN = {  # the only spellings of a kind of scalar, and what is said of others
    "int": (re.compile(r"[-+]?(0|[1-9][0-9]{0,99})"), "expected a decimal number without leading zeros, _ and :"),
    "float": (re.compile(r"[-+]?([0-9]*\.?[0-9]+|[0-9]+\.)([eE][-+]?[0-9]+)?"), "expected a plain decimal number"),
    "bool": (re.compile(r"true|false"), "expected true or false (a text stands in quotes)"),
    "null": (re.compile(r"null|~"), "expected a value"),
}
DEEPEST = 20  # levels; params.yaml has five


def load_yaml(path: Path) -> Any:
    """The content of a YAML file. Raises NinyError, one line, for what cannot be read, and for any of the traps."""
    import yaml  # not at the top: a bare machine has none

    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, yaml.SafeLoader)
        _check(node, path.name, (), set())
        return yaml.safe_load(text)
    except OSError as error:
        raise NinyError(f"cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, or 2026-13-45
        raise NinyError(f"{path.name} is not valid YAML: {' '.join(str(error).split())}") from None


def _check(node: Any, file: str, keys: Sequence[str], seen: set[int]) -> None:
    if node is None:
        return
    where = f"{file}, line {node.start_mark.line + 1}: {'.'.join(keys) or 'the file'}"
    if id(node) in seen:
        raise NinyError(f"{where}: an alias (*name): write out what it stands for")
    if len(keys) > DEEPEST:
        raise NinyError(f"{where}: more than {DEEPEST} levels deep")
    seen.add(id(node))
    if node.id == "scalar":
        _check_scalar(node, where)
    elif node.id == "mapping":
        _check_mapping(node, file, keys, seen, where)
    else:
        for i, item in enumerate(node.value):
            _check(item, file, (*keys[:-1], f"{keys[-1] if keys else ''}[{i}]"), seen)


def _check_mapping(node: Any, file: str, keys: Sequence[str], seen: set[int], where: str) -> None:
    names = [key.value if key.id == "scalar" else "?" for key, _ in node.value]
    for name, (key, value) in zip(names, node.value, strict=True):
        line = f"{file}, line {key.start_mark.line + 1}"
        if not key.tag.endswith(":str"):
            raise NinyError(f"{line}: {'.'.join((*keys, str(name)))}: expected a name (a text stands in quotes)")
        if names.count(name) > 1:
            raise NinyError(f"{line}: key {'.'.join((*keys, name))} stands twice")
        _check(value, file, (*keys, name), seen)


def _check_scalar(node: Any, where: str) -> None:
    kind = node.tag.rpartition(":")[2]
    if kind in PLAIN and not PLAIN[kind][0].fullmatch(node.value):
        raise NinyError(f"{where}: {PLAIN[kind][1]}, got {node.value[:60] or 'nothing'}")
