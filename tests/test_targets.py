"""`fst export --for`: what would fail in another program is refused, or written as it needs it."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from fst.cli import main
from fst.errors import FstError
from fst.inference.backends import OnnxBackend
from fst.inference.onnx_graph import GraphOptions, onnx_graph
from fst.inference.onnx_read import Node, Value, read_graph
from fst.inference.targets import TARGETS, require_runnable, suited
from fst.nets.style_card import Card
from fst.nets.style_file import read_checked, read_whole

from .conftest import picture

PIXELS = (1, 3, 8, 8)


def graph(
    *nodes: onnx.NodeProto,
    kind: int = TensorProto.FLOAT,
    opset: int = 13,
    constants: tuple[str, ...] = (),
) -> bytes:
    """A graph from x to y of other people's nodes."""
    ends = [helper.make_tensor_value_info(name, kind, PIXELS) for name in ("x", "y")]
    known = [helper.make_tensor(name, TensorProto.FLOAT, [3], [1, 1, 1]) for name in constants]
    model = helper.make_graph(nodes, "g", ends[:1], ends[1:], known)
    return helper.make_model(
        model, opset_imports=[helper.make_opsetid("", opset)]
    ).SerializeToString()


RELU = helper.make_node("Relu", ["x"], ["y"])
NORM = helper.make_node("InstanceNormalization", ["x", "a", "b"], ["y"])
SHIFTED = [helper.make_node("Add", ["a", "a"], ["c"]), helper.make_node("Relu", ["x"], ["z"])]
SHIFTED += [helper.make_node("InstanceNormalization", ["z", "a", "c"], ["y"])]
CAST = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.UINT8)


@pytest.mark.parametrize(
    ("target", "data", "sentence"),
    [
        ("opencv", graph(helper.make_node("LRN", ["x"], ["y"], size=3)), "no operator LRN"),
        ("opencv", graph(RELU, opset=11), "OpenCV 4 reads opsets 13 to 28, and not 11"),
        ("opencv", graph(helper.make_node("Shape", ["x"], ["y"])), "give --size HEIGHTxWIDTH"),
        ("unity", graph(CAST, kind=TensorProto.UINT8), "takes no uint8, which x is"),
        ("unity", graph(RELU, opset=6), "Unity's Sentis reads opsets 7 to 25, and not 6"),
        ("unity", graph(RELU, kind=TensorProto.DOUBLE), "takes no float64"),
        ("tensorrt", graph(RELU, opset=8), "TensorRT reads opsets 9 to 25, and not 8"),
        ("tensorrt", graph(RELU, kind=TensorProto.UINT8), "into Cast alone, and x goes into Relu"),
        ("tensorrt", graph(*SHIFTED, constants=("a",)), "instance norms as constants"),
    ],
)
def test_what_a_target_cannot_run_is_refused(target: str, data: bytes, sentence: str) -> None:
    with pytest.raises(FstError, match=sentence):
        require_runnable(TARGETS[target], data)


def test_what_it_can_run_is_not() -> None:
    for target in ("opencv", "unity", "tensorrt"):
        require_runnable(TARGETS[target], graph(RELU))
        require_runnable(TARGETS[target], graph(NORM, constants=("a", "b")))
    require_runnable(TARGETS["tensorrt"], graph(CAST, kind=TensorProto.UINT8))


def test_a_graph_is_read_as_onnx_reads_it(tiny_style: Path) -> None:
    options = GraphOptions(inputs=("strength", "colors", "mask"), opset=21)
    data = onnx_graph(*read_checked(tiny_style), options, {"other": "é"})
    ours, theirs = read_graph(data), onnx.load_from_string(data)
    assert ours.opset == 21
    assert ours.nodes == [
        Node(one.op_type, tuple(one.input), tuple(one.output)) for one in theirs.graph.node
    ]
    assert [*ours.constants] == [one.name for one in theirs.graph.initializer]
    assert {"float16", "float32", "int64"} == {*ours.constants.values()}
    assert ours.inputs[0] == Value("pixels", "uint8", ("batch", 3, "height", "width"))
    assert ours.inputs[1] == Value("strength", "float32", (1,))
    assert [one.name for one in ours.outputs] == ["stylized"]


def test_all_graphs_of_ours_have_only_operators_of_the_table(several: Path) -> None:
    cards, data = read_whole(several)
    card = Card(name="several", net=cards[0].net)
    every = ("strength", "colors", "mask", "styles")
    kinds = {
        one.kind for one in read_graph(onnx_graph(card, data, GraphOptions(inputs=every))).nodes
    }
    assert kinds <= TARGETS["unity"].operators


@pytest.mark.parametrize(
    ("target", "words", "check"),
    [
        ("opencv", ["--size", "40x33"], lambda g: g.inputs[0].shape == (1, 3, 40, 33)),
        ("unity", [], lambda g: g.opset == 15 and g.inputs[0].kind == "float32"),
        ("tensorrt", [], lambda g: "Cast" not in {n.kind for n in g.nodes[2:-1]}),
    ],
)
def test_the_settings_a_target_needs_are_chosen(
    target: str,
    words: list[str],
    check: object,
    tiny_style: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fst.inference.graph_file.PARITY_SHAPES", [(2, 17, 31)])
    path = tmp_path / "t.onnx"
    assert main(["export", str(tiny_style), "--for", target, *words, "-o", str(path)]) == 0
    assert check(read_graph(path.read_bytes()))  # type: ignore[operator]
    onnx.checker.check_model(onnx.load(path), full_check=True)


@pytest.mark.parametrize("inputs", [(), ("strength", "colors", "mask")], ids=str)
@pytest.mark.parametrize("half", [False, True])
def test_floats_are_the_same_levels(inputs: tuple[str, ...], half: bool, tiny_style: Path) -> None:
    """As 255ths, to the bit; and so is what stores its weights widened."""
    style, options = read_checked(tiny_style), GraphOptions(inputs=inputs, half=half)
    photo = np.asarray(picture(31, 22, seed=1)).transpose(2, 0, 1)[None].copy()
    mask = photo[:, :1].copy()
    given = {"strength": np.float32([0.7]), "colors": np.float32([0.4]), "mask": mask}
    given = {name: given[name] for name in inputs}
    expected = OnnxBackend(onnx_graph(*style, options), threads=1)(photo, **given)
    wide = OnnxBackend(onnx_graph(*style, replace(options, wide=True)), threads=1)
    assert (wide(photo, **given) == expected).all()
    if inputs:
        given["mask"] = mask / np.float32(255)
    floats = OnnxBackend(onnx_graph(*style, replace(options, floats=True)), threads=1)
    got = floats(photo / np.float32(255), **given)
    assert got.dtype == np.float32
    assert (got == expected / np.float32(255)).all()


def test_opencv_runs_what_is_written_for_it(tiny_style: Path) -> None:
    options = GraphOptions(size=(33, 46), inputs=("strength", "mask"))
    data = onnx_graph(*read_checked(tiny_style), suited(TARGETS["opencv"], options))
    require_runnable(TARGETS["opencv"], data)
    photo = np.asarray(picture(46, 33, seed=1)).transpose(2, 0, 1)[None].copy()
    given = {"strength": np.float32([0.6]), "mask": photo[:, :1].copy()}
    net = cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8))
    net.setInput(photo, "pixels")
    for name, value in given.items():
        net.setInput(value, name)
    off = net.forward().astype(int) - OnnxBackend(data, threads=1)(photo, **given)
    assert np.abs(off).max() <= 1


def test_a_target_keeps_what_was_asked_for() -> None:
    asked = GraphOptions(opset=21, size=(32, 48), inputs=("mask",))
    for target in ("opencv", "unity", "tensorrt"):
        options = suited(TARGETS[target], asked)
        assert replace(options, floats=False, wide=False) == asked


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "say which file is wanted: --format pt2|onnx|aoti|coreml|web, or"),
        (["--for", "opencv"], "OpenCV 4 has no operator Shape as it is used here; give --size"),
        (["--for", "opencv", "--size", "40x40", "--inputs", "colors"], "leave colors out"),
        (["--for", "opencv", "--size", "40x40", "--half"], "reads no float16, which"),
        (["--for", "unity", "--opset", "27"], "Unity's Sentis reads opsets 7 to 25, and not 27"),
        (["--for", "unity", "--format", "pt2"], "does not run what --format pt2 writes"),
        (["--for", "coreml", "--format", "onnx"], "--for coreml is --format coreml"),
        (["--for", "coreml"], "--format coreml is for photos of one size; give --size"),
        (["--format", "pt2", "--floats"], "--opset, --size and --floats are for --format onnx"),
    ],
)
def test_a_wish_that_cannot_be_is_one_sentence(
    words: list[str],
    sentence: str,
    tiny_style: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(tiny_style), *words]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_strengths_inside_the_net_are_refused_for_tensorrt(
    several: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--for", "tensorrt", "--inputs", "styles", "-o", str(tmp_path / "s.onnx")]
    assert main(["export", str(several), *words]) == 2
    assert "leave strength and styles out of --inputs" in capsys.readouterr().err
