"""A pass in tiles is the pass in one go, whatever the tiles and the sides."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fst.inference.pixel_net import PixelNet
from fst.inference.tile_engines import tile_engine
from fst.inference.tile_maps import FeatureMap, InMemory, Plane, Scratch
from fst.inference.tile_plan import Span, tiles, work
from fst.inference.tile_torch import TorchEngine
from fst.inference.tiled_pass import Engine, NewPlane, Pooled, tiled_pass
from fst.nets.transformer_net import TransformerNet

SIDES = [(64, 64), (65, 130), (67, 63), (16, 90), (131, 18), (100, 101), (17, 17), (70, 258)]


def net_of(mode: str, blocks: int = 2, width: int = 4) -> TransformerNet:
    """With weights and norms of which each counts, and with outputs that use all levels."""
    torch.manual_seed(5)
    net = TransformerNet(width=width, residual_blocks=blocks, output_gain=0.1, upsampling=mode)
    net.conv2.conv.weight.data.mul_(20)
    net.remove_grid()
    for norm in net.norms():
        norm.weight.data.add_(0.5 * torch.randn_like(norm.weight))
        norm.bias.data.add_(0.5 * torch.randn_like(norm.bias))
    return net.eval()


def photo_of(height: int, width: int, seed: int = 1) -> np.ndarray:
    """(H, W, 3) with large shapes, fine grain and a gradient, so that no two parts are alike."""
    rng = np.random.default_rng(seed)
    grain = rng.normal(0, 20, (height, width, 3))
    ramp = np.linspace(20, 220, width)[None, :, None] + np.linspace(-15, 15, height)[:, None, None]
    return (ramp + grain).clip(0, 255).astype(np.uint8)


def whole(net: TransformerNet, photo: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        made = PixelNet(net)(torch.from_numpy(photo.transpose(2, 0, 1)[None].copy()))
    return made[0].permute(1, 2, 0).numpy()


def in_tiles(
    net: TransformerNet,
    photo: np.ndarray,
    tile: int,
    new_plane: NewPlane | None = None,
    engine: Engine | None = None,
) -> np.ndarray:
    result = np.zeros_like(photo)
    tiled_pass(
        net.arguments,
        {name: value.numpy() for name, value in net.state_dict().items()},
        engine or TorchEngine(torch.device("cpu")),
        InMemory(photo),
        InMemory(result),
        tile=tile,
        new_plane=new_plane or in_memory,
    )
    return result


def in_memory(height: int, width: int, channels: int) -> Plane:
    return InMemory(np.full((height, width, channels), np.nan, np.float32))


def away(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("sides", SIDES)
def test_tiles_leave_no_seam(mode: str, sides: tuple[int, int]) -> None:
    net, photo = net_of(mode), photo_of(*sides)
    wanted = whole(net, photo)
    assert np.ptp(wanted) > 150  # a picture, of which much could be wrong
    for tile in (16, 36, 64):
        assert away(in_tiles(net, photo, tile), wanted) <= 1, (sides, tile)


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_nets_of_other_depths_come_out_alike(blocks: int) -> None:
    net, photo = net_of("bilinear", blocks), photo_of(75, 90)
    assert away(in_tiles(net, photo, 32), whole(net, photo)) <= 1


def test_maps_in_a_scratch_file_are_those_in_memory(tmp_path: Path) -> None:
    net, photo = net_of("bilinear"), photo_of(120, 150)
    scratch = Scratch(tmp_path)

    def in_file(height: int, width: int, channels: int) -> Plane:
        return scratch.plane(height, width, channels, np.float32)

    made = in_tiles(net, photo, 32, in_file)
    assert np.array_equal(made, in_tiles(net, photo, 32))
    assert not list(tmp_path.iterdir())  # not even while it runs has the file a name
    assert scratch.was_read > scratch.was_written > 0


@pytest.mark.parametrize("name", ["onnx", "openvino"])
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_other_runtimes_leave_no_seam_either(name: str, mode: str) -> None:
    pytest.importorskip({"onnx": "onnxruntime"}.get(name, name))
    net, photo = net_of(mode), photo_of(101, 90)
    backend = SimpleNamespace(name=name, device="cpu", precision="float32")
    made = in_tiles(net, photo, 36, engine=tile_engine(backend))
    assert away(made, whole(net, photo)) <= 1


def test_statistics_are_pooled_without_loss() -> None:
    """Huge constant areas, a little detail: of which a sum of squares would leave nothing."""
    rng = np.random.default_rng(0)
    parts = [np.full((2, 10**6), 1000.0), 1000 + 1e-3 * rng.normal(size=(2, 5000))]
    parts += [np.full((2, 10**6), 1000.0)] * 3
    pooled = Pooled()
    for part in parts:
        pooled.add(part.shape[1], part.mean(axis=1), part.var(axis=1))
    values = np.concatenate(parts, axis=1) - 1000
    assert np.allclose(pooled.mean - 1000, values.mean(axis=1), rtol=1e-3, atol=1e-12)
    assert np.allclose(pooled.variance, values.var(axis=1), rtol=1e-5)


@pytest.mark.parametrize("level", [0, 93, 255])
def test_a_photo_of_one_color_has_no_seam(level: int) -> None:
    net = net_of("bilinear")
    photo = np.full((130, 100, 3), level, np.uint8)
    assert away(in_tiles(net, photo, 32), whole(net, photo)) <= 1


@pytest.mark.parametrize("level", [1, 2, 4])
@pytest.mark.parametrize("side", [16, 17, 18, 19, 64, 127])
def test_tiles_part_a_side_without_gap(side: int, level: int) -> None:
    parts = list(tiles(side, 16, level))
    assert parts[0].start == 0
    assert parts[-1].stop == -(-side // level)
    assert all(one.stop == other.start for one, other in pairwise(parts))


def neighbors(values: np.ndarray) -> np.ndarray:
    """The sum of the four beside each value of (H, W, 1)."""
    around = np.pad(values, [(1, 1), (1, 1), (0, 0)])
    return sum(np.roll(around, at, axis) for axis in (0, 1) for at in (-1, 1))[1:-1, 1:-1]


def test_a_map_is_replaced_while_it_is_read() -> None:
    """Each tile adds its neighbors up: a rim that was overwritten already would be counted."""
    values = np.random.default_rng(1).integers(0, 9, (40, 30, 1)).astype(np.float32)
    kept = FeatureMap(InMemory(np.full((43, 33, 1), np.nan, np.float32)), 3)
    kept.write(0, 0, values)
    kept.next()
    for _ in range(2):
        for top in range(0, 40, 8):
            for left in range(0, 30, 8):
                rows, columns = (
                    Span(max(start - 1, 0), min(start + 9, end))
                    for start, end in ((top, 40), (left, 30))
                )
                summed = neighbors(kept.read(rows, columns))
                inner = summed[top - rows.start :, left - columns.start :][:8, :8]
                kept.write(top, left, inner)
        kept.next()
        values = neighbors(values)
    assert np.array_equal(kept.read(Span(0, 40), Span(0, 30)), values)


def test_arithmetic_is_at_most_twice_that_of_one_pass() -> None:
    for width in (16, 32):
        arguments = {"width": width, "residual_blocks": 5, "upsampling": "bilinear"}
        one = work(arguments, 3000, 4000, None)
        assert 1.5 < work(arguments, 3000, 4000, 512) / one < 1.75
        assert work(arguments, 3000, 4000, 256) / one < 2
    arguments = {"width": 4, "residual_blocks": 1}
    convs = 81 * 3 * 4 + 9 * 4 * 8 / 4 + 9 * 8 * 16 / 16 + 2 * 9 * 16 * 16 / 16
    convs += 9 * 16 * 8 / 4 + 9 * 8 * 4 + 81 * 4 * 3
    assert work(arguments, 64, 64, None) == convs * 64 * 64
