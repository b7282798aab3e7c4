"""How much a style flickers: on clips of exactly known motion, and on a still with noise.

The clips are made from photos: each frame is the photo seen from elsewhere (a pan by fractions of a
pixel, a zoom, a turn), with a piece of another photo that moves over it, so that parts are covered
and uncovered. As every pixel's motion is known, what a result should have become is, too: the last
result moved as the photo moved (Lai et al. 2018 measure the same with flow that is guessed).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from fst.pictures.lattice_lock import Lock, lock
from fst.video.steady import Steady

SCORED, SCORE_SIZE = 6, 256  # photos at most, and pixels of a frame's side
FRAMES = 8
MARGIN = 24  # px of a photo beyond what a frame shows of it
NOISE = 4.0  # levels, the standard deviation of a camera's noise in good light
PIECE = 0.3  # of a frame's sides: the piece that moves by itself
PIECE_STEP = (-3.3, 1.4)  # px a frame
# a frame's step: px to the right and down, zoom, degrees
MOTIONS = {
    "pan": (1.7, 0.6, 1.0, 0.0),
    "zoom": (0.0, 0.0, 1.012, 0.0),
    "turn": (0.0, 0.0, 1.0, 0.8),
}

Paint = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Score:
    """Of one way to stylize. Less is better in all but ``sharpness``.

    ``warping`` is by motion the root mean square, in levels, between each result and the last one
    moved along; ``still`` the mean change of a noisy still's results over that of the photos;
    ``sharpness`` the gradient energy over that of the frames' own results, and ``distance`` the
    mean difference from these, in levels: 1 and 0 where nothing is blended. ``lock`` is of the
    photos themselves, each alone (``fst.pictures.lattice_lock``), which blending does not change.
    """

    warping: dict[str, float]
    still: float
    sharpness: float = 1.0
    distance: float = 0.0
    lock: Lock | None = None


def score(paint: Paint, photos: Sequence[np.ndarray]) -> tuple[Score, Score]:
    """photos (H, W, 3) uint8, two or more of one size -> the scores of what ``paint`` makes of
    clips of them, as it is and with each frame blended with the last (``Steady``).
    """
    tallies = (_Tally(), _Tally())
    for number, photo in enumerate(photos):
        other = photos[(number + 1) % len(photos)]
        for name, step in MOTIONS.items():
            frames, steps, own = clip(photo, other, step)
            made = [_painted(paint, frame) for frame in frames]
            for tally, shown in zip(tallies, (made, _steadied(frames, made)), strict=True):
                pairs = zip(pairwise(shown), steps[1:], own[1:], strict=True)
                tally.warping[name] += [_off(*pair, to, where) for pair, to, where in pairs]
                tally.compare(shown[1:], made[1:])
        noisy = list(_noisy(photo[MARGIN:-MARGIN, MARGIN:-MARGIN]))
        made = [_painted(paint, frame) for frame in noisy]
        for tally, shown in zip(tallies, (made, _steadied(noisy, made)), strict=True):
            tally.still.append(_change(shown[2:]) / _change(noisy[2:]))  # past the first blends
    plain, steady = tallies
    return replace(plain.score(), lock=_lock(paint, photos)), steady.score()


def _lock(paint: Paint, photos: Sequence[np.ndarray]) -> Lock:
    def stylize(planes: np.ndarray) -> np.ndarray:
        return np.concatenate([paint(np.ascontiguousarray(one[None])) for one in planes])

    return lock(stylize, np.stack([photo.transpose(2, 0, 1) for photo in photos]))


class _Tally:
    """What is measured on each clip, until it is averaged."""

    def __init__(self) -> None:
        self.warping: dict[str, list[float]] = {name: [] for name in MOTIONS}
        self.still: list[float] = []
        self._sharpness: list[float] = []
        self._distance: list[float] = []

    def compare(self, shown: Sequence[np.ndarray], made: Sequence[np.ndarray]) -> None:
        for blended, alone in zip(shown, made, strict=True):
            self._sharpness.append(_energy(blended) / _energy(alone))
            self._distance.append(float(np.abs(blended.astype(float) - alone).mean()))

    def score(self) -> Score:
        warping = {
            name: float(np.sqrt(np.mean(np.square(off)))) for name, off in self.warping.items()
        }
        return Score(warping, _mean(self.still), _mean(self._sharpness), _mean(self._distance))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def clip(
    photo: np.ndarray, other: np.ndarray, step: tuple[float, float, float, float]
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Frames (h, w, 3) of a photo that moves by ``step``; for each the matrix (3, 3) from its
    pixels to those of the frame before, and where (h, w) both show the photo and not the piece.
    """
    import cv2

    height, width = (side - 2 * MARGIN for side in photo.shape[:2])
    piece = other[: int(PIECE * height), : int(PIECE * width)]
    frames, steps, own, shown = [], [], [], []
    place = np.array([[1.0, 0, MARGIN], [0, 1, MARGIN], [0, 0, 1]])  # frame -> photo
    center = (width / 2, height / 2)
    right, down, zoom, turn = step
    to_last = np.vstack([cv2.getRotationMatrix2D(center, turn, 1 / zoom), [0, 0, 1]])
    to_last = np.array([[1, 0, right], [0, 1, down], [0, 0, 1.0]]) @ to_last
    for number in range(FRAMES):
        if number:
            place = place @ to_last
        frame = _seen(photo, place, width, height, cv2.INTER_CUBIC)
        left, top = (0.6 * width + number * PIECE_STEP[0], 0.2 * height + number * PIECE_STEP[1])
        at = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1.0]])
        over = _seen(piece, at, width, height, cv2.INTER_LINEAR)
        mask = _seen(np.full(piece.shape[:2], 255, np.uint8), at, width, height, cv2.INTER_LINEAR)
        share = mask[..., None] / np.float32(255)
        frames.append(np.rint(frame * (1 - share) + over * share).astype(np.uint8))
        shown.append(mask == 0)
        before = shown[-2] if number else shown[-1]
        seen = _seen(before.astype(np.uint8) * 255, to_last, width, height, cv2.INTER_LINEAR)
        own.append(cv2.erode(((seen == 255) & shown[-1]).astype(np.uint8), np.ones((9, 9))) > 0)
        steps.append(to_last)
    return frames, steps, own


def _seen(picture: np.ndarray, to: np.ndarray, width: int, height: int, way: int) -> np.ndarray:
    """(height, width) of a picture, where ``to`` (3, 3) takes the result's pixels to its own."""
    import cv2

    return cv2.warpAffine(picture, to[:2], (width, height), flags=way | cv2.WARP_INVERSE_MAP)


def _off(before: np.ndarray, now: np.ndarray, to_last: np.ndarray, own: np.ndarray) -> float:
    import cv2

    height, width = now.shape[:2]
    moved = _seen(before.astype(np.float32), to_last, width, height, cv2.INTER_CUBIC)
    return float(np.sqrt(np.square(moved - now)[own].mean()))


def _noisy(photo: np.ndarray) -> Iterator[np.ndarray]:
    for seed in range(FRAMES):
        noise = np.random.default_rng(seed).normal(0, NOISE, photo.shape)
        yield np.rint(photo + noise).clip(0, 255).astype(np.uint8)


def _painted(paint: Paint, frame: np.ndarray) -> np.ndarray:
    return paint(_planes(frame))[0].transpose(1, 2, 0)


def _steadied(frames: Sequence[np.ndarray], made: Sequence[np.ndarray]) -> list[np.ndarray]:
    steady = Steady()
    return [
        steady(_planes(frame), _planes(one))[0].transpose(1, 2, 0)
        for frame, one in zip(frames, made, strict=True)
    ]


def _planes(frame: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(frame.transpose(2, 0, 1)[None])


def _change(frames: Sequence[np.ndarray]) -> float:
    rows = zip(frames[1:], frames[:-1], strict=True)
    return float(np.mean([np.abs(now.astype(float) - before).mean() for now, before in rows]))


def _energy(picture: np.ndarray) -> float:
    gradients: Any = np.gradient(picture.astype(np.float32), axis=(0, 1))
    return float(sum(np.square(one).mean() for one in gradients)) + 1e-9


def table(scores: dict[str, Score]) -> Iterator[str]:
    """Lines of a table, a row a name."""
    yield f"| | {', '.join(MOTIONS)} | still | sharpness | distance | lock: fine, coarse |"
    yield "|---|---|---|---|---|---|"
    for name, found in scores.items():
        warping = ", ".join(f"{value:.2f}" for value in found.warping.values())
        locked = "" if found.lock is None else f"{found.lock.fine:.2f}, {found.lock.coarse:.2f}"
        yield (
            f"| {name} | {warping} | {found.still:.2f} | {found.sharpness:.2f} | "
            f"{found.distance:.2f} | {locked} |"
        )
