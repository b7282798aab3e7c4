"""The pages of the site (mkdocs.yml, ``make site``), where they are in the repository.

MkDocs calls ``on_files``. README.md is the site's first page; every other page and picture keeps
its path, and the files of the repository that pages link to are copied beside them. The page of
the API, api.md, is written here: the names that ``from fst import ...`` offers, then modules whose
docstrings say how the method works.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("*.md", "docs/*.md", "checkpoints/**/*.md")
LINK = re.compile(r"\]\(([^)\s#]+)")
NAMED = re.compile(r"\[([\w/.-]+\.md)\]\(([\w/.-]+\.md)(#[\w-]+)?\)")  # called after the file
MODULES = {
    "The net": ("fst.nets.transformer_net",),
    "The loss": ("fst.loss.perceptual_loss", "fst.loss.loss_network", "fst.loss.strength"),
    "Training": ("fst.training.lightning_module", "fst.training.datamodule"),
}


def published() -> Iterator[Path]:
    """Pages, and what they link to, each once."""
    pages = {path for pattern in PAGES for path in ROOT.glob(pattern)}
    linked = {
        (page.parent / link).resolve()
        for page in pages
        for link in LINK.findall(page.read_text("utf-8"))
        if "://" not in link
    }
    yield from sorted({path for path in pages | linked if path.is_file()})
    yield from sorted((ROOT / "docs").glob("*.css"))
    yield ROOT / "docs" / "logo.svg"


def api() -> str:
    """The page of the API, whose ``:::`` mkdocstrings fills in."""
    sys.path.insert(0, str(ROOT))  # here, as MkDocs puts its own path back after loading this
    import fst

    lines = ["# Python", "", "What `from fst import ...` offers, and the modules below it.", ""]
    lines += ["## from fst import ...", ""]
    for name in sorted(fst.__all__, key=lambda name: (name != "Stylizer", name.lower())):
        lines += [f"::: fst.{fst._HOMES[name]}.{name}", ""]
    for title, modules in MODULES.items():
        lines += [f"## {title}", ""]
        for module in modules:
            above = [name for name, home in fst._HOMES.items() if module == f"fst.{home}"]
            hidden = ", ".join(f'"!^{name}$"' for name in ("_", *above))
            hidden = hidden.replace("!^_$", "!^_")
            lines += [f"::: {module}", f"    options: {{filters: [{hidden}]}}", ""]
    return "\n".join(lines)


def on_files(files: Any, config: Any) -> Any:
    """The pages of the repository in place of those of ``docs_dir`` alone."""
    from mkdocs.structure.files import File

    for file in list(files):
        if not file.src_uri.startswith("assets/"):  # the theme's
            files.remove(file)
    for path in published():
        name = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(path)))
    files.append(File.generated(config, "api.md", content=api()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Links that are called after the file they lead to are called after its page."""

    def titled(found: re.Match[str]) -> str:
        target = (ROOT / page.file.src_uri).parent / found[2]
        name = target.resolve().relative_to(ROOT).as_posix()
        title = titles.get(name, found[1])
        return f"[{title}]({found[2]}{found[3] or ''})"

    titles = dict(_titles(config.nav))
    return NAMED.sub(titled, markdown)


def _titles(nav: Any) -> Iterator[tuple[str, str]]:
    for entry in nav:
        for title, below in entry.items():
            if isinstance(below, list):
                yield from _titles(below)
            else:
                yield below, title
