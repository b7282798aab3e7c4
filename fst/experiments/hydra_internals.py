"""What we ask of Hydra that it does not offer: the one room that names its private parts.

Every config that a command composes, each job of a sweep and those on a cluster's nodes included,
is checked before Hydra or Python's logging builds anything from it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra._internal import hydra as hydra_parts
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_search_path import ConfigSearchPath
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from fst.errors import FstError, pip_install
from fst.experiments.code_in_configs import require_folders, require_no_code
from fst.experiments.known_words import HYDRAS, require_known
from fst.system.paths import configs_dir
from fst.system.untrusted import read_yaml


class CheckedLoader(ConfigLoaderImpl):
    """Hydra's composer, which refuses code from configs and words that are no settings.

    ``command`` is whose settings they are if they are of a user's own ``--config-name``. It travels
    to the nodes of a cluster inside a launcher's job, so it is a class of a module.
    """

    def __init__(self, config_search_path: ConfigSearchPath, *, command: str) -> None:
        super().__init__(config_search_path)
        self.command = command

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """As Hydra composes it; ``FstError`` for what is no setting, or could run code."""
        config = super().load_configuration(
            config_name, overrides, run_mode, from_shell, validate_sweep_overrides
        )
        plain: Any = OmegaConf.to_container(config, resolve=False)
        require_no_code(plain, overrides)
        if run_mode == RunMode.MULTIRUN:
            require_launcher(plain["hydra"]["launcher"]["_target_"])
        if config_name is None:  # --hydra-help
            return config
        ours = (configs_dir() / f"{config_name}.yaml").is_file()
        if run_mode == RunMode.RUN:  # of a sweep, each job is composed so
            require_known(config_name if ours else self.command, plain)
        if ours:
            _require_ours(plain["hydra"])
        return config

    def _process_config_searchpath(
        self, config_name: str | None, parsed_overrides: list[Any], repo: Any
    ) -> None:
        load = repo.load_config

        def bounded(config_path: str) -> Any:
            """A user's own file is read by our own reader before Hydra unfolds it."""
            for source in repo.get_sources():
                file = Path(source.path) / f"{config_path.removesuffix('.yaml')}.yaml"
                strange = source.scheme() == "file" and source.path != str(configs_dir())
                if strange and file.is_file() and file.read_text(errors="replace").strip():
                    read_yaml(file)
            return load(config_path)

        repo.load_config = bounded
        places: list[Any] = []
        for override in parsed_overrides:
            if override.get_key_element().lstrip("+~") == "hydra.searchpath":
                value = override.value()
                places += value if isinstance(value, list) else [value]
        loaded = repo.load_config(config_path=config_name) if config_name is not None else None
        if loaded is not None and OmegaConf.is_dict(loaded.config):
            own = OmegaConf.select(loaded.config, "hydra.searchpath")
            places += own if OmegaConf.is_list(own) else [own] if own else []
        require_folders([str(place) for place in places])
        super()._process_config_searchpath(config_name, parsed_overrides, repo)


PLUGINS = {  # in a launcher's name or class -> its module, and how it is installed
    "joblib": ("hydra_plugins.hydra_joblib_launcher", "pip install hydra-joblib-launcher"),
    "submitit": ("submitit", ""),
}


def require_launcher(named: str) -> None:
    """Raise ``FstError`` if a launcher, by its name or class, needs what is not on this machine."""
    for word, (module, command) in PLUGINS.items():
        if word in named.lower() and not _is_installed(module):
            name = named.rpartition(".")[2]
            raise FstError(
                f"hydra/launcher={name} needs packages: {command or pip_install('slurm')}"
            )
    if "slurm" in named.lower() and shutil.which("srun") is None:
        raise FstError(
            "hydra/launcher=submitit_slurm gives runs to SLURM, whose srun is not on this machine; "
            "call it where jobs are submitted, or run them here: -m without hydra/launcher="
        )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _require_ours(hydra: dict[str, Any]) -> None:
    """Raise ``FstError`` where a file has Hydra write or run in another place than our configs."""
    ours = {"hydra.run.dir": ".", "hydra.output_subdir": None, "hydra.job.chdir": None}
    for key, value in ours.items():
        found: Any = hydra
        for part in key.split(".")[1:]:
            found = found.get(part) if isinstance(found, dict) else None
        if found != value and not (value is None and not found):
            raise FstError(f"{key} is not a setting of fst: {HYDRAS[key]}")


@contextmanager
def checked_composition(command: str) -> Iterator[None]:
    """Within, Hydra composes the configs of ``fst COMMAND`` by ``CheckedLoader``."""
    parts: Any = hydra_parts
    before = parts.ConfigLoaderImpl
    parts.ConfigLoaderImpl = partial(CheckedLoader, command=command)
    try:
        yield
    finally:
        parts.ConfigLoaderImpl = before
