"""`fst prepare`, and training on what it makes."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fst.cli import main
from fst.data import prepared_folder
from fst.data.dataset import PhotoFolder
from fst.data.photo_files import list_photos, read_photo, training_and_held_out
from fst.data.prepared_folder import INDEX, cached_photos, read_index
from fst.data.prepared_photo import SmallPhoto, file_name, photo_name, read_small_photo
from fst.errors import FstError

from .conftest import Train, picture


def prepare(photos: Path, cache: Path, *words: str) -> int:
    return main(["prepare", str(photos), "-o", str(cache), "--size", "48", *words])


@pytest.fixture
def cache(photos: Path, tmp_path: Path) -> Path:
    assert prepare(photos, tmp_path / "cache") == 0
    return tmp_path / "cache"


def contents(cache: Path) -> dict[str, bytes]:
    return {str(p.relative_to(cache)): p.read_bytes() for p in cache.rglob("*") if p.is_file()}


def crops(root: Path, size: int = 32) -> PhotoFolder:
    return PhotoFolder(paths=list_photos(root), size=size, crop_scale=(0.5, 1.0), flip=True, seed=3)


def test_a_prepared_photo_holds_the_photo(tmp_path: Path) -> None:
    for size in ((235, 155), (320, 200)):
        image = picture(*size, seed=5)
        data = SmallPhoto.of(image).to_bytes()
        path = tmp_path / file_name("x.jpg", data)
        path.write_bytes(data)
        assert photo_name(path) == "x.jpg"
        assert len(data) < 0.55 * len(image.tobytes()) + 200
        again = read_photo(path).rgb  # as any other photo
        assert again.size == size
        assert np.abs(np.asarray(again).astype(int) - np.asarray(image)).mean() < 2


def test_a_crop_of_a_prepared_photo_is_pillows(tmp_path: Path) -> None:
    image = picture(320, 240, seed=5)
    box = (10, 20, 210, 220)
    crop = SmallPhoto.of(image).crop(box, (128, 128))
    resized = image.resize((128, 128), Image.Resampling.BILINEAR, box=box)
    expected = torch.from_numpy(np.array(resized)).permute(2, 0, 1) / 255
    assert crop.shape == (1, 3, 128, 128)
    assert crop.dtype == torch.float32
    assert 255 * (crop[0] - expected).abs().mean() < 1.5
    whole = SmallPhoto.of(picture(33, 17, seed=1)).crop((0, 0, 33, 17), (16, 16))
    assert whole.shape == (1, 3, 16, 16)


def test_samples_are_the_same_photos_and_crops_as_of_the_folder(photos: Path, cache: Path) -> None:
    before, after = crops(photos), crops(cache)
    for number in range(30):
        one, two = before[number], after[number]
        assert Path(one.paths[0]).name == photo_name(Path(two.paths[0]))
        assert 255 * (one.photos - two.photos).abs().mean() < 12
        assert torch.equal(two.photos, after[number].photos)
    split = [training_and_held_out(root, val_root=None, val_photos=1) for root in (photos, cache)]
    (train, held_out, _), (train2, held_out2, _) = split
    assert [p.name for p in train] == list(map(photo_name, train2))
    assert [p.name for p in held_out] == list(map(photo_name, held_out2))


def test_a_second_time_nothing_is_done_and_changes_are_noticed(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, cache = tmp_path / "source", tmp_path / "cache"
    shutil.copytree(photos, source)
    assert prepare(source, cache) == 0
    before = contents(cache)
    assert prepare(source, cache) == 0
    assert "0 photos prepared" in capsys.readouterr().out
    assert contents(cache) == before

    picture(60, 60, seed=77).save(source / "photo_01.jpg")  # another photo of the name
    os.utime(source / "photo_02.jpg", ns=(1, 1))
    (source / "photo_04.jpg").unlink()
    picture(80, 60, seed=78).save(source / "photo_00a.jpg")
    assert prepare(source, cache) == 0
    assert "3 photos prepared" in (out := capsys.readouterr().out)
    assert "9 were there, 1 removed" in out
    paths = cached_photos(cache)
    assert [photo_name(p) for p in paths] == [p.name for p in list_photos(source)]
    assert {p.name for p in cache.rglob("*.fstphoto")} == {p.name for p in paths}
    (changed,) = (p for p in paths if photo_name(p) == "photo_01.jpg")
    assert read_small_photo(changed).size == (48, 48)


def test_an_interrupted_preparation_is_continued(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cache, whole = tmp_path / "cache", tmp_path / "whole"
    assert prepare(photos, whole) == 0
    made: list[Path] = []
    small = prepared_folder._small

    def stop_at_the_sixth(path: Path, size: int) -> SmallPhoto:
        made.append(path)
        if len(made) == 6:
            raise KeyboardInterrupt
        return small(path, size)

    monkeypatch.setattr(prepared_folder, "_small", stop_at_the_sixth)
    assert prepare(photos, cache) == 130
    assert not list(cache.rglob("*.part"))
    with pytest.raises(FstError, match="is not complete; `fst prepare` again"):
        list_photos(cache)
    with open(cache / INDEX, "a") as index:
        index.write('{"photo": "cut')  # as a power cut may leave it
    done = len(read_index(cache)[1])
    assert done >= 1
    assert prepare(photos, cache) == 0
    assert f"{12 - done} photos prepared" in capsys.readouterr().out
    assert contents(cache) == contents(whole)


def test_unreadable_photos_are_named_and_the_rest_prepared(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "source"
    shutil.copytree(photos, source)
    (source / "bad.jpg").write_text("no picture")
    assert prepare(source, tmp_path / "cache") == 1
    out, err = capsys.readouterr()
    assert "bad.jpg is not a picture" in err
    assert "1 cannot be read" in out
    assert len(cached_photos(tmp_path / "cache")) == 12


def test_a_damaged_file_is_skipped_by_name_and_made_again_by_a_check(
    photos: Path, cache: Path
) -> None:
    path = cached_photos(cache)[3]
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-5] ^= 1
    for damage in (bytes(flipped), whole[:-9], b"", None):
        if damage is None:
            path.unlink()
        else:
            path.write_bytes(damage)
        batches = [crops(cache)[number] for number in range(12)]
        skipped = {name: reason for batch in batches for name, reason in batch.skipped}
        assert list(skipped) == [str(path)]
        assert "checksum" in skipped[str(path)] or "does not exist" in skipped[str(path)]
    assert prepare(photos, cache, "--check") == 0
    assert path.read_bytes() == whole
    path.write_bytes(flipped)
    assert prepare(photos, cache, "--check") == 0
    assert path.read_bytes() == whole


def test_a_part_of_a_cache_is_one_too(cache: Path) -> None:
    nested = list_photos(cache / "nested")
    assert {photo_name(path) for path in nested} == {f"photo_{n:02d}.jpg" for n in (0, 3, 6, 9)}


def test_requests_that_cannot_be_met_get_a_sentence(
    photos: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(cache)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("mine")
    cases = [
        (["--size", "64"], cache, "holds photos of 48 px; give --size 48"),
        (["--size", "8"], cache, "--size 8 is smaller than 16 px"),
        ([], tmp_path / "mine", "is not a folder that `fst prepare` made"),
    ]
    for words, target, match in cases:
        assert main(["prepare", str(photos), "-o", str(target), *words]) == 2
        assert match in capsys.readouterr().err
    assert prepare(tmp_path / "mine", tmp_path / "new") == 2
    assert "is not a folder with photos" in capsys.readouterr().err
    (cache / INDEX).write_text(json.dumps({"format": "fst-photos", "version": 99}))
    assert prepare(photos, cache) == 2
    assert "cannot be read (it is of format fst-photos 99)" in capsys.readouterr().err
    (cache / INDEX).write_bytes(before[INDEX])
    assert contents(cache) == before


def test_too_little_room_is_said_before_anything_is_made(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 1000))
    assert prepare(photos, tmp_path / "cache") == 2
    assert "12 photos of 48 px take about" in capsys.readouterr().err
    assert not list((tmp_path / "cache").rglob("*.fstphoto"))


def test_training_takes_a_cache_as_it_takes_a_folder(
    train: Train, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cached_photos(cache)[0].write_bytes(b"damaged")
    assert train(f"data.root={cache}", "trainer.max_steps=12") == 0
    assert "photos         11 to train on, 1 held out" in capsys.readouterr().out
    report = Path("runs/swirl/skipped_photos.tsv").read_text().splitlines()
    assert len(report) == 1
    assert cached_photos(cache)[0].name in report[0]
