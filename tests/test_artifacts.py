"""Artifacts that are planted are found; clean pictures are left alone."""

import sys
from pathlib import Path

import pytest
import torch

from fst.pictures.artifacts import LIMITS, find_artifacts, flat_photos
from fst.pictures.image import read_picture, to_tensor
from fst.pictures.paint import paint
from fst.system.paths import sample_photo

sys.path.append(str(Path(__file__).parent.parent / "scripts" / "proofs"))
from plant_artifacts import PLANTED, checkerboard, count, cross_hatch, dark_frame, lines, neon

PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")


def pictures() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    photos = [to_tensor(read_picture(sample_photo(name)).resized(200).rgb)[0] for name in PHOTOS]
    return photos, [to_tensor(paint(name, size=200))[0] for name in ("woodcut", "flowing_strokes")]


@pytest.mark.parametrize("score", LIMITS)
def test_planted_artifacts_are_found_and_clean_pictures_are_not_flagged(score: str) -> None:
    for row in count(*pictures(), only=score):
        assert row["found"] >= 0.8, row
        assert row["clean flagged"] <= 0.2, row


def test_a_photo_is_clean_against_itself() -> None:
    for photo in pictures()[0]:
        found = find_artifacts(photo, photo)
        assert found.findings() == []
        assert max(found) < 1e-3


@pytest.mark.parametrize("name", PLANTED)
def test_what_the_photo_has_too_is_not_held_against_the_picture(name: str) -> None:
    plant, score = PLANTED[name]
    photo = pictures()[0][1]
    dirty = plant(photo, torch.Generator().manual_seed(0))
    assert score not in find_artifacts(dirty, dirty).findings()


def test_flat_photos_are_clean_and_what_is_planted_in_them_is_found() -> None:
    flat = flat_photos(128)
    assert flat["constant"].flatten(1).std(1).max() == 0
    for photo in flat.values():
        assert find_artifacts(photo, photo).findings() == []
    for plant, score in PLANTED.values():
        if plant not in (checkerboard, cross_hatch, lines, dark_frame, neon):
            continue  # a dead rim of a flat sky is nothing to see
        dirty = plant(flat["sky"], torch.Generator().manual_seed(0))
        assert score in find_artifacts(dirty, flat["sky"]).findings()


@pytest.mark.parametrize("shape", [(16, 16), (17, 33), (32, 40)])
def test_pictures_of_any_size_have_scores(shape: tuple[int, int]) -> None:
    found = find_artifacts(torch.rand(3, *shape), torch.rand(3, *shape))
    assert all(abs(value) < 100 for value in found)
