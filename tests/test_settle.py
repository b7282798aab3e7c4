"""A config is settled once and stays; a checkpoint is read once; runs begun before resume."""

import copy
import os
import pickle
import shutil
from pathlib import Path

import pytest
import yaml

from fst.experiments.config import Config
from fst.experiments.run_folder import RunFolder
from fst.experiments.settings import compose
from fst.experiments.settle import name_of
from tests.conftest import Train

# as fst wrote it before its settings were settled in one place, but for the files' names
OLD_CONFIG = """\
seed: 0
run_dir: runs/swirl
resume: auto
checkpoint_every: 3
checkpoints_kept: 2
on_divergence: stop
rollbacks: 3
compile: false
compile_mode: default
warm_start: auto
half: true
optimizer:
  learning_rate: 0.002
  schedule: one_cycle
style:
  strength: 0.5
  name: swirl
  title: null
  artist: null
  year: null
  licence: null
  file: null
  painted: null
  image: {painting}
  root: null
  size: 64
  weights:
    content: 1
    style: 1
    tv: 1
  johnson_weights:
    content: 1
    style: 1
    tv: 1
previews:
  photos: 1
  size: 32
  every: 3
loss:
  calibrated: false
  relative: true
  content_layers:
    relu3_3: 1
  style_layers:
    relu1_2: 1
    relu2_2: 1
    relu3_3: 1
    relu4_3: 1
  content_weight: 1
  style_weight: 4
  tv_weight: 1.0e-08
  content_distance: mse
  mean_weight: 0
loss_network:
  name: file
  weights: null
  file: {network}
  mean: null
  std: null
  padding_mode: null
  licence: null
net:
  width: 4
  residual_blocks: 1
  output_gain: 0.1
  upsampling: bilinear
data:
  root: {photos}
  val_root: null
  val_photos: 16
  size: 32
  batch_size: 2
  crop_scale:
  - 0.5
  - 1.0
  flip: true
  workers: 0
  held: false
  description: null
  licence: null
trainer:
  accelerator: cpu
  devices: 1
  num_nodes: 1
  strategy: auto
  precision: 32-true
  max_steps: 6
  accumulate_grad_batches: 1
  gradient_clip_val: null
  deterministic: false
  benchmark: null
  log_every_n_steps: 1
  val_check_interval: 3
  limit_val_batches: 1.0
  enable_progress_bar: true
logger:
  _target_: pytorch_lightning.loggers.TensorBoardLogger
  save_dir: runs/swirl
  name: ''
  version: ''
  default_hp_metric: false
"""


def test_a_config_is_read_by_name_and_never_changed() -> None:
    config = Config(
        {"style": {"size": 64, "image": "${x} .jpg"}, "sizes": [1, [2]], "logger": None}
    )
    assert config.style.size == config["style"]["size"] == 64
    assert config.style.image == "${x} .jpg"
    config.sizes.append(3)
    config.sizes[1].append(3)
    assert config.sizes == [1, [2]]
    config.plain()["style"]["size"] = 1
    for change in (
        lambda: setattr(config, "x", 2),
        lambda: setattr(config.style, "size", 1),
        lambda: config["style"].__setitem__("size", 1),
        lambda: delattr(config.style, "size"),
    ):
        with pytest.raises(AttributeError):
            change()
    assert config.style.size == 64
    smaller = config.but("style.size", 32)
    assert (smaller.style.size, config.style.size) == (32, 64)
    assert smaller.style.image == config.style.image
    with pytest.raises(
        AttributeError, match="sise is not a setting; the settings here are size, image"
    ):
        config.style.sise  # noqa: B018
    assert copy.deepcopy(config) == pickle.loads(pickle.dumps(config)) == config
    assert {**config.style} == config.style.plain()


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["style.image=a/van Gogh's (1).jpg"], "van Gogh's (1)"),
        (["style=woodcut", "style.name=null"], "woodcut"),
        (["style=woodcut", "style.image=mine.png"], "mine"),
        (["style=great_wave"], "hokusai_great_wave_1831"),
    ],
)
def test_a_painting_without_a_name_is_called_by_its_file(words: list[str], name: str) -> None:
    assert name_of(compose("train", words).style) == name


def test_a_run_begun_before_resumes(
    train: Train, painting: Path, photos: Path, tiny_vgg: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train() == 0
    run = RunFolder(Path("runs/swirl"))
    whole = run.style_file("swirl").read_bytes()
    run.style_file("swirl").unlink()
    run.checkpoints.path(6).unlink()
    run.checkpoints.best.unlink(missing_ok=True)
    text = OLD_CONFIG.format(painting=painting, network=tiny_vgg, photos=photos)
    run.config_file.write_text(text)
    capsys.readouterr()
    assert train() == 0
    assert "(resuming from step 3)" in capsys.readouterr().out
    assert run.style_file("swirl").read_bytes()[-5000:] == whole[-5000:]
    assert run.config_file.read_text() == text
    assert train("net.width=6") == 2
    assert "net.width 4 -> 6" in capsys.readouterr().err


def test_what_a_run_keeps_has_its_name_and_its_folder_throughout(train: Train) -> None:
    words = ("trainer.max_steps=1", "resume=false")
    assert train(*words) == train(*words) == 0
    kept = yaml.safe_load(Path("runs/swirl-2/config.yaml").read_text())
    assert kept["style"]["name"] == "swirl"
    assert kept["run_dir"] == kept["logger"]["save_dir"] == "runs/swirl-2"
    assert list(Path("runs/swirl-2").glob("events.*"))


def test_a_checkpoint_is_read_once(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    assert train() == 0
    os.rename("runs/swirl/checkpoints/step_00000003.ckpt", "at_3.ckpt")
    shutil.rmtree("runs/swirl")
    read, reads = Path.read_bytes, []

    def read_bytes(self: Path) -> bytes:
        if self.suffix == ".ckpt":
            reads.append(self.name)
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    assert train("resume=at_3.ckpt") == 0
    assert reads == ["at_3.ckpt"]
    reads.clear()
    Path("runs/swirl/swirl.safetensors").unlink()
    Path("runs/swirl/checkpoints/step_00000006.ckpt").unlink()
    Path("runs/swirl/checkpoints/best.ckpt").unlink()
    os.rename("at_3.ckpt", "runs/swirl/checkpoints/step_00000003.ckpt")
    assert train() == 0
    assert reads == ["step_00000003.ckpt"]
