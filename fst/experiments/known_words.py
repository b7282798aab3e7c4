"""Which words are settings: every key that a command knows, and the nearest to one it does not."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import yaml

from fst.errors import FstError
from fst.experiments.known_settings import ALWAYS, SETTINGS, keys_of
from fst.system.old_names import in_new_names
from fst.system.paths import configs_dir

GLOBAL = "# @package _global_"  # at the head of a choice whose settings are spread over the groups
# what other programs call them, or an older habit -> what to say here
SYNONYMS = {
    **dict.fromkeys(
        ("ckpt_path", "checkpoint", "resume_from", "resume_from_checkpoint", "ckpt", "restore"),
        "resume=FILE",
    ),
    **dict.fromkeys(("lr", "rate"), "optimizer.learning_rate=NUMBER"),
    **dict.fromkeys(("steps", "iters", "max_iterations", "num_steps"), "trainer.max_steps=NUMBER"),
    **dict.fromkeys(("epochs", "max_epochs", "num_epochs"), "trainer.max_steps=NUMBER"),
    **dict.fromkeys(("gpus", "num_gpus"), "trainer.devices=NUMBER"),
    **dict.fromkeys(("device", "cuda"), "trainer.accelerator=gpu"),
    **dict.fromkeys(("output", "out", "output_dir", "save_dir", "dir"), "run_dir=FOLDER"),
    **dict.fromkeys(("photos", "photo_dir", "dataset", "content_dir"), "data.root=FOLDER"),
    **dict.fromkeys(("painting", "image", "style_image", "picture"), "style.image=FILE"),
    **dict.fromkeys(("photo", "content_image"), "content=FILE"),
    **dict.fromkeys(("content_weight", "style_weight", "tv_weight"), "style.strength=0.7"),
    **dict.fromkeys(("fp16", "amp", "bf16"), "trainer.precision=bf16-mixed"),
    **dict.fromkeys(("name", "title"), "style.name=NAME"),
}
# Hydra's own settings that say where and how *it* works -> ours in their place
HYDRAS = {
    "hydra.run.dir": "run_dir=FOLDER is where a run is kept",
    "hydra.output_subdir": "run_dir=FOLDER is where a run is kept, with its config",
    "hydra.job.chdir": "paths are those of the folder that fst is called in",
    "hydra.job.name": "style.name=NAME is what a run is called",
}
OF_SWEEPS = ("hydra/launcher", "hydra.launcher", "hydra.sweep", "hydra.sweeper", "hydra/sweeper")
FREE = ("logger", *keys_of("layers"))  # whose keys are others' to know


@lru_cache
def known_settings(command: str) -> dict[str, Any]:
    """All settings of ``configs/COMMAND.yaml``, nested: what each is, or one of its values."""
    return _read(command)[0]


def is_setting(key: str) -> bool:
    """Whether any command has a setting of that dotted key."""
    return any(key in _leaves(known_settings(path.stem)) for path in configs_dir().glob("*.yaml"))


@lru_cache
def groups_of(command: str) -> tuple[str, ...]:
    """The groups that a command chooses from: ``style``, ``loss`` ..."""
    return tuple(_read(command)[1])


def _read(command: str) -> tuple[dict[str, Any], list[str]]:
    own = _yaml(configs_dir() / f"{command}.yaml")
    defaults = own.pop("defaults", [])
    own.pop("hydra", None)
    found, groups = own, []
    for default in defaults:
        if isinstance(default, str):
            file, _, package = default.partition("@")
            if package:
                found = _merged(found, {package: _yaml(configs_dir() / f"{file}.yaml")})
            continue
        group = next(iter(default))
        if " " in group:  # override hydra/...
            continue
        groups.append(group)
        for path in sorted((configs_dir() / group).glob("*.yaml")):
            if not path.read_text(encoding="utf-8").startswith(GLOBAL):
                found = _merged(found, {group: _yaml(path)})
    return found, groups


def _yaml(path: Any) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def _merged(one: dict[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(one)
    for key, value in other.items():
        mine = both.get(key)
        if isinstance(value, Mapping) and isinstance(mine, dict):
            both[key] = _merged(mine, value)
        elif value is not None or key not in both:
            both[key] = value
    return both


def require_known(command: str, composed: Mapping[Any, Any]) -> None:
    """Raise ``FstError`` for a key that is no setting, for a lack of one, or for a wrong kind.

    ``composed`` is not resolved. A key that no command knows may stand in it all the same if
    another setting is computed from it: ``${KEY}``.
    """
    plain = in_new_names({k: v for k, v in composed.items() if k != "hydra"})
    used = set(re.findall(r"\$\{\s*([\w.]+)\s*\}", str(plain)))
    nullable = groups_of(command)
    for fault in _faults(plain, known_settings(command), used, nullable):
        key, kind = fault
        if kind == "unknown":
            raise FstError(unknown_key(command, key))
        if kind == "missing":
            raise FstError(
                f"{key} is missing: it cannot be left out (--cfg job shows its values){_cure(key)}"
            )
        raise FstError(f"{key} must be {kind}")


def _cure(key: str) -> str:
    before = SETTINGS[key].before if key in SETTINGS else ALWAYS
    if key == "previews":
        return "; previews.photos=0 makes none"
    if key == "logger":
        return "; logger=csv writes a table only"
    return "" if before is ALWAYS else f"; +{key}={before} is as it was before there was one"


def _faults(
    given: Mapping[Any, Any],
    known: Mapping[str, Any],
    used: set[str],
    nullable: Sequence[str],
    prefix: str = "",
) -> Iterator[tuple[str, str]]:
    for key, value in given.items():
        path = f"{prefix}{key}"
        if path in FREE:
            continue
        if key not in known:
            inner = any(name.startswith(f"{path}.") for name in used)
            if path not in used and not inner:
                yield path, "unknown"
            continue
        default = known[key]
        if isinstance(value, str) and "${" in value:
            continue
        if isinstance(default, Mapping):
            if isinstance(value, Mapping):
                yield from _faults(value, default, used, nullable, f"{path}.")
            elif value is not None or path not in nullable:
                yield path, f"a group of settings, not {value}: {path}.KEY=VALUE"
        elif isinstance(value, Mapping) and default is not None:
            yield path, "one value, not several"
        elif isinstance(default, bool) and not isinstance(value, bool) and path not in MORE:
            yield path, f"true or false, not {value}"
    for key in known:
        path = f"{prefix}{key}"
        if key not in given and path not in OPTIONAL:
            yield path, "missing"


MORE = {"trainer.deterministic", "trainer.benchmark"}  # truth values that may be a word, or null
OPTIONAL = (
    "trainer.max_time",
    "trainer.limit_train_batches",
    "also_log",
)  # came later than users' own files


def unknown_key(command: str, key: str) -> str:
    """'KEY is not a setting; did you mean OTHER?'"""
    near = nearest_key(command, key)
    *parents, _ = key.split(".")
    siblings = _siblings(_all_keys(command), parents) if parents else []
    mean = f"it has {', '.join(siblings)}" if siblings else "--help explains all there are"
    if near:
        mean = f"did you mean {near}?"
    return f"{key} is not a setting; {mean} (--cfg job shows all)"


def nearest_key(command: str, key: str) -> str | None:
    """The setting that a word may have meant: by another name, by its last part, by its letters."""
    *parents, last = key.split(".")
    leaves = _all_keys(command)
    siblings = _siblings(leaves, parents)
    near = nearest(last, siblings)
    if parents and near:
        return near
    if key in SYNONYMS and _is_known(SYNONYMS[key].partition("=")[0], leaves):
        return SYNONYMS[key]
    same = [leaf for leaf in leaves if leaf.rpartition(".")[2] == last]
    if same:
        return same[0]
    near = near or nearest(key, leaves) or nearest(last, [x.rpartition(".")[2] for x in leaves])
    full = [leaf for leaf in leaves if near in (leaf, leaf.rpartition(".")[2])]
    return near if near in siblings or not full else full[0]


def _all_keys(command: str) -> list[str]:
    return [*_leaves(known_settings(command)), *groups_of(command)]


def _siblings(leaves: Sequence[str], parents: Sequence[str]) -> list[str]:
    depth = len(parents)
    return list(dict.fromkeys(leaf.split(".")[depth] for leaf in leaves if _below(leaf, parents)))


def _below(leaf: str, parents: Sequence[str]) -> bool:
    parts = leaf.split(".")
    return len(parts) > len(parents) and parts[: len(parents)] == list(parents)


def _is_known(key: str, leaves: Iterable[str]) -> bool:
    return any(leaf == key or leaf.startswith(f"{key}.") for leaf in leaves)


def _leaves(known: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in known.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is written most like this one, if any is."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.7)
    return found[0] if found else None


def suggested(word: str, known: Iterable[str]) -> str:
    """' (did you mean OTHER?)', or nothing."""
    near = nearest(word, known)
    return f" (did you mean {near}?)" if near else ""


def require_meant(words: Sequence[str], *, sweep: bool, shown: bool) -> None:
    """Raise ``FstError`` for words that Hydra would take and that would have no effect here.

    ``sweep`` is whether -m is given; ``shown``, whether settings are shown only.
    """
    for word in words:
        key, equals, value = word.partition("=")
        key = key.lstrip("+~")
        if word.startswith("~") and is_setting(key) and not key.startswith(keys_of("layers")):
            raise FstError(f"{word}: it cannot be left out; give it another value, {key}=VALUE")
        if equals and key in HYDRAS and value.strip("'\"") not in (".", "null", "false"):
            if key == "hydra.job.name" and value.startswith("train_ddp_process"):  # Lightning's
                continue
            raise FstError(f"{key} is not a setting of fst: {HYDRAS[key]}")
        if key.startswith(OF_SWEEPS) and not sweep and not shown:
            raise FstError(f"{word} is for the runs of a sweep; -m makes one of this command")
