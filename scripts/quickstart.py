"""`make quickstart`: stylize a sample photo with every shipped style, and show where it is.

The photographs are free ones that scikit-image carries in its wheel; nothing is downloaded.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from fst import FstError, Stylizer
from fst.image import Picture, contact_sheet, read_picture, save_picture
from fst.paths import sample_photo
from fst.style_file import shipped_styles

OUT = Path("quickstart.jpg")


def main() -> int:
    if not shipped_styles():
        raise FstError("no style is shipped in checkpoints/; get a whole copy of the repository")
    photo = read_picture(sample_photo("astronaut.png"))
    panels = [photo.rgb]
    for name in shipped_styles():
        start = time.monotonic()
        panels.append(Stylizer(name).picture(photo).rgb)
        print(f"{name}: {time.monotonic() - start:.1f} s with loading")
    save_picture(OUT, Picture(rgb=contact_sheet([panels])), quality=92)
    print(f"\npicture        {OUT.resolve()}")
    print("your photo     .venv/bin/fst stylize PHOTO.jpg --style NAME   (names: fst list)")
    print("your painting  .venv/bin/fst train style.image=PAINTING.jpg data.root=PHOTOS/")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FstError as error:
        print(f"quickstart: {error}", file=sys.stderr)
        sys.exit(2)
