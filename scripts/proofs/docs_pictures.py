"""Remake the sheets of the docs from the shipped styles and scikit-image's free photographs:

python scripts/proofs/docs_pictures.py docs/ [example gallery styles strokes]

example.jpg has a photograph, a painting of ours and the result, under their names; gallery.jpg four
photographs in some styles; styles.jpg one photograph in every style. strokes.jpg shows what moves
strokes, skies and faces: one photograph, one painting, one setting of `fst optimize` at a time. It
takes minutes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from PIL import Image

from fst import FstError, Stylizer
from fst.cli import main as fst
from fst.experiments.warm_start import BASE
from fst.nets.style_names import shipped_files
from fst.pictures.image import Picture, read_picture, save_picture, to_image
from fst.pictures.painting import load_painting
from fst.pictures.sheet import contact_sheet, labeled
from fst.system.paths import sample_photo

EXAMPLE_PHOTO, EXAMPLE_STYLE = "chelsea.png", "woodcut"
GALLERY = ("composition_vii", "great_wave", "starry_night", "the_scream", "udnie")
PHOTOS = ("rocket.jpg", "chelsea.png", "coffee.png", "astronaut.png")
HEIGHT = 280  # pixels of each picture in the sheets
COLUMNS = 4  # of styles.jpg
STROKES_SIZE = 320  # pixels of each picture in strokes.jpg
PAINTING_SIZES = ("style.size=256", "style.size=512", "style.size=1024")
SETTINGS = ("style.weights.tv=3", "style.strength=0.3", "loss.content_layers.relu2_2=1")


def main(folder: Path, names: list[str]) -> None:
    """Write the sheets of those names, or all."""
    unknown = set(names) - SHEETS.keys()
    if unknown:
        raise FstError(f"no sheet {', '.join(sorted(unknown))}; there are {', '.join(SHEETS)}")
    for name in names or SHEETS:
        save(folder / f"{name}.jpg", SHEETS[name]())


def example() -> list[list[Image.Image]]:
    """A photograph, a painting and what the painting's net makes of the photograph."""
    photo = read_picture(sample_photo(EXAMPLE_PHOTO))
    painting = load_painting(image=None, painted=EXAMPLE_STYLE, file=None, root=None, size=512)
    result = stylized(EXAMPLE_STYLE, [photo])[0]
    panels = {
        "photo": shrunk(photo.rgb),
        "painting": shrunk(to_image(painting.image)),
        "result": result,
    }
    return [[labeled(picture, text) for text, picture in panels.items()]]


def gallery() -> list[list[Image.Image]]:
    """Four photographs, and a row for each style of the gallery."""
    lacking = set(GALLERY) - set(shipped_files())
    if lacking:
        raise FstError(f"of the gallery, {', '.join(sorted(lacking))} is not in checkpoints/")
    pictures = [read_picture(sample_photo(photo)) for photo in PHOTOS]
    photographs = [shrunk(picture.rgb) for picture in pictures]
    return [photographs, *(stylized(name, pictures) for name in GALLERY)]


def styles() -> list[list[Image.Image]]:
    """The last photograph in every shipped style, under the style's name."""
    photo = read_picture(sample_photo(PHOTOS[-1]))
    every = [labeled(stylized(name, [photo])[0], name) for name in shipped_files() if name != BASE]
    every += [Image.new("RGB", every[0].size, "white")] * (-len(every) % COLUMNS)
    return [every[k : k + COLUMNS] for k in range(0, len(every), COLUMNS)]


def strokes() -> list[list[Image.Image]]:
    """One photograph and one painting: the painting at three sizes; then, in the second row, the
    settings that docs/train.md names for calmer skies and sharper faces."""
    photo = sample_photo(PHOTOS[-1])
    painting = load_painting(image=None, painted=EXAMPLE_STYLE, file=None, root=None, size=512)
    known = {"photo": read_picture(photo).rgb, "painting": to_image(painting.image)}
    rows = zip(known.items(), (PAINTING_SIZES, SETTINGS), strict=True)
    return [
        [
            labeled(shrunk(picture, STROKES_SIZE), name),
            *(labeled(optimized(photo, word), word) for word in words),
        ]
        for (name, picture), words in rows
    ]


SHEETS = {"example": example, "gallery": gallery, "styles": styles, "strokes": strokes}


def optimized(photo: Path, word: str) -> Image.Image:
    """The photograph by ``fst optimize`` with one setting of its own."""
    with tempfile.TemporaryDirectory() as folder:
        words = [f"content={photo}", f"style={EXAMPLE_STYLE}", word]
        words += [f"size={STROKES_SIZE}", "iterations=80"]
        if fst(["optimize", *words, f"run_dir={folder}/run"]):
            raise FstError(f"fst optimize {' '.join(words)} failed")
        (picture,) = Path(folder, "run").glob("*.png")
        return read_picture(picture).rgb


def stylized(name: str, pictures: list[Picture]) -> list[Image.Image]:
    """Each picture in a style, for a sheet."""
    stylizer = Stylizer(name)
    return [shrunk(stylizer.picture(picture).rgb) for picture in pictures]


def save(path: Path, rows: list[list[Image.Image]]) -> None:
    """The sheet of those rows as a file."""
    save_picture(path, Picture(rgb=contact_sheet(rows)), quality=88)
    print(path)


def shrunk(image: Image.Image, height: int = HEIGHT) -> Image.Image:
    """For a sheet; stylized at full size before."""
    size = (round(image.width * height / image.height), height)
    return image.resize(size, Image.Resampling.LANCZOS)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("docs"))
    parser.add_argument("sheets", nargs="*", metavar="SHEET", help="all unless named")
    asked = parser.parse_args()
    try:
        main(asked.folder, asked.sheets)
    except FstError as error:
        sys.exit(f"docs_pictures: {error}")
