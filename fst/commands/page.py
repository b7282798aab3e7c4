"""fst page: a page of this machine that stylizes photos in the browser.

fst page
fst page great_wave udnie runs/mine/mine.safetensors
fst page --server   # also by this machine's own runtime, at full size
"""

from __future__ import annotations

import argparse
import webbrowser
from pathlib import Path
from typing import Any

from fst.nets.style_card import TRUST_HELP, cards_trusted
from fst.page.app import HOST, application, require_page
from fst.page.painting import Painter
from fst.page.runtime import PACKAGE, VERSION, Runtime, find_runtime, kept_runtime
from fst.page.serving import PORT, listen, serve
from fst.page.site import page_styles, site_of
from fst.page.uploads import Uploads
from fst.system.console import Parser
from fst.system.paths import user_path


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    with cards_trusted(options.trust_card):
        return _page(options)


def _page(options: argparse.Namespace) -> int:
    require_page()
    styles = page_styles(options.style)
    folder = None if options.runtime is None else user_path(options.runtime)
    runtime = _runtime(folder, needed=not options.server)
    site = site_of(styles, runtime, server=options.server)
    painter = Painter({style.label: style.path for style in styles})
    uploads = Uploads({style.label: style.path for style in styles}, painter)
    listening = listen(options.port)
    address = f"http://{HOST}:{listening.getsockname()[1]}/"

    def ready(server: Any) -> None:
        print(f"{address}  ({len(styles)} styles; Ctrl-C stops)", flush=True)
        if not options.no_browser:
            webbrowser.open(address)

    more = uploads.routes if options.server else list
    try:
        serve(application(site, more), listening, ready)
    finally:
        painter.stop()
    return 0


def _runtime(folder: Path | None, *, needed: bool) -> Runtime | None:
    if folder is None and not needed and not kept_runtime().is_dir():
        return None
    if folder is None and not kept_runtime().is_dir():
        print(f"fetching {PACKAGE} {VERSION} by npm, once", flush=True)
    return find_runtime(folder)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="fst page",
        description="Open a page of this machine that stylizes photos in the browser; no photo "
        "leaves the machine.",
    )
    parser.add_argument(
        "style",
        nargs="*",
        metavar="STYLE",
        help="names or style files; `all` for every shipped one; default those of one painting, "
        "and yours below runs/",
    )
    parser.add_argument(
        "--server",
        action="store_true",
        help="offer this machine's own runtime, too, which paints at full size",
    )
    parser.add_argument("--port", type=int, help=f"default {PORT}, or any that is free")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.add_argument(
        "--runtime",
        metavar="FOLDER",
        help=f"of the npm package {PACKAGE}; default the one that was kept, or fetched by npm",
    )
    parser.add_argument("--trust-card", action="store_true", help=TRUST_HELP)
    return parser
