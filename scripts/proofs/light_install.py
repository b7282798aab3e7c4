"""What a light installation (light.txt, `make light`) does, and what it says of what it cannot do:

.venv-light/bin/python scripts/proofs/light_install.py
python scripts/proofs/light_install.py --hide     # in a full one, whose own packages are hidden

Every command in one process: each shipped style stylizes a photo, `--help` of all, list, info,
paint, prepare, sheet, export, `Stylizer`; then the sentence of all that needs PyTorch. Nothing may
be left in the home folder. Exit code 1 at the first that is not so.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import tempfile
import time
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import asdict
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HIDDEN = {"torch", "torchvision", "torchmetrics", "pytorch_lightning", "lightning_fabric"}
HIDDEN |= {"lightning_utilities", "hydra", "omegaconf", "tensorboard", "matplotlib", "filelock"}
WITHOUT = "needs PyTorch, which a light install has not; `pip install .` in fst's own folder"


class Light(PathFinder):
    """Python's finder of installed packages, which does not find those of a full installation."""

    @classmethod
    def find_spec(cls, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname.partition(".")[0] in HIDDEN:
            return None
        return super().find_spec(fullname, path, target)


def fst(*words: str | Path, code: int = 0) -> str:
    """What ``fst WORDS...`` prints, on either stream; it must end with that exit code."""
    from fst.cli import main

    start = time.monotonic()
    with redirect_stdout(io.StringIO()) as said, redirect_stderr(said):
        ended = main([str(word) for word in words])
    print(f"fst {' '.join(map(str, words))} ({time.monotonic() - start:.2f} s)", flush=True)
    if ended != code:
        sys.exit(f"light_install: exit code {ended} and not {code}: {said.getvalue()}")
    return said.getvalue()


def check(true: bool, what: str) -> None:
    """Stop with exit code 1 where something is not so."""
    if not true:
        sys.exit(f"light_install: {what}")


def wide_style(path: Path) -> None:
    """A style of width 32, in float32, of random weights."""
    import numpy as np
    from safetensors.numpy import save

    from fst.nets.card_schema import shapes_of, whole_sha256
    from fst.nets.style_card import FORMAT, Card
    from fst.nets.style_file import tensors_sha256

    net = {"width": 32, "residual_blocks": 5, "output_gain": 0.1, "upsampling": "bilinear"}
    generator = np.random.default_rng(0)
    tensors = {
        name: (0.03 * generator.standard_normal(shape)).astype(np.float32)
        for name, shape in shapes_of(net).items()
    }
    card = Card(name="wide", net=net, sha256=tensors_sha256(save(tensors)))
    card.sha256_all = whole_sha256(asdict(card), None)
    path.write_bytes(save(tensors, {"format": FORMAT, "card": json.dumps(asdict(card))}))


def use_styles(*, few: bool) -> None:
    """Each command that uses a style, in an empty folder; all styles, or a ``few`` of them."""
    from PIL import Image

    from fst import Stylizer
    from fst.nets.style_names import shipped_styles
    from fst.page.runtime import WASM

    shipped = shipped_styles()
    fst("paint", "woodcut", "--size", "64", "-o", "photos/photo.png")
    fst("paint", "stained_glass", "--size", "80", "-o", "photos/other.png")
    wide_style(Path("wide.safetensors"))
    styles = ["udnie", "woodcut", "dots_berry"] if few else [*shipped]
    for style in [*styles, "wide.safetensors"]:
        said = fst("stylize", "photos/photo.png", "--style", style, "--size", "32", "-o", "made/")
        check("on cpu" in said, said)
    pictures = [Image.open(path) for path in Path("made").iterdir()]
    check(len(pictures) == len(styles) + 1, "a style has left no picture")
    check(all(picture.size == (32, 32) for picture in pictures), "a picture has another size")
    check("udnie" in fst("list"), "fst list does not name udnie")
    check("Picabia" in fst("info", "udnie"), "fst info does not say whose painting it was")
    for words in (["udnie"], ["udnie", "--size", "32x48", "--opset", "13", "--force"]):
        said = fst("export", *words, "--format", "onnx")
        check("not compared with PyTorch" in said, said)
    said = fst("pack", "udnie", "--photo", "photos/photo.png", "--onnx", "-o", "hub")
    check("README.md" in said and Path("hub/udnie.onnx").is_file(), said)
    said = fst("export", "udnie", "--for", "unity", "-o", "unity.onnx")
    check("float32" in said, said)
    if find_spec("coremltools"):
        said = fst("export", "udnie", "--for", "coreml", "--size", "24x33")
        check("largest difference" in said, said)
    packed = Path("npm/dist")
    packed.mkdir(parents=True)
    for name in WASM.values():
        (packed / name).touch()
    said = fst("export", "base", "--format", "web", "-o", "page", "--runtime", "npm")
    check("24 styles, wasm" in said, said)
    fst("prepare", "photos", "-o", "cache")
    Path("runs/woodcut").mkdir(parents=True)
    shutil.copy(shipped["woodcut"], "runs/woodcut/woodcut.safetensors")
    settings = {"name": "woodcut", "painted": "woodcut", "size": 64}
    Path("runs/woodcut/config.yaml").write_text(json.dumps({"style": settings}))
    said = fst("sheet", "runs", "--photos", "photos", "--size", "64", "-o", "compare")
    check("rank 1" in said and Path("compare.jpg").is_file(), said)
    picture = Stylizer("udnie")(pictures[0])
    check(picture.size == (32, 32), "Stylizer returned another size")


def ask_for_more() -> None:
    """All that needs PyTorch says so, in one sentence."""
    from fst.cli import COMMANDS, HYDRA_COMMANDS

    for command in COMMANDS:
        said = fst(command, "--help")
        check(f"fst {command}" in said, said)
        check((WITHOUT in said) == (command in HYDRA_COMMANDS), said)
    asked = [[command, "a", "b"] for command in sorted(HYDRA_COMMANDS)]
    asked += [["benchmark"], ["download", "vgg16"], ["export", "udnie", "--format", "pt2"]]
    asked += [["export", "udnie", "--format", "aoti"]]
    asked += [["export", "udnie", "--format", "onnx", "--half", "-o", "half.onnx"]]
    stylize = ["stylize", "photos", "--style", "udnie", "-o", "more/"]
    asked += [[*stylize, "--backend", "torch"], [*stylize, "--device", "cuda"]]
    for words in asked:
        said = fst(*words, code=2)
        check(WITHOUT in said and said.count("\n") == 1, said)
    try:
        from fst import gram_matrix  # noqa: F401
    except ImportError as error:
        check(WITHOUT in str(error), str(error))
    else:
        check(False, "gram_matrix is there, which is of torch")


def main() -> int:
    if sys.argv[1:] == ["--hide"]:
        sys.meta_path[:] = [Light if f is PathFinder else f for f in sys.meta_path]
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        Path("home").mkdir()
        os.environ["HOME"] = f"{folder}/home"
        use_styles(few="--hide" in sys.argv)
        ask_for_more()
        left = [*Path("home").iterdir()]
        check(not left, f"something is left in the home folder: {left}")
    found = HIDDEN & {*sys.modules}
    check(not found, f"imported all the same: {', '.join(sorted(found))}")
    print("all of it works")
    return 0


if __name__ == "__main__":
    sys.exit(main())
