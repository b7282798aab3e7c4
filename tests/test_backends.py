"""Backends agree with eager PyTorch, and the fastest that there is runs."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fst import FstError, Stylizer
from fst.inference import backends

from .conftest import picture

NEEDS = {name: f"needs {package}" for name, package in backends.PACKAGE.items()}
FAST = [
    pytest.param(name, marks=pytest.mark.skipif(not backends.installed(name), reason=NEEDS[name]))
    for name in backends.BY_SPEED
]


def pixels(width: int, height: int, batch: int = 1) -> np.ndarray:
    images = [np.asarray(picture(width, height, seed=n)) for n in range(batch)]
    return np.stack(images).transpose(0, 3, 1, 2).copy()


@pytest.mark.parametrize("backend", FAST)
def test_a_backend_is_within_one_level_of_eager(tiny_style: Path, backend: str) -> None:
    fast, eager = Stylizer(tiny_style, backend=backend), Stylizer(tiny_style, backend="torch")
    assert (fast.backend.name, fast.backend.device) == (backend, "cpu")
    batches = [pixels(*shape) for shape in ((16, 31, 1), (101, 67, 3), (256, 192, 1))]
    batches += [255 - batches[-1]]
    results = [fast.pixels(batch) for batch in batches]  # a later pass leaves them alone
    for batch, got in zip(batches, results, strict=True):
        expected = eager.pixels(batch)
        assert got.shape == expected.shape
        assert got.dtype == np.uint8
        assert np.abs(got.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("backend", FAST)
def test_torch_is_never_imported_for_a_graph(
    tiny_style: Path, tmp_path: Path, backend: str
) -> None:
    picture(40, 30, seed=1).save(tmp_path / "x.jpg")
    words = ["stylize", f"{tmp_path}/x.jpg", "--style", str(tiny_style), "--backend", backend]
    code = (
        "import sys; sys.modules['torch'] = None  # importing it raises\n"
        "from fst.cli import main\n"
        f"assert main({[*words, '-o', str(tmp_path / 'o.png')]!r}) == 0\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"backend {backend} on cpu" in done.stdout
    assert Image.open(tmp_path / "o.png").size == (40, 30)


def fake_packages(monkeypatch: pytest.MonkeyPatch, *there: str) -> None:
    monkeypatch.setattr(backends, "is_here", lambda name: name in (*there, "torch"))


def test_auto_takes_the_fastest_that_is_installed(
    tiny_style: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {name: lambda *_, name=name, **__: name for name in backends.BY_SPEED}
    monkeypatch.setattr(backends, "RUNTIMES", made)
    for there, taken in (
        (["onnxruntime", "openvino"], "openvino"),
        (["onnxruntime"], "onnx"),
    ):
        fake_packages(monkeypatch, *there)
        assert backends.open_backend("auto", tiny_style, device="cpu") == taken
    fake_packages(monkeypatch)
    assert backends.open_backend("auto", tiny_style, device="cpu").name == "torch"
    monkeypatch.setattr(backends, "is_here", lambda package: False)
    with pytest.raises(FstError, match=r"nothing to run a style in; pip install .*'onnxruntime>="):
        backends.open_backend("auto", tiny_style, device="cpu")


def test_auto_continues_with_torch_where_a_runtime_fails(
    tiny_style: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(backends, "RUNTIMES", {"onnx": fail, "openvino": fail})
    said: list[str] = []
    assert Stylizer(tiny_style, backend="auto", say=said.append).backend.name == "torch"
    assert any("no such instruction" in line for line in said)
    with pytest.raises(FstError, match=r"the graph of tiny cannot be used by onnx \(no such"):
        Stylizer(tiny_style, backend="onnx")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"backend": "tpu"}, "--backend tpu is unknown; use one of auto, torch, onnx, openvino"),
        ({"backend": "onnx", "device": "cuda"}, "--backend onnx runs on the CPU"),
        ({"backend": "auto", "device": "tpu"}, "device 'tpu' is unknown"),
    ],
)
def test_what_cannot_be_is_refused(tiny_style: Path, options: dict[str, str], match: str) -> None:
    with pytest.raises(FstError, match=match):
        Stylizer(tiny_style, **options)  # type: ignore[arg-type]


def test_a_backend_that_is_not_installed_is_named(
    tiny_style: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_packages(monkeypatch)
    with pytest.raises(FstError, match=r"needs openvino; pip install 'openvino>="):
        Stylizer(tiny_style, backend="openvino")
    with pytest.raises(FstError, match=r"needs onnxruntime; pip install .*'onnxruntime>="):
        Stylizer(tiny_style, backend="onnx")


PEAK = """
import sys
import numpy as np
from fst.inference.backends import open_backend
from fst.nets.style_names import find_style

def bytes_of(kind):
    with open("/proc/self/status") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith(kind))

backend = open_backend("onnx", find_style("udnie"))
photo = np.random.default_rng(0).integers(0, 256, (1, 3, 1024, 1024), dtype=np.uint8)
before = bytes_of("VmRSS")
for _ in range(2):
    backend(photo)
needed = backend.memory.needed
print(bytes_of("VmHWM") - before, needed(photo[0, 0].size, 16) - needed(0, 16))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells the peak")
def test_passes_in_onnx_runtime_take_no_more_memory_than_reckoned() -> None:
    """The second one neither; of a size that its arena, which asks for doubles, rounds up most."""
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    taken, needed = map(float, done.stdout.split())
    assert 0.5 * needed < taken < needed
