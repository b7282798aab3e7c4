"""Which styles there are: shipped with the package, trained below ``runs/``, or a file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from fst.errors import FstError
from fst.nets.style_card import SUFFIX, listed_cards, parted_address
from fst.system.paths import checkpoints_dir, user_path


def shipped_files() -> dict[str, Path]:
    """The style files inside the package: {stem: path}."""
    return {path.stem: path for path in sorted(checkpoints_dir().glob(f"*{SUFFIX}"))}


def shipped_styles() -> dict[str, Path]:
    """The styles inside the package: {name: path or address}.

    A painting in a file of several comes after those that have a file of their own.
    """
    return _styles_in(shipped_files())


def trained_styles(runs: str | Path = "runs") -> dict[str, Path]:
    """The styles trained here: of every ``runs/NAME/NAME.safetensors``, as ``shipped_styles``."""
    found = sorted(Path(runs).glob(f"*/*{SUFFIX}"))
    return _styles_in(
        {
            path.parent.name: path
            for path in found
            if re.fullmatch(rf"{re.escape(path.stem)}(-\d+)?", path.parent.name)
        }
    )


def _styles_in(files: Mapping[str, Path]) -> dict[str, Path]:
    alone: dict[str, Path] = {}
    among: dict[str, Path] = {}
    for name, path in files.items():
        try:
            cards = listed_cards(path)
        except FstError:  # whoever asks for it is told
            cards = []
        if len(cards) < 2:
            alone[name] = path
        for card in cards if len(cards) > 1 else []:
            among.setdefault(card.name, Path(f"{path}:{card.name}"))
    return {**alone, **{name: path for name, path in among.items() if name not in alone}}


def style_label(name_or_file: str | Path, path: Path) -> str:
    """What results of a style are called after: the name asked for, or the file's stem."""
    name = parted_address(path)[1]
    if name is not None:
        return name
    return path.stem if user_path(name_or_file) == path else str(name_or_file)


def find_style(name_or_file: str | Path) -> Path:
    """Where a style is: a file, or the address of one painting of several.

    Sought as a file, as a shipped style, as one that was trained below ``runs/``, in that order.
    Raises ``FstError`` listing the known names.
    """
    text = str(name_or_file)
    path = user_path(text)
    if os.path.isfile(parted_address(path)[0]):
        return path
    for known in (shipped_styles(), trained_styles()):
        if text in known:
            return known[text]
    if text in shipped_files():
        return shipped_files()[text]  # of several: its reader says which
    if path.suffix == SUFFIX or len(path.parts) > 1:
        raise FstError(f"style file {path} does not exist; `fst list` shows the styles there are")
    names = ", ".join([*shipped_styles(), *trained_styles()]) or "none yet; `fst train` makes one"
    raise FstError(f"style '{text}' is unknown; known styles: {names}")


def find_file(name_or_file: str | Path) -> Path:
    """``find_style``, which also takes the name of a file of several paintings for all of it."""
    text = str(name_or_file)
    run = Path("runs") / text / f"{text}{SUFFIX}"
    if text in shipped_files():
        return shipped_files()[text]
    return run if run.is_file() else find_style(name_or_file)
