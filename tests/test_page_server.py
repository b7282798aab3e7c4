"""What `fst page --server` does with a photo: limits, turns, and an end when nobody waits."""

import http.client
import io
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
from PIL import Image

from fst import Stylizer
from fst.page import uploads
from fst.page.painting import Job, Painter
from fst.page.uploads import Uploads

from .conftest import picture
from .test_page import served

pytest.importorskip("uvicorn")
app = pytest.importorskip("fst.page.app")


class Slow:
    """A painter that paints until it may end, or is stopped."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.stopped = threading.Event()
        self.may_end = threading.Event()

    def paint(self, job: Job) -> bytes:
        self.jobs.append(job)
        while not self.may_end.wait(0.01):
            if self.stopped.is_set():
                raise EOFError
        return f"a picture in {job.style}".encode()

    def stop(self) -> None:
        self.stopped.set()


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def port(slow: Slow) -> Iterator[int]:
    known = Uploads({"tiny": Path("tiny"), "other": Path("other")}, slow)
    with served(app.application({}, known.routes)) as number:
        yield number


def png(width: int = 40, height: int = 30) -> bytes:
    buffer = io.BytesIO()
    picture(width, height, seed=1).save(buffer, "PNG")
    return buffer.getvalue()


def begin(port: int, body: bytes | Iterator[bytes], **asked: object) -> http.client.HTTPConnection:
    headers = {str(k): str(v) for k, v in dict(asked.pop("headers", {})).items()}  # type: ignore[call-overload]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    query = urlencode({"style": "tiny", **asked})
    connection.request("POST", f"/stylize?{query}", body, headers)
    return connection


def post(port: int, body: bytes | Iterator[bytes], **asked: object) -> tuple[int, str]:
    answer = begin(port, body, **asked).getresponse()
    return answer.status, answer.read().decode()


def wait_for(true: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_file_of_too_many_bytes_is_refused_before_it_is_sent(port: int, slow: Slow) -> None:
    start = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.putrequest("POST", "/stylize?style=tiny")
    connection.putheader("Content-Length", str(uploads.MOST_BYTES + 1))
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413
    assert "more than 100 MB" in answer.read().decode()
    assert time.monotonic() - start < 1
    assert not slow.jobs


def test_a_file_that_does_not_say_its_bytes_is_counted(
    port: int, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MOST_BYTES", 1000)
    status, _ = post(port, iter([b"x" * 600, b"x" * 600]))  # in chunks
    assert status == 413
    assert not slow.jobs


def test_a_photo_of_too_many_pixels_is_refused_by_its_header(port: int, slow: Slow) -> None:
    data = bytearray(png())
    data[16:24] = (20000).to_bytes(4, "big") + (10000).to_bytes(4, "big")
    import zlib

    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    start = time.monotonic()
    assert post(port, bytes(data)) == (
        413,
        "the photo of 20000x10000 px has more than 100 megapixels; make it smaller first",
    )
    assert time.monotonic() - start < 1
    assert not slow.jobs


def test_what_is_no_picture_is_said_without_a_path(port: int, slow: Slow) -> None:
    status, said = post(port, b"these are words")
    assert (status, said) == (
        415,
        "the photo is not a picture that can be read; give a JPEG or PNG",
    )
    assert not slow.jobs


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"style": "nope"}, "style 'nope' is not one of tiny, other"),
        ({"strength": "2"}, "strength '2' is not in 0 .. 1"),
        ({"colors": "nan"}, "colors 'nan'"),
        ({"stroke": "3"}, "stroke '3' is not a whole number of pixels"),
        ({"stroke": "inf"}, "stroke 'inf'"),
        ({"format": "exe"}, "format 'exe' is not one of jpg, png"),
    ],
)
def test_what_cannot_be_is_refused(asked: dict[str, str], word: str, port: int, slow: Slow) -> None:
    status, said = post(port, png(), **asked)
    assert status == 400
    assert word in said
    assert not slow.jobs


def test_another_page_may_not_ask(port: int, slow: Slow) -> None:
    headers = {"Origin": "http://somewhere.example"}
    assert post(port, png(), headers=headers) == (403, "only this page may ask")
    slow.may_end.set()
    headers = {"Origin": f"http://127.0.0.1:{port}"}
    assert post(port, png(), headers=headers, strength=0.5, stroke=64)[0] == 200
    assert (slow.jobs[0].strength, slow.jobs[0].stroke) == (0.5, 64)
    assert not slow.jobs[0].photo.parent.exists()


def test_one_photo_is_painted_at_a_time_and_few_wait(port: int, slow: Slow) -> None:
    first = begin(port, png())
    wait_for(lambda: slow.jobs)
    others = [begin(port, png(), style="other") for _ in range(uploads.MOST_WAITING)]
    time.sleep(0.3)
    assert len(slow.jobs) == 1
    status, said = post(port, png())
    assert status == 503
    assert "waiting already" in said
    slow.may_end.set()
    for connection in [first, *others]:
        assert connection.getresponse().status == 200
    assert [job.style for job in slow.jobs] == ["tiny", *["other"] * uploads.MOST_WAITING]


def test_nobody_is_painted_for_who_has_gone(port: int, slow: Slow) -> None:
    connection = begin(port, png())
    wait_for(lambda: slow.jobs)
    waiting = begin(port, png(), style="other")
    time.sleep(0.2)
    connection.close()
    wait_for(slow.stopped.is_set)
    wait_for(lambda: len(slow.jobs) == 2)
    slow.stopped.clear()
    slow.may_end.set()
    assert waiting.getresponse().status in (200, 422)


def test_a_photo_is_stylized_as_by_stylizer_in_a_process_that_can_be_stopped(
    tiny_style: Path, tmp_path: Path
) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(png(70, 50))
    painter = Painter({"tiny": tiny_style})
    job = Job(photo, "tiny", 0.8, 0.4, 80, ".png")
    made = np.asarray(Image.open(io.BytesIO(painter.paint(job))))
    expected = Stylizer(tiny_style)(Image.open(photo), strength=0.8, keep_colors=0.4, stroke=80)
    assert (np.abs(made.astype(int) - np.asarray(expected)) <= 1).all()
    photo.write_bytes(b"no picture")
    with pytest.raises(Exception, match="the photo is not a picture"):
        painter.paint(job)
    photo.write_bytes(png(2000, 1500))  # for seconds of work
    threading.Timer(0.2, painter.stop).start()
    painter.stop()
    with pytest.raises(EOFError):
        painter.paint(job)  # in a new process, which is stopped while it starts or paints
    painter.stop()
