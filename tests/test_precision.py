"""In which precision runs and passes compute, by what the processor and the card say."""

import dataclasses
import math
import re
import shutil
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from fst.benchmark import pass_processes, passes
from fst.cli import main
from fst.errors import FstError
from fst.experiments import precision
from fst.experiments.config import Config
from fst.experiments.precision import settled_precision
from fst.experiments.run_folder import RunFolder
from fst.experiments.settings import compose
from fst.inference import backends
from fst.inference.bfloat16 import bfloat16_difference
from fst.inference.pixel_net import PixelNet
from fst.inference.stylizer import Stylizer
from fst.nets.style_card import MOST_DIFFERENCE, may_run_fast, read_card
from fst.nets.style_file import load_style, rewrite_card
from fst.nets.style_names import find_style
from fst.nets.transformer_net import TransformerNet
from fst.pictures.image import to_tensor
from fst.system.machine import has_bfloat16, processor_flags
from tests.conftest import Train, picture
from tests.test_scripts import script_main

PLAIN = "fpu sse4_2 avx2 fma avx512f avx512_vnni"
AMX = f"{PLAIN} amx_tile amx_bf16 amx_int8"
RUN = Path("runs/swirl")

On = Callable[[str], None]


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> On:
    """Makes this machine one with a processor of some flags and no GPU."""

    monkeypatch.setattr(precision, "stays_on_cpu", lambda device: True)
    return lambda flags: monkeypatch.setattr(precision, "processor_flags", lambda: flags)


@pytest.mark.parametrize(
    ("flags", "has"),
    [
        (AMX, True),
        (f"{PLAIN} avx512_bf16", True),
        (PLAIN, False),
        ("amx_tile amx_int8 avx512_bf16x", False),
        ("", False),
    ],
)
def test_bfloat16_is_read_from_the_processors_flags(flags: str, has: bool) -> None:
    assert has_bfloat16(flags) is has


def test_the_flags_of_this_processor_are_words() -> None:
    assert re.fullmatch(r"[\w ]*", processor_flags())


def test_auto_is_what_an_experiment_for_a_cpu_asks_for_and_a_gpus_keeps_its_own() -> None:
    found = {
        name: compose("train", [f"experiment={name}"]).trainer.precision
        for name in ("laptop", "quickstart", "gallery", "base", "paper", "gpu", "gallery_gpu")
    }
    assert {name for name, asked in found.items() if asked == "auto"} == {
        *("laptop", "quickstart", "gallery", "base")
    }
    assert (found["paper"], found["gpu"], found["gallery_gpu"]) == (
        *("32-true", "bf16-mixed", "bf16-mixed"),
    )


def test_auto_on_a_gpu_is_float32_as_it_was(on: On, monkeypatch: pytest.MonkeyPatch) -> None:
    on(AMX)
    assert precision.here("cpu") == precision.here("auto") == "bf16-mixed"
    assert precision.here("gpu") == precision.here("mps") == "32-true"
    monkeypatch.setattr(precision, "stays_on_cpu", lambda device: False)
    assert precision.here("auto") == "32-true"


def test_a_run_in_bfloat16_resumes_on_another_processor_to_the_same_bits(
    train: Train, on: On, capsys: pytest.CaptureFixture[str]
) -> None:
    on(AMX)
    assert train("trainer.precision=auto", "run_dir=runs/whole") == 0
    said = capsys.readouterr().out
    assert said.count("precision      bf16-mixed: this processor has bfloat16") == 1
    assert train("trainer.precision=auto", "trainer.limit_train_batches=3") == 0
    on(PLAIN)
    capsys.readouterr()
    assert train("trainer.precision=auto") == 0
    said = capsys.readouterr().out
    sentence = "bf16-mixed, as this run began; a new one would have 32-true on this machine"
    assert said.count(f"precision      {sentence}") == 1
    assert "resuming from step 3" in said
    states = []
    for run in (Path("runs/whole"), RUN):
        kept = yaml.safe_load((run / "config.yaml").read_text())
        assert kept["trainer"]["precision"] == "bf16-mixed"
        net, card = load_style(run / "swirl.safetensors")
        assert card.training["precision"] == "bf16-mixed"
        assert 0 <= card.bf16["mean_difference"] < 5 < 100 * card.bf16["within_2_levels"] <= 100
        assert all(map(math.isfinite, card.losses.values()))
        states.append(net.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def asked(name: object) -> Config:
    return Config({"trainer": {"precision": name, "accelerator": "auto"}})


def begun(path: Path, name: object) -> RunFolder:
    """A run folder with a checkpoint, whose settings say this precision."""
    run = RunFolder(path)
    run.checkpoints.folder.mkdir(parents=True)
    (run.checkpoints.folder / "step_00000003.ckpt").touch()
    run.config_file.write_text(yaml.safe_dump(asked(name).plain()))
    return run


def test_a_run_keeps_its_precision_on_any_processor(on: On, tmp_path: Path) -> None:
    single, mixed = (begun(tmp_path / name, name) for name in ("32-true", "bf16-mixed"))
    for flags, own, other in ((AMX, mixed, single), (PLAIN, single, mixed)):
        on(flags)
        new = settled_precision(asked("auto"), RunFolder(tmp_path / "new"), resume="auto")
        assert new.name == own.path.name
        assert settled_precision(asked("auto"), own, resume="auto") == new
        kept = settled_precision(asked("auto"), other, resume="auto")
        assert kept.name == other.path.name
        assert kept.note.startswith(
            f"{kept.name}, as this run began; a new one would have {new.name}"
        )
        checkpoint = other.checkpoints.folder / "step_00000003.ckpt"
        assert settled_precision(asked("auto"), own, resume=str(checkpoint)) == kept
        assert settled_precision(asked("auto"), other, resume="False") == new


def test_a_run_without_a_checkpoint_or_with_a_damaged_config_is_settled_anew(
    on: On, tmp_path: Path
) -> None:
    on(AMX)
    empty, damaged = begun(tmp_path / "a", "32-true"), begun(tmp_path / "b", "32-true")
    (empty.checkpoints.folder / "step_00000003.ckpt").unlink()
    damaged.config_file.write_text("trainer: [")
    for run in (empty, damaged):
        assert settled_precision(asked("auto"), run, resume="auto").name == "bf16-mixed"


def test_a_precision_that_is_named_stays_as_it_is_given_and_no_other_is_kept_in_silence(
    on: On, tmp_path: Path
) -> None:
    on(PLAIN)
    run = begun(tmp_path / "double", "64-true")
    for name in ("bf16-mixed", "3-bit", 32):
        assert settled_precision(asked(name), run, resume="auto") == (name, "")
    # so that the resumed run says: trainer.precision 64-true -> 32-true
    assert settled_precision(asked("auto"), run, resume="auto") == ("32-true", "")


def test_a_net_of_several_paintings_has_the_precision_on_every_card(
    train: Train,
    on: On,
    painting: Path,
) -> None:
    on(AMX)
    words = [f"styles=[woodcut,{painting}]", "style.name=two", "trainer.max_steps=1"]
    assert train(*words, "trainer.precision=auto", given_painting=False) == 0
    for name in ("woodcut", "swirl"):
        card = read_card(f"runs/two/two.safetensors:{name}")
        assert card.training["precision"] == "bf16-mixed"
        assert card.bf16.keys() == {"mean_difference", "within_2_levels"}


def noisy_net() -> TransformerNet:
    torch.manual_seed(0)
    net = TransformerNet(width=8, residual_blocks=2, output_gain=0.1, upsampling="bilinear")
    with torch.no_grad():
        net.conv2.conv.weight.mul_(30)  # so that the difference is one of levels
    return net


def test_rounding_each_layer_is_what_autocast_computes() -> None:
    net, photo = noisy_net().eval(), to_tensor(picture(64, 48, seed=1))
    pixels = (255 * photo).round().to(torch.uint8)
    with torch.inference_mode():
        exact = PixelNet(net)(pixels).int()
        with torch.autocast("cpu", torch.bfloat16):
            off = (PixelNet(net)(pixels).int() - exact).abs()
    found = bfloat16_difference(net, [photo])
    assert found["mean_difference"] > 0.3
    assert found["mean_difference"] == pytest.approx(float(off.float().mean()), rel=0.2)
    assert found["within_2_levels"] == pytest.approx(float((off <= 2).float().mean()), abs=0.03)
    halves = [photo[..., :32], photo[..., 32:]]
    assert bfloat16_difference(net, halves) == bfloat16_difference(net, halves[::-1])


def test_measuring_leaves_the_net_and_the_random_numbers_as_they_are() -> None:
    net = noisy_net()
    before, state = {k: v.clone() for k, v in net.state_dict().items()}, torch.get_rng_state()
    bfloat16_difference(net, [torch.rand(1, 3, 16, 16, generator=torch.Generator())])
    assert net.training
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("bf16", "may"),
    [
        ({"mean_difference": 0.75, "within_2_levels": 0.95}, True),
        ({"mean_difference": 0.0, "within_2_levels": 1}, True),
        ({"mean_difference": 0.76, "within_2_levels": 0.99}, False),
        ({"mean_difference": 0.3, "within_2_levels": 0.949}, False),
        ({"mean_difference": -1, "within_2_levels": 2}, False),
        ({"mean_difference": None, "within_2_levels": 0.99}, False),
        ({"mean_difference": 0.3}, False),
        ({}, False),
    ],
)
def test_a_card_allows_bfloat16_where_the_pictures_are_near(
    bf16: dict[str, float], may: bool, tiny_style: Path, tmp_path: Path
) -> None:
    card = read_card(with_card(tiny_style, tmp_path, bf16))
    assert card.bf16 == bf16
    assert may_run_fast(card) is may


def with_card(style: Path, folder: Path, bf16: object) -> Path:
    path = folder / style.name
    shutil.copy(style, path)
    card = read_card(path)
    card.bf16 = bf16  # type: ignore[assignment]
    rewrite_card(path, card)
    return path


NEAR = {"mean_difference": 0.2, "within_2_levels": 0.99}
FAR = {"mean_difference": 0.9, "within_2_levels": 0.9}


def test_a_card_with_text_for_a_figure_is_refused(tiny_style: Path, tmp_path: Path) -> None:
    for wrong in ({"mean_difference": "0.1"}, [0.1], {"within_2_levels": True}):
        path = with_card(tiny_style, tmp_path, wrong)
        with pytest.raises(FstError, match=r"fields of the wrong kind \(bf16\)"):
            read_card(path)


def test_the_figures_are_put_onto_a_card_and_nothing_else_changes(
    tiny_style: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tiny.safetensors"
    shutil.copy(tiny_style, path)
    net, card = load_style(path)
    script = script_main("proofs/bf16_styles")
    assert script([str(path), "--size", "24"]) == 0
    assert path.read_bytes() == tiny_style.read_bytes()
    assert script([str(path), "--size", "24", "--write"]) == 0
    after, written = load_style(path)
    assert may_run_fast(written)
    assert dataclasses.replace(written, bf16={}) == card
    assert all(torch.equal(after.state_dict()[k], v) for k, v in net.state_dict().items())
    capsys.readouterr()
    for asked, sentence in ((path, "near enough for --precision auto: 0."), (tiny_style, "not me")):
        assert main(["info", str(asked)]) == 0
        assert re.search(rf"^bfloat16 +{sentence}", capsys.readouterr().out, re.MULTILINE)


class FakeOpenVino:
    """Stands for OpenVINO on a processor that has bfloat16."""

    name, device, memory = "openvino", "cpu", backends.OpenVinoBackend.memory

    def __init__(
        self, graph: bytes, *, threads: int, bfloat16: bool = False, large: object = None
    ) -> None:
        assert bfloat16 == (large is None)  # its own means would be rounded
        self.precision = "bfloat16" if bfloat16 else "float32"

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        return pixels


@pytest.fixture
def openvino(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Makes OpenVINO installed, and its processor one with bfloat16 or without."""
    monkeypatch.setitem(backends.RUNTIMES, "openvino", FakeOpenVino)
    monkeypatch.setattr(backends, "is_here", lambda name: True)

    def processor(has: bool) -> None:
        for module in (backends, pass_processes):
            monkeypatch.setattr(module, "openvino_has_bfloat16", lambda: has)

    return processor


@pytest.mark.parametrize("backend", ["auto", "openvino"])
def test_auto_is_fast_where_the_processor_has_it_and_the_card_allows_it(
    backend: str, openvino: Callable[[bool], None], tiny_style: Path, tmp_path: Path
) -> None:
    def taken(precision: str) -> str:
        return Stylizer(path, device="cpu", backend=backend, precision=precision).backend.precision

    for bf16, has, auto in (
        (NEAR, True, "bfloat16"),
        (FAR, True, "float32"),
        ({}, True, "float32"),
        (NEAR, False, "float32"),
    ):
        path = with_card(tiny_style, tmp_path, bf16)
        openvino(has)
        assert taken("auto") == auto
        assert taken("exact") == "float32"
        if has:
            assert taken("fast") == "bfloat16"
            continue
        with pytest.raises(FstError, match=r"needs a processor with bfloat16 .* leave --precision"):
            taken("fast")


def test_fast_is_refused_where_it_cannot_be(
    tiny_style: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for backend in ("torch", "onnx"):
        with pytest.raises(FstError, match=f"--backend {backend} computes in float32 on a CPU"):
            Stylizer(tiny_style, device="cpu", backend=backend, precision="fast")
    monkeypatch.setattr(backends, "is_here", lambda name: False)
    with pytest.raises(FstError, match="--precision fast needs openvino; pip install"):
        Stylizer(tiny_style, device="cpu", precision="fast")
    with pytest.raises(FstError, match="--precision half is unknown; use one of auto, exact, fast"):
        Stylizer(tiny_style, precision="half")


def test_stylize_says_first_in_which_precision(
    openvino: Callable[[bool], None],
    tiny_style: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    openvino(True)
    path = with_card(tiny_style, tmp_path, NEAR)
    picture(20, 16, seed=1).save(tmp_path / "a.png")
    words = ["stylize", str(tmp_path / "a.png"), "--style", str(path), "--device", "cpu", "--force"]
    words += ["-o", str(tmp_path / "o.png")]
    for asked, name in (("auto", "bfloat16"), ("exact", "float32")):
        assert main([*words, "--precision", asked]) == 0
        first = capsys.readouterr().out.splitlines()[0]
        assert first == f"backend openvino on cpu in {name}"


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, dict[str, str]]]:
    """What a stand-in for OpenVINO, which gives the photo back, was to compile: graph, settings."""
    asked: list[tuple[bytes, dict[str, str]]] = []

    class Core:
        def read_model(self, graph: bytes) -> bytes:
            return graph

        def compile_model(
            self, model: bytes, device: str, settings: dict[str, str]
        ) -> Callable[[dict[str, np.ndarray]], list[np.ndarray]]:
            asked.append((model, settings))
            return lambda inputs: [inputs["pixels"]]

        def get_property(self, device: str, name: str) -> list[str]:
            return {"OPTIMIZATION_CAPABILITIES": ["FP32", "BF16"]}[name]

    monkeypatch.setitem(sys.modules, "openvino", types.SimpleNamespace(Core=Core))
    monkeypatch.setattr(backends, "is_here", lambda name: True)
    return asked


def test_openvino_is_asked_for_float32_by_name(
    tiny_style: Path, compiled: list[tuple[bytes, dict[str, str]]]
) -> None:
    """By itself it takes bfloat16 on a processor that has it."""
    for asked, hint in (("auto", "f32"), ("exact", "f32"), ("fast", "bf16")):
        Stylizer(tiny_style, device="cpu", backend="openvino", precision=asked)
        assert compiled.pop()[1]["INFERENCE_PRECISION_HINT"] == hint


@pytest.mark.skipif(
    not (backends.installed("openvino") and backends.openvino_has_bfloat16()),
    reason="needs openvino and a processor with bfloat16",
)
@pytest.mark.parametrize("name", ["udnie", "woodcut"])
def test_openvino_s_bfloat16_is_as_near_as_a_card_asks(name: str) -> None:
    """Of two shipped styles, whose width tiny ones do not have; a kernel was wrong for it once."""
    pixels = np.asarray(picture(96, 64, seed=1)).transpose(2, 0, 1)[None].copy()
    fast, exact = (
        Stylizer(name, device="cpu", backend="openvino", precision=precision).pixels(pixels)
        for precision in ("fast", "exact")
    )
    assert may_run_fast(read_card(find_style(name)))
    assert float(np.abs(fast.astype(int) - exact.astype(int)).mean()) <= MOST_DIFFERENCE


def test_openvino_sums_up_large_photos_in_our_way(
    tiny_style: Path,
    compiled: list[tuple[bytes, dict[str, str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its own norm is three levels off at 6 megapixels (scripts/proofs/tile_seams.py)."""
    monkeypatch.setattr(backends, "LARGE", 20 * 20)
    stylizer = Stylizer(tiny_style, device="cpu", backend="openvino", precision="exact")
    for side in (20, 21, 40, 16):
        stylizer.pixels(np.zeros((1, 3, side, side), np.uint8))
    by_means = [b"InstanceNormalization" not in graph for graph, _ in compiled]
    assert by_means == [False, True, False]


def test_a_benchmark_compares_exact_passes_and_has_a_line_for_the_fast_one(
    openvino: Callable[[bool], None], tiny_style: Path, tmp_path: Path
) -> None:
    path = with_card(tiny_style, tmp_path, NEAR)
    for has, names in ((True, ["openvino, fast"]), (False, [])):
        openvino(has)
        assert [n for n in pass_processes.contestants() if n.endswith("fast")] == names
    openvino(True)
    assert pass_processes.opened_as("openvino", path).precision == "float32"
    assert pass_processes.opened_as("openvino, fast", path).precision == "bfloat16"
    # the machine's measured rate, of which a floor is reckoned, is that of float32
    assert passes.floor_and_type("openvino", 2.0) == {"floor_s": 2.0}
    assert passes.floor_and_type("openvino, fast", 2.0) == {"dtype": "bfloat16"}


SIGNALS = """
import gc, os, signal, sys
import numpy as np
from fst import Stylizer
signal.signal(signal.SIGUSR1, lambda *_: None)
for _ in range(4):
    one, other = (Stylizer(sys.argv[1], device="cpu", backend="openvino") for _ in range(2))
    for style in (one, other):
        style.pixels(np.zeros((1, 3, 48, 64), np.uint8))
    del one  # the first to come goes first
    gc.collect()
    del other, style
    gc.collect()
    junk = [bytearray(os.urandom(20144)) for _ in range(200)]  # takes the memory that is free
    for _ in range(20):
        os.kill(os.getpid(), signal.SIGUSR1)
child = os.fork()  # a process of the same program may open styles, too
if child == 0:
    signal.alarm(60)
    style = Stylizer(sys.argv[1], device="cpu", backend="openvino")
    style.pixels(np.zeros((1, 3, 48, 64), np.uint8))
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_signals_after_openvino_are_no_segmentation_fault(tiny_style: Path) -> None:
    """Seen on processors with AMX only, where its plugin brings a stack for signals."""
    pytest.importorskip("openvino")
    ended = subprocess.run([sys.executable, "-c", SIGNALS, str(tiny_style)], check=False)
    assert ended.returncode == 0
