"""Remake the pictures of the README from shipped styles and scikit-image's free photographs:

python scripts/readme_pictures.py docs/
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

from fst import FstError, Stylizer
from fst.image import Picture, contact_sheet, read_picture, save_picture
from fst.paths import sample_photo
from fst.style_file import shipped_styles

PHOTOS = ("rocket.jpg", "chelsea.png", "coffee.png", "astronaut.png")
HEIGHT = 300  # pixels of each picture in the sheet


def main(folder: Path) -> None:
    """Write one sheet a style: the four photographs above, the stylized ones below."""
    for name in shipped_styles():
        stylizer = Stylizer(name)
        rows: list[list[Image.Image]] = [[], []]
        for photo in PHOTOS:
            picture = read_picture(sample_photo(photo))
            for row, image in zip(rows, (picture.rgb, stylizer.picture(picture).rgb), strict=True):
                size = (round(image.width * HEIGHT / image.height), HEIGHT)
                row.append(image.resize(size, Image.Resampling.LANCZOS))
        save_picture(folder / f"{name}.jpg", Picture(rgb=contact_sheet(rows)), quality=88)
        print(folder / f"{name}.jpg")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
    except FstError as error:
        sys.exit(f"readme_pictures: {error}")
