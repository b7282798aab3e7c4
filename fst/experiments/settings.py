"""A user's words -> a composed and checked config, or one sentence that says what is wrong."""

from __future__ import annotations

import io
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stderr
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import fst
from fst.errors import FstError
from fst.experiments.config import Config, resolved
from fst.experiments.flags import Asked, for_hydra, named, part, require_sense, several_loggers
from fst.experiments.hydra_internals import checked_composition, require_launcher
from fst.experiments.known_settings import SETTINGS, keys_of
from fst.experiments.known_words import (
    known_settings,
    nearest,
    require_meant,
    suggested,
    unknown_key,
)
from fst.experiments.overrides import prepare_overrides, prepared
from fst.experiments.settings_help import settings_help
from fst.system.console import shown
from fst.system.old_names import RENAMED, in_new_names
from fst.system.paths import configs_dir, user_path
from fst.system.signals import STOP

# our own configs/hydra/launcher have the names of the package's, which fill them up. Said here, so
# that a job of a cluster, which imports this, is as quiet as the command that sent it
warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/.*' is validated against")


def compose(name: str, words: Sequence[str] = ()) -> Config:
    """The settings of ``fst NAME WORDS...``, for scripts and tests; raises what Hydra raises.

    ``train`` is composed for ``experiment=paper`` unless the words choose another. Inside of a
    command that Hydra runs, a user's own config folder counts too.
    """
    running = GlobalHydra.instance().is_initialized()
    folder = str(configs_dir())
    with nullcontext() if running else hydra.initialize_config_dir(folder, version_base="1.3"):
        literal = prepare_overrides(list(words))
        return Config(resolved(renamed(hydra.compose(name, literal), literal)))


def renamed(config: DictConfig, words: Sequence[str]) -> DictConfig:
    """A composed config with the keys of a user's own files by their names of today.

    Those files come after the defaults, so their values count; what ``words`` say counts more.
    """
    plain: Any = OmegaConf.to_container(config, resolve=False)
    new = in_new_names(plain)
    if new == plain:
        return config
    for word in words:
        *groups, name = word.partition("=")[0].lstrip("+").split(".")
        if name in RENAMED.values():
            old_place, place = plain, new
            for group in groups:
                old_place, place = old_place[group], place[group]
            place[name] = old_place[name]
    found = OmegaConf.create(new)
    OmegaConf.set_struct(found, True)
    return found


def check_settings(config: DictConfig) -> None:
    """Raise ``FstError`` for the first setting that is out of range or not of its type."""
    for key in keys_of("whole"):
        least = SETTINGS[key].least
        value = OmegaConf.select(config, key, default=least)
        if value is None and SETTINGS[key].or_null:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise FstError(f"{key}={value} must be a whole number of {least} or more")
    for key in keys_of("number"):
        value = OmegaConf.select(config, key, default=0)
        if not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise FstError(f"{key}={value} must be a number of 0 or more")
    for group in ("content_layers", "style_layers"):
        for name, weight in config.get("loss", {}).get(group, {}).items():
            if not re.fullmatch(r"relu\d_\d", str(name)):
                raise FstError(f"loss.{group}.{name}: a layer's name is like relu2_2")
            if not isinstance(weight, int | float) or weight < 0:
                raise FstError(f"loss.{group}.{name}={weight} must be a number of 0 or more")
    crop_scale = OmegaConf.select(config, "data.crop_scale", default=[1, 1])
    low, high = (*crop_scale, None, None)[:2] if _is_list(crop_scale) else (None, None)
    if not (
        isinstance(low, int | float) and isinstance(high, int | float) and 0 < low <= high <= 1
    ):
        raise FstError(f"data.crop_scale={config.data.crop_scale} must be [low,high] in 0 .. 1")


def _is_list(value: object) -> bool:
    return isinstance(value, ListConfig | list | tuple)


def config_error_sentence(error: Exception, command: str | None = None) -> str:
    """What Hydra or OmegaConf found wrong with a user's settings, in one sentence.

    ``command`` is whose settings they are.
    """
    if isinstance(error, MissingConfigException) and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        near = suggested(name, error.options)
        return f"{group}={name} is unknown{near}; use one of {', '.join(error.options)}"
    cause = error.__cause__
    if isinstance(cause, OmegaConfBaseException) and cause.full_key:
        key = str(cause.full_key)
        if command is not None and not key.startswith("hydra"):
            return unknown_key(command, key)
        known = [str(name) for name in cause.parent_node or {}]
        close = nearest(str(cause.key), known)
        mean = f"did you mean {close}?" if close else f"it has {', '.join(known)}"
        return f"{key} is not a setting; {mean} (--cfg job shows all)"
    text = " ".join(str(error).split("\nSee ")[0].split())
    override = getattr(error, "override", None)
    return f"'{override}' is not understood: {text}" if override else text


def what_varies(words: Sequence[str]) -> list[str]:
    """A word that tells each job of a sweep which of its settings are the same in all of them."""
    parse = OverridesParser.create().parse_override
    try:
        found = [parse(word) for word in words]
    except HydraException:  # said when Hydra composes
        return []
    same = [one.key_or_group for one in found if not one.is_sweep_override()]
    return [f"hydra.job.config.override_dirname.exclude_keys=[{','.join(['-', *same])}]"]


def help_of(name: str, asked: Asked) -> str:
    """The help of ``fst NAME`` for prepared words, which it may choose groups by."""
    folder = asked.flags.get("--config-dir")
    config = asked.flags.get("--config-name", name)
    words = [word for word in asked.words if "=" in word]
    try:
        with checked_composition(name):
            return settings_help(config, words, None if folder is None else str(user_path(folder)))
    except (HydraException, OmegaConfBaseException) as error:
        raise FstError(config_error_sentence(error, name)) from None


def run_hydra(name: str, task: Callable[[DictConfig], object], arguments: Sequence[str]) -> None:
    """Compose ``configs/NAME.yaml`` with a user's words and run ``task`` on it.

    Raises ``FstError`` with one sentence for words that Hydra does not understand, and
    ``SystemExit`` with the sentence of an ``FstError`` of the task. In a sweep the other jobs go
    on, and the first failure is raised when all are done. Nothing that a config names is built
    (``code_in_configs``).
    """
    asked = part(arguments)
    if "--version" in asked.flags:
        print(f"fst {fst.__version__}, Hydra {hydra.__version__}")
        return
    require_sense(asked)
    if "--shell-completion" not in asked.flags:
        asked.words = several_loggers(named(name, asked.words))
        asked.words = [] if "--hydra-help" in asked.flags else prepared(asked)
        require_meant(asked.words, sweep=asked.sweep, shown=asked.shows)
        asked.words += what_varies(asked.words) if asked.sweep else []

    def run(config: DictConfig) -> None:
        try:
            with STOP.watching():  # a job on a cluster begins here
                task(renamed(config, HydraConfig.get().overrides.task))
        except FstError as error:
            if HydraConfig.get().mode != RunMode.MULTIRUN:
                if error.exit_code == 2:
                    raise SystemExit(f"fst {name}: {error}") from None
                print(f"fst {name}: {shown(error)}", file=sys.stderr, flush=True)
                raise SystemExit(error.exit_code) from None
            job = " ".join(HydraConfig.get().overrides.task)
            sentence = f"job {HydraConfig.get().job.num} ({job}): {error}"
            print(f"fst {name}: {shown(sentence)}", file=sys.stderr, flush=True)
            raise type(error)(sentence) from None

    for word in asked.words:
        group, equals, value = word.partition("=")
        if equals and value in ("null", "") and (configs_dir() / group).is_dir():
            names = sorted(path.stem for path in (configs_dir() / group).glob("*.yaml"))
            raise FstError(f"{word} is unknown; use one of {', '.join(names)}")
        if equals and group == "hydra/launcher":
            require_launcher(value)
    if "--help" in asked.flags:
        print(help_of(name, asked))
        return
    sys.argv = [sys.argv[0], *for_hydra(asked)]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise, so that we can say it in a sentence
    own = hydra.main(version_base="1.3", config_path=str(configs_dir()), config_name=name)(run)
    said = io.StringIO()
    try:
        with checked_composition(name), _package_told(asked, said):
            own()
    except (HydraException, OmegaConfBaseException) as error:
        raise FstError(config_error_sentence(error, name)) from None
    except ValueError as error:
        if "--shell-completion" not in asked.flags:
            raise
        raise FstError(f"--shell-completion takes install=bash, fish or zsh: {error}") from None
    except SystemExit:
        if "not found in config" in said.getvalue():
            package = asked.flags["--package"]
            near = suggested(package, [*known_settings(name)])
            raise FstError(f"--package {package} is not a group of settings{near}") from None
        raise


def _package_told(asked: Asked, said: io.StringIO) -> AbstractContextManager[Any]:
    """Where ``--package`` is given, Hydra's own complaint goes to ``said``."""
    return redirect_stderr(said) if "--package" in asked.flags else nullcontext()
