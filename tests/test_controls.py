"""Strength, colors, mask and blend: what they keep to the byte, and what they mean."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fst import FstError, Stylizer
from fst.cli import main
from fst.inference.controls import Controls, controlled, mask_of, read_mask
from fst.nets.blend import read_blend
from fst.nets.style_file import arrays_of, load_styles, read_checked
from fst.pictures.kept_colors import colors_kept

from .conftest import picture

TO_LMS = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566]]
TO_LMS += [[0.0883024619, 0.2817188376, 0.6299787005]]
TO_LAB = [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099]]
TO_LAB += [[0.0259040371, 0.7827717662, -0.8086757660]]


def oklab(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """uint8 sRGB (3, N) -> lightness, chroma, hue in degrees, in float64."""
    value = pixels / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    lightness, a, b = np.array(TO_LAB) @ np.cbrt(np.array(TO_LMS) @ linear)
    return lightness, np.hypot(a, b), np.degrees(np.arctan2(b, a))


def kept(stylized: np.ndarray, photo: np.ndarray) -> np.ndarray:
    return np.rint(colors_kept(stylized, photo)).astype(np.uint8)


@pytest.fixture(scope="module")
def chart() -> np.ndarray:
    """Every color of 12 levels a channel, (3, 1728)."""
    levels = np.linspace(0, 255, 12).round().astype(np.uint8)
    return np.stack(np.meshgrid(levels, levels, levels)).reshape(3, -1)


@pytest.fixture
def photo() -> np.ndarray:
    return np.asarray(picture(40, 30, seed=1))


def test_at_its_defaults_a_control_does_nothing_at_all(photo: np.ndarray) -> None:
    pixels = photo.transpose(2, 0, 1)[None]
    assert controlled(pixels, pixels, Controls()) is pixels


def test_strength_runs_from_the_photos_own_bytes_to_the_pictures(
    tiny_style: Path, photo: np.ndarray
) -> None:
    stylizer = Stylizer(tiny_style)
    whole = stylizer(photo)
    steps = [stylizer(photo, strength=k / 10) for k in range(11)]
    assert (steps[0] == photo).all()
    assert (steps[10] == whole).all()
    moved = [np.abs(step.astype(int) - photo).mean() for step in steps]
    assert all(a < b for a, b in pairwise(moved))
    half = 0.5 * whole + 0.5 * photo
    assert np.abs(steps[5] - half).max() <= 0.5


def test_a_mask_leaves_the_photo_where_it_is_black(tiny_style: Path, photo: np.ndarray) -> None:
    stylizer, mask = Stylizer(tiny_style), np.zeros((30, 40), np.uint8)
    mask[:, 10:20], mask[:, 20:] = 100, 255
    whole, made = stylizer(photo), stylizer(photo, mask=mask)
    assert (made[:, :10] == photo[:, :10]).all()
    assert (made[:, 20:] == whole[:, 20:]).all()
    part = np.float32(100 / 255)
    assert np.abs(made - (part * whole + (1 - part) * photo))[:, 10:20].max() <= 0.51
    weaker = stylizer(photo, mask=mask, strength=0.5)
    assert (weaker[:, 20:] == stylizer(photo, strength=0.5)[:, 20:]).all()
    tensor = torch.from_numpy(photo.copy())
    assert (stylizer([tensor], mask=mask)[0].numpy() == made).all()
    assert (np.asarray(stylizer(Image.fromarray(photo), mask=Image.fromarray(mask))) == made).all()


def test_a_photos_own_transparency_can_be_the_mask(tiny_style: Path, photo: np.ndarray) -> None:
    image = Image.fromarray(photo).convert("RGBA")
    image.putalpha(Image.fromarray(np.tile(np.repeat(np.uint8([0, 255]), 20), (30, 1))))
    made = np.asarray(Stylizer(tiny_style)(image, mask="alpha"))
    assert (made[:, :20, :3] == photo[:, :20]).all()
    assert (made[:, 20:, :3] == Stylizer(tiny_style)(photo)[:, 20:]).all()
    with pytest.raises(FstError, match="has no transparency that could be its mask"):
        Stylizer(tiny_style)(photo, mask="alpha")


def test_a_mask_is_a_picture_of_the_photos_shape_at_any_size(tmp_path: Path) -> None:
    half = Image.fromarray(np.repeat(np.uint8([[0, 255]]), 15, axis=0).repeat(10, axis=1))  # 20x15
    assert mask_of(half, None, 40, 30).shape == (30, 40)
    assert set(mask_of(half, None, 40, 30)[:, [0, 39]].ravel()) == {0, 255}
    assert mask_of(half, None, 41, 30).shape == (30, 41)  # its sides were rounded
    with pytest.raises(FstError, match="mask has 20x15 px, which is not the shape of the photo"):
        mask_of(half, None, 30, 40)
    turned = half.getexif()
    turned[0x0112] = 6  # a quarter turn
    half.save(tmp_path / "turned.png", exif=turned)
    assert read_mask(tmp_path / "turned.png").size == (15, 20)
    Image.new("LA", (20, 15), (255, 0)).save(tmp_path / "clear.png")
    assert read_mask(tmp_path / "clear.png").getextrema() == (0, 0)


@pytest.mark.parametrize("level", [30, 80, 128, 180, 230])
def test_the_lightness_is_the_pictures_and_the_hue_the_photos(
    chart: np.ndarray, level: int
) -> None:
    gray = np.full_like(chart, level)
    lightness, chroma, hue = oklab(kept(gray, chart))
    assert np.abs(lightness - oklab(gray)[0]).max() < 0.005
    _, photos_chroma, photos_hue = oklab(chart)
    turned = np.abs((hue - photos_hue + 180) % 360 - 180)
    there = (chroma > photos_chroma - 0.01) & (photos_chroma > 0.04)  # colors that sRGB has
    assert there.sum() > 100
    assert turned[there].max() < 5
    seen = (chroma > 0.04) & (photos_chroma > 0.04)
    assert turned[seen].mean() < 7
    assert np.percentile(turned[seen], 90) < 20
    assert (chroma <= photos_chroma + 0.01).all()


def test_the_colors_of_a_picture_of_itself_are_the_picture(chart: np.ndarray) -> None:
    assert (kept(chart, chart) == chart).all()
    gray = np.repeat(np.arange(256, dtype=np.uint8)[None], 3, axis=0)
    assert np.ptp(kept(np.resize(chart, gray.shape), gray), axis=0).max() <= 1


def test_part_of_the_colors_is_a_part_of_the_way(tiny_style: Path, photo: np.ndarray) -> None:
    stylizer = Stylizer(tiny_style)
    none, part, whole = (stylizer(photo, keep_colors=k).astype(int) for k in (0, 0.3, 1))
    assert np.abs(part - (0.7 * none + 0.3 * whole)).max() <= 1
    assert (none == stylizer(photo)).all()
    assert (stylizer(photo, keep_colors=1, strength=0) == photo).all()


def test_a_blend_of_one_is_that_painting_and_of_two_lies_between(several: Path) -> None:
    photo = np.asarray(picture(40, 30, seed=5))
    stylizer = Stylizer(several, styles={"red": 0.4, "blue": 0.6})
    assert stylizer.name == "red+blue"
    red, blue = (Stylizer(f"{several}:{name}")(photo) for name in ("red", "blue"))
    assert (stylizer(photo, styles={"red": 1}) == red).all()
    assert (stylizer(photo, styles={"blue": 0.2, "red": 0}) == blue).all()  # by their sum
    assert read_blend(several, {"red": 1}) == read_checked(f"{several}:red")
    mixed = stylizer(photo)
    assert (Stylizer(f"{several}:red")(photo, styles={"red": 0.2, "blue": 0.3}) == mixed).all()
    distance = np.abs(red.astype(int) - blue).mean()
    assert 0 < np.abs(mixed.astype(int) - red).mean() < distance
    assert 0 < np.abs(mixed.astype(int) - blue).mean() < distance


def test_a_blend_is_the_net_with_rows_that_are_mixed(several: Path) -> None:
    net, _ = load_styles(several)
    mixed = arrays_of(read_blend(several, {"green": 1, "blue": 0.25})[1])
    rows = net.norm3.weight.detach().numpy()
    assert np.allclose(mixed["norm3.weight"], 0.8 * rows[1] + 0.2 * rows[2], atol=1e-6)
    assert (mixed["conv1.conv.weight"] == net.conv1.conv.weight.detach().numpy()).all()


@pytest.mark.parametrize(
    ("controls", "sentence"),
    [
        ({"strength": 1.1}, "strength 1.1 is not a number in 0 .. 1"),
        ({"strength": float("nan")}, "strength nan is not a number"),
        ({"strength": True}, "strength True is not a number"),
        ({"keep_colors": "0.5"}, "keep_colors '0.5' is not a number"),
        ({"keep_colors": -0.1}, "keep_colors -0.1 is not a number"),
        ({"mask": 3}, "a mask of type int is none"),
        ({"mask": np.zeros((30, 40))}, "a mask of type float64 and shape"),
        ({"mask": np.zeros((8, 40), np.uint8)}, "40x8 px, which is not the shape of the photo"),
        ({"mask": "none.png"}, "none.png"),
        ({"styles": {}}, "a blend needs the names of paintings"),
        ({"styles": {"red": 2}}, "the weight 2 of red in a blend is not a number in 0 .. 1"),
        ({"styles": {"red": 0, "blue": 0}}, r"the weights of the blend \(red, blue\) are all 0"),
        ({"styles": {"pink": 1}}, "holds no style 'pink' to blend; it has red, green, blue"),
    ],
)
def test_controls_that_mean_nothing_are_one_sentence(
    controls: dict[str, object], sentence: str, several: Path, photo: np.ndarray
) -> None:
    with pytest.raises(FstError, match=sentence):
        Stylizer(f"{several}:red")(photo, **controls)  # type: ignore[call-overload]


def test_a_style_of_one_painting_cannot_be_blended(tiny_style: Path, several: Path) -> None:
    with pytest.raises(FstError, match="holds one painting, and a blend is between those of one"):
        Stylizer(tiny_style, styles={"tiny": 1})
    with pytest.raises(FstError, match="red names one painting, and a blend several; give"):
        Stylizer(f"{several}:red", styles={"red": 1})


def test_the_command_has_the_same_controls(
    several: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photo = picture(40, 30, seed=7)
    photo.save("photo.png")
    mask = Image.fromarray(np.repeat(np.uint8([[0, 255]]), 15, axis=0).repeat(10, axis=1))
    mask.save("mask.png")
    words = ["stylize", "photo.png", "--style", str(several), "--size", "60", "--quality", "100"]
    words += ["--strength", "0.5", "--keep-colors", "0.25", "--mask", "mask.png"]
    assert main([*words, "-o", "made.png", "--blend", "red=0.6", "green=0.4"]) == 0
    enlarged = photo.resize((80, 60), Image.Resampling.LANCZOS)
    stylizer = Stylizer(several, styles={"red": 0.6, "green": 0.4})
    expected = stylizer(enlarged, strength=0.5, keep_colors=0.25, mask=mask)
    assert (np.asarray(Image.open("made.png")) == np.asarray(expected)).all()
    assert main([*words, "--blend", "red=0.6", "green=0.4"]) == 0
    assert Path("photo_red+green.jpg").is_file()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--strength", "1.5"], "strength 1.5 is not a number in 0 .. 1"),
        (["--mask", "none.png"], "none.png"),
        (["--mask", "alpha"], "photo.png: the photo has no transparency"),
        (["--blend", "red"], "--blend red is not NAME=WEIGHT"),
        (["--blend", "red=0.5", "photo.png"], "--blend photo.png is not NAME=WEIGHT"),
        (["--blend", "red=0.5", "red=0.2"], "--blend names red twice"),
        (["--blend", "pink=1"], "holds no style 'pink' to blend"),
    ],
)
def test_a_control_that_is_refused_leaves_nothing(
    words: list[str],
    sentence: str,
    several: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    picture(40, 30, seed=7).save("photo.png")
    style = several if words[0] == "--blend" else f"{several}:red"
    assert main(["stylize", "photo.png", "--style", str(style), *words]) != 0
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]
