"""`make quickstart`, or python scripts/quickstart.py [KEY=VALUE ...]: train a style,
offline, and show what it makes of a photo. Further words go to `fst train`.

Everything comes with the project: the painting is drawn by fst, the loss network and the net to
begin with are shipped ones, the photographs are free ones that scikit-image carries in its wheel.
The photo that is shown is not among those trained on.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fst import FstError, Stylizer
from fst.cli import main as fst
from fst.pictures.image import Picture, read_picture, save_picture, to_image
from fst.pictures.painting import load_painting
from fst.pictures.sheet import contact_sheet
from fst.system.paths import sample_photo

STYLE = "stained_glass"
TRAIN = ("chelsea.png", "coffee.png", "rocket.jpg", "camera.png", "hubble_deep_field.jpg")
SHOWN = "astronaut.png"
FOLDER = Path("runs/quickstart")
OUT = Path("quickstart.jpg")
PHOTO = Path("photo.jpg")  # what the README's commands are run with


def main(words: list[str]) -> int:
    """Train, or resume what an earlier call began; write ``quickstart.jpg``, and ``photo.jpg``
    unless there is one.
    """
    lists = {"train": TRAIN, "held_out": (SHOWN,)}
    FOLDER.parent.mkdir(exist_ok=True)
    for name, photos in lists.items():
        text = "".join(f"{sample_photo(photo)}\n" for photo in photos)
        FOLDER.with_name(f"quickstart_{name}.txt").write_text(text)
    command = ["train", "experiment=quickstart"]
    command += [f"style={STYLE}", f"run_dir={FOLDER}", *words]
    command += ["data.root=runs/quickstart_train.txt", "data.val_root=runs/quickstart_held_out.txt"]
    code = fst(command)
    if code:
        return code
    photo = read_picture(sample_photo(SHOWN))
    painting = load_painting(image=None, painted=STYLE, file=None, root=None, size=512)
    stylizer = Stylizer(FOLDER / f"{STYLE}.safetensors")
    panels = [photo.rgb, to_image(painting.image), stylizer(photo.rgb)]
    save_picture(OUT, Picture(rgb=contact_sheet([panels])), quality=92)
    print(f"\npicture        {OUT.resolve()}   (photo, painting, result)")
    if not PHOTO.exists():
        save_picture(PHOTO, photo, quality=95)
        print(f"photo          {PHOTO.resolve()}   (a free one, to try the commands of the README)")
    print("curves         .venv/bin/tensorboard --logdir runs")
    print(f"your photo     .venv/bin/fst stylize PHOTO.jpg --style {FOLDER}/{STYLE}.safetensors")
    print("other styles   .venv/bin/fst list")
    print("your painting  .venv/bin/fst train style.image=PAINTING.jpg data.root=PHOTOS/")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except FstError as error:
        print(f"quickstart: {error}", file=sys.stderr)
        sys.exit(2)
