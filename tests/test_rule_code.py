"""What the code of a rule means is part of the rule: it changes with the revision that digests of claims hold."""

import ast
import hashlib
import inspect

import pytest

from niny.evaluation import rules, statistics
from niny.evaluation.rules import RULES

SOURCES = inspect.getsource(rules), inspect.getsource(statistics)
PINNED = {
    "prediction_interval": (1, "dfb84094289c3d35"),
    "error_below": (1, "2b7bad12296d95b6"),
    "relative_reduction": (1, "53b52cb48100f659"),
    "ordering": (2, "f7bf996b013a42d3"),
    "curve_distance": (1, "ec4f04346d3a1e6e"),
    "map_score": (1, "2c557553a9d728b0"),
    "varies_more": (1, "ed679a841319ebc8"),
}


@pytest.mark.parametrize("kind", RULES)
def test_the_code_of_a_rule_means_what_its_revision_says(kind: str) -> None:
    """Where this fails and the meaning changed: raise `revision` and the versions of claims that met runs, then pin."""
    assert (RULES[kind].revision, code_behind(RULES[kind].__name__, *SOURCES)) == PINNED[kind]


@pytest.mark.parametrize(
    ("old", "new", "moved"),
    [
        ("FLOOR = 0.1", "FLOOR = 50.0", {"ordering"}),
        ("LEVEL = 0.95", "LEVEL = 0.5", set(RULES) - {"map_score"}),  # whose intervals come from records
        ("max(first, 1)", "max(first, 2)", {"ordering", "curve_distance"}),
        ("def wilson(", "def wilsons(", set()),
    ],
)
def test_whatever_a_rule_uses_is_of_its_code(old: str, new: str, moved: set[str]) -> None:
    changed = [source.replace(old, new) for source in SOURCES]
    names = {kind: rule.__name__ for kind, rule in RULES.items()}
    assert {k for k, name in names.items() if code_behind(name, *SOURCES) != code_behind(name, *changed)} == moved


def code_behind(name: str, *sources: str) -> str:
    """Digest of a class and of all functions and constants of these modules that it uses, spaces left out."""
    found = {name: node for source in sources for name, node in definitions(source).items()}
    used, new = set[str](), {name}
    while new:
        used |= new
        new = {n.id for name in new for n in ast.walk(found[name][0]) if isinstance(n, ast.Name)} & found.keys() - used
    code = "".join(found[name][1] for name in sorted(used))
    return hashlib.sha256("".join(code.split()).encode()).hexdigest()[:16]


def definitions(source: str) -> dict[str, tuple[ast.stmt, str]]:
    """What a module defines by name, with its text."""
    found = {}
    for node in ast.parse(source).body:
        for name in [node.name] if isinstance(node, ast.ClassDef | ast.FunctionDef) else assigned(node):
            found[name] = node, ast.get_source_segment(source, node) or ""
    return found


def assigned(node: ast.stmt) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]
