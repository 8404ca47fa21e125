"""The two lists of packages name the same things, and what is pinned is what they ask for."""

import re
import tomllib

import yaml
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

CONDA_NAMES = {"matplotlib-base": "matplotlib", "seaborn-base": "seaborn", "pytorch": "torch"}


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


def test_every_package_is_pinned_to_a_version_that_is_allowed() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    pins = {canonicalize_name(name): version for name, version in pairs}
    for name, wanted in from_pyproject("dev", "export", "cluster").items():
        if name != "python":
            assert Version(pins[name]) in Requirement(f"x{wanted}").specifier, name


def test_torch_and_torchvision_are_a_pair() -> None:
    pins = (ROOT / "constraints.txt").read_text()
    assert "torch==2.14.1" in pins
    assert "torchvision==0.29.1" in pins
