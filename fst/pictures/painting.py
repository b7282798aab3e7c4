"""Where a style's painting comes from: a file that is named, our own brush, or style folders."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from fst.errors import FstError
from fst.pictures.image import Picture, read_picture, to_tensor
from fst.pictures.paint import paint
from fst.system.paths import user_path

if TYPE_CHECKING:
    from torch import Tensor

MIN_PAINTING = 64  # pixels; below it there is nothing to learn a stroke from
PAINT_SIDE = 768  # pixels of our own paintings, before they are resized
FOLDERS_VARIABLE = "FST_STYLES"  # folders of paintings, parted like PATH


@dataclass(frozen=True)
class Painting:
    """A painting's pixels (1, 3, H, W), RGB in [0, 1], at the size asked for, and its origin."""

    name: str  # the stem of its file, or of our own painting
    source: str  # path, or that we painted it
    image: Tensor


def load_painting(
    *, image: str | None, painted: str | None, file: str | None, root: str | None, size: int
) -> Painting:
    """The painting with its shorter side at ``size`` pixels, as a tensor: see ``find_painting``."""
    name, source, rgb = find_painting(image=image, painted=painted, file=file, root=root, size=size)
    return Painting(name, source, to_tensor(rgb))


def find_painting(
    *, image: str | None, painted: str | None, file: str | None, root: str | None, size: int
) -> tuple[str, str, Image.Image]:
    """Name, source and RGB picture of a painting, its shorter side at ``size`` pixels.

    Proportions are kept. Taken from the file ``image`` if given, else ``painted`` by
    ``fst.pictures.paint``, else ``file`` is sought in the folder ``root`` or in those of
    ``$FST_STYLES``. Raises ``FstError`` if there is none or it is too small.
    """
    if size < MIN_PAINTING:
        raise FstError(f"style.size={size} is smaller than {MIN_PAINTING} px; pick a larger one")
    if image is None and painted is not None:
        picture = Picture(rgb=paint(painted, size=PAINT_SIDE))
        return painted, f"{painted}, painted by fst", picture.resized(size).rgb
    path = _find(image=image, file=file, root=root)
    picture = read_picture(path)
    width, height = picture.rgb.size
    if min(width, height) < MIN_PAINTING:
        raise FstError(
            f"style image {path} of {width}x{height} px is smaller than {MIN_PAINTING} px; "
            "pick a larger one"
        )
    return path.stem, str(path), picture.resized(size).rgb


def _find(*, image: str | None, file: str | None, root: str | None) -> Path:
    if image is not None:
        path = user_path(image)
        if os.path.isdir(path):
            raise FstError(f"style.image={path} is a folder; give one picture in it")
        if not os.path.exists(path):
            raise FstError(f"style.image={path} does not exist; give a picture of your painting")
        return path
    if file is None:
        raise FstError(
            "no painting is named; give your own with style.image=FILE, or a known style with "
            "style=NAME (`fst train --help` lists them)"
        )
    folders = [root] if root else os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep)
    for folder in filter(None, folders):
        path = user_path(folder) / file
        if os.path.isfile(path):
            return path
    looked = ", ".join(filter(None, folders)) or "nowhere, as none is set"
    raise FstError(
        f"the painting {file} was not found (looked in: {looked}); get a picture of it, for "
        f"instance from its museum or Wikimedia Commons, save it as {file}, and give its folder "
        f"with style.root=FOLDER or ${FOLDERS_VARIABLE}, or any file with style.image=FILE"
    )
