"""Which styles there are: shipped with the package, trained below ``runs/``, or a file."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from fst.errors import FstError
from fst.nets.style_card import SUFFIX, listed_cards, parted_address
from fst.system.paths import checkpoints_dir, user_path

PICTURE = "a picture: `fst train PICTURE PHOTOS` makes a style of a painting"
GRAPH = "a graph that `fst export` wrote, for other programs; give the style it was made of"
WEIGHTS = "a file of PyTorch; a style of fst ends in .safetensors"
OTHER_KINDS = {
    **dict.fromkeys((".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"), PICTURE),
    **dict.fromkeys((".heic", ".heif", ".avif"), PICTURE),
    **dict.fromkeys((".onnx", ".pt2"), GRAPH),
    **dict.fromkeys((".pth", ".pt", ".bin", ".t7"), WEIGHTS),
    ".ckpt": "a checkpoint of a training; the style file is in the run's folder, once it ends",
    ".yaml": "a config; the style file is beside it, if the run has ended",
}


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


DEEPEST = 5  # folders below runs/
ELSEWHERE = "elsewhere.txt"  # in runs/: the runs that a run_dir has put into other places


def run_folders(folders: Sequence[str | Path] = ()) -> list[Path]:
    """The folders of all runs, each once, the newest first: those of sweeps and of run_dir too.

    They are sought in ``folders``; without any, below ``runs/`` and in what ``note_elsewhere``
    noted there.
    """
    places = [Path(folder) for folder in folders]
    if not folders:
        noted = Path("runs", ELSEWHERE)
        text = noted.read_text(errors="replace") if noted.is_file() else ""
        places = [Path("runs"), *(Path(line) for line in text.splitlines() if line)]
    found = {run.resolve(): run for place in places for run in _runs_in(place, DEEPEST)}
    return sorted(found.values(), key=lambda run: -(run / "config.yaml").stat().st_mtime)


def _runs_in(folder: Path, depth: int) -> Iterator[Path]:
    if (folder / "config.yaml").is_file():
        yield folder
    elif depth and folder.is_dir():
        for below in sorted(folder.iterdir()):
            if below.is_dir() and not below.is_symlink() and not below.name.startswith("."):
                yield from _runs_in(below, depth - 1)


def note_elsewhere(run: Path) -> None:
    """Note a run whose folder is not below ``runs/`` there, for ``fst list`` to find it."""
    place, noted = run.resolve(), Path("runs", ELSEWHERE)
    if place.is_relative_to(Path("runs").resolve()):
        return
    with suppress(OSError):
        known = noted.read_text().splitlines() if noted.is_file() else []
        if str(place) not in known:
            noted.parent.mkdir(exist_ok=True)
            noted.write_text("".join(f"{line}\n" for line in [*known, place]))


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
    given = user_path(name_or_file)
    return path.stem if path in (given, _in_folder(given)) else str(name_or_file)


def find_style(name_or_file: str | Path) -> Path:
    """Where a style is: a file, or the address of one painting of several.

    Sought as a file, as a shipped style, as one that was trained below ``runs/``, as the folder of
    a run, in that order. Raises ``FstError`` for a file of another kind, and listing the known
    names.
    """
    text = str(name_or_file)
    path = user_path(text)
    file = parted_address(path)[0]
    if os.path.isfile(file):
        if file.suffix.lower() in OTHER_KINDS:
            raise FstError(f"{path} is not a style file but {OTHER_KINDS[file.suffix.lower()]}")
        return path
    for known in (shipped_styles(), trained_styles()):
        if text in known:
            return known[text]
    if text in shipped_files():
        return shipped_files()[text]  # of several: its reader says which
    if os.path.isdir(path):
        found = _in_folder(path)
        if found is None:
            raise FstError(
                f"{path} is a folder without a finished style; give a style file, or a name of "
                "`fst list`"
            )
        return found
    if path.suffix == SUFFIX or len(path.parts) > 1:
        raise FstError(f"style file {path} does not exist; `fst list` shows the styles there are")
    every = [*shipped_styles(), *trained_styles()]
    near = difflib.get_close_matches(text, every, n=1, cutoff=0.7)
    mean = f"; did you mean {near[0]}?" if near else ""
    names = ", ".join(every) or "none yet; `fst train` makes one"
    raise FstError(f"style '{text}' is unknown{mean or ';'} known styles: {names}")


def _in_folder(folder: Path) -> Path | None:
    """The one style file in the folder of a run, if there is one."""
    if not os.path.isdir(folder):
        return None
    found = [p for p in sorted(folder.glob(f"*{SUFFIX}")) if not p.stem.endswith(".failed")]
    named = [path for path in found if path.stem == folder.name]
    return named[0] if named else found[0] if len(found) == 1 else None


def find_file(name_or_file: str | Path) -> Path:
    """``find_style``, which also takes the name of a file of several paintings for all of it."""
    text = str(name_or_file)
    run = Path("runs") / text / f"{text}{SUFFIX}"
    if text in shipped_files():
        return shipped_files()[text]
    return run if run.is_file() else find_style(name_or_file)
