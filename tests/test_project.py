"""What stands around the code: the package's names and versions agree wherever they are written."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

import fst
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


def test_the_citation_is_of_this_version_and_names_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == fst.__version__
    assert citation["license"] == "MIT"
    holder = re.search(r"Copyright \(c\) \d+ (.+)", (ROOT / "LICENSE").read_text())
    assert holder
    assert citation["authors"] == [{"name": holder[1]}]
    (paper,) = citation["references"]
    assert paper["title"].startswith("Perceptual Losses for Real-Time Style Transfer")


def test_the_author_is_the_licenses_holder(project: dict[str, Any]) -> None:
    for author in project["project"]["authors"]:
        assert author["name"] in (ROOT / "LICENSE").read_text()
