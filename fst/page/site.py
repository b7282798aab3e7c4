"""What the page is made of: a file for each path, made when it is asked for.

A local server and a folder for any other hold the same files: our own page, the styles as graphs
with their weights in float16, pictures of the styles, and the browser's runtime.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

import fst
from fst.errors import FstError
from fst.inference.chosen_styles import ALL, ChosenStyle, chosen_styles
from fst.inference.onnx_graph import GraphOptions, onnx_graph
from fst.nets.style_card import Card, parted_address, read_card, read_cards
from fst.nets.style_file import MIN_SIDE, arrays_of, read_checked, read_whole
from fst.nets.style_names import find_file, shipped_styles, trained_styles
from fst.page.runtime import Runtime
from fst.page.uploads import MOST_BYTES
from fst.pictures.thumbnail import thumbnail_image

OURS = (
    "index.html",
    "style.css",
    "icon.svg",
    "app.js",
    "camera.js",
    "choices.js",
    "opened.js",
    "painter.js",
    "photo.js",
    "resize.js",
    "results.js",
    "worker.js",
)
TYPES = {  # which Python's own table, and a system's, may lack
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".jpg": "image/jpeg",
    ".onnx": "application/octet-stream",
    ".gz": "application/octet-stream",  # no Content-Encoding: the page unpacks it
}
# nothing from elsewhere, nothing inline; WebAssembly may be compiled
POLICY = {
    "default-src": "'none'",
    "script-src": "'self' 'wasm-unsafe-eval'",
    "worker-src": "'self' blob:",
    "style-src": "'self'",
    "img-src": "'self' blob:",
    "media-src": "'self' blob:",
    "connect-src": "'self' blob:",
    "base-uri": "'none'",
    "form-action": "'none'",
}
CSP = "; ".join(f"{what} {where}" for what, where in POLICY.items())

Site = dict[str, Callable[[], bytes]]  # path below the page's own address -> its file


def page_styles(words: Sequence[str]) -> list[ChosenStyle]:
    """Names or files of styles -> those of the page; a file of several means all of its paintings.

    Without words the shipped styles that have a file of their own and a picture, and those that
    were trained here. Raises ``FstError`` as ``chosen_styles`` does.
    """
    if not words:
        shipped = [
            ChosenStyle(path, name)
            for name, path in shipped_styles().items()
            if parted_address(path)[1] is None and read_card(path).thumbnail
        ]
        names = {style.label for style in shipped}
        trained = [ChosenStyle(p, n) for n, p in trained_styles().items() if n not in names]
        return shipped + trained
    every: list[str] = []
    for word in words:
        several = None if word == ALL else _several(word)
        every += [word] if several is None else several
    return chosen_styles(every)


def _several(word: str) -> list[str] | None:
    path = find_file(word)
    if parted_address(path)[1] is not None:
        return None
    cards = read_cards(path)
    return [f"{path}:{card.name}" for card in cards] if len(cards) > 1 else None


def site_of(styles: Sequence[ChosenStyle], runtime: Runtime | None, *, server: bool) -> Site:
    """The files of a page with these styles, that runs in the browser, on a server, or both."""
    if not styles:
        raise FstError("there are no styles to show; `fst train` makes one")
    folder = files("fst.page") / "static"
    site: Site = {name: (folder / name).read_bytes for name in OURS}
    index = site["index.html"]
    # also where a file server sends no headers of ours
    site["index.html"] = lambda: index().replace(b'content="CSP"', f'content="{CSP}"'.encode())
    listed, graphs = [], dict[Path, str]()
    for style in styles:
        card = read_card(style.path)
        file, name = parted_address(style.path)
        source = file if name is not None else style.path
        if source not in graphs:
            graphs[source] = _unused(style.label if name is None else file.stem, graphs)
        graph = graphs[source]
        entry: dict[str, Any] = {"name": style.label, "graph": graph}
        entry |= {
            key: str(card.painting.get(key) or "") for key in ("title", "artist", "year", "license")
        }
        if name is not None:
            names = [one.name for one in read_cards(file)]
            entry |= {"row": names.index(name), "rows": len(names)}
        if thumbnail_image(card.thumbnail) is not None:
            entry["picture"] = f"styles/{style.label}.jpg"
            site[entry["picture"]] = partial(base64.b64decode, card.thumbnail)
        if runtime is not None:
            site[graph] = partial(graph_of, source)
        listed.append(entry)
    told = {
        "fst": fst.__version__,
        "engines": runtime.engines if runtime is not None else [],
        "server": server,
        "most_bytes": MOST_BYTES,
        "least_side": MIN_SIDE,
        "styles": listed,
    }
    site["styles.json"] = lambda: json.dumps(told, ensure_ascii=False, indent=1).encode()
    if runtime is not None:
        for name in runtime.names():
            site[f"runtime/{name}"] = partial(runtime.read, name)
    return site


def _unused(stem: str, graphs: dict[Path, str]) -> str:
    """A path for a graph; files of the same name in other folders have others."""
    while f"styles/{stem}.onnx" in graphs.values():
        stem += "_"
    return f"styles/{stem}.onnx"


def graph_of(style: Path) -> bytes:
    """The graph of a style file, of all paintings if there are several, weights in float16.

    It takes ``strength`` and ``colors`` beside the photo, and ``styles`` where there are several.
    """
    if len(read_cards(parted_address(style)[0])) > 1:
        cards, data = read_whole(style)
        card = Card(name=style.stem, net=cards[0].net)
        inputs: tuple[str, ...] = ("strength", "colors", "styles")
    else:
        card, data = read_checked(style)
        inputs = ("strength", "colors")
    return onnx_graph(card, in_halves(data), GraphOptions(inputs=inputs))


def in_halves(data: bytes) -> bytes:
    """A safetensors file with its float32 numbers in float16, where they fit into it."""
    from safetensors.numpy import save

    tensors = arrays_of(data)
    if all(tensor.dtype == np.float16 for tensor in tensors.values()):
        return data
    for name, tensor in tensors.items():
        with np.errstate(over="ignore"):
            half = tensor.astype(np.float16)
        tensors[name] = np.ascontiguousarray(half if np.isfinite(half).all() else tensor)
    return save(tensors)


def type_of(path: str) -> str:
    """The MIME type of a file of the page."""
    return TYPES[Path(path).suffix]
