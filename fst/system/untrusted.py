"""Reading what strangers wrote: YAML, JSON and PyTorch files, bounded before memory is taken.

Each raises ``FstError`` with one sentence of our own: what a library says of such a file may be
advice to switch its safety off.
"""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from fst.errors import FstError

if TYPE_CHECKING:
    from torch import Tensor

MOST_TEXT_BYTES = 4_000_000  # a config of ours has 5 kB
MOST_VALUES = 200_000
DEEPEST = 40
LIMITS = (MOST_VALUES, DEEPEST)
MOST_TENSOR_BYTES = 4_000_000_000  # VGG-19 has 575 MB


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file -> its mapping; anchors that unfold into more than is there are refused."""
    text = _text(path)
    try:
        _require_bounded(text, path)
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" (line {where.line + 1})" if where is not None else ""
        raise FstError(f"{path} is damaged: it is not YAML that can be read{line}") from None
    return _mapping(value, path)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file -> its mapping."""
    try:
        value = json.loads(_text(path))
    except (ValueError, RecursionError):
        raise FstError(f"{path} is damaged: it is not JSON that can be read") from None
    return _mapping(value, path)


def _text(path: Path) -> str:
    try:
        if not path.is_file():
            raise FstError(f"{path} does not exist or is not a file")
        if path.stat().st_size > MOST_TEXT_BYTES:
            raise FstError(
                f"{path} is of {path.stat().st_size / 1e6:.1f} MB, more than any of ours"
            )
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise FstError(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise FstError(f"{path} is damaged: it is not text") from None


def _mapping(value: Any, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        kind = "empty" if value is None else "not a mapping"
        raise FstError(f"{path} is damaged: it is {kind}, and not settings by name")
    return value


def _require_bounded(text: str, path: Path) -> None:
    """Raise ``FstError`` for YAML that is deep or, with its aliases unfolded, large.

    By events, which take neither recursion nor memory. Of each node that is open, and of each
    anchor, the values in it and their depth are kept.
    """
    anchors: dict[str, tuple[int, int]] = {}
    open_nodes: list[list[Any]] = [[None, 0, 0]]  # anchor, values, depth
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append([event.anchor, 1, 1])
        elif isinstance(event, yaml.ScalarEvent | yaml.AliasEvent | yaml.CollectionEndEvent):
            anchor, values, depth = _anchor(event), 1, 0
            if isinstance(event, yaml.CollectionEndEvent):
                anchor, values, depth = open_nodes.pop()
            elif isinstance(event, yaml.AliasEvent):  # an open one holds itself
                values, depth = anchors.get(str(anchor), (MOST_VALUES, DEEPEST))
                anchor = None
            if anchor is not None:
                anchors[anchor] = values, depth
            outer = open_nodes[-1]
            outer[1], outer[2] = outer[1] + values, max(outer[2], depth + 1)
        if len(open_nodes) > DEEPEST or any(
            value > most for value, most in zip(open_nodes[-1][1:], LIMITS, strict=True)
        ):
            raise FstError(f"{path} is damaged: it unfolds into more than any settings are")


def _anchor(event: yaml.Event) -> str | None:
    return getattr(event, "anchor", None)


def load_torch(source: Path | bytes) -> Any:
    """What ``torch.save`` wrote, tensors on the CPU and plain values only: no code is run.

    ``ValueError`` with a few words on what is wrong: compressed or overlapping parts, which unfold
    into more than the file; a file whose checksums do not match; tensors without data of their own,
    or of a kind that nets do not have.
    """
    import torch

    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    if size > MOST_TENSOR_BYTES:
        raise ValueError(f"it is of {size / 1e9:.1f} GB, more than any network")
    opened = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        if zipfile.is_zipfile(opened):
            with zipfile.ZipFile(opened) as parts:
                entries = parts.infolist()
                compressed = any(part.compress_type != zipfile.ZIP_STORED for part in entries)
                if compressed or sum(part.file_size for part in entries) > size:
                    raise ValueError("it unfolds into more than it is; PyTorch writes no such file")
                # torch.load does not look at these; bytes have been checked by who read them
                if not isinstance(source, bytes) and parts.testzip() is not None:
                    raise ValueError("it is damaged, or was saved without checksums")
        if isinstance(opened, io.BytesIO):
            opened.seek(0)
        value = torch.load(opened, map_location="cpu", weights_only=True)
    except ValueError:
        raise
    except pickle.UnpicklingError:
        raise ValueError("it holds something else than tensors and plain values") from None
    except Exception:  # of a stranger's bytes, nearly anything
        raise ValueError("it is not a whole PyTorch file") from None
    held = 0
    for tensor in tensors_in(value):
        _require_dense(tensor)
        held += tensor.numel() * tensor.element_size()
    if held > 2 * size + 1_000_000:  # many views of one storage
        raise ValueError("its tensors unfold into more than the file holds")
    return value


def tensors_in(value: Any) -> Iterator[Tensor]:
    """All tensors in nested mappings and lists; ``ValueError`` where they are nested too deep."""
    from torch import Tensor

    left, count = [(value, 1)], 0
    while left:
        one, depth = left.pop()
        count += 1
        if count > MOST_VALUES or depth > DEEPEST:
            raise ValueError("it is nested too deep or holds too much")
        if isinstance(one, Tensor):
            yield one
        elif isinstance(one, Mapping):
            left += [(part, depth + 1) for part in one.values()]
        elif isinstance(one, list | tuple | set):
            left += [(part, depth + 1) for part in one]


def _require_dense(tensor: Tensor) -> None:
    import torch

    if tensor.is_meta or tensor.layout != torch.strided or tensor.is_quantized:
        raise ValueError("it holds a tensor that is sparse, quantized or has no data")
    if tensor.is_nested or tensor.numel() == 0:
        return
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError(f"a tensor of shape {tuple(tensor.shape)} has less data than that")
