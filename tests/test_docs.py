"""The docs lead to what is there."""

import re
import runpy
from pathlib import Path

import pytest

import fst

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("checkpoints/**/*.md")]
LINK = re.compile(r"\]\(([^)\s]+)\)")
OF_THE_TREE = re.compile(r"\b(?:fst|configs|scripts|tests|docs|checkpoints)/[\w./-]*\w\.\w+")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """What a link into the page may name: its headings in small letters, blanks as dashes."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.is_file(), f"{name_of(page)}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{name_of(page)}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_that_is_named_is_there(page: Path) -> None:
    for name in OF_THE_TREE.findall(page.read_text()):
        assert (ROOT / name).exists(), f"{name_of(page)}: {name}"


@pytest.fixture(scope="module")
def tree() -> list[str]:
    """The lines of the tree in the docs, below its first."""
    _, text = (ROOT / "docs" / "house.md").read_text().split("```text\nfst/\n")
    return text.split("```")[0].splitlines()


def test_every_file_of_the_tree_is_there(tree: list[str]) -> None:
    for line in tree:
        folder = ROOT / "fst" if line.startswith("  ") else ROOT
        assert (folder / line.split()[0].rstrip(",")).exists(), line


def test_the_tree_names_every_file_of_every_wing(tree: list[str]) -> None:
    for path in (ROOT / "fst").glob("*/*.py"):
        wing = path.parent.name
        if wing == "commands" or path.stem == "__init__":  # `fst --help` lists the commands
            continue
        lines = [line for line in tree if line.startswith(f"  {wing}/")]
        assert any(re.search(rf"\b{path.stem}\b", line) for line in lines), (
            f"docs/house.md has no clause for fst/{wing}/{path.name}"
        )


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    readme = (ROOT / "README.md").read_text()
    assert len(readme.split()) < 1000
    linked = set(LINK.findall(readme))
    for page in ROOT.glob("docs/*.md"):
        assert name_of(page) in linked


def test_the_site_leads_to_every_page() -> None:
    """``make site`` is strict about the links; here is what it cannot see, and without MkDocs."""
    site = runpy.run_path(str(ROOT / "scripts" / "site_pages.py"))
    published = {str(path.relative_to(ROOT)) for path in site["published"]()}
    listed = re.findall(r"^ +- .+: ([\w/.-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), flags=re.M)
    assert {name for name in published if name.endswith(".md")} == set(listed) - {"api.md"}
    assert {"docs/example.jpg", "docs/logo.svg", "docs/site.css", "Dockerfile"} <= published
    page = site["api"]()
    for name in fst.__all__:
        assert f"::: fst.{fst._HOMES[name]}.{name}\n" in page
    assert "::: fst.training.lightning_module\n" in page
