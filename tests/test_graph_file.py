import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fst.cli import main
from fst.inference.graph_file import load_onnx
from fst.inference.pixel_net import PixelNet
from fst.inference.pt2_file import load_aoti, load_pt2
from fst.nets.style_file import load_style

from .conftest import Exported

LOADERS = {"pt2": load_pt2, "onnx": load_onnx}


@pytest.mark.parametrize("file_format", ["pt2", "onnx"])
def test_an_exported_graph_is_the_net_at_any_batch_and_odd_size(
    tiny_style: Path,
    exported: Callable[..., Exported],
    file_format: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, printed = exported(file_format)
    assert "largest difference" in printed
    run = LOADERS[file_format](path.read_bytes())
    net = PixelNet(load_style(tiny_style)[0])
    for shape in ((1, 3, 16, 31), (4, 3, 45, 18), (1, 3, 101, 67)):
        pixels = torch.randint(0, 256, shape, dtype=torch.uint8)
        with torch.no_grad():
            got = torch.from_numpy(run(pixels.numpy()))
            difference = (got.int() - net(pixels).int()).abs()
        assert difference.max() <= 1

    command = ["export", str(tiny_style), "--format", file_format, "-o", str(path)]
    assert main(command) == 2  # nothing is overwritten
    assert "use --force" in capsys.readouterr().err


def test_the_parity_is_stored_in_the_file(exported: Callable[..., Exported]) -> None:
    with zipfile.ZipFile(exported("pt2").path) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith("card.json")]
        card = json.loads(archive.read(name))
    assert card["name"] == "tiny"
    assert card["export"]["pt2"]["max_difference"] <= 1
    assert "1x17x31" in card["export"]["pt2"]["shapes"]


def test_a_graph_that_is_off_leaves_no_file(
    tiny_style: Path,
    tmp_path: Path,
    exported: Callable[..., Exported],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def off_by_two(data: bytes) -> object:
        run = load_pt2(data)
        return lambda pixels: run(pixels).clip(2) - 2

    packed = exported("pt2").path.read_bytes()
    monkeypatch.setattr("fst.inference.pt2_file.pack_pt2", lambda net: lambda extra: packed)
    monkeypatch.setattr("fst.inference.pt2_file.load_pt2", off_by_two)
    path = tmp_path / "t.pt2"
    assert main(["export", str(tiny_style), "--format", "pt2", "-o", str(path)]) == 2
    assert "is not written: a pixel of the exported graph is off by 2" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_suffix_is_refused(tiny_style: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tiny_style), "--format", "onnx", "-o", "x.pt2"]) == 2
    assert "does not end in .onnx" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "compiler", "sentence"),
    [
        ([], "no-such-compiler", "needs a C++ compiler, and there is no no-such-compiler here"),
        (["--half"], "c++", "--format aoti compiles for this processor, and --half is for GPUs"),
        (["--size", "48x48"], "c++", "--opset, --size and --floats are for --format onnx"),
        (["-o", "x.onnx"], "c++", "does not end in .pt2, the suffix of --format aoti"),
    ],
)
def test_what_cannot_be_compiled_ahead_of_time_is_one_sentence(
    words: list[str],
    compiler: str,
    sentence: str,
    tiny_style: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CXX", compiler)
    assert main(["export", str(tiny_style), "--format", "aoti", *words]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


@pytest.mark.slow  # a compiler at work for a minute
def test_a_package_compiled_ahead_of_time_is_the_net(tiny_style: Path, tmp_path: Path) -> None:
    words = ["--format", "aoti", "--inputs", "strength,mask", "-o", str(tmp_path / "tiny.pt2")]
    assert main(["export", str(tiny_style), *words]) == 0
    run = load_aoti((tmp_path / "tiny.pt2").read_bytes())
    pixels = torch.randint(0, 256, (3, 3, 45, 18), dtype=torch.uint8)
    mask = torch.full((3, 1, 45, 18), 255, dtype=torch.uint8)
    got = run(pixels.numpy(), strength=torch.ones(1).numpy(), mask=mask.numpy())
    with torch.no_grad():
        expected = PixelNet(load_style(tiny_style)[0])(pixels)
    assert (torch.from_numpy(got).int() - expected.int()).abs().max() <= 1
    with zipfile.ZipFile(tmp_path / "tiny.pt2") as archive:
        (name,) = [n for n in archive.namelist() if n.endswith("extra/card.json")]
        assert json.loads(archive.read(name))["export"]["aoti"]["max_difference"] <= 1
