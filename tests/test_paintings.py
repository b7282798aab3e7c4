"""One net of several paintings: its norms, its loss, its file, its training."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from fst.cli import main
from fst.errors import FstError
from fst.experiments.warm_start import Start, best_row
from fst.loss.filmed import Shot, filmed, filmed_term, seen_from, shots_of
from fst.loss.loss_network_file import load_loss_network
from fst.loss.moving import MARGIN, moved, moves_of, moving_term
from fst.loss.paintings_loss import PaintingsLoss, painting_of
from fst.loss.perceptual_loss import PerceptualLoss, Weights
from fst.nets.style_card import Card, read_card
from fst.nets.style_file import load_style, load_styles, rewrite_card, save_styles
from fst.nets.style_names import find_style, trained_styles
from fst.nets.transformer_net import TransformerNet

from .conftest import Train, picture

GRAPHS = "compile_mode=reduce-overhead"
NAMES = ["sea", "sand", "sky"]


def net_of_three() -> TransformerNet:
    torch.manual_seed(3)
    net = TransformerNet(
        width=4, residual_blocks=1, output_gain=0.1, upsampling="bilinear", paintings=3
    )
    for norm in net.norms():
        torch.nn.init.normal_(norm.weight, 1, 0.3)
        torch.nn.init.normal_(norm.bias, 0, 0.3)
    return net.eval().requires_grad_(False)


@pytest.fixture
def file_of_three(tmp_path: Path) -> Path:
    path = tmp_path / "three.safetensors"
    cards = [
        Card(name=name, net={}, painting={"title": name.title(), "year": "2026"}) for name in NAMES
    ]
    save_styles(path, net_of_three(), cards, half=False)
    return path


def loss_against(image: torch.Tensor, network_file: Path, style_weight: float) -> PerceptualLoss:
    return PerceptualLoss(
        network=load_loss_network(name="file", file=str(network_file)),
        style_image=image,
        content_layers={"relu3_3": 1},
        style_layers={"relu1_2": 1, "relu2_2": 1},
        content_weight=1,
        style_weight=style_weight,
        tv_weight=1e-6,
        relative=True,
    )


def test_each_photo_of_a_batch_takes_the_scales_and_shifts_of_its_painting() -> None:
    net, photos = net_of_three(), torch.rand(3, 3, 37, 41)
    together = net(photos, torch.tensor([2, 0, 1]))
    for place, row in enumerate([2, 0, 1]):
        alone = net.of_painting(row)(photos[place : place + 1])
        torch.testing.assert_close(together[place : place + 1], alone)
    assert (together[0] - net.of_painting(0)(photos[:1])[0]).abs().max() > 0.01


def test_the_gradient_of_a_photo_reaches_its_own_row_alone() -> None:
    net = net_of_three().requires_grad_(True)
    net(torch.rand(1, 3, 32, 32), torch.tensor([1])).square().mean().backward()
    for norm in net.norms():
        for gradient in (norm.weight.grad, norm.bias.grad):
            assert gradient is not None
            assert gradient[1].abs().sum() > 0
            assert gradient[0].abs().sum() == gradient[2].abs().sum() == 0


def test_every_painting_comes_once_in_as_many_samples_as_there_are() -> None:
    turns = [[painting_of(5 * t + k, seed=7, count=5) for k in range(5)] for t in range(40)]
    assert all(sorted(turn) == [0, 1, 2, 3, 4] for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 20
    assert painting_of(13, seed=7, count=5) == painting_of(13, seed=7, count=5)
    others = [[painting_of(5 * t + k, seed=8, count=5) for k in range(5)] for t in range(40)]
    assert turns != others


def test_the_loss_of_several_is_the_mean_of_those_of_each(tiny_vgg: Path) -> None:
    torch.manual_seed(0)
    paintings = [torch.rand(1, 3, 64, 64) for _ in range(2)]
    losses = [
        loss_against(image, tiny_vgg, weight)
        for image, weight in zip(paintings, (2.0, 5.0), strict=True)
    ]
    stylized, content = torch.rand(2, 3, 3, 32, 32)
    found = PaintingsLoss(losses)(stylized, content, [1, 0, 1])
    alone = [
        losses[row](stylized[k : k + 1], content[k : k + 1]) for k, row in enumerate([1, 0, 1])
    ]
    for term in ("content", "style", "total_variation", "total"):
        wanted = torch.stack([getattr(one, term) for one in alone]).mean()
        torch.testing.assert_close(getattr(found, term), wanted)
    torch.testing.assert_close(found.by_painting[0], alone[1].total)


def test_strokes_that_move_along_cost_nothing_and_others_do() -> None:
    moves = moves_of(range(4, 12), seed=1)
    assert len(moves) == 2
    assert all(move != (0, 0) for k in range(300) for move in moves_of([k], seed=0))
    assert len({move for k in range(3000) for move in moves_of([k], seed=0)}) == 48
    photos = torch.rand(8, 3, 40, 48)

    def brighter(x: torch.Tensor) -> torch.Tensor:
        return 0.5 + 0.5 * x  # moves along

    def lattice(x: torch.Tensor) -> torch.Tensor:
        return x + (torch.arange(x.shape[-1]) % 7 / 7)  # does not

    def both(net: Callable[[torch.Tensor], torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        return net(photos[:2]), net(moved(photos[:2], moves))

    still = moving_term(*both(brighter), moves)
    assert float(still) == 0
    term = moving_term(*both(lattice), moves)
    expected = [
        (((torch.arange(MARGIN, 40) + right) % 7 - torch.arange(MARGIN, 40) % 7) / 7).square()
        for _, right in moves
    ]
    torch.testing.assert_close(term, torch.stack(expected).mean())


def test_a_film_moves_photos_by_what_its_shots_say() -> None:
    photos = torch.rand(3, 3, 48, 64)
    shifted = seen_from(photos, [Shot(2, -1, 1, 0, (0, 0, 0), 0, 0)] * 3)
    torch.testing.assert_close(shifted[..., 8:-8, 8:-8], photos[..., 7:-9, 10:-6])
    ramp = torch.arange(64).expand(1, 3, 48, 64) / 64
    halfway = seen_from(ramp, [Shot(0.5, 0, 1, 0, (0, 0, 0), 0, 0)])
    torch.testing.assert_close(halfway[..., 8:-8], ramp[..., 8:-8] + 0.5 / 64)
    turned = seen_from(photos[:1, :, :, :48], [Shot(0, 0, 1, 90, (0, 0, 0), 0, 0)])
    torch.testing.assert_close(turned, torch.rot90(photos[:1, :, :, :48], 1, (2, 3)))
    zoomed = seen_from(ramp, [Shot(0, 0, 2, 0, (0, 0, 0), 0, 0)])
    assert float((zoomed[..., 59] - zoomed[..., 9]).mean()) == pytest.approx(25 / 64)
    gray = torch.full((1, 3, 48, 64), 0.5)
    seen = filmed(gray, [Shot(0, 0, 1, 0, (0.1, 0.02, 0), 0.01, 3)])
    assert float(seen.std((2, 3)).mean()) == pytest.approx(0.0115, rel=0.1)  # noise and slope
    assert float(seen.mean()) == pytest.approx(0.55, abs=1e-3)


def test_shots_are_of_the_seed_and_the_number_and_half_a_batch() -> None:
    shots = shots_of(range(4, 12), seed=1)
    assert len(shots) == 4
    assert shots == shots_of(range(4, 12), seed=1) != shots_of(range(4, 12), seed=2)
    many = [shots_of([k], seed=0)[0] for k in range(400)]
    assert max(shot.right for shot in many) > 2.8
    assert min(shot.zoom for shot in many) < 0.987
    assert max(abs(shot.turn) for shot in many) <= 1
    assert len({shot.seed for shot in many}) == 400


def test_strokes_that_hold_still_in_a_film_cost_nothing_and_others_do() -> None:
    shots = [shot._replace(noise=0.0, light=(0, 0, 0)) for shot in shots_of(range(4), seed=3)]
    photos = torch.nn.functional.interpolate(torch.rand(4, 3, 8, 10), (64, 80), mode="bicubic")
    photos = photos.clamp(0.2, 0.8)

    def brighter(x: torch.Tensor) -> torch.Tensor:
        return 0.5 + 0.5 * x  # moves along

    def lattice(x: torch.Tensor) -> torch.Tensor:
        return x + (torch.arange(x.shape[-1]) % 7 / 7)  # does not

    def term(net: Callable[[torch.Tensor], torch.Tensor], shots: list[Shot]) -> torch.Tensor:
        first = photos[: len(shots)]
        return filmed_term(net(first), net(filmed(first, shots)), shots)

    assert float(term(brighter, shots)) < 1e-10
    assert float(term(lattice, shots)) > 0.01
    noisy = [shot._replace(noise=0.02) for shot in shots]
    trembling = term(brighter, noisy)
    assert float(trembling) == pytest.approx((0.5 * 0.02) ** 2, rel=0.1)
    photos.requires_grad_()
    term(brighter, shots_of(range(4), seed=3)).backward()
    assert photos.grad is not None


def test_a_painting_of_several_is_an_ordinary_style(file_of_three: Path) -> None:
    net, photo = net_of_three(), torch.rand(1, 3, 33, 35)
    for row, name in enumerate(NAMES):
        alone, card = load_style(f"{file_of_three}:{name}")
        assert load_style(file_of_three, name)[1] == card == read_card(f"{file_of_three}:{name}")
        torch.testing.assert_close(alone(photo), net(photo, torch.tensor([row])))
        assert (card.name, card.painting["title"]) == (name, name.title())
        assert "paintings" not in card.net
    assert len({read_card(f"{file_of_three}:{name}").sha256 for name in NAMES}) == 3
    whole, cards = load_styles(file_of_three)
    assert (whole.paintings, [card.name for card in cards]) == (3, NAMES)


def test_a_file_of_several_wants_a_name_and_lists_those_it_has(file_of_three: Path) -> None:
    with pytest.raises(FstError, match=r"holds 3 styles; name one, .*three\.safetensors:sea"):
        load_style(file_of_three)
    with pytest.raises(FstError, match="holds no style 'snow'; it has sea, sand, sky"):
        load_style(f"{file_of_three}:snow")


def test_one_card_of_several_is_rewritten_and_the_others_stay(file_of_three: Path) -> None:
    before = file_of_three.read_bytes()
    card = read_card(f"{file_of_three}:sand")
    card.losses = {"total": 1.5}
    rewrite_card(f"{file_of_three}:sand", card)
    assert read_card(f"{file_of_three}:sand").losses == {"total": 1.5}
    assert read_card(f"{file_of_three}:sea").losses == {}
    load_styles(file_of_three)
    assert file_of_three.read_bytes() != before


def test_a_flipped_bit_in_one_painting_is_found(file_of_three: Path) -> None:
    data = bytearray(file_of_three.read_bytes())
    data[-9] ^= 4
    file_of_three.write_bytes(bytes(data))
    with pytest.raises(FstError, match="do not match the checksum"):
        load_styles(file_of_three)


def test_stylize_list_and_info_know_the_paintings_of_a_file(
    file_of_three: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    photo = str(photos / "photo_01.jpg")
    assert main(["stylize", photo, "--style", f"{file_of_three}:sand", "--backend", "torch"]) == 0
    assert Path("photo_01_sand.jpg").exists()
    Path("runs/three").mkdir(parents=True)
    file_of_three.rename("runs/three/three.safetensors")
    assert main(["stylize", photo, "--style", "sky", "--backend", "torch"]) == 0
    assert Path("photo_01_sky.jpg").exists()
    assert find_style("sky") == Path("runs/three/three.safetensors:sky")
    capsys.readouterr()
    assert main(["list"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert {"sea", "sand", "sky"} <= {word for row in rows for word in row}
    assert main(["info", "sand"]) == 0
    assert "Sand" in capsys.readouterr().out


def test_a_net_of_several_is_trained_resumed_and_begun_with(
    train: Train, painting: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other, painting.png"
    picture(120, 100, seed=5).save(other)
    cfg = tmp_path / "cfg" / "style"
    cfg.mkdir(parents=True)
    mine = {"name": "mine", "title": "Mine", "image": str(painting), "licence": "CC0"}
    (cfg / "mine.yaml").write_text(yaml.safe_dump(mine))
    words = [
        "--config-dir",
        str(cfg.parent),
        f"styles=['mine','woodcut','{other}']",
        "style.name=trio",
        "loss.moving_weight=10",
        "half=false",
    ]
    assert train(*words, "trainer.max_steps=6", given_painting=False) == 0
    cards = load_styles("runs/trio/trio.safetensors")[1]
    assert [card.name for card in cards] == ["mine", "woodcut", "other, painting"]
    assert cards[0].painting["title"] == "Mine"
    assert cards[0].painting["license"] == "CC0"  # by its old name
    assert all(card.losses["total"] > 0 for card in cards)
    assert "trio.safetensors:mine" in capsys.readouterr().out or "mine" in trained_styles()
    about = json.loads(Path("runs/trio/run.json").read_text())
    assert len(about["weights"]) == 3

    assert train(*words, "trainer.max_steps=6", "run_dir=runs/halves", given_painting=False) == 0
    halves = load_styles("runs/halves/trio.safetensors")[1]  # cards differ in the minutes alone
    assert [card.sha256 for card in halves] == [card.sha256 for card in cards]
    Path("runs/halves/trio.safetensors").unlink()
    Path("runs/halves/checkpoints/step_00000006.ckpt").unlink()
    Path("runs/halves/checkpoints/best.ckpt").unlink(missing_ok=True)
    assert train(*words, "trainer.max_steps=6", "run_dir=runs/halves", given_painting=False) == 0
    again, resumed = load_styles("runs/halves/trio.safetensors")
    first, _ = load_styles("runs/trio/trio.safetensors")
    pairs = zip(again.state_dict().values(), first.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert [card.sha256 for card in resumed] == [card.sha256 for card in cards]

    begun = ["style.name=begun", "half=false", "optimizer.learning_rate=0"]
    assert train(*begun, "warm_start=runs/trio/trio.safetensors:woodcut") == 0
    assert read_card("runs/begun/begun.safetensors").training["warm_start"]["name"] == "woodcut"
    assert train("style.name=best", *begun[1:], "warm_start=trio") == 0
    origin = read_card("runs/best/best.safetensors").training["warm_start"]
    assert origin["name"] == "trio"
    assert origin["row"] in [card.name for card in cards]
    assert f"by its scales and shifts of {origin['row']}" in capsys.readouterr().out


@pytest.fixture
def three_paintings(train: Train) -> None:
    """a.png, b.png and c.png in the empty folder of `train`."""
    for seed, name in enumerate("abc"):
        picture(96, 80, seed=seed).save(f"{name}.png")


@pytest.mark.usefixtures("three_paintings")
def test_a_sweep_trains_several_nets_of_several_paintings(train: Train) -> None:
    words = ["-m", "styles=[a.png,b.png],[b.png,c.png]", "style.name=pair", "trainer.max_steps=1"]
    fast = ["previews.photos=0", "hydra.sweep.dir=runs/sweep"]
    assert train(*words, *fast, given_painting=False) == 0
    files = sorted(Path("runs/sweep").glob("*/pair.safetensors"))  # 0_..., 1_...
    made = [load_styles(file)[1] for file in files]
    assert [[card.name for card in cards] for cards in made] == [["a", "b"], ["b", "c"]]


@pytest.mark.usefixtures("three_paintings")
def test_each_of_several_paintings_has_weights_of_its_own_solved_for(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["styles=[a.png,b.png]", "style.name=pair", "loss=calibrated", "trainer.max_steps=1"]
    assert train(*words, "previews.photos=0", given_painting=False) == 0
    told = dict(re.findall(r"^ +([ab]): style (\S+)$", capsys.readouterr().out, re.MULTILINE))
    cards = load_styles("runs/pair/pair.safetensors")[1]
    kept = {card.name: card.training["weights"]["style"] for card in cards}
    assert {name: float(weight) for name, weight in told.items()} == {
        name: pytest.approx(weight, rel=0.01) for name, weight in kept.items()
    }
    assert kept["a"] != pytest.approx(kept["b"], rel=0.01)
    again = ["warm_start=runs/pair/pair.safetensors", "loss.moving_weight=1", "run_dir=runs/again"]
    assert train(*words, *again, "previews.photos=0", given_painting=False) == 0
    assert "solving" not in capsys.readouterr().out  # they do not depend on how it is trained
    cards = load_styles("runs/again/pair.safetensors")[1]
    assert {card.name: card.training["weights"]["style"] for card in cards} == kept


@pytest.mark.usefixtures("three_paintings")
def test_several_paintings_are_trained_in_processes_of_submitit(train: Train) -> None:
    words = ["-m", "hydra/launcher=submitit_local", "styles=[a.png,b.png]", "style.name=pair"]
    words += ["hydra.launcher.timeout_min=3", "trainer.max_steps=1", "previews.photos=0"]
    assert train(*words, "hydra.sweep.dir=runs/jobs", given_painting=False) == 0
    cards = load_styles("runs/jobs/0/pair.safetensors")[1]
    assert [card.name for card in cards] == ["a", "b"]
    logs = [log.read_text() for log in Path("runs/jobs/.submitit").rglob("*_log.*")]
    assert "style file" in "".join(logs)
    assert "Warning: " not in "".join(logs)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["styles=[woodcut,dots]", "style=udnie", "style.name=x"], "give one of them"),
        (["styles=[woodcut,dots]"], "needs a name of its own: style.name=NAME"),
        (["styles=[woodcut,woodcut]", "style.name=x"], "has woodcut twice"),
        (["styles=[woodcut]", "style.name=x"], "two paintings or more"),
        (["styles=[woodcut,no_such]", "style.name=x"], "style=no_such is unknown"),
        (
            ["styles=[woodcut,dots]", "style.name=x", "compile=true", GRAPHS],
            "compile_mode=reduce-overhead replays one step as it was, and with styles= each",
        ),
    ],
)
def test_what_styles_cannot_mean_is_one_sentence(
    words: list[str], sentence: str, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(*words, given_painting=False) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error
    assert not Path("runs").exists()


def test_a_start_of_several_gives_each_painting_its_row_and_a_new_one_the_mean() -> None:
    start = Start(net_of_three(), [Card(name=n, net={}) for n in NAMES], Path("x.safetensors"))
    net = TransformerNet(
        width=4, residual_blocks=1, output_gain=0.1, upsampling="bilinear", paintings=2
    )
    start.put_into(net, ["sky", "snow"])
    table = start.net.norm1.weight
    torch.testing.assert_close(net.norm1.weight[0], table[2])
    torch.testing.assert_close(net.norm1.weight[1], table.mean(0))
    torch.testing.assert_close(net.conv1.conv.weight, start.net.conv1.conv.weight)


def test_a_card_does_not_repeat_the_paintings_of_each_earlier_net() -> None:
    """A base that goes on from itself, time and again, has the same two dozen names each time."""
    earlier = {"name": "once", "paintings": NAMES, "warm_start": {"paintings": ["rock"]}}
    cards = [Card(name=n, net={}, training={"warm_start": earlier}) for n in NAMES]
    record = Start(net_of_three(), cards, Path("base.safetensors")).put_into(net_of_three(), NAMES)
    assert record["paintings"] == NAMES
    assert record["warm_start"] == {"name": "once", "warm_start": {"paintings": ["rock"]}}


def test_the_nearest_row_is_that_of_the_painting_itself(tiny_vgg: Path) -> None:
    net, photos = net_of_three(), torch.rand(2, 3, 48, 48)
    wanted = net(photos, torch.tensor([2, 2]))  # as if the painting looked like what row 2 makes
    loss = loss_against(wanted[:1], tiny_vgg, 1000.0)
    loss.weights = Weights(content=0.0, style=1.0, tv=0.0)
    assert best_row(net, loss=loss, photos=photos[:1]) == 2
