"""What stands around the code: the package's names and versions agree wherever they are written."""

import os
import re
import runpy
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


def test_pre_commit_has_the_versions_of_the_constraints() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    pins = [pin for repo in config["repos"] for hook in repo["hooks"] for pin in pinned(hook)]
    assert {name for name, _ in pins} == {"ruff", "mypy"}
    for name, version in pins:
        assert version == constraints()[name], name


def pinned(hook: dict[str, Any]) -> list[tuple[str, str]]:
    return [tuple(pin.split("==")) for pin in hook["additional_dependencies"]]


def test_the_workflow_runs_what_every_change_must_pass() -> None:
    (job,) = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())[
        "jobs"
    ].values()
    steps = job["steps"]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_dockerfile_copies_what_the_package_is_built_from(
    project: dict[str, Any],
) -> None:
    parts = runpy.run_path(str(ROOT / "scripts" / "proofs" / "dockerfile_steps.py"))
    steps = list(parts["steps"]((ROOT / "Dockerfile").read_text()))
    assert {word for word, _ in steps} <= parts["KNOWN"]
    copied = {word for kind, rest in steps if kind == "COPY" for word in rest.split()[:-1]}
    built_from = {"pyproject.toml", project["project"]["readme"], "constraints.txt"}
    built_from |= {*project["project"]["license-files"], "fst", "light.txt", "light-openvino.txt"}
    built_from |= set(project["tool"]["setuptools"]["package-dir"].values())
    assert copied == built_from
    kept = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in kept if line.startswith("!")} == copied
    oldest = project["project"]["requires-python"].removeprefix(">=")
    stages = parts["stages"]((ROOT / "Dockerfile").read_text())
    assert [*stages] == ["light", "full"]  # without --target, docker build makes the last
    for name, of_stage in stages.items():
        assert of_stage[0] == ("FROM", f"python:{oldest}-slim AS {name}")
    user = [rest for word, rest in stages["light"] if word == "USER"]
    assert user == ["1000:1000"]


@pytest.mark.parametrize("name", ["light.txt", "light-openvino.txt"])
def test_a_light_installation_has_the_versions_of_the_constraints(name: str) -> None:
    lines = [line for line in (ROOT / name).read_text().splitlines() if line[:1] not in "#"]
    for package, version in (line.split("==") for line in lines):
        assert constraints()[package] == version
    assert ("onnxruntime" in str(lines)) == (name == "light.txt")
    assert ("openvino" in str(lines)) != (name == "light.txt")


@pytest.mark.parametrize(("more", "code"), [("", 0), ("RUN exit 3\nRUN echo unreached\n", 3)])
def test_steps_of_a_dockerfile_run_in_an_empty_folder_until_one_fails(
    more: str,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("venv.create", lambda folder, with_pip: None)  # takes its time
    (tmp_path / "words.txt").write_text("some\n")
    lines = "FROM x\nWORKDIR /a\nCOPY words.txt ./\n"
    lines += 'RUN test -z "$(ls "$HOME")" && \\\n  cat words.txt\n'
    (tmp_path / "Dockerfile").write_text(lines + more)
    (tmp_path / "empty").mkdir()
    script = runpy.run_path(str(ROOT / "scripts" / "proofs" / "dockerfile_steps.py"))
    assert script["run_steps"](tmp_path / "Dockerfile", tmp_path / "empty") == code
    shown = capfd.readouterr().out
    assert "some" in shown.splitlines()
    assert "unreached" not in shown.splitlines()


def test_a_stage_of_a_dockerfile_is_run_by_its_name_with_its_command_in_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("venv.create", lambda folder, with_pip: None)
    lines = "FROM x AS first\nARG WORD=hello\nRUN echo $WORD $(basename $HOME)\n"
    lines += 'ENTRYPOINT ["bash"]\nFROM x AS last\nRUN echo last\n'
    (tmp_path / "Dockerfile").write_text(lines)
    for name in ("empty", "again", "photos", "wrong"):
        (tmp_path / name).mkdir()
    script = runpy.run_path(str(ROOT / "scripts" / "proofs" / "dockerfile_steps.py"))
    run_steps, file = script["run_steps"], tmp_path / "Dockerfile"
    (tmp_path / "empty" / "image").mkdir()
    given = {"photos": tmp_path / "photos", "words": ["-c", "echo $HOME > made"]}
    assert run_steps(file, tmp_path / "empty", target="first", **given) == 0
    assert (tmp_path / "photos" / "made").read_text() == "/\n"
    said = capfd.readouterr().out.splitlines()
    assert "hello home" in said
    assert "last" not in said
    (tmp_path / "again" / "image").mkdir()
    assert run_steps(file, tmp_path / "again") == 0
    assert "last" in capfd.readouterr().out.splitlines()
    assert run_steps(file, tmp_path / "wrong", target="nope") == 2
