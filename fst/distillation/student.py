"""The two sides of a distillation: the slim student and the frozen teacher, and their sizes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from fst.errors import FstError
from fst.loss.loss_network import LossNetwork
from fst.loss.loss_network_file import load_loss_network
from fst.loss.perceptual_loss import content_power, gram_matrix
from fst.system.paths import user_path

Features = dict[str, Tensor]


class Student(LossNetwork):
    """A VGG-shaped network with trainable weights; ``widths`` has one list of channels a block.

    While it learns from random weights, batch normalization stands between each convolution and
    its ReLU. A student may go ``on_from`` a network of as many layers; ``settle`` then gives the
    normalization what leaves that network's features as they are. Where a layer gets wider, the
    old channels keep what they see and do not look at new ones yet, after Chen et al. 2016,
    *Net2Net*; where it gets narrower, the last channels are left out.
    """

    def __init__(
        self, *, widths: Sequence[Sequence[int]], on_from: LossNetwork | None = None
    ) -> None:
        convolutions: list[tuple[int, Tensor, Tensor]] = []
        channels = 3
        for block, block_widths in enumerate(widths, 1):
            for width in block_widths:
                weight = torch.empty(width, channels, 3, 3)
                nn.init.kaiming_normal_(weight)
                convolutions.append((block, weight, torch.zeros(width)))
                channels = width
        mean, std = [0.5, 0.5, 0.5], [0.25, 0.25, 0.25]
        padding_mode = "reflect"
        if on_from is not None:
            old = on_from.convolutions()
            if [block for block, _, _ in old] != [block for block, _, _ in convolutions]:
                raise FstError(f"{on_from.description} has other layers than {list(widths)}")
            for (_, weight, bias), (_, known, known_bias) in zip(convolutions, old, strict=True):
                outputs, inputs = min(len(weight), len(known)), min(weight.shape[1], known.shape[1])
                weight *= known.std() / weight.std()
                weight[:outputs] = 0
                weight[:outputs, :inputs] = known[:outputs, :inputs]
                bias[:outputs] = known_bias[:outputs]
            mean, std = on_from.mean.flatten().tolist(), on_from.std.flatten().tolist()
            padding_mode = on_from.padding_mode
        super().__init__(
            convolutions=convolutions,
            mean=tuple(mean),
            std=tuple(std),
            padding_mode=padding_mode,
            description="student",
        )
        for name in [f"{layer}_{part}" for layer in self.layers for part in ("weight", "bias")]:
            tensor = self.get_buffer(name)
            delattr(self, name)
            self.register_parameter(name, nn.Parameter(tensor))
        self.norms = nn.ModuleDict(
            {name: nn.BatchNorm2d(getattr(self, f"{name}_bias").numel()) for name in self.layers}
        )
        self._settling = False

    def _normalized(self, name: str, x: Tensor) -> Tensor:
        if name not in self.norms:
            return x
        norm = self.norms[name]
        if self._settling:
            assert isinstance(norm, nn.BatchNorm2d)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.copy_(x.mean((0, 2, 3)))
            norm.running_var.copy_(x.var((0, 2, 3)))
            norm.bias.copy_(norm.running_mean)
            norm.weight.copy_((norm.running_var + norm.eps).sqrt())
            return x
        return norm(x)

    @torch.no_grad()
    def settle(self, images: Tensor) -> None:
        """Set the batch normalization so that on ``images`` it changes nothing."""
        self._settling = True
        self(images, self.layers)
        self._settling = False

    @torch.no_grad()
    def fold(self) -> None:
        """Take the batch normalization into the convolutions before it, and away."""
        for name in self.norms:
            norm = self.norms[name]
            assert isinstance(norm, nn.BatchNorm2d)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            factor = norm.weight / (norm.running_var + norm.eps).sqrt()
            weight, bias = getattr(self, f"{name}_weight"), getattr(self, f"{name}_bias")
            weight.mul_(factor.view(-1, 1, 1, 1))
            bias.copy_((bias - norm.running_mean) * factor + norm.bias)
        self.norms = nn.ModuleDict()


class TeacherPart(NamedTuple):
    """A network, its layer for each of the student's, and what is done to that layer's features."""

    network: LossNetwork
    layers: Mapping[str, str]  # {student's layer: teacher's layer}
    heads: Mapping[str, tuple[Tensor, Tensor]]  # (weight, bias) of a 1x1 convolution before a ReLU
    scale: float  # to the units in which the losses are to be


class Teacher(nn.Module):
    """Frozen features under the student's layer names, from one or more networks."""

    def __init__(self, parts: Sequence[TeacherPart]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(part.network for part in parts)
        self.fingerprints = [part.network.fingerprint() for part in parts]
        self.licenses = [part.network.license or part.network.description for part in parts]
        self.layers = [dict(part.layers) for part in parts]
        self.units = {name: part.scale for part in parts for name in part.layers}
        self.scales = dict.fromkeys(self.units, 1.0)
        for part in parts:
            part.network.require(part.layers.values())
            for name, (weight, bias) in part.heads.items():
                self.register_buffer(f"{name}_weight", weight.float(), persistent=False)
                self.register_buffer(f"{name}_bias", bias.float(), persistent=False)

    def forward(self, image: Tensor) -> Features:
        """image (B, 3, H, W), RGB in [0, 1] -> {student layer: teacher features}."""
        features: Features = {}
        for network, layers in zip(self.networks, self.layers, strict=True):
            own = network(image, layers.values())
            for name, layer in layers.items():
                features[name] = own[layer]
                if hasattr(self, f"{name}_weight"):
                    head = self.get_buffer(f"{name}_weight"), self.get_buffer(f"{name}_bias")
                    features[name] = F.relu(F.conv2d(own[layer], *head))
                features[name] = features[name] * (self.units[name] / self.scales[name])
        return features

    @torch.no_grad()
    def calibrate(self, images: Tensor) -> None:
        """Divide each layer by its root mean square on ``images``; ``rescale`` gives it back."""
        for name, features in self(images).items():
            self.scales[name] *= float(features.square().mean().sqrt())


@torch.no_grad()
def rescale(student: Student, scales: Mapping[str, float]) -> None:
    """Multiply the features of the named layers, by their ReLUs' homogeneity; no other changes."""
    undo = 1.0
    for name in student.layers:
        scale = scales.get(name, 1.0)
        getattr(student, f"{name}_weight").mul_(scale * undo)
        getattr(student, f"{name}_bias").mul_(scale)
        undo = 1 / scale


def begin_student(
    widths: Sequence[Sequence[int]], on_from: str | None, layers: Sequence[str], images: Tensor
) -> Student:
    """A student of random weights, or one that begins with a file of a loss network.

    Its ``layers`` are then brought to a root mean square of 1 on ``images`` (B, 3, H, W).
    """
    if on_from is None:
        return Student(widths=widths)
    network = load_loss_network(name="file", file=on_from)
    network.set_roots({})  # they are found again at the end
    student = Student(widths=widths, on_from=network)
    with torch.no_grad():
        sizes = {n: float(f.square().mean().sqrt()) for n, f in network(images, layers).items()}
    rescale(student, {name: 1 / max(size, 1e-6) for name, size in sizes.items()})
    student.settle(images)
    return student


def read_heads(file: str | None, layers: Mapping[str, str]) -> dict[str, tuple[Tensor, Tensor]]:
    """The 1x1 convolutions of a safetensors file by student's layer, for ``TeacherPart``.

    ``layers`` are the teacher's by the student's names; those that the file lacks are left out.
    Raises ``FstError`` for a file that cannot be read; without one there are none.
    """
    if file is None:
        return {}
    try:
        with safe_open(str(user_path(file)), "pt") as handle:
            stored = set(handle.keys())
            return {
                own: (handle.get_tensor(f"{layer}.weight"), handle.get_tensor(f"{layer}.bias"))
                for own, layer in layers.items()
                if f"{layer}.weight" in stored
            }
    except (OSError, SafetensorError) as error:
        raise FstError(f"teacher2.heads={file} cannot be read ({error})") from None


@torch.no_grad()
def level(
    student: Student, teacher: Teacher, batches: Iterable[Tensor]
) -> dict[str, dict[str, float]]:
    """Scale the student so that its content terms have the teacher's mean size, in its units.

    Returns the factors of its other terms, by term and layer, as one scale a layer cannot mend all:
    what they are to be multiplied by for the teacher's mean size. A content term is the distance
    between the features of two pictures, a style term that between their Gram matrices; means are
    geometric, over all pairs in ``batches`` (B, 3, H, W): a few dark pictures would rule others.
    """
    logs: dict[str, list[Tensor]] = {name: [] for name in teacher.scales}
    for images in batches:
        slim, wide = student(images, logs), teacher(images)
        for name, scale in teacher.scales.items():
            sizes = term_sizes(slim[name]), term_sizes(wide[name] * scale)
            logs[name].append((sizes[1].double() / sizes[0].double()).log().mean(1))
    ratios = {name: torch.stack(rows).mean(0).exp().tolist() for name, rows in logs.items()}
    rescale(student, {name: ratio[0] ** 0.5 for name, ratio in ratios.items()})
    return {
        "style": {name: ratio[1] / ratio[0] ** 2 for name, ratio in ratios.items()},
        "relative_content": {name: ratio[2] for name, ratio in ratios.items()},
        "relative_style": {name: ratio[3] for name, ratio in ratios.items()},
    }


def term_sizes(features: Tensor) -> Tensor:
    """features (B, C, H, W) -> content, style, relative content, relative style terms (4, pairs).

    Of all pairs of pictures; the relative ones as of ``PerceptualLoss``, for the geometric mean
    over which picture of the pair is the one that the other is compared to.
    """
    grams = gram_matrix(features)
    content, style = distances(features), distances(grams)
    first, second = torch.combinations(torch.arange(len(features)), 2).T
    variance, power = content_power(features).flatten(), grams.square().mean((1, 2))
    halves = [(size[first] * size[second]).rsqrt() for size in (variance, power)]
    return torch.stack([content, style, content * halves[0], style * halves[1]]) + 1e-12


def distances(values: Tensor) -> Tensor:
    """values (B, ...) -> mean squared differences of all pairs, (B * (B - 1) / 2,)."""
    flat = values.flatten(1)
    pairs = torch.combinations(torch.arange(len(flat), device=flat.device), 2)
    return (flat[pairs[:, 0]] - flat[pairs[:, 1]]).square().mean(1)
