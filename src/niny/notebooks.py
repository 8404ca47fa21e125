"""Notebooks as sources and as records: clean one, run one through papermill, hold one to the house style.

No section of the paper is built here. A source in notebooks/ has one canonical form, so that its bytes say what it
computes and nothing about who opened it; an executed copy keeps what the run found and drops what the run was (times,
addresses, progress), so that the same code on the same machine gives the same bytes.
"""

import ast
import base64
import hashlib
import json
import logging
import math
import os
import re
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, NoReturn

import nbformat
import papermill
from ipykernel.kernelspec import make_ipkernel_cmd
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from niny.config import project_root
from niny.errors import READABLE, BusyError, NinyError
from niny.files import scratch_folder, write_text
from niny.style import fewer_colours

FORMAT: Any = nbformat  # annotated in part only, and mypy --strict lets nobody call the rest

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
INLINE = "module://matplotlib_inline.backend_inline"
PACKAGES = Path(__file__).parents[1]  # where this niny is imported from
# The order is that in which a text from the command line is tried: `int | None` must see None before it sees an int.
KINDS = {"None": NoneType, "bool": bool, "int": int, "float": float, "list": list, "str": str}
NUMBER = {
    "int": re.compile(r"[-+]?(0|[1-9][0-9]{0,17})"),
    "float": re.compile(r"[-+]?([0-9]{0,30}\.?[0-9]{1,30}|[0-9]{1,30}\.)([eE][-+]?[0-9]{1,2})?"),
}
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
WIDGET = "application/vnd.jupyter.widget-view+json"  # names a model by a random id, which dies with its kernel
ERROR_MARKER = "papermill-error-cell-tag"  # on the banners that papermill puts into a failed copy
STARTS = 3  # a kernel's ports are chosen before it takes them, and another process may be quicker


# --- the canonical form -----------------------------------------------------------------------------------------


def clean(notebook: NotebookNode) -> NotebookNode:
    """The canonical source: no outputs or counts, ids by position, no metadata but tags and the kernel's name.

    Empty cells at the end, and white space at the end of a cell, are what JupyterLab leaves behind: they go too.
    Cleaning twice is cleaning once. `notebook` is left as it is.
    """
    cells = [_clean_cell(cell, index) for index, cell in enumerate(notebook.cells)]
    while cells and not cells[-1].source:
        cells.pop()
    metadata = {"kernelspec": dict(KERNEL), "language_info": {"name": "python"}}
    canonical: NotebookNode = FORMAT.v4.new_notebook(cells=cells, metadata=metadata)
    return canonical


def _clean_cell(cell: NotebookNode, index: int) -> NotebookNode:
    new = getattr(FORMAT.v4, f"new_{cell.cell_type}_cell")
    fresh: NotebookNode = new(source=cell.source.rstrip(), id=f"cell-{index}")
    if cell.metadata.get("tags"):
        fresh.metadata["tags"] = list(cell.metadata.tags)
    if cell.get("attachments"):
        fresh["attachments"] = cell.attachments
    return fresh


def clean_file(source: Path, target: Path) -> None:
    """Write the canonical form of `source` to `target`, which may be the same file."""
    write_text(target, _text(clean(read(source))))


def read(path: Path) -> NotebookNode:
    """A notebook of format 4, with outputs if it has any. Raises NinyError where there is none."""
    try:
        # nbformat.read would also validate, and warn of missing cell ids that are replaced anyway
        notebook: NotebookNode = FORMAT.v4.reads(path.read_text(encoding="utf-8"))
        _check_cells(notebook)
    except OSError as error:
        raise NinyError(f"cannot read the notebook {path}: {error.strerror}") from error
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise NinyError(f"{path} is not a Jupyter notebook of format 4: open and save it in JupyterLab") from error
    return notebook


def _check_cells(notebook: NotebookNode) -> None:
    """Raises ValueError, KeyError or TypeError for cells that are none."""
    for cell in notebook["cells"]:
        tags = cell["metadata"].get("tags", [])
        known = cell["cell_type"] in ("code", "markdown", "raw") and isinstance(cell["source"], str)
        if not known or not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise ValueError(cell)


def _text(notebook: NotebookNode) -> str:
    return f"{FORMAT.v4.writes(notebook)}\n"


def pre_save(model: dict[str, Any], path: str, contents_manager: Any, **_: Any) -> None:
    """Jupyter's pre-save hook: the sources of this project are saved in canonical form, any other file untouched.

    The notebook in the browser keeps its outputs; only what is written to disk is cleaned.
    """
    file = Path(contents_manager.root_dir) / path.strip("/")
    if model.get("type") == "notebook" and model.get("content") and _is_source(file):
        model["content"] = clean(FORMAT.from_dict(model["content"]))


def _is_source(file: Path) -> bool:
    # found from the file and not from the current folder: JupyterLab may have been started anywhere
    return any(
        folder.name == "notebooks" and (folder.parent / "src/niny/notebooks.py").is_file() for folder in file.parents
    )


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "niny.notebooks"}]


def _load_jupyter_server_extension(server: Any) -> None:
    """Called by a Jupyter server that lists niny.notebooks among its extensions."""
    server.contents_manager.register_pre_save_hook(pre_save)


# --- parameters -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parameter:
    """One assignment in a parameters cell: the kinds of value it takes, such as ("int", "None"), and its default."""

    name: str
    kinds: tuple[str, ...]
    default: object


def declared_parameters(source: Path) -> dict[str, Parameter]:
    """What the cell tagged `parameters` of the notebook `source` declares; nothing where there is no such cell."""
    cells = [cell for cell in read(source).cells if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) > 1:
        raise NinyError(f"{source.name}: {len(cells)} cells are tagged `parameters`, one may be")
    try:
        statements = ast.parse(cells[0].source).body if cells else []
        found = [_declared(statement) for statement in statements]
    except (SyntaxError, ValueError, TypeError) as error:
        raise NinyError(
            f"{source.name}: the parameters cell may hold only `name = literal` or `name: type = literal`: {error}"
        ) from error
    return {parameter.name: parameter for parameter in found}


def _declared(statement: ast.stmt) -> Parameter:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            default = ast.literal_eval(value)
            kinds = [type(default).__name__]
        case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=ast.expr() as value):
            default = ast.literal_eval(value)
            kinds = [kind.strip() for kind in ast.unparse(annotation).split("|")]
        case _:
            raise ValueError(f"`{ast.unparse(statement)}`")
    if not all(_base(kind) in KINDS for kind in kinds):
        raise ValueError(f"`{ast.unparse(statement)}` is none of {', '.join(KINDS)}")
    return Parameter(name, tuple(kinds), _fitted(default, kinds))


def _base(kind: str) -> str:
    """The outer kind of `list[int]` is `list`; the inner one must be a kind as well."""
    inner = kind.removeprefix("list[").removesuffix("]")
    return "list" if kind == f"list[{inner}]" and inner in KINDS else kind


def _fitted(value: object, kinds: Sequence[str]) -> object:
    """`value` as the first of `kinds` that it is; an int where a float is meant becomes one. Raises TypeError."""
    for kind in kinds:
        if type(value) is list and kind.startswith("list["):
            return [_fitted(item, [kind[5:-1]]) for item in value]
        if type(value) is float and not math.isfinite(value):
            continue
        if type(value) is KINDS[_base(kind)]:  # not isinstance: a bool is no int here
            return value
        if kind == "float" and type(value) is int:
            return float(value)
    raise TypeError(f"expected {' | '.join(kinds)}, got {value!r} ({type(value).__name__})")


def parse_parameters(texts: Sequence[str], source: Path) -> dict[str, object]:
    """Read `name=value` texts by the types that `source` declares: lr=1e-3 is a float, flag=false a bool, 007 a str.

    Lists are JSON. Raises one NinyError that names every text that cannot be read.
    """
    declared = declared_parameters(source)
    values: dict[str, object] = {}
    problems = []
    for text in texts:
        name, equals, value = text.partition("=")
        try:
            if not equals:
                raise ValueError(f"expected name=value, got {text!r}")
            if name in values:
                raise ValueError("it is given twice")
            values[name] = _parsed(value, _known(name, declared).kinds)
        except ValueError as error:
            problems.append(str(error) if not equals or name not in declared else f"parameter {name!r}: {error}")
    _refuse(problems, source)
    return values


def _parsed(text: str, kinds: Sequence[str]) -> object:
    for kind in sorted(kinds, key=lambda kind: list(KINDS).index(_base(kind))):
        try:
            return _fitted(_parsed_as(text, kind), [kind])
        except (ValueError, TypeError, KeyError):
            continue
    raise ValueError(f"expected {' | '.join(kinds)}, got {text!r}")


def _parsed_as(text: str, kind: str) -> object:
    match _base(kind):
        case "None":
            return {"None": None, "null": None}[text]
        case "bool":
            return {"true": True, "false": False}[text.lower()]
        case "list":
            return json.loads(text)
        case "str":
            return text
        case number:
            if not NUMBER[number].fullmatch(text):  # int() takes 007, 1_000 and digits of all scripts, float() nan
                raise ValueError(text)
            return KINDS[number](text)


def _known(name: str, declared: Mapping[str, Parameter]) -> Parameter:
    if name not in declared:
        raise ValueError(f"unknown parameter {name!r} (known: {', '.join(declared) or 'none'})")
    return declared[name]


def _checked(parameters: Mapping[str, object], source: Path) -> dict[str, object]:
    """The values as papermill may inject them: every name declared, every type as declared, in the cell's order."""
    declared = declared_parameters(source)
    values: dict[str, object] = {}
    problems = []
    for name, value in parameters.items():
        try:
            values[name] = _fitted(value, _known(name, declared).kinds)
        except TypeError as error:
            problems.append(f"parameter {name!r}: {error}")
        except ValueError as error:
            problems.append(str(error))
    _refuse(problems, source)
    return {name: values[name] for name in declared if name in values}


def _refuse(problems: Sequence[str], source: Path) -> None:
    if problems:
        raise NinyError(f"{source.name}: {'; '.join(problems)}")


# --- execution --------------------------------------------------------------------------------------------------


class ThisPython(AsyncKernelManager):
    """Starts the kernel with this interpreter, whatever another "python3" the user has installed for Jupyter."""

    @property
    def kernel_spec(self) -> KernelSpec:
        # log level 50: ipykernel warns on every start that localhost is not encrypted, and of its own shutdown
        words = make_ipkernel_cmd("niny.kernel", extra_arguments=["--IPKernelApp.log_level=50"])
        return KernelSpec(argv=words, language="python", env=_kernel_environment(Path(self.connection_file).parent))


def _kernel_environment(scratch: Path) -> dict[str, str]:
    # sets print in the order of their hashes, and a shell's MPLBACKEND would hide the figures
    fixed = {"PYTHONHASHSEED": "0", "MPLBACKEND": INLINE}
    # what a user has set for IPython and matplotlib would show in the figures; and there may be no home to write to
    fixed |= {"IPYTHONDIR": str(scratch / "ipython"), "MPLCONFIGDIR": str(scratch), "MATPLOTLIBRC": ""}
    if PACKAGES.name != "src":
        return fixed
    # a checkout that is not installed is on a path that the kernel, in its own folder, may not share
    paths = [str(PACKAGES), os.environ.get("PYTHONPATH", "")]
    return fixed | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def execute(source: Path, target: Path, parameters: Mapping[str, object]) -> None:
    """Run `source` in the project's root with checked parameters; write the executed copy to `target`.

    The notebook's stderr is progress: shown live on ours, not kept. On failure `target` stays as it was, the failed
    copy goes to build/failed/, and the NinyError says in one line what failed where. Ctrl-C stops the kernel. Raises
    NinyError while another process writes the same copy.
    """
    values = _checked(parameters, source)
    if target.is_dir() or target.resolve() == source.resolve():
        what = "a folder" if target.is_dir() else "the notebook itself"
        raise NinyError(f"{target} is {what}: name another file for the executed copy")
    failed = project_root() / "build" / "failed" / target.name
    started = time.monotonic()
    with _alone(target) as scratch:
        print(f"{target.stem}: running", file=sys.stderr, flush=True)
        live = scratch / "live.ipynb"
        try:
            _started(target.stem, clean(read(source)), live, values)
        except (PapermillExecutionError, DeadKernelError) as error:
            write_text(failed, _text(_record(read(live))))
            raise _explained(error, target.stem, failed) from error
        write_text(target, _text(_record(read(live))))
    failed.unlink(missing_ok=True)  # an old failure would mislead
    print(f"{target.stem}: done in {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)


def _alone(target: Path) -> AbstractContextManager[Path]:
    """A folder for what running leaves behind until its end, by one process at a time."""

    def busy() -> NoReturn:
        raise BusyError(f"{target.stem} is being run by another process: wait for its end")

    name = hashlib.sha256(str(target.resolve()).encode()).hexdigest()[:8]
    return scratch_folder(project_root() / ".niny" / "notebooks" / f"{target.stem}-{name}", busy)


def _started(name: str, notebook: NotebookNode, live: Path, parameters: Mapping[str, object]) -> None:
    """Run it, and try again where the kernel did not begin. Raises NinyError where it never does."""
    for _ in range(STARTS):
        try:
            return _run(notebook, live, parameters)
        except RuntimeError as error:
            if not str(error).startswith(("Kernel died before", "Kernel didn't respond")):
                raise
            print(f"{name}: the kernel did not begin ({error})", file=sys.stderr, flush=True)
    raise NinyError(f"{name}: the kernel does not begin: does `{sys.executable} -m niny.kernel` start?")


def _run(notebook: NotebookNode, live: Path, parameters: Mapping[str, object]) -> None:
    # papermill warns of `int | None` parameters as unknown: names were checked before
    logging.getLogger("papermill").setLevel(logging.CRITICAL)
    papermill.execute_notebook(
        notebook,
        live,
        dict(parameters),
        kernel_name=KERNEL["name"],
        language=KERNEL["language"],
        kernel_manager_class=ThisPython,
        config=Config(ThisPython={"connection_file": str(live.with_name("kernel.json"))}),
        cwd=project_root(),
        progress_bar=False,
        stderr_file=sys.stderr,
        start_timeout=300,  # seconds: a cold network disk takes minutes to import IPython
        iopub_timeout=60,  # seconds that outputs may lag behind a cell on a busy machine before it counts as failed
    )


def _explained(error: PapermillExecutionError | DeadKernelError, name: str, copy: Path) -> NinyError:
    if isinstance(error, DeadKernelError):
        return NinyError(f"{name}: the kernel died, perhaps for want of memory; see {copy}")
    if error.ename in READABLE:
        return NinyError(error.evalue)
    what = textwrap.shorten(f"{error.ename}: {error.evalue}", 300)
    return NinyError(f"{name}: cell [{error.exec_count}]: {what}; see {copy}")


def _record(notebook: NotebookNode) -> NotebookNode:
    """The executed copy: the canonical form with counts and outputs, as far as these are the same in every run."""
    cells = [cell for cell in notebook.cells if ERROR_MARKER not in cell.metadata.get("tags", [])]
    record = clean(FORMAT.v4.new_notebook(cells=cells))
    for cell, ran in zip(record.cells, cells, strict=True):
        if cell.cell_type == "code":
            cell["execution_count"] = ran.execution_count
            cell["outputs"] = _stable_outputs(ran.outputs)
    return record


def _stable_outputs(outputs: Sequence[NotebookNode]) -> list[NotebookNode]:
    """No stderr, no addresses, no widget's model; stdout in one piece, for its cuts depend on the clock."""
    stable: list[NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream" and output.name == "stderr":
            continue
        if output.output_type == "stream" and stable and stable[-1].output_type == "stream":
            stable[-1]["text"] += output.text
        else:
            stable.append(output)
    for output in stable:
        _drop_the_moment(output)
        _shrink_picture(output)
    return stable


def _drop_the_moment(output: NotebookNode) -> None:
    """Take away addresses, what only a running kernel can fill, and the plain twins of tables."""
    if output.output_type == "stream":
        output["text"] = ADDRESS.sub("", output.text)
    output.get("data", {}).pop(WIDGET, None)
    if "text/html" in output.get("data", {}):  # which every viewer shows
        output.data.pop("text/plain", None)
    for kind, content in output.get("data", {}).items():
        if kind.startswith("text/"):
            output.data[kind] = ADDRESS.sub("", content)


def _shrink_picture(output: NotebookNode) -> None:
    data = output.get("data", {})
    if "image/png" in data:
        data["image/png"] = base64.b64encode(fewer_colours(base64.b64decode(data["image/png"]))).decode()
