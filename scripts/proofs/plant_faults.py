"""Guards on the guards: a fault is planted in a copy of the code, and its test must fail.

python scripts/proofs/plant_faults.py [WORD ...]      # all, or those whose name has a word in it

Each row below is one line of the code put back as careless code has it, and the tests that are
there to see it. A row that its tests pass with is printed as NOT SEEN, and the exit code is 1. The
tests are first run without the fault: they must pass. Takes about a quarter of a minute a row.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Fault(NamedTuple):
    """``old`` in ``file`` becomes ``new``; ``tests`` are pytest's words that must then fail."""

    name: str
    file: str
    old: str
    new: str
    tests: str


FAULTS = [
    Fault(
        "a checksum over the card is not looked at",
        "fst/nets/style_card.py",
        "if card.sha256_all and card.sha256_all != whole_sha256(asdict(card), place):",
        "if False:",
        "tests/test_strangers.py -k covered_card",
    ),
    Fault(
        "an older card's gain is taken as it is",
        "fst/nets/style_card.py",
        "if gain != USUAL_GAIN and not _trusted():",
        "if False:",
        "tests/test_strangers.py -k its_gain_only",
    ),
    Fault(
        "weights of a style file may be NaN",
        "fst/nets/style_file.py",
        "if not np.isfinite(values",
        "if False and not np.isfinite(values",
        "tests/test_strangers.py -k no_numbers",
    ),
    Fault(
        "escape sequences reach the terminal",
        "fst/system/console.py",
        'if c == "\\n" or _is_visible(c) else',
        "if True else",
        "tests/test_strangers.py -k steer",
    ),
    Fault(
        "a pipe is opened like a photo",
        "fst/system/files.py",
        "if stat.S_ISREG(status.st_mode):",
        'if True:\n            return open(path, "rb", opener=_without_waiting)\n        if True:',
        "tests/test_files.py -k only_regular",
    ),
    Fault(
        "a _target_ of a config is built",
        "fst/experiments/code_in_configs.py",
        "if key in CODE_KEYS and value not in ALLOWED.get(where, ()):",
        "if False:",
        "tests/test_no_code.py -k config_folder_names",
    ),
    Fault(
        "a resolver of a config is run",
        "fst/experiments/code_in_configs.py",
        "            _require_harmless_text(where, value)\n",
        "            pass\n",
        "tests/test_no_code.py",
    ),
    Fault(
        "a key that is no setting is taken",
        "fst/experiments/known_words.py",
        'if kind == "unknown":',
        'if kind == "unknown" and False:',
        "tests/test_words.py -k no_setting",
    ),
    Fault(
        "the limit of a cgroup is not seen",
        "fst/system/memory.py",
        "*cgroup_rooms(root), *shell_rooms(root)]",
        "*shell_rooms(root)]",
        "tests/test_memory.py -k least_of_all",
    ),
    Fault(
        "the limits of a cgroup's parents are not seen",
        "fst/system/memory.py",
        "    for folder, version in _cgroups(root):\n",
        "    for folder, version in list(_cgroups(root))[:1]:\n",
        "tests/test_memory.py -k parent",
    ),
    Fault(
        "what a process has mapped is not taken off",
        "fst/system/memory.py",
        "soft - mapped[field] * resource.getpagesize()",
        "soft",
        "tests/test_memory.py -k ulimit",
    ),
    Fault(
        "half the memory of a pass is expected",
        "fst/inference/backends.py",
        "return FIXED_MEMORY + pixels * (self.pixel + self.channel * width)",
        "return pixels * (self.pixel + self.channel * width) / 2",
        "tests/test_memory.py -k takes_less",
    ),
    Fault(
        "weights may grow as far as they will",
        "fst/training/divergence.py",
        "now > GROWTH_IN_ALL * self._first:",
        "now > 1e9 * self._first:",
        "tests/test_outcome.py -k every_schedule",
    ),
    Fault(
        "a run that ends worse than the photos makes a style",
        "fst/training/outcome.py",
        "if final <= self.untouched:",
        "if True:",
        "tests/test_outcome.py -k worse_than_the_photos",
    ),
    Fault(
        "a side too long for JPEG is found out after the pass",
        "fst/inference/photo_jobs.py",
        "            require_writable(job.target, *result)\n",
        "            pass\n",
        "tests/test_odd_pictures.py -k refused_before_the_pass",
    ),
    Fault(
        "the rows of a net of several are exchanged",
        "fst/nets/style_file.py",
        "tensors[name] = tensors[name][row]",
        "tensors[name] = tensors[name][row - 1]",
        "tests/test_paintings.py -k ordinary_style",
    ),
    Fault(
        "a graph enlarges to the corners",
        "fst/inference/onnx_graph.py",
        '"coordinate_transformation_mode": "half_pixel"',
        '"coordinate_transformation_mode": "align_corners"',
        "tests/test_onnx_graph.py -k any_size",
    ),
]


def passes(folder: Path, tests: str) -> bool:
    """Whether the tests of a copy of the project pass; none that is chosen is an error."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    words = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests.split()]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(f"pytest {tests}: {done.stdout[-500:]}{done.stderr[-500:]}")
    return done.returncode == 0


def main(chosen: list[str]) -> int:
    """Plant, test and take away each fault; print a line for each."""
    unseen = 0
    with tempfile.TemporaryDirectory(prefix="fst_faults_") as scratch:
        folder = Path(scratch) / "copy"
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
        )
        for name in filter(None, listed.stdout.decode().split("\0")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        for fault in FAULTS:
            if chosen and not any(word in fault.name for word in chosen):
                continue
            path = folder / fault.file
            text = path.read_text("utf-8")
            if text.count(fault.old) != 1:
                raise SystemExit(f"{fault.file} has not one line like this: {fault.old}")
            whole = passes(folder, fault.tests)
            path.write_text(text.replace(fault.old, fault.new), "utf-8")
            seen = whole and not passes(folder, fault.tests)
            path.write_text(text, "utf-8")
            unseen += not seen
            what = "seen    " if seen else "NOT SEEN" if whole else "FAILS WITHOUT IT"
            print(f"{what} {fault.name}   (pytest {fault.tests})", flush=True)
    return 1 if unseen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
