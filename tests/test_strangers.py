"""Files from strangers: style files, loss networks, checkpoints and run folders that lie."""

import json
import pickle
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, save_file

from fst.cli import main
from fst.errors import FstError
from fst.evaluation.trained_with import network_of, painting_of
from fst.experiments.run_folder import RunFolder, checkpoint_to_resume
from fst.inference.stylizer import Stylizer
from fst.loss.loss_network_file import load_loss_network
from fst.nets.card_schema import shapes_of
from fst.nets.style_card import Card, read_card, read_cards
from fst.nets.style_file import load_style, rewrite_card, save_styles
from fst.nets.style_names import find_style, shipped_styles
from fst.nets.transformer_net import TransformerNet
from fst.system import console
from fst.system.untrusted import read_json, read_yaml
from fst.training.checkpoint_files import Checkpoint, read_checkpoint, write_checkpoint
from tests.conftest import Train, picture, vgg_state
from tests.wrong_files import CONFIGS, CONTENTS, STRANGE, WRONG, compress

ESCAPES = "\x1b[2J\x1b]0;owned\x07\x1b[31mRED\x9b5m\u202egnp"


def forge(path: Path, out: Path, change: Callable[[dict[str, Any]], object] | str) -> Path:
    """A style file as a stranger writes it: another card, the same tensors.

    ``change`` works on an older card, which no checksum covers, or is the JSON itself.
    """
    with safe_open(str(path), "pt") as handle:
        metadata = handle.metadata()
    card = json.loads(metadata["card"])
    card.pop("sha256_all", None)
    if isinstance(change, str):
        text = change
    else:
        change(card)
        text = json.dumps(card)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(load(path.read_bytes()), out, {**metadata, "card": text})
    return out


def deep(card: dict[str, Any]) -> str:
    return json.dumps({**card, "training": "DEEP"}).replace(
        '"DEEP"', '{"a":' * 3000 + "1" + "}" * 3000
    )


@pytest.mark.parametrize("wrong", WRONG)
def test_a_card_that_lies_is_one_sentence(
    tiny_style: Path, tmp_path: Path, wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    forged = forge(tiny_style, tmp_path / "forged.safetensors", WRONG[wrong])
    for words in (["info", str(forged)], ["export", str(forged), "--format", "pt2"]):
        assert main(words) == 2
        shown = capsys.readouterr().err
        assert "forged.safetensors" in shown
        assert shown.count("\n") == 1


def test_a_card_that_promises_gigabytes_takes_no_memory(tiny_style: Path, tmp_path: Path) -> None:
    lies = forge(tiny_style, tmp_path / "wide.safetensors", WRONG["width 3000"])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(FstError, match="tensors do not fit the net in its card"):
        load_style(lies)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50e3  # kB


def test_one_bad_file_is_one_line_of_the_list(
    tiny_style: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    forge(tiny_style, Path("runs/inf/inf.safetensors"), WRONG["format of infinity"])
    deep_text = deep(json.loads(json.dumps({"name": "deep", "format_version": 1, "net": {}})))
    forge(tiny_style, Path("runs/deep/deep.safetensors"), deep_text)
    forge(tiny_style, Path("runs/sound/sound.safetensors"), lambda card: None)
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(shipped_styles()) + 3
    found = {line.split()[0]: line for line in lines}
    assert "damaged" in found["inf"]
    assert "damaged" in found["deep"]
    assert "Swirl" in found["sound"]
    for name in ("inf", "deep"):
        assert main(["info", name]) == 2
        assert "is damaged" in capsys.readouterr().err


def test_what_would_steer_a_terminal_is_shown_escaped(
    tiny_style: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    def retitle(card: dict[str, Any]) -> None:
        card["painting"] = {"title": f"Léger {ESCAPES}\nx", ESCAPES: 1}

    title = f"Léger {console.shown_in_line(ESCAPES)}\\nx"
    forged = forge(tiny_style, Path("runs/odd/odd.safetensors"), retitle)
    hostile = Path(f"{ESCAPES.replace('/', '')}.safetensors")
    hostile.write_bytes(b"no style")
    picture(40, 30, seed=1).save(f"{ESCAPES[:12]}.png")
    Path("broken\x1b[31m.png").write_bytes(b"")
    assert main(["list"]) == 0
    assert main(["info", str(forged)]) == 0
    assert title in capsys.readouterr().out
    assert main(["info", str(forged), "--json"]) == 0
    shown = capsys.readouterr().out
    assert json.loads(shown)["painting"]["title"] == f"Léger {ESCAPES}\nx"
    assert main(["info", str(hostile)]) == 2
    assert main(["info", ESCAPES]) == 2
    photos = [f"{ESCAPES[:12]}.png", "broken\x1b[31m.png"]
    assert main(["stylize", *photos, "--style", str(forged), "--backend", "torch"]) == 1
    told = capsys.readouterr()
    for text in (shown, told.out, told.err):
        assert not set(text) & set(ESCAPES) - set(map(chr, range(32, 127)))
    assert "\\x1b" in told.out
    assert "\\x1b" in told.err


def test_letters_of_all_scripts_are_shown_as_they_are() -> None:
    for text in ("Léger, Die große Welle", "神奈川沖浪裏", "a\u00a0b", "no.1 (2).jpg"):
        assert console.shown(text) == text


def test_a_covered_card_cannot_be_changed(tiny_style: Path, tmp_path: Path) -> None:
    assert len(read_card(tiny_style).sha256_all) == 64
    for other in (
        {"name": "wave"},
        {"net": {"output_gain": 0.2}},
        {"net": {"upsampling": "nearest"}},
    ):
        with safe_open(str(tiny_style), "pt") as handle:
            metadata = handle.metadata()
        card = json.loads(metadata["card"])
        net = other.get("net", {})
        card = {**card, **other, "net": {**card["net"], **net}}  # type: ignore[dict-item]
        forged = tmp_path / "forged.safetensors"
        metadata["card"] = json.dumps(card)
        save_file(load(tiny_style.read_bytes()), forged, metadata)
        with pytest.raises(FstError, match="card does not match its checksum"):
            load_style(forged)
        with pytest.raises(FstError, match="card does not match its checksum"):
            Stylizer(forged, trust_card=True)


def test_the_paintings_of_one_file_cannot_be_exchanged(tmp_path: Path) -> None:
    net = TransformerNet(width=4, residual_blocks=1, output_gain=0.1, paintings=2)
    with torch.no_grad():
        net.norm1.weight[1] = 2
    several, forged = tmp_path / "two.safetensors", tmp_path / "forged.safetensors"
    save_styles(several, net, [Card(name="sea", net={}), Card(name="sky", net={})], half=False)
    assert all(len(card.sha256_all) == 64 for card in read_cards(several))
    with safe_open(str(several), "pt") as handle:
        metadata = handle.metadata()
    top = json.loads(metadata["card"])
    top["styles"][0]["name"], top["styles"][1]["name"] = "sky", "sea"
    metadata["card"] = json.dumps(top)
    save_file(load(several.read_bytes()), forged, metadata)
    with pytest.raises(FstError, match="card does not match its checksum"):
        load_style(f"{forged}:sea")
    top["styles"] = [{"name": f"a{number}"} for number in range(30_000)]
    top["shared"] = {"net": {str(number): 1 for number in range(1000)}}
    metadata["card"] = json.dumps(top)
    save_file(load(several.read_bytes()), forged, metadata)
    with pytest.raises(FstError, match="its card holds too much"):
        read_cards(forged)


def test_an_older_file_is_read_with_a_line_and_its_gain_only_when_trusted(
    tiny_style: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console, "_NOTED", set())
    older = forge(tiny_style, Path("older.safetensors"), lambda card: None)
    for _ in range(2):
        assert main(["info", str(older)]) == 0
    assert capsys.readouterr().err.count("older format") == 1
    flipped = forge(
        tiny_style, Path("flipped.safetensors"), lambda card: card["net"].update(output_gain=0.5)
    )
    picture(40, 30, seed=1).save("photo.png")
    for words in (
        ["info", "flipped.safetensors"],
        ["export", "flipped.safetensors", "--format", "pt2"],
        ["stylize", "photo.png", "--style", "flipped.safetensors", "--backend", "torch"],
    ):
        assert main(words) == 2
        shown = capsys.readouterr().err
        assert "output_gain is 0.5" in shown
        assert "--trust-card" in shown
        if words[0] != "export":  # it takes seconds
            assert main([*words, "--trust-card"]) == 0
    with pytest.raises(FstError, match="--trust-card"):
        Stylizer(flipped)
    assert Stylizer(flipped, trust_card=True).card.net["output_gain"] == 0.5
    rewrite_card(older, read_card(older))
    assert read_card(older).sha256_all
    assert find_style(older) == older


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(
    tiny_style: Path, tmp_path: Path, value: float
) -> None:
    from safetensors.torch import save

    from fst.nets.style_file import tensors_sha256

    tensors = load(tiny_style.read_bytes())
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        bad = {name: tensor.to(dtype) for name, tensor in tensors.items()}
        bad["norm1.weight"][0] = value
        card = Card(name="tiny", net=read_card(tiny_style).net, sha256=tensors_sha256(save(bad)))
        metadata = {"format": "fst-style", "card": json.dumps(card.__dict__)}
        save_file(bad, tmp_path / "nan.safetensors", metadata)
        for read in (load_style, lambda path: Stylizer(path, backend="auto")):
            with pytest.raises(FstError, match=r"norm1\.weight of its net holds NaN or infinity"):
                read(tmp_path / "nan.safetensors")


@pytest.mark.parametrize(("width", "blocks", "paintings"), [(4, 2, 1), (3, 0, 3), (8, 5, 2)])
def test_the_shapes_of_a_card_are_those_of_the_net(width: int, blocks: int, paintings: int) -> None:
    net = TransformerNet(width=width, residual_blocks=blocks, output_gain=0.1, paintings=paintings)
    shapes = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    assert shapes_of(net.arguments, paintings) == shapes


def read_network(path: Path) -> torch.Tensor:
    network = load_loss_network(name="mine", file=path, mean=[0, 0, 0], std=[1, 1, 1])
    network.fingerprint()
    return network(torch.rand(1, 3, 16, 16), [network.layers[-1]])[network.layers[-1]]


def test_parameters_saved_as_they_are_make_a_loss_network(tmp_path: Path) -> None:
    state = vgg_state([[4, 4], [6]])
    torch.save(state, tmp_path / "tensors.pth")
    parameters = {name: torch.nn.Parameter(tensor) for name, tensor in state.items()}
    torch.save(parameters, tmp_path / "parameters.pth")
    torch.manual_seed(0)
    wanted = read_network(tmp_path / "tensors.pth")
    torch.manual_seed(0)
    found = read_network(tmp_path / "parameters.pth")
    assert torch.equal(found, wanted)
    assert not found.requires_grad


@pytest.mark.parametrize("strange", STRANGE)
def test_a_strange_loss_network_is_one_sentence_without_memory(
    tmp_path: Path, strange: str
) -> None:
    state: dict[str, Any] = vgg_state([[4, 4]])
    STRANGE[strange](state)
    torch.save(state, tmp_path / "strange.pth")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(FstError, match=r"strange\.pth") as caught:
        read_network(tmp_path / "strange.pth")
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100e3  # kB


def test_layers_of_absurd_numbers_are_none(tmp_path: Path) -> None:
    absurd = {f"features.{n}.weight": torch.zeros(1) for n in ("9" * 5000, "00", "\u0663")}
    torch.save(vgg_state([[4, 4]]) | absurd, tmp_path / "absurd.pth")
    assert read_network(tmp_path / "absurd.pth").shape == (1, 4, 16, 16)


def test_a_compressed_bomb_is_refused_before_it_unfolds(tmp_path: Path) -> None:
    state = vgg_state([[4, 4]]) | {"classifier.0.weight": torch.zeros(10_000_000)}
    torch.save(state, tmp_path / "big.pth")
    compress(tmp_path / "big.pth", tmp_path / "bomb.pth")
    (tmp_path / "big.pth").unlink()
    with pytest.raises(FstError, match="unfolds into more than it is"):
        read_network(tmp_path / "bomb.pth")


def test_a_pickle_is_refused_without_advice_to_switch_safety_off(tmp_path: Path) -> None:
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"a": Path("x")}))
    torch.save({"a": Path("x")}, tmp_path / "zip.pth")
    for name in ("plain.pth", "zip.pth"):
        with pytest.raises(FstError, match="cannot be read") as caught:
            read_network(tmp_path / name)
        for advice in ("weights_only", "trust", "safe_globals", "Weights only"):
            assert advice not in str(caught.value)


@pytest.mark.parametrize("contents", CONTENTS)
def test_a_checkpoint_with_a_right_checksum_and_wrong_contents_is_one_sentence(
    tmp_path: Path, contents: dict[str, Any]
) -> None:
    write_checkpoint(tmp_path / "x.ckpt", contents)
    with pytest.raises(FstError, match=r"x\.ckpt is not a checkpoint of fst: it has no"):
        Checkpoint.read(tmp_path / "x.ckpt")


def test_a_run_does_not_resume_from_what_fst_did_not_write(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train("trainer.max_steps=2", "previews.photos=0")
    (last, *_) = sorted(Path("runs/swirl/checkpoints").glob("step_*.ckpt"), reverse=True)
    whole = read_checkpoint(last)
    other = whole | {"callbacks": {key: {"x": 1} for key in whole["callbacks"]}}
    write_checkpoint(tmp_path / "other" / "odd.ckpt", other)
    words = ["resume=other/odd.ckpt", "trainer.max_steps=3", "previews.photos=0"]
    capsys.readouterr()
    assert train(*words, "run_dir=runs/other") == 2
    shown = capsys.readouterr().err
    assert "odd.ckpt is not a checkpoint" in shown
    assert "Traceback" not in shown
    run = RunFolder(Path("runs/swirl"))
    for text in ("null", "[]", "[" * 5000, "5", "{}", '{"inputs": 5}'):
        run.about_file.write_text(text)
        with pytest.raises(FstError, match="cannot be read") as caught:
            checkpoint_to_resume(run, {}, {}, resume="auto")
        assert "\n" not in str(caught.value)
        assert isinstance(run.about(), dict)


@pytest.mark.parametrize("config", CONFIGS)
def test_a_planted_config_is_one_sentence(
    tiny_style: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    config: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "planted"
    run.mkdir()
    style = run / "tiny.safetensors"
    style.write_bytes(tiny_style.read_bytes())
    (run / "config.yaml").write_bytes(CONFIGS[config].encode("utf-8", "surrogateescape"))
    assert main(["sheet", str(run)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    for of in (lambda: network_of(style, read_card(style)), lambda: painting_for(style)):
        with pytest.raises(FstError) as caught:
            of()
        assert "\n" not in str(caught.value)


def painting_for(style: Path) -> object:
    return painting_of(style, read_card(style), image=None, root=None)


def test_a_text_without_end_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "long.json", "wb") as file:
        file.truncate(20_000_000_000)
    for read in (read_json, read_yaml):
        with pytest.raises(FstError, match="more than any of ours"):
            read(tmp_path / "long.json")
