import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from fst.errors import FstError
from fst.pictures.image import (
    Picture,
    read_picture,
    save_picture,
    to_image,
    to_picture,
    to_tensor,
)
from fst.pictures.opening import find_pictures

from .conftest import picture


def mean_color(image: Image.Image) -> list[float]:
    return np.asarray(image.convert("RGB")).reshape(-1, 3).mean(0).tolist()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned_upright(tmp_path: Path, orientation: int) -> None:
    upright = picture(48, 32, seed=1)
    turned_back = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright if turned_back is None else upright.transpose(turned_back)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "p.png", exif=exif)
    assert read_picture(tmp_path / "p.png").rgb.tobytes() == upright.tobytes()


def test_modes_come_out_as_the_same_color(tmp_path: Path) -> None:
    gray = Image.new("L", (20, 20), 100)
    cases = {
        "gray.png": gray,
        "bilevel.png": Image.new("1", (20, 20), 1),
        "palette.png": Image.new("RGB", (20, 20), (10, 200, 30)).quantize(4),
        "cmyk.jpg": Image.new("CMYK", (20, 20), (0, 255, 255, 0)),
        "sixteen.png": Image.fromarray(np.full((20, 20), 100 * 257, dtype=np.uint16)),
        "float.tif": Image.fromarray(np.full((20, 20), 100 / 255, dtype=np.float32)),
        "gray_alpha.png": Image.merge("LA", (gray, Image.new("L", (20, 20), 128))),
    }
    expected = {
        "bilevel.png": [255, 255, 255],
        "palette.png": [10, 200, 30],
        "cmyk.jpg": [255, 0, 0],
    }
    for name, image in cases.items():
        image.save(tmp_path / name)
        read = read_picture(tmp_path / name)
        assert read.rgb.mode == "RGB"
        assert mean_color(read.rgb) == pytest.approx(expected.get(name, [100] * 3), abs=3), name


def test_alpha_is_kept_and_a_full_alpha_dropped(tmp_path: Path) -> None:
    image = picture(30, 20, seed=2)
    alpha = Image.linear_gradient("L").resize((30, 20))
    image.putalpha(alpha)
    image.save(tmp_path / "a.png")
    read = read_picture(tmp_path / "a.png")
    assert read.alpha is not None
    assert read.alpha.tobytes() == alpha.tobytes()
    save_picture(tmp_path / "b.png", read, quality=90)
    assert Image.open(tmp_path / "b.png").tobytes() == image.tobytes()
    save_picture(tmp_path / "c.jpg", read, quality=90)  # no alpha there: on white
    assert min(mean_color(Image.open(tmp_path / "c.jpg").crop((0, 0, 30, 1)))) > 240
    image.putalpha(255)
    assert to_picture(image).alpha is None


def test_an_rgb_profile_is_kept_and_another_converted(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture(20, 20, seed=3).save(tmp_path / "p.jpg", icc_profile=profile)
    read = read_picture(tmp_path / "p.jpg")
    assert read.icc_profile == profile
    save_picture(tmp_path / "q.jpg", read, quality=90)
    assert Image.open(tmp_path / "q.jpg").info["icc_profile"] == profile

    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    image = Image.new("LAB", (20, 20), (255, 128, 128))
    image.info["icc_profile"] = lab
    converted = to_picture(image)
    assert converted.icc_profile is None
    assert min(mean_color(converted.rgb)) > 245  # lightness 100 is white


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("empty.jpg", b"", "not a picture"),
        ("text.jpg", b"hello, I am text", "not a picture"),
        ("missing.jpg", None, "does not exist"),
    ],
)
def test_what_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: bytes | None, match: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(FstError, match=match) as caught:
        read_picture(tmp_path / name)
    assert name in str(caught.value)


def test_a_cut_file_and_a_folder_are_named(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    picture(200, 200, seed=4).save(buffer, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(buffer.getvalue()[:3000])
    with pytest.raises(FstError, match=r"cut\.jpg is damaged"):
        read_picture(tmp_path / "cut.jpg")
    with pytest.raises(FstError, match="is a folder"):
        read_picture(tmp_path)


def test_a_picture_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "out.jpg"
    save_picture(target, Picture(rgb=picture(20, 20, seed=5)), quality=90)
    before = target.read_bytes()
    with pytest.raises(FstError, match="cannot be written"):
        save_picture(target / "below.jpg", Picture(rgb=picture(20, 20, seed=6)), quality=90)
    with pytest.raises(FstError, match=r"'\.xyz' is not a format"):
        save_picture(tmp_path / "o.xyz", Picture(rgb=picture(20, 20, seed=6)), quality=90)
    assert target.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out.jpg"]


@pytest.mark.parametrize("failing", ["replace", "fsync"])
def test_a_full_disk_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    target = tmp_path / "out.jpg"
    target.write_text("old")

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"os.{failing}", full)
    with pytest.raises(FstError, match=r"out\.jpg cannot be written: No space left on device"):
        save_picture(target, Picture(rgb=picture(20, 20, seed=5)), quality=90)
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.jpg"]


def test_tensors_and_images_round_trip() -> None:
    image = picture(31, 17, seed=7)
    tensor = to_tensor(image)
    assert tensor.shape == (1, 3, 17, 31)
    assert tensor.dtype == torch.float32
    assert 0 <= tensor.min() <= tensor.max() <= 1
    assert to_image(tensor).tobytes() == image.tobytes()


def test_a_folder_is_searched_once_even_with_a_loop_in_it(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".hidden").mkdir()
    for name in ("b.JPG", "sub/a.png", ".hidden/x.jpg", ".y.jpg", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    names = [str(path.relative_to(tmp_path)) for path in find_pictures(tmp_path)]
    assert names == ["b.JPG", "sub/a.png"]
