"""Energy is what the machine's counters say, over the epochs of a run, or null."""

import csv
import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from test_survival import FAST
from test_training import EXACT, train

from niny.config import Params, Run
from niny.training import Compute, runs
from niny.training.energy import HIGHEST_WATTS, SHARED, open_meter
from niny.training.record import read_metrics

CUDA = Compute(torch.device("cuda"), torch.bfloat16)
SPAN = 262_143_328_850  # microjoules


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SHARED, raising=False)


@pytest.fixture
def run(params: Params) -> Run:
    return params.run("smoke", FAST)


@pytest.fixture
def powercap(tmp_path: Path) -> Path:
    """Two packages, and the zones that count the same energy once more."""
    folder = tmp_path / "powercap"
    names = {"": "package-0", ":0": "core"}
    zones = {f"intel-rapl:0{end}": name for end, name in names.items()}
    zones |= {"intel-rapl:1": "package-1", "intel-rapl:2": "psys", "intel-rapl-mmio:0": "package-0"}
    for zone, name in zones.items():
        (folder / zone).mkdir(parents=True)
        (folder / zone / "name").write_text(f"{name}\n")
        (folder / zone / "max_energy_range_uj").write_text(f"{SPAN}\n")
        count(folder, zone, 1_000_000)
    return folder


def count(folder: Path, zone: str, microjoules: int) -> None:
    (folder / zone / "energy_uj").write_text(f"{microjoules}\n")


def test_packages_are_added_and_nothing_is_counted_twice(powercap: Path) -> None:
    meter = open_meter(EXACT, powercap)
    for zone in powercap.iterdir():
        count(powercap, zone.name, 4_000_000)
    assert meter.source == "CPU packages"
    assert meter.lap() == pytest.approx(3.0 + 3.0)
    assert meter.lap() == 0


def test_a_counter_that_went_round_counts_on(powercap: Path) -> None:
    count(powercap, "intel-rapl:1", SPAN - 2_000_000)
    meter = open_meter(EXACT, powercap)
    count(powercap, "intel-rapl:1", 5_000_000)
    assert meter.lap() == pytest.approx(7.0)


def test_a_lap_in_which_a_counter_may_have_gone_round_unseen_is_not_measured(powercap: Path) -> None:
    meter = open_meter(EXACT, powercap)
    meter.since -= 1.01 * SPAN / 1e6 / HIGHEST_WATTS
    assert meter.lap() is None
    assert meter.lap() == 0


def test_a_counter_that_fails_later_is_no_error(powercap: Path) -> None:
    meter = open_meter(EXACT, powercap)
    (powercap / "intel-rapl:1" / "energy_uj").unlink()
    assert meter.lap() is None


@pytest.mark.parametrize("content", [None, "", "secret"])
def test_without_readable_counters_nothing_is_measured(powercap: Path, content: str | None) -> None:
    path = powercap / "intel-rapl:0" / "energy_uj"
    path.unlink() if content is None else path.write_text(content)
    for folder in (powercap, powercap / "nothing"):
        meter = open_meter(EXACT, folder)
        assert meter.source is None
        assert meter.lap() is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_counters_for_root_alone_are_not_measured(powercap: Path) -> None:
    (powercap / "intel-rapl:0" / "energy_uj").chmod(0)
    assert open_meter(EXACT, powercap).source is None


def test_runs_that_share_a_device_are_not_measured(powercap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SHARED, "1")
    assert open_meter(EXACT, powercap).lap() is None


class FakeNvml(types.ModuleType):
    """As much of pynvml as is used: one board that counts 2,500 mJ a reading."""

    class NVMLError(Exception):
        pass

    def __init__(self, broken: bool) -> None:
        super().__init__("pynvml")
        self.broken, self.millijoules = broken, 0

    def nvmlInit(self) -> None:  # noqa: N802  (NVML's name)
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802  (NVML's name)
        assert uuid == "GPU-0a1b"
        return uuid

    def nvmlDeviceGetTotalEnergyConsumption(self, _: str) -> int:  # noqa: N802  (NVML's name)
        if self.broken:
            raise self.NVMLError("Not Supported")
        self.millijoules += 2500
        return self.millijoules


@pytest.mark.parametrize(("broken", "joules"), [(False, 2.5), (True, None)])
def test_a_gpu_is_read_through_nvml(monkeypatch: pytest.MonkeyPatch, broken: bool, joules: float | None) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(broken))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda: types.SimpleNamespace(uuid="0a1b"))
    meter = open_meter(CUDA)
    assert meter.lap() == joules
    assert meter.source == (None if broken else "GPU board")


def test_without_nvml_a_gpu_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert open_meter(CUDA).lap() is None


def test_a_resumed_run_has_the_energy_of_all_its_epochs(
    run: Run, project: Path, powercap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every epoch draws 3 J from each package; the machine is switched off between the two parts."""
    monkeypatch.setattr(runs, "open_meter", lambda compute: open_meter(compute, powercap))
    real, drawn = runs.train_epoch, iter(range(3_000_000, 100_000_000, 3_000_000))

    def draw(*arguments: Any) -> Any:
        if (microjoules := next(drawn)) == 9_000_000:
            for zone in powercap.iterdir():
                count(powercap, zone.name, 0)
            raise KeyboardInterrupt
        for zone in powercap.iterdir():
            count(powercap, zone.name, microjoules + 1_000_000)
        return real(*arguments)

    monkeypatch.setattr(runs, "train_epoch", draw)
    with pytest.raises(KeyboardInterrupt):
        train(run, project)
    count(powercap, "intel-rapl:0", 10_000_000)
    count(powercap, "intel-rapl:1", 10_000_000)
    folder = train(run, project)
    metrics = read_metrics(folder)
    assert metrics["energy_joules"] == pytest.approx(6 * 6.0)
    assert metrics["energy_counted"] == "CPU packages"
    with (folder / "history.csv").open(newline="") as file:
        assert [row["energy_joules"] for row in csv.DictReader(file)] == ["6"] * 6


def test_a_run_measured_in_part_has_no_energy() -> None:
    known = {"energy_joules": 6.0, "energy_counted": "GPU board"}
    unknown = {"energy_joules": None, "energy_counted": None}
    assert runs.energy_of([known, known]) == {"energy_joules": 12.0, "energy_counted": "GPU board"}
    assert runs.energy_of([known, unknown]) == unknown
    assert runs.energy_of([known, {**known, "energy_counted": "something else"}]) == unknown
