"""Which photo files there are: found in a folder or a list, checked, and split into two sets."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fst.data.prepared_folder import cached_photos
from fst.data.prepared_photo import SUFFIX, SmallPhoto, photo_name, read_small_photo
from fst.errors import FstError
from fst.pictures.image import Picture, read_picture
from fst.pictures.opening import find_pictures
from fst.system.console import say
from fst.system.files import open_regular
from fst.system.paths import user_path

COCO_FOLDERS = (("train2017", "val2017"), ("train2014", "val2014"))
USABLE_CHECK_S = 4.0  # seconds to look for one photo that decodes before giving up


def training_and_held_out(
    root: str | Path, *, val_root: str | Path | None, val_photos: int
) -> tuple[list[Path], list[Path], list[tuple[str, str]]]:
    """(photos to train on, at most ``val_photos`` held-out ones, unreadable ones with a reason).

    There is at least one photo in each of the first two.

    COCO's own layout works untouched: of a root with ``train2017`` and ``val2017`` the first is
    trained on and the second held out. Without ``val_root`` some photos of the root are held out
    and never trained on.
    """
    top = user_path(root)
    for train_folder, val_folder in COCO_FOLDERS:
        if (top / train_folder).is_dir():
            if val_root is None and (top / val_folder).is_dir():
                val_root = top / val_folder
            top = top / train_folder
            break
    photos = list_photos(top)
    require_usable(photos)
    if val_root is None:
        train, held_out = split_held_out(photos, val_photos)
    else:
        train, held_out = photos, list_photos(val_root, key="data.val_root")
        require_usable(held_out, key="data.val_root")
        held_out = held_out[:val_photos]
    reasons = {path: _why_unreadable(path) for path in held_out}
    unreadable = [(str(path), reason) for path, reason in reasons.items() if reason]
    return train, [path for path in held_out if not reasons[path]] or train[:1], unreadable


def list_photos(root: str | Path, *, key: str = "data.root") -> list[Path]:
    """The photos of a folder (flat or nested) or of a text file with one path a line.

    Of a folder that ``fst prepare`` made, or one in it, the prepared photos, in the order of those
    they were made from. Paths in a list are relative to the list's folder. Raises ``FstError`` if
    there are none.
    """
    root = user_path(root)
    if os.path.isdir(root):
        prepared = cached_photos(root)
        if prepared:
            return prepared
        photos = list(find_pictures(root, lambda error: say(f"left out       {error}")))
        if not photos:
            raise FstError(f"{key}={root} holds no photos (.jpg, .png ...)")
        return photos
    if not os.path.exists(root):
        raise FstError(f"{key}={root} does not exist; give a folder of photos")
    try:
        with open_regular(root) as handle:
            lines = handle.read().decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError, FstError):
        raise FstError(
            f"{key}={root} is neither a folder nor a text file with one path a line"
        ) from None
    photos = [root.parent / line.strip() for line in lines if line.strip()]
    if not photos:
        raise FstError(f"{key}={root} lists no photos; write one path a line")
    return photos


def open_photo(path: Path) -> Image.Image | SmallPhoto:
    """A photo to be cropped: upright and RGB, or as ``fst prepare`` keeps it; else ``FstError``."""
    return read_small_photo(path) if path.suffix == SUFFIX else read_picture(path).rgb


def read_photo(path: Path) -> Picture:
    """A photo to be seen whole, also one that ``fst prepare`` keeps; else ``FstError``."""
    if path.suffix == SUFFIX:
        return Picture(rgb=read_small_photo(path).image())
    return read_picture(path)


def file_size(path: Path) -> int:
    """Bytes, or -1 of a file that is not there or may not be looked at."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def require_usable(photos: Sequence[Path], *, key: str = "data.root") -> None:
    """Raise ``FstError`` unless at least one photo decodes; gives up after a few seconds."""
    order = np.random.default_rng(0).permutation(len(photos))
    stop = time.monotonic() + USABLE_CHECK_S
    tried, reason = 0, ""
    for number in order:
        try:
            open_photo(photos[number])
            return
        except FstError as error:
            tried, reason = tried + 1, reason or str(error)
        if time.monotonic() > stop:
            break
    raise FstError(
        f"none of the {tried} photos tried of {len(photos)} can be read (the first: {reason}); "
        f"give another {key}"
    )


def readable(photos: Sequence[Path]) -> list[Path]:
    """Those that can be read; the others are named on the terminal. ``FstError`` if none can."""
    good = []
    for photo in photos:
        try:
            read_photo(photo)
        except FstError as error:
            say(f"left out       {error}")
        else:
            good.append(photo)
    if not good:
        raise FstError(f"none of the {len(photos)} photos can be read; give another data.root")
    return good


def split_held_out(photos: Sequence[Path], count: int) -> tuple[list[Path], list[Path]]:
    """(training, held-out): ``count`` photos, a tenth at most, picked by the hash of their name.

    A single photo serves as both.
    """
    count = min(count, max(1, len(photos) // 10))
    if len(photos) < 2:
        return list(photos), list(photos)
    ranked = sorted(photos, key=lambda path: hashlib.sha256(os.fsencode(photo_name(path))).digest())
    held_out = set(ranked[:count])
    return [path for path in photos if path not in held_out], sorted(held_out)


def _why_unreadable(path: Path) -> str | None:
    try:
        open_photo(path)
    except FstError as error:
        return str(error)
    return None
