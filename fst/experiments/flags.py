"""The flags of the commands that Hydra composes for, and the words that have no ``=``."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from fst.errors import FstError
from fst.experiments.known_words import groups_of, known_settings, suggested
from fst.nets.style_card import SUFFIX
from fst.system.paths import user_path

SHOWN = ("job", "hydra", "all")
TOLD = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
VALUED = {
    "--config-dir": "-cd",
    "--config-name": "-cn",
    "--config-path": "-cp",
    "--cfg": "-c",
    "--package": "-p",
}
SWITCHES = {
    "--help": "-h",
    "--multirun": "-m",
    "--run": "-r",
    "--resolve": "",
    "--hydra-help": "",
    "--version": "",
    "--shell-completion": "-sc",
}
INFO = {"--info": "-i"}
RERUN = "--experimental-rerun"
LONG = {short: flag for flag, short in {**VALUED, **SWITCHES, **INFO}.items() if short}
FLAGS = [*VALUED, *SWITCHES, *INFO, RERUN]
ALONE = ("--run", "--multirun", "--cfg", "--info", "--shell-completion")


@dataclass
class Asked:
    """A command line, parted: flags by their long names, with their values, and all other words."""

    flags: dict[str, str] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)

    @property
    def sweep(self) -> bool:
        """Whether one command makes several runs."""
        return "--multirun" in self.flags or "hydra.mode=MULTIRUN" in self.words

    @property
    def shows(self) -> bool:
        """Whether something is printed, and nothing run."""
        printing = ("--cfg", "--info", "--help", "--hydra-help", "--version", "--shell-completion")
        return any(flag in self.flags for flag in printing)


def part(arguments: Sequence[str]) -> Asked:
    """A user's arguments -> flags and words; ``FstError`` for a flag that there is not."""
    asked = Asked()
    left = list(arguments)
    while left:
        word = left.pop(0)
        if not word.startswith("-"):
            asked.words.append(word)
            continue
        given, equals, value = word.partition("=")
        flag = LONG.get(given, given)
        if flag.startswith(("--experimental", "--exp")):
            raise FstError(
                f"{RERUN} is not taken: it would run whatever code a pickle has in it; the "
                "command of a run, given again, resumes it"
            )
        if flag in SWITCHES:
            if equals:
                raise FstError(f"{flag} takes no value, and {word} gives it one")
            asked.flags[flag] = ""
        elif flag in INFO:
            if not equals and left and left[0] in TOLD:
                value = left.pop(0)
            asked.flags[flag] = _one_of(flag, value or "all", TOLD)
        elif flag in VALUED:
            if not equals:
                value = left.pop(0) if left and not left[0].startswith("-") else ""
            if not value:
                kind = " or ".join(SHOWN) if flag == "--cfg" else flag.rpartition("-")[2].upper()
                raise FstError(f"{flag} needs a value: {flag} {kind}")
            asked.flags[flag] = _one_of(flag, value, SHOWN) if flag == "--cfg" else value
        else:
            raise FstError(
                f"{given} is not a flag{suggested(given, FLAGS)}; settings are KEY=VALUE, and the "
                f"flags {', '.join(FLAGS[:-1])}"
            )
    return asked


def _one_of(flag: str, value: str, known: Sequence[str]) -> str:
    if value not in known:
        near = suggested(value, known)
        raise FstError(f"{flag} {value} is unknown{near}; use one of {', '.join(known)}")
    return value


def require_sense(asked: Asked) -> None:
    """Raise ``FstError`` for flags that contradict one another, and folders that are none."""
    flags = asked.flags
    both = [flag for flag in ALONE if flag in flags]
    if len(both) > 1:
        raise FstError(f"{both[0]} and {both[1]} are two things to do; give one of them")
    for flag in ("--package", "--resolve"):
        if flag in flags and "--cfg" not in flags:
            example = "--package style" if flag == "--package" else flag
            raise FstError(f"{flag} is about what --cfg shows: --cfg job {example}")
    folder = flags.get("--config-dir")
    if folder is not None and not os.path.isdir(user_path(folder)):
        raise FstError(f"--config-dir {folder} is not a folder; give one of config files")
    path = flags.get("--config-path")
    if path is not None and not os.path.isdir(user_path(path)):
        raise FstError(
            f"--config-path {path} is not a folder; --config-dir FOLDER adds one to fst's own"
        )
    name = flags.get("--config-name", "")
    if "/" in name or name.endswith((".yaml", ".yml")):
        raise FstError(
            f"--config-name {name} is not a name; that of FOLDER/NAME.yaml goes with "
            "--config-dir FOLDER"
        )


def for_hydra(asked: Asked) -> list[str]:
    """What Hydra's own parser takes: flags first, folders as absolute paths."""
    places = {"--config-dir", "--config-path"}
    flags = {k: str(user_path(v).resolve()) if k in places else v for k, v in asked.flags.items()}
    return as_arguments(Asked(flags, asked.words))


def as_arguments(asked: Asked) -> list[str]:
    """Flags, each with its value behind it, then all other words."""
    flags = [part for pair in asked.flags.items() for part in pair if part]
    return [*flags, *asked.words]


def named(command: str, words: Sequence[str]) -> list[str]:
    """The words of a command with those that are no ``KEY=VALUE`` as what they mean.

    ``fst train PAINTING PHOTOS``, ``fst optimize PHOTO PAINTING``, ``fst evaluate STYLE ...
    PHOTOS``, ``fst distill PHOTOS``. A painting is a picture file, or the name of a style's config.
    Raises ``FstError`` for one that is said twice, and for more than there is room for.
    """
    bare = [word for word in words if _is_bare(command, word)]
    if not bare:
        return list(words)
    given = [word for word in words if word not in bare]
    for word in bare:
        user_path(word)  # an address on the web is refused
    meant = {"train": _train, "optimize": _optimize, "evaluate": _evaluate, "distill": _distill}
    made = meant[command](bare)
    keys = {word.partition("=")[0].lstrip("+~"): word for word in given}
    for word in made:
        key = word.partition("=")[0]
        rivals = STYLES if key in STYLES else (key,)
        for rival in rivals:
            if rival in keys:
                raise FstError(f"{word} and {keys[rival]} say the same twice; give one of them")
    return [*made, *given]


def several_loggers(words: Sequence[str]) -> list[str]:
    """``logger=[a,b]`` as the settings that it means: ``logger=a`` and ``also_log=[b]``."""
    made = []
    for word in words:
        key, _, value = word.partition("=")
        names = [name.strip() for name in value.strip("[]").split(",") if name.strip()]
        if key == "logger" and value.startswith("[") and value.endswith("]"):
            made += [f"logger={names[0]}" if names else "logger=none"]
            made += [f"also_log=[{','.join(names[1:])}]"] if names[1:] else []
        else:
            made.append(word)
    return made


STYLES = ("style", "style.image", "style.painted", "style.file", "styles")
USES = {
    "train": "fst train PAINTING PHOTOS",
    "optimize": "fst optimize PHOTO PAINTING",
    "evaluate": "fst evaluate STYLE ... PHOTOS",
    "distill": "fst distill PHOTOS",
}


def _is_bare(command: str, word: str) -> bool:
    if word.startswith("~") and not os.path.exists(user_path(word)):
        return False
    key, equals, _ = word.partition("=")
    top = re.split(r"[./@]", key.lstrip("+~"))[0]
    known = top in known_settings(command) or top in groups_of(command) or top == "hydra"
    return not equals or (not known and os.path.exists(user_path(word)))


def _train(bare: Sequence[str]) -> list[str]:
    if len(bare) == 1:
        return [f"data.root={bare[0]}" if _is_folder(bare[0]) else _painting(bare[0])]
    if len(bare) > 2:
        raise FstError(
            f"{len(bare)} words, '{bare[2]}' among them, are no settings: {USES['train']} takes "
            "two; several paintings are 'styles=[a.jpg,b.jpg]' style.name=NAME"
        )
    painting, photos = bare
    if _is_folder(painting) and not _is_folder(photos):
        painting, photos = photos, painting
    if _is_folder(painting):
        raise FstError(f"{painting} is a folder; a painting is a picture file: {USES['train']}")
    return [_painting(painting), f"data.root={photos}"]


def _optimize(bare: Sequence[str]) -> list[str]:
    if len(bare) > 2:
        raise FstError(f"'{bare[2]}' is one word too many: {USES['optimize']}")
    return [f"content={bare[0]}", *map(_painting, bare[1:])]


def _evaluate(bare: Sequence[str]) -> list[str]:
    *styles, last = bare
    photos = [f"data.root={last}"] if styles and _is_folder(last) else []
    if not photos:
        styles = list(bare)
    return [f"styles=[{','.join(map(quote, styles))}]", *photos]


def _distill(bare: Sequence[str]) -> list[str]:
    if len(bare) > 1:
        raise FstError(f"'{bare[1]}' is one word too many: {USES['distill']}")
    return [f"data.root={bare[0]}"]


def _painting(word: str) -> str:
    if word.endswith(SUFFIX):
        raise FstError(
            f"{word} is a trained style, not a painting: `fst stylize PHOTO --style {word}`"
        )
    is_file = os.path.exists(user_path(word)) or "/" in word or "." in word
    return f"style.image={word}" if is_file else f"style={word}"


def _is_folder(word: str) -> bool:
    return os.path.isdir(user_path(word))


def quote(value: str) -> str:
    """A string as one quoted value of Hydra's override grammar, taken literally."""
    value = value.replace("${", "\\${")
    # in quotes Hydra reads backslashes literally, but for those that stand before a quote
    value = re.sub(r"(\\*)('|$)", lambda m: 2 * m[1] + ("\\'" if m[2] else ""), value)
    return f"'{value}'"
