"""Photos that are never decoded as a whole come out as others do."""

from __future__ import annotations

import _thread
import io
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from fst.cli import main
from fst.errors import FstError
from fst.inference import tile_budget
from fst.inference.tile_maps import InMemory, Turned
from fst.inference.tile_plan import Span
from fst.nets.style_card import Card
from fst.nets.style_file import save_style
from fst.pictures.image import read_picture
from fst.pictures.opening import DECODING
from fst.pictures.strips import StripReader, save_strips

from .conftest import picture
from .test_trained_strength import net_with_ends

pytest.importorskip("pyvips")


@pytest.fixture(autouse=True)
def _small_strips_and_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder, every photo is huge."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fst.inference.huge_choice.STRIPS_FROM", 0)
    monkeypatch.setattr("fst.pictures.strips.STRIP_PIXELS", 2000)
    monkeypatch.setattr("fst.inference.tiling.LEAST_TILE", 32)
    monkeypatch.setattr(tile_budget, "TILES", (32,))


def stylize(*words: object) -> int:
    return main(["stylize", *map(str, words)])


def read(path: str) -> tuple[np.ndarray, np.ndarray | None, StripReader]:
    reader = StripReader(Path(path), memory=1e12)
    strips = list(reader)
    rows = [row for row, _, _ in strips]
    assert len(rows) > 2
    assert rows[0] == 0
    alpha = None if strips[0][2] is None else np.concatenate([strip[2] for strip in strips])
    return np.concatenate([strip[1] for strip in strips]), alpha, reader


def display_p3() -> bytes:
    """A profile of RGB that is not sRGB: its primaries are turned."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    data = bytearray(profile.tobytes())
    red, green = data.index(b"rXYZ"), data.index(b"gXYZ")
    data[red : red + 4], data[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(data)


def deep(path: str, channels: int) -> None:
    """A PNG of 16 bits, which Pillow does not write in colors."""
    import pyvips

    values = np.random.default_rng(0).integers(0, 2**16, (90, 70, channels), dtype=np.uint16)
    pyvips.Image.new_from_array(values).copy(
        interpretation="grey16" if channels < 3 else "rgb16"
    ).write_to_file(path)


WRITE: dict[str, Callable[[], object]] = {
    "rgb.jpg": lambda: picture(70, 90, 1).save("rgb.jpg"),
    "gray.jpg": lambda: picture(70, 90, 1).convert("L").save("gray.jpg"),
    "cmyk.jpg": lambda: picture(70, 90, 1).convert("CMYK").save("cmyk.jpg", quality=95),
    "rgb.png": lambda: picture(70, 90, 1).save("rgb.png"),
    "bits.png": lambda: picture(70, 90, 1).convert("1").save("bits.png"),
    "palette.png": lambda: picture(70, 90, 1).quantize(9).save("palette.png"),
    "rgba.png": lambda: picture(70, 90, 1).convert("RGBA").rotate(9).save("rgba.png"),
    "la.png": lambda: picture(70, 90, 1).convert("RGBA").rotate(9).convert("LA").save("la.png"),
    "key.png": lambda: picture(70, 90, 1).quantize(9).save("key.png", transparency=3),
    "profile.png": lambda: picture(70, 90, 1).save("profile.png", icc_profile=display_p3()),
    "profile.jpg": lambda: picture(70, 90, 1).save("profile.jpg", icc_profile=display_p3()),
    "deep.png": lambda: deep("deep.png", 1),
    "deep3.png": lambda: deep("deep3.png", 3),
    "deep4.png": lambda: deep("deep4.png", 4),
    "plain.tif": lambda: picture(70, 90, 1).save("plain.tif"),
    "packed.tif": lambda: picture(70, 90, 1).save("packed.tif", compression="tiff_lzw"),
}


@pytest.mark.parametrize("name", WRITE)
def test_strips_are_what_the_whole_picture_is(name: str) -> None:
    WRITE[name]()
    wanted = read_picture(name)
    rgb, alpha, reader = read(name)
    # decoders of JPEG differ in how they enlarge color
    near = 12 if name.endswith("jpg") else 0
    difference = np.abs(rgb.astype(int) - np.asarray(wanted.rgb))
    assert difference.max() <= near
    assert difference.mean() <= near / 10
    if wanted.alpha is None:
        assert alpha is None or (alpha == 255).all()
    else:
        assert alpha is not None
        assert np.array_equal(alpha, np.asarray(wanted.alpha))
    assert reader.icc_profile_of_rgb == wanted.icc_profile


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_plane_is_seen_upright(orientation: int) -> None:
    values = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG", exif=exif)
    Path("x.png").write_bytes(buffer.getvalue())
    wanted = np.asarray(read_picture("x.png").rgb)
    turned = Turned(InMemory(values), orientation)
    assert (turned.height, turned.width) == wanted.shape[:2]
    assert np.array_equal(turned.read(Span(0, turned.height), Span(0, turned.width)), wanted)
    assert np.array_equal(turned.read(Span(1, 4), Span(2, 5)), wanted[1:4, 2:5])


@pytest.mark.parametrize(
    ("file", "words", "result"),
    [
        ("rgb.png", [], "rgb_tiny.jpg"),
        ("rgba.png", [], "rgba_tiny.png"),
        ("profile.png", ["-o", "out.png"], "out.png"),
        ("rgba.png", ["-o", "out.jpg"], "out.jpg"),
        ("rgb.png", ["-o", "out.tif"], "out.tif"),
        ("rgba.png", ["-o", "out.png", "--mask", "alpha", "--keep-colors", "0.5"], "out.png"),
        ("rgb.png", ["-o", "out.png", "--mask", "mask.png", "--strength", "0.6"], "out.png"),
        ("turned.jpg", ["-o", "out.png"], "out.png"),
        ("wide.png", ["-o", "out.png", "--stroke", "64"], "out.png"),
    ],
)
def test_a_photo_in_strips_comes_out_as_others_do(
    tiny_style: Path, file: str, words: list[str], result: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(70, 90, 1).save("turned.jpg", exif=exif, quality=100, subsampling=0)
    picture(150, 110, 1).save("wide.png")
    picture(35, 45, 5).convert("L").save("mask.png")
    for name in ("rgb.png", "rgba.png", "profile.png"):
        WRITE[name]()
    arguments = [file, "--style", tiny_style, "--quality", 100, *words]
    assert stylize(*arguments, "--tiles", "off") == 0
    wanted = read_picture(result)
    Path(result).unlink()
    # as a whole it is neither stylized nor written
    with monkeypatch.context() as patched:
        patched.setattr("fst.inference.stylizer.Stylizer.picture", None)
        patched.setattr("fst.inference.photo_jobs.save_picture", None)
        assert stylize(*arguments) == 0
    made = read_picture(result)
    difference = np.abs(np.asarray(made.rgb).astype(int) - np.asarray(wanted.rgb))
    assert difference.max() <= (4 if result.endswith("jpg") else 1 + 2 * ("turned" in file))
    assert (made.alpha is None) == (wanted.alpha is None)
    assert made.icc_profile == wanted.icc_profile
    if wanted.alpha is not None:
        assert np.array_equal(np.asarray(made.alpha), np.asarray(wanted.alpha))
    assert not list(Path().glob(".*.part"))


def test_what_can_only_be_decoded_as_a_whole_is_refused_where_it_does_not_fit() -> None:
    picture(700, 900, 1).save("progressive.jpg", progressive=True)
    with pytest.raises(FstError, match=r"progressive\.jpg is a progressive JPEG, of which all"):
        StripReader(Path("progressive.jpg"), memory=1e6)
    assert (
        np.abs(read("progressive.jpg")[0].astype(int) - read_picture("progressive.jpg").rgb).max()
        < 12
    )


def test_a_damaged_photo_is_a_sentence(
    tiny_style: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(70, 90, 1).save("x.png")
    data = Path("x.png").read_bytes()
    Path("x.png").write_bytes(data[: len(data) // 2])
    assert stylize("x.png", "--style", tiny_style) == 1
    assert "x.png is damaged and cannot be decoded" in capsys.readouterr().err
    assert not list(Path().glob("*tiny*"))


def test_what_is_not_read_in_strips_goes_as_a_whole(tiny_style: Path) -> None:
    picture(70, 90, 1).save("x.webp")
    assert stylize("x.webp", "--style", tiny_style) == 0
    assert read_picture("x_tiny.jpg").rgb.size == (70, 90)


def test_what_fails_while_it_is_written_leaves_nothing() -> None:
    def rows(start: int, stop: int) -> np.ndarray:
        if start > 20:
            raise FstError("the scratch file failed")
        return np.zeros((stop - start, 40, 3), np.uint8)

    with pytest.raises(FstError, match="the scratch file failed"):
        save_strips(Path("x.png"), 600, 40, rows, None, quality=95, icc_profile=None)
    assert not list(Path().iterdir())


def test_more_pixels_than_are_allowed_are_refused_by_the_header(
    tiny_style: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(70, 90, 1).save("x.png")
    assert stylize("x.png", "--style", tiny_style, "--max-pixels", "0.006MP") == 1
    assert "x.png of 70x90 px has more than 0 megapixels" in capsys.readouterr().err
    assert stylize("x.png", "--style", tiny_style, "--max-pixels", "many") == 2
    assert "--max-pixels many is no size" in capsys.readouterr().err


def test_a_photo_beside_which_no_others_fit_goes_in_strips(
    tiny_style: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fst.inference.huge_choice.STRIPS_FROM", 1e9)
    picture(70, 90, 1).save("x.png")
    monkeypatch.setattr("fst.system.memory.available_memory", lambda: 2 * DECODING * 70 * 90)
    monkeypatch.setattr("fst.inference.stylizer.Stylizer.picture", None)
    assert stylize("x.png", "--style", tiny_style) == 0
    assert read_picture("x_tiny.jpg").rgb.size == (70, 90)


def test_a_net_that_takes_a_strength_takes_it_in_strips_too() -> None:
    save_style("ends.safetensors", net_with_ends(), Card(name="ends", net={}), half=True)
    picture(70, 90, 1).save("x.png")
    for number, words in enumerate((["--tiles", "off"], [])):
        words += ["--strength", "0.4", "-o", f"{number}.png"]
        assert stylize("x.png", "--style", "ends.safetensors", *words) == 0
    one, other = (np.asarray(read_picture(f"{number}.png").rgb).astype(int) for number in (0, 1))
    assert np.abs(one - other).max() <= 1


def test_ctrl_c_leaves_neither_a_result_nor_a_scratch_file(tiny_style: Path) -> None:
    """Pressed while the picture is written, which is when a file of it has a name."""
    picture(300, 400, 1).save("x.png")
    scratch = Path("scratch")
    scratch.mkdir()
    seen: list[list[str]] = []

    def rows(*_: object) -> bytes:
        if not seen:
            seen.append(sorted(path.name[:8] for path in Path().iterdir()))
            _thread.interrupt_main()
        return b""

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("fst.pictures.strips._Stream.read", rows)
        patched.setattr("fst.inference.tile_budget.size_of", lambda shape, kind: 10**15)
        patched.setattr("fst.inference.huge_photos.require_room", lambda folder, needed: None)
        patched.setattr("fst.inference.tiled_style.require_room", lambda folder, needed: None)
        words = ["--style", tiny_style, "--scratch", scratch]
        assert stylize("x.png", *words) == 128 + signal.SIGINT
    assert ".x_tiny." in seen[0]
    assert not list(scratch.iterdir())
    assert sorted(path.name for path in Path().iterdir()) == ["scratch", "x.png"]
