"""What ``fst export --format web`` does: the page of ``fst page`` as a folder."""

from __future__ import annotations

import argparse

from fst.errors import FstError
from fst.page.folder import write_folder
from fst.page.runtime import find_runtime
from fst.page.site import page_styles, site_of
from fst.system.console import shown_in_line
from fst.system.paths import user_path

GRAPHS_ONLY = ("half", "opset", "size", "floats", "inputs")  # options of a single graph


def export_web(options: argparse.Namespace) -> int:
    """Write the folder and say what is in it."""
    for name in GRAPHS_ONLY:
        if getattr(options, name):
            raise FstError(f"--{name} is for a single graph; leave it out with --format web")
    styles = page_styles(options.style)
    folder = user_path(options.output or "page")
    runtime = find_runtime(None if options.runtime is None else user_path(options.runtime))
    if options.no_webgpu:
        runtime.engines = ["wasm"]
    site = site_of(styles, runtime, server=False)
    size = write_folder(site, folder, replace=options.force)
    engines = " and ".join(runtime.engines)
    where = shown_in_line(folder)
    print(f"{where}/ ({size / 1e6:.1f} MB): {len(styles)} styles, {engines}")
    print(f"  look at it: python -m http.server --bind 127.0.0.1 --directory {where}")
    return 0
