"""Where a GPU's time goes: the kernels of a profile, summed by what they are for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch.profiler import ProfilerActivity, profile

from fst.benchmark.timing import Contestant, synchronize

# The first pattern that is found in a kernel's name decides: cuDNN's and cuBLAS's names, ATen's,
# Triton's as torch.compile makes them (red and per are reductions, poi is elementwise), and, on a
# CPU, the names of ATen's operators.
CLASSES = {
    "optimizer": r"adam|multi_tensor|optimizer",
    "convolution": r"conv|fprop|dgrad|wgrad|winograd|implicit_gemm|cudnn.*cutlass",
    "matrix product": r"gemm|nvjet|cutlass|cublas|bmm|aten::(mm|addmm|baddbmm)\b|splitk",
    "copy": r"memcpy|memset|copy|nchwtonhwc|nhwctonchw|transpose|::(to|contiguous|clone|cat)\b",
    "normalization and sums": r"norm|bn_|welford|var_mean|reduce|triton_(red|per)_|::(sum|mean)\b",
    "elementwise": r"elementwise|triton_poi_|pad|upsample|pool|relu|tanh|threshold|clamp|fill"
    r"|aten::(add|sub|mul|div|pow|square|rsqrt|neg|sqrt|zero)_?\b",
}
OTHER = "other"


class KernelClass(NamedTuple):
    """The kernels of one class, over one step."""

    name: str
    milliseconds: float
    share: float  # of all kernels' time
    calls: float
    largest: str  # the name of the kernel that took most


def class_of(kernel: str) -> str:
    """What a kernel is for, by its name."""
    found = (name for name, words in CLASSES.items() if re.search(words, kernel.lower()))
    return next(found, OTHER)


def profile_by_class(work: Contestant, *, steps: int, device: str) -> list[KernelClass]:
    """The time of ``steps`` calls on the device, for each call and by class, the longest first.

    On a CPU these are ATen's operators without those they call.
    """
    on_gpu = device.startswith("cuda")
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    work()
    synchronize(device)
    with profile(activities=activities) as profiler:
        for _ in range(steps):
            work()
        synchronize(device)
    times: dict[str, tuple[float, int]] = {}
    for event in profiler.key_averages():
        if on_gpu and (not str(event.device_type).endswith("CUDA") or "#" in event.key):
            continue  # of the CPU, or a span over kernels that count by themselves
        micro_s = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        times[event.key] = (micro_s / 1e3 / steps, event.count)
    return summed(times, steps)


def summed(times: Mapping[str, tuple[float, int]], steps: int) -> list[KernelClass]:
    """{kernel: (milliseconds a step, calls in all)} -> by class."""
    total = sum(ms for ms, _ in times.values()) or 1.0
    classes = []
    for name in (*CLASSES, OTHER):
        own: dict[str, Any] = {k: v for k, v in times.items() if class_of(k) == name}
        if own:
            ms = sum(value[0] for value in own.values())
            calls = sum(value[1] for value in own.values()) / steps
            largest = max(own, key=lambda kernel: own[kernel][0])
            classes.append(KernelClass(name, ms, ms / total, calls, largest))
    return sorted(classes, key=lambda found: -found.milliseconds)
