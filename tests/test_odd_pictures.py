"""Odd picture files: read right, or named in a sentence while the others are read."""

from __future__ import annotations

import io
import os
import struct
import sys
import types
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, TiffImagePlugin

from fst.cli import main
from fst.data.dataset import PhotoFolder
from fst.data.photo_files import list_photos, training_and_held_out
from fst.errors import FstError
from fst.nets.style_names import find_style
from fst.pictures.image import Picture, read_picture, save_picture, to_picture
from fst.pictures.opening import picture_size
from fst.pictures.painting import load_painting
from fst.system.paths import user_path

from .conftest import picture

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def stylize(*arguments: object) -> int:
    return main(["stylize", *map(str, arguments)])


def png(width: int, height: int, *, depth: int, color: int, rows: bytes, **chunks: bytes) -> bytes:
    """A PNG by hand, with depths and colors that Pillow does not write; rows without filters."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))]
    parts += [chunk(name.encode(), data) for name, data in chunks.items()]
    parts += [chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def plane(values: np.ndarray) -> bytes:
    """(H, W...) big-endian values -> the rows of a PNG."""
    return b"".join(b"\0" + row.tobytes() for row in values)


# pipes, links, names, folders


def test_a_pipe_and_a_link_to_itself_are_named_and_the_rest_done(
    tiny_style: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("in").mkdir()
    picture(20, 20, seed=1).save("in/a.jpg")
    os.mkfifo("in/b.jpg")
    Path("in/loop.png").symlink_to("loop.png")
    assert stylize("in", "--style", tiny_style, "-o", "out") == 1
    assert "1 photos stylized, 2 failed" in (said := capsys.readouterr()).out
    assert "in/b.jpg is not a regular file" in said.err
    assert "in/loop.png cannot be opened: Too many levels" in said.err
    assert stylize("in/loop.png", "in/b.jpg", "--style", tiny_style) == 1
    assert "in/loop.png cannot be opened" in capsys.readouterr().err
    assert main(["prepare", "in", "-o", "cache", "--size", "16"]) == 1
    assert "in/b.jpg is not a regular file" in (said := capsys.readouterr()).err
    assert "1 photos prepared" in said.out


def test_training_passes_over_a_pipe_by_name(photos: Path) -> None:
    Path("in").mkdir()
    for number, photo in enumerate(list_photos(photos)):
        (Path("in") / f"{number}.jpg").symlink_to(photo)
    os.mkfifo("in/pipe.jpg")
    train, held_out, unreadable = training_and_held_out("in", val_root=None, val_photos=1)
    folder = PhotoFolder(paths=[*train, *held_out], size=32, crop_scale=(1, 1), flip=True, seed=0)
    skipped = {path: why for number in range(13) for path, why in folder[number].skipped}
    assert "not a regular file" in {**skipped, **dict(unreadable)}["in/pipe.jpg"]


def test_names_that_are_too_long_or_like_a_home_are_no_trouble(
    tiny_style: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = "x" * 247 + ".jpg"
    for name in (long, "~.png", "good.jpg"):
        picture(20, 20, seed=1).save(name)
    words = (long, "~.png", "~nobody-at-all/x.jpg", "y" * 300 + ".jpg", "good.jpg")
    assert stylize(*words, "--style", tiny_style) == 1
    out, err = capsys.readouterr()
    assert f"{long}: the name of its result would have more than 255 bytes" in err
    assert "~nobody-at-all/x.jpg does not exist" in err
    assert "yyy.jpg cannot be opened: File name too long" in err
    assert "2 photos stylized, 3 failed" in out
    assert Path("~_tiny.jpg").exists()
    assert Path("good_tiny.jpg").exists()
    assert stylize("good.jpg", "--style", tiny_style, "-o", "~nobody-at-all/o.png") == 0
    assert stylize("good.jpg", "--style", tiny_style, "-o", "z" * 300 + ".png") == 1
    assert user_path("~") == Path.home()


@pytest.mark.parametrize("name", ["x" * 300, "~nobody-at-all/p.jpg", "a\0b"])
def test_a_painting_or_folder_of_such_a_name_is_said_not_to_be_there(
    name: str,
) -> None:
    with pytest.raises(FstError, match="does not exist"):
        list_photos(Path(name))
    with pytest.raises(FstError, match="does not exist"):
        load_painting(image=name, painted=None, file=None, root=None, size=64)
    with pytest.raises(FstError, match="is unknown"):
        find_style(name.partition("/")[0])


def test_a_folder_that_cannot_be_looked_into_is_named(
    photos: Path,
    tiny_style: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    scandir = os.scandir  # whoever runs this may be allowed to look everywhere

    def closed(folder: Any = ".") -> Any:
        if str(folder).endswith("nested"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", closed)
    sentence = f"folder {photos / 'nested'} cannot be looked into: permission denied"
    assert stylize(photos, "--style", tiny_style, "-o", "out") == 1
    assert sentence in (said := capsys.readouterr()).err
    assert "8 photos stylized, 1 failed" in said.out
    assert stylize(photos / "nested", "--style", tiny_style) == 2
    assert sentence in capsys.readouterr().err
    assert main(["prepare", str(photos), "-o", "cache", "--size", "48"]) == 1
    assert sentence in (said := capsys.readouterr()).err
    assert "8 photos prepared" in said.out
    assert len(list_photos(photos)) == 8
    assert sentence in capsys.readouterr().out


# headers decide


def test_a_side_too_long_for_jpeg_is_said_and_written_as_png(
    tiny_style: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (65533, 16), "teal").save("wide.gif")
    assert stylize("wide.gif", "--style", tiny_style) == 0
    sentence = "wide.gif: a result of 65533x16 px is too long for JPEG: wide_tiny.png"
    assert sentence in capsys.readouterr().err
    assert picture_size("wide_tiny.png") == (65533, 16)


@pytest.mark.parametrize(
    ("size", "words", "match"),
    [
        ((65533, 16), ["-o", "o.jpg"], "a side of JPEG has 65500 px at most"),
        ((16, 65533), ["-o", "o.JPEG"], "a side of JPEG has 65500 px at most"),
        ((16400, 16), ["-o", "o.webp"], "a side of WEBP has 16383 px at most"),
        ((5000, 16), ["-o", "o.webp", "--size", "64"], "and the picture 20000x64; use .png"),
    ],
)
def test_an_output_that_cannot_hold_the_picture_is_refused_before_the_pass(
    tiny_style: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    size: tuple[int, int],
    words: list[str],
    match: str,
) -> None:
    monkeypatch.delattr("fst.inference.stylizer.Stylizer.pixels")
    monkeypatch.delattr("fst.pictures.image.to_picture")  # nothing is decoded either
    Image.new("RGB", size).save("p.png")
    assert stylize("p.png", "--style", tiny_style, *words) == 1
    assert match in capsys.readouterr().err


def test_a_photo_of_many_pixels_is_refused_by_its_header(
    tiny_style: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = bytes(13_001)  # of 170 megapixels, of which none need be there to be counted
    Path("in").mkdir()
    Path("in/huge.png").write_bytes(png(13_000, 13_000, depth=8, color=0, rows=rows))
    monkeypatch.delattr("fst.pictures.image.to_picture")
    with pytest.raises(FstError, match=r"huge\.png of 13000x13000 px has more than 100 megapixels"):
        read_picture("in/huge.png")
    assert main(["prepare", "in", "-o", "cache"]) == 1
    assert "has more than 100 megapixels" in capsys.readouterr().err
    monkeypatch.setattr("fst.inference.stylizer.total_memory", lambda: 16e9)
    words = ["--style", tiny_style, "--backend", "torch"]
    assert stylize("in", *words, "--tiles", "off") == 1
    assert "the photo of 13000x13000 px needs about 69.0 GB" in capsys.readouterr().err
    monkeypatch.setattr("fst.system.memory.available_memory", lambda: 1e9)
    assert stylize("in", *words, "--size", "32") == 1
    assert "13000x13000 px needs about 4.1 GB of memory to be decoded" in capsys.readouterr().err


# depths and transparency


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_gray_of_every_depth_keeps_its_transparency(depth: int) -> None:
    top = 2**depth - 1
    values = np.arange(256).reshape(16, 16) * top // 255
    if depth == 16:
        rows = plane(values.astype(">u2"))
    else:
        bits = (values[..., None] >> np.arange(depth - 1, -1, -1)) & 1
        rows = plane(np.packbits(bits.reshape(16, -1), axis=1))
    data = png(16, 16, depth=depth, color=0, rows=rows, tRNS=struct.pack(">H", top))
    Path("p.png").write_bytes(data)
    read = read_picture("p.png")
    assert read.alpha is not None
    assert np.array_equal(np.asarray(read.alpha) == 0, values == top)
    assert np.allclose(np.asarray(read.rgb)[..., 0], values * 255 / top, atol=1)


@pytest.mark.parametrize("depth", [8, 16])
def test_rgb_of_both_depths_keeps_its_transparency(depth: int) -> None:
    values = np.arange(4 * 4 * 3).reshape(4, 4, 3) * 5
    values = values * 257 if depth == 16 else values
    clear = values[1, 2]
    rows = plane(values.astype(">u2" if depth == 16 else "u1"))
    data = png(4, 4, depth=depth, color=2, rows=rows, tRNS=struct.pack(">3H", *clear))
    Path("p.png").write_bytes(data)
    alpha = read_picture("p.png").alpha
    assert alpha is not None
    assert np.array_equal(np.asarray(alpha) == 0, (values == clear).all(-1))


def test_transparent_gray_of_16_bits_comes_out_transparent(tiny_style: Path) -> None:
    values = np.full((32, 32), 30_000, ">u2")
    values[:, :9] = 65_535
    data = png(32, 32, depth=16, color=0, rows=plane(values), tRNS=struct.pack(">H", 65_535))
    Path("p.png").write_bytes(data)
    assert stylize("p.png", "--style", tiny_style) == 0
    assert np.asarray(Image.open("p_tiny.png").getchannel("A"))[0].tolist() == [0] * 9 + [255] * 23


def test_premultiplied_gray_with_alpha_is_read() -> None:
    alpha = Image.linear_gradient("L").resize((9, 9))
    gray = Image.merge("LA", (Image.new("L", (9, 9), 100), alpha))
    image = gray.convert("La")
    read = to_picture(image)
    assert read.alpha is not None
    assert read.alpha.tobytes() == gray.getchannel("A").tobytes()
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[338] = 1  # associated alpha
    gray.save("a.tiff", tiffinfo=tags)
    with Image.open("a.tiff") as opened:
        mode = opened.mode
    assert mode in ("La", "LA")
    assert read_picture("a.tiff").alpha is not None


@pytest.mark.parametrize(
    ("tag", "value", "white"),
    [
        (281, 4095, 4095),
        (50717, 4095, 4095),
        (281, 1023, 1023),
        (281, 3000, 65_535),
        (281, 40_000, 65_535),
        (None, None, 65_535),
    ],
)
def test_white_of_a_16_bit_tiff_is_what_the_file_says(
    tag: int | None, value: int | None, white: int
) -> None:
    values = np.linspace(0, min(white, 4095), 64).round().astype(np.uint16).reshape(8, 8)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    if tag is not None:
        tags.tagtype[tag] = 3
        tags[tag] = value
    Image.fromarray(values).save("p.tif", tiffinfo=tags)
    read = np.asarray(read_picture("p.tif").rgb)[..., 0]
    assert np.allclose(read, values * 255.0 / white, atol=0.51)


def test_color_of_12_bits_in_16_is_named_and_not_read_as_black() -> None:
    image = picture(20, 20, seed=1)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags.tagtype[281] = 3
    tags[281] = (4095, 4095, 4095)
    image.save("p.tif", tiffinfo=tags)
    with pytest.raises(FstError, match="its colors have 12 bits in 16"):
        read_picture("p.tif")


# color


def display_p3() -> bytes:
    """Display P3 as a profile: sRGB's, with the red, green and blue of P3."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    primaries = {  # adapted to D50, as published for Apple's own profile
        b"rXYZ": (0.51512, 0.2412, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.1571, 0.06657, 0.78407),
    }
    for number in range(struct.unpack_from(">I", data, 128)[0]):
        name, offset, _ = struct.unpack_from(">4sII", data, 132 + 12 * number)
        if name in primaries:
            fixed = [round(value * 65536) for value in primaries[name]]
            struct.pack_into(">3i", data, offset + 8, *fixed)
    return bytes(data)


def as_seen(image: Image.Image) -> np.ndarray:
    """The colors that a screen shows, as numbers of sRGB."""
    if "icc_profile" in image.info:
        own = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        made = ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"))
        assert made is not None
        image = made
    return np.asarray(image.convert("RGB")).astype(int)


def test_a_display_p3_photo_is_stylized_as_the_same_colors_in_srgb(tiny_style: Path) -> None:
    srgb, p3 = ImageCms.createProfile("sRGB"), display_p3()
    image = Image.blend(picture(64, 48, seed=3), Image.new("RGB", (64, 48), "gray"), 0.3)
    image.save("srgb.png")
    own = ImageCms.ImageCmsProfile(io.BytesIO(p3))
    wide = ImageCms.profileToProfile(image, srgb, own)
    assert wide is not None
    assert np.abs(np.asarray(wide).astype(int) - np.asarray(image)).max() > 15
    wide.save("p3.png", icc_profile=p3)
    read = read_picture("p3.png")
    assert np.abs(np.asarray(read.rgb).astype(int) - np.asarray(image)).max() <= 2
    save_picture("again.png", read, quality=95)
    assert np.abs(np.asarray(Image.open("again.png")).astype(int) - np.asarray(wide)).max() <= 2
    for name in ("srgb", "p3"):
        assert stylize(f"{name}.png", "--style", tiny_style, "-o", f"{name}_made.png") == 0
    made = Image.open("p3_made.png")
    assert made.info["icc_profile"] == p3
    difference = np.abs(as_seen(made) - as_seen(Image.open("srgb_made.png")))
    assert difference.mean() < 1.5


def test_pixels_that_were_converted_lose_their_profile() -> None:
    picture(20, 20, seed=1).convert("CMYK").save("c.jpg", icc_profile=b"damaged")
    save_picture("o.png", read_picture("c.jpg"), quality=90)
    assert "icc_profile" not in Image.open("o.png").info
    save_picture("p.png", Picture(rgb=picture(20, 20, seed=1), icc_profile=b"damaged"), quality=90)
    assert "icc_profile" not in Image.open("p.png").info


# HEIC and AVIF


def test_heic_is_found_in_a_folder_and_named_with_what_it_needs(
    tiny_style: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fst.pictures.opening.find_spec", lambda name: None)
    Path("in").mkdir()
    for name in ("a.heic", "b.HEIF", "c.hif"):
        (Path("in") / name).write_bytes(HEIC)
    picture(20, 20, seed=1).save("in/good.jpg")
    assert stylize("in", "--style", tiny_style, "-o", "out") == 1
    out, err = capsys.readouterr()
    for name in ("a.heic", "b.HEIF", "c.hif"):
        assert f"in/{name} is HEIC, which needs pillow-heif; pip install" in err
    assert "1 photos stylized, 3 failed" in out


def test_heic_is_read_where_pillow_heif_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    stub = types.ModuleType("pillow_heif")
    picture(20, 20, seed=1).save("instead.png")

    def register() -> None:
        Image.register_open("HEIF", lambda fp, name: Image.open("instead.png"), lambda start: True)

    stub.register_heif_opener = register  # type: ignore[attr-defined]
    monkeypatch.setattr("fst.pictures.opening.find_spec", lambda name: True)
    monkeypatch.setitem(sys.modules, "pillow_heif", stub)
    monkeypatch.setattr(Image, "ID", [*Image.ID])
    monkeypatch.setattr(Image, "OPEN", {**Image.OPEN})
    Path("a.heic").write_bytes(HEIC)
    assert read_picture("a.heic").rgb.size == (20, 20)


def test_avif_is_read_or_named(monkeypatch: pytest.MonkeyPatch) -> None:
    if "AVIF" in Image.SAVE:
        picture(20, 20, seed=1).save("a.avif")
        assert read_picture("a.avif").rgb.size == (20, 20)
    monkeypatch.setattr("fst.pictures.opening.find_spec", lambda name: None)
    Path("b.avif").write_bytes(HEIC.replace(b"heic", b"avif") + b"no picture")
    with pytest.raises(FstError, match=r"b\.avif"):
        read_picture("b.avif")
