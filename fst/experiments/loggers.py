"""The loggers of a run: Lightning's own, several at once or none, each going on where it was."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml
from pytorch_lightning.loggers import Logger, TensorBoardLogger

from fst.errors import FstError, pip_install
from fst.experiments.code_in_configs import LOGGERS
from fst.experiments.config import Config
from fst.experiments.run_folder import RunFolder
from fst.system.files import write_whole
from fst.system.paths import configs_dir
from fst.system.untrusted import read_json
from fst.training.checkpoint_files import Checkpoint
from fst.training.journal import without_epochs
from fst.training.lightning_internals import end_curves_at

EXTRAS = {"WandbLogger": "wandb", "MLFlowLogger": "mlflow"}
NAMES = {"WandbLogger": "name", "MLFlowLogger": "run_name"}  # what a run is called there
IDS = {"WandbLogger": "version", "MLFlowLogger": "run_id"}  # by which it goes on
IDS_FILE = "loggers.json"


def build_loggers(config: Config, run: RunFolder, checkpoint: Checkpoint | None) -> list[Logger]:
    """``logger`` and those of ``also_log``; ``checkpoint`` is what the run resumes from.

    Curves of TensorBoard are taken to end there; runs of Weights & Biases and MLflow go on under
    the number that the run folder keeps. Raises ``FstError`` for a logger that fst does not build,
    or whose package is not here.
    """
    made: list[Logger] = []
    for options in logger_settings(config):
        logger = _built(options, run, begun=checkpoint is not None)
        if isinstance(logger, TensorBoardLogger):  # steps that a kill left come again
            end_curves_at(logger, checkpoint.step if checkpoint else 0)
        made.append(without_epochs(logger))
    return made


def logger_settings(config: Config) -> list[dict[str, Any]]:
    """The arguments of each logger with its ``_target_``; empty for ``logger=none``."""
    first = config.logger.plain() if config.logger else {"none": True}
    found = [] if first.get("none") else [first]
    for name in config.get("also_log") or []:
        file = configs_dir() / "logger" / f"{name}.yaml"
        if not file.is_file() or "/" in str(name):
            known = sorted(path.stem for path in file.parent.glob("*.yaml"))
            raise FstError(f"also_log={name} is unknown; use some of {', '.join(known)}")
        text = file.read_text(encoding="utf-8")
        options = yaml.safe_load(text)
        for key, value in options.items():
            if isinstance(value, str):
                options[key] = value.replace("${run_dir}", str(config.run_dir))
        if not options.get("none") and options not in found:
            found.append(options)
    return found


def _built(options: Mapping[str, Any], run: RunFolder, *, begun: bool) -> Logger:
    given = dict(options)
    named = LOGGERS.get(given.pop("_target_", None))
    if named is None:
        raise FstError(f"logger={dict(options)} is not one that fst builds; say logger=csv")
    if named in NAMES and given.get(NAMES[named]) is None:
        given[NAMES[named]] = run.path.name
    if named in IDS and given.get(IDS[named]) is None and begun:
        given[IDS[named]] = known_ids(run).get(named)
    if named == "WandbLogger":
        given["version"] = given.get("version") or uuid.uuid4().hex[:8]
    if named == "MLFlowLogger":  # plain files, which it warns of since a database is its default
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    try:
        return getattr(pl.loggers, named)(**given)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(named)
        if extra is None:
            raise
        raise FstError(
            f"logger={extra} needs a package that is not here: {pip_install(extra)}"
        ) from error
    except (TypeError, ValueError) as error:
        raise FstError(f"the logger refuses these settings: {error}") from None


def known_ids(run: RunFolder) -> dict[str, str]:
    """By which numbers a run is known to loggers that keep runs themselves; {} if it is new."""
    try:
        found = read_json(run.path / IDS_FILE)
    except FstError:
        return {}
    return {k: v for k, v in found.items() if k in IDS and isinstance(v, str)}


def keep_ids(run: RunFolder, loggers: list[Logger]) -> None:
    """Write those numbers into the run folder, for the run to go on under."""
    found = {type(one).__name__: str(one.version) for one in loggers if type(one).__name__ in IDS}
    if found and {**known_ids(run), **found} != known_ids(run):
        text = json.dumps({**known_ids(run), **found}, indent=1)
        write_whole(run.path / IDS_FILE, text.encode())


def how_to_look(config: Config, run: RunFolder) -> list[str]:
    """How the curves of a run are looked at, a line for each logger."""
    return [_look_at(options, run) for options in logger_settings(config)]


def _look_at(options: Mapping[str, Any], run: RunFolder) -> str:
    named = LOGGERS.get(options["_target_"])
    place = Path(str(options.get("save_dir") or run.path))
    if named == "WandbLogger":
        return f'wandb sync "{place}"/wandb/*run-*' if options.get("offline") else "on wandb.ai"
    if named == "MLFlowLogger":
        server = options.get("tracking_uri")
        return server or f'mlflow ui --backend-store-uri "{place}"'
    if named == "TensorBoardLogger":
        return f'tensorboard --logdir "{run.path.parent}"'
    place = place / str(options.get("name", ""))
    tables = sorted(place.glob("**/metrics.csv"), key=lambda table: table.stat().st_mtime)
    table = tables[-1] if tables else place
    return f"{table}: a table for any spreadsheet; logger=tensorboard draws them"
