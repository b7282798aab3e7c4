"""Files that name files, or pretend to be one: nothing outside their own folder is touched."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fst.cli import main
from fst.data.prepared_folder import INDEX, cached_photos
from fst.data.prepared_photo import file_name, read_small_photo
from fst.errors import FstError
from fst.system.files import open_regular, write_whole

from .conftest import picture

HEADER = {"format": "fst-photos", "version": 1, "size": 48, "complete": True}
HEADERS = [
    *([], None, 3, "x", {}, {**HEADER, "size": float("inf")}, {**HEADER, "version": "9"}),
    *({**HEADER, "size": None}, {**HEADER, "format": []}),
]
NAMES = [
    *("../victim.txt", "{top}/victim.txt", "../victim.fstphoto", "{top}/victim.fstphoto"),
    *("a/../../victim.fstphoto", "out/victim.fstphoto", "mine.txt", INDEX, "", ".", 7, None),
    *(["x.fstphoto"], "zero\0.fstphoto"),
]


def prepare(photos: Path, cache: Path, *words: str) -> int:
    return main(["prepare", str(photos), "-o", str(cache), "--size", "48", *words])


def plant(cache: Path, *entries: object, header: object = HEADER) -> None:
    """An index as a stranger may write it."""
    cache.mkdir(exist_ok=True)
    (cache / INDEX).write_text("".join(json.dumps(line) + "\n" for line in (header, *entries)))


def entry(file: object, photo: object = "x.png") -> dict[str, object]:
    return {"photo": photo, "bytes": 1, "mtime_ns": 1, "file": file}


@pytest.mark.parametrize("name", NAMES)
def test_an_index_removes_and_reads_nothing_but_prepared_photos_below_it(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: object
) -> None:
    cache, outside = tmp_path / "cache", tmp_path / "elsewhere"
    outside.mkdir()
    name = name.format(top=tmp_path) if isinstance(name, str) else name
    plant(cache, entry(name))
    (cache / "out").symlink_to(outside)
    mine = [tmp_path / "victim.txt", tmp_path / "victim.fstphoto", outside / "victim.fstphoto"]
    for path in (*mine, cache / "mine.txt"):
        path.write_text("mine")
    for words in ([], ["--check"]):
        assert prepare(photos, cache, *words) == 2
        assert "`fst prepare` into another folder" in (error := capsys.readouterr().err)
        assert "Traceback" not in error
    assert all(path.read_text() == "mine" for path in (*mine, cache / "mine.txt"))
    with pytest.raises(FstError, match=r"names .*, which is no \.fstphoto below it"):
        cached_photos(cache)


@pytest.mark.parametrize("header", HEADERS)
def test_an_index_with_an_odd_header_is_one_sentence(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], header: object
) -> None:
    plant(tmp_path / "cache", header=header)
    assert prepare(photos, tmp_path / "cache") == 2
    assert f"{INDEX} cannot be read" in capsys.readouterr().err


def test_a_deeply_nested_index_is_one_sentence(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / INDEX).write_text("[" * 200_000)
    assert prepare(photos, tmp_path) == 2
    assert f"{INDEX} cannot be read" in capsys.readouterr().err


def test_preparing_writes_through_no_link(photos: Path, tmp_path: Path) -> None:
    cache, outside = tmp_path / "cache", tmp_path / "elsewhere"
    assert prepare(photos, cache) == 0
    first, nested = (p for p in cached_photos(cache)[:12] if p.name[6:8] in ("00", "01"))
    first, nested = sorted((first, nested), key=lambda path: path.parent == cache, reverse=True)
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    first.unlink()
    first.symlink_to(victim)
    assert prepare(photos, cache, "--check") == 0
    assert victim.read_text() == "mine"
    assert read_small_photo(first).size
    outside.mkdir()
    shutil.rmtree(cache)
    plant(cache)
    (cache / "nested").symlink_to(outside)
    assert prepare(photos, cache) == 2
    assert not list(outside.iterdir())


@pytest.mark.parametrize("size", [b"4 4", b"0 0", b"9999999999 9999999999", b"1 1"])
def test_a_prepared_photo_of_another_size_than_it_says_is_named(
    tmp_path: Path, size: bytes
) -> None:
    data = b"fst photo 1 " + size + b"\n" + bytes(5)
    path = tmp_path / file_name("x.jpg", data)
    path.write_bytes(data)
    with pytest.raises(FstError, match="does not hold the"):
        read_small_photo(path)


def test_a_file_is_written_through_no_planted_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, target = tmp_path / "victim.txt", tmp_path / "out.txt"
    victim.write_text("mine")
    (tmp_path / f".out.txt.{os.getpid()}.part").symlink_to(victim)
    write_whole(target, b"new")
    assert (target.read_text(), victim.read_text()) == ("new", "mine")
    monkeypatch.setattr(secrets, "token_hex", lambda count: "guessed")  # whoever could guess it
    planted = tmp_path / ".out.txt.guessed.part"
    planted.symlink_to(victim)
    with pytest.raises(FstError, match="cannot be written: File exists"):
        write_whole(target, b"newer")
    assert (target.read_text(), victim.read_text()) == ("new", "mine")
    assert planted.is_symlink()  # it is not ours to remove


def test_the_name_of_an_unfinished_file_is_another_each_time_and_fits(tmp_path: Path) -> None:
    seen: list[str] = []
    for _ in range(2):
        write_whole(tmp_path / f"{'ä' * 120}.txt", b"x", check=lambda path: seen.append(path.name))
    assert len(set(seen)) == 2
    assert all(name.startswith(".") and name.endswith(".part") for name in seen)
    assert max(len(os.fsencode(name)) for name in seen) <= 255


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").write_text("x")
    for name, match in [
        ("pipe", "is not a regular file"),
        ("loop", "cannot be opened: Too many levels"),
        ("gone", "does not exist"),
        ("file/below", "cannot be opened: Not a directory"),
        ("", "is a folder"),
        ("x" * 300, "cannot be opened: File name too long"),
        ("zero\0", "is not a file name"),
    ]:
        with pytest.raises(FstError, match=match):
            open_regular(tmp_path / name)
    with pytest.raises(FstError, match="is not a regular file"):
        open_regular("/dev/null")
    with open_regular(tmp_path / "file") as handle:
        assert handle.read() == b"x"


def test_no_result_replaces_another_photo_even_by_force(
    tiny_style: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    picture(20, 20, seed=1).save("a.jpg")
    picture(24, 20, seed=2).save("a_tiny.jpg")
    before = Path("a_tiny.jpg").read_bytes()
    words = ["stylize", "a.jpg", "a_tiny.jpg", "--style", str(tiny_style), "--force"]
    assert main(words) == 1
    assert "a_tiny.jpg is one of the photos to stylize" in capsys.readouterr().err
    assert Path("a_tiny.jpg").read_bytes() == before
    assert np.asarray(Image.open("a_tiny_tiny.jpg")).shape == (20, 24, 3)
