"""How much memory a pass in tiles may take: how large its tiles are, and what lies on the disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fst.errors import FstError
from fst.inference.backends import FIXED_MEMORY, PassMemory
from fst.inference.tile_maps import InMemory, Plane, Scratch
from fst.inference.tile_plan import moved, work
from fst.inference.tiled_pass import map_shapes
from fst.inference.tiling import LEAST_TILE, Tiling
from fst.system.memory import held_memory

TILES = (512, 448, 384, 320, LEAST_TILE)  # larger ones gain nothing that can be measured
HALO = 16  # pixels around a tile, at most

Shape = tuple[int, int, int]  # height, width and channels


class Room:
    """Planes in memory as long as they fit, and in scratch files from then on."""

    def __init__(self, memory: float, scratch: Scratch) -> None:
        self._left, self._scratch = memory, scratch

    def plane(self, height: int, width: int, channels: int, kind: type = np.float32) -> Plane:
        """A plane for so many pixels; what is in it is not known yet."""
        size = size_of((height, width, channels), kind)
        if size > self._left:
            return self._scratch.plane(height, width, channels, kind)
        self._left -= size
        return InMemory(np.empty((height, width, channels), kind))


def size_of(shape: Shape, kind: type) -> int:
    """Bytes of a plane."""
    return int(np.prod(shape, dtype=np.int64)) * np.dtype(kind).itemsize


@dataclass(frozen=True)
class Reckoned:
    """What a pass in tiles will take: the side of its tiles, bytes, and the arithmetic of one pass.

    ``room`` is left in memory for planes, ``scratch`` are those that do not fit there, ``traffic``
    what is read and written of them.
    """

    tile: int
    room: float
    scratch: int
    traffic: int
    arithmetic: float


def reckon(
    arguments: Mapping[str, Any],
    height: int,
    width: int,
    *,
    memory: PassMemory,
    tiling: Tiling,
    on_cpu: bool = True,
    pixel_planes: tuple[int, ...] = (),
    beside: float = 0,
) -> Reckoned:
    """Tiles for a photo of this size; ``FstError`` where they do not fit.

    ``memory`` is what a pass takes, on the processor or, not ``on_cpu``, elsewhere.
    ``pixel_planes`` are the channels of planes of 8 bits that are to be made beside the maps, in
    this order. ``beside`` are bytes to leave for photos that are read and written meanwhile.
    """
    left = tiling.memory - held_memory() - FIXED_MEMORY
    net_width = int(arguments["width"])
    sides = TILES if isinstance(tiling.tiles, str) else (int(tiling.tiles) // 4 * 4,)
    for tile in sides:
        pixels = min(tile + 2 * HALO, height) * min(tile + 2 * HALO, width)
        taken = memory.needed(pixels, net_width) if on_cpu else FIXED_MEMORY
        if taken <= left:
            break
    else:
        raise FstError(
            f"tiles of {tile} px need about {(taken + FIXED_MEMORY) / 1e9:.1f} GB of memory and "
            f"{max(left, 0) / 1e9:.1f} GB may be taken; allow more with --max-memory"
        )
    room = max(left - taken - beside, 0)
    pixels_moved = moved(arguments, height, width, tile)
    maps = map_shapes(arguments, height, width)
    planes: list[tuple[Shape, type, str]] = []
    planes += [((height, width, channels), np.uint8, "photo") for channels in pixel_planes]
    planes += [(shape, np.float32, name) for name, shape in maps.items()]
    scratch, traffic, rest = 0, 0, room
    for shape, kind, name in planes:
        size = size_of(shape, kind)
        if size <= rest:
            rest -= size
        else:
            scratch += size
            traffic += pixels_moved[name] * size_of((1, 1, shape[2]), kind)
    return Reckoned(
        tile=tile,
        room=room,
        scratch=scratch,
        traffic=traffic,
        arithmetic=work(arguments, height, width, tile) / work(arguments, height, width, None),
    )
