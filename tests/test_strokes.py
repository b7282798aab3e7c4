"""Strokes of another size than the picture's: with a pass whose strokes are known."""

import numpy as np
import pytest
from PIL import Image

from fst.errors import FstError
from fst.inference.controls import Controls
from fst.inference.strokes import side_of, with_strokes
from fst.inference.stylizer import Stylizer
from fst.pictures.image import from_array, resize_shorter, to_array
from tests.conftest import picture

PERIOD = 8  # px of the stripes that `striped` paints, whatever the photo


def striped(pixels: np.ndarray) -> np.ndarray:
    """Half the photo and vertical stripes of eight pixels."""
    stripes = 40 * np.sin(2 * np.pi * np.arange(pixels.shape[3]) / PERIOD)
    return np.rint(pixels * 0.5 + 60 + stripes).astype(np.uint8)


def strongest_period(plane: np.ndarray) -> float:
    """Of the mean row, in pixels."""
    spectrum = np.abs(np.fft.rfft(plane.mean(0) - plane.mean()))
    return plane.shape[1] / int(spectrum.argmax())


@pytest.fixture
def flat() -> np.ndarray:
    return np.full((1, 3, 256, 384), 100, np.uint8)


@pytest.mark.parametrize(("side", "period"), [(64, 32), (128, 16), (512, 4)])
def test_strokes_are_as_large_as_on_a_photo_of_that_size(
    flat: np.ndarray, side: int, period: float
) -> None:
    made = with_strokes(striped, flat, side)
    assert made.shape == flat.shape
    assert made.dtype == np.uint8
    planes = made[0].astype(np.float32)
    if side < 256:  # without the fine stripes of the pass at full size, which stay
        planes = np.stack([np.asarray(Image.fromarray(p).reduce(4)) for p in planes])
        period /= 4
    assert strongest_period(planes[0]) == pytest.approx(period, rel=0.01)


def test_the_small_picture_predicts_the_large_one_which_has_its_own_detail() -> None:
    photo = to_array(picture(768, 512, seed=3))
    made, direct = with_strokes(striped, photo, 64), striped(photo)
    preview = striped(to_array(resize_shorter(from_array(photo), 64)))

    def off(large: np.ndarray) -> float:
        reduced = to_array(from_array(large).resize((96, 64), Image.Resampling.BICUBIC))
        return float(np.abs(reduced.astype(float) - preview).mean())

    def fine(large: np.ndarray) -> float:  # the stripes at full size, which 64 px cannot hold
        return float(np.abs(np.fft.rfft(large[0, 0].mean(0)))[768 // PERIOD])

    assert off(made) < off(direct) / 5
    assert fine(made) > fine(direct) / 2


def test_auto_looks_at_large_photos_as_at_1000_px() -> None:
    assert side_of("auto", 4000) == 1000
    assert side_of("auto", 600) is None
    assert side_of(300, 300) is None
    assert side_of(700, 300) == 700
    assert side_of(None, 4000) is None


@pytest.mark.parametrize("stroke", [0, 63, -1, "large", 1.5, True])
def test_what_is_no_stroke_gets_a_sentence(stroke: object) -> None:
    with pytest.raises(FstError, match=r"stroke .* is none; give auto, or the shorter side"):
        Controls(stroke=stroke)  # type: ignore[arg-type]


def test_a_stylizer_takes_a_stroke() -> None:
    stylizer = Stylizer("udnie")
    photo = picture(160, 128, seed=1)
    plain = np.asarray(stylizer(photo))
    coarse = np.asarray(stylizer(photo, stroke=64))
    assert coarse.shape == plain.shape
    assert not np.array_equal(coarse, plain)
    assert np.array_equal(np.asarray(stylizer(photo, stroke=128)), plain)
    assert np.array_equal(np.asarray(stylizer(photo, stroke="auto")), plain)
