"""The paintings that the shipped base is trained on, as a config folder.

python scripts/base_paintings.py PAINTINGS -o OUT
fst train --config-dir OUT "$(cat OUT/styles.txt)" style.name=base style.root=PAINTINGS \
    data.root=PHOTOS experiment=base

PAINTINGS is a folder with the files that configs/style names. Writes OUT/style/NAME.yaml and a
picture for each copy that is recolored, mirrored or of another size, and for our own paintings in
other palettes and seeds; OUT/styles.txt has the setting ``styles=[...]`` with all of them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import yaml
from PIL import Image, ImageOps

from fst.errors import FstError
from fst.experiments.settings import compose
from fst.pictures.image import Picture, read_picture, save_picture
from fst.pictures.paint import paint

KNOWN = (
    "great_wave",
    "composition_vii",
    "mondrian_composition",
    "little_blue_horse",
    "poppies",
    "edtaonisl",
    "udnie",
    "shipwreck",
    "starry_night",
    "portrait_metzinger",
)
OWN = ("flowing_strokes", "stained_glass", "woodcut", "dots")
# of a known painting: the order of its color channels, whether it is mirrored, and its size
COPIES = {
    "great_wave_rose": ("great_wave", "BGR", True, 384),
    "starry_night_ember": ("starry_night", "BRG", True, 768),
    "udnie_moss": ("udnie", "RBG", True, 512),
    "composition_vii_violet": ("composition_vii", "GRB", True, 384),
    "poppies_dusk": ("poppies", "GBR", True, 384),
    "portrait_metzinger_sea": ("portrait_metzinger", "BGR", True, 384),
}
# of ours: the seed of its landscape and the order of its color channels
OTHERS = {
    "flowing_strokes_dawn": ("flowing_strokes", 3, "BGR"),
    "stained_glass_forest": ("stained_glass", 5, "GRB"),
    "woodcut_indigo": ("woodcut", 2, "BRG"),
    "dots_berry": ("dots", 4, "RBG"),
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("paintings", type=Path, metavar="PAINTINGS")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT")
    asked = parser.parse_args(argv)
    styles = asked.output.resolve() / "style"
    styles.mkdir(parents=True, exist_ok=True)
    for name, (of, channels, mirrored, size) in COPIES.items():
        config = compose("train", [f"style={of}"]).style.plain()
        picture = recolored(read_picture(asked.paintings / config["file"]).rgb, channels)
        picture = ImageOps.mirror(picture) if mirrored else picture
        keep(styles, name, picture, {**config, "size": size}, "recolored, mirrored copy")
    for name, (of, seed, channels) in OTHERS.items():
        config = compose("train", [f"style={of}"]).style.plain()
        picture = recolored(paint(of, size=768, seed=seed), channels)
        keep(styles, name, picture, config, f"seed {seed}, recolored")
    names = [*KNOWN, *OWN, *COPIES, *OTHERS]
    (asked.output / "styles.txt").write_text(f"styles=[{','.join(names)}]\n")
    print(f"{len(names)} paintings: {asked.output / 'styles.txt'}")
    return 0


def recolored(picture: Image.Image, channels: str) -> Image.Image:
    """A picture with its red, green and blue in another order."""
    return Image.merge("RGB", [picture.getchannel(channel) for channel in channels])


def keep(folder: Path, name: str, picture: Image.Image, config: dict, what: str) -> None:
    """Write a picture and the style config that names it."""
    file = folder / f"{name}.png"
    save_picture(file, Picture(rgb=picture), quality=95)
    config |= {"name": name, "title": f"{config['title']} ({what})", "image": str(file)}
    config |= {"file": None, "painted": None}
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FstError as error:
        sys.exit(str(error))
