"""Remake the gallery of the README from shipped styles and scikit-image's free photographs:

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
HEIGHT = 280  # pixels of each picture in the sheet


def main(folder: Path) -> None:
    """Write ``gallery.jpg``: the photographs in the first row, a style in each further one."""
    pictures = [read_picture(sample_photo(photo)) for photo in PHOTOS]
    rows = [[shrunk(picture.rgb) for picture in pictures]]
    for name in shipped_styles():
        stylizer = Stylizer(name)
        rows.append([shrunk(stylizer.picture(picture).rgb) for picture in pictures])
    save_picture(folder / "gallery.jpg", Picture(rgb=contact_sheet(rows)), quality=88)
    print(f"{folder / 'gallery.jpg'}: the photographs, {', '.join(shipped_styles())}")


def shrunk(image: Image.Image) -> Image.Image:
    """For the sheet; stylized at full size before."""
    size = (round(image.width * HEIGHT / image.height), HEIGHT)
    return image.resize(size, Image.Resampling.LANCZOS)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
    except FstError as error:
        sys.exit(f"readme_pictures: {error}")
