"""The smallest training that has everything: for scripts that kill, crowd out and multiply runs."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from fst.cli import main
from fst.system.paths import sample_photo

#: words of `fst train` beside the lists of ``list_photos``; each script adds its style and more
TINY_RUN = [
    *("experiment=laptop", "loss=relative", "trainer.accelerator=cpu"),
    *("net.width=4", "net.residual_blocks=1", "style.size=64", "data.size=32"),
    *("data.root=photos.txt", "data.val_root=held_out.txt"),
]


def list_photos(folder: Path, names: Iterable[str]) -> None:
    """Write the lists of photos of scikit-image to train on, and of the one held out."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "photos.txt").write_text("".join(f"{sample_photo(name)}\n" for name in names))
    (folder / "held_out.txt").write_text(f"{sample_photo('retina.jpg')}\n")


def forked(folder: Path, words: Sequence[str], at_first: Callable[[], None] = lambda: None) -> int:
    """Start ``fst WORDS`` in ``folder``; the number of its process.

    It is forked from this one, so it does not import again what this one has imported, and else as
    ``python -m fst WORDS``. What it prints goes to log.txt. ``at_first`` is called in it.
    """
    child = os.fork()
    if child:
        return child
    code = 99
    with contextlib.suppress(BaseException):
        sys.modules["__main__"].__spec__ = importlib.util.find_spec("fst.__main__")
        sys.argv = ["fst", *words]  # these two are what Lightning starts a second process from
        os.chdir(folder)
        log = os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        at_first()
        code = main([*words])
    os._exit(code)


def exit_code(child: int) -> int:
    """Wait for a process that was ``forked``; negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
