"""Photos that a browser of this machine sends, stylized at full size: one at a time, within limits.

A photo is refused by its bytes before they are read, and by its pixels before they are decoded.
Whoever goes away meanwhile is not painted for any longer.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fst.errors import FstError
from fst.inference.strokes import LEAST
from fst.page.painting import Job
from fst.pictures.opening import MOST_PIXELS, opened

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

MOST_BYTES = 100_000_000  # of a photo's file
MOST_WAITING = 4  # photos beside the one that is painted
LOOK_S = 0.1  # between two looks whether the browser is still there
TYPES = {"jpg": "image/jpeg", "png": "image/png"}


class Paints(Protocol):
    """What a ``Painter`` does."""

    def paint(self, job: Job) -> bytes:
        """The bytes of the picture's file."""

    def stop(self) -> None:
        """Stop it."""


class Refused(Exception):
    """A status of HTTP and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Gone(Exception):
    """The browser has gone away."""


class Uploads:
    """The route ``POST /stylize?style=NAME&strength=1&colors=0&stroke=SIDE&format=jpg``."""

    def __init__(self, styles: Mapping[str, Path], painter: Paints) -> None:
        self._styles = styles
        self._painter = painter
        self._here = 0  # requests, with the one that is painted
        self._busy = False

    def routes(self) -> list[Any]:
        """For Starlette."""
        from starlette.routing import Route

        return [Route("/stylize", self.answer, methods=["POST"])]

    async def answer(self, request: Request) -> Response:
        """The picture, or a sentence that says why there is none."""
        from starlette.responses import PlainTextResponse
        from starlette.responses import Response as Answer

        self._here += 1
        try:
            with tempfile.TemporaryDirectory(prefix="fst-page-") as folder:
                job = self._job(request, Path(folder) / "photo")
                await _received(request, job.photo)
                await asyncio.to_thread(_require_size, job.photo)
                data = await self._in_turn(request, job)
            return Answer(data, media_type=TYPES[job.suffix.removeprefix(".")])
        except Refused as refused:
            closing = {"Connection": "close"}  # what it still sends is not read
            return PlainTextResponse(str(refused), refused.status, headers=closing)
        except FstError as error:
            return PlainTextResponse(str(error), 422)
        except Gone:
            return PlainTextResponse("", 499)
        finally:
            self._here -= 1

    def _job(self, request: Request, photo: Path) -> Job:
        origin = request.headers.get("origin")
        if origin is not None and origin != f"http://{request.headers.get('host')}":
            raise Refused(403, "only this page may ask")
        if self._here > 1 + MOST_WAITING:
            raise Refused(503, f"{MOST_WAITING} photos are waiting already; try again later")
        asked = request.query_params
        style, kind = asked.get("style", ""), asked.get("format", "jpg")
        if style not in self._styles:
            raise Refused(400, f"style {style!r} is not one of {', '.join(self._styles)}")
        if kind not in TYPES:
            raise Refused(400, f"format {kind!r} is not one of {', '.join(TYPES)}")
        strength = _number(asked, "strength", 1.0, lambda x: 0 <= x <= 1, "in 0 .. 1")
        colors = _number(asked, "colors", 0.0, lambda x: 0 <= x <= 1, "in 0 .. 1")
        stroke = None
        if "stroke" in asked:
            most = MOST_PIXELS
            said = f"a whole number of pixels, {LEAST} or more"
            stroke = int(
                _number(asked, "stroke", 0, lambda x: LEAST <= x <= most and x == int(x), said)
            )
        return Job(photo, style, strength, colors, stroke, f".{kind}")

    async def _in_turn(self, request: Request, job: Job) -> bytes:
        while self._busy:
            await _still_here(request)
        self._busy = True
        try:
            work = asyncio.create_task(asyncio.to_thread(self._painter.paint, job))
            try:
                while not work.done():
                    await _still_here(request)
            except (Gone, asyncio.CancelledError):
                await asyncio.to_thread(self._painter.stop)
                await asyncio.gather(work, return_exceptions=True)
                raise
            return await work
        except EOFError:
            raise FstError(
                "the process that paints has ended; the photo may be too large for the memory"
            ) from None
        finally:
            self._busy = False


async def _still_here(request: Request) -> None:
    if await request.is_disconnected():
        raise Gone
    await asyncio.sleep(LOOK_S)


async def _received(request: Request, path: Path) -> None:
    """Write the body of a request to a file, as far as it is not too long."""
    from starlette.requests import ClientDisconnect

    sentence = f"the photo's file has more than {MOST_BYTES / 1e6:.0f} MB; make it smaller first"
    if int(request.headers.get("content-length") or 0) > MOST_BYTES:
        raise Refused(413, sentence)
    length = 0
    try:
        with path.open("wb") as file:
            async for part in request.stream():
                length += len(part)
                if length > MOST_BYTES:
                    raise Refused(413, sentence)
                file.write(part)
    except ClientDisconnect:
        raise Gone from None


def _require_size(path: Path) -> None:
    """Refuse a photo by its header, whose pixels are not decoded."""

    def accept(width: int, height: int) -> None:
        if width * height > MOST_PIXELS:
            raise Refused(
                413,
                f"the photo of {width}x{height} px has more than {MOST_PIXELS / 1e6:.0f} "
                "megapixels; make it smaller first",
            )

    try:
        with opened(path, accept):
            pass
    except FstError as error:
        if isinstance(error.__context__, Refused):
            raise error.__context__ from None
        raise Refused(415, str(error).replace(str(path), "the photo")) from None


def _number(
    asked: Any, name: str, default: float, fits: Callable[[float], bool], said: str
) -> float:
    text = asked.get(name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not fits(value):
        raise Refused(400, f"{name} {text!r} is not {said}")
    return value
