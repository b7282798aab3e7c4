"""A user's ``key=value`` words -> words that Hydra's grammar takes literally."""

from __future__ import annotations

import os
import re

from fst.errors import FstError
from fst.experiments.flags import Asked, as_arguments, part, quote
from fst.experiments.known_settings import keys_of
from fst.experiments.known_words import OPTIONAL, is_setting
from fst.nets.style_card import SUFFIX
from fst.system.old_names import new_key
from fst.system.paths import configs_dir, user_path

NETWORKS = (".pth", ".pt", SUFFIX)


def prepare_overrides(arguments: list[str]) -> list[str]:
    """Make a user's ``key=value`` words safe for Hydra's grammar, before Hydra sees them.

    Flags go first, as argparse needs them. Keys of older versions get their names of today. Values
    of path-valued keys are quoted, also in lists, which may come without their brackets. Layers of
    the loss may be named without Hydra's ``+``, as any layer of the network may be asked for, and
    a choice with it. In a multirun (``-m``) a value with commas is left to Hydra as a sweep unless
    it names a file that exists, and ``[a,b],[c,d]`` is a sweep over two lists. A word that is
    neither a flag nor ``key=value`` is refused with a sentence.
    """
    asked = part(arguments)
    return as_arguments(Asked(asked.flags, prepared(asked)))


def prepared(asked: Asked) -> list[str]:
    """The words of ``prepare_overrides`` alone, without the flags."""
    return [_prepared(word, multirun=asked.sweep) for word in asked.words]


def _prepared(word: str, *, multirun: bool) -> str:
    key, equals, value = word.partition("=")
    if new_key(key) != key:  # ++, as a user's own config may have the old name alone
        key = new_key(key)
        key = key if key.startswith("~") else f"++{key.lstrip('+')}"
        word = f"{key}{equals}{value}"
    if not equals and not word.startswith("~"):
        raise FstError(_what_it_may_mean(word))
    name = key.lstrip("+")
    if name != key and (configs_dir() / name).is_dir():
        word = key = f"{name}{equals}{value}"
        key = name
    if (key == f"+{name}" and is_setting(name)) or (name == key and name in OPTIONAL):
        key = f"++{name}"  # whether it is there yet or not, as in a config of one's own
        word = f"{key}{equals}{value}"
    if not multirun or "," not in value:
        _require_choice(name, value)
    if name in keys_of("text") and value not in ("", "null", "???"):
        sweep = multirun and "," in value and not os.path.exists(user_path(value))
        word = word if sweep else f"{key}={_quoted_once(value)}"
    if key in keys_of("texts"):
        lists = _lists(value) if multirun else [value]
        quoted = (f"[{','.join(map(_quoted_once, _items(one)))}]" for one in lists)
        word = f"{key}={','.join(quoted)}"
    if key.startswith(keys_of("layers")):
        word = f"++{word}"
    return word


def _what_it_may_mean(word: str) -> str:
    path = user_path(word)
    mean = f"style={word}"
    if path.is_dir():
        mean = f"data.root={word}"
    elif path.is_file():
        mean = f"style.image={word}"
    return f"'{word}' is not key=value; did you mean {mean}?"


def _require_choice(key: str, value: str) -> None:
    """Raise ``FstError`` for a file in the place of a choice that has another setting for it."""
    path = user_path(value) if key in ("style", "loss_network") else None
    if path is None:
        return
    file = path.is_file() or "/" in value or path.suffix.lower() in (*PICTURES, *NETWORKS)
    if file and key == "style" and path.suffix == SUFFIX:
        raise FstError(
            f"style={value} is a trained style; training takes a painting, and begins with a "
            f"style by warm_start={value}"
        )
    if file and key == "style":
        raise FstError(
            f"style= takes the name of a known painting; for a picture of your own say "
            f"style.image={value}"
        )
    if file:
        raise FstError(f"a network of your own is loss_network=file loss_network.file={value}")


PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".heic", ".avif")


def _lists(value: str) -> list[str]:
    """The lists of ``[a,b],[c,d]``; one that exists as a file may look like that itself."""
    if os.path.exists(value) or os.path.exists(value[1:-1]):
        return [value]
    return re.split(r"(?<=\]),\s*(?=\[)", value)


def _items(value: str) -> list[str]:
    """The paths of ``[a,b]``, ``a,b`` or ``a``; one that exists may hold commas itself."""
    inside = value[1:-1] if value[:1] == "[" and value[-1:] == "]" else value
    for whole in (value, inside):
        if os.path.exists(whole):
            return [whole]
    items = re.findall(r"""\s*('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^,]+)""", inside)
    return [item.strip() for item in items if item.strip()]


def _quoted_once(value: str) -> str:
    return value if _is_quoted(value) else quote(value)


def _is_quoted(value: str) -> bool:
    return (
        len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" and not os.path.exists(value)
    )
