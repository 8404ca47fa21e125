"""The house style of source notebooks: short, titled, with parameters, told in sentences, ended by a test."""

import ast
import re
from collections.abc import Sequence
from pathlib import Path

from nbformat import NotebookNode

from niny.errors import NinyError
from niny.notebooks import read

MAX_CELLS, MAX_LINES, MIN_MARKDOWN = 25, 20, 0.45


def check_style(path: Path) -> list[str]:
    """What the notebook has against the house style, one line each: size, a title, a parameters cell, a sentence
    before each code cell, no def or class, and an assert at the end. Empty where all is well."""
    cells = read(path).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    problems = [*_shape_problems(cells), *(problem for cell in code for problem in _code_problems(cell))]
    if not code or not _contains(code[-1], ast.Assert):
        problems.append("the last code cell asserts nothing")
    return [f"{path.name}: {problem}" for problem in problems]


def _shape_problems(cells: Sequence[NotebookNode]) -> list[str]:
    markdown = sum(cell.cell_type == "markdown" for cell in cells)
    tagged = sum("parameters" in cell.metadata.get("tags", []) for cell in cells)
    bare = [cell for before, cell in zip([None, *cells], cells, strict=False) if _is_code(cell) and not _says(before)]
    problems = [f"no sentence before the cell {_opening(cell)}" for cell in bare]
    if not cells or cells[0].cell_type != "markdown" or not cells[0].source.startswith("# "):
        problems.append("the first cell is no title")
    if tagged != 1:
        problems.append(f"{tagged} cells are tagged `parameters`, one must be")
    if len(cells) > MAX_CELLS:
        problems.append(f"{len(cells)} cells, at most {MAX_CELLS}")
    if markdown < MIN_MARKDOWN * len(cells):
        problems.append(f"{markdown} of {len(cells)} cells are text, at least {MIN_MARKDOWN:.0%}")
    return problems


def _code_problems(cell: NotebookNode) -> list[str]:
    lines = len(cell.source.splitlines())
    problems = [f"{lines} lines in the cell {_opening(cell)}, at most {MAX_LINES}"] if lines > MAX_LINES else []
    if _contains(cell, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef):
        problems.append(f"a def or class in the cell {_opening(cell)}: it belongs in src/niny")
    return problems


def _contains(cell: NotebookNode, *kinds: type[ast.AST]) -> bool:
    try:
        return any(isinstance(node, kinds) for node in ast.walk(ast.parse(cell.source)))
    except SyntaxError as error:
        raise NinyError(f"not plain Python in the cell {_opening(cell)}: {error.msg}") from error


def _is_code(cell: NotebookNode) -> bool:
    return bool(cell.cell_type == "code")


def _says(cell: NotebookNode | None) -> bool:
    """Whether the cell is text with a sentence in it, beyond a heading."""
    if cell is None or cell.cell_type != "markdown":
        return False
    prose = re.sub(r"^#.*$", "", cell.source, flags=re.MULTILINE)
    return re.search(r"\w.*[.:?!](\W|$)", prose) is not None


def _opening(cell: NotebookNode) -> str:
    return repr(cell.source.partition("\n")[0])
