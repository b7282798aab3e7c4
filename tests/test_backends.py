"""Backends agree with eager PyTorch, and their graphs are kept where they should be."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fst import FstError, Stylizer
from fst.cli import main
from fst.inference import backends, graph_cache
from fst.nets.style_card import read_card
from fst.system.paths import cache_dir

from .conftest import picture

NEEDS = {name: f"needs {package}" for name, package in backends.PACKAGE.items()}
FAST = [
    pytest.param(name, marks=pytest.mark.skipif(not backends.installed(name), reason=NEEDS[name]))
    for name in backends.BY_SPEED
]


@pytest.fixture(scope="session")
def graph(tiny_style: Path, _own_cache: None) -> bytes:
    """The tiny style's graph, exported once; it is in the cache."""
    assert find_spec("onnxruntime"), "the tests need the extra 'onnx'"
    Stylizer(tiny_style, backend="onnx")
    found = graph_cache.load_graph(read_card(tiny_style))
    assert found is not None
    return found


@pytest.fixture
def no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise AssertionError("a graph was exported")

    monkeypatch.setattr("fst.inference.graph_file.onnx_bytes", fail)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("FST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def quick_export(monkeypatch: pytest.MonkeyPatch, graph: bytes) -> list[int]:
    """Exports take no time; returns a list that grows with each."""
    made: list[int] = []

    def export(net: object) -> bytes:
        made.append(1)
        return graph

    monkeypatch.setattr("fst.inference.graph_file.onnx_bytes", export)
    return made


def pixels(width: int, height: int, batch: int = 1) -> np.ndarray:
    images = [np.asarray(picture(width, height, seed=n)) for n in range(batch)]
    return np.stack(images).transpose(0, 3, 1, 2).copy()


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.usefixtures("graph", "no_export")
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
@pytest.mark.usefixtures("graph")
def test_with_a_cached_graph_torch_is_never_imported(
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
    monkeypatch.setattr(backends, "find_spec", lambda name: name if name in there else None)


def test_auto_takes_the_fastest_that_is_worth_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    choose = backends.choose_backends
    fake_packages(monkeypatch, "onnxruntime", "openvino", "onnx", "onnxscript")
    assert choose(pixels=0, width=32, cached=True) == ["openvino", "onnx", "torch"]
    assert choose(pixels=512 * 512, width=32, cached=False) == ["torch"]
    assert choose(pixels=100 * 512 * 512, width=32, cached=False)[0] == "openvino"
    assert choose(pixels=100 * 512 * 512, width=4, cached=False) == ["torch"]  # less to win
    fake_packages(monkeypatch, "onnxruntime")  # with nothing to export with
    assert choose(pixels=10**9, width=32, cached=False) == ["torch"]
    assert choose(pixels=0, width=32, cached=True) == ["onnx", "torch"]
    fake_packages(monkeypatch, "onnx", "onnxscript")
    assert choose(pixels=10**9, width=32, cached=True) == ["torch"]


@pytest.mark.usefixtures("no_export")
def test_no_graph_is_made_for_a_small_photo(
    tiny_style: Path, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(64, 48, seed=1).save(tmp_path / "x.jpg")
    words = ["stylize", str(tmp_path / "x.jpg"), "--style", str(tiny_style)]
    assert main([*words, "-o", str(tmp_path / "o.png")]) == 0
    assert "backend torch on cpu" in capsys.readouterr().out
    assert not cache.exists()


def test_a_folder_that_is_worth_it_is_exported_for_once(
    tiny_style: Path,
    tmp_path: Path,
    cache: Path,
    quick_export: list[int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for number in range(3):
        picture(64, 48, seed=number).save(tmp_path / f"{number}.jpg")
    monkeypatch.setattr(backends, "EXPORT_PAYS_FROM", 3 * 32 * 24 * 4 / 32)
    words = ["stylize", str(tmp_path), "--style", str(tiny_style), "--backend", "auto", "--force"]
    for _ in range(2):
        assert main([*words, "--size", "24", "-o", str(tmp_path / "out")]) == 0
    out, err = capsys.readouterr()
    fastest = next(name for name in backends.BY_SPEED if backends.installed(name))
    assert out.count(f"backend {fastest} on cpu") == 2
    assert err.count("exporting tiny for") == len(quick_export) == 1
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("damage", ["cut", "foreign"])
def test_a_cached_graph_that_is_damaged_is_made_again(
    tiny_style: Path, cache: Path, graph: bytes, quick_export: list[int], damage: str
) -> None:
    card = read_card(tiny_style)
    graph_cache.keep_graph(card, graph if damage == "cut" else b"something else")
    (kept,) = cache.iterdir()
    if damage == "cut":
        kept.write_bytes(graph[:-100])
        assert graph_cache.load_graph(card) is None
    said: list[str] = []
    Stylizer(tiny_style, backend="onnx", say=said.append)
    assert len(quick_export) == 1
    assert any("cannot be used" in line for line in said) == (damage == "foreign")
    assert graph_cache.load_graph(card) == graph
    assert len(list(cache.iterdir())) == 1


def test_a_cache_that_cannot_be_written_is_not_an_error(
    tiny_style: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_export: list[int]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FST_CACHE", str(tmp_path / "file" / "cache"))
    said: list[str] = []
    stylizer = Stylizer(tiny_style, backend="onnx", say=said.append)
    assert stylizer.pixels(pixels(20, 20)).shape == (1, 3, 20, 20)
    assert any("is not kept for the next time" in line for line in said)
    assert quick_export


def test_a_graph_that_is_off_is_neither_used_nor_kept(
    tiny_style: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, quick_export: list[int]
) -> None:
    run = backends.OnnxBackend.__call__
    monkeypatch.setattr(
        backends.OnnxBackend, "__call__", lambda self, x: np.maximum(run(self, x), 2) - 2
    )
    with pytest.raises(FstError, match=r"off by [23] of 255 levels; use --backend torch"):
        Stylizer(tiny_style, backend="onnx")
    assert not cache.exists()


def test_auto_continues_with_torch_where_a_runtime_fails(
    tiny_style: Path,
    cache: Path,
    graph: bytes,
    no_export: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise RuntimeError("no such instruction")

    graph_cache.keep_graph(read_card(tiny_style), graph)
    monkeypatch.setattr(backends, "RUNTIMES", {"onnx": fail, "openvino": fail})
    said: list[str] = []
    assert Stylizer(tiny_style, backend="auto", say=said.append).backend.name == "torch"
    assert any("no such instruction" in line for line in said)
    assert not list(cache.iterdir())  # it is of no use here; nor is another made for one photo


def test_where_a_style_differs_its_key_does(tiny_style: Path) -> None:
    card = read_card(tiny_style)
    keys = {graph_cache._key(card)}
    card.net["output_gain"] = 0.2  # not in the tensors, but in the graph
    keys.add(graph_cache._key(card))
    card.sha256 = "0" * 64
    keys.add(graph_cache._key(card))
    assert len(keys) == 3


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
    tiny_style: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    fake_packages(monkeypatch)
    with pytest.raises(FstError, match=r"needs openvino; pip install 'openvino>=.*' 'onnx"):
        Stylizer(tiny_style, backend="openvino")
    fake_packages(monkeypatch, "onnxruntime")
    with pytest.raises(FstError, match=r"is made with onnx and onnxscript; pip install 'onnx>="):
        Stylizer(tiny_style, backend="onnx")


def test_the_cache_folder_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FST_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "fst"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache_dir() == tmp_path / "x" / "fst"
