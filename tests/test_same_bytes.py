"""Same inputs, same bytes: whatever the clone is called, whoever runs it, in whatever language, time zone and order of
hashes. Other numbers of threads and other processors may differ in the last digits; by how much is bounded here."""

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from conftest import ROOT, copy_tree
from processes import FAST, prepare, report, train, whole
from reliability import Tally
from test_killed import files, fill

NET = "cifar10-nin"
NOTEBOOKS = "results/smoke/notebooks"
STAGES = (
    ("01-data", "results/data/digits/01-data.ipynb", "dataset=digits"),
    ("02-train", f"{NOTEBOOKS}/02-train-{NET}.ipynb", "scale=smoke", f"experiment={NET}"),
    ("04-confidence-maps", f"{NOTEBOOKS}/04-confidence-maps-{NET}.ipynb", "scale=smoke", f"experiment={NET}"),
    ("05-attribution", f"{NOTEBOOKS}/05-attribution-{NET}.ipynb", "scale=smoke", f"experiment={NET}"),
)
SHOWING_TIMES = (
    ("03-tables", f"{NOTEBOOKS}/03-tables.ipynb", "scale=smoke"),
    ("06-report", f"{NOTEBOOKS}/06-report.ipynb", "scale=smoke"),
)
ELSEWHERE = {
    "plain C": {"LC_ALL": "C", "TZ": "UTC", "PYTHONHASHSEED": "1", "USER": "anna", "LOGNAME": "anna"},
    "Türkçe": {"LC_ALL": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "22", "USER": "çağrı"},
    "Deutsch 2": {"LC_ALL": "de_DE.UTF-8", "TZ": "America/St_Johns", "PYTHONHASHSEED": "333", "USER": "jürgen"},
}
PROCESSORS = {  # what torch and oneDNN are allowed to use of this one
    "2 threads": {"OMP_NUM_THREADS": "2"},
    "no vector units": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"},
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
}
LOSS_BOUND = 1e-3  # of the first epoch's loss, relative
ERROR_BOUND = 3.0  # of the final test error, in points


def variables(changes: Mapping[str, str], locales: Path) -> dict[str, str]:
    fixed = {"PYTHONPATH": str(ROOT / "src"), "NINY_ROOT": "", "OMP_NUM_THREADS": "1", "LOCPATH": str(locales)}
    return {**os.environ, **fixed, **changes}


@pytest.fixture(scope="module")
def locales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the languages of `ELSEWHERE`, made here where the system has their sources."""
    folder = tmp_path_factory.mktemp("locales")
    if shutil.which("localedef") is None:
        pytest.skip("localedef is not installed: other languages cannot be made")
    for name in ("tr_TR", "de_DE"):
        subprocess.run(["localedef", "-i", name, "-f", "UTF-8", folder / f"{name}.UTF-8"], capture_output=True)
        code = f"import locale; locale.setlocale(locale.LC_ALL, '{name}.UTF-8'); assert locale.str(0.5) == '0,5'"
        if subprocess.run([sys.executable, "-c", code], env=variables({}, folder), capture_output=True).returncode:
            pytest.skip(f"this system cannot make the language {name}")
    return folder


def run(root: Path, environment: Mapping[str, str], *words: str) -> None:
    words = (sys.executable, *words)
    done = subprocess.run(words, cwd=root, env=environment, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stderr


def run_notebooks(root: Path, environment: Mapping[str, str], stages: tuple[tuple[str, ...], ...]) -> None:
    for name, target, *parameters in stages:
        run(root, environment, "-m", "niny", "notebook", "run", f"notebooks/{name}.ipynb", target, *parameters)


def everything(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in (root / "results").rglob("*") if p.is_file()}


def test_tables_figures_and_report_know_nothing_of_language_zone_and_hashes(tmp_path: Path, locales: Path) -> None:
    root = fill(tmp_path / "project")
    for work in (prepare, train, report):
        whole(work, root)
    expected = everything(root)
    code = (
        "import sys; from pathlib import Path; sys.path.append(sys.argv[1]); import processes; processes.report(Path())"
    )
    for name, changes in list(ELSEWHERE.items())[1:]:
        there = root.rename(root.with_name(name))
        for path in (*there.glob("results/smoke/tables/*"), *there.glob("results/smoke/figures/*")):
            path.unlink()
        run(there, variables(changes, locales), "-c", code, str(ROOT / "tests"))
        assert everything(there) == expected, name
        root = there


@pytest.mark.torture("same-bytes")
def test_every_stage_gives_the_same_bytes_in_other_clones(tmp_path: Path, locales: Path, tally: Tally) -> None:
    first, second, third = (copy_tree(tmp_path / name) for name in ELSEWHERE)
    of = {root: variables(ELSEWHERE[root.name], locales) for root in (first, second, third)}
    for root in (first, second):
        run_notebooks(root, of[root], STAGES)
    assert files(first) == files(second)  # what was timed is left out
    shutil.copytree(first / "results" / "smoke", third / "results" / "smoke")
    run_notebooks(third, of[third], STAGES[:1])
    shutil.rmtree(second / "results" / "smoke" / "runs")
    shutil.copytree(first / "results" / "smoke" / "runs", second / "results" / "smoke" / "runs")
    for root in (first, second, third):  # of the same times, even what shows them
        run(root, of[root], "-m", "niny", "weights", "write", "--scale", "smoke")
        run_notebooks(root, of[root], SHOWING_TIMES)
    expected = everything(first)
    assert everything(second) == expected
    assert everything(third) == expected
    tally.count = len(expected)
    tally.found = f"files the same in clones run under {', '.join(v['LC_ALL'] for v in ELSEWHERE.values())}; "
    tally.found += compare_processors(first, locales)


def compare_processors(root: Path, locales: Path) -> str:
    """Train with other threads and instructions; in what they differ from one thread and all instructions."""
    histories = {name: trained(root, variables(changes, locales)) for name, changes in {"": {}, **PROCESSORS}.items()}
    base = histories.pop("")
    losses = {n: abs(h[0]["train_loss"] / base[0]["train_loss"] - 1) for n, h in histories.items()}
    errors = {n: abs(h[-1]["test_error"] - base[-1]["test_error"]) for n, h in histories.items()}
    assert max(losses.values()) < LOSS_BOUND, losses
    assert max(errors.values()) < ERROR_BOUND, errors
    said = ", ".join(f"{name} {losses[name]:.1e} and {errors[name]:.2f}" for name in histories)
    return f"first loss (relative) and last test error (points) differ with {said}"


def trained(root: Path, environment: Mapping[str, str]) -> list[dict[str, float]]:
    folder = root / "results" / "smoke" / "runs" / FAST
    shutil.rmtree(folder, ignore_errors=True)
    words = ("train", FAST, "--scale", "smoke", "--seeds", "0", "--device", "cpu", "--precision", "float32")
    run(root, environment, "-m", "niny", *words)
    rows = csv.DictReader((folder / "seed-0" / "history.csv").read_text().splitlines())
    return [{name: float(row[name]) for name in ("train_loss", "test_error")} for row in rows]
