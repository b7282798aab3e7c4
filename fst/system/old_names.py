"""Names of older versions, read as what they are called now: the only place of its kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RENAMED = {"licence": "license"}  # keys of settings, cards and loss networks' metadata


def in_new_names(stored: Any) -> Any:
    """What a file or a config holds, with the keys of its mappings renamed, at any depth.

    Where a mapping has a key under both names, the one that comes later counts. Nothing is changed
    in ``stored`` itself.
    """
    if isinstance(stored, Mapping):
        return {RENAMED.get(key, key): in_new_names(value) for key, value in stored.items()}
    if isinstance(stored, list):
        return [in_new_names(value) for value in stored]
    return stored


def new_key(key: str) -> str:
    """A dotted key of a setting by its name of today: ``data.licence`` -> ``data.license``."""
    *groups, name = key.split(".")
    return ".".join([*groups, RENAMED.get(name, name)])
