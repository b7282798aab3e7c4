"""One command of the docs, judged in this process: run with tiny sizes, or its words parsed."""

from __future__ import annotations

import argparse
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import docs_world
from omegaconf import DictConfig, OmegaConf

from fst.cli import HYDRA_COMMANDS, main
from fst.experiments.settings import check_settings
from fst.nets.style_names import find_style
from fst.system.paths import configs_dir

ROOT = docs_world.ROOT
TASKS = {"train": "train", "optimize": "run_optimize", "evaluate": "evaluate", "distill": "distill"}
TRAIN = """data.size=32 data.batch_size=2 data.workers=0 data.val_photos=2 style.size=64
  trainer.max_steps=2 trainer.val_check_interval=2 trainer.log_every_n_steps=1 previews.photos=1
  trainer.accelerator=cpu previews.size=32 previews.every=2 checkpoint_every=2
  resume=false"""
NETWORK = ["loss_network=file", f"loss_network.file={docs_world.NETWORK}"]
TINY = {
    "train": [*TRAIN.split(), *NETWORK],
    "optimize": ["size=[16,32]", "iterations=1", "style.size=64", "device=cpu", *NETWORK],
    "evaluate": ["photos=1", "sizes=[32]", "limit=2", "starts=[content]", "device=cpu", *NETWORK],
}
TINY_FLAGS = {"video": {"--size": "32"}, "stylize": {"--size": "32"}}
ONLY_PARSED = {  # by the command, or any word of it: what it takes to run it
    "fst download": "needs a network",
    "fst distill": "takes minutes",
    "fst benchmark": "takes minutes",
    "fst page": "needs a person",
    "fst app": "needs a person",
    "--camera": "needs a person",
    "experiment=gpu": "needs a GPU",
    "experiment=gallery_gpu": "needs a GPU",
    "hydra/launcher=submitit_slurm": "needs a cluster",
    "loss_network=vgg16": "needs a network",
    "pt2": "takes minutes",
    "aoti": "takes minutes",
}
FINISHED = {  # runs that a reader has by then
    "runs/multirun/DATE": ("runs/multirun/DATE/0", "runs/multirun/DATE/1"),
    "runs/killed": ("runs/killed",),
    "runs/painting": ("runs/painting",),
    "runs/painting-2": ("runs/painting-2",),
    "runs/painting-2/painting.safetensors": ("runs/painting-2",),
    "painting": ("runs/painting",),
}
NEEDS = {"--steady": ("cv2", "needs OpenCV"), "video": ("av", "needs PyAV")}


COMPOSED: set[tuple[str, ...]] = set()


class Wrong(Exception):
    """What is wrong with a command; without a sentence, where the command said it itself."""


class Parsed(BaseException):
    """A parser has understood all words, and the command must go no further."""


def judge(words: Sequence[str], *, run: bool) -> tuple[str, str]:
    """Run the command or parse it, in the folder where we are.

    Returns ``ran`` or ``parsed``, and why no more; raises ``Wrong``.
    """
    program, *rest = words
    if program not in PROGRAMS:
        if program.startswith("scripts/") and (ROOT / program).is_file():
            return "parsed", "takes minutes"
        raise Wrong(f"{program} is no program that the docs start; docs_judging.py lists them")
    return PROGRAMS[program](rest, run)


def _fst(words: Sequence[str], run: bool) -> tuple[str, str]:
    command, *rest = words
    why = why_not(words)
    if command in HYDRA_COMMANDS:
        composed(command, rest)
        if run and not why:
            if command == "evaluate":
                _finish(rest)
            keys = {"loss_network", *(word.partition("=")[0] for word in TINY[command])}
            kept = [word for word in rest if word.partition("=")[0] not in keys]
            if command == "train" and not re.search("strength|experiment=", str(kept)):
                kept += ["loss=relative"]  # a calibrated one takes its time
            called([command, "--run", *kept, *TINY[command]])
    elif run and not why:
        _finish(rest or ["runs/painting"] * (command == "runs"))
        called([command, *_small(command, rest)])
    else:
        parsed(lambda: main([command, *rest]))
    return ("ran", "") if run and not why else ("parsed", why)


def _finish(words: Sequence[str]) -> None:
    """Have the runs that words name, small ones, in the folder where we are."""
    for runs in [FINISHED[word] for word in words if word in FINISHED]:
        for seed, run_dir in enumerate(runs):
            if not list(Path(run_dir).glob("*.safetensors")):
                words = ["painting.jpg", "photos/", f"run_dir={run_dir}", f"seed={seed}"]
                called(["train", "--run", *words, "loss=relative", *TINY["train"]])


def why_not(words: Sequence[str]) -> str:
    """What a command of fst needs that is not here; empty if nothing."""
    for sign, why in ONLY_PARSED.items():
        if sign in words or f"fst {words[0]}" == sign:
            return why
    for sign, (module, why) in NEEDS.items():
        if sign in words and find_spec(module) is None:
            return why
    return ""


def called(words: list[str]) -> None:
    """``fst WORDS`` in this process; ``Wrong`` unless it ends well."""
    sys.argv = ["fst"]
    if main(words) != 0:
        raise Wrong


def _small(command: str, words: Sequence[str]) -> list[str]:
    """The words with small sizes, and leave to write over what an earlier line of a block wrote."""
    small = list(words)
    for flag, value in TINY_FLAGS.get(command, {}).items():
        if flag in small:
            small[small.index(flag) + 1] = value
    if command in ("stylize", "video", "paint") and "--skip-existing" not in small:
        small += ["--force"]
    return small


def parsed(call: Callable[[], Any]) -> None:
    """Call what reads words by argparse, and stop it there; ``Wrong`` if they are refused."""
    every, known = argparse.ArgumentParser.parse_args, argparse.ArgumentParser.parse_known_args

    def read_all(self: argparse.ArgumentParser, *given: Any, **named: Any) -> Any:
        with patch.object(argparse.ArgumentParser, "parse_known_args", known):
            every(self, *given, **named)
        raise Parsed

    def read_known(self: argparse.ArgumentParser, *given: Any, **named: Any) -> Any:
        known(self, *given, **named)
        raise Parsed

    with (
        patch.object(argparse.ArgumentParser, "parse_args", read_all),
        patch.object(argparse.ArgumentParser, "parse_known_args", read_known),
    ):
        try:
            call()
        except Parsed:
            return
        except SystemExit:
            pass
    raise Wrong


def composed(command: str, words: Sequence[str]) -> None:
    """Have Hydra compose and check the settings of a command, and of each job of a sweep."""

    def only_check(config: DictConfig) -> None:
        check_settings(config)
        start = OmegaConf.select(config, "warm_start")
        if start not in (None, "auto") and "/" not in start:
            find_style(start)

    sweep = {"-m", "--multirun"} & set(words)
    kept = [word for word in words if word not in ("-m", "--multirun")]
    choices = [_choices(word) if sweep else [word] for word in kept]
    jobs = [
        [some[min(number, len(some) - 1)] for some in choices]
        for number in range(max([len(some) for some in choices], default=1))
    ]
    with (
        patch(f"fst.commands.{command}.{TASKS[command]}", only_check),
        patch("shutil.which", lambda name: f"/usr/bin/{name}"),  # as where SLURM's srun is
    ):
        if any(word.startswith("hydra/launcher=") for word in kept):
            called([command, *jobs[0], "--cfg", "hydra"])
            jobs = [[w for w in job if not re.match(r"\+*hydra[/.]", w)] for job in jobs]
        for job in jobs:
            shape = (command, *sorted(map(_as_keys, job)))
            if shape not in COMPOSED:
                called([command, "--run", *job])  # --run spares Hydra a look for its mode
                COMPOSED.add(shape)


def _as_keys(word: str) -> str:
    """A word as far as it matters to Hydra: a value only where it names a file of settings.

    What is composed differs by those alone, and takes a quarter of a second. A style's name is
    looked up here, as there are many.
    """
    key, equals, value = word.partition("=")
    known = {path.stem for path in configs_dir().glob("style/*.yaml")}
    if (key == "style" and value in known) or (key == "warm_start" and value in {*known, "base"}):
        return key
    of_a_group = key in ("style", "warm_start") and "/" not in value
    return word if not equals or of_a_group or (configs_dir() / key).is_dir() else key


def _choices(word: str) -> list[str]:
    """``key=a,b`` of a sweep -> ``key=a`` and ``key=b``."""
    key, _, value = word.partition("=")
    return [f"{key}={one}" for one in re.split(r",(?![^\[]*\])", value)]


def _python(words: Sequence[str], run: bool) -> tuple[str, str]:
    first, *rest = words
    if (first, *rest[:1]) == ("-m", "fst"):
        return _fst(rest[1:], run)
    if first == "-m" and find_spec(rest[0]) is not None:
        return "parsed", "needs a person"
    if first == "-c":
        compile(rest[0], "-c", "exec")
        return "parsed", ""
    script = ROOT / first
    if not script.is_file():
        raise Wrong(f"there is no {first}")
    if "argparse" in script.read_text():
        sys.argv = [first, *rest]
        parsed(lambda: runpy.run_path(str(script), run_name="__main__"))
    return "parsed", "takes minutes"


def _pip(words: Sequence[str], run: bool) -> tuple[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    known = {need for needs in extras.values() for need in needs}
    given = iter(words[1:])
    for word in given:
        if word in ("-r", "-c"):
            file = next(given)
            if not (ROOT / file).is_file():
                raise Wrong(f"there is no {file}")
        elif (named := re.fullmatch(r"\.\[(.*)\]", word)) is not None:
            for extra in named[1].split(","):
                if extra not in extras:
                    raise Wrong(f"there is no extra {extra}")
        elif not word.startswith("-") and word != "." and word not in known:
            raise Wrong(f"{word} is none of the requirements in pyproject.toml")
    return "parsed", "needs a network"


def _make(words: Sequence[str], run: bool) -> tuple[str, str]:
    done = subprocess.run(
        ["make", "-n", "-C", str(ROOT), *words], capture_output=True, text=True, timeout=60
    )
    if done.returncode:
        raise Wrong(done.stderr.strip().splitlines()[-1])
    return "parsed", "needs a network"


def _docker(words: Sequence[str], run: bool) -> tuple[str, str]:
    text = (ROOT / "Dockerfile").read_text()
    stages = re.findall(r"^FROM .* AS (\S+)", text, flags=re.M | re.I)
    if words[0] == "build" and "--target" in words:
        stage = words[words.index("--target") + 1]
        if stage not in stages:
            raise Wrong(f"the Dockerfile has no stage {stage}")
    image = next((n for n, word in enumerate(words) if word in ("fst", "fst-light")), None)
    if words[0] == "run" and image is not None:
        _fst(words[image + 1 :], False)
    return "parsed", "needs Docker"


def _sbatch(words: Sequence[str], run: bool) -> tuple[str, str]:
    if any(word.startswith("--wrap=") for word in words):
        return "parsed", "needs a cluster"
    script = next((n for n, word in enumerate(words) if not word.startswith("-")), None)
    if script is None or not (ROOT / words[script]).is_file():
        raise Wrong(f"sbatch {shlex.join(words)}: there is no such script")
    if words[script] == "scripts/train.sbatch":
        composed("train", words[script + 1 :])
    return "parsed", "needs a cluster"


def _told(why: str) -> Callable[[Sequence[str], bool], tuple[str, str]]:
    return lambda words, run: ("parsed", why)


PROGRAMS: dict[str, Callable[[Sequence[str], bool], tuple[str, str]]] = {
    "fst": _fst,
    "python": _python,
    "pip": _pip,
    "make": _make,
    "docker": _docker,
    "sbatch": _sbatch,
    **dict.fromkeys(("scancel", "scontrol", "sinfo", "squeue", "srun"), _told("needs a cluster")),
    **dict.fromkeys(("cmake", "build/stylize", "trtexec"), _told("needs other tools")),
    "apptainer": _told("needs Apptainer"),
    "tensorboard": _told("needs a person"),
}
