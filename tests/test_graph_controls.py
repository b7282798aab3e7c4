"""Exported graphs that take strength, colors, mask and styles: numpy's controls, in one file."""

import hashlib
import json
import math
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from safetensors.numpy import save

from fst import Stylizer
from fst.cli import main
from fst.inference import backends
from fst.inference.backends import OnnxBackend, installed
from fst.inference.graph_controls import INPUTS
from fst.inference.graph_file import Run, load_onnx
from fst.inference.onnx_graph import GraphOptions, onnx_graph
from fst.inference.pt2_file import load_pt2
from fst.nets.card_schema import shapes_of
from fst.nets.style_card import Card
from fst.nets.style_file import read_checked

from .conftest import picture

ALL = tuple(INPUTS)
AS_BEFORE = "79bb389cb17e174653e8dcdb86c9984fb515fe2aea4d481ae41447529b83905e"
Settings = dict[str, np.ndarray]


def pixels(batch: int, height: int, width: int) -> np.ndarray:
    images = [np.asarray(picture(width, height, seed=n)) for n in range(batch)]
    return np.stack(images).transpose(0, 3, 1, 2).copy()


def settings(count: int, batch: int, height: int, width: int) -> list[Settings]:
    generator = np.random.default_rng(0)
    mask = np.tile(generator.integers(0, 256, (1, 1, height, width), np.uint8), (batch, 1, 1, 1))
    return [
        {
            "strength": generator.random(1, dtype=np.float32),
            "colors": generator.random(1, dtype=np.float32),
            "mask": mask,
            "styles": generator.random(3, dtype=np.float32),
        }
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def graphs(several: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of both formats with every input, exported once."""
    folder = tmp_path_factory.mktemp("graphs")
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr("fst.inference.graph_file.PARITY_SHAPES", [(2, 17, 31)])
    made = {kind: folder / f"several.{kind}" for kind in ("pt2", "onnx")}
    for kind, path in made.items():
        words = [
            "export",
            str(several),
            "--format",
            kind,
            "--inputs",
            "styles,mask,colors,strength",
        ]
        assert main([*words, "-o", str(path)]) == 0
    monkeypatch.undo()
    return made


@pytest.fixture(scope="module")
def runs(graphs: dict[str, Path]) -> dict[str, Run]:
    """What they do, loaded once."""
    return {
        "pt2": load_pt2(graphs["pt2"].read_bytes()),
        "onnx": load_onnx(graphs["onnx"].read_bytes()),
    }


@pytest.mark.parametrize(("kind", "backend"), [("pt2", "torch"), ("onnx", "onnx")])
def test_a_graph_is_the_stylizer_at_ten_settings(
    kind: str,
    backend: str,
    runs: dict[str, Run],
    several: Path,
) -> None:
    photo = pixels(2, 37, 50)
    stylizer = Stylizer(f"{several}:red", device="cpu", backend=backend)
    for given in settings(10, *photo[:, 0].shape):
        shares = dict(zip(("red", "green", "blue"), map(float, given["styles"]), strict=True))
        expected = stylizer(
            photo,
            strength=float(given["strength"][0]),
            keep_colors=float(given["colors"][0]),
            mask=given["mask"][0, 0],
            styles=shares,
        )
        got = runs[kind](photo, **given).astype(int)
        assert np.abs(got - expected).max() <= 1


@pytest.mark.parametrize("kind", ["pt2", "onnx"])
def test_its_ends_are_the_photos_bytes_and_the_plain_pictures(
    kind: str, runs: dict[str, Run]
) -> None:
    run, photo = runs[kind], pixels(2, 33, 47)
    (given,) = settings(1, *photo[:, 0].shape)
    nothing, everything = np.zeros_like(given["mask"]), np.full_like(given["mask"], 255)
    for change in (
        {"strength": np.float32([0])},
        {"mask": nothing},
        {"strength": np.float32([-3])},
    ):
        assert (run(photo, **{**given, **change}) == photo).all()
    whole = {"strength": np.float32([1]), "colors": np.float32([0]), "mask": everything}
    whole["styles"] = np.float32([0, 0.5, 0])
    beyond = {**whole, "strength": np.float32([7]), "styles": np.float32([-1, 3, 0])}
    assert (run(photo, **whole) == run(photo, **beyond)).all()


def test_strength_1_is_the_plain_graph_to_the_bit(several: Path) -> None:
    style, photo = read_checked(f"{several}:green"), pixels(1, 33, 47)
    plain = OnnxBackend(onnx_graph(*style), threads=1)(photo)
    for inputs in (("strength",), ("colors",), ("mask",), ALL[:3]):
        graph = onnx_graph(*style, GraphOptions(inputs=inputs))
        ends = {"strength": np.float32([1]), "colors": np.float32([0])}
        ends["mask"] = np.full((1, 1, 33, 47), 255, np.uint8)
        run = OnnxBackend(graph, threads=1)
        assert (run(photo, **{name: ends[name] for name in inputs}) == plain).all()


@pytest.mark.parametrize("opset", [13, 18, 21])
@pytest.mark.parametrize("size", [None, (33, 47)])
def test_every_opset_has_the_controls(
    opset: int,
    size: tuple[int, int] | None,
    several: Path,
) -> None:
    options = GraphOptions(opset=opset, size=size, inputs=ALL[:3])
    data = onnx_graph(*read_checked(f"{several}:green"), options)
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    assert model.SerializeToString() == data
    photo = pixels(1, 33, 47)
    given = settings(1, 1, 33, 47)[0]
    given.pop("styles")
    expected = Stylizer(f"{several}:green", backend="onnx")(
        photo,
        strength=float(given["strength"][0]),
        keep_colors=float(given["colors"][0]),
        mask=given["mask"][0, 0],
    )
    assert np.abs(OnnxBackend(data, threads=1)(photo, **given).astype(int) - expected).max() <= 1


@pytest.mark.skipif(not installed("openvino"), reason="openvino is not installed")
def test_openvino_runs_the_controls(graphs: dict[str, Path]) -> None:
    data, photo = graphs["onnx"].read_bytes(), pixels(1, 33, 47)
    run, other = backends.OpenVinoBackend(data, threads=1), OnnxBackend(data, threads=1)
    (given,) = settings(1, 1, 33, 47)
    assert (run(photo, **{**given, "strength": np.float32([0])}) == photo).all()
    assert (run(photo, **{**given, "mask": np.zeros_like(given["mask"])}) == photo).all()
    whole = {**given, "strength": np.float32([1]), "colors": np.float32([0])}
    whole["mask"] = np.full_like(given["mask"], 255)
    assert np.abs(run(photo, **whole).astype(int) - other(photo, **whole)).max() <= 1
    off = np.abs(run(photo, **given).astype(int) - other(photo, **given))
    assert np.mean(off > 1) < 2e-4


def test_a_file_says_what_it_takes(graphs: dict[str, Path]) -> None:
    model = onnx.load(graphs["onnx"])
    assert [one.name for one in model.graph.input] == ["pixels", *ALL]
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(said["styles"]) == ["red", "green", "blue"]
    assert list(json.loads(said["inputs"])) == list(ALL)
    with zipfile.ZipFile(graphs["pt2"]) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith("styles.json")]
        assert json.loads(archive.read(name)) == ["red", "green", "blue"]


def test_without_inputs_a_graph_is_what_it_was() -> None:
    """The bytes that the version before there were inputs wrote."""
    net = {"width": 2, "residual_blocks": 1, "output_gain": 0.1, "upsampling": "bilinear"}
    tensors = {
        name: (np.arange(math.prod(shape)).reshape(shape) % 7 / 16).astype(np.float16)
        for name, shape in shapes_of(net).items()
    }
    data = onnx_graph(Card(name="before", net=net), save(tensors))
    assert hashlib.sha256(data).hexdigest() == AS_BEFORE


@pytest.mark.parametrize(
    ("style", "inputs", "sentence"),
    [
        ("tiny", "size", "--inputs size is unknown; use some of strength,colors,mask,styles"),
        ("tiny", "styles", "holds one painting, and a blend is between those of one net"),
        ("several:red", "styles", "names one painting, and a blend several"),
        ("several", "mask", "holds 3 styles; name one"),
    ],
)
def test_inputs_that_cannot_be_are_one_sentence(
    style: str,
    inputs: str,
    sentence: str,
    tiny_style: Path,
    several: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    path = {"tiny": str(tiny_style), "several": str(several), "several:red": f"{several}:red"}
    assert main(["export", path[style], "--format", "onnx", "--inputs", inputs]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
