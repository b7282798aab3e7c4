"""Freed memory is kept for the next step."""

import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource, sys
import torch
from fst.system.machine import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "keep" else True
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step(): torch.zeros(16 * 2**20)
for _ in range(30): step()  # until the heap has grown to what the steps need
before = faults()
for _ in range(10): step()
print(int(kept), faults() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_large_blocks_are_not_mapped_anew_at_each_step() -> None:
    counts = {}
    for how in ("keep", "default"):
        command = [sys.executable, "-c", COUNT_FAULTS, how]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        kept, counts[how] = map(int, out.split())
        assert kept
    assert counts["keep"] < counts["default"] / 10, counts


HOLD_AND_GIVE_BACK = """
from pathlib import Path
from fst.system.machine import give_back_freed_memory, keep_freed_memory
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
keep_freed_memory()
block = [bytearray(2**20) for _ in range(100)]
block.clear()
held = resident()
give_back_freed_memory()
print(held - resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_freed_memory_can_be_given_back() -> None:
    command = [sys.executable, "-c", HOLD_AND_GIVE_BACK]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert int(out) > 80 * 2**20
