"""fst paint NAME: one of our own paintings as a picture, to look at or to train on.

fst paint woodcut -o woodcut.png
fst train style=woodcut data.root=photos/
"""

from __future__ import annotations

from fst.errors import FstError
from fst.pictures.image import Picture, save_picture
from fst.pictures.paint import STYLES, paint
from fst.system.console import Parser
from fst.system.paths import user_path


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="fst paint", description="Draw one of our own paintings.")
    parser.add_argument("name", metavar="NAME", help=", ".join(STYLES))
    parser.add_argument("-o", "--output", metavar="FILE", help="default NAME.png here")
    parser.add_argument("--size", type=int, default=768, metavar="PX", help="default 768")
    parser.add_argument("--seed", type=int, default=0, help="another landscape for each number")
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    options = parser.parse_args(argv)
    if options.seed < 0:
        raise FstError(f"--seed {options.seed} must be 0 or more")
    picture = Picture(rgb=paint(options.name, size=options.size, seed=options.seed))
    path = user_path(options.output or f"{options.name}.png")
    if path.exists() and not options.force:
        raise FstError(f"{path} exists already; use --force to replace it, or -o elsewhere")
    save_picture(path, picture, quality=95)
    print(path)
    return 0
