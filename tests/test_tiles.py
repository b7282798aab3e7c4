"""When a photo goes in tiles, what a user may say of it, and what is told."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from fst.cli import main
from fst.errors import FstError
from fst.inference import tile_budget
from fst.inference.backends import PassMemory
from fst.inference.stylizer import Stylizer
from fst.inference.tile_budget import Reckoned, reckon
from fst.inference.tile_maps import Scratch, require_room
from fst.inference.tile_plan import Span
from fst.inference.tiling import Tiling, parse_memory

from .conftest import picture

GB = 10**9
NET = {"width": 16, "residual_blocks": 5, "upsampling": "bilinear"}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of 32 px, so that a small photo has many."""
    monkeypatch.setattr("fst.inference.tiling.LEAST_TILE", 32)
    monkeypatch.setattr(tile_budget, "TILES", (32,))


class Told:
    """A watch that remembers."""

    def __init__(self) -> None:
        self.reckoned: list[Reckoned] = []
        self.shares: list[float] = []
        self.ended = 0

    def begin(self, reckoned: Reckoned, folder: Path) -> None:
        self.reckoned.append(reckoned)

    def advance(self, share: float) -> None:
        self.shares.append(share)

    def end(self) -> None:
        self.ended += 1


@pytest.mark.parametrize(
    ("word", "size"),
    [
        ("2GB", 2 * GB),
        ("1.5 gb", 1.5 * GB),
        ("1500MB", 1.5 * GB),
        ("2GiB", 2**31),
        ("3000000000", 3 * GB),
        ("2g", 2 * GB),
    ],
)
def test_sizes_are_read_as_people_write_them(word: str, size: float) -> None:
    assert parse_memory(word) == size


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["--max-memory", "much"], "--max-memory much is no size; give it as 2GB"),
        (["--max-memory", "800MB"], "0.8 GB are too little memory: 1.2 GB are needed"),
        (["--tiles", "100"], "tiles 100 are none; give auto, off, or their side in pixels, 256"),
        (["--tiles", "some"], "tiles 'some' are none"),
        (["--scratch", "nowhere"], "scratch folder nowhere does not exist"),
    ],
)
def test_what_cannot_be_is_answered_by_a_sentence(
    tiny_style: Path, words: list[str], match: str, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(20, 20, seed=1).save("x.png")
    assert main(["stylize", "x.png", "--style", str(tiny_style), *words]) == 2
    assert match in capsys.readouterr().err


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("controls", [{}, {"strength": 0.6, "keep_colors": 0.5}, {"stroke": 64}])
def test_a_picture_in_tiles_is_that_in_one_go(tiny_style: Path, controls: dict[str, float]) -> None:
    photo, told = np.asarray(picture(133, 90, seed=4)), Told()
    wanted = Stylizer(tiny_style, tiles="off")(photo, **controls)
    made = Stylizer(tiny_style, tiles=32, watch=told)(photo, **controls)
    assert np.abs(made.astype(int) - wanted).max() <= 1
    assert told.shares[-1] == pytest.approx(1)
    assert told.shares == sorted(told.shares) or "stroke" in controls
    assert told.ended == len(told.reckoned) > 0


@pytest.mark.usefixtures("small_tiles")
def test_paintings_of_one_net_are_blended_in_tiles_too(several: Path) -> None:
    photo, styles = np.asarray(picture(80, 70, seed=4)), {"red": 0.4, "blue": 0.6}
    whole, tiled = Stylizer(f"{several}:red", tiles="off"), Stylizer(f"{several}:red", tiles=32)
    assert not np.array_equal(whole(photo), whole(photo, styles=styles))
    for words in ({}, {"styles": styles}):
        assert np.abs(tiled(photo, **words).astype(int) - whole(photo, **words)).max() <= 1
    blended = Stylizer(several, styles=styles, tiles=32)(photo)
    assert np.abs(blended.astype(int) - whole(photo, styles=styles)).max() <= 1


def test_a_pass_that_does_not_fit_goes_in_tiles(
    tiny_style: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = np.asarray(picture(1200, 900, seed=1))
    wanted = Stylizer(tiny_style)(photo)
    monkeypatch.setattr("fst.system.memory.available_memory", lambda: 220e6)
    monkeypatch.setattr("fst.inference.tiling.available_memory", lambda: int(660e6))
    told = Told()
    made = Stylizer(tiny_style, watch=told)(photo)
    assert np.abs(made.astype(int) - wanted).max() <= 1
    assert told.reckoned[0].tile == 512
    with pytest.raises(FstError, match=r"the photo of 1200x900 px needs about .* use --size"):
        Stylizer(tiny_style, tiles="off")(photo)


def test_a_pass_that_runs_out_of_memory_goes_on_in_tiles(
    tiny_style: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stylizer = Stylizer(tiny_style, backend="torch", watch=(told := Told()))
    photo = np.asarray(picture(60, 50, seed=1))
    wanted = stylizer(photo)
    assert not told.reckoned

    def no_memory(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(type(stylizer.backend), "__call__", no_memory)
    assert np.abs(stylizer(photo).astype(int) - wanted).max() <= 1
    assert told.reckoned


def of_memory(monkeypatch: pytest.MonkeyPatch, size: int, *pixel_planes: int) -> Reckoned:
    """What is reckoned for 100 megapixels, of a process that holds 400 MB and may take ``size``."""
    for asks in ("tile_budget", "tiling"):
        monkeypatch.setattr(f"fst.inference.{asks}.held_memory", lambda: 400_000_000)
    monkeypatch.setattr("fst.inference.tiling.available_memory", lambda: 64 * GB)
    return reckon(
        NET,
        10_000,
        10_000,
        memory=PassMemory(pixel=200, channel=40),
        tiling=Tiling(max_memory=size),
        pixel_planes=pixel_planes,
    )


def test_maps_lie_in_memory_where_they_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    large = of_memory(monkeypatch, 6 * GB)
    assert (large.tile, large.scratch, large.traffic) == (512, 0, 0)
    small = of_memory(monkeypatch, 2 * GB)
    assert small.scratch == pytest.approx(3.2e9, rel=0.02)  # 32 bytes a pixel of the photo
    assert 30 * 1.6e9 < small.traffic < 40 * 1.6e9
    assert of_memory(monkeypatch, 2 * GB, 3, 3).room == small.room
    least = of_memory(monkeypatch, int(1.2 * GB))
    assert least.tile == 512


def test_the_room_on_the_disk_is_asked_for_first(tmp_path: Path) -> None:
    require_room(tmp_path, 1000)
    with pytest.raises(FstError, match=r"needs 1000000\.0 GB and the disk of .* --scratch"):
        require_room(tmp_path, 10**15)
    with pytest.raises(FstError, match="cannot be used"):
        require_room(tmp_path / "nowhere", 1)


def test_a_full_disk_is_a_sentence() -> None:
    """/dev/full takes nothing, as a disk without room."""
    plane = Scratch(Path()).plane(4, 4, 1, np.uint8)
    os.dup2(os.open("/dev/full", os.O_RDWR), plane._file.fileno())
    with pytest.raises(FstError, match=r"scratch file in \. failed: No space left on device"):
        plane.write(0, 0, np.zeros((4, 4, 1), np.uint8))


def test_parts_of_a_scratch_file_come_back_as_they_went(tmp_path: Path) -> None:
    values = np.arange(7 * 9 * 2, dtype=np.float32).reshape(7, 9, 2)
    plane = Scratch(tmp_path).plane(7, 9, 2, np.float32)
    for row in range(0, 7, 3):
        for column in range(0, 9, 4):
            plane.write(row, column, values[row : row + 3, column : column + 4])
    assert np.array_equal(plane.read(Span(0, 7), Span(0, 9)), values)
    assert np.array_equal(plane.read(Span(2, 6), Span(3, 8)), values[2:6, 3:8])
