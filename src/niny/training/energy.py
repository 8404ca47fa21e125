"""Energy, where the machine counts it: the CPU packages' RAPL counters, or the GPU board's own (NVML, by nvidia-ml-py).

Both count everything that the packages (without memory) or the board (with it) do, other programs included, so nothing
is measured where runs of one campaign share them. Counters of packages go round; a lap so long that one may have gone
round unseen is not measured either.
"""

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from niny.training.device import Compute

POWERCAP = Path("/sys/class/powercap")
SHARED = "NINY_SHARED_DEVICE"  # set for runs side by side on one device
HIGHEST_WATTS = 500.0  # that a CPU package draws


@dataclass(frozen=True)
class Counter:
    """Joules since some moment, starting again from 0 at `span`."""

    read: Callable[[], float]
    span: float = math.inf


class Meter:
    """Joules since it was made or last read; None where they cannot be told. `source` names what is counted."""

    def __init__(self, source: str | None, counters: Sequence[Counter]) -> None:
        self.source, self.counters = source, counters
        self.before, self.since = self._read(), time.monotonic()

    def lap(self) -> float | None:
        before, since = self.before, self.since
        self.before, self.since = self._read(), time.monotonic()
        if before is None or self.before is None:
            return None
        pairs = zip(self.counters, before, self.before, strict=True)
        parts = [_difference(counter, old, new, self.since - since) for counter, old, new in pairs]
        return sum(parts) if math.isfinite(sum(parts)) else None

    def _read(self) -> list[float] | None:
        try:
            return [counter.read() for counter in self.counters] or None
        except (OSError, ValueError):
            return None


def _difference(counter: Counter, old: float, new: float, seconds: float) -> float:
    """Joules from one reading to the next; not finite where it was reset or may have gone round twice."""
    joules = new - old if new >= old else new - old + counter.span
    ambiguous = joules + counter.span <= HIGHEST_WATTS * seconds
    return math.nan if ambiguous else joules


def is_shared() -> bool:
    """Do other runs of the same campaign share the device?"""
    return bool(os.environ.get(SHARED))


def open_meter(compute: Compute, powercap: Path = POWERCAP) -> Meter:
    """What counts the energy of the device; a meter that knows nothing where there is none or runs share it."""
    if is_shared() or compute.processes > 1:
        return Meter(None, [])
    if compute.device.type == "cuda":
        counters, source = gpu_counters(), "GPU board"
    else:
        counters, source = package_counters(powercap), "CPU packages"
    return Meter(source, counters) if counters else Meter(None, [])


def package_counters(powercap: Path) -> list[Counter]:
    """RAPL's packages. Their parts (intel-rapl:0:0) and the whole platform (psys) would count them once more."""
    zones = [zone for zone in sorted(powercap.glob("intel-rapl:*")) if zone.name.count(":") == 1]
    try:
        packages = [zone for zone in zones if _text(zone / "name").startswith("package")]
        return [_package(zone) for zone in packages]
    except (OSError, ValueError):  # since 2020 the counters are for root alone unless the owner opens them
        return []


def _package(zone: Path) -> Counter:
    span = int(_text(zone / "max_energy_range_uj")) / 1e6
    counter = Counter(lambda: int(_text(zone / "energy_uj")) / 1e6, span)
    counter.read()
    return counter


def _text(path: Path) -> str:
    return path.read_text(encoding="ascii").strip()


def gpu_counters() -> list[Counter]:
    """The current GPU's energy counter, by NVML."""
    try:
        pynvml = import_module("pynvml")
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
        # by identity: NVML numbers all boards, CUDA those that it may see
        board = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties().uuid}")
        counter = Counter(lambda: _board_joules(pynvml, board))
        counter.read()
    except (OSError, pynvml.NVMLError):  # old boards and parts of one (MIG) do not count
        return []
    return [counter]


def _board_joules(pynvml: Any, board: Any) -> float:
    try:
        return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(board)) / 1e3
    except pynvml.NVMLError as error:
        raise OSError(str(error)) from None
