"""The full installation, or a light one (``light.txt``) that only uses styles: which it is."""

from __future__ import annotations

from importlib.util import find_spec

from fst.errors import FstError
from fst.system.paths import configs_dir

# what only the full installation brings -> what a sentence calls it
FULL = {
    "torch": "PyTorch",
    "torchvision": "torchvision",
    "torchmetrics": "torchmetrics",
    "pytorch_lightning": "PyTorch Lightning",
    "lightning_fabric": "PyTorch Lightning",
    "lightning_utilities": "PyTorch Lightning",
    "hydra": "Hydra",
    "omegaconf": "OmegaConf",
    "tensorboard": "TensorBoard",
    "matplotlib": "matplotlib",
    "filelock": "filelock",
}


def is_here(package: str) -> bool:
    """Whether a package is installed; it is not imported."""
    return find_spec(package) is not None


def is_of_full(error: ImportError) -> bool:
    """Whether what cannot be imported is a package of the full installation."""
    return (error.name or "").partition(".")[0] in FULL


def needs_full(what: str, package: str = "torch") -> str:
    """The sentence that says that ``what`` needs the full installation, and how to get it.

    It names ``package``, or PyTorch where that is not here either.
    """
    named = FULL[package.partition(".")[0] if is_here("torch") else "torch"]
    return (
        f"{what} needs {named}, which a light install has not; `pip install .` in fst's own "
        "folder brings it"
    )


def require_torch(what: str) -> None:
    """Raise ``FstError`` where ``what``, such as an option, needs PyTorch and it is not here."""
    if not is_here("torch"):
        raise FstError(needs_full(what))


def usage_of(command: str) -> str:
    """How a command that Hydra composes for is called, by its config; for want of Hydra itself."""
    import yaml

    text = (configs_dir() / f"{command}.yaml").read_text(encoding="utf-8")
    return str(yaml.safe_load(text)["hydra"]["help"]["header"]).rstrip()
