"""Frames of a camera as they come, through OpenCV: the newest one whenever one is asked for."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from fst.errors import FstError
from fst.pictures.image import scaled_size
from fst.video.frames import Colors, FilmInfo, Frame
from fst.video.steady import require_opencv

TICK = Fraction(1, 1000)  # seconds
HD = Colors(space=1, range=1, primaries=1, transfer=1)  # BT.709 in limited range
USUAL_RATE = 30  # frames a second, of a camera that does not say
PATIENCE = 10.0  # seconds to wait for a frame


class CameraSource:
    """What a camera sees from now on, or a film file in its place, as fast as it plays.

    ``camera`` is a camera's number, the path of its device or that of a film. A frame that comes
    while the one before is being painted takes the place of any that waits: what is read is always
    the newest, and ``missed`` counts the others. Frames are made so small, or large, that their
    shorter side has ``size`` pixels. Times are those of the clock, from the first frame on.

    Raises ``FstError`` where there is no such camera, or it sends nothing.
    """

    def __init__(self, camera: str, size: int | None = None) -> None:
        require_opencv("--camera")
        os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what fails is said here
        import cv2

        self.trouble: list[str] = []
        self.missed = 0
        self._camera, self._cv2 = camera, cv2
        film = Path(camera).is_file()
        self._capture: Any = cv2.VideoCapture(int(camera) if camera.isdecimal() else camera)
        told = self._capture.get(cv2.CAP_PROP_FPS)
        rate = Fraction(told if 1 <= told <= 1000 else USUAL_RATE).limit_denominator(1001)
        self._pace = float(1 / rate) if film else 0.0
        there, first = self._capture.read()
        if not there:
            self.close()
            raise FstError(
                f"{camera} is no camera that sends pictures; give its number, 0 for the first, or "
                "its device"
            )
        width, height = scaled_size(first.shape[1], first.shape[0], size)
        self.info = FilmInfo(width, height, rate, TICK, colors=HD)
        self._newest: np.ndarray | None = first
        self._changed = threading.Condition()
        self._ended = False

    def stop(self) -> None:
        """No more frames: the one that is being painted is the last."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def close(self) -> None:
        """Let go of the camera."""
        if hasattr(self, "_changed"):
            self.stop()
        self._capture.release()

    def frames(self, start: Fraction | None, end: Fraction | None) -> Iterator[Frame]:
        """From ``start`` on, which is now, until ``end`` or ``stop``, each later than the last."""
        begin, began, last = start or Fraction(0), time.monotonic(), None
        reader = threading.Thread(target=self._read, daemon=True)
        reader.start()
        try:
            while (photo := self._taken()) is not None:
                at = begin + round((time.monotonic() - began) / TICK) * TICK
                if end is not None and at >= end:
                    break
                if last is not None and at <= last:
                    continue
                yield Frame(at, 1 / self.info.rate, self._planes(photo))
                last = at
        finally:
            self.stop()
            reader.join()

    def _taken(self) -> np.ndarray | None:
        """The newest frame, once there is one that was not taken; None at the end."""
        with self._changed:
            came = self._changed.wait_for(
                lambda: self._ended or self._newest is not None, timeout=PATIENCE
            )
            if not came:
                self.trouble.append(f"{self._camera} has sent nothing for {PATIENCE:.0f} s")
            photo, self._newest = self._newest, None
            return None if self._ended else photo

    def _read(self) -> None:
        due = time.monotonic()
        while not self._ended:
            due += self._pace
            if self._pace:
                time.sleep(max(due - time.monotonic(), 0))
            there, photo = self._capture.read()
            with self._changed:
                if there:
                    self.missed += self._newest is not None
                    self._newest = photo
                else:
                    self._ended = True
                self._changed.notify_all()

    def _planes(self, photo: np.ndarray) -> np.ndarray:
        """(h, w, 3) in blue, green, red -> (1, 3, H, W) in red, green, blue, of the film's size."""
        size = (self.info.width, self.info.height)
        if (photo.shape[1], photo.shape[0]) != size:
            photo = self._cv2.resize(photo, size, interpolation=self._cv2.INTER_AREA)
        return np.ascontiguousarray(photo[..., ::-1].transpose(2, 0, 1)[None])
