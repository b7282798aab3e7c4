"""The ONNX graph that is built node by node is the net, within one level of 255."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch

from fst.cli import main
from fst.inference import onnx_proto
from fst.inference.backends import OnnxBackend
from fst.inference.onnx_graph import GraphOptions, onnx_graph
from fst.inference.pixel_net import PixelNet
from fst.nets.style_card import Card, read_cards
from fst.nets.style_file import load_style, read_checked, save_style
from fst.nets.transformer_net import TransformerNet
from fst.system.paths import checkpoints_dir

from .conftest import picture

SHAPES = [(1, 16, 16), (1, 17, 31), (2, 65, 48), (3, 33, 18), (1, 98, 67)]


def pixels(batch: int, height: int, width: int) -> np.ndarray:
    images = [np.asarray(picture(width, height, seed=n)) for n in range(batch)]
    return np.stack(images).transpose(0, 3, 1, 2).copy()


def largest_difference(style: str | Path, options: GraphOptions, shape: tuple[int, ...]) -> int:
    net = PixelNet(load_style(style)[0])
    run = OnnxBackend(onnx_graph(*read_checked(style), options), threads=1)
    photo = pixels(*shape)
    with torch.inference_mode():
        expected = net(torch.from_numpy(photo)).numpy()
    got = run(photo)
    assert got.shape == expected.shape
    assert got.dtype == np.uint8
    return int(np.abs(got.astype(int) - expected).max())


@pytest.fixture(params=[("nearest", 0), ("bilinear", 2)], ids=str)
def style(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A net of random weights that uses its whole range."""
    upsampling, blocks = request.param
    torch.manual_seed(blocks)
    net = TransformerNet(width=4, residual_blocks=blocks, output_gain=0.1, upsampling=upsampling)
    net.conv2.conv.weight.data.mul_(20)
    net.remove_grid()
    save_style(tmp_path / "net.safetensors", net, Card(name="net", net={}), half=True)
    return tmp_path / "net.safetensors"


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_graph_is_the_net_at_any_size(style: Path, shape: tuple[int, ...]) -> None:
    assert largest_difference(style, GraphOptions(), shape) <= 1
    if shape[0] == 1:
        height, width = shape[1:]
        assert largest_difference(style, GraphOptions(size=(height, width)), shape) <= 1
    assert largest_difference(style, GraphOptions(means=True), shape) <= 1
    assert largest_difference(style, GraphOptions(blocks=True), shape) <= 1


@pytest.mark.parametrize("opset", [13, 15, 17, 19, 21, 23])
def test_every_opset_gives_the_same_picture(style: Path, opset: int) -> None:
    data = onnx_graph(*read_checked(style), GraphOptions(opset=opset))
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    assert [one.version for one in model.opset_import] == [opset]
    assert largest_difference(style, GraphOptions(opset=opset), (1, 37, 50)) <= 1


@pytest.mark.parametrize(
    "file", sorted(checkpoints_dir().glob("*.safetensors")), ids=lambda file: file.stem
)
def test_the_graph_of_every_shipped_style_is_its_net(file: Path) -> None:
    names = [card.name for card in read_cards(file)]
    styles = [file] if len(names) == 1 else [f"{file}:{names[0]}", f"{file}:{names[-1]}"]
    for one in styles:
        for options in (GraphOptions(), GraphOptions(blocks=True)):
            assert largest_difference(one, options, (1, 45, 62)) <= 1


def test_the_bytes_are_those_that_onnx_writes(style: Path) -> None:
    newest = onnx.defs.onnx_opset_version()
    for options in (GraphOptions(), GraphOptions(half=True), GraphOptions(size=(17, 300))):
        for opset, version in onnx_proto.IR_VERSIONS.items():
            if opset <= newest:
                data = onnx_graph(*read_checked(style), replace(options, opset=opset), {"ü": "é"})
                model = onnx.load_from_string(data)
                assert model.SerializeToString() == data
                opsets = [onnx.helper.make_opsetid("", opset)]
                assert onnx.helper.find_min_ir_version_for(opsets) == version == model.ir_version
                onnx.checker.check_model(model, full_check=True)


def test_a_card_without_its_upsampling_means_the_nearest(style: Path) -> None:
    card, data = read_checked(style)
    nearest = onnx_graph(Card(name="net", net={**card.net, "upsampling": "nearest"}), data)
    del card.net["upsampling"]
    assert onnx_graph(card, data) == nearest


def test_weights_of_16_bits_give_the_picture_of_32_to_the_bit(style: Path, tmp_path: Path) -> None:
    net, card = load_style(style)
    save_style(tmp_path / "whole.safetensors", net, card, half=False)
    graphs = [onnx_graph(*read_checked(file)) for file in (style, tmp_path / "whole.safetensors")]
    assert len(graphs[0]) < 0.7 * len(graphs[1])
    a, b = (OnnxBackend(graph, threads=1)(pixels(1, 50, 70)) for graph in graphs)
    assert (a == b).all()


def test_a_graph_of_one_size_computes_no_shapes(style: Path) -> None:
    card, data = read_checked(style)
    for options, there in ((GraphOptions(), True), (GraphOptions(size=(31, 48)), False)):
        model = onnx.load_from_string(onnx_graph(card, data, options))
        assert ("Shape" in {node.op_type for node in model.graph.node}) == there


@pytest.mark.parametrize("size", [(64, 48), (31, 45)], ids=str)
def test_opencv_4_runs_a_graph_of_one_size_and_5_of_any(style: Path, size: tuple[int, int]) -> None:
    photo = pixels(1, *size)
    any_size = [GraphOptions()] if int(cv2.__version__.split(".")[0]) >= 5 else []
    for options in [GraphOptions(size=size), *any_size]:
        graph = onnx_graph(*read_checked(style), options)
        net = cv2.dnn.readNetFromONNX(np.frombuffer(graph, np.uint8))
        net.setInput(photo)
        difference = net.forward().astype(int) - OnnxBackend(graph, threads=1)(photo)
        assert np.abs(difference).max() <= 1


def test_the_file_says_what_its_user_has_to_know(style: Path, tmp_path: Path) -> None:
    words = ["export", str(style), "--format", "onnx", "--opset", "15", "--size", "40x30"]
    assert main([*words, "-o", str(tmp_path / "net.onnx")]) == 0
    model = onnx.load(tmp_path / "net.onnx")
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert said["layout"] == "pixels, stylized: uint8 (batch, 3, height, width), RGB"
    assert (said["least_size"], said["opset"]) == ("16x16", "15")
    assert '"name": "net"' in said["card"]
    (photo,) = model.graph.input
    assert [d.dim_value for d in photo.type.tensor_type.shape.dim] == [1, 3, 40, 30]


def test_half_precision_is_judged_by_computing_in_it(
    tiny_style: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fst.inference.graph_file.PARITY_SHAPES", [(1, 24, 17)])
    words = [
        "export",
        str(tiny_style),
        "--format",
        "onnx",
        "--half",
        "-o",
        str(tmp_path / "half.onnx"),
    ]
    assert main(words) == 0
    kinds = {one.data_type for one in onnx.load(tmp_path / "half.onnx").graph.initializer}
    assert onnx.TensorProto.FLOAT16 in kinds

    def coarse(self: PixelNet, x: torch.Tensor) -> torch.Tensor:  # where float16 is off
        got = forward(self, x)
        half = self.net.conv1.conv.weight.dtype == torch.float16
        return got // 2 if half else got

    forward = PixelNet.forward
    monkeypatch.setattr(PixelNet, "forward", coarse)
    assert main([*words, "--force"]) == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--opset", "12"], "--opset 12 is not possible; use one of 13 to 28"),
        (["--size", "480"], "--size 480 is not HEIGHTxWIDTH in pixels"),
        (["--size", "15x480"], "--size 15x480 is smaller than 16 px a side"),
        (
            ["--format", "pt2", "--size", "48x48"],
            "--opset, --size and --floats are for --format onnx",
        ),
    ],
)
def test_what_a_graph_cannot_be_is_one_sentence(
    words: list[str],
    sentence: str,
    tiny_style: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(tiny_style), "--format", "onnx", *words]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
