"""``fst COMMAND``: imports only the command that is asked for."""

from __future__ import annotations

import atexit
import io
import os
import signal
import sys
from importlib import import_module

import fst
from fst.errors import FstError
from fst.system.console import LOG_VARIABLE, RED, as_json, painted, say, shown
from fst.system.installed import is_of_full, needs_full, usage_of
from fst.system.memory import available_memory, bound_of_memory, says_no_memory
from fst.system.signals import STOP

COMMANDS = {
    "train": "fit a net to one painting and a folder of photos (Hydra overrides: key=value)",
    "evaluate": "what a style's one pass is worth, in iterations of optimization (Hydra)",
    "optimize": "stylize one photo by optimization, slowly, without a trained style (Hydra)",
    "distill": "a slim loss network from a big one (Hydra overrides)",
    "stylize": "stylize photos in one pass each",
    "page": "a page of this machine that stylizes photos in the browser",
    "video": "stylize a film, a GIF or a folder of frames",
    "prepare": "photos made small once, so that training loads them faster",
    "benchmark": "time training and stylizing against a plain version of the same",
    "export": "write a style as one graph, for other programs: .onnx, .pt2, Core ML",
    "pack": "a folder for a model hub: a style, its model card, license and pictures",
    "runs": "what every run below a folder is doing, or has ended as",
    "sheet": "compare finished runs: pictures side by side and a ranked table",
    "download": "fetch torchvision's VGG weights ahead of time",
    "paint": "draw one of our own paintings",
    "list": "the styles there are: shipped, and trained here",
    "info": "a style's label, or with --json its whole card",
    "completion": "what completes fst's words on TAB: bash, zsh, fish",
}
HYDRA_COMMANDS = {"train", "distill", "optimize", "evaluate"}
COMMAND_VARIABLE = "FST_VERB"
LOGS = ("text", "json")  # how the commands that Hydra composes for say what they do


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code. 2 is a mistake in what was asked for."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if argv is None:  # a program of its own, whose end this is
        atexit.register(STOP.leave_at_exit)
    for stream in (sys.stdout, sys.stderr):  # not every file name can be printed
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        print(f"fst {fst.__version__}")
        return 0
    if arguments[0] not in COMMANDS and {COMMAND_VARIABLE, "LOCAL_RANK"} <= os.environ.keys():
        # Lightning starts its other processes with Hydra's arguments only
        arguments.insert(0, os.environ[COMMAND_VARIABLE])
    command, rest = arguments[0], arguments[1:]
    if command not in COMMANDS:
        from difflib import get_close_matches  # takes its time

        near = get_close_matches(command, COMMANDS, n=1)
        mean = f" (did you mean {near[0]}?)" if near else ""
        known = ", ".join(COMMANDS)
        unknown = f"unknown command '{shown(command)}'{mean}; use one of {known}"
        print(f"fst: {unknown}", file=sys.stderr)
        return 2
    before = os.environ.get(LOG_VARIABLE)
    try:
        with STOP.watching():
            if command in HYDRA_COMMANDS:
                rest = without_log(rest)
                os.environ[COMMAND_VARIABLE] = command
            code = import_module(f"fst.commands.{command}").main(rest)
            sys.stdout.flush()
            return int(code or 0)
    except FstError as error:
        return failed(f"fst {command}: {shown(error)}", error.exit_code)
    except SystemExit as stop:  # argparse and Hydra end so; a sentence is a user's mistake
        if isinstance(stop.code, str):
            return failed(shown(stop.code), 2)
        if STOP.left:
            return stopped(command, int(stop.code or 0))
        return int(stop.code or 0)
    except KeyboardInterrupt:
        return stopped(command, 128 + signal.SIGINT)
    except ModuleNotFoundError as error:
        if not is_of_full(error):
            raise
        sentence = needs_full(f"fst {command}", str(error.name))
        if command in HYDRA_COMMANDS and {"-h", "--help"} & {*rest}:
            print(f"{usage_of(command)}\n\n{sentence}; this help then shows every setting")
            return 0
        print(sentence, file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError, ImportError) as error:
        if not says_no_memory(error):
            raise
        free = f"{available_memory() / 1e9:.1f} GB are free{bound_of_memory()}"
        print(
            f"fst {command}: there is not enough memory ({free}); give it more, or less to do: "
            "smaller pictures or batches",
            file=sys.stderr,
        )
        return 2
    except BrokenPipeError:  # the reader, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    finally:
        if before is None:
            os.environ.pop(LOG_VARIABLE, None)


def stopped(command: str, code: int) -> int:
    """Say that a signal has ended a command at once; returns its exit code."""
    print(f"\nfst {command}: stopped", file=sys.stderr)
    STOP.exit_code = code
    return code


def without_log(words: list[str]) -> list[str]:
    """The words of a command but ``--log json``, which is kept in mind; ``FstError`` if another."""
    kept, left = [], list(words)
    while left:
        word = left.pop(0)
        if word.partition("=")[0] != "--log":
            kept.append(word)
            continue
        kind = word[6:] if "=" in word else left.pop(0) if left else ""
        if kind not in LOGS:
            raise FstError(f"--log {kind} is unknown; use one of {', '.join(LOGS)}")
        os.environ[LOG_VARIABLE] = kind
    return kept


def failed(sentence: str, code: int) -> int:
    """Say why a command did not do what was asked, in red on a terminal; returns its exit code."""
    who, colon, why = sentence.partition(": ")
    print(painted(who + colon, RED, sys.stderr) + why, file=sys.stderr)
    if as_json():
        say(why or who, event="error", exit_code=code)
    return code


def usage() -> str:
    """The commands, a line each."""
    lines = ["usage: fst COMMAND ...", ""]
    lines += [f"  {command:<12}{meaning}" for command, meaning in COMMANDS.items()]
    lines += ["", "`fst COMMAND --help` says more. `fst --version` prints the version."]
    return "\n".join(lines)
