"""``fst video --score``: how much a style flickers, in a table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import ImageOps

from fst.errors import FstError
from fst.inference.stylizer import Stylizer
from fst.pictures.image import read_picture
from fst.pictures.opening import find_pictures
from fst.video.score import MARGIN, SCORE_SIZE, SCORED, score, table
from fst.video.steady import require_opencv


def print_score(
    folder: Path,
    size: int | None,
    stylizer: Callable[[], Stylizer],
    complain: Callable[[str], None],
) -> None:
    """Of clips that are made of the first photos of a folder, plain and steady.

    ``stylizer`` makes the style once all else is known to be there.
    """
    require_opencv("--score")
    found = sorted(find_pictures(folder, lambda error: complain(str(error))))[:SCORED]
    if not folder.is_dir() or len(found) < 2:
        raise FstError(f"--score needs a folder of two photos or more, which {folder} is not")
    style = stylizer()
    side = (size or SCORE_SIZE) + 2 * MARGIN
    photos = [np.asarray(ImageOps.fit(read_picture(path).rgb, (side, side))) for path in found]
    plain, steady = score(style.pixels, photos)
    print(f"{len(photos)} photos of {side - 2 * MARGIN} px, {style.backend.name}")
    for line in table({style.name: plain, f"{style.name}, --steady": steady}):
        print(line)
