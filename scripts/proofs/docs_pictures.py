"""Remake the README's sheets of styles from the shipped styles and scikit-image's free photographs:

python scripts/proofs/docs_pictures.py docs/

gallery.jpg has four photographs in some styles, styles.jpg one photograph in every style.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from fst import FstError, Stylizer
from fst.nets.style_file import shipped_styles
from fst.pictures.image import Picture, contact_sheet, read_picture, save_picture
from fst.system.paths import sample_photo

GALLERY = ("composition_vii", "great_wave", "stained_glass", "the_scream", "edtaonisl")
PHOTOS = ("rocket.jpg", "chelsea.png", "coffee.png", "astronaut.png")
HEIGHT = 280  # pixels of each picture in the sheets
COLUMNS = 4  # of styles.jpg
LABEL = 24  # pixels of the line above a picture of styles.jpg


def main(folder: Path) -> None:
    """Write both sheets."""
    lacking = set(GALLERY) - set(shipped_styles())
    if lacking:
        raise FstError(f"of the gallery, {', '.join(sorted(lacking))} is not in checkpoints/")
    pictures = [read_picture(sample_photo(photo)) for photo in PHOTOS]
    photographs = [shrunk(picture.rgb) for picture in pictures]
    made = {name: stylized(name, pictures) for name in shipped_styles()}
    save(folder / "gallery.jpg", [photographs, *(made[name] for name in GALLERY)])
    every = [labelled(name, results[-1]) for name, results in made.items()]
    every += [Image.new("RGB", every[0].size, "white")] * (-len(every) % COLUMNS)
    save(folder / "styles.jpg", [every[k : k + COLUMNS] for k in range(0, len(every), COLUMNS)])


def stylized(name: str, pictures: list[Picture]) -> list[Image.Image]:
    """Each picture in a style, for a sheet."""
    stylizer = Stylizer(name)
    return [shrunk(stylizer.picture(picture).rgb) for picture in pictures]


def save(path: Path, rows: list[list[Image.Image]]) -> None:
    """The sheet of those rows as a file."""
    save_picture(path, Picture(rgb=contact_sheet(rows)), quality=88)
    print(path)


def shrunk(image: Image.Image) -> Image.Image:
    """For a sheet; stylized at full size before."""
    size = (round(image.width * HEIGHT / image.height), HEIGHT)
    return image.resize(size, Image.Resampling.LANCZOS)


def labelled(text: str, image: Image.Image) -> Image.Image:
    """The image under a line of text."""
    sheet = Image.new("RGB", (image.width, image.height + LABEL), "white")
    sheet.paste(image, (0, LABEL))
    ImageDraw.Draw(sheet).text((4, 3), text, "black", ImageFont.load_default(LABEL * 0.65))
    return sheet


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
    except FstError as error:
        sys.exit(f"docs_pictures: {error}")
