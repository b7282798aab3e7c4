"""``fst <verb>``: imports only the verb that is asked for."""

from __future__ import annotations

import io
import os
import re
import signal
import sys
from importlib import import_module
from pathlib import Path

import fst
from fst.errors import FstError
from fst.system.signals import STOP

VERBS = {
    "train": "fit a net to one painting and a folder of photos (Hydra overrides: key=value)",
    "evaluate": "what a style's one pass is worth, in iterations of optimization (Hydra)",
    "optimize": "stylize one photo by optimization, slowly, without a trained style (Hydra)",
    "distill": "a slim loss network from a big one (Hydra overrides)",
    "stylize": "stylize photos in one pass each",
    "prepare": "photos made small once, so that training loads them faster",
    "benchmark": "time training and stylizing against a plain version of the same",
    "export": "write a style as one graph: .pt2 or .onnx",
    "sheet": "compare finished runs: pictures side by side and a ranked table",
    "download": "fetch torchvision's VGG weights ahead of time",
    "paint": "draw one of our own paintings",
    "list": "the styles at hand",
    "info": "a style's card",
}
HYDRA_VERBS = {"train", "distill", "optimize", "evaluate"}
VERB_VARIABLE = "FST_VERB"
# values that are paths or free text: Hydra's grammar would trip over spaces, quotes, commas ...
QUOTED_KEYS = {
    "style.image",
    "style.root",
    "style.file",
    "style.name",
    "style.title",
    "style.artist",
    "style.licence",
    "data.root",
    "data.val_root",
    "data.description",
    "data.licence",
    "loss_network.file",
    "loss_network.licence",
    "run_dir",
    "resume",
    "warm_start",
    "content",
    "start",
    "on_from",
    "teacher.file",
    "teacher2.file",
    "teacher2.heads",
}
LIST_KEYS = ("styles",)
LAYER_KEYS = ("loss.content_layers", "loss.style_layers", "teacher.layers", "teacher2.layers")


def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns the exit code. 2 is a mistake in what was asked for."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    for stream in (sys.stdout, sys.stderr):  # a file name need not be text that can be printed
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        print(f"fst {fst.__version__}")
        return 0
    if arguments[0] not in VERBS and {VERB_VARIABLE, "LOCAL_RANK"} <= os.environ.keys():
        # Lightning starts its other processes with Hydra's arguments only
        arguments.insert(0, os.environ[VERB_VARIABLE])
    verb, rest = arguments[0], arguments[1:]
    if verb not in VERBS:
        print(f"fst: '{verb}' is no verb; use one of {', '.join(VERBS)}", file=sys.stderr)
        return 2
    try:
        with STOP.watching():
            if verb in HYDRA_VERBS:
                os.environ[VERB_VARIABLE] = verb
                rest = prepare_overrides(rest)
            code = import_module(f"fst.commands.{verb}").main(rest)
            sys.stdout.flush()
            return int(code or 0)
    except FstError as error:
        print(f"fst {verb}: {error}", file=sys.stderr)
        return 2
    except SystemExit as stop:  # argparse and Hydra end so; a sentence is a user's mistake
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
            return 2
        return int(stop.code or 0)
    except KeyboardInterrupt:
        print(f"\nfst {verb}: stopped", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:  # the reader, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def usage() -> str:
    """The verbs, a line each."""
    lines = ["usage: fst VERB ...", ""]
    lines += [f"  {verb:<10}{meaning}" for verb, meaning in VERBS.items()]
    lines += ["", "`fst VERB --help` says more. `fst --version` prints the version."]
    return "\n".join(lines)


def prepare_overrides(arguments: list[str]) -> list[str]:
    """Make a user's ``key=value`` words safe for Hydra's grammar, before Hydra sees them.

    Flags go first, as argparse wants them. Values of path-valued keys are quoted, also
    in lists, which may come without their brackets. Layers of the
    loss may be named without Hydra's ``+``, as any layer of the network may be asked for. In a
    multirun (``-m``) a value with commas is left to Hydra as a sweep unless it names a file that
    exists. A word that is neither a flag nor ``key=value`` is refused with a sentence.
    """
    multirun = any(word in ("-m", "--multirun") for word in arguments)
    flags, prepared = [], []
    takes_value = False
    for word in arguments:
        if takes_value:
            flags.append(word)
            takes_value = False
            continue
        if word.startswith("-"):
            takes_value = word in (
                "--config-dir",
                "-cd",
                "--config-name",
                "-cn",
                "--config-path",
                "-cp",
                "--cfg",
                "-c",
                "--package",
                "-p",
                "--info",
                "-i",
                "--experimental-rerun",
            )
            flags.append(word)
            continue
        key, equals, value = word.partition("=")
        if not equals and not word.startswith("~"):
            raise FstError(f"'{word}' is not key=value; did you mean style={word}?")
        if key.lstrip("+") in QUOTED_KEYS and value not in ("", "null", "???"):
            sweep = multirun and "," in value and not Path(value).expanduser().exists()
            word = word if sweep else f"{key}={_quoted_once(value)}"
        if key in LIST_KEYS:
            word = f"{key}=[{','.join(map(_quoted_once, _items(value)))}]"
        if key.startswith(LAYER_KEYS):
            word = f"++{word}"
        prepared.append(word)
    return flags + prepared


def quote(value: str) -> str:
    """A string as one quoted value of Hydra's override grammar, taken literally."""
    value = value.replace("${", "\\${")
    # in quotes Hydra reads backslashes literally, but for those that stand before a quote
    value = re.sub(r"(\\*)('|$)", lambda m: 2 * m[1] + ("\\'" if m[2] else ""), value)
    return f"'{value}'"


def _items(value: str) -> list[str]:
    """The paths of ``[a,b]``, ``a,b`` or ``a``; one that exists may hold commas itself."""
    inside = value[1:-1] if value[:1] == "[" and value[-1:] == "]" else value
    for whole in (value, inside):
        if os.path.exists(whole):
            return [whole]
    return [item.strip() for item in inside.split(",") if item.strip()]


def _quoted_once(value: str) -> str:
    return value if _is_quoted(value) else quote(value)


def _is_quoted(value: str) -> bool:
    return (
        len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" and not os.path.exists(value)
    )
