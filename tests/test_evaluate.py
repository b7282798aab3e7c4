"""fst evaluate, and the counting behind it, against answers that are known."""

import json
from pathlib import Path

import pytest
import torch
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from fst.cli import main
from fst.data.photo_files import readable
from fst.errors import FstError
from fst.evaluation.equivalent_iterations import confidence_interval, iterations_to_reach, terms_of
from fst.evaluation.trained_with import at_size, painting_of
from fst.loss.loss_network_file import load_loss_network
from fst.loss.perceptual_loss import PerceptualLoss, Weights
from fst.nets.style_card import read_card
from fst.nets.style_names import find_style
from fst.pictures.artifacts import Artifacts
from fst.system.paths import configs_dir


def make_loss(tiny_vgg: Path) -> PerceptualLoss:
    torch.manual_seed(0)
    return PerceptualLoss(
        network=load_loss_network(name="file", file=tiny_vgg),
        style_image=torch.rand(1, 3, 32, 32),
        content_layers={"relu2_2": 1},
        style_layers={"relu1_2": 1, "relu2_2": 1},
        content_weight=1,
        style_weight=3,
        tv_weight=0,
        relative=True,
    )


def test_photos_that_cannot_be_read_are_left_out(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.jpg").write_text("no picture")
    good = next(photos.iterdir())
    assert readable([tmp_path / "bad.jpg", good]) == [good]
    assert "left out       " in capsys.readouterr().out
    with pytest.raises(FstError, match="none of the 1 photos can be read"):
        readable([tmp_path / "bad.jpg"])


def test_a_picture_from_the_curve_is_worth_its_own_iteration(tiny_vgg: Path) -> None:
    loss = make_loss(tiny_vgg)
    photo, noise = torch.rand(2, 1, 3, 32, 32)
    whole = iterations_to_reach(loss, photo, noise, value=0.0, limit=12)
    assert not whole.crossed
    assert whole.iterations == 12
    assert len(whole.values) == 13
    for k in (0, 4, 9):
        again = iterations_to_reach(loss, photo, noise, value=whole.values[k], limit=12)
        assert again.crossed
        assert again.iterations == k
    assert iterations_to_reach(loss, photo, noise, value=1e9, limit=12).iterations == 0


def test_the_terms_are_those_of_the_loss(tiny_vgg: Path) -> None:
    loss = make_loss(tiny_vgg)
    photo, picture = torch.rand(2, 1, 3, 32, 32)
    terms = terms_of(loss, picture, photo)
    assert terms.total == pytest.approx(terms.content + terms.style + terms.total_variation)
    assert terms_of(loss, photo, photo).content == 0


def test_total_variation_keeps_its_share_at_any_size(tiny_vgg: Path) -> None:
    loss = make_loss(tiny_vgg).reweighted(Weights(content=1, style=3, tv=1e-3))
    torch.manual_seed(0)
    small = torch.rand(1, 3, 32, 32)
    large = small.repeat(1, 1, 3, 2)  # more of the same
    one, many = (terms_of(at_size(loss, 32, x), x, x).total_variation for x in (small, large))
    assert one == pytest.approx(terms_of(loss, small, small).total_variation)
    assert many == pytest.approx(one, rel=0.1)


def test_the_confidence_interval_is_that_of_a_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    values = (100 + 10 * torch.randn(400, generator=generator)).tolist()
    low, high = confidence_interval(values)
    mean = sum(values) / len(values)
    assert low < mean < high
    assert high - low == pytest.approx(2 * 1.96 * 10 / 400**0.5, rel=0.15)
    assert confidence_interval([7, 7, 7]) == (7, 7)


def test_training_raises_what_a_net_is_worth_and_the_card_says_it(
    tiny_vgg: Path,
    photos: Path,
    painting: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FST_RUN_FOLDER", raising=False)
    monkeypatch.setattr("sys.argv", ["fst"])
    train = ["train", "experiment=laptop", "loss=relative", "loss_network=file", "half=false"]
    train += [f"loss_network.file={tiny_vgg}", f"style.image={painting}", f"data.root={photos}"]
    train += ["style.size=64", "data.size=48", "data.workers=0", "net.width=6", "previews.photos=0"]
    train += ["net.residual_blocks=1", "data.batch_size=2"]
    train += ["trainer.accelerator=cpu", "trainer.val_check_interval=null", "loss.tv_weight=0"]
    for steps in (1, 80):
        assert main([*train, f"trainer.max_steps={steps}", f"run_dir=runs/after_{steps}"]) == 0
    words = ["evaluate", "styles=[runs/after_1/swirl.safetensors,runs/after_80/swirl.safetensors]"]
    words += [f"data.root={photos}", "photos=3", "sizes=[48]", "limit=25", "run_dir=made"]
    assert main([*words, "update_card=true", "device=cpu"]) == 0
    out = capsys.readouterr().out
    assert "iterations of L-BFGS from noise (95% CI" in out
    one, many = json.loads((tmp_path / "made" / "evaluation.json").read_text())
    assert [row["name"] for row in (one, many)] == ["after_1_swirl", "after_80_swirl"]
    assert one["iterations_from_content"] <= 2
    assert many["iterations_from_noise"] > one["iterations_from_noise"]
    assert many["total"] < one["total"]
    assert set(Artifacts._fields) == many["artifacts"].keys()
    assert all(0 < many["lock"][band] < 2 for band in ("fine", "coarse"))
    assert many["artifacts_flat"].keys() == {"constant", "sky"}
    for name in ("after_1_swirl_48.csv", "after_1_swirl_48.jpg", "after_1_swirl_48_curves.png"):
        assert (tmp_path / "made" / name).stat().st_size > 0
    card = read_card(tmp_path / "runs" / "after_80" / "swirl.safetensors")
    (row,) = card.evaluation
    assert row["iterations_from_noise"] == many["iterations_from_noise"]
    assert main(["stylize", str(photos / "photo_01.jpg"), "--style",
                 "runs/after_80/swirl.safetensors"]) == 0  # fmt: skip


def test_what_is_missing_is_said(
    tiny_style: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["fst"])
    words = ["evaluate", f"styles=[{tiny_style}]", f"data.root={photos}", "device=cpu"]
    assert main(words) == 2
    assert "which does not ship; give it with loss_network=file" in capsys.readouterr().err
    assert main([*words, "loss_network=lite"]) == 2
    assert "give it with style.image=FILE" in capsys.readouterr().err
    assert main([*words, "sizes=16"]) == 2
    assert "sizes=16 must be whole numbers of 32 or more" in capsys.readouterr().err
    assert main([*words, "starts=photo"]) == 2
    assert "starts=photo must be some of noise, content" in capsys.readouterr().err
    two = ["evaluate", f"styles=[{tiny_style},{tiny_style}]", *words[2:], "style.image=a.jpg"]
    assert main(two) == 2
    assert "style.image=a.jpg is one painting, but there are 2 styles" in capsys.readouterr().err
    assert main(["evaluate", f"styles={tiny_style}"]) == 2
    assert "data.root is not given" in capsys.readouterr().err
    assert main([*words[:1], "styles=[nowhere]", *words[2:]]) == 2
    assert "style 'nowhere' is unknown" in capsys.readouterr().err


def test_the_painting_of_a_shipped_style_is_found_by_its_config() -> None:
    path = find_style("woodcut")
    card = read_card(path)
    alone = painting_of(path, card, image=None, root=None)
    assert alone.source == "woodcut, painted by fst"
    assert min(alone.image.shape[2:]) == card.training["style_size"]
    with initialize_config_dir(str(configs_dir()), version_base="1.3"):  # as while a command runs
        again = painting_of(path, card, image=None, root=None)
        assert torch.equal(again.image, alone.image)
        assert GlobalHydra.instance().is_initialized()
