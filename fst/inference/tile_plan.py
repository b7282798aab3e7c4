"""A pass in pieces: where it is suspended, and what each piece of it needs for one tile.

An instance norm needs the whole picture before its first pixel, so a pass over tiles is suspended
at each norm (``pieces``): all tiles go through a piece, their statistics are pooled, and the next
piece goes on. Nothing is approximated: every layer pads where the picture ends, by reflection, and
nowhere else (``spans``). Features are kept only at a quarter of the side; what lies before is
computed anew from the photo, and what comes behind from the last of those maps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

STEP = 4  # pixels of the photo along one pixel of a map
BEGIN_OF_SUM = "sum"  # x + z * scale + shift: a residual block's end
BEGIN_OF_NORM = "norm"  # ReLU of x * scale + shift
BEGIN_OF_MAP = "map"  # x as it is
BEGIN_OF_PHOTO = "photo"  # 8-bit levels


class Span(NamedTuple):
    """Rows or columns from ``start`` to before ``stop``."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Conv:
    """A padded convolution with the weights ``name``, and the norm and ReLU that follow at once."""

    name: str
    channels_in: int
    channels_out: int
    kernel: int
    stride: int = 1
    norm: str | None = None

    @property
    def makes_picture(self) -> bool:
        """Whether it is the last one, to the three channels of a picture."""
        return self.channels_out == 3


@dataclass(frozen=True)
class Double:
    """Enlargement by two, to what is at 1/``level`` of the photo's side."""

    level: int


Layer = Conv | Double


@dataclass(frozen=True)
class Piece:
    """What runs between two stops, over each tile.

    ``reads`` are the maps it begins with, ``begin`` says how, with the norm ``norm``. ``keeps``
    writes what it has then back into the map "x"; ``writes`` is the map that the last layer's
    features go to, None where only their statistics are wanted, those of the norm ``measures``.
    A piece that measures none ends in pixels.
    """

    begin: str
    layers: tuple[Layer, ...]
    level: int  # its tiles are at 1/level of the photo's side
    measures: str | None
    reads: tuple[str, ...] = ()
    norm: str | None = None
    keeps: bool = False
    writes: str | None = None


def pieces(arguments: Mapping[str, Any]) -> list[Piece]:
    """The pieces of a ``TransformerNet`` with these ``arguments``, in order."""
    width, blocks = int(arguments["width"]), int(arguments["residual_blocks"])
    conv1 = Conv("conv1.conv", 3, width, 9)
    down1 = Conv("down1.conv", width, 2 * width, 3, 2)
    down2 = Conv("down2.conv", 2 * width, 4 * width, 3, 2)
    found = [
        Piece(BEGIN_OF_PHOTO, (conv1,), 1, "norm1"),
        Piece(BEGIN_OF_PHOTO, (_with(conv1, "norm1"), down1), 2, "norm2"),
        Piece(
            BEGIN_OF_PHOTO,
            (_with(conv1, "norm1"), _with(down1, "norm2"), down2),
            STEP,
            "norm3",
            writes="x",
        ),
    ]
    begin: dict[str, Any] = {"begin": BEGIN_OF_NORM, "reads": ("x",), "norm": "norm3"}
    for block in range(blocks):
        at = f"residual.{block}"
        first, second = (Conv(f"{at}.conv{i}.conv", 4 * width, 4 * width, 3) for i in (1, 2))
        found += [
            Piece(
                layers=(first,),
                level=STEP,
                measures=f"{at}.norm1",
                keeps=True,
                writes="z",
                **begin,
            ),
            Piece(
                BEGIN_OF_NORM,
                (second,),
                STEP,
                f"{at}.norm2",
                reads=("z",),
                norm=f"{at}.norm1",
                writes="z",
            ),
        ]
        begin = {"begin": BEGIN_OF_SUM, "reads": ("x", "z"), "norm": f"{at}.norm2"}
    up1 = Conv("up1.conv.conv", 4 * width, 2 * width, 3)
    up2 = Conv("up2.conv.conv", 2 * width, width, 3)
    conv2 = Conv("conv2.conv", width, 3, 9)
    to_half: tuple[Layer, ...] = (Double(2), _with(up1, "norm4"), Double(1))
    found += [
        Piece(layers=(Double(2), up1), level=2, measures="norm4", keeps=True, **begin),
        Piece(BEGIN_OF_MAP, (*to_half, up2), 1, "norm5", reads=("x",)),
        Piece(BEGIN_OF_MAP, (*to_half, _with(up2, "norm5"), conv2), 1, None, reads=("x",)),
    ]
    return found


def _with(conv: Conv, norm: str) -> Conv:
    return Conv(conv.name, conv.channels_in, conv.channels_out, conv.kernel, conv.stride, norm)


class Spans(NamedTuple):
    """One axis of one tile: the ``made`` part of a piece's last layer, the ``read`` part of what
    it begins with, and two numbers for each layer.

    Of a convolution these are the pixels of padding before and behind, of an enlargement the first
    one that is kept and how many are.
    """

    read: Span
    made: Span
    steps: tuple[tuple[int, int], ...]


def spans(piece: Piece, mode: str, side: int, made: Span) -> Spans:
    """What is needed to make ``made`` of a photo of ``side`` pixels along this axis."""
    lengths = [_at(side, 1 if piece.begin == BEGIN_OF_PHOTO else STEP)]  # that go into each layer
    for layer in piece.layers:
        if isinstance(layer, Conv):
            lengths.append(_at(lengths[-1], layer.stride))
        else:
            lengths.append(_at(side, layer.level))
    steps, span = [], made
    for layer, length in zip(reversed(piece.layers), reversed(lengths[:-1]), strict=True):
        if isinstance(layer, Conv):
            margin = layer.kernel // 2
            start = span.start * layer.stride - margin
            stop = (span.stop - 1) * layer.stride + margin + 1
            steps.append((max(-start, 0), max(stop - length, 0)))
        else:
            # bilinear: each pixel is of the two nearest; at the picture's end, of the last twice
            beside = mode != "nearest"
            start, stop = (span.start - beside) // 2, (span.stop - 1 + beside) // 2 + 1
            start = max(start, 0)
            steps.append((span.start - 2 * start, span.length))
        span = Span(max(start, 0), min(stop, length))
    return Spans(span, made, tuple(reversed(steps)))


def tiles(side: int, tile: int, level: int) -> Iterator[Span]:
    """A side of the photo in tiles of ``tile`` pixels, a multiple of four, at 1/``level`` of it."""
    assert tile % STEP == 0
    length = _at(side, level)
    for start in range(0, _at(side, STEP), tile // STEP):
        first = start * (STEP // level)
        yield Span(first, min(first + tile // level, length))


def work(arguments: Mapping[str, Any], height: int, width: int, tile: int | None) -> int:
    """Multiplications of a pass in tiles, or of one without (``tile`` None)."""
    mode = str(arguments.get("upsampling", "nearest"))
    if tile is None:
        return sum(
            _each(layer) * _at(height, level) * _at(width, level)
            for layer, level in _each_once(arguments).items()
        )
    return sum(_work_of_piece(piece, mode, height, width, tile) for piece in pieces(arguments))


def moved(arguments: Mapping[str, Any], height: int, width: int, tile: int) -> dict[str, int]:
    """Pixels that a pass in tiles reads and writes of the "photo", of the maps and the "result"."""
    mode = str(arguments.get("upsampling", "nearest"))
    found = dict.fromkeys(("photo", "x", "z", "result"), 0)
    for piece in pieces(arguments):
        read = made = 1
        for side in (height, width):
            across = [spans(piece, mode, side, span) for span in tiles(side, tile, piece.level)]
            read *= sum(each.read.length for each in across)
            made *= sum(each.made.length for each in across)
        for name in piece.reads or ("photo",):
            found[name] += read
        if piece.keeps:
            found["x"] += _at(height, STEP) * _at(width, STEP)
        if piece.measures is None or piece.writes is not None:
            found[piece.writes or "result"] += made
    return found


def _work_of_piece(piece: Piece, mode: str, height: int, width: int, tile: int) -> int:
    rows, columns = (
        [spans(piece, mode, side, span) for span in tiles(side, tile, piece.level)]
        for side in (height, width)
    )
    return sum(work_of_tile(piece, down, across) for down in rows for across in columns)


def work_of_tile(piece: Piece, rows: Spans, columns: Spans) -> int:
    """Multiplications of one piece of one tile."""
    sizes = zip(piece.layers, _lengths(piece, rows), _lengths(piece, columns), strict=True)
    return sum(
        down * across * _each(layer) for layer, down, across in sizes if isinstance(layer, Conv)
    )


def _lengths(piece: Piece, axis: Spans) -> list[int]:
    """How many pixels come out of each layer along one axis of a tile."""
    length, lengths = axis.read.length, []
    for layer, (before, behind) in zip(piece.layers, axis.steps, strict=True):
        if isinstance(layer, Conv):
            length = (length + before + behind - layer.kernel) // layer.stride + 1
        else:
            length = behind
        lengths.append(length)
    assert length == axis.made.length
    return lengths


def _each(layer: Conv) -> int:
    return layer.kernel**2 * layer.channels_in * layer.channels_out


def _each_once(arguments: Mapping[str, Any]) -> dict[Conv, int]:
    """The convolutions of the net, with the level of what comes out."""
    found: dict[str, tuple[Conv, int]] = {}
    for piece in pieces(arguments):
        level = 1 if piece.begin == BEGIN_OF_PHOTO else STEP
        for layer in piece.layers:
            level = layer.level if isinstance(layer, Double) else level * layer.stride
            if isinstance(layer, Conv):
                found[layer.name] = (layer, level)
    return dict(found.values())


def _at(side: int, level: int) -> int:
    return -(-side // level)
