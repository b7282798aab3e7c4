"""What a stranger's card may hold, and which tensors its net must have: looked at before any use.

A card is text that anybody can write. Its size, nesting, numbers and types are bounded here, and
the shapes that its net needs are worked out without building it, so that a file that lies takes no
memory. ``Unfit`` says in a few words what is wrong.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Far above every card that was ever written (3 kB for one painting), far below what would hurt
MOST_HEADER_BYTES = 8_000_000
MOST_FILE_BYTES = 1_000_000_000
DEEPEST = 16  # mappings and lists within each other
MOST_VALUES = 200_000
LONGEST_TEXT = 100_000  # characters
LONGEST_NAME = 200
LONGEST_THUMBNAIL = 8000  # characters of base64, for 6000 bytes
LARGEST_NUMBER = 2**53  # of whole numbers, as JSON means them
USUAL_GAIN = 0.1  # of every net that was ever shipped
NET_TYPES = {
    **{"width": int, "residual_blocks": int, "output_gain": float, "upsampling": str},
    "strengths": bool,
}
ENDS = 2  # rows of a net that takes strengths: the photo's end, the painting's
NOT_IN_EVERY_CARD = {"upsampling", "strengths"}
UPSAMPLINGS = ("nearest", "bilinear")
STORED = {"F16", "BF16", "F32", "F64"}  # safetensors' names of the types a net is stored in

Shapes = dict[str, tuple[int, ...]]


class Unfit(ValueError):
    """What is wrong with a card, in a few words: "its card lacks fields"."""


def parsed(text: str) -> dict[str, Any]:
    """The JSON of a card -> its mapping, bounded and of plain values; else ``Unfit``."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise Unfit("its card cannot be read") from None
    if not isinstance(fields, dict):
        raise Unfit("its card is not a mapping")
    require_plain(fields)
    return fields


def require_plain(value: Any) -> None:
    """Raise ``Unfit`` for what is nested too deep, too much, not finite or no text."""
    left, count = [(value, 1)], 0
    while left:
        one, depth = left.pop()
        count += 1
        if depth > DEEPEST or count > MOST_VALUES:
            raise Unfit(f"its card {'is nested too deep' if depth > DEEPEST else 'holds too much'}")
        if isinstance(one, dict):
            left += [(key, depth) for key in one]
            left += [(part, depth + 1) for part in one.values()]
        elif isinstance(one, list):
            left += [(part, depth + 1) for part in one]
        elif isinstance(one, str):
            if len(one) > LONGEST_TEXT or any("\ud800" <= c <= "\udfff" for c in one):
                raise Unfit("its card holds text that is too long or no text at all")
        elif isinstance(one, float) and not math.isfinite(one):
            raise Unfit("its card holds a number that is not finite")
        elif isinstance(one, int) and abs(one) > LARGEST_NUMBER:
            raise Unfit("its card holds a number that is too large")


def finite(value: Any) -> Any:
    """A value to be written: NaN and infinity, which JSON does not know, become None."""
    if isinstance(value, Mapping):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def require_types(card: Mapping[str, Any]) -> None:
    """Raise ``Unfit`` for fields of a card, as ``Card`` has them, of the wrong kind."""
    for key, value in card.items():
        if key in ("name", "net"):
            continue  # looked at by themselves
        if key == "format_version":
            right = isinstance(value, int) and not isinstance(value, bool)
        elif key in ("fst_version", "sha256", "sha256_all"):
            right = isinstance(value, str) and len(value) <= LONGEST_NAME
        elif key == "thumbnail":
            right = isinstance(value, str) and len(value) <= LONGEST_THUMBNAIL
        elif key == "evaluation":
            right = isinstance(value, list) and all(isinstance(row, dict) for row in value)
        elif key in ("losses", "artifacts", "bf16"):
            right = isinstance(value, dict) and all(map(_is_number, value.values()))
        else:
            right = isinstance(value, dict)
        if not right:
            raise Unfit(f"its card has fields of the wrong kind ({key})")


def require_net(net: object) -> None:
    """Raise ``Unfit`` for arguments that no ``TransformerNet`` of one painting has."""
    if not isinstance(net, dict):
        raise Unfit("its card has fields of the wrong kind (net)")
    if not NET_TYPES.keys() - NOT_IN_EVERY_CARD <= net.keys() <= NET_TYPES.keys():
        raise Unfit("its card has other arguments than a net")
    for key, value in net.items():
        kinds = (int, float) if NET_TYPES[key] is float else NET_TYPES[key]
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
            raise Unfit(f"its card has fields of the wrong kind (net.{key})")
    if net.get("upsampling", "nearest") not in UPSAMPLINGS:
        raise Unfit(f"its card asks for another net.upsampling than {' and '.join(UPSAMPLINGS)}")
    if net["width"] < 1 or net["residual_blocks"] < 0:
        raise Unfit("its card has a net without layers")


def shapes_of(net: Mapping[str, Any], paintings: int = 1) -> Shapes:
    """The tensors' shapes of ``TransformerNet(**net, paintings=paintings)``, which is not built."""
    rows = ENDS if net.get("strengths", False) else paintings
    width = net["width"]
    convolutions = {
        "conv1": (width, 3, 9),
        "down1": (2 * width, width, 3),
        "down2": (4 * width, 2 * width, 3),
        "up1.conv": (2 * width, 4 * width, 3),
        "up2.conv": (width, 2 * width, 3),
        "conv2": (3, width, 9),
    }
    channels = {f"norm{k}": times * width for k, times in enumerate((1, 2, 4, 2, 1), 1)}
    for block in range(net["residual_blocks"]):
        for k in (1, 2):
            convolutions[f"residual.{block}.conv{k}"] = (4 * width, 4 * width, 3)
            channels[f"residual.{block}.norm{k}"] = 4 * width
    shapes: Shapes = {}
    for name, (out, into, side) in convolutions.items():
        shapes[f"{name}.conv.weight"] = (out, into, side, side)
        shapes[f"{name}.conv.bias"] = (out,)
    for name, count in channels.items():
        for part in ("weight", "bias"):
            shapes[f"{name}.{part}"] = (count,) if rows == 1 else (rows, count)
    return shapes


def require_fit(net: Mapping[str, Any], found: Shapes, paintings: int) -> None:
    """Raise ``Unfit`` where a file's tensors, by its header, are not those of the card's net."""
    if paintings > 1 and net.get("strengths", False):
        raise Unfit("its card asks for a net of several paintings that takes strengths")
    if net["residual_blocks"] > len(found) or shapes_of(net, paintings) != found:
        raise Unfit("its tensors do not fit the net in its card")


def whole_sha256(card: Mapping[str, Any], row: int | None) -> str:
    """SHA-256 over the tensors' own, the net's arguments, the name and the row among several.

    A title or a figure may be mended without it; what changes a picture, or what it is called,
    may not.
    """
    said = [card["sha256"], sorted(card["net"].items()), card["name"], row]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def header_bytes(path: Path) -> int:
    """How long a safetensors file says that its header is; ``Unfit`` for an absurd one."""
    size = path.stat().st_size
    with open(path, "rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
    if size > MOST_FILE_BYTES:
        raise Unfit(f"it is of {size / 1e9:.1f} GB, more than any style")
    if size > 8 and size >= length > MOST_HEADER_BYTES:
        raise Unfit(f"its header is of {length / 1e6:.1f} MB, more than that of any style")
    return length


def require_joinable(shared: Any, own: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Both as they are; ``Unfit`` for cards of several paintings that joining would blow up."""
    if not isinstance(shared, dict) or not isinstance(own, list):
        raise Unfit("its card has fields of the wrong kind (shared, styles)")
    if not all(isinstance(one, dict) for one in own):
        raise Unfit("its card has fields of the wrong kind (styles)")
    if _count(shared) * max(len(own), 1) > 10 * MOST_VALUES:
        raise Unfit("its card holds too much")
    return shared, own


def _count(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(_count, value.values()))
    return 1 + sum(map(_count, value)) if isinstance(value, list) else 1


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
