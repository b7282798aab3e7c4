"""The page's server: a port of this machine, and uvicorn on it until it is told to stop."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from fst.errors import FstError
from fst.page.app import HOST

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette

PORT = 8732  # nothing known uses it; the next free one if something does
LEAVE_S = 2  # for answers under way


def listen(port: int | None) -> socket.socket:
    """A socket on this machine's own address; ``FstError`` for a port that is in use.

    Without ``port`` it is ``PORT``, or any that is free.
    """
    for number in (PORT, 0) if port is None else (port,):
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, number))
            return listening
        except OSError as error:
            listening.close()
            reason = error.strerror or str(error)
    raise FstError(f"--port {port} cannot be used ({reason.lower()}); leave it out for a free one")


def serve(
    app: Starlette, listening: socket.socket, ready: Callable[[uvicorn.Server], None]
) -> None:
    """Answer on the socket until a signal; ``ready`` is told once it does."""
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            ready(self)

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=LEAVE_S,
    )
    Server(config).run(sockets=[listening])
