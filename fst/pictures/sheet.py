"""Pictures side by side on one sheet, and their labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

from fst.pictures.thumbnail import SIDE, thumbnail_image

LABEL_HEIGHT, LABEL_WIDTH = 28, 150  # pixels
FONT_SIZE = 13  # pixels


def contact_sheet(rows: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """Rows of RGB images in one, on white; rows and columns are in line."""
    heights = [max(image.height for image in row) for row in rows]
    widths = [max(image.width for image in column) for column in zip(*rows, strict=True)]
    sheet = Image.new("RGB", (sum(widths), sum(heights)), "white")
    for number, row in enumerate(rows):
        for column, image in enumerate(row):
            sheet.paste(image, (sum(widths[:column]), sum(heights[:number])))
    return sheet


def sheet_of(tiles: Sequence[Image.Image]) -> Image.Image:
    """Tiles of one size -> a sheet, about as wide as it is high."""
    width, height = tiles[0].size
    columns = min(len(tiles), max(1, round(math.sqrt(len(tiles) * height / width))))
    blank = Image.new("RGB", (width, height), "white")
    filled = [*tiles, *[blank] * (-len(tiles) % columns)]
    return contact_sheet(
        [filled[start : start + columns] for start in range(0, len(filled), columns)]
    )


def sheet_of_styles(thumbnails: Mapping[str, str]) -> Image.Image:
    """Names of styles and the thumbnails of their cards -> a sheet; gray where there is none."""
    tiles = []
    for name, text in thumbnails.items():
        tile = Image.new("RGB", (LABEL_WIDTH, SIDE), "white")
        image = thumbnail_image(text) or Image.new("RGB", (SIDE, SIDE), "lightgray")
        tile.paste(image.resize((SIDE, SIDE)), (6, 0))
        tiles.append(labeled(tile, name))
    return sheet_of(tiles)


def label(text: str, width: int = LABEL_WIDTH, height: int = LABEL_HEIGHT) -> Image.Image:
    """A cell of a sheet: black text from the upper left corner of a white picture, in pixels."""
    image = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(image).text((6, 6), text, fill="black", font=ImageFont.load_default(FONT_SIZE))
    return image


def labeled(picture: Image.Image, text: str) -> Image.Image:
    """An RGB picture below a line of text, as wide as the picture."""
    return contact_sheet([[label(text, picture.width)], [picture]])
