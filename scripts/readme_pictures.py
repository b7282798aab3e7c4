"""Remake the pictures of the README from shipped styles and scikit-image's free photographs:

    python scripts/readme_pictures.py docs/
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from fst import FstError, Stylizer
from fst.image import Picture, read_picture, save_picture
from fst.style_file import shipped_styles

PHOTOS = ("rocket.jpg", "chelsea.png", "coffee.png", "astronaut.png")
HEIGHT = 300  # pixels of each picture in the sheet


def main(folder: Path) -> None:
    """Write one sheet a style: the four photographs above, the stylized ones below."""
    found = find_spec("skimage")
    if found is None or found.origin is None:
        raise FstError("scikit-image is missing; pip install 'fst[samples]'")
    data = Path(found.origin).parent / "data"
    for name in shipped_styles():
        stylizer = Stylizer(name)
        columns = []
        for photo in PHOTOS:
            picture = read_picture(data / photo)
            stylized = stylizer.picture(picture).rgb
            size = (round(stylized.width * HEIGHT / stylized.height), HEIGHT)
            columns.append([p.resize(size, Image.Resampling.LANCZOS) for p in (picture.rgb, stylized)])
        sheet = Image.new("RGB", (sum(column[0].width for column in columns), 2 * HEIGHT))
        left = 0
        for column in columns:
            for row, panel in enumerate(column):
                sheet.paste(panel, (left, row * HEIGHT))
            left += column[0].width
        save_picture(folder / f"{name}.jpg", Picture(rgb=sheet), quality=88)
        print(folder / f"{name}.jpg")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
    except FstError as error:
        sys.exit(f"readme_pictures: {error}")
