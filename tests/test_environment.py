"""The two lists of packages name the same things, what is pinned is what they ask for, and they install anywhere."""

import os
import re
import shutil
import subprocess
import tomllib
import venv
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, copy_tree
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from reliability import Tally

CONDA_NAMES = {
    "matplotlib-base": "matplotlib",
    "playwright-python": "playwright",
    "pytorch": "torch",
    "seaborn-base": "seaborn",
}
# As README says it: pip's words where there is internet, and where there is none
COLLECT = ("download", "--constraint", "constraints.txt", "--dest", "wheels", ".[dev]", "setuptools", "wheel")
INSTALL = ("install", "--no-index", "--find-links", "wheels", "--editable", ".[dev]")
APART = ("unshare", "--net")


def from_pyproject(*extras: str) -> dict[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = [line for extra in extras for line in project["optional-dependencies"][extra]]
    lines = [*project["dependencies"], *optional, f"python{project['requires-python']}"]
    return {canonicalize_name(r.name): str(r.specifier) for r in map(Requirement, lines)}


def from_conda() -> dict[str, str]:
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pairs = [re.fullmatch(r"([\w-]+)(.*)", line) for line in listed]
    requirements = [Requirement(CONDA_NAMES.get(m[1], m[1]) + m[2]) for m in pairs if m]
    assert len(requirements) == len(listed)
    return {canonicalize_name(r.name): str(r.specifier) for r in requirements}


def test_conda_and_pip_install_the_same_packages() -> None:
    assert from_conda() == from_pyproject("dev")


def pins_of(file: str) -> dict[str, str]:
    lines = (ROOT / file).read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def test_every_package_is_pinned_to_a_version_that_is_allowed() -> None:
    pins = pins_of("constraints.txt")
    for name, wanted in from_pyproject("dev", "export", "cluster").items():
        if name != "python":
            assert Version(pins[name]) in Requirement(f"x{wanted}").specifier, name


def test_the_lowest_versions_are_the_bounds_of_pyproject() -> None:
    wanted = from_pyproject("dev", "export")
    del wanted["python"]
    pins = pins_of("constraints-lowest.txt")
    assert set(pins) == set(wanted)
    for name, specifier in wanted.items():
        (bound,) = (Version(s.version) for s in Requirement(f"x{specifier}").specifier if s.operator == ">=")
        assert Version(pins[name]) in Requirement(f"x{specifier}").specifier, name
        assert Version(pins[name]).release[: len(bound.release)] == bound.release, name  # stubs append their day


@pytest.mark.torture("lowest-versions")
def test_all_tests_pass_with_the_lowest_versions(tally: Tally) -> None:
    """NINY_LOWEST is the folder of an environment made by the lines at the head of constraints-lowest.txt."""
    named = os.environ.get("NINY_LOWEST")
    if not named:
        pytest.skip("NINY_LOWEST names no environment: the head of constraints-lowest.txt makes one")
    python = Path(named).absolute() / "bin" / "python"
    pins = pins_of("constraints-lowest.txt")
    code = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    found = subprocess.run([python, "-c", code, *pins], capture_output=True, text=True, check=True).stdout.split()
    assert [Version(v) for v in found] == [Version(v) for v in pins.values()]
    path = {"PYTHONPATH": str(ROOT / "src"), "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    words = [python, "-m", "pytest", "-n", "2", "--no-loadscope-reorder"]
    environment = {**os.environ, **path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, [line for line in lines if line.startswith(("FAILED", "ERROR"))] or lines[-1]
    summary = lines[-1].strip("= ")
    tally.count = int(summary.split(" passed")[0].split()[-1])
    tally.found = f"tests passed with torch {pins['torch']}, numpy {pins['numpy']} and {len(pins) - 2} others"


@pytest.mark.torture("no-internet")
def test_a_machine_without_internet_installs_what_another_collected(tmp_path: Path, tally: Tally) -> None:
    """Where the system lets us take the network away; else pip is only told not to look there."""
    root = copy_tree(tmp_path / "project")
    apart = APART if shutil.which("unshare") and not subprocess.run([*APART, "true"], check=False).returncode else ()
    venv.create(root / ".venv", with_pip=True)
    pip, niny = (str(root / ".venv" / "bin" / name) for name in ("pip", "niny"))
    steps = (
        (pip, "--quiet", *COLLECT),
        (*apart, pip, "--quiet", *INSTALL),
        (*apart, niny, "data", "fetch", "digits"),
        (*apart, niny, "train", "cifar10-cnn-fc", "--scale", "smoke"),
        (*apart, niny, "summary", "--scale", "smoke"),
    )
    for words in steps:
        done = subprocess.run(words, cwd=root, env=without_niny(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, (words, done.stderr)
        tally.count += 1
    wheels = len(list((root / "wheels").iterdir()))
    network = "without any network" if apart else "with a network that nothing was told to use"
    tally.found = f"steps in turn: {wheels} packages were collected; {network} they installed, and a network learned"


def without_niny() -> dict[str, str]:
    """What we run under, without what points at this clone."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "NINY_ROOT", "NINY_DATA")}


def test_torch_and_torchvision_are_a_pair() -> None:
    pins = (ROOT / "constraints.txt").read_text()
    assert "torch==2.14.1" in pins
    assert "torchvision==0.29.1" in pins
