"""The page's files over HTTP, on this machine alone: a small application of Starlette."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fst.errors import FstError, pip_install
from fst.page.site import CSP, Site, type_of
from fst.system.installed import is_here

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

HOST = "127.0.0.1"
HOSTS = (HOST, "localhost")  # under other names it is somebody's who points them here
HEADERS = {
    # the page alone in its process, which is then given threads
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": f"{CSP}; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-cache",
}


def require_page() -> None:
    """Raise ``FstError`` where the packages of the extra ``page`` are missing."""
    for package in ("starlette", "uvicorn"):
        if not is_here(package):
            raise FstError(f"fst page needs {package}; {pip_install('page')}")


def application(site: Site, more: Callable[[], list[Any]] = list) -> Starlette:
    """The application that answers with the files of ``site``; ``more`` has further routes."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import PlainTextResponse
    from starlette.responses import Response as Answer
    from starlette.routing import Route

    def file(request: Request) -> Response:
        path = request.path_params["path"] or "index.html"
        if path not in site:
            return PlainTextResponse("there is no such file", 404)
        return Answer(site[path](), headers={"Content-Type": type_of(path)})

    return Starlette(
        routes=[*more(), Route("/{path:path}", file)],
        middleware=[
            Middleware(_with_headers),
            Middleware(TrustedHostMiddleware, allowed_hosts=[*HOSTS], www_redirect=False),
        ],
    )


def _with_headers(app: Any) -> Any:
    """Every answer, also of a mistake, with ``HEADERS``."""
    own = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        async def send_with(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *own]
            await send(message)

        await app(scope, receive, send_with)

    return answer
