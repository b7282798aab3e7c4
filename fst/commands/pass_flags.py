"""The flags of a pass that photos and films have in common."""

from __future__ import annotations

import argparse

from fst.inference.backends import BACKENDS, PRECISIONS
from fst.nets.style_card import TRUST_HELP


def number_or_word(word: str) -> int | str:
    """A whole number as such; any other word is judged by whoever takes it."""
    return int(word) if word.isdecimal() else word


def add_pass_flags(flags: argparse.ArgumentParser) -> None:
    """What is done to each picture, and what runs it."""
    flags.add_argument("--size", type=int, metavar="PX", help="resize to this shorter side first")
    flags.add_argument(
        "--stroke",
        type=number_or_word,
        metavar="PX|auto",
        help="strokes as large in the picture as on a photo of this shorter side, whatever the "
        "size; auto: as of 1000 px on larger photos",
    )
    flags.add_argument(
        "--strength",
        type=float,
        default=1.0,
        metavar="0..1",
        help="how much of the picture, and how much of the photo: a mix of their pixels, or less "
        "of a painting by a net trained with net.strengths=true (default 1, the picture "
        "alone). The strength that a net paints with at 1 is training's style.strength",
    )
    flags.add_argument(
        "--keep-colors",
        type=float,
        default=0.0,
        metavar="0..1",
        help="how much of the photo's colors, under the picture's light and dark (default 0)",
    )
    flags.add_argument("--device", default="auto", help="auto (default), cuda, mps or cpu")
    flags.add_argument(
        "--backend",
        default="auto",
        choices=BACKENDS,
        help="auto (default) is the fastest that is installed; "
        "one that is not is answered with the command that brings it",
    )
    flags.add_argument(
        "--precision",
        default="auto",
        choices=PRECISIONS,
        help="exact is float32; fast is bfloat16, in OpenVINO on a processor that has it, and "
        "float16 on a GPU; auto (default) is fast where nobody would see it, by the style's card",
    )
    flags.add_argument("--trust-card", action="store_true", help=TRUST_HELP)
