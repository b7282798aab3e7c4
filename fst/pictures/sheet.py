"""Pictures side by side on one sheet, and their labels."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

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


def label(text: str, width: int = LABEL_WIDTH, height: int = LABEL_HEIGHT) -> Image.Image:
    """A cell of a sheet: black text from the upper left corner of a white picture, in pixels."""
    image = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(image).text((6, 6), text, fill="black", font=ImageFont.load_default(FONT_SIZE))
    return image


def labeled(picture: Image.Image, text: str) -> Image.Image:
    """An RGB picture below a line of text, as wide as the picture."""
    return contact_sheet([[label(text, picture.width)], [picture]])
