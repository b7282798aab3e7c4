"""`fst stylize` with many photos: shards, results that are there already, a line that moves."""

import io
import random
import sys
from pathlib import Path

import pytest
from PIL import Image

from fst.cli import main
from fst.errors import FstError
from fst.inference.job_choice import Shard, parse_shard
from fst.inference.photo_jobs import Job
from fst.inference.stylizer import Stylizer
from fst.system.progress import ProgressLine

from .conftest import picture


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def small_photos(count: int) -> None:
    Path("in").mkdir()
    for number in range(count):
        picture(20, 18, seed=number).save(f"in/{number:02d}.jpg")


def stylize(style: Path, *words: object) -> int:
    return main(["stylize", "in", "--style", str(style), "-o", "out", *map(str, words)])


def results() -> list[str]:
    return sorted(path.name for path in Path("out").rglob("*.*"))


@pytest.mark.parametrize("count", [1, 3, 8, 20])
def test_shards_are_disjoint_and_complete_in_whatever_order_photos_are_given(count: int) -> None:
    jobs = [Job(Path(f"{n}.jpg"), Path(f"{n}_x"), suffix_given=False) for n in range(14)]
    shards = []
    for number in range(1, count + 1):
        random.Random(number).shuffle(jobs)
        shards.append(Shard(number, count).of(jobs))
    assert sorted(job.photo for shard in shards for job in shard) == sorted(j.photo for j in jobs)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


@pytest.mark.parametrize("words", ["0/4", "5/4", "1/0", "a/b", "1", "1/2/3", "-1/2", " 1/2", "١/2"])
def test_a_shard_that_is_none_is_refused(words: str) -> None:
    with pytest.raises(FstError, match=r"is not I/N with I in 1 \.\. N, such as 2/8"):
        parse_shard(words)


def test_all_shards_together_do_what_one_process_does(
    tiny_style: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small_photos(5)
    assert stylize(tiny_style, "--shard", "2/3") == 0
    assert results() == ["01_tiny.jpg", "04_tiny.jpg"]
    assert "shard 2/3: 2 of 5 photos" in capsys.readouterr().out
    assert stylize(tiny_style, "--shard", "1/3") == 0
    assert stylize(tiny_style, "--shard", "3/3") == 0
    assert results() == [f"{number:02d}_tiny.jpg" for number in range(5)]
    assert stylize(tiny_style, "--shard", "9/9") == 0  # nothing to do is no failure
    assert "shard 9/9: 0 of 5 photos" in capsys.readouterr().out
    assert stylize(tiny_style, "--shard", "4/3") == 2


def test_a_photo_whose_result_is_there_is_neither_decoded_nor_run(
    tiny_style: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small_photos(4)
    assert stylize(tiny_style) == 0
    Path("out/02_tiny.jpg").unlink()
    kept = Path("out/01_tiny.jpg").read_bytes()
    Path("in/01.jpg").write_text("no picture any more")
    assert stylize(tiny_style, "--skip-existing") == 0
    out, err = capsys.readouterr()
    assert "3 photos skipped: their results are there" in out
    assert "in/02.jpg -> out/02_tiny.jpg" in out
    assert not err
    assert Path("out/01_tiny.jpg").read_bytes() == kept

    def unneeded(*_: object, **__: object) -> Stylizer:
        raise AssertionError("no style is needed where nothing is left to do")

    monkeypatch.setattr("fst.commands.stylize.Stylizer", unneeded)
    assert stylize(tiny_style, "--skip-existing") == 0
    assert "4 photos skipped" in capsys.readouterr().out


def test_a_result_is_there_in_either_format_that_the_photo_may_get(tiny_style: Path) -> None:
    small_photos(1)
    with_alpha = picture(20, 18, seed=7)
    with_alpha.putalpha(128)
    with_alpha.save("in/alpha.png")
    assert stylize(tiny_style) == 0
    assert results() == ["00_tiny.jpg", "alpha_tiny.png"]
    Path("in/alpha.png").write_text("broken")
    assert stylize(tiny_style, "--skip-existing") == 0
    assert stylize(tiny_style, "--skip-existing", "--size", "40") == 0  # whatever it was made with
    assert Image.open("out/alpha_tiny.png").size == (20, 18)


def test_a_shard_is_taken_first_and_then_what_is_missing_of_it(
    tiny_style: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else the shards would change while others write their results."""
    small_photos(6)
    assert stylize(tiny_style, "--shard", "1/2") == 0
    Path("out/02_tiny.jpg").unlink()
    assert stylize(tiny_style, "--shard", "1/2", "--skip-existing") == 0
    assert results() == ["00_tiny.jpg", "02_tiny.jpg", "04_tiny.jpg"]
    assert stylize(tiny_style, "--shard", "2/2", "--skip-existing") == 0
    assert len(results()) == 6
    assert "shard 1/2: 3 of 6 photos\n2 photos skipped" in capsys.readouterr().out


def test_another_photo_is_no_result_and_is_not_overwritten_from_another_shard(
    tiny_style: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.jpg", "a_tiny.jpg"):
        picture(20, 20, seed=1).save(name)
    words = ["stylize", "a.jpg", "a_tiny.jpg", "--style", str(tiny_style)]
    assert main([*words, "--skip-existing"]) == 1
    assert "a_tiny.jpg is one of the photos to stylize" in capsys.readouterr().err
    assert main([*words, "--shard", "1/2", "--force"]) == 1
    assert "a_tiny.jpg is one of the photos to stylize" in capsys.readouterr().err


def test_force_and_skip_existing_contradict_each_other(
    tiny_style: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small_photos(1)
    assert stylize(tiny_style, "--force", "--skip-existing") == 2
    assert "--force and --skip-existing contradict each other" in capsys.readouterr().err
    assert not Path("out").exists()


def test_a_line_that_moves_tells_the_rate_and_the_time_left() -> None:
    now, terminal = 100.0, io.StringIO()
    line = ProgressLine(40, "photos", stream=terminal, clock=lambda: now)
    assert line.line(80) == f"[{'.' * 30}]  0/40"
    for _ in range(10):
        now += 2.0
        line.advance()
    assert line.line(80) == f"[{'#' * 7}{'.' * 23}]  10/40  0.5 photos/s  60 s left"
    assert len(line.line(50)) == 49
    assert line.line(30) == "10/40  0.5 photos/s  60 s left"[:29]
    line.aside(lambda: terminal.write("a sentence\n"))
    shown = terminal.getvalue().split("\r\x1b[K")
    assert shown[-2:] == ["a sentence\n", line.line(80)]
    line.close()
    assert terminal.getvalue().endswith(f"{line.line(80)}\n")


def test_many_photos_are_told_on_one_line_of_a_terminal_and_on_lines_elsewhere(
    tiny_style: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small_photos(12)
    Path("in/05.jpg").write_text("no picture")
    assert stylize(tiny_style) == 1
    out, err = capsys.readouterr()
    assert "[12/12] in/11.jpg -> out/11_tiny.jpg" in out
    assert "\r" not in out + err
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    assert stylize(tiny_style, "--force") == 1
    out, err = capsys.readouterr()
    assert "[12/12]" not in out
    assert "11 photos stylized, 1 failed" in out
    shown = err.split("\r\x1b[K")
    assert any(state.startswith("fst stylize: in/05.jpg is not a picture") for state in shown)
    assert "  12/12  " in shown[-1]
    assert shown[-1].endswith(" s\n")
    assert stylize(tiny_style, "--shard", "1/2", "--force") == 0  # six: a line each
    assert "[6/6]" in capsys.readouterr().out
