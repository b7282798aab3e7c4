"""The smallest training that has everything: for scripts that kill, crowd out and multiply runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

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
