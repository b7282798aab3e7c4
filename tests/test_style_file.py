import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from fst.errors import FstError
from fst.nets.style_card import STRENGTHS_VERSION, Card, read_card, read_cards
from fst.nets.style_file import load_style, load_styles, save_style
from fst.nets.style_names import find_style, shipped_files, shipped_styles, trained_styles
from fst.nets.transformer_net import TransformerNet


def make_net() -> TransformerNet:
    torch.manual_seed(1)
    return TransformerNet(width=4, residual_blocks=2, output_gain=0.1)


def rewrite(path: Path, out: Path, **card_changes: object) -> Path:
    with safe_open(str(path), "pt") as handle:
        tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
        metadata = handle.metadata()
    card = json.loads(metadata["card"]) | {"sha256_all": ""} | card_changes
    save_file(tensors, out, {**metadata, "card": json.dumps(card)})
    return out


def test_a_net_and_its_card_round_trip(tmp_path: Path) -> None:
    net = make_net()
    card = Card(
        name="wave",
        net={},
        painting={"artist": "Léger"},
        training={"steps": 7},
        losses={"total": 1},
    )
    save_style(tmp_path / "wave.safetensors", net, card, half=False)
    loaded, read = load_style(tmp_path / "wave.safetensors")
    assert read == card
    assert read.net == {
        "width": 4,
        "residual_blocks": 2,
        "output_gain": 0.1,
        "upsampling": "nearest",
    }
    assert read.painting == {"artist": "Léger"}
    photo = torch.rand(1, 3, 20, 20)
    assert torch.equal(net(photo), loaded(photo))
    assert not any(p.requires_grad for p in loaded.parameters())


def test_half_precision_is_half_the_size_and_nearly_the_same_picture(tmp_path: Path) -> None:
    net = TransformerNet(width=32, residual_blocks=5, output_gain=0.1)
    save_style(tmp_path / "h.safetensors", net, Card(name="h", net={}), half=True)
    assert 3.3e6 < (tmp_path / "h.safetensors").stat().st_size < 3.5e6
    photo = torch.rand(1, 3, 32, 32)
    loaded, _ = load_style(tmp_path / "h.safetensors")
    with torch.no_grad():
        assert (net(photo) - loaded(photo)).abs().max() < 2 / 255


def test_a_net_with_nan_is_not_written(tmp_path: Path) -> None:
    net = make_net()
    with torch.no_grad():
        net.conv1.conv.weight[0] = float("nan")
    with pytest.raises(FstError, match="NaN"):
        save_style(tmp_path / "n.safetensors", net, Card(name="n", net={}), half=True)
    assert list(tmp_path.iterdir()) == []


def test_a_flipped_bit_is_noticed(tiny_style: Path, tmp_path: Path) -> None:
    data = bytearray(tiny_style.read_bytes())
    data[-100] ^= 1
    (tmp_path / "bad.safetensors").write_bytes(data)
    with pytest.raises(FstError, match=r"bad\.safetensors is damaged: .* checksum"):
        load_style(tmp_path / "bad.safetensors")


@pytest.mark.parametrize("keep", [0, 5, 300, 0.5, 0.999])
def test_a_cut_file_is_noticed(tiny_style: Path, tmp_path: Path, keep: float) -> None:
    data = tiny_style.read_bytes()
    length = int(keep if keep >= 1 or keep == 0 else keep * len(data))
    (tmp_path / "cut.safetensors").write_bytes(data[:length])
    with pytest.raises(FstError, match="damaged or not a style file"):
        read_card(tmp_path / "cut.safetensors")


def test_foreign_and_newer_files_are_refused(tiny_style: Path, tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(FstError, match="is not a style of fst"):
        load_style(tmp_path / "foreign.safetensors")
    newer = rewrite(
        tiny_style, tmp_path / "newer.safetensors", format_version=STRENGTHS_VERSION + 1
    )
    with pytest.raises(FstError, match=r"newer than .* update fst"):
        load_style(newer)
    wrong = rewrite(
        tiny_style,
        tmp_path / "wrong.safetensors",
        net={"width": 5, "residual_blocks": 1, "output_gain": 0.1},
    )
    with pytest.raises(FstError, match="do not fit the net"):
        load_style(wrong)


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "", "..", "a\nb", 5])
def test_a_card_cannot_steer_where_results_go(
    tiny_style: Path, tmp_path: Path, name: object
) -> None:
    evil = rewrite(tiny_style, tmp_path / "evil.safetensors", name=name)
    with pytest.raises(FstError, match="is not safe to use"):
        load_style(evil)
    with pytest.raises(FstError, match="fields of the wrong kind"):
        read_card(rewrite(tiny_style, tmp_path / "odd.safetensors", painting="x"))


def test_a_name_is_sought_among_shipped_styles_then_runs(
    tiny_style: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "tiny").mkdir(parents=True)
    run_file = tmp_path / "runs" / "tiny" / "tiny.safetensors"
    run_file.write_bytes(tiny_style.read_bytes())
    assert find_style("tiny").resolve() == run_file
    assert list(trained_styles()) == ["tiny"]
    assert find_style(str(tiny_style)) == tiny_style
    with pytest.raises(FstError, match=r"style 'tyni' is unknown; known styles: .*tiny"):
        find_style("tyni")
    with pytest.raises(FstError, match=r"no\.safetensors does not exist"):
        find_style("no.safetensors")


def test_the_shipped_base_knows_many_paintings_in_less_than_a_megabyte() -> None:
    path = shipped_files()["base"]
    assert path.stat().st_size < 1e6
    cards = read_cards(path)
    assert 20 <= len(cards) <= 40
    assert not {"the_scream", "contrast_of_forms"} & {card.name for card in cards}  # held out
    told = (path.parent / "README.md").read_text()
    for card in cards:
        assert card.painting["title"]
        assert card.painting["license"] in ("public domain", "MIT")
        assert card.loss_network["license"]
        assert card.data["license"]
        assert card.losses["total"] > 0
        assert f"`{card.name}`" in told
    net, _ = load_styles(path)
    photo = torch.rand(1, 3, 64, 80, generator=torch.Generator().manual_seed(0))
    for row in range(len(cards)):
        assert 0.05 < float(net(photo, torch.tensor([row])).std()) < 0.5


@pytest.mark.parametrize("name", [n for n, p in shipped_styles().items() if p.exists()])
def test_a_shipped_style_is_small_whole_and_says_what_it_is(name: str) -> None:
    path = shipped_styles()[name]
    assert path.stat().st_size < 4e6
    net, card = load_style(path)
    assert card.name == name
    assert card.painting["title"]
    assert card.painting["license"] in ("public domain", "MIT")
    assert card.loss_network["license"]
    assert card.data["license"]
    assert card.training["steps"] > 0
    origin = card.training.get("warm_start")
    assert origin is None or (origin["data"]["license"] and origin["painting"]["license"])
    assert {"total", "content", "style", "tv"} <= card.losses.keys()
    assert all(row["iterations_from_noise"] > 10 for row in card.evaluation)
    assert card.evaluation
    assert {"mean_difference", "within_2_levels"} <= card.bf16.keys()
    assert card.thumbnail
    assert f"| `{name}` |" in (path.parent / "README.md").read_text()
    photo = torch.rand(1, 3, 64, 80, generator=torch.Generator().manual_seed(0))
    assert 0.05 < float(net(photo).std()) < 0.5
