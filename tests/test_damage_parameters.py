"""Wrong parameters are refused before anything runs, by a line that names file, key and what was expected."""

import copy
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copy as copy_file
from typing import Any, NamedTuple

import pytest
import yaml
from conftest import ENVIRONMENT, ROOT, call, copy_tree
from hypothesis import HealthCheck, assume, given, seed, settings
from hypothesis import strategies as st
from reliability import Tally
from test_killed import files

from niny.cli import main
from niny.config import load_params, parse_params
from niny.errors import NinyError
from niny.evaluation.claims import load_claims
from niny.notebooks import parse_parameters
from niny.strict_yaml import load_yaml

FILES = ("params.yaml", "claims.yaml")
RAW = {name: load_yaml(ROOT / name) for name in FILES}
NOT_A_NAME = "qwzx"  # stands nowhere in the files


class Wrong(NamedTuple):
    """A file's text with something wrong in it, and what a refusal must name: the key, and what was expected."""

    file: str
    text: str
    key: str
    expected: str  # a pattern


def places(raw: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every mapping, list and value below `raw`."""
    yield path
    inner = raw.items() if isinstance(raw, dict) else enumerate(raw) if isinstance(raw, list) else ()
    for key, value in inner:
        yield from places(value, (*path, key))


def at(raw: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        raw = raw[key]
    return raw


VALUE = r": expected |: must |: unknown |is missing|not valid YAML"  # what is said of a wrong value
PLACES = {name: [path for path in places(RAW[name]) if path] for name in FILES}
MAPPINGS = {name: [path for path in places(RAW[name]) if isinstance(at(RAW[name], path), dict)] for name in FILES}
VALUES = {name: [path for path in PLACES[name] if not isinstance(at(RAW[name], path), (dict, list))] for name in FILES}
SCALARS = {  # kind of value -> texts of YAML that it must not become
    bool: ("yes", "no", "on", "off", "1", "0", "True", "'true'", "TRUE", "null", "", "[true]", "{a: 1}", "1.0"),
    int: (
        "1e3",
        "1.0",
        "0100",
        "0x10",
        "0b11",
        "1_000",
        "1:30",
        "'3'",
        "-1",
        "true",
        "yes",
        "null",
        "",
        "[3]",
        ".nan",
        "9" * 30,
        "9" * 5000,
        "three",
        "2026-01-02",
        "{}",
        ".inf",
        "3 4",
        "!!int '3 '",
        "1" + "0" * 12,
    ),
    float: (
        "1e-3",
        "-0.1",
        "-1",
        ".nan",
        ".inf",
        "-.inf",
        "1e400",
        "1.0e+400",
        "1:30.5",
        "1_0.5",
        "'0.5'",
        "true",
        "no",
        "null",
        "",
        "[0.5]",
        "0.5.1",
        "0,5",
        "half",
        "9" * 400,
        "1.0e+30",
        "0x1p3",
        "{}",
        "2026-01-02",
    ),
    str: ("1", "0.5", "true", "yes", "no", "null", "", "[a]", "{a: b}", "2026-01-02", ".nan", "!!binary aGk="),
}


def dumped(raw: Any, flow: bool = False) -> str:
    return yaml.safe_dump(raw, sort_keys=False, width=1 << 20, default_flow_style=flow)


def name_of(path: tuple[Any, ...]) -> str:
    """The last key of a path, without the places in lists after it."""
    return next((key for key in reversed(path) if isinstance(key, str)), "")


def replaced(file: str, path: tuple[Any, ...], text: str) -> Wrong:
    """The file with this text of YAML as the value at a place."""
    raw = copy.deepcopy(RAW[file])
    at(raw, path[:-1])[path[-1]] = "PLACEHOLDER"
    return Wrong(file, dumped(raw).replace("PLACEHOLDER", text), name_of(path), VALUE)


@st.composite
def wrong_value(draw: st.DrawFn) -> Wrong:
    file = draw(st.sampled_from(FILES))
    path = draw(st.sampled_from(VALUES[file]))
    kind = type(at(RAW[file], path))
    text = draw(st.sampled_from(SCALARS[kind]))
    assume(text not in ("null", "") or not may_be_left_out(path))  # then null says nothing, and rightly so
    return replaced(file, path, text)


def may_be_left_out(path: tuple[Any, ...]) -> bool:
    """Settings of which None is a value."""
    return (path[0], path[-1]) in {
        ("scales", "dataset"),
        ("scales", "recipe"),
        ("scales", "phases"),
        ("experiments", "preprocessing"),
    }


@st.composite
def unknown_key(draw: st.DrawFn) -> Wrong:
    """A key that does not belong there, or one that lacks."""
    file = draw(st.sampled_from(FILES))
    path = draw(st.sampled_from(MAPPINGS[file]))
    raw = copy.deepcopy(RAW[file])
    key = draw(st.sampled_from((NOT_A_NAME, "LR", "lr ", "<<", "seed", "dropuot", "__class__", "name")))
    at(raw, path)[key] = draw(st.sampled_from((1, "a", {"a": 1}, [1], None, True)))
    return Wrong(file, dumped(raw), key.strip(), "unknown name|: expected ")


@st.composite
def doubled_key(draw: st.DrawFn) -> Wrong:
    """A value, entry or whole section that stands twice, from the root of the file on, in both of YAML's styles."""
    file = draw(st.sampled_from(FILES))
    path = draw(st.sampled_from([p for p in PLACES[file] if isinstance(p[-1], str)]))
    raw = copy.deepcopy(RAW[file])
    at(raw, path[:-1])["PLACEHOLDER"] = copy.deepcopy(at(raw, path))
    text = dumped(raw, draw(st.booleans())).replace("PLACEHOLDER", path[-1])
    return Wrong(file, text, path[-1], "stands twice")


@st.composite
def missing_key(draw: st.DrawFn) -> Wrong:
    required = {
        "classes",
        "channels",
        "size",
        "preprocessing",
        "init",
        "lr",
        "phases",
        "title",
        "dataset",
        "net",
        "recipe",
        "scales",
        "evidence",
        "seeds",
        "evaluate_every",
        "probe_images",
        "id",
        "version",
        "origin",
        "says",
        "kind",
        "refuted_by",
        "place",
        "runs",
        "root_seed",
        "datasets",
        "experiments",
        "recipes",
    }
    file = draw(st.sampled_from(FILES))
    path = draw(st.sampled_from([p for p in PLACES[file] if p[-1] in required]))
    if may_be_left_out(path):
        path = ("root_seed",)
    raw = copy.deepcopy(RAW[file])
    del at(raw, path[:-1])[path[-1]]
    return Wrong(file, dumped(raw), path[-1], "is missing|: unknown kind of rule None; known are ")


@st.composite
def whole_place(draw: st.DrawFn) -> Wrong:
    """A section, entry or list that is something else."""
    file = draw(st.sampled_from(FILES))
    path = draw(st.sampled_from([p for p in PLACES[file] if isinstance(at(RAW[file], p), (dict, list))]))
    others = (
        "1",
        "text",
        "null",
        "",
        "true",
        ".nan",
        "- - - 1",
        "[[[1]]]",
        "{1: 2}",
        "{true: 1}",
        "{}",
        "[]",
        "!!set {a}",
    )
    empty = not isinstance(at(RAW[file], path), dict) or path in (
        ("experiments",),
        ("scales",),
        ("datasets",),
        ("recipes",),
    )
    return replaced(file, path, draw(st.sampled_from([o for o in others if not (empty and o in ("{}", "[]"))])))


@st.composite
def no_yaml(draw: st.DrawFn) -> Wrong:
    """Broken files, aliases that grow, tags that would make objects."""
    file = draw(st.sampled_from(FILES))
    laughs = "a: &a [x, x]\n" + "".join(
        f"{n}: &{n} [*{p}, *{p}]\n" for p, n in zip("abcdefgh", "bcdefghi", strict=True)
    )
    texts = (
        "[1",
        "a: b: c",
        "\t- a",
        "a: [1\nb: }",
        "!!python/object/apply:os.system ['true']",
        "",
        "- a",
        "7",
        "\x00",
        "a: &a {b: *a}",
        "a: *b",
        laughs,
        "[" * 5000,
        "{a: " * 3000,
        "? [1, 2]\n: 3",
        "a: 2026-13-45",
        "%YAML 9.9\n---\na: 1",
        "a: 1\n---\nb: 2",
        "!!python/name:os.system",
        "\ud7ff\uffff: 1",
        "'",
    )
    return Wrong(
        file, draw(st.sampled_from(texts)), "", "not valid YAML|: expected |: an alias|levels deep|unknown name"
    )


WRONG = st.one_of(
    wrong_value(), wrong_value(), wrong_value(), unknown_key(), doubled_key(), missing_key(), whole_place(), no_yaml()
)


def refused(wrong: Wrong, folder: Path) -> str:
    """What is said of a wrong file; it must be one line that names file and key."""
    (folder / wrong.file).write_text(wrong.text, encoding="utf-8")
    try:
        load_params(folder) if wrong.file == "params.yaml" else load_claims(folder / wrong.file)
    except NinyError as error:
        said = str(error)
    else:
        pytest.fail(f"accepted: {wrong.key} in\n{wrong.text[:3000]}")
    finally:
        copy_file(ROOT / wrong.file, folder)
    assert "\n" not in said
    assert len(said) < 1500
    assert wrong.file in said, said
    assert wrong.key in said, f"{said!r} does not name {wrong.key}"
    assert re.search(wrong.expected, said), f"{said!r} does not say what was expected ({wrong.expected})"
    return said


def try_files(folder: Path, number: int, examples: int) -> int:
    for name in FILES:
        copy_file(ROOT / name, folder)
    tried: set[str] = set()

    @seed(number)
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(WRONG)
    def one(wrong: Wrong) -> None:
        refused(wrong, folder)
        tried.add(wrong.text)

    one()
    return len(tried)


def test_wrong_files_are_refused_by_file_and_key(tmp_path: Path) -> None:
    assert try_files(tmp_path, 0, 60) >= 40


def test_the_traps_are_traps(tmp_path: Path) -> None:
    """PyYAML alone reads these as something that was not meant, or follows aliases without end."""
    assert yaml.safe_load("[0100, 1:30, yes, 1e-3]") == [64, 90, True, "1e-3"]
    for name in FILES:  # and what is not wrong is read
        copy_file(ROOT / name, tmp_path)
    assert load_params(tmp_path) == load_params(ROOT)
    assert load_claims(tmp_path / "claims.yaml") == load_claims(ROOT / "claims.yaml")
    for name in FILES:
        (tmp_path / name).write_text(dumped(RAW[name]))
    assert load_params(tmp_path) == load_params(ROOT)


@pytest.mark.parametrize("name", ["../elsewhere", "a/b", "a\\b", ".hidden", "..", "a\nb", "", "x" * 200])
def test_names_that_would_be_other_folders_are_refused(name: str) -> None:
    raw = copy.deepcopy(RAW["params.yaml"])
    for section in ("experiments", "scales", "recipes", "datasets"):
        wrong = copy.deepcopy(raw)
        wrong[section][name] = next(iter(wrong[section].values()))
        with pytest.raises(NinyError, match=f"{section}: .*names folders"):
            parse_params(wrong, "params.yaml")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"params": 1}', '{"params": {"root_seed": NaN}}', "[" * 10**5]
)
def test_a_bare_machine_refuses_a_damaged_plan(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(NinyError, match=r"plan\.json"):
        load_params(tmp_path)


# --- DVC's -S, and the parameters of notebooks ------------------------------------------------------------------------

TARGETS = ("experiments.cifar10-nin", "recipes.authors", "scales.demo", "datasets.cifar10")
OVERRIDES = st.one_of(
    st.builds(
        "{}.{}={}".format,
        st.sampled_from(TARGETS),
        st.sampled_from((NOT_A_NAME, "LR", "drop")),
        st.sampled_from(("1", "a", "true")),
    ),
    st.builds(
        "+{}.{}={}".format, st.sampled_from(TARGETS), st.just(NOT_A_NAME), st.sampled_from(("1", "a", "[1]", "null"))
    ),
    st.builds(
        "recipes.authors.{}={}".format,
        st.sampled_from(("lr", "momentum", "weight_decay", "bias_lr")),
        st.sampled_from(("nan", "-1", "inf", "yes", "'0.1'", "[0.1]", "null", "1e30", "half", "true", "{a:1}")),
    ),
    st.builds(
        "{}={}".format,
        st.sampled_from(("recipes.authors.batch", "scales.demo.seeds", "root_seed", "datasets.cifar10.classes")),
        st.sampled_from(("1.5", "-3", "nan", "yes", "'3'", "[3]", "null", "99999999999999999999", "1e3", "true")),
    ),
    st.builds("~recipes.authors.{}".format, st.sampled_from(("lr", "init", "phases"))),
    st.sampled_from(
        ("experiments.cifar10-nin=1", "scales=null", "recipes.authors.phases=[[1]]", "experiments.cifar10-nin.net=x")
    ),
)


def refused_override(override: str, folder: Path) -> None:
    """As `dvc exp run -S` does it: the parameters file is changed, and the first command of ours reads it."""
    from dvc.utils.hydra import apply_overrides

    copy_file(ROOT / "params.yaml", folder)
    try:
        apply_overrides(folder / "params.yaml", [override])
    except Exception as error:  # Hydra's own refusal, of a key that is not there
        assert override.split("=")[0].strip("+~").rpartition(".")[2] in f"{error} {error.__cause__}"  # noqa: PT017  (it need not refuse)
        return
    with pytest.raises(NinyError, match=rf"params\.yaml.*({VALUE})") as caught:
        load_params(folder)
    key = override.split("=")[0].strip("+~").rpartition(".")[2]
    assert key in str(caught.value)


SOURCE = """scale: str = "demo"
lr: float = 0.1
seeds: list[int] = [0]
count: int | None = None
flag: bool = False"""
GIVEN = st.one_of(
    st.builds("{}={}".format, st.sampled_from((NOT_A_NAME, "LR", "", "scale.x")), st.sampled_from(("1", "a", ""))),
    st.builds(
        "lr={}".format,
        st.sampled_from(("nan", "inf", "-inf", "1e999", "1_0", "0x1", "half", "", "true", "1 2", "٣", " 1")),
    ),
    st.builds(
        "count={}".format, st.sampled_from(("007", "1.0", "1e3", "0x10", "1_000", "٣", " 5", "yes", "", "9" * 5000))
    ),
    st.builds("flag={}".format, st.sampled_from(("yes", "no", "1", "0", "on", "", "T", "null"))),
    st.builds(
        "seeds={}".format,
        st.sampled_from(("1", "[1.5]", "[true]", "[1", "{}", "", "[[1]]", '["1"]', "[NaN]", "[null]")),
    ),
    st.sampled_from(("lr", "scale", "lr=0.1 lr=0.2", "flag=true flag=true")),
)


def refused_parameter(given_text: str, source: Path) -> None:
    texts = given_text.split(" ") if given_text.count("=") > 1 else [given_text]
    with pytest.raises(NinyError, match=r"\.ipynb: .*(expected |unknown parameter|given twice)") as caught:
        parse_parameters(texts, source)
    name, equals, _ = texts[-1].partition("=")
    assert (repr(name) if equals else texts[0]) in str(caught.value)
    assert "\n" not in str(caught.value)


def notebook(folder: Path) -> Path:
    cell = {
        "cell_type": "code",
        "source": SOURCE,
        "metadata": {"tags": ["parameters"]},
        "outputs": [],
        "execution_count": None,
    }
    path = folder / "a.ipynb"
    path.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


def try_given(check: Callable[[str], None], strategy: st.SearchStrategy[str], number: int, examples: int) -> int:
    tried: set[str] = set()

    @seed(number)
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def one(text: str) -> None:
        check(text)
        tried.add(text)

    one()
    return len(tried)


def test_wrong_notebook_parameters_are_refused_by_name(tmp_path: Path) -> None:
    source = notebook(tmp_path)
    assert try_given(lambda text: refused_parameter(text, source), GIVEN, 0, 60) >= 20


def test_wrong_overrides_of_dvc_are_refused(tmp_path: Path) -> None:
    assert try_given(lambda text: refused_override(text, tmp_path), OVERRIDES, 0, 8) >= 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("scale=huge", "unknown scale 'huge'"),
        ("experiment=cifar11-nin", "unknown experiment 'cifar11-nin'"),
        ("scale=smoke scale=demo", "parameter 'scale': it is given twice"),
        ("qwzx=1", "unknown parameter 'qwzx'"),
    ],
)
def test_no_kernel_starts_for_a_wrong_name(
    words: str, said: str, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("niny.notebooks._run", lambda *_: pytest.fail("something ran"))
    assert main(["notebook", "run", str(ROOT / "notebooks/02-train.ipynb"), "out.ipynb", *words.split()]) == 1
    assert said in capsys.readouterr().err
    assert not (project / "out.ipynb").exists()


def test_no_kernel_starts_for_a_wrong_file(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("niny.notebooks._run", lambda *_: pytest.fail("something ran"))
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("augment: true", "augment: yes", 1))
    assert main(["notebook", "run", str(ROOT / "notebooks/02-train.ipynb"), "out.ipynb"]) == 1
    assert "augment: expected true or false" in capsys.readouterr().err


def no_stage_runs(root: Path) -> int:
    """`dvc exp run -S` itself, in a clone: refused, and the parameters alone are changed; how many were tried."""
    copy_tree(root)
    call(root, "dvc", "repro", "--quiet", "sources")
    call(root, "git", "add", ".")
    call(root, "git", "-c", "user.name=a", "-c", "user.email=a", "commit", "--quiet", "--message", "All")
    before = files(root)
    wrong = (
        ("datasets.digits.classes=yes", r"datasets\.digits\.classes: expected "),
        ("+recipes.tiny.qwzx=1", r"recipes\.tiny: unknown name 'qwzx'"),
        ("scales.smoke.seeds=-3", r"scales\.smoke\.seeds: must not be negative"),
    )
    for override, said in wrong:
        words = ("dvc", "exp", "run", "--set-param", override, "data@digits")
        done = subprocess.run(words, cwd=root, env=ENVIRONMENT, capture_output=True, text=True, check=False)
        assert done.returncode, done.stdout
        assert re.search(rf"^niny: params\.yaml.*{said}", done.stdout + done.stderr, re.MULTILINE)
        assert call(root, "git", "status", "--porcelain") == " M params.yaml\n"
        assert files(root) == before
        call(root, "git", "restore", "params.yaml")
    return len(wrong)


@pytest.mark.torture("wrong-parameters")
def test_hundreds_of_wrong_parameters(tmp_path: Path, tally: Tally) -> None:
    counts, number = {"files": 0}, 0
    while counts["files"] < 500:
        number += 1
        counts["files"] += try_files(tmp_path, number, 300)
        tally.count = counts["files"]
    source = notebook(tmp_path)
    counts["notebook parameters"] = try_given(lambda text: refused_parameter(text, source), GIVEN, 1312, 300)
    counts["overrides"] = try_given(lambda text: refused_override(text, tmp_path), OVERRIDES, 1312, 120)
    counts["runs of dvc exp run -S, which ran nothing"] = no_stage_runs(tmp_path / "clone")
    tally.count = sum(counts.values())
    told = ", ".join(f"{n} {what}" for what, n in counts.items())
    tally.found = f"{told}, no two alike: each refused by a line that names file, key and what was expected"
