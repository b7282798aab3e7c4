import ast
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from torch import Tensor
from torch.utils.data import DataLoader

import fst
from fst.training import lightning_internals
from fst.training.lightning_internals import (
    LOGGER_PARTS,
    PARTS,
    at_step_boundary,
    end_curves_at,
    logs_this_step,
    validation_follows,
)


def moved(of: object, paths: tuple[str, ...]) -> list[str]:
    """A sentence for each attribute path that ``of`` does not have."""
    sentences = []
    for path in paths:
        here, missing = of, object()
        for name in path.split("."):
            here = getattr(here, name, missing)
            if here is missing:
                sentences.append(
                    f"pytorch-lightning {pl.__version__} has no {type(of).__name__}.{path} (from "
                    f"'{name}' on); mend fst/training/lightning_internals.py or bound the version"
                )
                break
    return sentences


class Tiny(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.log("loss", self.weight.square().sum())
        return self.weight.square().sum()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("val", self.weight.sum())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Look(pl.Callback):
    """Looks at a trainer in the middle of its work, when all its parts are in place."""

    def __init__(self) -> None:
        self.moved: list[str] = []
        self.seen: list[tuple[bool, bool, bool]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, *args: object) -> None:
        self.moved += moved(trainer, PARTS)
        if not self.moved:
            flags = at_step_boundary(trainer), validation_follows(trainer), logs_this_step(trainer)
            self.seen.append(flags)


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Look, TensorBoardLogger]:
    look, logger = Look(), TensorBoardLogger(tmp_path)
    data = DataLoader(torch.zeros(8, 1))  # type: ignore[arg-type]
    trainer = pl.Trainer(
        max_epochs=1,
        accumulate_grad_batches=2,
        val_check_interval=4,
        log_every_n_steps=2,
        num_sanity_val_steps=0,
        logger=logger,
        callbacks=[look],
        accelerator="cpu",
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(Tiny(), data, data)
    return look, logger


def test_lightning_has_the_private_parts_that_we_use(
    trained: tuple[Look, TensorBoardLogger],
) -> None:
    look, logger = trained
    sentences = {*look.moved, *moved(logger, LOGGER_PARTS)}
    assert not sentences, "\n".join(sorted(sentences))


def test_the_private_parts_mean_what_we_take_them_for(
    trained: tuple[Look, TensorBoardLogger],
) -> None:
    ends, follows, logged = zip(*trained[0].seen, strict=True)
    assert ends == (False, True) * 4
    assert follows == (False, False, False, True) * 2
    assert logged[1::4] == (False, False)  # steps 1 and 3
    assert logged[3::4] == (True, True)  # steps 2 and 4


def test_curves_are_taken_to_end_at_a_step(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path)
    end_curves_at(logger, 7)
    logger.experiment.close()
    (file,) = Path(logger.log_dir).glob("events*")
    begun = [event.step for event in EventFileLoader(str(file)).Load() if event.session_log.status]
    assert begun == [7]  # a reader drops what an earlier file has from there on


def test_a_part_that_lightning_moves_is_named() -> None:
    trainer = SimpleNamespace(fit_loop=SimpleNamespace(_data_fetcher=None))
    (sentence,) = moved(trainer, ("fit_loop._data_fetcher", "fit_loop._should_accumulate"))
    assert "has no SimpleNamespace.fit_loop._should_accumulate" in sentence
    assert "lightning_internals.py" in sentence


def test_every_private_part_is_listed_and_stands_in_one_file() -> None:
    listed = {name for path in PARTS + LOGGER_PARTS for name in path.split(".") if name[0] == "_"}
    for path in Path(fst.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text())
        used = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and node.attr.startswith("_")
            and not node.attr.startswith("__")
            and ast.unparse(node.value) not in ("self", "cls")
        }
        if path == Path(lightning_internals.__file__):
            assert used == listed
        else:
            assert not used & listed, path
