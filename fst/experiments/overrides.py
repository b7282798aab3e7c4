"""A user's ``key=value`` words -> words that Hydra's grammar takes literally."""

from __future__ import annotations

import os
import re

from fst.errors import FstError
from fst.experiments.known_settings import keys_of
from fst.system.old_names import new_key
from fst.system.paths import user_path


def prepare_overrides(arguments: list[str]) -> list[str]:
    """Make a user's ``key=value`` words safe for Hydra's grammar, before Hydra sees them.

    Flags go first, as argparse needs them. Keys of older versions get their names of today. Values
    of path-valued keys are quoted, also in lists, which may come without their brackets. Layers of
    the loss may be named without Hydra's ``+``, as any layer of the network may be asked for. In a
    multirun (``-m``) a value with commas is left to Hydra as a sweep unless it names a file that
    exists, and ``[a,b],[c,d]`` is a sweep over two lists. A word that is neither a flag nor
    ``key=value`` is refused with a sentence.
    """
    multirun = any(word in ("-m", "--multirun") for word in arguments)
    flags, prepared = [], []
    takes_value = False
    for word in arguments:
        if takes_value:
            flags.append(word)
            takes_value = False
            continue
        if word.startswith("-"):
            takes_value = word in (
                "--config-dir",
                "-cd",
                "--config-name",
                "-cn",
                "--config-path",
                "-cp",
                "--cfg",
                "-c",
                "--package",
                "-p",
                "--info",
                "-i",
                "--experimental-rerun",
            )
            flags.append(word)
            continue
        key, equals, value = word.partition("=")
        if new_key(key) != key:  # ++, as a user's own config may have the old name alone
            key = new_key(key)
            key = key if key.startswith("~") else f"++{key.lstrip('+')}"
            word = f"{key}{equals}{value}"
        if not equals and not word.startswith("~"):
            raise FstError(f"'{word}' is not key=value; did you mean style={word}?")
        if key.lstrip("+") in keys_of("text") and value not in ("", "null", "???"):
            sweep = multirun and "," in value and not os.path.exists(user_path(value))
            word = word if sweep else f"{key}={_quoted_once(value)}"
        if key in keys_of("texts"):
            lists = _lists(value) if multirun else [value]
            quoted = (f"[{','.join(map(_quoted_once, _items(one)))}]" for one in lists)
            word = f"{key}={','.join(quoted)}"
        if key.startswith(keys_of("layers")):
            word = f"++{word}"
        prepared.append(word)
    return flags + prepared


def quote(value: str) -> str:
    """A string as one quoted value of Hydra's override grammar, taken literally."""
    value = value.replace("${", "\\${")
    # in quotes Hydra reads backslashes literally, but for those that stand before a quote
    value = re.sub(r"(\\*)('|$)", lambda m: 2 * m[1] + ("\\'" if m[2] else ""), value)
    return f"'{value}'"


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
