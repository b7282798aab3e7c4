"""A composed config as plain data that nobody changes."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf


class Config(Mapping[str, Any]):
    """Settings in groups, all resolved: ``config.style.size``, or ``config["style"]["size"]``.

    Nothing can be set in it, and its lists are handed out as copies. What must be given and is not
    reads ``"???"``, as in the YAML files. Of our own, as OmegaConf's read-only containers would
    resolve a file name with ``${...}`` in it a second time.
    """

    __slots__ = ("_plain",)
    _plain: dict[str, Any]

    def __init__(self, settings: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_plain", copy.deepcopy(dict(settings)))

    def __getitem__(self, key: str) -> Any:
        value = self._plain[key]
        return Config(value) if isinstance(value, dict) else copy.deepcopy(value)

    def __getattr__(self, key: str) -> Any:
        if key not in self._plain:
            raise AttributeError(
                f"{key} is not a setting; the settings here are {', '.join(self._plain)}"
            )
        return self[key]

    def __setattr__(self, key: str, value: Any) -> None:
        raise AttributeError(f"{key}={value}: settings are not changed once they are settled")

    def __delattr__(self, key: str) -> None:
        raise AttributeError(f"{key}: settings are not changed once they are settled")

    def __iter__(self) -> Iterator[str]:
        return iter(self._plain)

    def __len__(self) -> int:
        return len(self._plain)

    def __repr__(self) -> str:
        return repr(self._plain)

    def __deepcopy__(self, memo: object) -> Config:
        return self

    def __reduce__(self) -> Any:
        return Config, (self._plain,)

    def plain(self) -> dict[str, Any]:
        """A dictionary of its own, for what needs one: YAML, JSON, a constructor."""
        return copy.deepcopy(self._plain)

    def but(self, key: str, value: Any) -> Config:
        """The same settings but for one, by its dotted key."""
        changed = self.plain()
        *groups, name = key.split(".")
        place = changed
        for group in groups:
            place = place[group]
        place[name] = value
        return Config(changed)


def resolved(config: DictConfig) -> dict[str, Any]:
    """What Hydra has composed, as a plain dictionary with nothing left to resolve."""
    found = OmegaConf.to_container(config, resolve=True)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


def literal(text: str) -> str:
    """A text as OmegaConf must be given it so that ``${`` in it stays what it is."""
    return text.replace("${", "\\${")
