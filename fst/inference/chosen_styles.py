"""Which styles a user asks for: one, several, all that are shipped, or a blend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fst.errors import FstError
from fst.nets.blend import blend_label, read_blend, require_unnamed
from fst.nets.style_card import read_card
from fst.nets.style_names import find_file, find_style, shipped_styles, style_label

ALL = "all"


class ChosenStyle(NamedTuple):
    """A style file or the address of one painting, what its results are called after, a blend."""

    path: Path
    label: str
    blend: dict[str, float] | None = None


def chosen_styles(words: Sequence[str], blend: dict[str, float] | None = None) -> list[ChosenStyle]:
    """Names or files of styles, ``all`` for those that are shipped; with ``blend``, of several.

    The cards are read, the nets are not. Raises ``FstError`` for unknown styles, for two of one
    name, and where a blend is asked for and there is no one file to blend in.
    """
    if blend is not None:
        if len(words) != 1 or words[0] == ALL:
            raise FstError("--blend is between the paintings of one file; give one --style")
        path = find_file(words[0])
        require_unnamed(path)
        read_blend(path, blend)
        return [ChosenStyle(path, blend_label(blend), blend)]
    chosen: list[ChosenStyle] = []
    for word in words:
        if word == ALL:
            chosen += [ChosenStyle(path, name) for name, path in shipped_styles().items()]
        else:
            path = find_style(word)
            chosen.append(ChosenStyle(path, style_label(word, path)))
    chosen = list(dict.fromkeys(chosen))
    for style in chosen:
        read_card(style.path)
    for label, count in Counter(style.label for style in chosen).items():
        if count > 1:
            raise FstError(f"{count} of the styles are called {label}; stylize with one at a time")
    return chosen
