"""Loss networks from and to files: shipped, torchvision's, local .safetensors and .pth files.

Only this file knows torchvision's numbering of the layers.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from fst.errors import FstError
from fst.loss.loss_network import LossNetwork
from fst.loss.torchvision_weights import LICENSES, TORCHVISION, download
from fst.system.files import write_whole
from fst.system.old_names import in_new_names
from fst.system.paths import shipped_loss_networks, user_path
from fst.system.untrusted import MOST_TENSOR_BYTES, load_torch

CHECKSUM = "sha256_all"  # in the metadata of what is written from now on
WEIGHT = r"features\.(0|[1-9][0-9]{0,3})\.weight"


def parse_vgg(state: Mapping[str, Tensor], source: str) -> list[tuple[int, Tensor, Tensor]]:
    """torchvision's ``features.N.weight`` and ``.bias`` -> (block, weight, bias) in order.

    Widths and depth follow from the tensors. A step of 2 between numbers is a convolution and its
    ReLU; a step of 3 has a max-pooling between. Other tensors (``classifier.*``) are left out and
    not looked at. Raises ``FstError`` for what is not VGG-shaped.
    """
    numbers = sorted(int(m.group(1)) for key in state if (m := re.fullmatch(WEIGHT, key)))
    if not numbers or numbers[0] != 0:
        raise FstError(
            f"{source} is not a VGG-shaped network: it has no tensor 'features.0.weight'; "
            "give a file with torchvision's VGG keys"
        )
    convolutions: list[tuple[int, Tensor, Tensor]] = []
    block, channels, previous = 1, 3, -2
    for number in numbers:
        weight = state[f"features.{number}.weight"]
        bias = state.get(f"features.{number}.bias")
        gap = number - previous
        if weight.ndim != 4 or gap not in (2, 3):
            raise FstError(
                f"{source} is not a plain VGG: at features.{number} the layers do not follow the "
                "pattern convolution, ReLU, pooling (a batch-norm VGG is not supported)"
            )
        if bias is None:
            raise FstError(f"{source} lacks features.{number}.bias; the file is not whole")
        if not (weight.is_floating_point() and bias.is_floating_point()):
            raise FstError(f"{source}: features.{number} is of {weight.dtype}, no real numbers")
        right = tuple(weight.shape[1:]) == (channels, 3, 3) and bias.shape == weight.shape[:1]
        if not right or len(bias) == 0:
            raise FstError(
                f"{source}: features.{number}.weight has shape {tuple(weight.shape)}, expected "
                f"(any, {channels}, 3, 3) with a bias to match; the file does not fit together"
            )
        if not (torch.isfinite(weight).all() and torch.isfinite(bias).all()):
            raise FstError(f"{source}: features.{number} holds NaN; the file is damaged")
        block += gap == 3
        channels, previous = weight.shape[0], number
        convolutions.append((block, weight.detach(), bias.detach()))
    return convolutions


def vgg_state(network: LossNetwork) -> dict[str, Tensor]:
    """The network's tensors under torchvision's keys: what ``parse_vgg`` reads."""
    state: dict[str, Tensor] = {}
    last_block, number = 1, -2
    for block, weight, bias in network.convolutions():
        number += 2 if block == last_block else 3
        last_block = block
        state[f"features.{number}.weight"] = weight.detach().cpu()
        state[f"features.{number}.bias"] = bias.detach().cpu()
    return state


def pack_root(root: Tensor) -> Tensor:
    """A lower triangular (C, C) -> its C * (C + 1) / 2 values on and below the diagonal."""
    return root[tuple(torch.tril_indices(*root.shape))]


def unpack_root(packed: Tensor) -> Tensor:
    """The C * (C + 1) / 2 values of ``pack_root`` -> the lower triangular (C, C), float32."""
    channels = math.isqrt(2 * len(packed))
    root = torch.zeros(channels, channels)
    root[tuple(torch.tril_indices(channels, channels))] = packed.float()
    return root


def save_loss_network(path: Path, network: LossNetwork, *, half: bool, **about: str) -> None:
    """Write a network as a ``.safetensors`` that ``load_loss_network`` reads, whole or not at all.

    ``about`` goes into the metadata beside mean, standard deviation and padding mode, and a
    checksum over all of that and the tensors, which is checked when the file is read; ``half``
    stores float16. Raises ``FstError`` for NaN and infinity.
    """
    dtype = torch.float16 if half else torch.float32
    state = vgg_state(network)
    state |= {f"root.{name}": pack_root(network.root(name).cpu()) for name in network.roots}
    tensors = {key: tensor.to(dtype).contiguous() for key, tensor in state.items()}
    for key, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise FstError(f"{path} is not written: {key} holds NaN or infinity")
    metadata = {
        "mean": ",".join(f"{v:.8g}" for v in network.mean.flatten().tolist()),
        "std": ",".join(f"{v:.8g}" for v in network.std.flatten().tolist()),
        "padding_mode": network.padding_mode,
        "factors": json.dumps(network.factors),
        **about,
    }
    metadata[CHECKSUM] = _checksum(tensors, metadata)
    write_whole(path, save(tensors, metadata))


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Over the tensors with their names and kinds, and the metadata but for the checksum."""
    about = {key: value for key, value in metadata.items() if key != CHECKSUM}
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for key in sorted(tensors):
        tensor = tensors[key].contiguous()
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return digest.hexdigest()


def load_loss_network(
    *,
    name: str,
    weights: str | None = None,
    file: str | Path | None = None,
    mean: Iterable[float] | None = None,
    std: Iterable[float] | None = None,
    padding_mode: str | None = None,
) -> LossNetwork:
    """Build a frozen loss network from a local ``file``, or else by ``name``: shipped with this
    package, or one of torchvision's.

    ``file`` is a ``.safetensors`` or ``.pth`` of a VGG-shaped network with torchvision's keys.
    ``mean`` and ``std`` (RGB, in units of [0, 1]) and ``padding_mode`` are taken from the
    arguments if given, else from the file's metadata, else from torchvision's ``weights``.
    Raises ``FstError`` with one sentence for anything a user can mend.
    """
    shipped = shipped_loss_networks()
    if file is not None or name in shipped:
        path = shipped[name] if file is None else user_path(file)
        state, metadata = _read_state(path)
        default_mean, default_std = TORCHVISION.get((name, weights or ""), (None, None))
        mean = mean or _floats(metadata.get("mean"), path) or default_mean
        std = std or _floats(metadata.get("std"), path) or default_std
        if mean is None or std is None:
            raise FstError(
                f"{path} does not say which mean and std its input has; give them as "
                "loss_network.mean=[r,g,b] and loss_network.std=[r,g,b] (of a teacher, "
                "teacher.mean and teacher.std), in units of [0, 1]"
            )
        padding_mode = padding_mode or metadata.get("padding_mode") or "zeros"
        source, description = path.name, path.name if file is not None else f"{name} (shipped)"
        license = metadata.get("license") or metadata.get("source")
        factors = _factors(metadata.get("factors", "{}"), path)
        roots = _roots(state, path)
    else:
        factors, roots = {}, {}
        known = ", ".join([*shipped, *(f"{n} {w}" for n, w in TORCHVISION)])
        if (name, weights) not in TORCHVISION:
            raise FstError(
                f"loss network '{name}' with weights '{weights}' is unknown; known are {known}, "
                "or give a local file: loss_network.file=FILE"
            )
        default_mean, default_std = TORCHVISION[name, str(weights)]
        mean, std = mean or default_mean, std or default_std
        padding_mode = padding_mode or "zeros"
        state = download(name, str(weights))
        source = description = f"{name} ({weights})"
        license = LICENSES[TORCHVISION[name, str(weights)]]
    mean, std = tuple(mean), tuple(std)
    finite = all(map(math.isfinite, (*mean, *std)))
    if len(mean) != 3 or len(std) != 3 or not finite or min(std) <= 0:
        raise FstError(
            f"mean {mean} and std {std} of {description} must be three numbers each, std above 0"
        )
    convolutions = parse_vgg(state, source)
    return LossNetwork(
        convolutions=convolutions,
        mean=mean,
        std=std,
        padding_mode=padding_mode,
        description=description,
        license=license,
        factors=factors,
        roots=roots,
    )


def _roots(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Stored under ``root.LAYER``; whether they fit the layers is for the network to see."""
    packed = {key.removeprefix("root."): v for key, v in state.items() if key.startswith("root.")}
    for name, values in packed.items():
        channels = math.isqrt(2 * values.numel())
        whole = values.is_floating_point() and 2 * values.numel() == channels * (channels + 1)
        if values.dim() != 1 or not whole or not values.isfinite().all():
            raise FstError(f"{path}: root.{name} is not a triangle of numbers; the file is damaged")
    return {name: unpack_root(values) for name, values in packed.items()}


def _factors(text: str, path: Path) -> dict[str, dict[str, float]]:
    try:
        return {
            str(term): {str(name): float(value) for name, value in by_layer.items()}
            for term, by_layer in json.loads(text).items()
        }
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise FstError(f"{path}: the factors in its metadata are not TERM: LAYER: number") from None


def _floats(text: str | None, path: Path) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise FstError(f"{path}: '{text}' in the metadata is not three numbers") from None


def _read_state(path: Path) -> tuple[Mapping[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a weight file, without running anything that is pickled in it."""
    if not path.is_file():
        raise FstError(f"loss network file {path} does not exist; check loss_network.file")
    try:
        if path.suffix == ".safetensors":
            with safe_open(str(path), "pt") as handle:
                mine = [k for k in handle.keys() if k.startswith(("features.", "root."))]  # noqa: SIM118
                if path.stat().st_size > MOST_TENSOR_BYTES:
                    raise ValueError("it is larger than any network")
                state = {key: handle.get_tensor(key) for key in mine}
                metadata = handle.metadata() or {}
            if CHECKSUM in metadata and metadata[CHECKSUM] != _checksum(state, metadata):
                raise ValueError("it does not match its checksum")
            return state, in_new_names(metadata)
        state = load_torch(path)
    except Exception as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FstError(
            f"loss network file {path} cannot be read ({first_line[:120]}); give a .safetensors "
            "or .pth file of a VGG-shaped network"
        ) from None
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    plain = isinstance(state, Mapping) and all(isinstance(v, Tensor) for v in state.values())
    if not plain or not all(isinstance(key, str) for key in state):
        raise FstError(f"loss network file {path} holds no plain dictionary of tensors")
    return state, {}
