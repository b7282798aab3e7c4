"""A style that runs in tiles: its weights, what computes them, and what is told on the way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fst.inference.backends import Backend
from fst.inference.tile_budget import Reckoned, Room, reckon
from fst.inference.tile_engines import tile_engine
from fst.inference.tile_maps import InMemory, Plane, Scratch, require_room
from fst.inference.tile_plan import work
from fst.inference.tiled_pass import tiled_pass
from fst.inference.tiling import Tiling, Watch
from fst.nets.blend import read_style
from fst.nets.style_file import arrays_of
from fst.system.machine import freed_memory_goes_back


class TiledStyle:
    """The style in a file, or a blend of it, computed as ``backend`` does.

    ``beside`` are the bytes for each pixel of a photo that others may take meanwhile.
    """

    def __init__(
        self,
        backend: Backend,
        path: Path,
        blend: Mapping[str, float] | None,
        tiling: Tiling,
        watch: Watch,
        *,
        strength: float = 1.0,
        beside: float = 0,
    ) -> None:
        card, data = read_style(path, blend, strength)
        self._arguments = card.net
        self._weights = arrays_of(data)
        self._backend, self._tiling, self._watch = backend, tiling, watch
        self._beside = beside

    def reckon(
        self, height: int, width: int, pixel_planes: tuple[int, ...] = (), beside: float = 0
    ) -> Reckoned:
        """What a photo of this size will take; further arguments are those of ``reckon``.

        Raises ``FstError`` where that does not fit.
        """
        return reckon(
            self._arguments,
            height,
            width,
            memory=self._backend.memory,
            tiling=self._tiling,
            on_cpu=self._backend.device == "cpu",
            pixel_planes=pixel_planes,
            beside=beside,
        )

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """pixels (B, 3, H, W) uint8 RGB -> stylized, the same shape and type."""
        result = np.empty_like(pixels)
        for photo, made in zip(pixels, result, strict=True):
            height, width = photo.shape[1:]
            reckoned = self.reckon(height, width, beside=self._beside * height * width)
            room = Room(reckoned.room, Scratch(self._tiling.folder))
            source, target = (InMemory(each.transpose(1, 2, 0)) for each in (photo, made))
            self.run(source, target, reckoned, room)
        return result

    def run(self, photo: Plane, result: Plane, reckoned: Reckoned, room: Room) -> None:
        """photo, uint8 RGB -> its stylized pixels in ``result``."""
        require_room(self._tiling.folder, reckoned.scratch)
        height, width = photo.height, photo.width
        total = work(self._arguments, height, width, reckoned.tile)
        finished = 0

        def done(multiplications: int) -> None:
            nonlocal finished
            finished += multiplications
            self._watch.advance(finished / total)

        self._watch.begin(reckoned, self._tiling.folder)
        try:
            with freed_memory_goes_back():
                tiled_pass(
                    self._arguments,
                    self._weights,
                    tile_engine(self._backend),
                    photo,
                    result,
                    tile=reckoned.tile,
                    new_plane=room.plane,
                    done=done,
                )
        finally:
            self._watch.end()
