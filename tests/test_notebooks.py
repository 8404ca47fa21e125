"""Notebooks: what is kept, what is refused, and that saving or running one again changes nothing."""

import base64
import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpec
from jupyter_server.services.contents.largefilemanager import LargeFileManager
from nbformat import NotebookNode
from notebook_style import check_style
from PIL import Image

from niny import notebooks
from niny.errors import NinyError
from niny.notebooks import ThisPython, clean, clean_file, execute, parse_parameters, read

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "notebooks").glob("*.ipynb"))

PARAMETERS = """
# how the net is trained
lr = 0.1
epochs: int = 3  # the smoke value
name: str = "nin"
interpreter: str = ""
flag = True
seed: int | None = None
widths: list[int] = [1, 2]
"""
RUN = """
import os, sys, time
import niny
assert sys.executable == interpreter and os.path.exists("params.yaml") and flag is False
print("epoch 1", file=sys.stderr)
print("first", flush=True)
time.sleep(0.3)
print(object(), {"a", "b", "c"}, lr)
"""
TABLE = "import pandas as pd\npd.DataFrame({'net': ['nin'], 'error': [10.41]})"
WIDGET = "import ipywidgets\nipywidgets.IntSlider(3)"
FIGURE = "import matplotlib.pyplot as plt\nplt.plot([1, 2])"


def text(source: str) -> NotebookNode:
    return nbformat.v4.new_markdown_cell(source)


def code(source: str, tag: str = "") -> NotebookNode:
    return nbformat.v4.new_code_cell(source, metadata={"tags": [tag]} if tag else {})


def save(path: Path, *cells: NotebookNode) -> Path:
    """A canonical source with these cells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=list(cells)), path)
    clean_file(path, path)
    return path


def lived_in(notebook: NotebookNode) -> NotebookNode:
    """What JupyterLab holds after a reader opened the notebook, ran it and pressed Shift-Enter on the last cell."""
    used = nbformat.from_dict(json.loads(json.dumps(notebook)))
    for count, cell in enumerate(used.cells):
        cell.id = f"random-{count}"
        cell.metadata.update(trusted=True, editable=True, slideshow={"slide_type": ""}, jupyter={"collapsed": False})
        if cell.cell_type == "code":
            cell.source += "\n"
            cell.execution_count = count + 7
            cell.metadata.execution = {"iopub.status.idle": "2026-01-01T00:00:00Z"}
            cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text="hello\n")]
    used.cells.append(nbformat.v4.new_code_cell(""))
    used.metadata.kernelspec.display_name = "Python 3 (ipykernel)"
    used.metadata.language_info = {"name": "python", "version": "3.99.1", "file_extension": ".py"}
    return used


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The skeleton of a clone, with one source in it."""
    lay_out(tmp_path)
    monkeypatch.setenv("NINY_ROOT", str(tmp_path))
    return tmp_path


def lay_out(root: Path) -> None:
    (root / "src/niny").mkdir(parents=True)
    (root / "src/niny/notebooks.py").touch()
    (root / "params.yaml").touch()
    save(root / "notebooks/01-data.ipynb", text("# Data?"), code(PARAMETERS, "parameters"), code("1 + 1"))


# --- the canonical form -----------------------------------------------------------------------------------------


def test_cleaning_a_used_notebook_gives_back_its_source_and_cleaning_twice_changes_nothing(project: Path) -> None:
    source = project / "notebooks/01-data.ipynb"
    used, once, twice = project / "used.ipynb", project / "once.ipynb", project / "twice.ipynb"
    nbformat.write(lived_in(read(source)), used)
    clean_file(used, once)
    clean_file(once, twice)
    assert used.read_bytes() != once.read_bytes() == twice.read_bytes() == source.read_bytes()


def test_the_canonical_form_keeps_tags_text_and_pictures_and_fixes_the_ids(project: Path) -> None:
    picture = {"a.png": {"image/png": "aGk="}}
    cell = text("![a](attachment:a.png)")
    cell["attachments"] = picture
    source = clean(nbformat.v4.new_notebook(cells=[cell, code("x = 1", "parameters"), code("  \n")]))
    assert [cell.id for cell in source.cells] == ["cell-0", "cell-1"]
    assert source.cells[0].attachments == picture
    assert source.cells[1].metadata == {"tags": ["parameters"]}
    nbformat.validate(source)


def test_a_file_that_is_no_notebook_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.ipynb"
    for content in ("<<<<<<< HEAD", "[]", '{"nbformat": 3, "worksheets": []}'):
        broken.write_text(content)
        with pytest.raises(NinyError, match=r"broken\.ipynb is not a Jupyter notebook"):
            read(broken)
    with pytest.raises(NinyError, match=r"cannot read the notebook .*absent\.ipynb"):
        read(tmp_path / "absent.ipynb")


def manager(root: Path) -> LargeFileManager:
    """What a Jupyter server started in `root` saves with, once it has loaded niny's extension."""
    contents = LargeFileManager(root_dir=str(root))
    (extension,) = notebooks._jupyter_server_extension_points()
    assert extension == {"module": notebooks.__name__}
    notebooks._load_jupyter_server_extension(SimpleNamespace(contents_manager=contents))
    return contents


@pytest.mark.parametrize("root", ["", "notebooks"])
def test_opening_running_and_saving_a_source_in_jupyter_leaves_its_bytes(project: Path, root: str) -> None:
    source = project / "notebooks/01-data.ipynb"
    before = source.read_bytes()
    contents = manager(project / root)
    path = str(source.relative_to(project / root))
    model = contents.get(path)
    model["content"] = lived_in(model["content"])
    contents.save(model, path)
    assert source.read_bytes() == before


def test_jupyter_saves_every_other_file_as_it_is(project: Path) -> None:
    used = lived_in(read(project / "notebooks/01-data.ipynb"))
    contents = manager(project)
    for name in ("scratch.ipynb", "results/demo/notebooks/01-data.ipynb"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        contents.save({"type": "notebook", "content": used}, name)
        assert read(project / name).cells[2].outputs
    contents.save({"type": "file", "format": "text", "content": "a  \n"}, "notebooks/note.txt")
    assert (project / "notebooks/note.txt").read_text() == "a  \n"


def test_the_setting_that_is_installed_makes_a_jupyter_server_load_the_hook(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "jupyter/jupyter_server_config.d", tmp_path / "jupyter_server_config.d")
    words = [sys.executable, "-m", "jupyter", "server", "extension", "list"]
    environment = {**os.environ, "JUPYTER_CONFIG_DIR": str(tmp_path)}
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    listed = re.sub(r"\x1b\[\d+m", "", done.stdout + done.stderr)
    assert re.search(r"niny\.notebooks enabled", listed), listed
    assert re.search(r"niny\.notebooks.*OK", listed), listed


# --- parameters -------------------------------------------------------------------------------------------------


def test_texts_are_read_by_the_declared_type(project: Path) -> None:
    source = project / "notebooks/01-data.ipynb"
    texts = ["lr=1e-3", "flag=false", "name=007", "epochs=2", "seed=5", "widths=[3]", "interpreter=a=b"]
    assert repr(parse_parameters(texts, source)) == repr(
        {"lr": 0.001, "flag": False, "name": "007", "epochs": 2, "seed": 5, "widths": [3], "interpreter": "a=b"}
    )
    assert parse_parameters(["seed=None"], source) == parse_parameters(["seed=null"], source) == {"seed": None}
    assert type(parse_parameters(["lr=1"], source)["lr"]) is float


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("flag=yes", "parameter 'flag': expected bool, got 'yes'"),
        ("epochs=1e2", "parameter 'epochs': expected int, got '1e2'"),
        ("epochs=", "parameter 'epochs': expected int, got ''"),
        ("lr=fast", "parameter 'lr': expected float, got 'fast'"),
        ("seed=x", r"parameter 'seed': expected int \| None, got 'x'"),
        ("widths=[1.5]", r"parameter 'widths': expected list\[int\], got '\[1.5\]'"),
        ("rate=1", "unknown parameter 'rate' .known: lr, epochs, name,"),
        ("flag", "expected name=value, got 'flag'"),
    ],
)
def test_a_text_that_does_not_fit_is_refused(project: Path, given: str, complaint: str) -> None:
    with pytest.raises(NinyError, match=rf"^01-data\.ipynb: {complaint}"):
        parse_parameters([given], project / "notebooks/01-data.ipynb")


def test_all_faults_are_told_at_once_and_nothing_runs(project: Path) -> None:
    given: dict[str, object] = {"lr": "1e-3", "flag": 1, "epochs": True, "seed": 1.0, "typo": 3, "name": "fine"}
    with pytest.raises(NinyError) as refused:
        execute(project / "notebooks/01-data.ipynb", project / "out.ipynb", given)
    message = str(refused.value)
    assert "parameter 'lr': expected float, got '1e-3' (str)" in message
    assert "parameter 'epochs': expected int, got True (bool)" in message
    assert "parameter 'seed': expected int | None, got 1.0 (float)" in message
    assert "unknown parameter 'typo'" in message
    assert "'name'" not in message
    assert "\n" not in message
    assert not (project / "out.ipynb").exists()


@pytest.mark.parametrize(
    "line",
    ["x = y", "x = f()", "import os", "x, y = 1, 2", "x: complex = 1", "x: int = 'a'", "x = {}", "x: int", "x ="],
)
def test_a_parameters_cell_holds_nothing_but_typed_literals(tmp_path: Path, line: str) -> None:
    source = save(tmp_path / "a.ipynb", code(line, "parameters"))
    with pytest.raises(NinyError, match=r"a\.ipynb: the parameters cell may hold only"):
        parse_parameters([], source)


# --- execution --------------------------------------------------------------------------------------------------


class Ran(NamedTuple):
    first: Path
    second: Path
    progress: str


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The same source run twice: plainly, and where the shell names another backend and another "python3" kernel."""
    root = tmp_path_factory.mktemp("project")
    lay_out(root)
    cells = [text("# Q?"), code(PARAMETERS, "parameters"), code(RUN), code(TABLE), code(FIGURE), code(WIDGET)]
    source = save(root / "notebooks/02-run.ipynb", *cells)
    kernel = {"argv": ["/bin/false"], "display_name": "Other", "language": "python"}
    (root / "jupyter/kernels/python3").mkdir(parents=True)
    (root / "jupyter/kernels/python3/kernel.json").write_text(json.dumps(kernel))
    given = {"flag": False, "lr": 1, "seed": 7, "interpreter": sys.executable}
    progress = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(progress):
        patch.setenv("NINY_ROOT", str(root))
        execute(source, root / "one/02-run.ipynb", given)
        patch.setenv("JUPYTER_PATH", str(root / "jupyter"))
        patch.setenv("MPLBACKEND", "Agg")
        execute(source, root / "two/02-run.ipynb", given)
    return Ran(root / "one/02-run.ipynb", root / "two/02-run.ipynb", progress.getvalue())


def test_two_runs_give_the_same_bytes_whatever_else_is_installed(ran: Ran) -> None:
    assert ran.first.read_bytes() == ran.second.read_bytes()


def test_the_executed_copy_keeps_outputs_and_parameters_but_nothing_of_the_moment(ran: Ran) -> None:
    cells = read(ran.first).cells
    assert cells[2].metadata.tags == ["injected-parameters"]
    assert "lr = 1.0\n" in cells[2].source
    assert "flag = False\nseed = 7" in cells[2].source
    (stdout,) = cells[3].outputs
    assert stdout.text.startswith("first\n<object object> {")
    (table,) = cells[4].outputs[0].data.items()
    assert table[0] == "text/html"
    assert "10.41" in table[1]
    (drawn,) = (output.data["image/png"] for output in cells[5].outputs if "image/png" in output.get("data", {}))
    assert Image.open(io.BytesIO(base64.b64decode(drawn))).mode == "P"  # 256 colours: git keeps every picture
    assert cells[6].outputs[0].data == {"text/plain": "IntSlider(value=3)"}  # whose model died with the kernel
    assert [cell.id for cell in cells] == [f"cell-{index}" for index in range(7)]
    assert [cell.get("execution_count") for cell in cells] == [None, 1, 2, 3, 4, 5, 6]
    written = ran.first.read_text()
    assert not any(word in written for word in ("papermill", "iopub", " at 0x", '"version"', "duration"))


def test_progress_is_shown_live_with_a_line_at_start_and_end(ran: Ran) -> None:
    lines = ran.progress.splitlines()
    assert lines[:2] == ["02-run: running", "epoch 1"]
    assert lines[2].startswith("02-run: done in ")
    assert lines[3:5] == lines[:2]
    assert len(lines) == 6


def test_a_failure_keeps_the_old_copy_and_says_where_the_new_one_is(project: Path) -> None:
    target = project / "results/03-bad.ipynb"
    target.parent.mkdir()
    target.write_text("the old copy")
    source = save(project / "notebooks/03.ipynb", text("# Q?"), code("print('fine')"), code("int('a\\nb')"), code("1"))
    failed = project / "build/failed/03-bad.ipynb"
    with pytest.raises(NinyError, match=r"^03-bad: cell \[2\]: ValueError: invalid literal .*; see ") as error:
        execute(source, target, {})
    assert str(error.value).endswith(str(failed))
    assert "\n" not in str(error.value)
    assert target.read_text() == "the old copy"
    assert [p.name for p in target.parent.iterdir()] == [target.name]
    assert [len(cell.outputs) for cell in read(failed).cells[1:]] == [1, 1, 0]


def test_an_error_of_niny_in_a_cell_is_shown_as_it_is(project: Path) -> None:
    source = save(project / "a.ipynb", code("import niny.errors\nraise niny.errors.NinyError('no data: fetch it')"))
    with pytest.raises(NinyError, match=r"^no data: fetch it$"):
        execute(source, project / "b.ipynb", {})


def test_a_kernel_that_dies_is_an_error_too(project: Path) -> None:
    source = save(project / "a.ipynb", code("import os\nos._exit(9)"))
    with pytest.raises(NinyError, match=r"^b: the kernel died"):
        execute(source, project / "b.ipynb", {})


@pytest.mark.parametrize("failures", [1, notebooks.STARTS])
def test_a_kernel_that_dies_at_its_start_is_started_again_and_told_of_in_a_line(
    project: Path, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    real, managers = ThisPython.kernel_spec.fget, []

    def spec(manager: ThisPython) -> KernelSpec:
        if manager not in managers:
            managers.append(manager)
        early = managers.index(manager) < failures
        return KernelSpec(argv=["false"], language="python") if early else real(manager)

    monkeypatch.setattr(ThisPython, "kernel_spec", property(spec))
    source = save(project / "a.ipynb", code("print(1)"))
    if failures < notebooks.STARTS:
        execute(source, project / "b.ipynb", {})
        assert read(project / "b.ipynb").cells[-1].outputs[0].text == "1\n"
        return
    with pytest.raises(NinyError, match=r"^b: the kernel does not begin") as error:
        execute(source, project / "b.ipynb", {})
    assert "\n" not in str(error.value)
    assert not (project / "b.ipynb").exists()


def test_ctrl_c_stops_the_kernel_and_propagates(project: Path) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background hands on an ignored one
    waiting = "import os, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()))\ntime.sleep(60)"
    source = save(project / "a.ipynb", code(waiting))
    presser = threading.Thread(target=press_ctrl_c_when, args=[lambda: (project / "pid").read_text()])
    presser.start()
    with pytest.raises(KeyboardInterrupt):
        execute(source, project / "b.ipynb", {})
    presser.join()
    with pytest.raises(ProcessLookupError):
        os.kill(int((project / "pid").read_text()), 0)
    assert not (project / "b.ipynb").exists()


def press_ctrl_c_when(ready: Callable[[], str]) -> None:
    for _ in range(600):
        with contextlib.suppress(FileNotFoundError):
            if ready():
                break
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)


# --- style ------------------------------------------------------------------------------------------------------


def good() -> list[NotebookNode]:
    return [
        text("# Does it work?\nIt should."),
        code("x = 1", "parameters"),
        text("## Check\nNow we look."),
        code("assert x == 1"),
    ]


def test_a_notebook_in_the_house_style_passes(tmp_path: Path) -> None:
    assert check_style(save(tmp_path / "a.ipynb", *good())) == []


def without_title(cells: list[Any]) -> None:
    cells[0].source = "It works."


def without_parameters(cells: list[Any]) -> None:
    cells[1].metadata = {}


def without_a_sentence(cells: list[Any]) -> None:
    cells[2].source = "## Check."


def without_an_assert(cells: list[Any]) -> None:
    cells[3].source = "x"


def with_a_def(cells: list[Any]) -> None:
    cells[3].source = "if x:\n    def f(): pass\nassert x"


def with_a_long_cell(cells: list[Any]) -> None:
    cells[3].source = "x\n" * 20 + "assert x"


def with_too_many_cells(cells: list[Any]) -> None:
    cells[2:2] = [text("Words.") for _ in range(22)]


def with_too_little_text(cells: list[Any]) -> None:
    cells[3:3] = [code("x"), code("x")]


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (without_title, "title"),
        (without_parameters, "0 cells are tagged `parameters`"),
        (without_a_sentence, "no sentence before the cell 'assert x == 1'"),
        (without_an_assert, "asserts nothing"),
        (with_a_def, "a def or class"),
        (with_a_long_cell, "21 lines in the cell"),
        (with_too_many_cells, "26 cells, at most 25"),
        (with_too_little_text, "2 of 6 cells are text"),
    ],
)
def test_each_breach_of_style_is_found(tmp_path: Path, spoil: Callable[[list[Any]], None], complaint: str) -> None:
    cells = good()
    spoil(cells)
    assert any(complaint in problem for problem in check_style(save(tmp_path / "a.ipynb", *cells)))


@pytest.mark.parametrize(
    "cell",
    [
        {"cell_type": "foo", "source": "x", "metadata": {}},
        {"cell_type": "code", "source": "x", "metadata": {"tags": 5}},
        {"cell_type": "code", "metadata": {}},
    ],
)
def test_a_notebook_whose_cells_are_none_is_refused(tmp_path: Path, cell: dict[str, Any]) -> None:
    path = tmp_path / "odd.ipynb"
    path.write_text(json.dumps({"cells": [cell], "nbformat": 4, "nbformat_minor": 5, "metadata": {}}))
    before = path.read_bytes()
    with pytest.raises(NinyError, match=r"odd\.ipynb is not a Jupyter notebook of format 4"):
        clean_file(path, path)
    assert path.read_bytes() == before


def test_an_executed_copy_takes_no_notebook_s_and_no_folder_s_place(tmp_path: Path) -> None:
    path = save(tmp_path / "a.ipynb", *good())
    before = path.read_bytes()
    with pytest.raises(NinyError, match="is the notebook itself"):
        execute(path, tmp_path / "." / "a.ipynb", {})
    with pytest.raises(NinyError, match="is a folder: name another file"):
        execute(path, tmp_path, {})
    assert path.read_bytes() == before


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_every_notebook_of_the_project_is_canonical_and_in_style(path: Path, tmp_path: Path) -> None:
    clean_file(path, tmp_path / path.name)
    assert path.read_bytes() == (tmp_path / path.name).read_bytes(), f"run: niny notebook clean {path.name}"
    assert check_style(path) == []
