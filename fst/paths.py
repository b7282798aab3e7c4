"""Where the package's own files are: inside an installed package, or beside it in a clone."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def configs_dir() -> Path:
    """The folder of the Hydra configs."""
    return _inside_or_beside("configs")


def checkpoints_dir() -> Path:
    """The folder of the shipped style files."""
    return _inside_or_beside("checkpoints")


def _inside_or_beside(name: str) -> Path:
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parent / name
