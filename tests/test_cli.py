import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from fst.cli import COMMANDS, main
from fst.errors import FstError, pip_install
from fst.experiments.overrides import prepare_overrides
from fst.experiments.settings import compose

from .conftest import Exported

ODD_NAMES = [
    "photo (1).jpg",
    "van Gogh's.jpg",
    'double "quoted".jpg',
    "a#1.jpg",
    "a,b.jpg",
    "a=b.jpg",
    "[x]{y}.jpg",
    "Käthe Grüße.jpg",
    "~/x.jpg",
    "back\\slash.jpg",
    "end\\",
    "it's \\'worse\\' .jpg",
    "$HOME ${x}.jpg",
    "100%:*?!&;|<>.jpg",
    "null.jpg",
    "日本.jpg",
    " spaces ",
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_file_name_reaches_the_config_literally(name: str) -> None:
    words = [f"style.image={name}", f"data.root={name}"]
    config = compose("train", words)
    assert config.style.image == name
    assert config.data.root == name


def test_preparing_twice_changes_nothing() -> None:
    once = prepare_overrides(["style.image=photo (1).jpg", "seed=3"])
    assert prepare_overrides(once) == once


def test_a_sweep_over_paintings_stays_a_sweep_but_a_file_with_a_comma_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c,d.jpg").touch()
    parse = OverridesParser.create().parse_override
    sweep = prepare_overrides(["-m", "style.image=a.jpg,b.jpg"])[1]
    assert parse(sweep).is_sweep_override()
    single = prepare_overrides(["-m", "style.image=c,d.jpg"])[1]
    assert not parse(single).is_sweep_override()
    several = parse(prepare_overrides(["-m", "styles=[a,b], [c (1).jpg,b]"])[1])
    lists = [yaml.safe_load(choice) for choice in several.sweep_string_iterator()]
    assert lists == [["a", "b"], ["c (1).jpg", "b"]]
    assert parse(prepare_overrides(["-m", "styles=a,b"])[1]).value() == ["a", "b"]


@pytest.mark.parametrize(
    ("word", "items"),
    [
        ("styles=[wave,runs/a b/x.safetensors]", ["wave", "runs/a b/x.safetensors"]),
        ("styles=wave", ["wave"]),
        ("styles=wave, it's (1).safetensors", ["wave", "it's (1).safetensors"]),
        ("styles=[]", []),
        ("styles=['wave']", ["wave"]),
    ],
)
def test_lists_of_styles_may_hold_any_path(word: str, items: list[str]) -> None:
    (prepared,) = prepare_overrides([word])
    assert OverridesParser.create().parse_override(prepared).value() == items
    assert prepare_overrides([prepared]) == [prepared]


def test_a_bare_word_is_refused_with_a_suggestion() -> None:
    with pytest.raises(FstError, match="did you mean style=starry_night"):
        prepare_overrides(["starry_night"])
    words = ["--config-dir", "mine", "--cfg", "job", "~loss.style_layers.relu4_3"]
    assert prepare_overrides(words) == words


def test_help_version_and_an_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(command in out for command in COMMANDS)
    assert main(["--version"]) == 0
    assert main(["doodle"]) == 2
    assert "unknown command 'doodle'; use one of train" in capsys.readouterr().err


def imported_by(code: str) -> set[str]:
    code += "\nimport sys; print(' '.join(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(result.stdout.splitlines()[-1].split())


def test_python_dash_m_fst_is_the_command() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "fst", "nope"], capture_output=True, text=True, check=False
    )
    assert told.returncode == 2
    assert told.stderr.startswith("fst: unknown command 'nope'; use one of")


def test_help_does_not_pay_for_torch() -> None:
    modules = imported_by("from fst.cli import main; main(['--help'])")
    assert not modules & {"torch", "PIL", "hydra", "numpy"}


def test_using_a_model_needs_neither_hydra_nor_lightning(
    tiny_style: Path, photos: Path, exported: Callable[..., Exported]
) -> None:
    modules = imported_by(
        "import sys\n"
        "for name in ('hydra', 'omegaconf', 'pytorch_lightning', 'tensorboard'):\n"
        "    sys.modules[name] = None\n"  # importing them raises
        "from fst.cli import main\n"
        "import os, tempfile; os.chdir(tempfile.mkdtemp())\n"
        f"assert main(['stylize', {str(photos / 'photo_01.jpg')!r}, '--style', "
        f"{str(tiny_style)!r}, '-o', 'o.png']) == 0\n"
        f"assert main(['info', {str(tiny_style)!r}]) == 0\n"
        "from fst.inference import pt2_file\n"  # one made before: tracing the net takes seconds
        f"packed = open({str(exported('pt2').path)!r}, 'rb').read()\n"
        "pt2_file.pack_pt2 = lambda net: lambda extra: packed\n"
        f"assert main(['export', {str(tiny_style)!r}, '--format', 'pt2']) == 0\n"
        "for name in ('hydra', 'omegaconf', 'pytorch_lightning', 'tensorboard'):\n"
        "    del sys.modules[name]\n"
    )
    assert not modules & {"hydra", "omegaconf", "pytorch_lightning", "tensorboard"}


def test_an_optional_part_is_never_asked_of_a_registry_by_our_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "'onnxruntime>=" in pip_install("onnx")
    monkeypatch.setattr("importlib.metadata.requires", lambda name: ["torch>=2.11"])
    assert pip_install("onnx") == "pip install -e '.[onnx]' in fst's own folder"
