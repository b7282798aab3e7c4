"""Where the package's own files are, inside an installed package or beside it in a clone."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from pathlib import Path

from fst.errors import FstError, pip_install

WEB = re.compile(r"(https?|ftp|s3|gs|hf|file|data):/", re.IGNORECASE)
PACKAGE = Path(__file__).resolve().parent.parent


def user_path(text: str | Path) -> Path:
    """A path that a user gives, with ``~`` and ``~name`` for home folders, where there are any.

    ``~.png``, which is nobody's home, is a file of that name. Raises ``FstError`` for an address on
    the web: nothing is downloaded, and a path would lose one of its slashes.
    """
    if WEB.match(str(text)):
        raise FstError(
            f"{text} is an address on the web; fst reads files of this machine: download it first"
        )
    return Path(os.path.expanduser(text))


def configs_dir() -> Path:
    """The folder of the Hydra configs."""
    return _inside_or_beside("configs")


def checkpoints_dir() -> Path:
    """The folder of the shipped style files."""
    return _inside_or_beside("checkpoints")


def shipped_loss_networks() -> dict[str, Path]:
    """Name -> file of the loss networks that come with the package."""
    return {path.stem: path for path in checkpoints_dir().glob("loss_networks/*.safetensors")}


def cache_dir() -> Path:
    """Where files of other people's that were fetched once are kept, as XDG has it."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".cache") / "fst"


def sample_photo(name: str) -> Path:
    """One of the free photographs inside scikit-image's wheel, such as ``astronaut.png``."""
    found = find_spec("skimage")
    if found is None or found.origin is None:
        raise FstError(f"the sample photos are missing; {pip_install('samples')}")
    return Path(found.origin).parent / "data" / name


def _inside_or_beside(name: str) -> Path:
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parent / name
