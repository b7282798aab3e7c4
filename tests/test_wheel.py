"""The built wheel, installed elsewhere, works in an empty folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from fst.nets.style_card import read_cards

from .conftest import picture

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def fst_command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`fst` of a new venv that holds only our wheel and borrows the packages of this one."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a copy, so that nothing old in build/ gets in
    source.mkdir()
    for name in ("fst", "configs", "checkpoints"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    build += ["--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run(build, check=True, cwd=folder)
    (wheel,) = folder.glob("fst_style_transfer-*.whl")
    packed = zipfile.ZipFile(wheel).namelist()
    configs = {f"fst/{path.relative_to(ROOT)}" for path in (ROOT / "configs").rglob("*.yaml")}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "fst").rglob("*.py")}
    # a new group or wing must be named in pyproject.toml
    assert {name for name in packed if name.endswith(".yaml")} == configs
    assert {name for name in packed if name.endswith(".py")} == modules
    static = {str(path.relative_to(ROOT)) for path in (ROOT / "fst/page/static").iterdir()}
    assert static <= {*packed}
    home = folder / "venv"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    site = home / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*install, "--no-deps", "--no-index", str(wheel)], check=True)
    (site / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return home / "bin" / "fst"


def run(fst: Path, folder: Path, *arguments: object) -> str:
    environment = {key: v for key, v in os.environ.items() if key != "PYTHONPATH"}
    result = subprocess.run(
        [fst, *map(str, arguments)], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_wheel_works_in_an_empty_folder(
    fst_command: Path, tmp_path: Path, tiny_style: Path
) -> None:
    where = run(fst_command.with_name("python"), tmp_path, "-c", "import fst; print(fst.__file__)")
    assert str(fst_command.parent.parent) in where  # it is the installed one that runs

    assert "stylize" in run(fst_command, tmp_path, "--help")
    config = run(fst_command, tmp_path, "train", "style=starry_night", "--cfg", "job")
    assert "artist: Vincent van Gogh" in config
    assert "max_steps" in config

    picture(40, 30, seed=1).save(tmp_path / "x.png")
    run(fst_command, tmp_path, "stylize", "x.png", "--style", tiny_style, "-o", "y.png")
    assert (tmp_path / "y.png").exists()


def test_the_wheel_brings_the_shipped_styles(fst_command: Path, tmp_path: Path) -> None:
    files = sorted((ROOT / "checkpoints").glob("*.safetensors"))
    shipped = [card.name for path in files for card in read_cards(path)]
    listed = run(fst_command, tmp_path, "list")
    assert shipped
    for name in shipped:
        assert name in listed
    picture(40, 30, seed=1).save(tmp_path / "x.png")
    for name in ("udnie", "poppies"):  # a file of its own, and one of many in the base
        run(fst_command, tmp_path, "stylize", "x.png", "--style", name)
        assert (tmp_path / f"x_{name}.jpg").exists()
