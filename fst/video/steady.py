"""Frames without flicker: each is blended with the last one, moved along by optical flow.

Flow is OpenCV's DIS (Kroeger et al. 2016), there and back. Where the two disagree (Sundaram et al.
2010), or the moved frame does not look like the new one, something came into view or the flow is
wrong, and nothing is carried over (as in Ruder, Dosovitskiy and Brox 2016). At a cut nothing is
alike, and the film begins anew.
"""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import numpy as np

from fst.errors import FstError, pip_install
from fst.system.files import write_whole
from fst.system.installed import is_here
from fst.video.frames import Frame, Parts

SHARE = 0.88  # of the last frame, where it is to be trusted
ALIKE = 24.0  # gray levels that a moved frame may differ by
SAME_CUT = 0.35  # share of a frame that must be trusted; below, it is a cut
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)


def require_opencv(what: str) -> None:
    """Raise ``FstError`` where OpenCV is not installed, which ``what`` needs."""
    if not is_here("cv2"):
        raise FstError(f"{what} needs OpenCV; {pip_install('steady')}")


class Steady:
    """Blends a row of frames. ``last`` is what it goes on from: a frame in gray, and its result."""

    def __init__(self) -> None:
        import cv2

        self._cv2 = cv2
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._flow.setFinestScale(0)  # single pixels, not pairs: a quarter less flicker is left
        self.last: tuple[np.ndarray, np.ndarray] | None = None

    def __call__(self, photo: np.ndarray, made: np.ndarray) -> np.ndarray:
        """photo and its stylized ``made`` (1, 3, H, W) uint8 -> blended, the same shape."""
        gray = np.rint(np.tensordot(LUMINANCE, photo[0], 1)).astype(np.uint8)
        picture = np.ascontiguousarray(made[0].transpose(1, 2, 0)).astype(np.float32)
        if gray.shape != picture.shape[:2]:
            gray = self._cv2.resize(gray, picture.shape[1::-1], interpolation=self._cv2.INTER_AREA)
        if self.last is not None and self.last[0].shape == gray.shape:
            moved, trusted = self.moved(self.last[0], gray, self.last[1])
            if trusted.mean() >= SAME_CUT:
                picture += SHARE * trusted[:, :, None] * (moved - picture)
        self.last = gray, picture
        whole = np.rint(picture).clip(0, 255).astype(np.uint8)
        return np.ascontiguousarray(whole.transpose(2, 0, 1)[None])

    def moved(
        self, before: np.ndarray, now: np.ndarray, picture: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Gray frames (H, W) uint8 and a picture (H, W, 3) float of the first -> the picture as the
        second would have it, and how far to trust it, (H, W) in 0 .. 1.
        """
        cv2 = self._cv2
        back, forth = self._flow.calc(now, before, None), self._flow.calc(before, now, None)
        rows, columns = np.indices(now.shape, dtype=np.float32)
        there = columns + back[..., 0], rows + back[..., 1]
        moved = cv2.remap(picture, *there, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        forth = cv2.remap(forth, *there, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        apart = np.square(back + forth).sum(-1)
        length = np.square(back).sum(-1) + np.square(forth).sum(-1)
        looked = cv2.remap(before, *there, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        differs = cv2.blur(cv2.absdiff(looked, now), (5, 5))
        height, width = now.shape
        inside = (there[0] >= 0) & (there[0] < width) & (there[1] >= 0) & (there[1] < height)
        trusted = (apart < 0.01 * length + 0.5) & (differs < ALIKE) & inside
        mask = cv2.erode(trusted.astype(np.float32), np.ones((5, 5), np.uint8))
        return moved, cv2.blur(mask, (5, 5))


class SteadyParts:
    """``parts`` that take blended frames, and keep what blending goes on from beside each piece."""

    def __init__(self, parts: Parts, folder: Path) -> None:
        require_opencv("--steady")
        self._parts, self._folder, self._steady = parts, folder, Steady()
        while parts.last is not None and not self._load(parts.last):
            parts.drop_last()  # stopped between a piece and what follows from it

    @property
    def last(self) -> Fraction | None:
        """As of the parts themselves."""
        return self._parts.last

    @property
    def kept(self) -> int:
        """As of the parts themselves."""
        return self._parts.kept

    def add(self, frame: Frame) -> None:
        """Blend a finished frame with those before and take it."""
        if frame.photo is None:
            raise ValueError("a frame without its photo")
        before = self._parts.last
        self._parts.add(Frame(frame.at, frame.lasts, self._steady(frame.photo, frame.pixels)))
        kept = self._parts.last
        if kept is not None and kept != before:
            self._save(kept)

    def finish(self) -> list[str]:
        """As of the parts themselves."""
        return self._parts.finish()

    def drop_last(self) -> None:
        """As of the parts themselves."""
        self._parts.drop_last()

    def _save(self, at: Fraction) -> None:
        assert self._steady.last is not None
        buffer = io.BytesIO()
        np.savez(buffer, gray=self._steady.last[0], picture=self._steady.last[1])
        name = f"steady_{at.numerator}_{at.denominator}.npz"
        write_whole(self._folder / name, buffer.getvalue())
        for path in self._folder.glob("steady_*.npz"):
            if path.name != name:
                path.unlink()

    def _load(self, at: Fraction) -> bool:
        path = self._folder / f"steady_{at.numerator}_{at.denominator}.npz"
        try:
            with np.load(path, allow_pickle=False) as state:
                self._steady.last = state["gray"], state["picture"]
        except (OSError, ValueError, KeyError):
            return False
        return True
