from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fst.cli import main
from fst.pictures.paint import STYLES, paint


@pytest.mark.parametrize("name", STYLES)
def test_a_painting_is_the_same_every_time_and_another_for_another_seed(name: str) -> None:
    one = paint(name, size=96)
    assert one.size == (96, 96)
    assert one.mode == "RGB"
    assert one.tobytes() == paint(name, size=96).tobytes()
    assert one.tobytes() != paint(name, size=96, seed=1).tobytes()


@pytest.mark.parametrize("name", STYLES)
def test_a_painting_is_colorful_and_covered_to_its_edges(name: str) -> None:
    pixels = np.asarray(paint(name, size=256)).astype(float)
    assert pixels.std() > 30
    assert (pixels.max(-1) - pixels.min(-1)).mean() > 20
    inner = pixels[8:-8, 8:-8].reshape(-1, 3).std(0).mean()
    for edge in (pixels[:, :2], pixels[:, -2:], pixels[:2], pixels[-2:]):
        assert edge.reshape(-1, 3).std(0).mean() > 0.2 * inner  # no bare stripe


def test_fst_paint_writes_a_picture_and_names_what_it_does_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["paint", "dots", "--size", "80"]) == 0
    assert Image.open("dots.png").size == (80, 80)
    assert main(["paint", "dots"]) == 2
    assert main(["paint", "doodle"]) == 2
    assert "'doodle' is not a painted style; use one of flowing_strokes" in capsys.readouterr().err
