"""One file is one trained net: its tensors in safetensors, its card as JSON in the metadata.

A net of several paintings is one file too, of format 2: the tensors that all share, the scales and
shifts of shape (paintings, channels), and a card a painting. ``FILE.safetensors:NAME`` is the
address of one of them, which every reader takes in place of a file and reads as the ordinary style
that it is; its checksum is that of its own tensors.

Nothing is pickled, so a style file from anywhere is safe to load. Reading needs neither Hydra nor
Lightning nor any config: the card says how the net is built. torch is imported where the net itself
is asked for; cards and checksums do without it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, deserialize, safe_open

import fst
from fst.errors import FstError
from fst.system.files import write_whole
from fst.system.paths import checkpoints_dir

if TYPE_CHECKING:
    from torch import Tensor

    from fst.nets.transformer_net import TransformerNet

FORMAT = "fst-style"
FORMAT_VERSION = 1  # of a single painting's file
SEVERAL_VERSION = 2
SUFFIX = ".safetensors"
MIN_SIDE = 16  # pixels of a photo: the least that a net is promised, tested and exported for
OF_PAINTING = re.compile(r"(^|\.)norm\d+\.(weight|bias)$")  # tensors with a row a painting
# safetensors' names of types -> torch's, which the checksum is made with
DTYPES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}


@dataclass
class Card:
    """What a style file says of itself. ``training``, ``losses``, ``export`` are open mappings."""

    name: str
    net: dict[str, Any]  # arguments of TransformerNet
    painting: dict[str, Any] = field(default_factory=dict)  # title, artist, year, licence
    loss_network: dict[str, Any] = field(default_factory=dict)  # description, licence
    data: dict[str, Any] = field(default_factory=dict)  # description, photos, licence
    training: dict[str, Any] = field(default_factory=dict)  # steps, size, weights, time, machine
    losses: dict[str, float] = field(default_factory=dict)  # final, on held-out photos
    artifacts: dict[str, float] = field(default_factory=dict)  # final, on held-out photos
    export: dict[str, Any] = field(default_factory=dict)  # parity of exported graphs
    evaluation: list[dict[str, Any]] = field(default_factory=list)  # by `fst evaluate`, if run
    fst_version: str = ""
    sha256: str = ""  # of the tensors, see tensors_sha256
    format_version: int = FORMAT_VERSION


def tensors_sha256(data: bytes) -> str:
    """SHA-256 over names, types, shapes and bytes of a safetensors file, in order of the names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(deserialize(data), key=lambda item: item[0]):
        dtype = DTYPES.get(tensor["dtype"], tensor["dtype"])
        digest.update(f"{name} torch.{dtype} {tuple(tensor['shape'])}\n".encode())
        digest.update(tensor["data"])
    return digest.hexdigest()


def save_style(path: str | Path, net: TransformerNet, card: Card, *, half: bool) -> None:
    """Write a style file whole or not at all; ``half`` stores float16 (3.4 MB at width 32).

    Fills in the card's net arguments, version and checksum. Refuses NaN and infinity.
    """
    tensors = _stored(path, net, half=half)
    card.net = net.arguments
    card.fst_version = fst.__version__
    card.format_version = FORMAT_VERSION
    card.sha256 = tensors_sha256(_serialized(tensors))
    _write(Path(path), tensors, card)


def _stored(path: str | Path, net: TransformerNet, *, half: bool) -> dict[str, Tensor]:
    """The tensors of a net as a file holds them; ``FstError`` for NaN and infinity."""
    import torch

    dtype = torch.float16 if half else torch.float32
    tensors = {
        name: tensor.detach().cpu().to(dtype).contiguous()
        for name, tensor in net.state_dict().items()
    }
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise FstError(f"{path} is not written: {name} of the net holds NaN or infinity")
    return tensors


def _serialized(tensors: dict[str, Tensor]) -> bytes:
    from safetensors.torch import save

    return save(tensors)


def save_styles(
    path: str | Path, net: TransformerNet, cards: Sequence[Card], *, half: bool
) -> None:
    """``save_style`` of a net of one painting or of several, with a card for each.

    What all cards have in common stands in the file once.
    """
    if net.paintings == 1:
        return save_style(path, net, cards[0], half=half)
    names = [card.name for card in cards]
    assert len(set(names)) == len(names) == net.paintings
    tensors = _stored(path, net, half=half)
    data = _serialized(tensors)
    for row, card in enumerate(cards):
        card.net = net.of_painting(row).arguments
        card.fst_version = fst.__version__
        card.format_version = FORMAT_VERSION
        card.sha256 = tensors_sha256(rows_of(data, row))
    _write_several(Path(path), tensors, cards)


def _write_several(path: Path, tensors: dict[str, Tensor], cards: Sequence[Card]) -> None:
    from safetensors.torch import save

    every = [asdict(card) for card in cards]
    shared, own = _parted(every)
    top = {
        "format_version": SEVERAL_VERSION,
        "sha256": tensors_sha256(save(tensors)),
        "shared": shared,
        "styles": own,
    }
    metadata = {"format": FORMAT, "card": json.dumps(top, ensure_ascii=False)}
    write_whole(path, save(tensors, metadata))


def _parted(
    every: Sequence[Mapping[str, Any]],
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Mappings -> what all have in common, and what each has besides; ``_joined`` undoes it."""
    shared: dict[str, Any] = {}
    own: list[dict[str, Any]] = [{} for _ in every]
    for key in every[0]:
        values = [one[key] for one in every]
        if all(value == values[0] for value in values):
            shared[key] = values[0]
        elif all(isinstance(v, dict) and v.keys() == values[0].keys() for v in values):
            shared[key], parts = _parted(values)
            for one, part in zip(own, parts, strict=True):
                one[key] = part
        else:
            for one, value in zip(own, values, strict=True):
                one[key] = value
    return shared, own


def _joined(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    both = {**shared, **own}
    for key in shared.keys() & own.keys():
        if isinstance(shared[key], dict) and isinstance(own[key], dict):
            both[key] = _joined(shared[key], own[key])
    return both


def rewrite_card(path: str | Path, card: Card) -> None:
    """Put another card into a style file and leave its tensors as they are."""
    from safetensors.torch import load

    file, name = parted_address(path)
    data = _checked_file(file)
    if name is None:
        return _write(file, load(data), card)
    cards = [card if one.name == name else one for one in read_cards(file)]
    _write_several(file, load(data), cards)


def _write(path: Path, tensors: dict[str, Tensor], card: Card) -> None:
    from safetensors.torch import save

    metadata = {"format": FORMAT, "card": json.dumps(asdict(card), ensure_ascii=False)}
    write_whole(path, save(tensors, metadata))


def load_style(path: str | Path, name: str | None = None) -> tuple[TransformerNet, Card]:
    """A style -> (float32 net in eval mode on the CPU, card), its checksum verified.

    ``path`` is a file, or the address of one painting of several, which ``name`` may give too.
    Raises ``FstError`` for a file that is missing, damaged, foreign, of a newer format, or of
    several paintings where none is named.
    """
    if name is not None:
        path = f"{path}:{name}"
    card, data = read_checked(path)
    return _built(path, data, card.net), card


def load_styles(path: str | Path) -> tuple[TransformerNet, list[Card]]:
    """The whole net of a file, of one painting or of several, and its cards; see ``load_style``."""
    file, name = parted_address(path)
    cards = read_cards(file)
    if name is not None or len(cards) == 1:
        net, card = load_style(path)
        return net, [card]
    arguments = {**cards[0].net, "paintings": len(cards)}
    return _built(file, _checked_file(file), arguments), cards


def _built(path: str | Path, data: bytes, arguments: Mapping[str, Any]) -> TransformerNet:
    from safetensors.torch import load

    from fst.nets.transformer_net import TransformerNet

    try:
        net = TransformerNet(**arguments)
        net.load_state_dict({name: tensor.float() for name, tensor in load(data).items()})
    except (TypeError, RuntimeError):
        raise FstError(f"{path} is damaged: its tensors do not fit the net in its card") from None
    return net.eval().requires_grad_(False)


def read_checked(path: str | Path) -> tuple[Card, bytes]:
    """The card and the tensors as a safetensors file, which match the checksum in the card.

    Raises ``FstError`` as ``load_style`` does.
    """
    card, (file, name) = read_card(path), parted_address(path)
    data = file.read_bytes()
    if name is not None:
        data = rows_of(data, [one.name for one in read_cards(file)].index(name))
    if tensors_sha256(data) != card.sha256:
        raise FstError(f"{path} is damaged: its tensors do not match the checksum in its card")
    return card, data


def _checked_file(file: Path) -> bytes:
    """A whole file, each painting of which matches its checksum."""
    data, cards = file.read_bytes(), read_cards(file)
    for row, card in enumerate(cards):
        own = data if len(cards) == 1 else rows_of(data, row)
        if tensors_sha256(own) != card.sha256:
            raise FstError(f"{file} is damaged: its tensors do not match the checksum in its card")
    return data


def rows_of(data: bytes, row: int) -> bytes:
    """A file of several paintings -> that of one of them, without a card."""
    from safetensors.numpy import load, save  # torch is not needed for this

    tensors = load(data)
    for name in filter(OF_PAINTING.search, tensors):
        if tensors[name].ndim == 2:
            tensors[name] = tensors[name][row]
    return save(tensors)


def parted_address(path: str | Path) -> tuple[Path, str | None]:
    """``FILE.safetensors:NAME`` -> file and name; a file's own path -> the file and None."""
    file, colon, name = str(path).rpartition(f"{SUFFIX}:")
    if not colon or Path(path).exists():
        return Path(path), None
    return Path(file + SUFFIX), name


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
    """The cards of a file, one a painting; ``FstError`` for a foreign or damaged file."""
    path = Path(path)
    if not path.is_file():
        raise FstError(f"style file {path} does not exist; `fst list` shows the styles at hand")
    try:
        with safe_open(str(path), "np") as handle:
            metadata = handle.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise FstError(f"{path} is damaged or not a style file ({error})") from None
    if metadata.get("format") != FORMAT:
        raise FstError(f"{path} is not a style of fst: its metadata lack format '{FORMAT}'")
    try:
        fields = json.loads(metadata["card"])
        version = int(fields["format_version"])
    except (KeyError, ValueError, TypeError):
        raise FstError(f"{path} is damaged: its card cannot be read") from None
    if version > SEVERAL_VERSION:
        raise FstError(
            f"{path} has style format {version}, newer than {SEVERAL_VERSION}, the newest that "
            f"fst {fst.__version__} reads; update fst"
        )
    if version < SEVERAL_VERSION:
        return [_card(path, fields)]
    try:
        every = [_joined(fields["shared"], own) for own in fields["styles"]]
    except (KeyError, TypeError, AttributeError):
        raise FstError(f"{path} is damaged: its cards cannot be read") from None
    cards = [_card(path, one) for one in every]
    if len({card.name for card in cards}) != len(cards) or len(cards) < 2:
        raise FstError(f"{path} is damaged: its styles have no names of their own")
    return cards


def _card(path: Path, fields: Mapping[str, Any]) -> Card:
    known = {key: value for key, value in fields.items() if key in Card.__dataclass_fields__}
    try:
        card = Card(**known)
    except TypeError:
        raise FstError(f"{path} is damaged: its card lacks fields") from None
    mappings = (card.net, card.painting, card.loss_network, card.data, card.training)
    if not all(isinstance(part, dict) for part in (*mappings, card.losses, card.export)):
        raise FstError(f"{path} is damaged: its card has fields of the wrong kind")
    if not _is_plain_name(card.name):
        raise FstError(f"{path} is not safe to use: its name {card.name!r} is no plain file name")
    return card


def net_width(card: Card) -> float:
    """Channels after the net's first convolution, which time and memory go by."""
    width = card.net.get("width")
    return width if isinstance(width, int | float) and width > 0 else 32


def _is_plain_name(name: object) -> bool:
    """Names become parts of output paths, so a stranger's card must not steer them elsewhere."""
    return (
        isinstance(name, str)
        and name not in ("", ".", "..")
        and name.isprintable()
        and not set(name) & set("/\\")
    )


def shipped_files() -> dict[str, Path]:
    """The style files inside the package: {stem: path}."""
    return {path.stem: path for path in sorted(checkpoints_dir().glob(f"*{SUFFIX}"))}


def shipped_styles() -> dict[str, Path]:
    """The styles inside the package: {name: path or address}.

    A painting that a file of several knows besides others comes after those with a file alone.
    """
    return _styles_in(shipped_files())


def trained_styles(runs: str | Path = "runs") -> dict[str, Path]:
    """The styles trained here: of every ``runs/NAME/NAME.safetensors``, as ``shipped_styles``."""
    found = sorted(Path(runs).glob(f"*/*{SUFFIX}"))
    return _styles_in(
        {
            path.parent.name: path
            for path in found
            if re.fullmatch(rf"{re.escape(path.stem)}(-\d+)?", path.parent.name)
        }
    )


def _styles_in(files: Mapping[str, Path]) -> dict[str, Path]:
    alone: dict[str, Path] = {}
    among: dict[str, Path] = {}
    for name, path in files.items():
        try:
            cards = read_cards(path)
        except FstError:  # whoever asks for it is told
            cards = []
        if len(cards) < 2:
            alone[name] = path
        for card in cards if len(cards) > 1 else []:
            among.setdefault(card.name, Path(f"{path}:{card.name}"))
    return {**alone, **{name: path for name, path in among.items() if name not in alone}}


def style_label(name_or_file: str | Path, path: Path) -> str:
    """What results of a style are called after: the name asked for, or the file's stem."""
    name = parted_address(path)[1]
    if name is not None:
        return name
    return path.stem if Path(name_or_file).expanduser() == path else str(name_or_file)


def find_style(name_or_file: str | Path) -> Path:
    """Where a style is: a file, or the address of one painting of several.

    Sought as a file, as a shipped style, as one that was trained below ``runs/``, in that order.
    Raises ``FstError`` listing the known names.
    """
    text = str(name_or_file)
    path = Path(text).expanduser()
    if parted_address(path)[0].is_file():
        return path
    for known in (shipped_styles(), trained_styles()):
        if text in known:
            return known[text]
    if text in shipped_files():
        return shipped_files()[text]  # of several: its reader says which
    if path.suffix == SUFFIX or len(path.parts) > 1:
        raise FstError(f"style file {path} does not exist; `fst list` shows the styles at hand")
    names = ", ".join([*shipped_styles(), *trained_styles()]) or "none yet; `fst train` makes one"
    raise FstError(f"style '{text}' is unknown; known styles: {names}")


def find_file(name_or_file: str | Path) -> Path:
    """``find_style``, which also takes the name of a file of several paintings for all of it."""
    text = str(name_or_file)
    run = Path("runs") / text / f"{text}{SUFFIX}"
    if text in shipped_files():
        return shipped_files()[text]
    return run if run.is_file() else find_style(name_or_file)
