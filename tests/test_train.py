"""`fst train`, driven as a user would, in this process, with a tiny network and tiny photos."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fst.cli import main
from fst.experiments.run_folder import RunFolder
from fst.experiments.settings import compose
from fst.experiments.warm_start import find_start
from fst.nets.style_card import read_card
from fst.nets.style_file import load_style
from fst.nets.style_names import shipped_files
from fst.nets.transformer_net import TransformerNet
from fst.system.paths import configs_dir
from fst.training.checkpoint_files import Checkpoint
from tests.conftest import TINY, Train


def tensors(path: Path) -> dict[str, torch.Tensor]:
    return load_style(path)[0].state_dict()


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(run), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    found = {
        tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]
    }
    found |= {
        f"image:{tag}": [(e.step, 0.0) for e in events.Images(tag)]
        for tag in events.Tags()["images"]
    }
    return found


def test_no_previews_are_made_where_none_are_asked_for(train: Train) -> None:
    assert train("previews.photos=0") == 0
    assert not list(Path("runs/swirl").rglob("previews/*"))


def test_a_run_leaves_everything_it_promises(
    train: Train, capsys: pytest.CaptureFixture[str], painting: Path
) -> None:
    assert train() == 0
    out = capsys.readouterr().out
    run = Path("runs/swirl")
    assert 'fst stylize PHOTO.jpg --style "swirl"' in out
    assert "tensorboard --logdir" in out
    assert "loss network   tiny_vgg.safetensors" in out

    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["style"]["image"] == str(painting)
    assert config["net"]["width"] == 4
    about = json.loads((run / "run.json").read_text())
    assert about["packages"]["torch"] == torch.__version__.split("+")[0]
    assert {"commit", "seed", "command", "machine"} <= about.keys()

    previews = sorted(path.name for path in (run / "previews").iterdir())
    assert previews == ["step_000000.jpg", "step_000003.jpg", "step_000006.jpg"]

    card = read_card(run / "swirl.safetensors")
    assert card.training["steps"] == 6
    assert card.training["batch_size"] == 2
    assert card.losses.keys() == {"total", "content", "style", "tv"}
    assert card.loss_network["description"] == "tiny_vgg.safetensors"
    assert card.data["photos"] == 11

    checkpoint = torch.load(run / "checkpoints" / "step_00000006.ckpt", weights_only=True)
    assert all(key.startswith("net.") for key in checkpoint["state_dict"])
    assert checkpoint["global_step"] == 6

    curves = scalars(run)
    assert [step for step, _ in curves["train/total"]] == [0, 1, 2, 3, 4, 5]
    for stage in ("train", "val"):
        total = sum(curves[f"{stage}/{term}"][-1][1] for term in ("content", "style", "tv"))
        assert curves[f"{stage}/total"][-1][1] == pytest.approx(total, rel=1e-5)
        layers = [v[-1][1] for k, v in curves.items() if k.startswith(f"{stage}_style/")]
        assert len(layers) == 4
        assert curves[f"{stage}/style"][-1][1] == pytest.approx(sum(layers), rel=1e-5)
    assert {
        "work/learning_rate",
        "work/images_per_s",
    } <= curves.keys()
    assert len(curves["work/data_wait_share"]) == 6
    assert all(0 <= share < 1 for _, share in curves["work/data_wait_share"])
    assert re.search(r"waiting +for photos: \d+\.\d% of the steps' time", out)
    assert [step for step, _ in curves["image:val_preview"]] == [0, 3, 6]
    assert not [tag for tag in curves if tag == "epoch" or tag.startswith(("final", "hp_"))]
    shown = [tag for tag in curves if not tag.startswith("image:")]
    assert all(len(curves[tag]) > 1 for tag in shown)
    assert min(shown).startswith("train/")  # TensorBoard sorts by name: losses first
    unweighted = curves["val_unweighted/style"][-1][1] * card.training["weights"]["style"]
    assert curves["val/style"][-1][1] == pytest.approx(unweighted, rel=1e-5)

    assert main(["stylize", str(painting), "--style", "swirl", "-o", "o.png"]) == 0
    assert Image.open("o.png").size == (128, 96)


def test_slow_photos_are_told_from_slow_steps(
    train: Train, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fst.data.dataset import PhotoFolder
    from fst.training.lightning_module import FastStyleTransfer

    def slow(method: Callable[..., object], seconds: float) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            time.sleep(seconds)
            return method(*arguments)

        return call

    words = ("data.workers=1", "trainer.max_steps=3", "trainer.val_check_interval=3")
    read, step = PhotoFolder.__getitem__, FastStyleTransfer.training_step
    shares = {}
    for name, photo_s, step_s in (("photos", 1.0, 0.0), ("steps", 0.0, 1.0)):
        monkeypatch.setattr(PhotoFolder, "__getitem__", slow(read, photo_s))
        monkeypatch.setattr(FastStyleTransfer, "training_step", slow(step, step_s))
        assert train(f"run_dir=runs/{name}", *words) == 0
        (said,) = re.findall(r"for photos: (\S+)% of the steps' time(.*)", capsys.readouterr().out)
        shares[name] = float(said[0])
        assert ("try `fst prepare`" in said[1]) == (shares[name] > 10)
    assert shares["steps"] < 10 < shares["photos"]


def test_one_strength_is_solved_for_and_in_the_card(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = []
    for strength in (0.3, 0.7):
        words = ["loss=calibrated", f"style.strength={strength}", "trainer.max_steps=1"]
        assert train(*words, f"run_dir=runs/{strength}") == 0
        assert f"strength       {strength}: style" in capsys.readouterr().out
        card = read_card(Path(f"runs/{strength}/swirl.safetensors"))
        assert card.training["strength"] == strength
        weights.append(card.training["weights"]["style"])
    assert weights[0] < weights[1]
    assert train("loss=calibrated", "loss.style_weight=5") == 2
    assert "loss.style_weight=5 has no effect in loss=calibrated" in capsys.readouterr().err
    assert train("style.strength=0.7") == 2
    assert "style.strength=0.7 needs loss=calibrated" in capsys.readouterr().err


def test_a_trained_net_has_no_lattice_in_its_last_kernels(train: Train) -> None:
    assert train("trainer.max_steps=4", "half=false") == 0
    weight = tensors(Path("runs/swirl/swirl.safetensors"))["conv2.conv.weight"]
    wave = torch.exp(2j * torch.pi * torch.arange(9) / 4)
    responses = [float((weight.to(wave.dtype) @ w).abs().max()) for w in (wave, wave**2)]
    assert max(responses) < 1e-5 < 0.01 < float(weight.abs().max())


def test_the_loss_goes_down(train: Train) -> None:
    assert train("trainer.max_steps=60", "trainer.val_check_interval=20", "net.width=8") == 0
    totals = [value for _, value in scalars(Path("runs/swirl"))["val/total"]]
    assert totals[-1] < 0.9 * totals[0]


def test_a_warm_start_begins_with_the_net_of_another_style(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("style.name=first", "trainer.max_steps=3", "half=false") == 0
    Path("runs/first").replace("runs/a (1), it's=b")
    first = Path("runs/a (1), it's=b/first.safetensors")
    second = Path("runs/swirl/swirl.safetensors")
    words = (f"warm_start={first}", "half=false", "optimizer.learning_rate=0")
    assert train(*words, "trainer.max_steps=3") == 0
    net, start = tensors(second), tensors(first)
    assert all(torch.allclose(net[key], start[key], atol=1e-6) for key in start)
    card, origin = read_card(first), read_card(second).training["warm_start"]
    assert (origin["name"], origin["steps"], origin["sha256"]) == ("first", 3, card.sha256)
    assert origin["data"] == card.data
    assert "warm start     from the net of first, 3 steps" in capsys.readouterr().out

    first.unlink()  # a run that has begun needs it no more
    second.unlink()
    assert train(*words, "trainer.max_steps=3") == 0
    assert same(tensors(second), net)
    assert read_card(second).training["warm_start"] == origin
    checkpoint = Path("runs/swirl/checkpoints/step_00000003.ckpt")
    assert train(*words, "trainer.max_steps=3", "run_dir=runs/on", f"resume={checkpoint}") == 0
    assert read_card("runs/on/swirl.safetensors").training["warm_start"] == origin


def test_a_warm_start_from_another_architecture_is_refused(
    train: Train, tiny_style: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(f"warm_start={tiny_style}", "net.width=8") == 2
    error = capsys.readouterr().err
    assert "has net.width=4, these settings 8; give net.width=4 or another warm_start" in error
    assert not Path("runs").exists()


@pytest.mark.parametrize("experiment", ["laptop", "gallery", "quickstart"])
def test_a_cpu_begins_with_a_shipped_net(
    experiment: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = compose("train", [f"experiment={experiment}", "style=woodcut"])
    net = TransformerNet(**config.net)
    start = find_start(net, config.warm_start)
    assert start is not None
    origin = start.put_into(net, ["woodcut"])
    shipped = Path(f"{shipped_files()['base']}:woodcut")
    assert (origin["name"], origin["row"]) == ("base", "woodcut")
    assert origin["sha256"] == read_card(shipped).sha256
    assert same(net.state_dict(), tensors(shipped))
    assert "from the net of base" in capsys.readouterr().out
    assert start.put_into(net, ["new"], lambda base: 3)["row"] == start.cards[3].name

    small = TransformerNet(**{**config.net, "width": 4})
    assert find_start(small, config.warm_start) is None
    assert "none: net.width=4, base's is 16" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("stop", "code", "saved_step"),
    [("crash", None, 3), ("signal.SIGINT", 130, 5), ("signal.SIGTERM", 143, 5)],
)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_resumed_run_ends_bit_identical(
    train: Train,
    monkeypatch: pytest.MonkeyPatch,
    stop: str,
    code: int | None,
    saved_step: int,
    accumulate: int,
) -> None:
    words = (f"trainer.accumulate_grad_batches={accumulate}", "trainer.max_steps=8")
    assert train("run_dir=runs/whole", *words) == 0

    from fst.training.lightning_module import FastStyleTransfer

    step = FastStyleTransfer.training_step

    def stop_in_the_fifth_step(self: FastStyleTransfer, *arguments: object) -> object:
        if self.trainer.global_step == 4:
            if stop == "crash":
                raise RuntimeError("the power went")
            os.kill(os.getpid(), getattr(signal, stop.removeprefix("signal.")))
            monkeypatch.setattr(FastStyleTransfer, "training_step", step)
        return step(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(FastStyleTransfer, "training_step", stop_in_the_fifth_step)
    if code is None:
        with pytest.raises(RuntimeError):
            train("run_dir=runs/broken", *words)
    else:
        assert train("run_dir=runs/broken", *words) == code
    monkeypatch.setattr(FastStyleTransfer, "training_step", step)
    newest = RunFolder(Path("runs/broken")).checkpoints.newest()
    assert newest is not None
    assert Checkpoint.read(newest).step == saved_step
    time.sleep(1.1)  # TensorBoard reads event files by name, which has the second in it
    assert train("run_dir=runs/broken", *words) == 0
    whole, broken = Path("runs/whole"), Path("runs/broken")
    assert same(tensors(whole / "swirl.safetensors"), tensors(broken / "swirl.safetensors"))
    one, two = (dict(scalars(run)["train/total"]) for run in (whole, broken))
    assert len(scalars(broken)["train/total"]) == len(two)  # no step is there twice
    assert set(range(saved_step, 8)) <= two.keys()
    assert all(one[step] == loss for step, loss in two.items())


def test_the_same_command_again_resumes_and_other_settings_are_named(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("trainer.max_steps=3") == 0
    first = tensors(Path("runs/swirl/swirl.safetensors"))
    capsys.readouterr()
    assert train("trainer.max_steps=3") == 0
    assert "is trained already" in capsys.readouterr().out
    Path("runs/swirl/swirl.safetensors").unlink()
    assert train("trainer.max_steps=3") == 0  # stopped between the last step and the style file
    assert same(tensors(Path("runs/swirl/swirl.safetensors")), first)
    before = Path("runs/swirl/swirl.safetensors").read_bytes()
    assert train("trainer.max_steps=3", "net.width=6") == 2
    error = capsys.readouterr().err
    assert "net.width 4 -> 6" in error
    assert "resume=false" in error
    assert Path("runs/swirl/swirl.safetensors").read_bytes() == before
    assert train("trainer.max_steps=3", "net.width=6", "resume=false") == 0
    assert read_card("runs/swirl-2/swirl.safetensors").net["width"] == 6
    assert Path("runs/swirl/swirl.safetensors").read_bytes() == before


def test_a_loss_that_is_not_finite_stops_the_run(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("optimizer.learning_rate=1e30", "optimizer.schedule=constant") == 2
    assert re.search(r"at step \d; on_divergence=rollback", capsys.readouterr().err)
    assert not RunFolder(Path("runs/swirl")).checkpoints.found()
    assert not Path("runs/swirl/swirl.safetensors").exists()


def test_a_run_in_use_is_refused(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    with RunFolder(Path("runs/swirl")).locked():
        assert train() == 2
    assert "runs/swirl is in use by another run" in capsys.readouterr().err


def test_another_painting_under_the_same_name_is_noticed(
    train: Train, painting: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(painting, "mine.png")
    assert train("style.image=mine.png", "trainer.max_steps=1") == 0
    Image.open(painting).rotate(90).save("mine.png")
    assert train("style.image=mine.png", "trainer.max_steps=1") == 2
    assert "other painting" in capsys.readouterr().err


def test_bad_photos_are_named_once_in_a_report(
    train: Train, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(photos, tmp_path / "p")
    for number in range(3):
        (tmp_path / "p" / f"bad_{number}.jpg").write_text("no picture")
    (tmp_path / "p" / "gone.jpg").symlink_to("nowhere.jpg")
    assert train(f"data.root={tmp_path / 'p'}", "trainer.max_steps=16") == 0
    lines = Path("runs/swirl/skipped_photos.tsv").read_text().splitlines()
    names = sorted(Path(line.split("\t")[0]).name for line in lines)
    assert names == ["bad_0.jpg", "bad_1.jpg", "bad_2.jpg", "gone.jpg"]
    assert "skipped        4 unreadable photos" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["van Gogh's (1), a#2 [x].png", "Käthe ~.png"])
def test_a_painting_may_have_any_name(train: Train, painting: Path, name: str) -> None:
    shutil.copy(painting, name)
    assert train(f"style.image={name}", "trainer.max_steps=1") == 0
    stem = Path(name).stem
    assert (Path("runs") / stem / f"{stem}.safetensors").exists()
    assert main(["info", stem]) == 0


def test_a_known_style_is_sought_in_the_style_folders(
    train: Train,
    painting: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = (f"data.root={photos}", "style=great_wave", "trainer.max_steps=1")
    assert train(*words, given=False) == 2
    error = capsys.readouterr().err
    assert "hokusai_great_wave_1831.jpg was not found" in error
    assert "style.root=FOLDER or $FST_STYLES" in error
    (tmp_path / "mine").mkdir()
    Image.open(painting).convert("RGB").save(tmp_path / "mine" / "hokusai_great_wave_1831.jpg")
    monkeypatch.setenv("FST_STYLES", str(tmp_path / "mine"))
    assert train(*words, given=False) == 0
    assert read_card("runs/great_wave/great_wave.safetensors").painting["artist"] == (
        "Katsushika Hokusai"
    )


def test_our_own_paintings_need_no_file(train: Train, photos: Path) -> None:
    words = ("style=woodcut", f"data.root={photos}", "trainer.max_steps=1")
    assert train(*words, given=False) == 0
    assert read_card("runs/woodcut/woodcut.safetensors").painting["license"] == "MIT"


def test_users_own_config_folders_work(
    train: Train, painting: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine" / "style").mkdir(parents=True)
    own = {"title": "Mine", "artist": "Me", "image": str(painting), "name": "mine"}
    text = "defaults:\n  - own\n  - _self_\n" + yaml.safe_dump(own)
    (tmp_path / "mine" / "style" / "mine.yaml").write_text(text)
    words = ("--config-dir", "mine", "style=mine", "trainer.max_steps=1", f"data.root={photos}")
    assert train(*words, given=False) == 0
    assert read_card("runs/mine/mine.safetensors").painting["title"] == "Mine"


def test_a_users_style_that_says_everything_wins_over_the_defaults(
    train: Train, painting: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine" / "style").mkdir(parents=True)
    full = yaml.safe_load((configs_dir() / "style_defaults.yaml").read_text())
    full |= {"title": "Full", "image": str(painting), "name": "full", "size": 80, "strength": 0.5}
    full["weights"] = {"content": 1, "style": 3, "tv": 1}
    (tmp_path / "mine" / "style" / "full.yaml").write_text(yaml.safe_dump(full))
    words = ("--config-dir", "mine", "style=full", "trainer.max_steps=1", f"data.root={photos}")
    assert train(*words, "style.size=72", given=False) == 0
    kept = yaml.safe_load(Path("runs/full/config.yaml").read_text())
    assert kept["style"] == {**full, "size": 72}
    assert read_card("runs/full/full.safetensors").training["style_weights"]["style"] == 3


def test_a_sweep_gives_each_job_a_folder(train: Train) -> None:
    assert train("-m", "loss.style_weight=1,2", "trainer.max_steps=1") == 0
    made = Path("runs/multirun").glob("*/*/swirl.safetensors")
    assert sorted(path.parent.name for path in made) == ["style_weight=1", "style_weight=2"]
    (sweep,) = Path("runs/multirun").iterdir()
    assert not (sweep / "0").exists()
    (sweep / "0").mkdir()  # as a sweep that was begun before folders were called so
    (sweep / "style_weight=1" / "config.yaml").rename(sweep / "0" / "config.yaml")
    words = ("-m", f"hydra.sweep.dir={sweep}", "loss.style_weight=1,3", "trainer.max_steps=1")
    assert train(*words) == 0
    assert (sweep / "0" / "swirl.safetensors").exists()
    assert (sweep / "style_weight=3" / "swirl.safetensors").exists()


def test_accumulation_clipping_and_bf16_are_one_flag_each(train: Train) -> None:
    assert (
        train(
            "trainer.max_steps=2",
            "trainer.accumulate_grad_batches=2",
            "trainer.gradient_clip_val=1",
            "trainer.precision=bf16-mixed",
        )
        == 0
    )
    assert read_card("runs/swirl/swirl.safetensors").training["steps"] == 2


BAD_REQUESTS = {
    "no logger": (
        ["logger=null"],
        "use one of csv, mlflow, none, tensorboard",
    ),
    "unknown style": (["style=nope"], "style=nope is unknown; use one of composition_vii"),
    "unknown key": (["data.rooot=x"], "data.rooot is not a setting; did you mean root?"),
    "grammar": (["seed=[1"], "seed=[1"),
    "no painting": (["style.image=null"], "no painting is named; give your own"),
    "missing painting": (["style.image=no.jpg"], "style.image=no.jpg does not exist"),
    "no photos": (["data.root=gone"], "data.root=gone does not exist"),
    "deep layer": (
        ["loss.style_layers={relu5_1:1}"],
        "layer 'relu5_1' is not in the loss network tiny_vgg.safetensors",
    ),
    "missing network": (["loss_network.file=no.pth"], "no.pth does not exist"),
    "small style": (["style.size=8"], "style.size=8 is smaller than 64 px"),
    "schedule": (["optimizer.schedule=cosine"], "optimizer.schedule 'cosine' is unknown"),
    "resume": (["resume=maybe"], "resume=maybe is unknown"),
    "no number": (["trainer.max_steps=abc"], "trainer.max_steps=abc must be a whole number"),
    "zero": (["checkpoint_every=0"], "checkpoint_every=0 must be a whole number of 1 or more"),
    "weight": (["style.weights.style=x"], "style.weights.style=x must be a number"),
    "layer name": (["loss.style_layers.relu44_3=0"], "loss.style_layers.relu44_3: a layer's name"),
    "crop": (["data.crop_scale=[1,2]"], "must be [low,high] in 0 .. 1"),
    "val_root": (["data.val_root=gone"], "data.val_root=gone does not exist"),
    "warm start": (["warm_start=nope"], "warm_start=nope: style 'nope' is unknown"),
    "precision": (["trainer.precision=3-bit"], "the trainer refuses these settings"),
}


@pytest.mark.parametrize("case", BAD_REQUESTS)
def test_a_bad_request_gets_one_sentence(
    train: Train, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words, sentence = BAD_REQUESTS[case]
    assert train(*words) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error
    assert not Path("runs").exists()


@pytest.mark.slow
def test_two_processes_and_compile_are_one_flag_each(
    photos: Path, painting: Path, tiny_vgg: Path, tmp_path: Path
) -> None:
    fst = Path(sys.executable).with_name("fst")
    command = [str(fst), "train", "experiment=laptop", "loss_network=file", *TINY]
    command += [f"loss_network.file={tiny_vgg}", f"style.image={painting}", f"data.root={photos}"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FST_")}
    for words in (["trainer.devices=2", "trainer.strategy=ddp"], ["compile=true"]):
        run_dir = f"run_dir=runs/{words[0]}"
        subprocess.run(
            [*command, *words, run_dir], check=True, cwd=tmp_path, env=environment, timeout=300
        )
        made = tmp_path / "runs" / words[0] / "swirl.safetensors"
        assert read_card(made).training["steps"] == 6
