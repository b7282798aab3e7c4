"""Memory for work on a CPU: what is free, and freed blocks that stay for the next step."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import Any

# of glibc's malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
USUAL = 32 * 2**20  # bytes; DEFAULT_MMAP_THRESHOLD_MAX of a 64-bit glibc
LARGE = 2**31 - 1  # bytes; above any tensor of a step, so that none gets a mapping of its own


def keep_freed_memory() -> bool:
    """Ask glibc to reuse large blocks in place of mapping and unmapping each; whether it does.

    Each step of a training, and each layer of a pass, allocates and frees large tensors. By
    default every one is a fresh mapping whose pages the kernel must zero first. The process then
    holds its peak memory until it ends. Without glibc (macOS, Windows, musl) nothing is changed.
    """
    mallopt = _glibc("mallopt")
    if mallopt is None:
        return False
    return all([mallopt(M_MMAP_THRESHOLD, LARGE), mallopt(M_TRIM_THRESHOLD, LARGE)])


def keep_memory_as_usual() -> None:
    """What glibc does by itself, once it has seen large blocks: for comparisons."""
    mallopt, trim = _glibc("mallopt"), _glibc("malloc_trim")
    if mallopt is not None and trim is not None:
        mallopt(M_MMAP_THRESHOLD, USUAL)
        mallopt(M_TRIM_THRESHOLD, 2 * USUAL)
        trim(0)


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


def available_memory() -> float | None:
    """Bytes that can be taken without swapping; None where the system does not say."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable"):
                return float(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError, AttributeError):
        return None
