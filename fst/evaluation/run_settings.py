"""What the ``config.yaml`` of a finished run says, read as a stranger's: Hydra is not needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fst.errors import FstError
from fst.system.old_names import in_new_names
from fst.system.untrusted import read_yaml

# what is used of a run's config, of what kind; sizes in pixels
KINDS: dict[str, dict[str, tuple[type, ...]]] = {
    "style": dict.fromkeys(("name", "image", "painted", "file", "root"), (str,)) | {"size": (int,)},
    "data": {"root": (str, list), "val_root": (str, list), "val_photos": (int,)},
    "loss_network": dict.fromkeys(("name", "weights", "file", "padding_mode"), (str,)),
}
LARGEST_PAINTING = 20_000  # pixels


def run_settings(file: Path) -> dict[str, Any]:
    """The ``config.yaml`` of a run, bounded and of the right kinds as far as it is used here.

    Raises ``FstError`` for one that is damaged or planted.
    """
    settings = in_new_names(read_yaml(file))
    several = settings.get("paintings", [])
    if not isinstance(several, list):
        raise FstError(f"{file} is damaged: its paintings are no list")
    for group, value in [*((g, settings.get(g)) for g in KINDS), *(("style", s) for s in several)]:
        if value is None and value not in several:
            continue
        if not isinstance(value, dict):
            raise FstError(f"{file} is damaged: its {group} is not a mapping")
        for key, kinds in KINDS[group].items():
            one = value.get(key)
            if one is not None and (not isinstance(one, kinds) or isinstance(one, bool)):
                raise FstError(f"{file} is damaged: its {group}.{key} is of the wrong kind")
        if group == "style" and not 0 < (value.get("size") or 1) <= LARGEST_PAINTING:
            raise FstError(f"{file} is damaged: its style.size is {value['size']} px")
    return settings
