"""No code from configs: what would be built, imported or run by a composed config is refused.

Hydra builds whatever a ``_target_`` names, Python's logging whatever ``()`` and ``class`` name, and
sbatch runs what a launcher has it set up. A config folder may be a stranger's, so all of it is
compared with the short lists here before Hydra starts its callbacks, its launcher or its logging.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fst.errors import FstError
from fst.experiments.known_settings import keys_of

LOGGERS = {
    "pytorch_lightning.loggers.TensorBoardLogger": "TensorBoardLogger",
    "pytorch_lightning.loggers.tensorboard.TensorBoardLogger": "TensorBoardLogger",
    "pytorch_lightning.loggers.CSVLogger": "CSVLogger",
    "pytorch_lightning.loggers.csv_logs.CSVLogger": "CSVLogger",
    "pytorch_lightning.loggers.WandbLogger": "WandbLogger",
    "pytorch_lightning.loggers.MLFlowLogger": "MLFlowLogger",
}
SENDING = ("offline", "tracking_uri", "entity", "project", "host", "settings")  # of loggers

SUBMITIT = "hydra_plugins.hydra_submitit_launcher.submitit_launcher."
SLURM = f"{SUBMITIT}SlurmLauncher"
BASIC = "hydra._internal.core_plugins.basic_"
_OF_A_JOB = (
    *("submitit_folder", "timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node"),
    *("mem_gb", "nodes", "name", "stderr_to_stdout"),
)
_OF_SLURM = (
    *("partition", "qos", "comment", "constraint", "exclude"),
    *("gres", "cpus_per_gpu", "gpus_per_task", "mem_per_gpu", "mem_per_cpu"),
    *("account", "signal_delay_s", "max_num_timeout", "additional_parameters", "array_parallelism"),
)
_OF_JOBLIB = (
    *("n_jobs", "backend", "prefer", "require", "verbose"),
    *("timeout", "pre_dispatch", "batch_size", "temp_folder", "max_nbytes"),
    *("mmap_mode",),
)
# launcher -> the arguments that a file may give it; others are taken from the command line alone
LAUNCHERS: dict[str, Sequence[str]] = {
    f"{BASIC}launcher.BasicLauncher": (),
    "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher": _OF_JOBLIB,
    f"{SUBMITIT}LocalLauncher": _OF_A_JOB,
    SLURM: [*_OF_A_JOB, *_OF_SLURM],
}
# options of sbatch that run nothing
SBATCH_OPTIONS = (
    *("requeue", "mail-user", "mail-type", "reservation", "nodelist"),
    *("nice", "licenses", "dependency", "begin", "deadline"),
    *("exclusive", "constraint", "exclude", "gres", "comment"),
    *("hint", "cluster", "clusters", "wckey", "priority"),
)
ALLOWED = {
    "logger._target_": tuple(LOGGERS),
    "hydra.launcher._target_": tuple(LAUNCHERS),
    "hydra.sweeper._target_": (f"{BASIC}sweeper.BasicSweeper",),
}
CODE_KEYS = ("_target_", "_partial_", "_args_", "_call_", "_recursive_", "_convert_", "()", "class")
LOGGING = ("hydra_logging", "job_logging")
STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
LOG_FILE = {  # Hydra's own, of a folder that Hydra makes
    "class": "logging.FileHandler",
    "formatter": "simple",
    "filename": "${hydra.runtime.output_dir}/${hydra.job.name}.log",
}
INTERPOLATION = re.compile(r"(?<!\\)(?:\\\\)*\$\{(.*)", re.DOTALL)
PLAIN_NODE = re.compile(r"\s*[\w.\[\]/@ -]+\}")
RESOLVERS = re.compile(r"\s*(now|hydra|oc\.select|oc\.env)\s*:")
VARIABLE = re.compile(r"\s*oc\.env\s*:\s*['\"]?(\w*)")
SECRET = re.compile("key|token|secret|passw|cred|auth", re.IGNORECASE)
PUBLISHED = {  # on the card of a style file, which is given away
    *("style.name", "style.title", "style.artist", "style.year", "style.license"),
    *("data.description", "data.license", "loss_network.license"),
}


def require_no_code(config: Mapping[Any, Any], words: Sequence[str]) -> None:
    """Raise ``FstError`` if anything that is not on a list would be built, imported or run.

    ``config`` is composed and not resolved, with its ``hydra``; ``words`` are those of the command
    line, where alone some of a launcher's arguments are taken from.
    """
    for path, key, value in _entries(config):
        where = f"{path}.{key}" if path else key
        if path.startswith(tuple(f"hydra.{name}" for name in LOGGING)):
            continue
        if key in CODE_KEYS and value not in ALLOWED.get(where, ()):
            raise FstError(_refusal(where, value))
        if isinstance(value, str):
            _require_harmless_text(where, value)
    logger = config.get("logger")
    if isinstance(logger, Mapping):
        for key, value in logger.items():
            if not _is_scalar(value):
                raise FstError(f"logger.{key}={value}: a logger's arguments are plain values")
            _require_kept_here(key, value, words)
    hydra = config.get("hydra")
    if isinstance(hydra, Mapping):
        _require_plain_hydra(hydra, words)


def _require_kept_here(key: Any, value: Any, words: Sequence[str]) -> None:
    """Raise ``FstError`` where a file would have a logger send a run to somebody's server."""
    said = {word.partition("=")[0].lstrip("+") for word in words}
    if key in SENDING and value not in (None, True, "fst") and f"logger.{key}" not in said:
        raise FstError(
            f"logger.{key}={value} comes from a config file, and could send the run to a "
            "stranger; give it on the command line if it is yours"
        )


def _require_plain_hydra(hydra: Mapping[Any, Any], words: Sequence[str]) -> None:
    if hydra.get("callbacks"):
        raise FstError(f"hydra.callbacks={_short(hydra['callbacks'])}: fst takes no callbacks")
    job = hydra.get("job") or {}
    for key in ("env_set", "env_copy"):
        if job.get(key):
            raise FstError(
                f"hydra.job.{key}={_short(job[key])}: fst sets no variables for a config; set "
                "them in the shell"
            )
    for name in LOGGING:
        _require_console(f"hydra.{name}", hydra.get(name), str(job.get("name", "")))
    launcher = hydra.get("launcher")
    if isinstance(launcher, Mapping):
        _require_plain_launcher(launcher, words)
    elif launcher not in (None, "???"):
        raise FstError(f"hydra.launcher={_short(launcher)} is not a launcher: hydra/launcher=NAME")
    for key, value in (hydra.get("sweeper") or {}).items():
        flat = value.values() if isinstance(value, Mapping) else [value]
        if not all(map(_is_scalar, flat)):
            raise FstError(f"hydra.sweeper.{key}={_short(value)} must be plain values")


def _require_plain_launcher(launcher: Mapping[Any, Any], words: Sequence[str]) -> None:
    taken = LAUNCHERS[launcher["_target_"]] if "_target_" in launcher else ()
    said = {word.partition("=")[0].lstrip("+") for word in words}
    for key, value in launcher.items():
        where = f"hydra.launcher.{key}"
        if key == "_target_" or value is None or where in said:
            continue
        named = value if isinstance(value, Mapping) else {}
        inner = [k for k in named if k not in SBATCH_OPTIONS and f"{where}.{k}" not in said]
        if key not in taken or inner:
            full = f"{where}.{inner[0]}" if inner else where
            raise FstError(
                f"{full} comes from a config file, and could run a stranger's commands; give it "
                "on the command line if it is yours"
            )
        for one in named.values() if named else value if isinstance(value, list) else [value]:
            if not _is_scalar(one) or not str(one).isprintable():
                raise FstError(f"{where}={_short(value)} must be plain values of one line")
        if key == "pre_dispatch" and not re.fullmatch(r"all|[\d n_jobs*+()/-]*", str(value)):
            raise FstError(f"{where}={_short(value)} must be like 2*n_jobs")


def _require_console(where: str, settings: Any, job: str) -> None:
    """Raise ``FstError`` unless a logging config does no more than to print, as Hydra's own do."""
    if settings in (None, "???"):
        return
    known: dict[str, Sequence[str]] = {
        "formatters": ("format", "datefmt", "validate"),
        "handlers": ("class", "level", "formatter", "stream"),
        "loggers": ("level", "handlers", "propagate"),
    }
    plain = isinstance(settings, Mapping)
    for key, value in settings.items() if plain else ():
        if key in ("version", "disable_existing_loggers", "incremental"):
            plain &= _is_scalar(value)
        elif key == "root":
            plain &= value is None or _has_only(value, known["loggers"])
        elif key in known:
            plain &= isinstance(value, Mapping)
            for name, one in value.items() if isinstance(value, Mapping) else ():
                if key == "handlers" and one == LOG_FILE and "/" not in job:
                    continue
                plain &= _has_only(one, known[key])
                if plain and key == "handlers":
                    plain &= one.get("class") == "logging.StreamHandler"
                    plain &= one.get("stream", STREAMS[0]) in STREAMS
                if not plain:
                    where = f"{where}.{key}.{name}"
                    break
        else:
            plain = False
        if not plain:
            break
    if not plain:
        raise FstError(
            f"{where} is not one of Hydra's own: logging that a config brings is not built; use "
            "hydra/job_logging=stdout, none or disabled"
        )


def _has_only(node: Any, keys: Sequence[str]) -> bool:
    return isinstance(node, Mapping) and all(
        key in keys and _is_plain_logging(key, value) for key, value in node.items()
    )


def _is_plain_logging(key: str, value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return all(
        _is_scalar(one)
        and "${" not in str(one)
        and (not str(one).startswith(("ext:", "cfg:")) or (key, one in STREAMS) == ("stream", True))
        for one in values
    )


def require_folders(searchpath: Sequence[str]) -> None:
    """Raise ``FstError`` for a place of configs that is not a folder: Hydra would import it."""
    for place in searchpath:
        if "://" in str(place).removeprefix("file://"):
            raise FstError(
                f"{place} is not a folder of configs; give a folder with --config-dir FOLDER"
            )


def _require_harmless_text(where: str, text: str) -> None:
    """Raise ``FstError`` for an interpolation that makes a node, or tells a secret."""
    rest = INTERPOLATION.search(text)
    while rest:
        inside = rest[1]
        if not PLAIN_NODE.match(inside) and not RESOLVERS.match(inside):
            raise FstError(
                f"{where}={_short(text)}: of what configs may compute, fst takes "
                "${KEY}, ${now:...}, ${oc.env:VARIABLE} and ${hydra:...}"
            )
        variable = VARIABLE.match(inside)
        if variable and (SECRET.search(variable[1]) or not _may_read_variables(where)):
            raise FstError(
                f"{where}={_short(text)}: what a run keeps may be given away; variables are "
                "read for paths alone, and none that is called like a secret"
            )
        rest = INTERPOLATION.search(inside)


def _may_read_variables(where: str) -> bool:
    if where in PUBLISHED:
        return False
    texts = (*keys_of("text"), *keys_of("texts"))
    return where.startswith(("hydra.", "logger.")) or where in texts


def _entries(node: Any, path: str = "") -> Iterator[tuple[str, str, Any]]:
    """(path of the mapping or list, key, value), all the way down."""
    pairs = node.items() if isinstance(node, Mapping) else enumerate(node)
    for key, value in pairs:
        yield path, str(key), value
        if isinstance(value, Mapping | list | tuple):
            yield from _entries(value, f"{path}.{key}" if path else str(key))


def _refusal(where: str, value: Any) -> str:
    if where in ALLOWED:
        names = ", ".join(name.rpartition(".")[2] for name in ALLOWED[where])
        return f"{where}={_short(value)} is not one that fst builds; those are {names}"
    return f"{where}={_short(value)}: code that a config names is not run"


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
