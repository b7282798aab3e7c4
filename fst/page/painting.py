"""Photos stylized in a process of its own, which can be stopped at any moment.

No runtime hears anybody during a pass. A process that is ended gives its memory back, and the next
photo has another one.
"""

from __future__ import annotations

import multiprocessing
import signal
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fst.errors import FstError

QUALITY = 95  # of a JPEG


@dataclass(frozen=True)
class Job:
    """A photo file, and what is to be made of it: a picture file of ``suffix``."""

    photo: Path
    style: str
    strength: float
    colors: float
    stroke: int | None
    suffix: str


class Painter:
    """The process, which begins with the first job; one job at a time is the caller's business."""

    def __init__(self, styles: Mapping[str, Path]) -> None:
        self._styles = dict(styles)
        self._process: Any = None
        self._ours: Connection | None = None

    def paint(self, job: Job) -> bytes:
        """The bytes of the picture's file; ``FstError`` says what is wrong with the photo.

        Raises ``EOFError`` where the process was stopped meanwhile.
        """
        if self._process is None or not self._process.is_alive():
            self._start()
        ours = self._ours
        assert ours is not None
        try:
            ours.send(job)
            failed = ours.recv()
            if failed is not None:
                raise FstError(failed)
            return ours.recv_bytes()
        except OSError:  # the other end is gone
            raise EOFError from None

    def stop(self) -> None:
        """End the process, and with it the job under way."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.join()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would take threads' locks along
        self._ours, theirs = context.Pipe()
        arguments = (theirs, self._styles)
        self._process = context.Process(target=_paint_jobs, args=arguments, daemon=True)
        self._process.start()
        theirs.close()  # so that its end is seen


def _paint_jobs(jobs: Connection, styles: Mapping[str, Path]) -> None:
    from fst.inference.stylizer import Stylizer

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server's business
    stylizer, name = None, None
    while True:
        try:
            job: Job = jobs.recv()
        except EOFError:
            return
        try:
            if stylizer is None or job.style != name:
                stylizer, name = None, None  # its memory is free for the next
                stylizer, name = Stylizer(styles[job.style]), job.style
            data = _painted(stylizer, job)
        except FstError as error:
            jobs.send(str(error).replace(str(job.photo), "the photo"))
            continue
        except MemoryError:
            jobs.send("the photo does not fit into the memory; make it smaller first")
            continue
        jobs.send(None)
        jobs.send_bytes(data)


def _painted(stylizer: Any, job: Job) -> bytes:
    from fst.inference.controls import Controls
    from fst.pictures.image import read_picture, save_picture

    controls = Controls(strength=job.strength, keep_colors=job.colors, stroke=job.stroke)
    picture = stylizer.picture(read_picture(job.photo), controls)
    with tempfile.TemporaryDirectory(prefix="fst-page-") as folder:
        path = Path(folder) / f"picture{job.suffix}"
        save_picture(path, picture, quality=QUALITY)
        return path.read_bytes()
