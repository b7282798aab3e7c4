"""What loggers get: the same pictures, texts and settings, whichever and however many they are."""

from pathlib import Path
from typing import Any, ClassVar

import pytest
import pytorch_lightning as pl
from PIL import Image
from pytorch_lightning.loggers import Logger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fst.training.journal import FIRST, METRICS

from .conftest import Train

QUICK = ("trainer.max_steps=3", "previews.every=3")
TEXTS = {"about/command", "about/config", "about/versions", "about/photos", "about/card"}


class Recording(Logger):
    """Stands for Weights & Biases, whose logger has methods for pictures and texts."""

    made: ClassVar[list["Recording"]] = []

    def __init__(self, **given: Any) -> None:
        super().__init__()
        self.given, self.version = given, given.get("version")  # type: ignore[misc]
        self.numbers: dict[str, list[int]] = {}
        self.pictures: list[tuple[int, str]] = []
        self.texts: dict[str, str] = {}
        self.settings: dict[str, Any] = {}
        Recording.made.append(self)

    name = "fst"
    version: Any = None

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        for key in metrics:
            self.numbers.setdefault(key, []).append(step or 0)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.settings |= params

    def log_image(self, key: str, images: list[Image.Image], step: int, caption: list[str]) -> None:
        assert (key, images[0].mode) == ("val_preview", "RGB")
        self.pictures.append((step, caption[0]))

    def log_text(self, key: str, columns: Any, data: Any, step: int) -> None:
        self.texts[key] = data[0][0]


class WandbLogger(Recording):
    """By the name that its number is kept under."""


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Recording]:
    monkeypatch.setattr(pl.loggers, "WandbLogger", WandbLogger)
    monkeypatch.setattr(Recording, "made", [])
    return Recording.made


def test_several_loggers_get_the_same_pictures_and_texts(
    train: Train, recorded: list[Recording]
) -> None:
    assert train(*QUICK, "loss=calibrated", "logger=[tensorboard,wandb,csv]") == 0
    (logger,) = recorded
    assert logger.given["name"] == "swirl"
    assert logger.given["offline"] is True
    assert [step for step, _ in logger.pictures] == [0, 3]
    assert logger.pictures[1][1].endswith("after swirl, step 3")
    assert logger.texts.keys() == TEXTS
    assert logger.settings["style_weight"] > 0
    assert "epoch" not in logger.numbers
    assert min(logger.numbers).startswith("train/")
    folder = Path("runs/swirl/csv/version_0")
    assert {f"about/{p.stem}" for p in (folder / "about").glob("*.md")} == TEXTS
    assert (folder / "about/config.md").read_text() == logger.texts["about/config"]
    assert (folder / "val_preview_000003.jpg").exists()
    board = EventAccumulator("runs/swirl", size_guidance={"tensors": 0})
    board.Reload()
    tags = {tag.removesuffix("/text_summary") for tag in board.Tags()["tensors"]}
    assert tags >= TEXTS
    assert board.Tags()["images"] == ["val_preview"]
    assert not any("total" in metric for metric in METRICS)
    told = board.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    for number, key in enumerate(FIRST, 1):
        assert f"{number} {key.replace('_', ' ')}".encode() in told


def test_a_run_goes_on_under_its_number(train: Train, recorded: list[Recording]) -> None:
    for steps in (2, 3):
        assert (
            train("logger=wandb", "optimizer.schedule=constant", f"trainer.max_steps={steps}") == 0
        )
    assert recorded[0].version == recorded[1].version
    assert recorded[1].settings == {}


def test_no_logger_at_all(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(*QUICK, "logger=none") == 0
    assert not list(Path("runs/swirl").glob("**/*tfevents*"))
    assert "curves " not in capsys.readouterr().out
    assert list(Path("runs/swirl/previews").iterdir())


def test_a_logger_that_is_not_here_names_its_package(
    train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(**given: Any) -> None:
        raise ModuleNotFoundError("wandb")

    monkeypatch.setattr(pl.loggers, "WandbLogger", missing)
    assert train(*QUICK, "logger=wandb") == 2
    assert "logger=wandb needs a package that is not here: pip install" in capsys.readouterr().err


def test_a_config_file_sends_a_run_nowhere(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("cfg/logger").mkdir(parents=True)
    text = "_target_: pytorch_lightning.loggers.MLFlowLogger\ntracking_uri: http://example.org\n"
    Path("cfg/logger/x.yaml").write_text(text)
    assert train("--config-dir", "cfg", "logger=x", *QUICK) == 2
    assert "could send the run to a stranger" in capsys.readouterr().err
