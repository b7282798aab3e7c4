import shutil
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from fst.data.dataset import PhotoBatch, PhotoFolder, collate
from fst.data.photo_files import list_photos, split_held_out
from fst.errors import FstError
from fst.training.datamodule import PhotoData, StepSampler


def folder(photos: Path, seed: int = 0, **changes: object) -> PhotoFolder:
    options: dict[str, object] = {"size": 32, "crop_scale": (0.5, 1.0), "flip": True}
    return PhotoFolder(paths=list_photos(photos), seed=seed, **{**options, **changes})  # type: ignore[arg-type]


def batches(
    data: PhotoFolder, *, workers: int = 0, first: int = 0, rank: int = 0, world: int = 1
) -> list[PhotoBatch]:
    sampler = StepSampler(first=first, count=6, batch=4 // world, rank=rank, world=world)
    return list(DataLoader(data, batch_sampler=sampler, num_workers=workers, collate_fn=collate))


def test_a_sample_depends_on_seed_and_number_alone(photos: Path) -> None:
    one = batches(folder(photos))
    two = batches(folder(photos), workers=2)
    assert [b.paths for b in one] == [b.paths for b in two]
    assert all(torch.equal(a.photos, b.photos) for a, b in zip(one, two, strict=True))
    assert not torch.equal(one[0].photos, batches(folder(photos, seed=1))[0].photos)


def test_a_run_can_resume_from_any_step(photos: Path) -> None:
    whole, rest = batches(folder(photos)), batches(folder(photos), first=4)
    assert len(rest) == 2
    assert all(torch.equal(a.photos, b.photos) for a, b in zip(whole[4:], rest, strict=True))


def test_two_processes_see_what_one_sees(photos: Path) -> None:
    whole = batches(folder(photos))
    halves = [batches(folder(photos), rank=rank, world=2) for rank in range(2)]
    for n, batch in enumerate(whole):
        joined = torch.cat([halves[0][n].photos, halves[1][n].photos])
        assert torch.equal(batch.photos, joined)


def test_every_photo_is_seen_once_in_a_pass_and_passes_differ(photos: Path) -> None:
    paths = [path for batch in batches(folder(photos)) for path in batch.paths]
    assert set(Counter(paths[:12]).values()) == {1}
    assert set(Counter(paths[12:24]).values()) == {1}
    assert paths[:12] != paths[12:]


def test_crops_are_of_the_size_asked_for_and_in_range(photos: Path) -> None:
    for size in (16, 100):  # smaller and larger than the photos
        sample = folder(photos, size=size)[0]
        assert sample.photos.shape == (1, 3, size, size)
        assert 0 <= sample.photos.min() <= sample.photos.max() <= 1


def test_unreadable_files_are_skipped_and_reported(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "p")
    (tmp_path / "p" / "bad.jpg").write_text("no picture")
    (tmp_path / "p" / "cut.jpg").write_bytes((photos / "photo_01.jpg").read_bytes()[:200])
    data = folder(tmp_path / "p")
    samples = [data[k] for k in range(len(data))]
    assert {Path(p).name for s in samples for p, _ in s.skipped} == {"bad.jpg", "cut.jpg"}
    assert all("bad" not in s.paths[0] and "cut" not in s.paths[0] for s in samples)
    assert len({s.paths[0] for s in samples}) == 12


def test_a_list_of_paths_works_relative_and_absolute(photos: Path, tmp_path: Path) -> None:
    shutil.copy(photos / "photo_01.jpg", tmp_path)
    listing = tmp_path / "list.txt"
    listing.write_text(f"photo_01.jpg\n\n{photos / 'photo_02.jpg'}\n")
    assert list_photos(listing) == [tmp_path / "photo_01.jpg", photos / "photo_02.jpg"]


def make_data(root: Path, **changes: object) -> PhotoData:
    options: dict[str, object] = {
        "root": str(root),
        "val_root": None,
        "val_photos": 4,
        "size": 32,
        "batch_size": 2,
        "crop_scale": (0.5, 1.0),
        "flip": True,
        "workers": 0,
        "seed": 0,
    }
    return PhotoData(**{**options, **changes})  # type: ignore[arg-type]


def test_cocos_own_layout_works_untouched(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos / "nested", tmp_path / "train2017")
    shutil.copytree(photos / "nested", tmp_path / "val2017")
    (tmp_path / "annotations").mkdir()
    data = make_data(tmp_path)
    assert {path.parent.name for path in data.train_paths} == {"train2017"}
    assert {path.parent.name for path in data.val_paths} == {"val2017"}


def test_held_out_photos_are_never_trained_on(photos: Path) -> None:
    everything = list_photos(photos)
    train, held_out = split_held_out(everything, 4)
    assert len(held_out) == 1  # a tenth of twelve
    assert set(train) | set(held_out) == set(everything)
    assert not set(train) & set(held_out)
    assert split_held_out(list(reversed(everything)), 4)[1] == held_out


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda root: root / "no", "does not exist"),
        (lambda root: root, "holds no photos"),
    ],
)
def test_a_root_without_photos_is_refused(tmp_path: Path, make: object, match: str) -> None:
    with pytest.raises(FstError, match=match):
        make_data(make(tmp_path))  # type: ignore[operator]


def test_zero_usable_photos_stop_within_10_seconds(tmp_path: Path) -> None:
    for number in range(500):
        (tmp_path / f"{number}.jpg").write_text("no picture")
    start = time.monotonic()
    with pytest.raises(FstError, match="none of the 500 photos"):
        make_data(tmp_path)
    assert time.monotonic() - start < 10
