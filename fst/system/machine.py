"""The machine: its name, the device that a user means, its threads, and what is freed.

torch is imported where it is asked: a pass in another runtime does without it.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fst.errors import FstError
from fst.system.installed import is_here

if TYPE_CHECKING:
    import torch

# without any of these, Linux has no GPU that torch could use: NVIDIA's, Jetson's, AMD's, WSL's
GPU_FILES = ("/dev/nvidiactl", "/dev/nvmap", "/dev/kfd", "/dev/dxg")
# of glibc's malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
OWN_MAPPING = 2**18  # bytes; blocks from here on have a mapping of their own
_KEPT: list[bool] = []  # whether freed memory is kept in this process
LARGE = 2**31 - 1  # bytes; above any tensor of a step, so that none gets a mapping of its own
# of Linux's /proc/cpuinfo: instructions that multiply matrices of bfloat16
BFLOAT16_FLAGS = ("amx_bf16", "avx512_bf16")


def machine() -> str:
    """What computes here, in words: '2 CPU cores (AMD EPYC)' or a GPU's name."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((ln.split(":")[1].strip() for ln in lines if "model name" in ln), model)
    return f"{os.cpu_count()} CPU cores ({model})"


def processor_flags() -> str:
    """What the processor says that it can do, as words; "" where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2] for line in lines if line.startswith("flags")), "")


def has_bfloat16(flags: str) -> bool:
    """Whether a processor of these ``flags`` computes in bfloat16 faster than in float32.

    By what it says of itself and never by timing: a machine always gives the same answer.
    """
    return not set(BFLOAT16_FLAGS).isdisjoint(flags.split())


def check_device_name(name: str) -> None:
    """Raise ``FstError`` for a device that cannot be anywhere."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", str(name)):
        raise FstError(f"device '{name}' is unknown; use auto, cuda, cuda:1, mps or cpu")


def choose_device(name: str) -> torch.device:
    """'auto' is the first of CUDA, MPS and CPU that is there. Raises ``FstError`` if it is not."""
    import torch

    check_device_name(name)
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next((kind for kind, found in there.items() if found), "cpu")
    if not there.get(name.split(":")[0], True):
        raise FstError(f"device '{name}' is not available on this machine; use cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise FstError(f"device '{name}' is not there: {torch.cuda.device_count()} GPUs are")
    return device


def stays_on_cpu(device: str) -> bool:
    """Whether ``device`` means the CPU here; asks torch only where there may be a GPU."""
    if device != "auto":
        return device == "cpu"
    if not is_here("torch"):  # what runs styles without it runs on the CPU
        return True
    if sys.platform == "linux" and not any(map(os.path.exists, GPU_FILES)):
        return True
    return choose_device("auto").type == "cpu"


def cpu_threads() -> int:
    """How many threads a pass may use: what $OMP_NUM_THREADS says, or the processors we may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdecimal() and int(asked):
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keep_freed_memory() -> bool:
    """Ask glibc to reuse large blocks in place of mapping and unmapping each; whether it does.

    Each step of a training, and each layer of a pass, allocates and frees large tensors. By
    default every one is a fresh mapping whose pages the kernel must zero first. The process then
    holds its peak memory until it ends. Without glibc (macOS, Windows, musl) nothing is changed.
    """
    mallopt = _glibc("mallopt")
    if mallopt is None:
        return False
    done = all([mallopt(M_MMAP_THRESHOLD, LARGE), mallopt(M_TRIM_THRESHOLD, LARGE)])
    if done and not _KEPT:
        _KEPT.append(True)
    return done


@contextmanager
def freed_memory_goes_back() -> Iterator[None]:
    """Inside, every large block that is freed goes back to the system at once.

    Blocks that are kept are of many sizes and lie between each other: of a pass in tiles they were
    twice what is in use. It takes some time to have them zeroed again.
    """
    mallopt = _glibc("mallopt")
    if mallopt is None:
        yield
        return
    give_back_freed_memory()
    mallopt(M_MMAP_THRESHOLD, OWN_MAPPING)
    mallopt(M_TRIM_THRESHOLD, OWN_MAPPING)
    try:
        yield
    finally:
        if _KEPT:
            keep_freed_memory()


def give_back_freed_memory() -> None:
    """Let the system have what is freed, where it was kept."""
    trim = _glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _glibc(name: str) -> Any:
    if not sys.platform.startswith("linux"):
        return None
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):
        return None
