"""A photo too large to be decoded as a whole: from its file to its picture in strips and tiles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from fst.errors import FstError
from fst.inference.controls import (
    ALPHA,
    NO_ALPHA_MASK,
    Controls,
    controlled,
    mask_image,
    mask_rows,
)
from fst.inference.huge_choice import HugePhoto
from fst.inference.strokes import StrokesInPlanes, side_of
from fst.inference.stylizer import Stylizer
from fst.inference.tile_budget import Room
from fst.inference.tile_maps import SIDEWAYS, Plane, Scratch, Turned, require_room
from fst.inference.tile_plan import Span
from fst.pictures.strips import (
    StripReader,
    require_strips_writable,
    save_strips,
)

Rows = Callable[[int, int], np.ndarray]


def stylize_huge(stylizer: Stylizer, huge: HugePhoto, controls: Controls, *, quality: int) -> Path:
    """Stylize a photo into its file; the path written.

    Raises ``FstError`` as ``Stylizer.pixels`` and ``save_strips`` do, and where neither the memory
    nor the disk has the room; it is asked for before anything is decoded.
    """
    tiled = stylizer.in_tiles(controls.styles, controls.strength)
    reader = StripReader(huge.path, memory=stylizer.lately_free.look())
    sides = reader.height, reader.width
    upright = sides[::-1] if reader.orientation in SIDEWAYS else sides
    planes = (3, 1, 3) if reader.has_alpha else (3, 3)
    reckoned = tiled.reckon(*upright, planes)
    scratch = Scratch(stylizer.tiling.folder)
    require_room(scratch.folder, reckoned.scratch)
    room = Room(reckoned.room, scratch)
    photo, alpha = _decoded(reader, room)
    target = huge.target_of(alpha is not None)
    height, width = upright
    require_strips_writable(target, width, height)
    finish = _finishing(stylizer.last_mix(controls), photo, alpha)
    stroke = side_of(controls.stroke, min(upright))
    strokes = None
    if stroke is not None:
        strokes = StrokesInPlanes(_rows(photo), height, width, stroke)
    result = room.plane(height, width, 3, np.uint8)
    tiled.run(photo, result, reckoned, room)
    if strokes is not None:
        strokes.look(stylizer.passes(controls.styles, controls.strength), _rows(result))

    def rows(start: int, stop: int) -> np.ndarray:
        made = _rows(result)(start, stop)
        if strokes is not None:
            made = strokes.rows(made, start)
        return finish(made, start, stop)

    save_strips(
        target,
        height,
        width,
        rows,
        None if alpha is None else lambda start, stop: _rows(alpha)(start, stop)[..., 0],
        quality=quality,
        icc_profile=reader.icc_profile_of_rgb,
    )
    return target


def _decoded(reader: StripReader, room: Room) -> tuple[Plane, Plane | None]:
    """The upright photo and its alpha channel, None where it is opaque everywhere."""
    sides = reader.height, reader.width
    photo = room.plane(*sides, 3, np.uint8)
    alpha = room.plane(*sides, 1, np.uint8) if reader.has_alpha else None
    opaque = True
    for row, rgb, transparency in reader:
        photo.write(row, 0, rgb)
        if alpha is not None and transparency is not None:
            alpha.write(row, 0, transparency[..., None])
            opaque = opaque and bool((transparency == 255).all())
    reader.close()
    turned = [Turned(plane, reader.orientation) for plane in (photo, alpha) if plane is not None]
    return turned[0], None if opaque else turned[1]


def _rows(plane: Plane) -> Rows:
    return lambda start, stop: plane.read(Span(start, stop), Span(0, plane.width))


def _batch(rows: np.ndarray) -> np.ndarray:
    return rows.transpose(2, 0, 1)[None]


def _finishing(
    controls: Controls, photo: Plane, alpha: Plane | None
) -> Callable[[np.ndarray, int, int], np.ndarray]:
    """The controls for rows of the picture; ``FstError`` for a mask that does not fit."""
    shares: Rows | None = None
    if isinstance(controls.mask, str) and controls.mask == ALPHA:
        if alpha is None:
            raise FstError(NO_ALPHA_MASK)
        shares = _rows(alpha)
    elif controls.mask is not None:
        mask = mask_image(controls.mask, photo.width, photo.height)
        shares = lambda start, stop: mask_rows(mask, photo.width, photo.height, start, stop)  # noqa: E731

    def finish(made: np.ndarray, start: int, stop: int) -> np.ndarray:
        if controls.plain:
            return made
        source = _rows(photo)(start, stop)
        share = None if shares is None else shares(start, stop).reshape(made.shape[:2])
        mixed = controlled(_batch(made), _batch(source), controls, share)
        return mixed[0].transpose(1, 2, 0)

    return finish
