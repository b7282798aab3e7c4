"""fst completion SHELL: what completes the words of fst on TAB, for bash, zsh or fish.

fst completion bash >> ~/.bashrc
fst completion zsh >> ~/.zshrc
fst completion fish > ~/.config/fish/completions/fst.fish
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout, suppress
from importlib import import_module
from io import StringIO
from pathlib import Path

from fst.nets.style_names import shipped_styles, trained_styles
from fst.system.console import Parser
from fst.system.paths import configs_dir

SCRIPTS = {
    "bash": """\
_fst() {
  local IFS=$'\\n'
  COMPREPLY=($(fst completion bash --line "${COMP_LINE:0:COMP_POINT}" 2>/dev/null))
  [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -o default -F _fst fst""",
    "zsh": """\
autoload -Uz compinit && (( $+functions[compdef] )) || compinit
_fst() {
  local -a found
  found=("${(@f)$(fst completion zsh --line "$LBUFFER" 2>/dev/null)}")
  if [[ -n ${found[1]} ]]; then compadd -Q -S '' -- $found; else compset -P '*='; _files; fi
}
compdef _fst fst""",
    "fish": "complete -c fst -a '(fst completion fish --line (commandline -cp) 2>/dev/null)'",
}
STYLE_FLAGS = ("--style", "-s")
STYLE_COMMANDS = ("info", "export", "pack", "page", "evaluate")  # whose words are styles


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="fst completion", description="Print what completes fst's words on TAB.")
    parser.add_argument("shell", choices=sorted(SCRIPTS), help="whose words are completed")
    parser.add_argument("--line", help="print what may stand at the end of a line so far")
    options = parser.parse_args(argv)
    if options.line is None:
        print(SCRIPTS[options.shell])
        return 0
    for word in completed(options.line, parts=options.shell == "bash"):
        print(word)
    return 0


def completed(line: str, *, parts: bool = False) -> list[str]:
    """The words that may stand at the end of a line; none where files are to be completed.

    With ``parts`` only what comes after the last ``=``, where bash begins another word.
    """
    try:
        words = shlex.split(line)
    except ValueError:  # within quotes
        return []
    last = "" if not words or line[-1:].isspace() else words.pop()
    known = commands() if len(words) < 2 else candidates(words[1], words[-1], last)
    found = [word for word in known if word.startswith(last)]
    cut = last.rfind("=") + 1 if parts else 0
    return sorted({word[cut:] for word in found})


def commands() -> list[str]:
    """The commands there are: their files say so in the first line."""
    files = Path(__file__).parent.glob("*.py")
    return [path.stem for path in files if path.read_text().startswith(f'"""fst {path.stem}')]


def candidates(command: str, before: str, last: str) -> Iterable[str]:
    """What may follow after ``fst COMMAND ... BEFORE``, where ``last`` is begun."""
    if (configs_dir() / f"{command}.yaml").is_file():  # Hydra composes for it
        return settings(command, last)
    if command not in commands():
        return []
    styles = [*shipped_styles(), *trained_styles()]
    if before in STYLE_FLAGS:
        return [*styles, "all"]
    choices, flags = taken(command, before)
    if choices:
        return choices
    if last.startswith("-"):
        return flags
    return styles if command in STYLE_COMMANDS else []


def taken(command: str, before: str) -> tuple[list[str], list[str]]:
    """The values that an option takes, if they are listed; and the options of a command."""
    Parser.COLLECTED = []
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()), suppress(SystemExit):
            import_module(f"fst.commands.{command}").main([])
        parsers = list(Parser.COLLECTED)
    finally:
        Parser.COLLECTED = None
    actions: list[argparse.Action] = [a for parser in parsers for a in parser._actions]
    chosen = [a.choices for a in actions if before in a.option_strings and a.choices]
    if not chosen and not before.startswith("-"):
        chosen = [a.choices for a in actions if not a.option_strings and a.choices]
    return [str(c) for one in chosen for c in one], [o for a in actions for o in a.option_strings]


def settings(command: str, last: str) -> list[str]:
    """The settings of a command that Hydra composes for: ``KEY=``, or a group's ``KEY=CHOICE``."""
    import yaml

    text = (configs_dir() / f"{command}.yaml").read_text(encoding="utf-8")
    own = yaml.safe_load(text)
    groups = [next(iter(one)) for one in own.pop("defaults", []) if isinstance(one, dict)]
    own.pop("hydra", None)
    group = last.partition("=")[0]
    if "=" in last and group in groups:
        return [f"{group}={path.stem}" for path in (configs_dir() / group).glob("*.yaml")]
    keys = {key: value for key, value in own.items() if key not in groups}
    for name in groups:
        for path in (configs_dir() / name).glob("*.yaml") if " " not in name else ():
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
            if name != "experiment" and isinstance(content, dict):
                keys[name] = {**(keys.get(name) or {}), **content}
    shared = yaml.safe_load((configs_dir() / "style_defaults.yaml").read_text(encoding="utf-8"))
    if "style" in groups:
        keys["style"] = {**shared, **(keys.get("style") or {})}
    found = [f"{name}=" for name in groups if " " not in name]
    for key, value in keys.items():
        inner = value if isinstance(value, dict) else {}
        found += [f"{key}.{name}=" for name in inner if re.fullmatch(r"\w+", str(name))]
        found += [] if inner else [f"{key}="]
    return [*found, *(flag for flag in ("--help", "--cfg", "--log", "-m") if last[:1] == "-")]
