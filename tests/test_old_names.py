"""The key ``licence`` of older versions is read as ``license`` wherever it may stand."""

import copy
from pathlib import Path

import pytest
import yaml

from fst.experiments.run_folder import RunFolder
from fst.experiments.settings import compose
from fst.loss.loss_network_file import load_loss_network, save_loss_network
from fst.nets.style_card import Card, read_card
from fst.nets.style_file import save_styles
from fst.nets.transformer_net import TransformerNet
from fst.system.old_names import in_new_names
from tests.conftest import Train


def test_keys_are_renamed_at_any_depth_and_what_was_given_stays() -> None:
    old = {"licence": 1, "of": [{"licence": {"licence": 2}}, "licence"], "other": None}
    kept = copy.deepcopy(old)
    new = {"license": 1, "of": [{"license": {"license": 2}}, "licence"], "other": None}
    assert in_new_names(old) == in_new_names(new) == new
    assert old == kept


@pytest.mark.parametrize("plus", ["", "+", "++"])
def test_words_of_the_command_line_may_have_the_old_name(plus: str) -> None:
    groups = ("style", "data", "loss_network")
    config = compose("train", [f"{plus}{group}.licence=a, b (c)" for group in groups])
    assert [config[group].license for group in groups] == ["a, b (c)"] * 3
    assert not any("licence" in config[group] for group in groups)


def test_a_run_that_was_begun_with_the_old_name_resumes(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("style.license=CC0", "data.license=CC BY 4.0", "loss_network.license=MIT")
    assert train(*words) == 0
    run = RunFolder(Path("runs/swirl"))
    run.style_file("swirl").unlink()
    run.checkpoints.path(6).unlink()
    run.checkpoints.best.unlink(missing_ok=True)
    old = run.config_file.read_text().replace("license:", "licence:")
    assert old.count("licence:") == 3
    run.config_file.write_text(old)
    capsys.readouterr()
    assert train(*words) == 0
    assert "from step 3)" in capsys.readouterr().out
    assert train("style.license=MIT", *words[1:]) == 2
    assert "style.license CC0 -> MIT" in capsys.readouterr().err


def test_users_own_configs_may_have_the_old_name(
    train: Train, painting: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine" / "style").mkdir(parents=True)
    own = {"image": str(painting), "name": "mine", "licence": "CC0", "painted": None}
    text = "defaults:\n  - woodcut\n  - _self_\n" + yaml.safe_dump(own)
    (tmp_path / "mine" / "style" / "mine.yaml").write_text(text)
    words = ("--config-dir", "mine", "style=mine", "trainer.max_steps=1", f"data.root={photos}")
    for more, license in ((), "CC0"), (("style.license=CC1", "run_dir=other"), "CC1"):
        assert train(*words, *more, given=False) == 0
        folder = Path("other" if more else "runs/mine")
        assert read_card(folder / "mine.safetensors").painting["license"] == license
        kept = yaml.safe_load((folder / "config.yaml").read_text())["style"]
        assert kept["license"] == license
        assert "licence" not in kept


@pytest.mark.parametrize("paintings", [1, 2])
def test_cards_with_the_old_name_show_the_new_one(tmp_path: Path, paintings: int) -> None:
    net = TransformerNet(
        width=4, residual_blocks=1, output_gain=0.1, upsampling="bilinear", paintings=paintings
    )
    cards = [
        Card(
            name=f"style{row}",
            net={},
            painting={"licence": f"CC{row}"},
            data={"licence": "CC BY 4.0"},
            training={"warm_start": {"painting": {"licence": "CC9"}}},
        )
        for row in range(paintings)
    ]
    save_styles(tmp_path / "old.safetensors", net, cards, half=False)
    for row in range(paintings):
        address = f"{tmp_path}/old.safetensors" + (f":style{row}" if paintings > 1 else "")
        card = read_card(address)
        assert (card.painting, card.data) == ({"license": f"CC{row}"}, {"license": "CC BY 4.0"})
        assert card.training["warm_start"]["painting"] == {"license": "CC9"}


@pytest.mark.parametrize("key", ["licence", "license"])
def test_metadata_of_a_loss_network_may_have_either_name(
    tiny_vgg: Path, tmp_path: Path, key: str
) -> None:
    network = load_loss_network(name="file", file=tiny_vgg)
    save_loss_network(tmp_path / "own.safetensors", network, half=False, **{key: "CC0"})
    assert load_loss_network(name="file", file=tmp_path / "own.safetensors").license == "CC0"
