"""Where and in what precision a run computes: one code path for CPU and GPU."""

import ctypes
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from niny.errors import NinyError
from niny.training import processes


@dataclass(frozen=True)
class Compute:
    """A device and the precision of its matrix products; master weights and statistics are float32 always."""

    device: torch.device
    dtype: torch.dtype
    eager: bool = False  # the network as it is: nothing joined, compiled or captured in a CUDA graph
    processes: int = 1  # that train together (niny.training.processes)
    parts: int = 1  # in which one process takes each batch, as so many processes would share it

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not torch.float32)

    def place(self, images: Tensor) -> Tensor:
        """Images N x C x H x W on the device, in the compute precision, channels last."""
        return images.to(self.device, self.dtype, memory_format=torch.channels_last)

    @property
    def precision(self) -> str:
        return str(self.dtype).removeprefix("torch.")


def choose_compute(device: str = "auto", precision: str = "auto", eager: bool = False, parts: int = 1) -> Compute:
    """A GPU where there is one; bfloat16 where the processor computes in it, else float32."""
    if parts < 1 or (parts > 1 and processes.size() > 1):
        raise NinyError(f"--parts {parts}: a number from 1 up, and 1 where torchrun's processes share each batch")
    if device not in ("auto", "cpu", "cuda"):
        raise NinyError(f"unknown device {device!r}: choose from auto, cpu, cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise NinyError("no CUDA device is usable here: leave out --device, or take --device cpu")
    kind = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    if kind == "cpu":
        keep_freed_memory()
    torch.backends.cudnn.allow_tf32 = False  # float32 is float32: final errors are measured in it
    torch.backends.cudnn.benchmark = True  # a GPU chooses the quickest algorithm for each of the few shapes
    dtypes = {"bfloat16": torch.bfloat16, "float32": torch.float32}
    if precision == "auto":
        precision = "bfloat16" if has_bfloat16(kind) else "float32"
    if precision not in dtypes:
        raise NinyError(f"unknown precision {precision!r}: choose from auto, {', '.join(dtypes)}")
    return Compute(torch.device(kind), dtypes[precision], eager, processes.size(), parts)


def exact(compute: Compute) -> Compute:
    """The same device in float32: what final errors are measured in."""
    return replace(compute, dtype=torch.float32)


def has_bfloat16(kind: str) -> bool:
    """Emulated bfloat16 would be slower than float32, so only native support counts."""
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported())  # the public API has no such question


def keep_freed_memory() -> bool:
    """Let the C library keep freed memory for the next tensor; False where that is not glibc and nothing changes.

    glibc returns every large block to the system when a tensor dies and gets it back as pages to be zeroed: 109,000
    page faults in one training step of 128 images, a fifth of its time (benchmarks/NOTES.md).
    """
    return set_malloc(separate_maps=0, trim_above=2**31 - 1, grow_by=2**28)


def set_malloc(separate_maps: int, trim_above: int, grow_by: int, map_above: int = 2**25) -> bool:
    """Set glibc's M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_THRESHOLD; False where there is no glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return all(mallopt(*pair) == 1 for pair in ((-4, separate_maps), (-1, trim_above), (-2, grow_by), (-3, map_above)))
