"""The house rules that a reader of the code relies on."""

import ast
from pathlib import Path

import pytest
import yaml

import fst
from fst.paths import configs_dir

PACKAGE = Path(fst.__file__).parent
FLOORS = [
    {"errors", "console", "memory", "signals", "timing"},
    {"small_photo", "kernel_classes"},
    {"image", "paths", "image_optimizer", "artifacts", "paint", "transformer_net"}
    | {"overlap", "devices"},
    {"photo_cache", "photo_store", "plain", "checkpoint_files"},
    {"loss_network", "settings", "style_file", "photo_files", "painting", "run_folder"},
    {"loss_network_file", "perceptual_loss", "data", "graph_file", "graph_cache"},
    {"held_photos", "strength", "evaluation", "student", "optimization_log", "backends"}
    | {"warm_start"},
    {"lightning_module", "distillation", "checkpointing", "evaluation_report", "stylizer"},
    {
        "callbacks",
        "divergence",
        "sweep",
        "photo_jobs",
        "data_wait",
        "benchmark_training",
        "benchmark_report",
    },
    {"experiment", "fitting", "benchmark_use", "benchmark_device"},
    {"run_card"},
    {"benchmark_device_use"},
    {"benchmark_gpu"},
    {"commands"},
    {"cli"},
    {"__main__"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def room_of(path: Path) -> str:
    return "commands" if path.parent.name == "commands" else path.stem


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        rooms |= {name.split(".")[1] for name in names if name.startswith("fst.")}
        rooms &= FLOOR.keys()
    return rooms


FILES = [p for p in PACKAGE.rglob("*.py") if p.name != "__init__.py"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_imports_only_go_down(path: Path) -> None:
    for room in imported_rooms(path):
        assert FLOOR[room] < FLOOR[room_of(path)], f"{path.name} imports {room}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_every_public_definition_has_a_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), path
    if room_of(path) == "commands":
        return
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{path.name}: {node.name}"


def test_every_shipped_style_config_says_what_it_is() -> None:
    for path in (configs_dir() / "style").glob("*.yaml"):
        config = yaml.safe_load(path.read_text())
        keys = {
            "name",
            "title",
            "artist",
            "year",
            "licence",
            "file",
            "painted",
            "image",
            "root",
            "size",
        }
        assert keys | {"weights", "johnson_weights"} == config.keys(), path
        if path.stem != "own":
            assert config["name"] == path.stem
            assert all(config[key] for key in ("title", "artist", "year", "licence"))
            assert bool(config["file"]) != bool(config["painted"])
