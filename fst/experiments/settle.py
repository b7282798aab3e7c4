"""What Hydra has composed -> an experiment: its name and folder known, its settings settled."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from fst.errors import FstError
from fst.experiments.config import Config, literal, resolved
from fst.experiments.flags import quote
from fst.experiments.precision import Precision, settled_precision
from fst.experiments.run_folder import RunFolder, choose_run
from fst.experiments.settings import config_error_sentence, renamed
from fst.system.paths import user_path

LONGEST_NAME = 100  # characters of a sweep's folder
RUN_FOLDER_VARIABLE = "FST_RUN_FOLDER"  # tells Lightning's other processes which folder it is


@dataclass(frozen=True)
class Experiment:
    """The settings of a run, and where it is kept.

    ``config`` has the name and the run folder in it and, where there are several paintings, the
    ``style`` of each as ``paintings``: it is what ``config.yaml`` keeps. ``styles`` are the
    settings as they were for each painting alone; of one painting, ``config`` itself. In all of
    them stands what ``trainer.precision=auto`` came to, ``precision``. ``resume`` is what
    ``run_folder.checkpoint_to_resume`` takes.
    """

    config: Config
    styles: tuple[Config, ...]
    run: RunFolder
    resume: str
    precision: Precision


def settle(composed: DictConfig) -> Experiment:
    """The experiment of ``fst train``; nothing is written.

    The folder is ``run_dir``; else that of a sweep's job; else ``runs/NAME``.
    Raises ``FstError`` for ``styles`` that cannot be meant so.
    """
    several = _several(composed)
    name = composed.style.name or name_of(composed.style)
    swept = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    path = composed.run_dir
    if path is None:
        path = job_folder() if swept else f"runs/{name}"
    resume = str(composed.resume)
    if RUN_FOLDER_VARIABLE in os.environ and int(os.environ.get("LOCAL_RANK", "0")) > 0:
        path = os.environ[RUN_FOLDER_VARIABLE]
        resume = "auto" if resume.lower() == "false" else resume
    run = choose_run(user_path(path), resume=resume)
    os.environ[RUN_FOLDER_VARIABLE] = str(run.path)
    more = {"paintings": [one["style"].plain() for one in several]} if several else {}
    config = settled(composed, run, name=name, **more)
    precision = settled_precision(config, run, resume=resume)
    config = precision.put_into(config)
    styles = tuple(map(precision.put_into, several)) or (config,)
    return Experiment(config, styles, run, resume, precision)


def job_folder() -> Path:
    """The folder of a sweep's job, called after what varies: ``strength=0.3``.

    Its number stands before what cannot be a folder's name as it is. A job that was begun under its
    number alone, or whose ``hydra.sweep.subdir`` was given, keeps that.
    """
    hydra = HydraConfig.get()
    numbered = Path(hydra.runtime.output_dir)
    same = {str(key) for key in hydra.job.config.override_dirname.exclude_keys}
    parts = [word.lstrip("+").partition("=")[::2] for word in hydra.overrides.task]
    varies = {key: value.strip("'\"") for key, value in parts if key not in same}
    given = any(word.startswith("hydra.sweep.subdir=") for word in hydra.overrides.hydra)
    if not same or not varies or given or (numbered / "config.yaml").exists():
        return numbered
    said = {key.rpartition(".")[2]: Path(value).name for key, value in varies.items()}
    name = ",".join(f"{key}={value}" for key, value in said.items())
    plain = re.sub(r"[^\w.,=+-]", "_", name)[:LONGEST_NAME]
    if plain != name or len(said) < len(varies) or list(said.values()) != list(varies.values()):
        plain = f"{hydra.job.num}_{plain}"
    with suppress(OSError):
        numbered.rmdir()  # Hydra has made it, and it stays empty
    return numbered.parent / plain


def settled(
    composed: DictConfig, run: RunFolder, *, name: str | None = None, **more: Any
) -> Config:
    """The settings with the run folder in place, and the name and ``more`` if given."""
    composed = composed.copy()
    composed.run_dir = literal(str(run.path))
    if name is not None:
        composed.style.name = literal(name)
    return Config({**resolved(composed), **more})


def name_of(style: Mapping[Any, Any]) -> str:
    """What a painting is called that has no name: our own one's word, or the stem of its file."""
    if style["image"] is None and style["painted"] is not None:
        return str(style["painted"])
    return Path(style["image"] or style["file"] or "").stem


def _several(composed: DictConfig) -> Sequence[Config]:
    """The settings for each of ``styles=``, as if it were the only one; empty without ``styles``.

    An entry is the name of a style config or a picture file; what the command line says of
    ``style.`` holds for all. Raises ``FstError`` for names that are given twice, and for a single
    painting that is named as well.
    """
    if composed.get("styles") is None:
        return []
    words = [str(word) for word in HydraConfig.get().overrides.task]
    keys = [word.split("=")[0].lstrip("+~") for word in words]
    for key in ("style", "style.image", "style.painted", "style.file"):
        if key in keys:
            raise FstError(f"{key}= names one painting and styles= several; give one of them")
    if len(composed.styles) < 2:
        raise FstError("styles= needs two paintings or more; for one say style=")
    if composed.style.name is None:
        raise FstError("a net of several paintings needs a name of its own: style.name=NAME")
    shared = [w for w, key in zip(words, keys, strict=True) if key not in ("styles", "style.name")]
    styles = []
    for entry in map(str, composed.styles):
        picture = os.path.isfile(user_path(entry))
        chosen = ["style=own", f"style.image={quote(entry)}"] if picture else [f"style={entry}"]
        try:
            words = [*shared, *chosen]
            one = renamed(compose(HydraConfig.get().job.config_name, words), words)
        except HydraException as error:
            raise FstError(config_error_sentence(error)) from None
        settings = resolved(one)
        settings["style"]["name"] = settings["style"]["name"] or name_of(settings["style"])
        styles.append(Config(settings))
    names = [one.style.name for one in styles]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise FstError(f"styles= has {', '.join(twice)} twice; each painting needs its own name")
    return styles
