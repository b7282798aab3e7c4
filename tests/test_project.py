"""What stands around the code: the package's names and versions agree wherever they are written."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from fst.errors import DISTRIBUTION

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def test_no_dependency_is_a_strangers_package_called_fst(project: dict[str, Any]) -> None:
    listed = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    for extra in project["project"]["optional-dependencies"].values():
        listed += extra
    names = {re.sub(r"[-_.]+", "-", Requirement(line).name).lower() for line in listed}
    assert {"torch", DISTRIBUTION} <= names
    assert "fst" not in names
    assert "fst" not in constraints()


def test_the_package_is_asked_for_by_its_own_name(project: dict[str, Any]) -> None:
    assert project["project"]["name"] == DISTRIBUTION
    assert project["project"]["scripts"] == {"fst": "fst.cli:main"}
    extras = project["project"]["optional-dependencies"]
    own = [Requirement(line) for line in extras["dev"]]
    for requirement in own:
        if requirement.name == DISTRIBUTION:
            assert requirement.extras <= extras.keys()
