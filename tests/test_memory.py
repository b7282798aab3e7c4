"""What memory there is, what a pass takes of it, and that what is freed is kept."""

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fst.errors import FstError
from fst.inference.stylizer import Stylizer
from fst.system import memory
from fst.system.machine import give_back_freed_memory
from fst.system.memory import cgroup_rooms, shell_rooms
from fst.training.lightning_module import FastStyleTransfer
from tests.conftest import Train, picture

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
def test_large_blocks_are_not_mapped_again_at_each_step() -> None:
    counts = {}
    for how in ("keep", "default"):
        command = [sys.executable, "-c", COUNT_FAULTS, how]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        kept, counts[how] = map(int, out.split())
        assert kept
    assert counts["keep"] < counts["default"] / 10, counts


HOLD_AND_GIVE_BACK = """
from pathlib import Path
from fst.system.machine import (
    freed_memory_goes_back, give_back_freed_memory, keep_freed_memory
)
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
def freed():
    block = [bytearray(2**20) for _ in range(100)]
    held = resident()
    block.clear()
    return held - resident()
keep_freed_memory()
kept = [freed()]
held = resident()
give_back_freed_memory()
given = [held - resident()]
with freed_memory_goes_back():
    given.append(freed())
kept.append(freed())
print(max(kept), min(given))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_freed_memory_can_be_given_back() -> None:
    command = [sys.executable, "-c", HOLD_AND_GIVE_BACK]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    kept, given = map(int, out.split())
    assert kept < 20 * 2**20 < 80 * 2**20 < given


MOUNTS = """\
23 1 0:28 / / rw - ext4 /dev/vda rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
{}
"""
V1 = "35 31 0:32 {top} /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory"
V2 = "41 31 0:38 {top} {point} rw,relatime shared:4 - cgroup2 cgroup2 rw"
UNLIMITED_V1 = 9223372036854771712
GB = 10**9


def plant(root: Path, files: dict[str, object]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def v2(root: Path, own: str, *, top: str = "/", point: str = "/sys/fs/cgroup") -> None:
    mount = V2.format(top=top, point=point.replace(" ", "\\040"))
    plant(root, {"proc/self/cgroup": f"0::{own}", "proc/self/mountinfo": MOUNTS.format(mount)})


def group2(maximum: object, current: int, high: object = "max", **stat: int) -> dict[str, object]:
    lines = "\n".join(f"{key} {value}" for key, value in stat.items())
    names = {"memory.max": maximum, "memory.current": current, "memory.high": high}
    return {**names, "memory.stat": f"anon 5\n{lines}"}


def under(folder: str, files: dict[str, object]) -> dict[str, object]:
    return {f"{folder}/{name}": value for name, value in files.items()}


def free(root: Path) -> list[int]:
    return [room.free for room in cgroup_rooms(root)]


def test_a_cgroup_leaves_its_limit_less_what_cannot_be_reclaimed(tmp_path: Path) -> None:
    v2(tmp_path, "/job")
    stat = {"inactive_file": 2 * GB, "active_file": GB, "file_mapped": GB // 2}
    plant(tmp_path, under("sys/fs/cgroup/job", group2(8 * GB, 5 * GB, **stat)))
    (room,) = cgroup_rooms(tmp_path)
    assert room.total == 8 * GB
    assert room.free == 8 * GB - (5 * GB - 2.5 * GB)
    plant(tmp_path, under("sys/fs/cgroup/job", group2(8 * GB, 5 * GB, 6 * GB, **stat)))
    assert free(tmp_path) == [int(3.5 * GB)]  # memory.high stops it earlier


def test_the_limit_of_a_parent_holds_too(tmp_path: Path) -> None:
    v2(tmp_path, "/slurm/job_1/step 0")
    top = "sys/fs/cgroup"
    plant(tmp_path, under(f"{top}/slurm/job_1/step 0", group2("max", GB)))
    plant(tmp_path, under(f"{top}/slurm/job_1", group2(4 * GB, 3 * GB, inactive_file=GB)))
    plant(tmp_path, under(f"{top}/slurm", group2(5 * GB, 5 * GB - 7)))
    assert free(tmp_path) == [2 * GB, 7]


@pytest.mark.parametrize(
    ("own", "top"),
    [
        ("/", "/"),  # a namespace of its own
        ("/docker/1f", "/docker/1f"),  # none; the mount shows its part alone
        ("/", "/docker/1f"),
        ("/docker/1f", "/"),  # a path of the host, which is not there
        ("/../1f", "/"),
        ("/", "/.."),
    ],
)
def test_a_container_finds_its_limit_where_it_is_mounted(
    tmp_path: Path, own: str, top: str
) -> None:
    v2(tmp_path, own, top=top, point="/sys/fs/c group")
    plant(tmp_path, under("sys/fs/c group", group2(2 * GB, GB)))
    assert free(tmp_path) == [GB]


def test_version_1_has_a_huge_number_for_no_limit(tmp_path: Path) -> None:
    own = "9:name=systemd:/x\n4:cpuset,memory:/a/b\n0::/"
    mounts = [V1.format(top="/"), V2.format(top="/", point="/sys/fs/cgroup/unified")]
    plant(
        tmp_path,
        {"proc/self/cgroup": own, "proc/self/mountinfo": MOUNTS.format("\n".join(mounts))},
    )
    top = "sys/fs/cgroup/memory"
    (tmp_path / "sys/fs/cgroup/unified").mkdir(parents=True)

    def group(limit: int, used: int, **stat: int) -> dict[str, object]:
        lines = "\n".join(f"{key} {value}" for key, value in stat.items())
        names: dict[str, object] = {"limit_in_bytes": limit, "usage_in_bytes": used, "stat": lines}
        return {f"memory.{key}": value for key, value in names.items()}

    plant(tmp_path, under(top, group(UNLIMITED_V1, GB)))
    plant(tmp_path, under(f"{top}/a/b", group(UNLIMITED_V1, GB)))
    assert free(tmp_path) == []
    plant(tmp_path, under(f"{top}/a", group(3 * GB, 2 * GB, total_inactive_file=GB)))
    assert free(tmp_path) == [2 * GB]
    stat = {"hierarchical_memory_limit": 3 * GB, "inactive_file": 5, "total_inactive_file": 9}
    plant(tmp_path, under(f"{top}/a/b", group(UNLIMITED_V1, GB, **stat)))
    assert free(tmp_path) == [2 * GB + 9, 2 * GB]


def test_a_system_without_cgroups_has_none(tmp_path: Path) -> None:
    assert cgroup_rooms(tmp_path) == []
    plant(tmp_path, {"proc/self/cgroup": "nonsense\n\n0::", "proc/self/mountinfo": "a b\n - \n"})
    assert cgroup_rooms(tmp_path) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")
def test_what_ulimit_leaves_is_less_by_what_is_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = resource.getpagesize()
    plant(tmp_path, {"proc/self/statm": "1000 200 30 4 0 500 0"})
    limits = {resource.RLIMIT_AS: 3000 * page, resource.RLIMIT_DATA: resource.RLIM_INFINITY}
    monkeypatch.setattr(resource, "getrlimit", lambda which: (limits[which], -1))
    (room,) = shell_rooms(tmp_path)
    assert (room.total, room.free) == (3000 * page, 2000 * page)
    assert "ulimit -v" in room.of
    limits[resource.RLIMIT_DATA] = 600 * page
    assert [room.free for room in shell_rooms(tmp_path)] == [2000 * page, 100 * page]


def test_linux_is_asked_and_elsewhere_psutil(tmp_path: Path) -> None:
    import psutil

    plant(tmp_path, {"proc/meminfo": "MemTotal: 3000 kB\nMemFree: 5 kB\nMemAvailable: 2000 kB\n"})
    assert memory.machine_room(tmp_path) == memory.Room(3000 * 1024, 2000 * 1024)
    assert memory.machine_room(tmp_path / "nowhere").total == psutil.virtual_memory().total
    assert memory.machine_room().total == psutil.virtual_memory().total
    held = psutil.Process().memory_info().rss
    assert memory.held_memory() == pytest.approx(held, rel=0.05)


def test_the_least_of_all_counts_and_is_named(
    tmp_path: Path, tiny_style: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    v2(tmp_path, "/job")
    plant(tmp_path, under("sys/fs/cgroup/job", group2(300_000_000, 200_000_000)))
    planted = memory.rooms(tmp_path)
    monkeypatch.setattr(memory, "rooms", lambda: planted)
    assert memory.available_memory() == 100_000_000
    assert memory.total_memory() == 300_000_000
    stylizer = Stylizer(tiny_style, device="cpu")
    with pytest.raises(FstError, match=r"0\.1 GB are free in what this container or job may take"):
        stylizer.pixels(np.zeros((1, 3, 1000, 1000), np.uint8))
    assert stylizer.pixels(np.zeros((1, 3, 100, 100), np.uint8)).shape == (1, 3, 100, 100)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")
@pytest.mark.parametrize("size", [(96, 96), (767, 511)])
def test_a_pass_takes_less_than_expected_of_it(tiny_style: Path, size: tuple[int, int]) -> None:
    """A quick form of scripts/proofs/memory_table.py."""
    stylizer = Stylizer(tiny_style, device="cpu")
    pixels = np.zeros((1, 3, *size), np.uint8)

    def status(key: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(x.split()[1]) for x in lines if x.startswith(f"{key}:"))

    give_back_freed_memory()
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    stylizer.backend(pixels)
    assert status("VmHWM") - before < stylizer.backend.memory.needed(size[0] * size[1], 4)


NO_MEMORY = [
    MemoryError(),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 6 bytes."),
    ImportError("libtorch_cpu.so: failed to map segment from shared object"),
]


@pytest.mark.parametrize("error", NO_MEMORY)
def test_memory_that_runs_out_is_one_sentence(
    train: Train,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
) -> None:
    def fail(*args: object) -> None:
        raise error

    monkeypatch.setattr(FastStyleTransfer, "training_step", fail)
    assert train() == 2
    assert "fst train: there is not enough memory (" in capsys.readouterr().err


def test_small_photos_in_a_row_do_not_look_at_the_memory_for_each(
    tiny_style: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []

    def look() -> float:
        looks.append(1e12)
        return 1e12

    monkeypatch.setattr("fst.system.memory.available_memory", look)
    stylizer = Stylizer(tiny_style, backend="torch")
    monkeypatch.setattr("fst.system.memory.LATELY", 1000)
    for _ in range(3):
        stylizer(picture(40, 30, seed=1))
    assert len(looks) == 1
    monkeypatch.setattr("fst.system.memory.LATELY", 0)
    stylizer(picture(40, 30, seed=1))
    assert len(looks) == 2


def test_what_is_large_beside_the_free_memory_is_looked_at_each_time() -> None:
    lately = memory.LatelyFree()
    free = lately.look()
    assert lately.is_plenty(free / 20)
    assert not lately.is_plenty(free / 5)
