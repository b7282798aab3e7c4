"""`Stylizer` from Python: what it takes, and one sentence for what it does not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fst import Stylizer
from fst.errors import FstError

from .conftest import picture


@pytest.fixture(scope="module")
def stylizer(tiny_style: Path) -> Stylizer:
    return Stylizer(tiny_style, device=torch.device("cpu"))


def test_every_kind_of_photo_comes_out_as_its_own_kind(stylizer: Stylizer, tmp_path: Path) -> None:
    image = picture(40, 24, seed=1)
    image.save(tmp_path / "a.png")
    expected = np.asarray(stylizer(image))
    assert expected.shape == (24, 40, 3)
    for path in (tmp_path / "a.png", str(tmp_path / "a.png")):
        assert np.array_equal(np.asarray(stylizer(path)), expected)
    array = np.asarray(image)  # read-only
    planes = np.ascontiguousarray(array.transpose(2, 0, 1)[None])
    two = np.concatenate([planes, planes[..., ::-1]])
    for given, wanted in [
        (array, expected),
        (array[:, ::-1][:, ::-1], expected),  # no pixels moved, odd strides
        (planes, expected.transpose(2, 0, 1)[None]),
    ]:
        for made in (stylizer(given), stylizer(torch.from_numpy(given.copy())).numpy()):
            assert made.dtype == np.uint8
            assert np.array_equal(made, wanted)
    assert stylizer(two).shape == two.shape
    assert isinstance(stylizer(torch.from_numpy(two)), torch.Tensor)
    several = stylizer([image, tmp_path / "a.png", array, torch.from_numpy(planes)])
    kinds = [Image.Image, Image.Image, np.ndarray, torch.Tensor]
    assert [isinstance(one, kind) for one, kind in zip(several, kinds, strict=True)] == [True] * 4
    assert len(stylizer((array, array))) == 2


@pytest.mark.parametrize(
    ("photo", "match"),
    [
        (
            np.zeros((20, 20, 3), np.float32),
            "pixels of type float32 cannot be stylized; give uint8",
        ),
        (np.zeros((1, 3, 20, 20)), "pixels of type float64 cannot be stylized; give uint8"),
        (torch.zeros(1, 3, 20, 20), "pixels of type float32 cannot be stylized; give uint8"),
        (torch.zeros(20, 20, 3, dtype=torch.bfloat16), "pixels of type bfloat16"),
        (np.zeros((20, 20, 3), np.uint16), "pixels of type uint16"),
        (np.zeros((20, 20, 3), bool), "pixels of type bool"),
        (np.zeros((20, 20), np.uint8), r"shape \(20, 20\) are neither \(H, W, 3\) nor"),
        (np.zeros((20, 20, 4), np.uint8), r"shape \(20, 20, 4\) are neither"),
        (np.zeros((3, 20, 20), np.uint8), r"shape \(3, 20, 20\) are neither"),
        (torch.zeros(1, 20, 20, 3, dtype=torch.uint8), r"shape \(1, 20, 20, 3\) are neither"),
        (np.zeros((0, 3, 20, 20), np.uint8), r"shape \(0, 3, 20, 20\) are neither"),
        (np.zeros((8, 20, 3), np.uint8), "20x8 px; at least 16 px a side"),
        (torch.zeros(20, 20, 3, dtype=torch.uint8, device="meta"), "without pixels of its own"),
        (None, "a photo of type NoneType cannot be stylized; give a Pillow image, a path"),
        (b"photo.jpg", "a photo of type bytes"),
        ({"photo": 1}, "a photo of type dict"),
        (np.uint8(3), "a photo of type uint8"),
        ([np.zeros((20, 20, 3))], "pixels of type float64"),
        ("no/such/photo.jpg", r"photo\.jpg does not exist"),
    ],
)
def test_what_it_does_not_take_is_one_sentence(stylizer: Stylizer, photo: Any, match: str) -> None:
    with pytest.raises(FstError, match=match):
        stylizer(photo)
    if isinstance(photo, np.ndarray) and "px" not in match:
        with pytest.raises(FstError, match=match):
            stylizer.pixels(photo)


def test_a_photo_that_breaks_off_while_it_is_decoded_is_one_sentence(
    stylizer: Stylizer, tmp_path: Path
) -> None:
    picture(200, 200, seed=4).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:1500])
    with pytest.raises(FstError, match="cannot be decoded"):
        stylizer(Image.open(tmp_path / "cut.jpg"))


def test_the_photo_given_is_not_changed(stylizer: Stylizer) -> None:
    image = picture(40, 24, seed=1).convert("RGBA")
    image.info["icc_profile"] = b"damaged"
    before = image.tobytes(), dict(image.info)
    stylizer(image)
    assert (image.tobytes(), image.info) == before


@pytest.mark.parametrize("device", ["cuda:7", "meta"])
def test_a_device_of_torch_that_is_not_here_is_one_sentence(tiny_style: Path, device: str) -> None:
    with pytest.raises(FstError, match=f"device '{device}' is"):
        Stylizer(tiny_style, device=torch.device(device))
