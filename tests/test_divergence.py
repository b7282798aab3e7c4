"""NaN and runaway weights stop a run within a step, named, or roll it back; none reaches a file."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from fst.data.dataset import PhotoBatch, PhotoFolder
from fst.experiments.run_folder import RunFolder
from fst.loss.perceptual_loss import PerceptualLoss
from fst.training.checkpoint_files import not_finite, read_checkpoint
from fst.training.lightning_module import FastStyleTransfer
from tests.conftest import Train

NAN = float("nan")
AT = 4  # the step that goes wrong, after the checkpoint of step 3


def spoil_step(monkeypatch: pytest.MonkeyPatch, act: Callable[[FastStyleTransfer], None]) -> None:
    """Act at the beginning of the step, the first time it comes."""
    step, done = FastStyleTransfer.training_step, []

    def training_step(self: FastStyleTransfer, batch: PhotoBatch, batch_idx: int) -> Tensor:
        if self.trainer.global_step == AT - 1 and not done:
            done.append(True)
            act(self)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(FastStyleTransfer, "training_step", training_step)


def in_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    term = PerceptualLoss._style_term
    now: list[bool] = []

    def style_term(self: PerceptualLoss, name: str, features: Tensor) -> Tensor:
        value = term(self, name, features)
        if name == "relu3_3" and now:
            now.clear()
            return value * NAN
        return value

    monkeypatch.setattr(PerceptualLoss, "_style_term", style_term)
    spoil_step(monkeypatch, lambda module: now.append(True))


def in_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(module: FastStyleTransfer) -> None:
        weight = module.net.down1.conv.weight
        handle = weight.register_hook(lambda grad: (handle.remove(), grad * NAN)[1])

    spoil_step(monkeypatch, act)


def in_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(module: FastStyleTransfer) -> None:
        with torch.no_grad():
            module.net.down1.conv.weight[0, 0, 0, 0] = NAN

    spoil_step(monkeypatch, act)


def in_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    item = PhotoFolder.__getitem__

    def getitem(self: PhotoFolder, sample: int) -> PhotoBatch:
        batch = item(self, sample)
        if sample == 2 * (AT - 1):  # the first of the step's two
            batch.photos[0, 0, 0, 0] = NAN
        return batch

    monkeypatch.setattr(PhotoFolder, "__getitem__", getitem)


def unspoiled(monkeypatch: pytest.MonkeyPatch) -> None:
    return


PLACES = {
    "loss": (
        in_loss,
        [],
        rf"the loss is not finite in .*style/relu3_3, on the photos .* at step {AT}",
    ),
    "gradient": (
        in_gradient,
        [],
        rf"gradient of net.down1.conv.weight is not finite, on the photos .*jpg.* at step {AT}",
    ),
    "weight": (
        in_weight,
        [],
        rf"the loss is not finite .* as net.down1.conv.weight of the net is not.* at step {AT}",
    ),
    "photo": (in_photo, [], rf"the photos \S+photo_\d+.jpg hold NaN or infinity at step {AT}"),
    "rate": (unspoiled, ["optimizer.learning_rate=2"], r"the weights grew to .* at step \d"),
}


def all_finite(run: Path) -> bool:
    files = RunFolder(run).checkpoints.found()
    states = [read_checkpoint(path) for path in files]
    states += [load_file(path) for path in run.glob("*.safetensors")]
    return not any(list(not_finite(state)) for state in states)


@pytest.mark.parametrize("place", PLACES)
def test_a_run_that_diverges_stops_within_a_step_and_names_the_cause(
    train: Train, monkeypatch: pytest.MonkeyPatch, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, words, sentence = PLACES[place]
    spoil(monkeypatch)
    assert train("optimizer.schedule=constant", *words) == 2
    error = capsys.readouterr().err
    assert re.search(sentence, error), error
    assert "Traceback" not in error
    if not words:
        assert "the last good state is in runs/swirl/checkpoints/step_00000003.ckpt" in error
    assert not list(Path("runs/swirl").glob("*.safetensors"))
    assert all_finite(Path("runs/swirl"))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("schedule", ["constant", "one_cycle"])
def test_a_rollback_continues_from_the_last_good_state_at_half_the_rate(
    train: Train,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    schedule: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil, words, sentence = PLACES[place]
    spoil(monkeypatch)
    words = [*words, "on_divergence=rollback", "rollbacks=20", f"optimizer.schedule={schedule}"]
    # from 1000 times too high six steps lead nowhere: the run ends, and its net is no style
    assert train(*words) == (1 if place == "rate" and schedule == "constant" else 0)
    out = capsys.readouterr().out
    assert re.search(sentence + r".*: rolled back to the state of step [03]", out), out
    assert all_finite(Path("runs/swirl"))
    saved = read_checkpoint(RunFolder(Path("runs/swirl")).checkpoints.path(6))
    if place != "rate" and schedule == "constant":
        assert saved["optimizer_states"][0]["param_groups"][0]["lr"] == 1e-3


def test_rollbacks_are_limited(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["on_divergence=rollback", "rollbacks=1", "optimizer.schedule=constant"]
    assert train("optimizer.learning_rate=1e30", *words) == 2
    assert "after 1 rollbacks" in capsys.readouterr().err
    assert not RunFolder(Path("runs/swirl")).checkpoints.found()


def test_an_unknown_action_is_refused(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("on_divergence=pray") == 2
    assert "on_divergence=pray is unknown; use one of stop, rollback" in capsys.readouterr().err


def test_a_white_crop_leaves_gradients_finite(train: Train, tmp_path: Path) -> None:
    white = tmp_path / "white"
    white.mkdir()
    for number in range(3):
        Image.new("RGB", (80, 64), "white").save(white / f"{number}.png")
    assert train(f"data.root={white}", f"data.val_root={white}", "net.residual_blocks=5") == 0
