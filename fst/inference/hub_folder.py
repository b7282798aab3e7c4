"""What a model hub wants beside a style file, as one folder to be uploaded by hand.

The style, maybe its graph, a model card, the license, a picture or two. Nothing is sent anywhere,
and the painting is never part of it: its license is not ours to give.
"""

from __future__ import annotations

import base64
import datetime
import re
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fst.errors import FstError
from fst.inference.graph_file import export_graph
from fst.inference.stylizer import Stylizer
from fst.nets.model_card import MIT, MIT_TEXT, model_card
from fst.nets.style_card import SUFFIX, Card, read_card
from fst.nets.style_file import style_bytes
from fst.nets.style_names import shipped_styles
from fst.pictures.image import Picture, read_picture, save_picture
from fst.pictures.thumbnail import thumbnail_image
from fst.system.paths import sample_photo

SHORTER_SIDE = 512  # pixels, of the example
FREE_PHOTO = "astronaut.png"
SAID_OF_IT = "Eileen Collins, photographed by NASA (public domain), from scikit-image"


@dataclass(frozen=True)
class Wishes:
    """What is asked of a folder: the weights' license, its text, and what is to be in it.

    ``license_id`` None is MIT for a shipped style. ``photo`` None is a free photo, where there is
    one.
    """

    license_id: str | None = None
    license_file: Path | None = None
    author: str | None = None
    photo: Path | None = None
    onnx: bool = False


def write_hub_folder(
    style: Path, folder: Path, wishes: Wishes, say: Callable[[str], None]
) -> list[str]:
    """Write the folder of a style, whole or not at all; the names of its files.

    ``style`` is a file, or the address of one painting of several, which then stands alone. ``say``
    is told what is left out. Raises ``FstError`` for a folder that has something in it, and for a
    license that nobody has named or whose text is missing.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FstError(f"{folder} exists already and stays as it is; give -o another name")
    card = read_card(style)
    license_id, text = _license(style, card, wishes)
    temporary = folder.with_name(f".{folder.name[:40]}.{secrets.token_hex(8)}.part")
    try:
        temporary.mkdir(parents=True)
        # it stands in code that readers copy
        name = re.sub(r"[^\w.+-]", "_", card.name).lstrip(".") or "style"
        file = f"{name}{SUFFIX}"
        (temporary / file).write_bytes(style_bytes(style))
        onnx = f"{name}.onnx" if wishes.onnx else None
        if onnx:
            export_graph(style, read_card(style), temporary / onnx, file_format="onnx")
        pictures = _pictures(style, card, temporary, wishes.photo, say)
        (temporary / "LICENSE").write_text(text, encoding="utf-8")
        readme = model_card(card, license_id=license_id, file=file, onnx=onnx, pictures=pictures)
        (temporary / "README.md").write_text(readme, encoding="utf-8")
        names = sorted(path.name for path in temporary.iterdir())
        temporary.replace(folder)
    except OSError as error:
        raise FstError(f"{folder} cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return names


def _license(style: Path, card: Card, wishes: Wishes) -> tuple[str, str]:
    """The license of the weights, and its text."""
    ours = style in shipped_styles().values()
    license_id = wishes.license_id or (MIT if ours else None)
    if license_id is None:
        raise FstError(
            f"the card of {card.name} does not say under which license you give its weights; give "
            "--license mit --author NAME, or --license NAME --license-file FILE"
        )
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}", license_id):
        raise FstError(
            f"--license {license_id} is not a license's short name, for instance mit or cc-by-4.0"
        )
    license_id = license_id.lower()
    if wishes.license_file is not None:
        try:
            return license_id, wishes.license_file.read_text(encoding="utf-8")
        except (OSError, UnicodeError) as error:
            raise FstError(
                f"--license-file {wishes.license_file} cannot be read ({error})"
            ) from None
    author = wishes.author or ("The fst authors" if ours else None)
    if license_id != MIT:
        raise FstError(f"--license {license_id} needs its text; give --license-file FILE, too")
    if author is None:
        raise FstError("--license mit names who gives the weights; give --author NAME, too")
    return license_id, MIT_TEXT.format(year=datetime.date.today().year, author=author)


def _pictures(
    style: Path, card: Card, folder: Path, photo: Path | None, say: Callable[[str], None]
) -> dict[str, str]:
    """Write what there is to show; what is said of each."""
    pictures = {}
    said = "A photo in this style."
    if photo is None:
        try:
            photo = sample_photo(FREE_PHOTO)
            said = f"A photo in this style: {SAID_OF_IT}."
        except FstError as error:
            say(f"no example picture: {error}, or give a photo of yours with --photo")
    if photo is not None:
        # the pixels alone: where and when a photo was taken stays with its owner
        small = read_picture(photo).resized(SHORTER_SIDE).rgb
        shown = Picture(rgb=Stylizer(style, say=say)(small))
        save_picture(folder / "example.jpg", shown, quality=92)
        pictures["example.jpg"] = said
    if thumbnail_image(card.thumbnail) is not None:
        (folder / "thumbnail.jpg").write_bytes(base64.b64decode(card.thumbnail))
    return pictures
