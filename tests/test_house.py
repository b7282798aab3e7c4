"""The house rules that a reader of the code relies on."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import fst
from fst.experiments.settings import compose
from fst.system.paths import configs_dir

PACKAGE = Path(fst.__file__).parent
# top to bottom; a file imports its own wing and wings of lower lines
LINES = [
    {"commands"},
    {"evaluation"},
    {"experiments"},
    {"training", "distillation", "benchmark", "video", "page"},
    {"inference", "data"},
    {"nets", "loss", "pictures"},
    {"system"},
    {"errors"},
]
LINE = {wing: number for number, wings in enumerate(LINES) for wing in wings}
BELOW = {
    wing: {other for other in LINE if other == wing or LINE[other] > line}
    for wing, line in LINE.items()
}
for wing in ("evaluation", "experiments"):
    BELOW[wing] -= {"distillation"}  # the commands' alone
BELOW |= {"cli": {"errors", "system"}, "__main__": {"cli"}}  # outside the order
BEHIND_WALLS = {  # who may import it
    "hydra": {"experiments", "evaluation", "commands"},
    "omegaconf": {"experiments", "evaluation", "commands"},
    "pytorch_lightning": {"training", "distillation", "experiments", "commands"},
    "lightning_fabric": {"training", "distillation", "experiments", "commands"},
}
FILES = [p for p in PACKAGE.rglob("*.py") if p.name != "__init__.py"]


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def wing_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(node: ast.AST) -> Iterator[str]:
    """The modules that are imported, also inside functions, but not for the type checker alone."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        for below in node.orelse:
            yield from imports(below)
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.module, "a relative import"
        if node.module == "fst":
            yield from (f"fst.{fst._HOMES.get(alias.name, alias.name)}" for alias in node.names)
        else:
            yield node.module
    for below in ast.iter_child_nodes(node):
        yield from imports(below)


def forbidden(path: Path) -> set[str]:
    """What the file imports against the rules."""
    wing, found = wing_of(path), set()
    for name in imports(ast.parse(path.read_text())):
        top, *rest = name.split(".")
        if top == "fst" and rest:
            if rest[0] in LINE.keys() | BELOW.keys() and rest[0] not in BELOW[wing]:
                found.add(name)
        elif wing not in BEHIND_WALLS.get(top, {wing}):
            found.add(top)
    return found


def test_every_folder_is_a_wing_with_a_sentence() -> None:
    folders = {path.parent for path in FILES} - {PACKAGE}
    assert {folder.name for folder in folders} == LINE.keys() - {"errors"}
    assert {p.stem for p in PACKAGE.glob("*.py")} == {"__init__", "__main__", "cli", "errors"}
    for folder in folders:
        tree = ast.parse((folder / "__init__.py").read_text())
        assert ast.get_docstring(tree), folder
        assert len(tree.body) == 1, f"{folder}: an __init__.py imports nothing"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_only_go_down(path: Path) -> None:
    assert not forbidden(path)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_public_definition_has_a_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), path
    if wing_of(path) == "commands":
        return
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{path.name}: {node.name}"


def test_every_shipped_style_config_says_what_it_is() -> None:
    keys = compose("train").style.keys()
    for path in (configs_dir() / "style").glob("*.yaml"):
        told = yaml.safe_load(path.read_text()) or {}
        style = compose("train", [f"style={path.stem}"]).style
        assert told.keys() <= style.keys() == keys, path
        if path.stem != "own":
            assert style.name == path.stem
            assert all(style[key] for key in ("title", "artist", "year", "license"))
            assert bool(style.file) != bool(style.painted)


def test_no_style_repeats_what_all_have() -> None:
    shared = yaml.safe_load((configs_dir() / "style_defaults.yaml").read_text())
    for path in (configs_dir() / "style").glob("*.yaml"):
        for key, value in (yaml.safe_load(path.read_text()) or {}).items():
            assert value != shared[key], f"{path.name}: {key}"
