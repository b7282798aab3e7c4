"""One pass over a picture of any size, tile by tile, with the exact statistics of all of it.

``fst.inference.tile_plan`` says in which pieces. Arithmetic is some 1.5 times that of a pass in one
go, as the statistics of the norms before the first map and behind the last one take passes of their
own, and halos come on top. What is kept are two maps of features at a quarter of the side: at width
16, 32 bytes for each pixel of the photo.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from fst.inference.onnx_graph import EPS
from fst.inference.tile_maps import FeatureMap, Plane
from fst.inference.tile_plan import (
    BEGIN_OF_PHOTO,
    STEP,
    Conv,
    Piece,
    Spans,
    pieces,
    spans,
    tiles,
    work_of_tile,
)

ROUNDED = 2e-6  # of a value: about how far float32 may be off after one layer

NewPlane = Callable[[int, int, int], Plane]  # of height, width and channels, float32
Weights = Mapping[str, np.ndarray]


class Pooled:
    """Mean and variance of each channel, merged from those of tiles in float64.

    Chan, Golub and LeVeque 1983: no sum of squares, from which a small variance beside a large mean
    would be lost.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = np.zeros(1)
        self.squares = np.zeros(1)  # summed distances from the mean, squared

    def add(self, count: int, mean: np.ndarray, variance: np.ndarray) -> None:
        """``count`` more values, with the mean and the variance (C,) that they have."""
        mean, variance = mean.astype(np.float64), variance.astype(np.float64)
        total = self.count + count
        away = mean - self.mean
        self.squares = self.squares + variance * count + away**2 * (self.count * count / total)
        self.mean = self.mean + away * (count / total)
        self.count = total

    @property
    def variance(self) -> np.ndarray:
        return self.squares / self.count


@dataclass
class Affine:
    """What an instance norm does once its statistics are known: x * scale + shift, (C,) each."""

    scale: np.ndarray
    shift: np.ndarray

    @classmethod
    def of(cls, pooled: Pooled, weight: np.ndarray, bias: np.ndarray) -> Affine:
        """Of the statistics of the whole picture.

        Where all values are one, they become the bias: each tile's layers round in a way of their
        own, and nine norms in a row would make a picture of what that leaves.
        """
        scale = weight.astype(np.float64) / np.sqrt(pooled.variance + EPS)
        scale[pooled.variance <= (ROUNDED * pooled.mean) ** 2] = 0
        return cls(scale, bias.astype(np.float64) - pooled.mean * scale)


class BoundPiece(NamedTuple):
    """A piece with its numbers: float32, the norm behind each convolution already in its weights.

    ``begin`` is None where no norm is due at the beginning; ``convs`` has (weight, bias) by name.
    """

    piece: Piece
    begin: Affine | None
    convs: dict[str, tuple[np.ndarray, np.ndarray]]
    mode: str  # of enlargement
    output_gain: float


class Made(NamedTuple):
    """What a piece makes of a tile: (rows, columns, C) each, and statistics (C,).

    ``begun`` is what the layers got, if the piece keeps it; ``last`` what they made, if it is
    written somewhere; ``mean`` and ``variance`` are of that.
    """

    begun: np.ndarray | None
    last: np.ndarray | None
    mean: np.ndarray | None
    variance: np.ndarray | None


Run = Callable[[list[np.ndarray], Spans, Spans], Made]


class Engine(Protocol):
    """What computes a piece of a tile."""

    def prepare(self, bound: BoundPiece) -> Run:
        """A function of what the piece reads, (rows, columns, C) each, and the two axes' spans."""


def tiled_pass(
    arguments: Mapping[str, Any],
    weights: Weights,
    engine: Engine,
    photo: Plane,
    result: Plane,
    *,
    tile: int,
    new_plane: NewPlane,
    done: Callable[[int], None] = lambda multiplications: None,
) -> None:
    """photo, uint8 RGB -> its stylized pixels in ``result``, which may be the same plane.

    ``arguments`` and ``weights`` are those of a ``TransformerNet`` of one painting. ``tile`` is in
    pixels of the photo, a multiple of four. ``done`` is told of each tile of a piece, with the
    multiplications that it took.
    """
    mode = str(arguments.get("upsampling", "nearest"))  # as older files were trained
    shapes = map_shapes(arguments, photo.height, photo.width)
    maps = {
        name: FeatureMap(new_plane(*shape), shape[0] - -(-photo.height // STEP))
        for name, shape in shapes.items()
    }
    norms: dict[str, Affine] = {}
    for piece in pieces(arguments):
        run = engine.prepare(_bound(piece, weights, norms, mode, float(arguments["output_gain"])))
        pooled = _sweep(piece, run, mode, photo, result, maps, tile, done)
        for name in {piece.writes, "x" if piece.keeps else None} - {None}:
            maps[str(name)].next()
        if piece.measures is not None:
            rows = (weights[f"{piece.measures}.{kind}"] for kind in ("weight", "bias"))
            norms[piece.measures] = Affine.of(pooled, *rows)


def map_shapes(
    arguments: Mapping[str, Any], height: int, width: int
) -> dict[str, tuple[int, int, int]]:
    """(height, width, channels) of the maps that a pass keeps for a photo of this size, by name."""
    row = pieces(arguments)
    generations = {
        "x": sum(piece.keeps or piece.writes == "x" for piece in row),
        "z": sum(piece.writes == "z" for piece in row),
    }
    channels = 4 * int(arguments["width"])
    return {
        name: (-(-height // STEP) + many, -(-width // STEP) + many, channels)
        for name, many in generations.items()
        if many
    }


def _bound(
    piece: Piece, weights: Weights, norms: Mapping[str, Affine], mode: str, gain: float
) -> BoundPiece:
    convs = {}
    for layer in piece.layers:
        if isinstance(layer, Conv):
            kernel = weights[f"{layer.name}.weight"].astype(np.float64)
            bias = weights[f"{layer.name}.bias"].astype(np.float64)
            if layer.norm is not None:
                norm = norms[layer.norm]
                kernel = kernel * norm.scale[:, None, None, None]
                bias = bias * norm.scale + norm.shift
            convs[layer.name] = kernel.astype(np.float32), bias.astype(np.float32)
    begin = None
    if piece.norm is not None:
        norm = norms[piece.norm]
        begin = Affine(norm.scale.astype(np.float32), norm.shift.astype(np.float32))
    return BoundPiece(piece, begin, convs, mode, gain)


def _sweep(
    piece: Piece,
    run: Run,
    mode: str,
    photo: Plane,
    result: Plane,
    maps: Mapping[str, FeatureMap],
    tile: int,
    done: Callable[[int], None],
) -> Pooled:
    """All tiles through one piece, in the order of reading."""
    pooled = Pooled()
    for made_rows in tiles(photo.height, tile, piece.level):
        rows = spans(piece, mode, photo.height, made_rows)
        for made_columns in tiles(photo.width, tile, piece.level):
            columns = spans(piece, mode, photo.width, made_columns)
            sources = [photo] if piece.begin == BEGIN_OF_PHOTO else [maps[m] for m in piece.reads]
            made = run([source.read(rows.read, columns.read) for source in sources], rows, columns)
            pixels = made_rows.length * made_columns.length
            if made.begun is not None:
                (top, inner_rows), (left, inner_columns) = (
                    _own(axis, piece.level) for axis in (rows, columns)
                )
                maps["x"].write(top, left, made.begun[inner_rows, inner_columns])
            if made.last is not None:
                target = result if piece.writes is None else maps[piece.writes]
                target.write(made_rows.start, made_columns.start, made.last)
            if made.mean is not None and made.variance is not None:
                pooled.add(pixels, made.mean, made.variance)
            done(work_of_tile(piece, rows, columns))
    return pooled


def _own(axis: Spans, level: int) -> tuple[int, slice]:
    """Where a tile's own part of a map begins, and which part of what was read that is."""
    pixels = STEP // level  # of what is made, along one of the map
    start, stop = axis.made.start // pixels, -(-axis.made.stop // pixels)
    return start, slice(start - axis.read.start, stop - axis.read.start)
