"""What a style file says of itself: its card, or a card a painting, as JSON in the metadata.

``FILE.safetensors:NAME`` is the address of one painting of several, which every reader takes in
place of a file. Reading a card needs neither torch nor Hydra nor Lightning, and not the tensors.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

import fst
from fst.errors import FstError
from fst.nets.card_schema import (
    LONGEST_NAME,
    STORED,
    USUAL_GAIN,
    Shapes,
    Unfit,
    header_bytes,
    parsed,
    require_fit,
    require_joinable,
    require_net,
    require_types,
    whole_sha256,
)
from fst.system.console import note_once
from fst.system.old_names import in_new_names

FORMAT = "fst-style"
FORMAT_VERSION = 1  # of a single painting's file
SEVERAL_VERSION = 2
STRENGTHS_VERSION = 3  # of one painting, with a net that takes strengths
SUFFIX = ".safetensors"
# in bfloat16, levels of 255: what JPEG at quality 95 changes is more
MOST_DIFFERENCE = 0.75
LEAST_WITHIN_2 = 0.95
TRUST_HELP = "take an older file's card as it is, though no checksum covers it"


@dataclass
class Card:
    """What a style file says of itself. ``training``, ``losses``, ``export`` are open mappings."""

    name: str
    net: dict[str, Any]  # arguments of TransformerNet
    painting: dict[str, Any] = field(default_factory=dict)  # title, artist, year, license
    loss_network: dict[str, Any] = field(default_factory=dict)  # description, license
    data: dict[str, Any] = field(default_factory=dict)  # description, photos, license
    training: dict[str, Any] = field(default_factory=dict)  # steps, size, weights, time, machine
    losses: dict[str, float] = field(default_factory=dict)  # final, on held-out photos
    artifacts: dict[str, float] = field(default_factory=dict)  # final, on held-out photos
    export: dict[str, Any] = field(default_factory=dict)  # parity of exported graphs
    bf16: dict[str, float] = field(default_factory=dict)  # see may_run_fast
    evaluation: list[dict[str, Any]] = field(default_factory=list)  # by `fst evaluate`, if run
    thumbnail: str = ""  # of a picture it made, a JPEG in base64; see scripts/thumbnails.py
    fst_version: str = ""
    sha256: str = ""  # of the tensors, see tensors_sha256
    sha256_all: str = ""  # of what makes the picture, see whole_sha256; "" in older files
    format_version: int = FORMAT_VERSION


def read_card(path: str | Path) -> Card:
    """The card of a style, without reading its tensors; ``FstError`` as ``load_style`` has."""
    file, name = parted_address(path)
    cards = read_cards(file)
    names = [card.name for card in cards]
    if name is None and len(cards) > 1:
        raise FstError(
            f"{file} holds {len(cards)} styles; name one, {file}:{names[0]} or "
            f"another of {', '.join(names[1:])}"
        )
    if name is not None and name not in names:
        raise FstError(f"{file} holds no style '{name}'; it has {', '.join(names)}")
    return cards[0 if name is None else names.index(name)]


def read_cards(path: str | Path) -> list[Card]:
    """The cards of a file, one a painting; ``FstError`` for a foreign or damaged file.

    A card is compared with the shapes of its tensors and with ``sha256_all``. In an older file
    nothing covers it: a line says so, once, and a gain that no shipped style ever had is refused
    outside ``cards_trusted``, as a single flipped bit of it moves every pixel.
    """
    cards = listed_cards(path)
    for card in cards:
        gain = card.net["output_gain"]
        if card.sha256_all:
            continue
        if gain != USUAL_GAIN and not _trusted():
            raise FstError(
                f"{path} is of an older format whose card no checksum covers, and its output_gain "
                f"is {gain:g}, not {USUAL_GAIN}; give --trust-card if you know that it is right"
            )
        note_once(
            f"{path} is of an older format: a checksum covers its tensors, and nothing its card"
        )
    return cards


_TRUSTED: ContextVar[bool] = ContextVar("_TRUSTED", default=False)
TRUST_VARIABLE = "FST_TRUST_CARD"  # tells the other processes of a command, and its jobs elsewhere


def _trusted() -> bool:
    return _TRUSTED.get() or os.environ.get(TRUST_VARIABLE) == "1"


@contextmanager
def cards_trusted(trusted: bool = True) -> Iterator[None]:
    """Within, what older files' cards say is taken as it is: what ``--trust-card`` asks for.

    The processes that are started within know of it, such as Lightning's other ones.
    """
    token = _TRUSTED.set(trusted or _TRUSTED.get())
    before = os.environ.get(TRUST_VARIABLE)
    if trusted:
        os.environ[TRUST_VARIABLE] = "1"
    try:
        yield
    finally:
        _TRUSTED.reset(token)
        if trusted and before is None:
            del os.environ[TRUST_VARIABLE]


def listed_cards(path: str | Path) -> list[Card]:
    """``read_cards`` for a list of what there is, without a word on older files."""
    path = Path(path)
    if not path.is_file():
        raise FstError(f"style file {path} does not exist; `fst list` shows the styles there are")
    metadata, shapes = _header(path)
    if metadata.get("format") != FORMAT:
        raise FstError(f"{path} is not a style of fst: its metadata lack format '{FORMAT}'")
    try:
        fields = parsed(metadata.get("card", ""))
        version = fields.get("format_version")
        if not isinstance(version, int) or isinstance(version, bool):
            raise Unfit("its card cannot be read")
    except Unfit as error:
        raise FstError(f"{path} is damaged: {error}") from None
    if version > STRENGTHS_VERSION:
        raise FstError(
            f"{path} has style format {version}, newer than {STRENGTHS_VERSION}, the newest that "
            f"fst {fst.__version__} reads; update fst"
        )
    try:
        if version != SEVERAL_VERSION:
            cards = [_card(path, fields)]
        else:
            shared, own = require_joinable(fields.get("shared"), fields.get("styles"))
            cards = [_card(path, joined(shared, one)) for one in own]
            named = {card.name for card in cards}
            if len(named) != len(cards) or len(cards) < 2:
                raise Unfit("its card does not give its styles names of their own")
        for card in cards:
            if card.net != cards[0].net:
                raise Unfit("its card has other arguments than a net")
        require_fit(cards[0].net, shapes, len(cards))
        for row, card in enumerate(cards):
            place = row if version == SEVERAL_VERSION else None
            if card.sha256_all and card.sha256_all != whole_sha256(asdict(card), place):
                raise Unfit("its card does not match its checksum")
    except Unfit as error:
        raise FstError(f"{path} is damaged: {error}") from None
    return cards


def _header(path: Path) -> tuple[dict[str, str], Shapes]:
    """The metadata of a safetensors file and the shapes of its tensors, which are not read."""
    try:
        header_bytes(path)
        with safe_open(str(path), "np") as handle:
            metadata = handle.metadata() or {}
            slices = {name: handle.get_slice(name) for name in handle.keys()}  # noqa: SIM118
            kinds = {part.get_dtype() for part in slices.values()}
            shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
    except (SafetensorError, OSError, Unfit) as error:
        raise FstError(f"{path} is damaged or not a style file ({error})") from None
    if metadata.get("format") == FORMAT and not kinds <= STORED:
        raise FstError(f"{path} is damaged: its tensors are of types that no net has")
    return metadata, shapes


def _card(path: Path, fields: Mapping[str, Any]) -> Card:
    new = in_new_names(fields)
    known = {key: value for key, value in new.items() if key in Card.__dataclass_fields__}
    if not {"name", "net"} <= known.keys():
        raise Unfit("its card lacks fields")
    require_types(known)
    require_net(known["net"])
    if not is_plain_name(known["name"]):
        name = repr(known["name"])[:LONGEST_NAME]
        raise FstError(f"{path} is not safe to use: its name {name} is not a plain file name")
    return Card(**known)


def parted_address(path: str | Path) -> tuple[Path, str | None]:
    """``FILE.safetensors:NAME`` -> file and name; a file's own path -> the file and None."""
    file, colon, name = str(path).rpartition(f"{SUFFIX}:")
    if not colon or Path(path).exists():
        return Path(path), None
    return Path(file + SUFFIX), name


def parted(
    every: Sequence[Mapping[str, Any]],
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Mappings -> what all have in common, and what each has of its own; ``joined`` undoes it."""
    shared: dict[str, Any] = {}
    own: list[dict[str, Any]] = [{} for _ in every]
    for key in every[0]:
        values = [one[key] for one in every]
        if all(value == values[0] for value in values):
            shared[key] = values[0]
        elif all(isinstance(v, dict) and v.keys() == values[0].keys() for v in values):
            shared[key], parts = parted(values)
            for one, part in zip(own, parts, strict=True):
                one[key] = part
        else:
            for one, value in zip(own, values, strict=True):
                one[key] = value
    return shared, own


def joined(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """What all have in common, what one has of its own -> its whole mapping; undoes ``parted``."""
    both = {**shared, **own}
    for key in shared.keys() & own.keys():
        if isinstance(shared[key], dict) and isinstance(own[key], dict):
            both[key] = joined(shared[key], own[key])
    return both


def net_width(card: Card) -> int:
    """Channels after the net's first convolution, which time and memory go by."""
    return int(card.net["width"])


def may_run_fast(card: Card) -> bool:
    """Whether a style's pictures in bfloat16 are near enough to those in float32.

    ``card.bf16`` has their mean difference in levels of 255 and the share of values within 2, as
    ``fst.inference.bfloat16`` measures them when a style is made. A card without them says no. No
    checksum covers them: a card that lies about them costs some quality where the processor has
    bfloat16, and ``--precision exact`` does not ask it.
    """
    off, within = card.bf16.get("mean_difference"), card.bf16.get("within_2_levels")
    return (
        off is not None
        and within is not None
        and 0 <= off <= MOST_DIFFERENCE
        and LEAST_WITHIN_2 <= within <= 1
    )


def bf16_in_words(card: Card) -> str:
    """``may_run_fast`` with its figures, for people."""
    off, within = card.bf16.get("mean_difference"), card.bf16.get("within_2_levels")
    if off is None or within is None:
        return "not measured: exact unless --precision fast is said"
    return (
        f"{'near enough' if may_run_fast(card) else 'too far'} for --precision auto: {off:.2f} "
        f"levels from float32 on average, {within:.1%} of values within 2"
    )


def is_plain_name(name: object) -> bool:
    """Names become parts of output paths, so a stranger's card must not steer them elsewhere."""
    return (
        isinstance(name, str)
        and len(name) <= LONGEST_NAME
        and name not in ("", ".", "..")
        and name.isprintable()
        and not set(name) & set("/\\")
    )
