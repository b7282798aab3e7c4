"""Core ML packages: the operations and weights in the file, computed in numpy, are the net."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fst.cli import main
from fst.inference.coreml_run import run_of_package
from fst.inference.pixel_net import PixelNet
from fst.nets.style_card import Card
from fst.nets.style_file import load_style, save_style
from fst.nets.transformer_net import TransformerNet

from .conftest import picture


@pytest.mark.parametrize(
    ("size", "upsampling", "half"),
    [("32x48", "nearest", False), ("33x46", "bilinear", False), ("48x31", "bilinear", True)],
)
def test_a_package_is_the_net(
    size: str,
    upsampling: str,
    half: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("coremltools")
    torch.manual_seed(1)
    net = TransformerNet(width=4, residual_blocks=1, output_gain=0.1, upsampling=upsampling)
    net.conv2.conv.weight.data.mul_(8 if half else 20)
    net.remove_grid()
    style, package = tmp_path / "s.safetensors", tmp_path / "s.mlpackage"
    save_style(style, net, Card(name="s", net={}), half=True)
    words = ["export", str(style), "--for", "coreml", "--size", size, "-o", str(package)]
    words += ["--half"] if half else []
    assert main(words) == 0
    assert "largest difference" in capsys.readouterr().out

    height, width = map(int, size.split("x"))
    photo = np.asarray(picture(width, height, seed=3)).transpose(2, 0, 1)[None].copy()
    with torch.no_grad():
        expected = PixelNet(load_style(style)[0])(torch.from_numpy(photo)).numpy()
    off = np.abs(run_of_package(package)(photo).astype(int) - expected)
    assert off.max() <= (2 if half else 1)
    assert {path.name for path in tmp_path.iterdir()} == {style.name, package.name}

    from coremltools.models.utils import load_spec

    described = load_spec(str(package)).description
    (given,), (made) = described.input, described.output[0]
    for end, name in ((given, "pixels"), (made, "stylized")):
        assert end.name == name
        image = end.type.imageType
        assert (image.width, image.height, image.colorSpace) == (width, height, 20)  # RGB
    assert '"name": "s"' in described.metadata.userDefined["card"]


def test_without_pytorch_a_package_is_compared_with_the_graph(
    tiny_style: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("coremltools")
    monkeypatch.setattr("fst.inference.graph_file.is_here", lambda package: False)
    monkeypatch.setattr("fst.inference.parity.is_here", lambda package: False)
    path = tmp_path / "t.mlpackage"
    words = ["export", str(tiny_style), "--format", "coreml", "--size", "24x24", "-o", str(path)]
    assert main(words) == 0
    assert "parity with its ONNX graph at 1x24x24: largest" in capsys.readouterr().out


def test_a_package_that_is_off_is_not_written(
    tiny_style: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("coremltools")
    run = "fst.inference.coreml_file.run_of_package"
    monkeypatch.setattr(run, lambda path: lambda pixels: 255 - run_of_package(path)(pixels))
    path = tmp_path / "t.mlpackage"
    words = ["export", str(tiny_style), "--format", "coreml", "--size", "24x24", "-o", str(path)]
    assert main(words) == 2
    assert "is not written: a pixel of it is off by" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_no_package_stays(
    tiny_style: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("coremltools")
    (tmp_path / "mine.mlpackage").mkdir()
    (tmp_path / "mine.mlpackage" / "thesis.txt").write_text("years of work")
    words = ["export", str(tiny_style), "--format", "coreml", "--size", "24x24", "--force"]
    assert main([*words, "-o", str(tmp_path / "mine.mlpackage")]) == 2
    assert "is no Core ML package and stays" in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["mine.mlpackage", "thesis.txt"]
    package = tmp_path / "own.mlpackage"
    for _ in range(2):  # in place of the one before
        assert main([*words, "-o", str(package)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"mine.mlpackage", "own.mlpackage"}


def test_without_coremltools_a_sentence_names_the_extra(
    tiny_style: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fst.inference.coreml_file.is_here", lambda package: False)
    assert main(["export", str(tiny_style), "--format", "coreml", "--size", "24x24"]) == 2
    said = capsys.readouterr().err
    assert "--format coreml needs coremltools; pip install" in said
    assert said.count("\n") == 1
