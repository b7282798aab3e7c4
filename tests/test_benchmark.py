"""`fst benchmark`: its stopwatch is right, and a gross loss of speed is a failed test."""

import json
import os
import sys
import time
from pathlib import Path

import pytest
import torch

from fst.benchmark.floors import Machine, count_flops, least_bytes
from fst.benchmark.own_process import OwnProcess
from fst.benchmark.parts import LEAST_RATIOS, cpu_parts, device_parts
from fst.benchmark.pass_processes import contestants, pass_process
from fst.benchmark.passes import MEGAPIXELS, benchmark_megapixels, untrained_style
from fst.benchmark.report import line_of, plot_passes, tables
from fst.benchmark.timing import Row, Timing, race, whole_process
from fst.cli import main
from fst.commands.benchmark import DEVICE_PARTS, PARTS, _parser
from fst.nets.transformer_net import TransformerNet


def test_contestants_take_turns_and_a_ratio_is_of_medians() -> None:
    order: list[str] = []

    def slow() -> None:
        order.append("slow")
        time.sleep(0.06)

    def fast() -> None:
        order.append("fast")
        time.sleep(0.02)

    timings = race({"slow": slow, "fast": fast}, warm_up=1, repetitions=3)
    assert order == ["slow", "fast"] * 4
    row = Row.of("part", "fast", timings["fast"], against=timings["slow"])
    assert (row.warm_up, row.repetitions) == (1, 3)
    assert 20 <= row.best_ms <= row.median_ms <= row.p95_ms
    assert row.best_ratio == pytest.approx(3, rel=0.5)
    assert "fast" in line_of(row)


def test_a_table_has_a_line_a_row_and_the_columns_that_say_something() -> None:
    timing = Timing(0.1234, 0.2, 0.1, 1, 5)
    rows = [Row.of("part", name, timing, against=timing, size=64) for name in ("one", "two")]
    title, _, header, _, *lines = tables(rows).splitlines()
    assert "5 after 1 to warm up" in title
    assert header == "|  | px | median ms | p95 ms | times as fast |"
    assert lines == [f"| {name} | 64 | 123 | 200 | 1.00 |" for name in ("one", "two")]


def test_operations_are_counted_as_multiplications_and_additions() -> None:
    a, b = torch.ones(8, 16), torch.ones(16, 4)
    assert count_flops(lambda: a @ b) == 2 * 8 * 16 * 4


def test_the_least_bytes_are_what_every_convolution_reads_and_writes() -> None:
    """In half precision; the last one among them, which a CPU makes in blocks."""
    net = TransformerNet(width=4, residual_blocks=0, output_gain=0.1)
    full, half, quarter = 64**2, 32**2, 16**2
    values = (3 + 4) * full + 4 * full + 8 * half + 8 * half + 16 * quarter  # down
    values += (16 + 8) * half + (8 + 4) * full + (4 + 3) * full  # up
    assert least_bytes(net, 64, 64) == 2 * values


def test_a_process_is_timed_from_outside_with_its_peak_memory() -> None:
    code = "import time; held = b'x' * (200 * 2**20); time.sleep(0.2)"
    done = whole_process([sys.executable, "-c", code])
    assert done.code == 0
    assert done.seconds > 0.2
    assert 200 < done.peak_mb < 400
    assert whole_process([sys.executable, "-c", "raise SystemExit(3)"]).code == 3


WORK = """
import numpy as np

def work(held_mb):
    print("a library's word")
    def run():
        return np.ones(held_mb * 2**20, np.uint8)[:7]
    return run

def fails():
    raise RuntimeError("no such device")
"""


def test_a_contestant_in_a_process_of_its_own_answers_and_has_a_peak_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fst_works.py").write_text(WORK)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{Path(__file__).parent.parent}")
    with OwnProcess("fst_works:work", held_mb=100) as process:
        process.wait()
        assert process.peak_mb < 100
        assert process.result().shape == (7,)
        process()
        assert 100 < process.calls_mb - process.held_mb < 150
        assert process.peak_mb == process.calls_mb
    with OwnProcess("fst_works:fails") as process, pytest.raises(RuntimeError) as caught:
        process()
    assert str(caught.value) == ("the process ended with exit code 1: RuntimeError: no such device")


def test_a_backend_that_needs_no_torch_has_a_process_without_it(tmp_path: Path) -> None:
    style, light = untrained_style(tmp_path, 4), [n for n in contestants() if n in ("onnx",)]
    for name in light:
        with pass_process(name, style=style, channels=4, height=32, width=48) as process:
            assert process.result().shape == (1, 3, 32, 48)
            assert process.peak_mb < 300


def test_passes_by_megapixels_have_rows_and_a_plot_and_say_what_does_not_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fst.benchmark.passes.contestants", lambda: ["onnx"])
    machine = Machine(flops=1e9, bandwidth=1.0)
    rows = list(
        benchmark_megapixels(machine=machine, megapixels=[0.004, 9e3], width=4, repetitions=1)
    )
    assert [(row.name, row.size) for row in rows] == [("onnx", 64), ("onnx", 94868)]
    assert all(row.part == MEGAPIXELS for row in rows)
    assert all((row.peak_mb or 0) > 50 and row.floor_ms for row in rows[:1])
    assert "not timed: needs" in rows[1].note
    table = tables(rows)
    assert "repetitions: 1 after 1 to warm up" in table
    assert "| onnx | 94868 | 1 |  |  |" in table
    assert plot_passes(rows, "svg").startswith(b"<?xml")


def test_unknown_parts_are_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "--only", "everything"]) == 2
    assert "--only everything is unknown; use some of step,loading" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--sizes", "512,x"], "'x' is not a whole number of 1 or more"),
        (["--repetitions", "0"], "'0' is not a whole number of 1 or more"),
        (["--device", "cpu", "--shapes", "512"], "'512' is not like 512x512,1920x1080"),
        (["--plot", "plot.gif"], "must end in one of .png, .svg, .pdf"),
        (["--plot", "plot.svg"], "--plot needs the part megapixels; add it to --only"),
        (["--megapixels", "1,0"], "'1,0' is not like 0.25,1,16"),
        (["--megapixels", "1,big"], "'1,big' is not like 0.25,1,16"),
        (["--json", "/dev/null/rows.jsonl"], "/dev/null cannot be"),
    ],
)
def test_mistakes_are_told_before_anything_is_timed(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["benchmark", "--only", "step", *words])
    except SystemExit as leaving:  # argparse's
        code = int(leaving.code or 0)
    assert code == 2
    assert sentence in capsys.readouterr().err


def test_every_part_that_the_help_names_can_be_run() -> None:
    options = _parser().parse_args([])
    found = Machine(flops=1.0, bandwidth=1.0)
    assert tuple(cpu_parts(options, [], found)) == PARTS
    assert tuple(device_parts(options, [], found, "cpu")) == DEVICE_PARTS


def test_a_ratio_that_is_lost_fails_the_quick_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fst.benchmark import step

    def slower(**options: object) -> list[Row]:
        timing = Timing(1.0, 1.0, 1.0, 1, 1)
        against = Timing(0.5, 0.5, 0.5, 1, 1)
        return [Row.of("training step", "fst, VGG-16", timing, against=against)]

    monkeypatch.setattr(step, "benchmark_step", slower)
    assert main(["benchmark", "--quick", "--only", "step"]) == 1
    assert "training step, fst, VGG-16: 0.5 times, at least 0.7 is asked" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("part", "told"), [("step", "training step"), ("loading", "loading"), ("pass", "single pass")]
)
def test_no_speed_is_grossly_lost(
    part: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ratios within one run, with a wide margin; a machine that is busy gets another chance."""
    rows = tmp_path / "rows.jsonl"
    words = ["benchmark", "--quick", "--only", part, "--json", str(rows)]
    for _ in range(3):
        code = main(words)
        if code == 0:
            break
    assert code == 0, capsys.readouterr()
    about, *found = [json.loads(line) for line in rows.read_text().splitlines()]
    assert about["gflops"] > 0
    assert {(row["part"], row["name"]) for row in found} >= {
        k for k in LEAST_RATIOS if k[0] == told
    }
    assert all(row["median_ms"] > 0 for row in found)


def test_every_ratio_that_is_insisted_on_is_of_a_part_above() -> None:
    assert {part for part, _ in LEAST_RATIOS} == {"training step", "loading", "single pass"}
