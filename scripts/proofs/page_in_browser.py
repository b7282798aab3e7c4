"""The page in Chromium: how long a photo of 512x512 pixels takes, and what the page looks like.

python scripts/proofs/page_in_browser.py times
python scripts/proofs/page_in_browser.py pictures docs   # page.jpg and two more

It needs a Chromium, and what `make test-page` brings (tests/browser/node_modules). The photos are
those of scikit-image.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from PIL import Image

from fst.page.app import application
from fst.page.folder import write_folder
from fst.page.runtime import find_runtime
from fst.page.site import page_styles, site_of
from fst.system.paths import sample_photo
from tests.test_page import served
from tests.test_page_in_browser import drive, file_server

STYLE = "udnie"
REPETITIONS = 5  # after the first, which loads and compiles
SHOWN = {  # name of the picture -> width, height, dark, photo, styles
    "page": (1280, 860, False, "astronaut.png", ["composition_vii"]),
    "page_phone": (390, 844, True, "coffee.png", ["the_scream"]),
    "page_several": (1280, 860, True, "chelsea.png", ["udnie", "great_wave", "stained_glass"]),
}


def times() -> None:
    """The first picture and the median of the next, with threads and without."""
    site = site_of(page_styles([]), find_runtime(), server=False)
    photo = sample_photo("astronaut.png")
    # a slider moved there and back: the same work again
    again = [("set", "colors", (number + 1) % 2) for number in range(REPETITIONS)]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_folder(site, folder)
        ports = {
            "with threads": stack.enter_context(served(application(site))),
            "in one thread": stack.enter_context(file_server(folder)),
        }
        for words, port in ports.items():
            told = drive(
                f"http://127.0.0.1:{port}/",
                ("evaluate", "navigator.hardwareConcurrency"),
                ("photo", photo),
                ("style", STYLE),
                *again,
            )
            cores, _, first, *rest = told["results"]
            took = [float(line.split(" s,")[0]) for line in (first[0], *rest)]
            print(
                f"{words}, of {cores} cores: first {took[0]:.1f} s, then {min(took[1:]):.1f} to "
                f"{max(took[1:]):.1f} s, median {statistics.median(took[1:]):.1f}"
            )


def pictures(folder: Path) -> None:
    """The page as a browser shows it, as JPEG files."""
    site = site_of(page_styles([]), find_runtime(), server=False)
    with served(application(site)) as port, tempfile.TemporaryDirectory() as made:
        for name, (width, height, dark, photo, styles) in SHOWN.items():
            path = Path(made) / f"{name}.png"
            steps: list[tuple[object, ...]] = [("photo", sample_photo(photo))]
            steps += [("check", "#several")] if len(styles) > 1 else []
            steps += [("style", style) for style in styles]
            steps += [("evaluate", "document.activeElement.blur()"), ("sleep", 400)]
            steps += [("screenshot", path)]
            drive(f"http://127.0.0.1:{port}/", *steps, width=width, height=height, dark=dark)
            Image.open(path).convert("RGB").save(
                folder / f"{name}.jpg", quality=82, optimize=True, progressive=True
            )
            print(folder / f"{name}.jpg")


def main() -> int:
    if sys.argv[1:] == ["times"]:
        times()
    elif len(sys.argv) == 3 and sys.argv[1] == "pictures":
        pictures(Path(sys.argv[2]))
    else:
        sys.exit(__doc__)
    return 0


if __name__ == "__main__":
    sys.exit(main())
