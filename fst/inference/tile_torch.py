"""The pieces of a tiled pass in PyTorch, on any device."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fst.inference.tile_plan import (
    BEGIN_OF_NORM,
    BEGIN_OF_PHOTO,
    BEGIN_OF_SUM,
    Conv,
    Spans,
)
from fst.inference.tiled_pass import Affine, BoundPiece, Made, Run
from fst.nets.transformer_net import conv2d_in_blocks


class TorchEngine:
    """Computes in ``dtype`` on ``device``; maps and statistics are float32 at any rate."""

    def __init__(self, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        self._device, self._dtype = device, dtype

    def prepare(self, bound: BoundPiece) -> Run:
        """The piece, with its numbers on the device."""
        convs = {
            name: (self._here(weight), self._here(bias))
            for name, (weight, bias) in bound.convs.items()
        }
        begin = None if bound.begin is None else self._affine(bound.begin)

        def run(sources: list[np.ndarray], rows: Spans, columns: Spans) -> Made:
            with torch.inference_mode():
                return self._run(bound, convs, begin, sources, rows, columns)

        return run

    def _run(
        self,
        bound: BoundPiece,
        convs: dict[str, tuple[Tensor, Tensor]],
        begin: tuple[Tensor, Tensor] | None,
        sources: list[np.ndarray],
        rows: Spans,
        columns: Spans,
    ) -> Made:
        piece = bound.piece
        x = _begun(piece.begin, [self._features(source) for source in sources], begin)
        begun = _array(x) if piece.keeps else None
        x = x.to(self._dtype)
        for layer, down, across in zip(piece.layers, rows.steps, columns.steps, strict=True):
            if isinstance(layer, Conv):
                x = _padded(x, down, across)
                if layer.makes_picture and x.device.type == "cpu":
                    x = conv2d_in_blocks(x, *convs[layer.name])
                else:
                    x = F.conv2d(x, *convs[layer.name], stride=layer.stride)
                if layer.norm is not None:
                    x = x.relu_()
            else:
                x = _doubled(x, bound.mode, down, across)
        x = x.float()
        if piece.measures is None:
            levels = (torch.tanh_(x.mul_(bound.output_gain)).add_(1) / 2 * 255).round_()
            return Made(begun, _array(levels.to(torch.uint8)), None, None)
        mean = x.mean(dim=(2, 3), keepdim=True)
        last = None if piece.writes is None else _array(x)
        # what is written lies in the same memory and must stay as it is
        away = x - mean if piece.writes is not None else x.sub_(mean)
        variance = away.square_().mean(dim=(2, 3))
        return Made(begun, last, mean.flatten().cpu().numpy(), variance.flatten().cpu().numpy())

    def _features(self, source: np.ndarray) -> Tensor:
        here = torch.from_numpy(np.require(source, requirements=("C", "W"))).to(self._device)
        return here.permute(2, 0, 1)[None]  # with its channels last in memory

    def _here(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self._device, self._dtype)

    def _affine(self, affine: Affine) -> tuple[Tensor, Tensor]:
        scale, shift = (
            torch.from_numpy(values).to(self._device)[None, :, None, None]
            for values in (affine.scale, affine.shift)
        )
        return scale, shift


def _begun(kind: str, sources: list[Tensor], begin: tuple[Tensor, Tensor] | None) -> Tensor:
    """(1, C, rows, columns) float32 that goes into the first layer."""
    x = sources[0]
    if kind == BEGIN_OF_PHOTO:
        return x.float() / 255
    if begin is None:
        return x
    scale, shift = begin
    if kind == BEGIN_OF_NORM:
        return torch.addcmul(shift, x, scale).relu_()
    assert kind == BEGIN_OF_SUM
    return torch.addcmul(shift, sources[1], scale).add_(x)


def _padded(x: Tensor, down: tuple[int, int], across: tuple[int, int]) -> Tensor:
    pads = (*across, *down)
    return F.pad(x, pads, mode="reflect") if any(pads) else x


def _doubled(x: Tensor, mode: str, down: tuple[int, int], across: tuple[int, int]) -> Tensor:
    corners = None if mode == "nearest" else False
    doubled = F.interpolate(x, scale_factor=2.0, mode=mode, align_corners=corners)
    (top, height), (left, width) = down, across
    return doubled[:, :, top : top + height, left : left + width]


def _array(x: Tensor) -> np.ndarray:
    """(1, C, rows, columns) -> (rows, columns, C)."""
    return x[0].permute(1, 2, 0).cpu().numpy()
