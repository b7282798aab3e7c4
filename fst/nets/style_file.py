"""One file is one trained style: its tensors in safetensors, its card as JSON in the metadata.

Nothing is pickled, so a style file from anywhere is safe to load. Reading needs neither Hydra nor
Lightning nor any config: the card says how the net is built. torch is imported where the net itself
is asked for; cards and checksums do without it.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, deserialize, safe_open

import fst
from fst.errors import FstError
from fst.pictures.image import write_whole
from fst.system.paths import checkpoints_dir

if TYPE_CHECKING:
    from torch import Tensor

    from fst.nets.transformer_net import TransformerNet

FORMAT = "fst-style"
FORMAT_VERSION = 1
SUFFIX = ".safetensors"
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
    import torch
    from safetensors.torch import save

    dtype = torch.float16 if half else torch.float32
    tensors = {
        name: tensor.detach().cpu().to(dtype).contiguous()
        for name, tensor in net.state_dict().items()
    }
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise FstError(f"{path} is not written: {name} of the net holds NaN or infinity")
    card.net = net.arguments
    card.fst_version = fst.__version__
    card.format_version = FORMAT_VERSION
    card.sha256 = tensors_sha256(save(tensors))
    _write(Path(path), tensors, card)


def rewrite_card(path: str | Path, card: Card) -> None:
    """Put another card into a style file and leave its tensors as they are."""
    from safetensors.torch import load

    _write(Path(path), load(read_checked(path)[1]), card)


def _write(path: Path, tensors: dict[str, Tensor], card: Card) -> None:
    from safetensors.torch import save

    metadata = {"format": FORMAT, "card": json.dumps(asdict(card), ensure_ascii=False)}
    write_whole(path, save(tensors, metadata))


def load_style(path: str | Path) -> tuple[TransformerNet, Card]:
    """A style file -> (float32 net in eval mode on the CPU, card), its checksum verified.

    Raises ``FstError`` for a file that is missing, damaged, foreign or of a newer format.
    """
    from safetensors.torch import load

    from fst.nets.transformer_net import TransformerNet

    card, data = read_checked(path)
    try:
        net = TransformerNet(**card.net)
        net.load_state_dict({name: tensor.float() for name, tensor in load(data).items()})
    except (TypeError, RuntimeError):
        raise FstError(f"{path} is damaged: its tensors do not fit the net in its card") from None
    return net.eval().requires_grad_(False), card


def read_checked(path: str | Path) -> tuple[Card, bytes]:
    """The card and the whole file, whose tensors match the checksum in the card.

    Raises ``FstError`` as ``load_style`` does.
    """
    card, data = read_card(path), Path(path).read_bytes()
    if tensors_sha256(data) != card.sha256:
        raise FstError(f"{path} is damaged: its tensors do not match the checksum in its card")
    return card, data


def read_card(path: str | Path) -> Card:
    """The card alone, without reading the tensors; ``FstError`` for a foreign or damaged file."""
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
    if version > FORMAT_VERSION:
        raise FstError(
            f"{path} has style format {version}, newer than {FORMAT_VERSION}, the newest that "
            f"fst {fst.__version__} reads; update fst"
        )
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


def shipped_styles() -> dict[str, Path]:
    """The styles inside the package: {name: path}."""
    return {path.stem: path for path in sorted(checkpoints_dir().glob(f"*{SUFFIX}"))}


def trained_styles(runs: str | Path = "runs") -> dict[str, Path]:
    """The styles trained here: {name: path} of every ``runs/NAME/NAME.safetensors``."""
    found = sorted(Path(runs).glob(f"*/*{SUFFIX}"))
    return {
        path.parent.name: path
        for path in found
        if re.fullmatch(rf"{re.escape(path.stem)}(-\d+)?", path.parent.name)
    }


def style_label(name_or_file: str | Path, path: Path) -> str:
    """What results of a style are called after: the name asked for, or the file's stem."""
    return path.stem if Path(name_or_file).expanduser() == path else str(name_or_file)


def find_style(name_or_file: str | Path) -> Path:
    """A style's path by file, by shipped name, or by name of a run below ``runs/``, in that order.

    Raises ``FstError`` listing the known names.
    """
    text = str(name_or_file)
    path = Path(text).expanduser()
    if path.is_file():
        return path
    shipped, trained = shipped_styles(), trained_styles()
    if text in shipped:
        return shipped[text]
    if text in trained:
        return trained[text]
    if path.suffix == SUFFIX or len(path.parts) > 1:
        raise FstError(f"style file {path} does not exist; `fst list` shows the styles at hand")
    known = ", ".join([*shipped, *trained]) or "none yet; `fst train` makes one"
    raise FstError(f"style '{text}' is unknown; known styles: {known}")
