"""Without PyTorch, Lightning and Hydra, what uses a style works, and the rest is a sentence."""

import subprocess
import sys
from pathlib import Path

import pytest

from fst.commands.download import NAMES
from fst.loss.torchvision_weights import TORCHVISION

ROOT = Path(__file__).parent.parent


def test_a_light_installation_uses_styles_and_says_what_it_cannot_do() -> None:
    """All commands in one process, as `.ci/run` has them in an environment of its own."""
    pytest.importorskip("onnxruntime")
    script = ROOT / "scripts" / "proofs" / "light_install.py"
    done = subprocess.run([sys.executable, script, "--hide"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all of it works" in done.stdout


def test_every_network_of_torchvision_can_be_downloaded() -> None:
    assert dict.fromkeys(name for name, _ in TORCHVISION) == dict.fromkeys(NAMES)
