"""The page as a folder, for any file server."""

from __future__ import annotations

from pathlib import Path

from fst.errors import FstError
from fst.page.site import Site
from fst.system.files import write_whole


def write_folder(site: Site, folder: Path, *, replace: bool = False) -> int:
    """Write the files of a page into a folder, those that the others name last; their bytes.

    Raises ``FstError`` for a folder that has something in it, unless it is to be replaced: files
    of the page's names then are, and others stay.
    """
    if folder.exists() and not folder.is_dir():
        raise FstError(f"-o {folder} is a file; give a folder for --format web")
    if not replace and folder.is_dir() and any(folder.iterdir()):
        raise FstError(f"{folder} is not empty; use --force to replace its page, or -o elsewhere")
    size = 0
    for path in reversed(site):  # index.html is the first
        data = site[path]()
        write_whole(folder / path, data)
        size += len(data)
    return size
