"""Nets that are trained to take a strength: norms, loss, file, stylizer, graphs, training."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from fst import FstError, Stylizer
from fst.cli import main
from fst.experiments.run_folder import RunFolder
from fst.experiments.warm_start import Start
from fst.inference.backends import installed
from fst.inference.controlled_net import ControlledNet
from fst.inference.controls import Controls
from fst.inference.graph_file import load_onnx
from fst.inference.pt2_file import load_pt2, pack_pt2
from fst.loss.loss_network_file import load_loss_network
from fst.loss.perceptual_loss import PerceptualLoss, Weights
from fst.loss.strengths_loss import losses_at, strength_of, weights_at
from fst.nets.blend import read_style
from fst.nets.style_card import Card, read_card
from fst.nets.style_file import built, load_style, save_style
from fst.nets.transformer_net import TransformerNet
from fst.pictures.image import read_picture
from fst.system.installed import is_here

from .conftest import Train, picture


def net_with_ends(*, scale: float = 20) -> TransformerNet:
    """A net whose two ends differ, and whose pictures are not all gray."""
    torch.manual_seed(3)
    net = TransformerNet(
        width=4, residual_blocks=1, output_gain=0.1, upsampling="bilinear", strengths=True
    )
    net.conv2.conv.weight.data.mul_(scale)
    net.remove_grid()
    for norm in net.norms():
        torch.nn.init.normal_(norm.weight, 1, 0.5)
        torch.nn.init.normal_(norm.bias, 0, 0.5)
    return net.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ends") / "ends.safetensors"
    save_style(path, net_with_ends(), Card(name="ends", net={}), half=False)
    return path


@pytest.fixture
def photo() -> np.ndarray:
    return np.asarray(picture(40, 30, seed=1))


def test_a_strength_lies_between_two_ends_of_scales_and_shifts() -> None:
    net, photos = net_with_ends(), torch.rand(3, 3, 33, 35)
    made = net(photos, torch.tensor([0.0, 0.4, 1.0]))
    for place, strength in enumerate((0.0, 0.4, 1.0)):
        alone = net(photos[place : place + 1], torch.tensor([strength]))
        torch.testing.assert_close(made[place : place + 1], alone)
    torch.testing.assert_close(made[2:], net(photos[2:]))  # without one, the whole strength
    assert (net(photos, torch.zeros(3)) - net(photos)).abs().max() > 0.01


def test_its_mixed_picture_ends_at_the_photo_and_at_the_nets_own() -> None:
    net, photos = net_with_ends(), torch.rand(2, 3, 32, 32)
    mixed = net.at_strength(photos, torch.tensor([0.0, 1.0]))
    assert torch.equal(mixed[0], photos[0])
    assert torch.equal(mixed[1], net(photos, torch.tensor([0.0, 1.0]))[1])


def test_strengths_are_drawn_from_all_of_0_to_1_and_the_whole_one_often() -> None:
    drawn = [strength_of(sample, seed=5) for sample in range(400)]
    assert drawn == [strength_of(sample, seed=5) for sample in range(400)]
    assert drawn != [strength_of(sample, seed=6) for sample in range(400)]
    assert all(sum(s == 1 for s in drawn[k : k + 4]) == 1 for k in range(0, 400, 4))
    rest = np.sort([s for s in drawn if s < 1])
    assert np.abs(rest - np.linspace(0, 1, 300)).max() < 0.06


def test_each_photo_has_the_weights_of_its_strength(tiny_vgg: Path) -> None:
    torch.manual_seed(0)
    loss = PerceptualLoss(
        network=load_loss_network(name="file", file=str(tiny_vgg)),
        style_image=torch.rand(1, 3, 64, 64),
        content_layers={"relu3_3": 1},
        style_layers={"relu1_2": 1, "relu2_2": 1},
        content_weight=1,
        style_weight=3,
        tv_weight=1e-6,
        relative=True,
    )
    assert weights_at(loss.weights, 1) == loss.weights
    assert weights_at(loss.weights, 0) == Weights(1, 0, 0)
    stylized, content = torch.rand(2, 3, 3, 32, 32)
    found = losses_at(loss, stylized, content, [0.0, 0.3, 1.0])
    alone = [
        loss.reweighted(weights_at(loss.weights, s))(stylized[k : k + 1], content[k : k + 1])
        for k, s in enumerate((0.0, 0.3, 1.0))
    ]
    for term in ("content", "style", "total_variation", "total"):
        wanted = torch.stack([getattr(one, term) for one in alone]).mean()
        torch.testing.assert_close(getattr(found, term), wanted)


def test_its_file_says_so_and_holds_both_ends(file: Path) -> None:
    net, card = load_style(file)
    assert card.net["strengths"] is True
    assert (net.strengths, card.format_version) == (True, 3)
    x = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(net(x, torch.tensor([0.3])), net_with_ends()(x, torch.tensor([0.3])))
    for strength in (0.0, 0.3, 1.0):
        ordinary, data = read_style(file, strength=strength)
        assert "strengths" not in ordinary.net
        made = built(file, data, ordinary.net)(x)
        torch.testing.assert_close(made, net(x, torch.tensor([strength])))


@pytest.mark.parametrize("backend", ["torch", "onnx", "openvino"])
def test_the_strength_of_a_stylizer_goes_into_the_net(
    backend: str, file: Path, photo: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    if not installed(backend):
        pytest.skip(f"{backend} is not installed")
    stylizer, net = Stylizer(file, device="cpu", backend=backend), net_with_ends()
    whole = stylizer(photo)
    assert (stylizer(photo, strength=0) == photo).all()
    assert (stylizer(photo, strength=1) == whole).all()
    x = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None] / 255
    for strength in (0.3, 0.7):
        expected = 255 * net.at_strength(x, torch.tensor([strength]))[0].permute(1, 2, 0).numpy()
        made = stylizer(photo, strength=strength)
        assert np.abs(made - expected).max() <= 1.01
        mix = strength * whole + (1 - strength) * photo
        assert np.abs(made - mix).max() > 3
    mask = np.zeros((30, 40), np.uint8)
    mask[:, 20:] = 255
    part = stylizer(photo, strength=0.3, mask=mask)
    assert (part[:, :20] == photo[:, :20]).all()
    assert (part[:, 20:] == stylizer(photo, strength=0.3)[:, 20:]).all()
    assert "mixed" not in capsys.readouterr().err


def test_tiles_and_strips_take_the_strength_too(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(90, 70, seed=2).save(tmp_path / "photo.png")
    photo = np.asarray(read_picture(tmp_path / "photo.png").rgb)
    whole = Stylizer(file, device="cpu", tiles="off")(photo, strength=0.4).astype(int)
    monkeypatch.setattr("fst.inference.tiling.LEAST_TILE", 32)
    monkeypatch.setattr("fst.inference.tile_budget.TILES", (32,))
    assert np.abs(Stylizer(file, device="cpu", tiles=32)(photo, strength=0.4) - whole).max() <= 1
    if not is_here("pyvips"):
        return  # then there are no strips
    monkeypatch.setattr("fst.inference.huge_choice.STRIPS_FROM", 0)
    monkeypatch.setattr("fst.inference.stylizer.Stylizer.picture", None)
    words = ["--style", str(file), "--strength", "0.4", "-o", str(tmp_path / "made.png")]
    assert main(["stylize", str(tmp_path / "photo.png"), *words]) == 0
    made = np.asarray(read_picture(tmp_path / "made.png").rgb)
    assert np.abs(made - whole).max() <= 1


def test_a_file_that_takes_no_strength_says_that_pixels_are_mixed(
    tiny_style: Path,
    photo: np.ndarray,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fst.system.console._NOTED", set())
    stylizer = Stylizer(tiny_style, device="cpu")
    for strength in (0, 1, 0.5, 0.6):
        stylizer(photo, strength=strength)
    said = [line for line in capsys.readouterr().err.splitlines() if "strength" in line]
    assert len(said) == 1
    assert "tiny was not trained to take a strength" in said[0]


def test_a_program_takes_the_strength_as_the_stylizer_does(file: Path, photo: np.ndarray) -> None:
    pixel_net = ControlledNet(load_style(file)[0], ["strength"]).eval()
    run = load_pt2(pack_pt2(pixel_net)({}))  # as fst export does, without its own comparison
    pixels = photo.transpose(2, 0, 1)[None].copy()
    stylizer = Stylizer(file, device="cpu", backend="torch")
    for strength in np.linspace(0, 1, 5):
        made = run(pixels, strength=np.float32([strength]))
        expected = stylizer.pixels(pixels, Controls(strength=float(strength)))
        assert np.abs(made.astype(int) - expected).max() <= 1, strength
    assert (run(pixels, strength=np.float32([0])) == pixels).all()


@pytest.mark.parametrize(
    ("inputs", "words"), [("strength,colors,mask", []), ("strength", ["--half"])]
)
@pytest.mark.skipif(not installed("onnx"), reason="onnxruntime is not installed")
def test_a_graph_takes_the_strength_as_the_stylizer_does(
    inputs: str,
    words: list[str],
    file: Path,
    tmp_path: Path,
    photo: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fst.inference.graph_file.PARITY_SHAPES", [(2, 17, 31)])
    path = tmp_path / "ends.onnx"
    words = ["--inputs", inputs, *words]
    assert main(["export", str(file), "--format", "onnx", "-o", str(path), *words]) == 0
    run = load_onnx(path.read_bytes())
    pixels = photo.transpose(2, 0, 1)[None].copy()
    mask = np.linspace(0, 255, 40).astype(np.uint8)[None].repeat(30, axis=0)
    more = {"colors": np.float32([0]), "mask": mask[None, None]} if "mask" in inputs else {}
    stylizer = Stylizer(file, device="cpu", backend="torch")
    for strength in np.linspace(0, 1, 10):
        made = run(pixels, strength=np.float32([strength]), **more)
        expected = stylizer(photo, strength=float(strength), mask=mask if more else None)
        difference = np.abs(made[0].transpose(1, 2, 0).astype(int) - expected)
        assert difference.max() <= 1, strength
    assert (run(pixels, strength=np.float32([0]), **more) == pixels).all()


def test_a_graph_without_that_input_is_the_whole_strength(
    file: Path, tmp_path: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fst.inference.graph_file.PARITY_SHAPES", [(2, 17, 31)])
    path = tmp_path / "ends.onnx"
    assert main(["export", str(file), "--format", "onnx", "-o", str(path)]) == 0
    pixels = photo.transpose(2, 0, 1)[None].copy()
    made = load_onnx(path.read_bytes())(pixels)
    expected = Stylizer(file, device="cpu", backend="torch").pixels(pixels)
    assert np.abs(made.astype(int) - expected).max() <= 1


def test_a_warm_start_gives_both_ends_the_same_and_takes_the_paintings(tmp_path: Path) -> None:
    ends, ordinary = net_with_ends(), net_with_ends()
    card = Card(name="ends", net=ends.arguments)
    plain = TransformerNet(width=4, residual_blocks=1, output_gain=0.1, upsampling="bilinear")
    Start(ends, [card], tmp_path / "ends.safetensors").put_into(plain, ["ends"])
    x = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(plain.eval()(x), ends(x))
    Start(plain, [card], tmp_path / "plain.safetensors").put_into(ordinary, ["ends"])
    for strength in (0.0, 0.4, 1.0):
        torch.testing.assert_close(ordinary(x, torch.tensor([strength])), plain(x))


def test_a_run_with_strengths_resumes_to_the_same_bytes_and_makes_a_style(
    train: Train, tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("net.strengths=true", "run_dir=run") == 0
    run = RunFolder(Path("run"))
    whole = read_card(run.style_file("swirl"))
    run.style_file("swirl").unlink()
    run.checkpoints.path(6).unlink()
    run.checkpoints.best.unlink(missing_ok=True)
    assert train("net.strengths=true", "run_dir=run") == 0
    assert "resuming from step 3" in capsys.readouterr().out
    net, card = load_style(run.style_file("swirl"))
    assert card.sha256 == whole.sha256
    assert any(not torch.equal(*norm.weight) for norm in net.norms())  # the ends have parted
    assert main(["info", "run/swirl.safetensors", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["net"]["strengths"] is True
    photo = str(sorted(photos.glob("*.jpg"))[0])
    words = ["--style", "run/swirl.safetensors", "--strength", "0.5", "--backend", "torch"]
    assert main(["stylize", photo, *words, "-o", "made.png"]) == 0
    assert Path("made.png").exists()


def test_what_cannot_take_strengths_says_so(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("net.strengths=true", "compile=true", "compile_mode=reduce-overhead") == 2
    assert "with net.strengths=true each is another" in capsys.readouterr().err
    with pytest.raises(FstError, match=r"net\.strengths=true is for a net of one painting"):
        TransformerNet(width=4, residual_blocks=1, output_gain=0.1, paintings=2, strengths=True)
