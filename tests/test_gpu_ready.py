"""What a GPU is given is right before there is one: half precision, memory order, crops, tables."""

import json
import re
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from fst.benchmark.kernel_classes import class_of, summed
from fst.benchmark.plain import PlainVGG16
from fst.benchmark.step import RECIPES, Recipe, Steps
from fst.benchmark.timing import attempted
from fst.benchmark.twins import paper_loss
from fst.cli import main
from fst.data.dataset import PhotoFolder, collate
from fst.data.held_photos import HeldPhotos
from fst.data.photo_files import list_photos
from fst.errors import FstError
from fst.experiments.settings import compose
from fst.inference.graph_file import export_graph
from fst.inference.onnx_graph import GraphOptions
from fst.inference.pixel_net import PixelNet
from fst.loss.filmed import MOTIONS
from fst.loss.loss_network_file import load_loss_network
from fst.loss.paintings_loss import PaintingsLoss
from fst.loss.perceptual_loss import Losses, PerceptualLoss
from fst.loss.strength import Calibration, calibrate
from fst.nets.style_card import read_card
from fst.nets.transformer_net import TransformerNet, normalized
from fst.training.lightning_module import FastStyleTransfer
from tests.conftest import Exported, Train, picture

on_cuda = pytest.mark.gpu  # CUDA_VISIBLE_DEVICES=0 python -m pytest -m gpu tests/test_gpu_ready.py
GRAPHS = "compile_mode=reduce-overhead"
PROOFS = Path(__file__).parent.parent / "scripts" / "proofs"


def computed(recipe: Recipe, device: str = "cpu") -> tuple[Losses, Tensor]:
    """The losses of always the same net and photos, and the gradient with respect to the net."""
    net, evaluate = Steps(device=device, size=64, batch=2, width=8).losses(recipe)
    losses = evaluate()
    losses.total.backward()
    gradient = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
    return losses, gradient.float().cpu()


def disagreement(one: tuple[Losses, Tensor], two: tuple[Losses, Tensor]) -> tuple[float, float]:
    """The largest error of a term, of it, and 1 - the cosine of the gradients."""
    terms = zip(one[0][:3], two[0][:3], strict=True)
    worst = max(abs(float(b.detach() / a.detach()) - 1) for a, b in terms)
    return worst, 1 - float(F.cosine_similarity(one[1], two[1], dim=0))


@pytest.fixture
def thin_vgg(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss network of the benchmark's steps with an eighth of VGG-16's channels."""
    monkeypatch.setattr("fst.benchmark.step.PlainVGG16", lambda: PlainVGG16(width=8))


@pytest.mark.usefixtures("thin_vgg")
def test_losses_in_bfloat16_are_within_two_percent_of_float32() -> None:
    losses, gradient = computed(Recipe("", half=True))
    assert losses.total.dtype == torch.float32
    worst, turned = disagreement(computed(Recipe("")), (losses, gradient))
    assert worst < 0.02
    assert turned < 0.02


@pytest.mark.usefixtures("thin_vgg")
def test_losses_are_the_same_with_channels_last() -> None:
    worst, turned = disagreement(computed(Recipe("")), computed(Recipe("", channels_last=True)))
    assert worst < 1e-4
    assert turned < 1e-4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_instance_norm_in_half_precision_has_statistics_in_float32(dtype: torch.dtype) -> None:
    """A mean of 60 over 262,144 pixels: summed in half precision it would be lost."""
    x = (3 * torch.randn(1, 4, 512, 512) + 60).to(dtype)
    weight, bias = torch.rand(4) + 0.5, torch.rand(4)
    exact = F.instance_norm(x.double(), weight=weight.double(), bias=bias.double())
    for got in (
        F.instance_norm(x, weight=weight, bias=bias),
        normalized(x, weight, bias, 1e-5),
    ):
        assert got.dtype == dtype
        rounding = torch.finfo(dtype).eps * exact.abs().clamp_min(1)
        assert ((got.double() - exact).abs() < rounding).all()


def test_half_precision_is_within_two_gray_levels_of_float32() -> None:
    torch.manual_seed(0)
    net = TransformerNet(width=8, residual_blocks=2, output_gain=0.1, upsampling="bilinear").eval()
    photo = np.asarray(picture(96, 64, seed=1)).transpose(2, 0, 1)[None].copy()
    pixels = torch.from_numpy(photo)
    with torch.inference_mode():
        exact, half = PixelNet(net)(pixels).int(), PixelNet(net.half())(pixels).int()
    assert (exact - half).abs().max() <= 2


def test_a_style_that_float16_is_too_coarse_for_is_not_exported_in_it(
    tiny_style: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pt2_file, graph_file = "fst.inference.pt2_file", "fst.inference.graph_file"
    monkeypatch.setattr(f"{pt2_file}.pack_pt2", lambda net: lambda extra: b"")
    monkeypatch.setattr(f"{pt2_file}.load_pt2", lambda data: None)
    monkeypatch.setattr(f"{graph_file}.measure_parity", lambda *_: {"max_difference": 7})
    half = GraphOptions(half=True)
    with pytest.raises(FstError, match="off by 7 of 255; float16 is too coarse for tiny: leave"):
        export_graph(
            tiny_style, read_card(tiny_style), tmp_path / "a.pt2", file_format="pt2", options=half
        )
    assert not list(tmp_path.iterdir())


def test_an_export_in_half_precision_is_half_the_size_and_within_two_levels(
    exported: Callable[..., Exported],
) -> None:
    sizes = []
    for most, words in ((1, []), (2, ["--half"])):
        path, printed = exported("pt2", *words)
        with zipfile.ZipFile(path) as archive:
            tensors = [i for i in archive.infolist() if "/weights/weight_" in i.filename]
            sizes.append(sum(tensor.file_size for tensor in tensors))
        (found,) = re.findall(r"largest difference (\d+) of 255", printed)
        assert int(found) <= most
    assert sizes[1] == sizes[0] / 2 > 0


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [r for r in RECIPES if r.mode], ids=lambda r: r.mode)
def test_a_compiled_step_is_the_eager_one(recipe: Recipe) -> None:
    eager = Recipe("", half=recipe.half, channels_last=recipe.channels_last)
    worst, turned = disagreement(computed(eager), computed(recipe))
    assert worst < 0.02
    assert turned < 0.02


@pytest.fixture
def noisy_photos(tmp_path: Path) -> Path:
    """Upright and across, with detail at the pixel, and one that cannot be read."""
    for number in range(6):
        size = (70, 90 + number) if number % 2 else (90 + number, 70)
        noise = np.random.default_rng(number).integers(-40, 40, (*size[::-1], 3))
        pixels = np.asarray(picture(*size, seed=number)) + noise
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    return tmp_path


def crops_of(photos: Path, size: int, device: str) -> tuple[Tensor, Tensor]:
    """The same samples cut by Pillow and cut on the device."""
    folder = PhotoFolder(
        paths=list_photos(photos), size=size, crop_scale=(0.7, 1.0), flip=True, seed=3
    )
    photos_held = HeldPhotos(folder, device=torch.device(device), stride=4)
    batches = [list(range(4 * k, 4 * k + 4)) for k in range(20)]  # more than are made ahead
    held = collate([photos_held[batch] for batch in batches])
    loaded = collate([folder[k] for batch in batches for k in batch])
    assert held.paths == loaded.paths
    assert [path for path, _ in held.skipped] == [path for path, _ in loaded.skipped]
    return held.photos.cpu(), loaded.photos


def test_photos_that_cannot_be_held_are_refused_before_all_are_decoded(
    noisy_photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fst.data.held_photos.available_memory", lambda: 100e3)
    with pytest.raises(FstError, match=r"7 photos take about 0\.0 GB .* use data.held=false"):
        crops_of(noisy_photos, 64, "cpu")


@pytest.mark.parametrize("size", [57, 64, 100])
def test_crops_of_held_photos_are_those_of_the_loader_within_a_level(
    noisy_photos: Path, size: int
) -> None:
    held, loaded = crops_of(noisy_photos, size, "cpu")
    assert 255 * (held - loaded).abs().max() <= 1  # Pillow rounds to 8 bits
    assert 255 * (held - loaded).abs().mean() < 0.35


def test_experiment_gpu_trains_a_style_from_held_photos(train: Train) -> None:
    words = ["experiment=gpu", "loss=relative", "compile=false", "trainer.benchmark=false"]
    assert train(*words) == 0
    card = read_card(Path("runs/swirl/swirl.safetensors"))
    assert card.training["precision"] == "bf16-mixed"
    assert card.training["steps"] == 6


def test_cuda_graphs_and_accumulated_gradients_are_refused_in_a_sentence(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compile=true", "compile_mode=reduce-overhead", "trainer.accumulate_grad_batches=2"]
    assert train(*words) == 2
    assert "use compile_mode=default" in capsys.readouterr().err
    assert train("compile_mode=fastest") == 2
    assert "compile_mode=fastest is unknown; use one of default" in capsys.readouterr().err


def test_a_loss_that_moves_photos_has_no_cuda_graphs(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each step moves them in another way, and a graph replays the one that it was made of."""
    assert train("compile=true", GRAPHS, "loss.moving_weight=100") == 2
    assert "with loss.moving_weight each is another; use compile_mode=default" in (
        capsys.readouterr().err
    )


@pytest.mark.slow  # a compiler at work
@pytest.mark.parametrize("moving", [*MOTIONS])
@pytest.mark.parametrize("several", [False, True], ids=["one", "several"])
def test_a_net_is_compiled_once_though_each_step_moves_photos_in_another_way(
    moving: str, several: bool
) -> None:
    def losses(*, compile: bool) -> list[float]:
        torch.manual_seed(0)
        net = TransformerNet(
            width=4, residual_blocks=1, output_gain=0.1, paintings=2 if several else 1
        )
        paintings = torch.rand(2, 1, 3, 64, 64)
        loss = [paper_loss(load_loss_network(name="lite"), painting) for painting in paintings]
        module = FastStyleTransfer(
            net=net,
            loss=PaintingsLoss(loss) if several else loss[0],
            learning_rate=1e-3,
            schedule="constant",
            compile=compile,
            names=["a", "b"] if several else (),
            moving_weight=100.0,
            moving=moving,
        )
        photos = torch.rand(4, 3, 64, 64)
        found = []
        for first in (0, 4, 8):
            total = module.losses(photos, range(first, first + 4)).total
            total.backward()
            found.append(total.item())
        norm = sum(float(p.grad.square().sum()) for p in net.parameters() if p.grad is not None)
        return [*found, norm]

    torch.compiler.reset()
    with torch._dynamo.config.patch(error_on_recompile=True):
        compiled = losses(compile=True)
    assert compiled == pytest.approx(losses(compile=False), rel=1e-3)


def test_experiment_gpu_is_the_papers_but_for_how_it_is_computed() -> None:
    paper, gpu = (
        compose("train", [f"experiment={name}", "style.image=a.jpg"]) for name in ("paper", "gpu")
    )
    for key in ("net", "loss", "loss_network", "optimizer", "style", "seed"):
        assert paper[key] == gpu[key]
    assert {k for k in paper["data"] if k != "root" and paper["data"][k] != gpu["data"][k]} == {
        "held"
    }
    changed = {k for k in paper["trainer"] if paper["trainer"][k] != gpu["trainer"][k]}
    assert changed == {"precision", "benchmark", "log_every_n_steps", "val_check_interval"}


@pytest.mark.parametrize(
    ("kernel", "name"),
    [
        ("sm90_xmma_fprop_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc", "convolution"),
        ("void cudnn::ops::nchwToNhwcKernel<__nv_bfloat16>", "copy"),
        ("nvjet_hsh_128x256_64x4_2x1_v_bz_coopA_TNT", "matrix product"),
        ("triton_red_fused_var_mean_3", "normalization and sums"),
        ("triton_poi_fused_reflection_pad2d_relu_7", "elementwise"),
        ("void at::native::vectorized_elementwise_kernel<4, at::native::tanh>", "elementwise"),
        ("void at::native::multi_tensor_apply_kernel<FusedAdamMathFunctor>", "optimizer"),
        ("Memcpy DtoD (Device -> Device)", "copy"),
        ("void at::native::something_new", "other"),
    ],
)
def test_kernels_are_counted_for_what_they_are_for(kernel: str, name: str) -> None:
    assert class_of(kernel) == name


def test_the_classes_of_a_profile_add_up_to_all_of_it() -> None:
    found = summed({"fprop": (3.0, 4), "memcpy": (1.0, 2), "unheard": (0.5, 2)}, steps=2)
    assert [(c.name, c.milliseconds, c.calls) for c in found] == [
        ("convolution", 3.0, 2),
        ("copy", 1.0, 1),
        ("other", 0.5, 1),
    ]
    assert sum(c.share for c in found) == pytest.approx(1)


def test_what_fails_is_reported_and_the_rest_continues() -> None:
    def fails() -> int:
        raise RuntimeError("out of memory\non a card")

    made, failed = attempted({"one": lambda: 1, "two": fails, "three": lambda: 3})
    assert made == {"one": 1, "three": 3}
    assert failed == {"two": "RuntimeError: out of memory on a card"}


TINY_BENCHMARK = (
    "--eager --width 4 --size 32 --batches 1 --calls 1 --repetitions 1 --shapes 48x32 "
    "--photos-at-once 1 --sizes 64 --count 2"
)


@pytest.mark.usefixtures("thin_vgg")
def test_the_parts_for_a_gpu_run_on_a_cpu(tmp_path: Path, tiny_style: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    words = [*TINY_BENCHMARK.split(), "--style", str(tiny_style), "--json", str(rows)]
    assert main(["benchmark", "--device", "cpu", *words]) == 0
    about, *found = [json.loads(line) for line in rows.read_text().splitlines()]
    assert about["device"] == "cpu"
    assert {row["part"] for row in found} == {
        "count",
        "training step",
        "profile",
        "single pass",
        "folder",
    }
    assert not [row for row in found if "not timed" in row.get("note", "")]
    counts = {row["name"]: row["flops"] for row in found if row["part"] == "count"}
    assert counts["training step, plain"] > counts["training step"] > counts["single pass"]


def test_a_device_that_is_not_there_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("it is there")
    assert main(["benchmark", "--device", "cuda"]) == 2
    assert "device 'cuda' is not available on this machine" in capsys.readouterr().err
    assert main(["benchmark", "--device", "cpu", "--only", "start"]) == 2
    assert "--only start is unknown; use some of machine,count" in capsys.readouterr().err


def test_the_report_says_what_it_lacks() -> None:
    script = str(PROOFS / "gpu_report.sh")
    done = subprocess.run([script, "nowhere", "nowhere", "out"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "gpu_report: no folder nowhere" in done.stderr
    done = subprocess.run([script], capture_output=True, text=True)
    assert done.returncode == 2
    assert "scripts/proofs/gpu_report.sh PHOTOS PAINTINGS OUT [PART...]" in done.stderr


@on_cuda
def test_on_a_gpu_crops_steps_and_halves_agree_with_the_cpu(noisy_photos: Path) -> None:
    held, loaded = crops_of(noisy_photos, 64, "cuda")
    assert 255 * (held - loaded).abs().max() <= 1
    reference = computed(Recipe(""))
    for recipe in RECIPES:
        worst, turned = disagreement(reference, computed(recipe, "cuda"))
        assert worst < 0.03, recipe
        assert turned < 0.03, recipe
    x = (3 * torch.randn(1, 4, 512, 512) + 60).half().cuda()
    exact = F.instance_norm(x.double())
    assert ((F.instance_norm(x).double() - exact).abs() < 4e-3).all()


@on_cuda
def test_a_gpu_solves_for_the_weights_that_the_cpu_would(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a fifth; a balance counts as right within a tenth (``TOLERANCE``)."""
    found, devices = [], []

    def solve(loss: PerceptualLoss, photos: Tensor, **options: Any) -> Calibration:
        devices.append(photos.device.type)
        return calibrate(loss, photos, **options)

    monkeypatch.setattr("fst.experiments.parts.calibrate", solve)
    for kind in ("cpu", "gpu"):
        words = ["loss=calibrated", "trainer.max_steps=2", f"trainer.accelerator={kind}"]
        assert train(*words, f"run_dir=runs/{kind}") == 0
        about = json.loads((Path("runs") / kind / "run.json").read_text())
        found.append(about["weights"]["style"])
    assert devices == ["cpu", "cuda"]
    assert found[1] == pytest.approx(found[0], rel=0.2)


@on_cuda
def test_a_training_on_a_gpu_leaves_a_style_file(train: Train) -> None:
    torch.compiler.reset()  # else what other tests compiled makes it one for any size
    words = ["experiment=gpu", "loss=relative", "trainer.accelerator=gpu"]
    assert train(*words) == 0
    assert read_card(Path("runs/swirl/swirl.safetensors")).training["steps"] == 6
