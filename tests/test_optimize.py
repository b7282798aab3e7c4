"""fst optimize, whole, on a tiny network."""

import csv
import shlex
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from fst.cli import main
from fst.experiments.settings import compose
from fst.pictures.image import read_picture, to_tensor


@pytest.fixture
def words(
    tiny_vgg: Path, photos: Path, painting: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["fst"])
    return [
        "optimize", f"content={photos / 'photo_01.jpg'}", f"style.image={painting}",
        "loss_network=file", f"loss_network.file={tiny_vgg}", "style.size=64", "size=48",
        "iterations=6", "device=cpu",
    ]  # fmt: skip


def objective(folder: Path) -> list[dict[str, str]]:
    with open(folder / "objective.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_transparency_and_color_profile_are_kept(
    words: list[str], tmp_path: Path, photos: Path
) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    with Image.open(photos / "photo_01.jpg") as photo:
        photo.putalpha(Image.linear_gradient("L").resize(photo.size))
        photo.save("clear.png", icc_profile=profile)
    rest = [word for word in words if not word.startswith(("content=", "iterations="))]
    assert main([*rest, "content=clear.png", "iterations=1", "loss=relative"]) == 0
    with Image.open("runs/optimize/clear_swirl/clear_swirl.png") as picture:
        assert picture.mode == "RGBA"
        assert picture.getextrema()[3] != (255, 255)
        assert picture.info["icc_profile"] == profile


def test_the_objective_falls_and_the_picture_has_the_photos_proportions(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "loss=relative"]) == 0
    run = tmp_path / "runs" / "optimize" / "photo_01_swirl"
    with Image.open(run / "photo_01_swirl.png") as picture:
        assert picture.size == (62, 48)
    rows = objective(run)
    assert [int(row["iteration"]) for row in rows] == list(range(7))
    totals = [float(row["total"]) for row in rows]
    assert totals == sorted(totals, reverse=True)
    terms = [float(rows[-1][key]) for key in ("content", "style", "total_variation")]
    assert sum(terms) == pytest.approx(totals[-1], rel=1e-4)
    assert (run / "previews" / "48px_000006.jpg").exists()
    assert list(run.glob("events.out.tfevents.*"))
    assert (run / "config.yaml").exists()
    out = capsys.readouterr().out
    assert "tiny_vgg.safetensors" in out
    assert "iteration    6  total" in out
    assert main([*words, "loss=relative", "start=noise"]) == 0  # beside it, nothing is replaced
    assert (run.with_name("photo_01_swirl-2") / "photo_01_swirl.png").exists()


def test_several_scales_go_from_coarse_to_fine(words: list[str], tmp_path: Path) -> None:
    assert main([*words, "loss=relative", "size=[32,48]", "run_dir=made", "method=adam"]) == 0
    rows = objective(tmp_path / "made")
    assert [row["size"] for row in rows] == ["32"] * 7 + ["48"] * 7
    with Image.open(tmp_path / "made" / "photo_01_swirl.png") as picture:
        assert picture.size == (62, 48)


def test_another_picture_may_be_the_start(words: list[str], photos: Path, tmp_path: Path) -> None:
    other = photos / "photo_02.jpg"
    words = [*words, "loss=relative", "iterations=0", f"start={other}", "run_dir=made"]
    assert main(words) == 0
    made = to_tensor(read_picture(tmp_path / "made" / "photo_01_swirl.png").rgb)
    wanted = to_tensor(Image.open(other).convert("RGB").resize((62, 48)))
    assert (made - wanted).abs().mean() < 0.02


def test_a_higher_strength_loses_more_content(words: list[str], tmp_path: Path) -> None:
    ends = []
    for strength in (0.2, 0.5, 0.8):
        assert main([*words, f"style.strength={strength}", f"run_dir=s{strength}"]) == 0
        ends.append(objective(tmp_path / f"s{strength}")[-1])
    content = [float(row["content"]) for row in ends]
    assert content == sorted(content)
    assert content[0] < 0.9 * content[2]


def test_a_look_is_a_sheet_over_strength_and_size_with_the_commands_that_train_it(
    words: list[str],
    painting: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    strengths, sizes = (0.1, 0.9), (64, 128)  # few, and a quick solution for the weights
    for module in ("fst.evaluation.look", "fst.commands.optimize"):
        monkeypatch.setattr(f"{module}.STRENGTHS", strengths)
        monkeypatch.setattr(f"{module}.SIZES", sizes)
    monkeypatch.setattr("fst.loss.strength.ITERATIONS", 5)
    assert main([*words, "size=32", "look=true"]) == 0
    out = capsys.readouterr().out
    commands = [line.split(maxsplit=2)[2] for line in out.splitlines() if "fst train" in line]
    assert len(commands) == 4
    for command in (commands[0], commands[-1]):
        assert command.startswith(f"fst train {painting} PHOTOS loss=calibrated style.strength=")
    first = compose("train", shlex.split(commands[0])[4:])
    assert (first.style.strength, first.style.size) == (strengths[0], sizes[0])
    sheet = tmp_path / "runs" / "optimize" / "photo_01_swirl_look" / "photo_01_swirl_look.png"
    with Image.open(sheet) as picture:
        width, height = picture.size
        shown = np.asarray(picture.convert("RGB")).astype(int)
    row, column = height // 3, width // 2
    tiles = [shown[row * r :][:32, column * c :][:, :41] for r in (1, 2) for c in (0, 1)]
    assert all(np.abs(a - b).mean() > 0.5 for a, b in combinations(tiles, 2))


def test_a_look_needs_a_loss_that_knows_strength(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "look=true", "loss=relative"]) == 2
    assert "look=true goes through style.strength" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("content=nowhere.jpg", "nowhere.jpg does not exist"),
        ("start=nowhere.jpg", "start=nowhere.jpg is neither content nor noise"),
        ("size=3", "size=3 must be whole numbers of 16 or more"),
        ("method=sgd", "use one of lbfgs, adam"),
        ("style.strength=2", "style.strength=2 is not in 0 .. 1"),
        ("loss.content_distance=l1", "use one of mse, cosine"),
        ("clip_gradient=1", "needs method=adam"),
    ],
)
def test_a_mistake_is_one_sentence(
    words: list[str], word: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, word]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error
