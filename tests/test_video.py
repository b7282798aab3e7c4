"""Films, animations and folders of frames, in and out; stopped and gone on with."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from fst.cli import main
from fst.video.camera_source import CameraSource
from fst.video.film_codec import encoder_options
from tests.conftest import picture
from tests.films import film, frames_of, packets_of, pixels_of

STEADY = list(range(0, 800, 40))
VARIABLE = [0, 40, 95, 130, 300, 310, 500, 741]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(
        1
    )  # for passes of a millisecond: two wait for each other on a busy machine
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def video(tiny_style: Path):
    """``fst video`` with the tiny style in PyTorch; returns the exit code."""

    def run(*words: str) -> int:
        return main(["video", *words, "--style", str(tiny_style), "--backend", "torch"])

    return run


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_frames_keep_their_times_and_sound_its_bytes(video, suffix: str) -> None:
    source = film(Path("a.mkv"), VARIABLE, sound=True)
    made = Path(f"b{suffix}")
    assert video(str(source), "-o", str(made)) == 0
    assert [at for at, _ in frames_of(made)] == [at for at, _ in frames_of(source)]
    assert packets_of(made, "audio") == packets_of(source, "audio") != []
    assert not Path(f"b{suffix}.parts").exists()


def test_strength_0_is_the_film_itself_in_each_matrix_and_range(video) -> None:
    for colorspace in (1, 5):
        for values in (1, 2):
            source = film(Path("a.mp4"), STEADY[:3], colorspace=colorspace, values=values)
            assert (
                video(str(source), "-o", "b.mp4", "--strength", "0", "--crf", "2", "--force") == 0
            )
            for number, (_, rgb) in enumerate(frames_of(Path("b.mp4"))):
                off = (rgb.astype(int) - frames_of(source)[number][1])[
                    8:18, 8:40
                ]  # no edges; another matrix or range is 5 levels off, or more
                assert abs(off.mean()) < 1, (colorspace, values)
                assert np.abs(off).mean() < 2, (colorspace, values)
            with av.open("b.mp4") as container:
                context = container.streams.video[0].codec_context
                assert (context.colorspace, context.color_primaries) == (colorspace, colorspace)
                assert context.color_range == values


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_turned_film_comes_out_upright(video, rotation: int) -> None:
    source = film(Path("a.mp4"), STEADY[:3], rotation=rotation)
    assert video(str(source), "-o", "b.mp4", "--strength", "0", "--crf", "2") == 0
    upright = np.rot90(pixels_of(0), rotation // 90)  # FFmpeg's turns are counterclockwise
    (_, rgb), *_ = frames_of(Path("b.mp4"))
    assert rgb.shape == upright.shape
    assert np.abs(rgb.astype(int) - upright).mean() < 12


def test_a_film_is_as_wide_as_before(video) -> None:
    source = film(Path("a.mp4"), STEADY[:2], aspect=Fraction(4, 3))
    for suffix, width, aspect in ((".mp4", 48, Fraction(4, 3)), (".webm", 64, 1), (".gif", 64, 1)):
        assert video(str(source), "-o", f"b{suffix}") == 0
        with av.open(f"b{suffix}") as container:
            stream = container.streams.video[0]
            assert (stream.width, stream.height) == (width, 32)
            assert (stream.sample_aspect_ratio or 1) == aspect, suffix


def test_x264_does_without_avx_512_whose_bytes_differ_from_run_to_run() -> None:
    assert encoder_options("h264", "fpu avx2 avx512f amx_bf16") == {"x264-params": "asm=avx2"}
    for codec, flags in (("h264", "fpu avx2"), ("h264", ""), ("vp9", "avx2 avx512f")):
        assert "x264-params" not in encoder_options(codec, flags)


def test_a_stopped_film_goes_on_and_has_the_same_bytes(
    video, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fst.inference.stylizer import Stylizer

    monkeypatch.setattr("fst.video.film_parts.SEGMENT", 4)
    source = film(Path("a.mp4"), STEADY, sound=True)
    assert video(str(source), "-o", "whole.mp4") == 0
    whole, pixels = Path("whole.mp4").read_bytes(), Stylizer.pixels
    for stop in (1, 6, 13):
        calls: list[int] = []

        def stopping(self, *given, calls=calls, stop=stop, **named):
            calls.append(1)
            if len(calls) > stop:
                raise KeyboardInterrupt
            return pixels(self, *given, **named)

        monkeypatch.setattr(Stylizer, "pixels", stopping)
        assert video(str(source), "-o", "b.mp4") == 130
        assert "b.mp4.parts; the same command goes on" in capsys.readouterr().err
        assert not Path("b.mp4").exists()
        monkeypatch.setattr(Stylizer, "pixels", pixels)
        assert video(str(source), "-o", "b.mp4") == 0
        kept = stop // 4 * 4
        printed = capsys.readouterr().out
        assert f"{len(STEADY) - kept} frames in" in printed
        assert Path("b.mp4").read_bytes() == whole
        Path("b.mp4").unlink()


def test_parts_of_other_settings_are_not_gone_on_with(
    video, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = film(Path("a.mp4"), STEADY[:6])
    with monkeypatch.context() as patch:
        patch.setattr("fst.video.film_parts.FilmParts.finish", _interrupt)
        assert video(str(source), "-o", "b.mp4") == 130
    assert video(str(source), "-o", "b.mp4", "--crf", "30") == 2
    assert "made with other settings (encoding)" in capsys.readouterr().err
    assert video(str(source), "-o", "b.mp4", "--crf", "30", "--force") == 0
    assert len(frames_of(Path("b.mp4"))) == 6


def _interrupt(parts) -> None:
    raise KeyboardInterrupt


def test_start_and_end_cut_frames_and_sound(video) -> None:
    source = film(Path("a.mp4"), STEADY, sound=True, gop=30)
    assert video(str(source), "-o", "b.mp4", "--start", "0.2", "--end", "0:0.5") == 0
    assert [float(at) for at, _ in frames_of(Path("b.mp4"))] == pytest.approx(
        [at / 1000 - 0.2 for at in STEADY if 200 <= at < 500]
    )
    sound = packets_of(source, "audio")
    assert 0 < len(packets_of(Path("b.mp4"), "audio")) < len(sound)
    assert set(packets_of(Path("b.mp4"), "audio")) < set(sound)


def test_what_a_container_cannot_hold_is_named(video, capsys: pytest.CaptureFixture[str]) -> None:
    source = film(Path("a.mkv"), STEADY[:3], subtitles=True)
    assert video(str(source), "-o", "b.mp4") == 0
    assert "subtitles in srt cannot be in a .mp4 film" in capsys.readouterr().out
    assert video(str(source), "-o", "b.mkv") == 0
    assert packets_of(Path("b.mkv"), "subtitle") == packets_of(source, "subtitle") != []


def test_a_cut_film_is_done_as_far_as_it_goes(video, capsys: pytest.CaptureFixture[str]) -> None:
    data = film(Path("a.mkv"), list(range(0, 4000, 40))).read_bytes()
    Path("cut.mkv").write_bytes(data[: len(data) // 2])
    assert video("cut.mkv", "-o", "b.mp4") == 1
    assert "cut.mkv ends at" in capsys.readouterr().err
    assert 20 < len(frames_of(Path("b.mp4"))) < 80


def test_a_broken_frame_is_left_out_and_told_of(video, capsys: pytest.CaptureFixture[str]) -> None:
    data = bytearray(film(Path("a.mkv"), STEADY, gop=1).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 300] = b"\xff" * 300
    Path("broken.mkv").write_bytes(data)
    assert video("broken.mkv", "-o", "b.mp4") == 1
    assert "broken.mkv is damaged, and frames may be missing" in capsys.readouterr().err
    assert 5 < len(frames_of(Path("b.mp4"))) < 20


def test_a_frame_that_cannot_be_decoded_is_left_out_and_told_of(
    video, capsys: pytest.CaptureFixture[str]
) -> None:
    source = film(Path("a.mp4"), STEADY, gop=1)
    with av.open(str(source)) as container:
        places = [p.pos for p in container.demux(video=0) if p.size]
    data = bytearray(source.read_bytes())
    data[places[7] : places[8]] = bytes(places[8] - places[7])
    Path("broken.mp4").write_bytes(data)
    assert video("broken.mp4", "-o", "b.mp4") == 1
    said = capsys.readouterr().err
    assert "1 frame" in said
    assert 18 < len(frames_of(Path("b.mp4"))) <= 20


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["a.mp4", "-o", "b.avi"], "'.avi' is no film that we write"),
        (["a.mp4", "-o", "b.mp4", "--codec", "divx"], "--codec divx is unknown"),
        (["a.mp4", "-o", "b.webm", "--codec", "h264"], "WebM holds vp9 and av1"),
        (["a.mp4", "-o", "b.mp4", "--crf", "90"], "--crf 90 is not in 0 .. 51"),
        (["a.mp4", "-o", "b.gif", "--crf", "9"], "are of films"),
        (["a.mp4", "-o", "a.mp4", "--force"], "is the film itself"),
        (["a.mp4", "-o", "there.mp4"], "exists already"),
        (["a.mp4", "-o", "b.mp4", "--start", "x"], "--start x is no time"),
        (["a.mp4", "-o", "b.mp4", "--start", "2", "--end", "1"], "is not after --start"),
        (["a.mp4", "-o", "b.mp4", "--start", "90"], "no frame between"),
        (["sound.mp4", "-o", "b.mp4"], "holds no video"),
        (["junk.mp4", "-o", "b.mp4"], "cannot be read as a film"),
        (["none.mp4", "-o", "b.mp4"], "does not exist"),
        (["still.png", "-o", "b.mp4"], "does not move"),
        (["empty", "-o", "b.mp4"], "holds no pictures"),
        (["frames", "-o", "b.mp4", "--rate", "0"], "--rate 0 is no number"),
    ],
)
def test_what_cannot_be_is_said(
    video, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    film(Path("a.mp4"), STEADY[:2])
    Path("there.mp4").write_bytes(b"kept")
    Path("junk.mp4").write_bytes(b"no film" * 100)
    picture(40, 30, seed=1).save("still.png")
    Path("empty").mkdir()
    Path("frames").mkdir()
    picture(40, 30, seed=1).save("frames/1.png")
    with av.open("sound.mp4", "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert video(*words) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert "Traceback" not in said
    assert Path("there.mp4").read_bytes() == b"kept"
    assert not Path("b.mp4").exists()


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_an_animation_keeps_its_times(video, suffix: str) -> None:
    lasts = [40, 120, 250, 60]
    first, *rest = (Image.fromarray(pixels_of(number)) for number in range(4))
    first.save(f"a{suffix}", save_all=True, append_images=rest, duration=lasts, loop=0)
    assert video(f"a{suffix}", "-o", f"b{suffix}") == 0
    with Image.open(f"b{suffix}") as made:
        assert made.size == (48, 32)
        found = []
        for number in range(made.n_frames):
            made.seek(number)
            made.load()
            found.append(round(made.info["duration"]))
    assert found == lasts
    assert video(f"b{suffix}", "-o", "b.mp4") == 0
    assert [round(at * 1000) for at, _ in frames_of(Path("b.mp4"))] == [0, 40, 160, 410]


def test_a_folder_of_frames_becomes_a_film_and_back(video) -> None:
    Path("in").mkdir()
    for number in range(5):
        Image.fromarray(pixels_of(number)).save(f"in/{number:03d}.png")
    assert video("in", "-o", "b.mp4", "--rate", "30000/1001") == 0
    times = [at for at, _ in frames_of(Path("b.mp4"))]
    assert times == [number * Fraction(1001, 30000) for number in range(5)]
    assert video("b.mp4", "-o", "out", "--strength", "0") == 0
    assert sorted(path.name for path in Path("out").iterdir()) == [f"{n:08d}.png" for n in range(5)]
    assert not Path("out.parts").exists()


def test_sides_are_even_and_as_small_as_asked(video) -> None:
    source = film(Path("a.mp4"), STEADY[:2], size=(90, 66))
    assert video(str(source), "-o", "b.mp4", "--size", "33") == 0
    assert frames_of(Path("b.mp4"))[0][1].shape == (32, 44, 3)


def test_a_steady_film_goes_on_and_has_the_same_bytes(
    video, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fst.inference.stylizer import Stylizer

    monkeypatch.setattr("fst.video.film_parts.SEGMENT", 4)
    source = film(Path("a.mp4"), STEADY[:12])
    assert video(str(source), "-o", "plain.mp4") == 0
    assert video(str(source), "-o", "whole.mp4", "--steady") == 0
    assert Path("whole.mp4").read_bytes() != Path("plain.mp4").read_bytes()
    pixels, calls = Stylizer.pixels, list[int]()

    def stopping(self, *given, **named):
        calls.append(1)
        if len(calls) > 9:
            raise KeyboardInterrupt
        return pixels(self, *given, **named)

    monkeypatch.setattr(Stylizer, "pixels", stopping)
    assert video(str(source), "-o", "b.mp4", "--steady") == 130
    monkeypatch.setattr(Stylizer, "pixels", pixels)
    (state,) = Path("b.mp4.parts").glob("steady_*.npz")
    state.unlink()  # as if it had been stopped just before: the piece is made again
    assert video(str(source), "-o", "b.mp4", "--steady") == 0
    assert Path("b.mp4").read_bytes() == Path("whole.mp4").read_bytes()


def test_a_folder_of_that_name_that_is_not_ours_is_let_be(
    video, capsys: pytest.CaptureFixture[str]
) -> None:
    source = film(Path("a.mp4"), STEADY[:3])
    Path("b.mp4.parts").mkdir()
    Path("b.mp4.parts/holiday.png").write_bytes(b"kept")
    assert video(str(source), "-o", "b.mp4") == 2
    assert "b.mp4.parts is not a folder of ours" in capsys.readouterr().err
    assert Path("b.mp4.parts/holiday.png").read_bytes() == b"kept"
    Path("elsewhere").mkdir()
    Path("c.mp4.parts").symlink_to("elsewhere")
    assert video(str(source), "-o", "c.mp4") == 2
    assert not any(Path("elsewhere").iterdir())


def test_what_somebody_puts_among_the_parts_stays(video, monkeypatch: pytest.MonkeyPatch) -> None:
    source = film(Path("a.mp4"), STEADY[:3])
    with monkeypatch.context() as patch:
        patch.setattr("fst.video.film_parts.FilmParts.finish", _interrupt)
        assert video(str(source), "-o", "b.mp4") == 130
    Path("b.mp4.parts/notes.txt").write_text("kept")
    assert video(str(source), "-o", "b.mp4") == 0
    assert [path.name for path in Path("b.mp4.parts").iterdir()] == ["notes.txt"]


def test_a_camera_is_filmed_until_the_end_that_is_asked_for(video, capsys) -> None:
    source = film(Path("a.mp4"), list(range(0, 4000, 40)))  # in a camera's place
    assert video("--camera", str(source), "-o", "b.mp4", "--end", "0.6", "--size", "32") == 0
    made = frames_of(Path("b.mp4"))
    times = [at for at, _ in made]
    assert times[0] < 0.2
    assert times == sorted(set(times))
    assert times[-1] < 0.6
    assert made[0][1].shape == (32, 48, 3)
    seen, first = made[0][1][:6, :6].astype(int).mean((0, 1)), pixels_of(0)[:6, :6].mean((0, 1))
    assert seen.shape == first.shape
    assert "camera -> " in capsys.readouterr().out


def test_ctrl_c_ends_a_cameras_film_in_good_order(video, tiny_style: Path) -> None:
    source = film(Path("a.mp4"), list(range(0, 20000, 40)))
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    before = signal.getsignal(signal.SIGINT)
    assert video("--camera", str(source), "-o", "b.mp4") == 0
    assert len(frames_of(Path("b.mp4"))) > 1
    assert not Path("b.mp4.parts").exists()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_slow_net_takes_a_cameras_newest_frame_and_counts_the_others() -> None:
    source = CameraSource(str(film(Path("a.mp4"), list(range(0, 1000, 40)), crf=1)))
    lefts = []
    for frame in source.frames(None, None):
        lefts.append(int((frame.pixels[0, 0, 25] > 190).argmax()))  # where the square begins
        time.sleep(0.2)  # five frames of the camera
    assert 3 <= len(lefts) <= 6
    assert all(b - a >= 9 for a, b in pairwise(lefts) if b > a)
    assert source.missed == pytest.approx(25 - len(lefts), abs=2)
    source.close()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--camera", "99", "-o", "b.mp4"), "99 is no camera that sends pictures"),
        (("a.mp4", "--camera", "0", "-o", "b.mp4"), "two sources"),
        (("--camera", "0", "--start", "3", "-o", "b.mp4"), "--start is not for a camera"),
        (("-o", "b.mp4"), "say what to paint"),
    ],
)
def test_a_camera_that_is_none_is_refused(video, words, told: str, capsys) -> None:
    assert video(*words) == 2
    assert told in capsys.readouterr().err
