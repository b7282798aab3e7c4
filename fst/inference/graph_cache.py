"""Exported graphs of styles, kept in the user's cache folder for the next time.

One file a graph, ``KEY-CHECKSUM.onnx``: the key is of the style's tensors and of how its net is
built, the checksum of the file itself. A file that does not match is not used, nor is a
graph whose tensors lie in other files.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re

from fst.errors import FstError
from fst.nets.style_card import Card
from fst.system.files import open_regular, write_whole
from fst.system.paths import cache_dir

# A tensor that lies in another file has an entry with the key "location" in onnx.proto: field 1, of
# 8 bytes, both numbers as varints, which may be longer than they need be. Ours have none, and a
# runtime would open whatever file it names.
EXTERNAL = re.compile(rb"(?:\x0a|\x8a\x80*\x00)(?:\x08|\x88\x80*\x00)location")
GRAPH_VERSION = 2  # raise it when the same tensors would make another graph


def load_graph(card: Card) -> bytes | None:
    """The cached graph of a style, an ``.onnx`` file; None if there is none that is whole."""
    for path in sorted(cache_dir().glob(f"{_key(card)}-*.onnx")):
        with contextlib.suppress(OSError, FstError):
            with open_regular(path) as handle:
                data = handle.read()
            if path.stem.endswith(f"-{_digest(data)}") and not EXTERNAL.search(data):
                return data
    return None


def keep_graph(card: Card, data: bytes) -> None:
    """Put a graph into the cache in place of any other of its style.

    Raises ``FstError`` where the folder cannot be written.
    """
    kept = cache_dir() / f"{_key(card)}-{_digest(data)}.onnx"
    write_whole(kept, data)
    forget_graph(card, but=kept.name)


def forget_graph(card: Card, *, but: str = "") -> None:
    """Remove the graphs of a style from the cache, as far as they can be removed."""
    for path in cache_dir().glob(f"{_key(card)}-*.onnx"):
        if path.name != but:
            with contextlib.suppress(OSError):
                path.unlink()


def _key(card: Card) -> str:
    if not card.sha256:
        raise FstError(f"the card of {card.name} has no checksum; save the style again")
    said = [GRAPH_VERSION, card.sha256, sorted(card.net.items())]
    return _digest(json.dumps(said).encode())


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]
