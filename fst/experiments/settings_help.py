"""``fst COMMAND --help`` where Hydra composes: every setting with the comment beside it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from fst.system.console import examples_of
from fst.system.paths import configs_dir

WIDTH = 100  # columns
FILES = "file://"
LINE = re.compile(r"(?P<indent> *)(?P<key>\w+):(?P<rest>.*)")
QUOTED = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')""")


def settings_help(name: str, words: Sequence[str], folder: str | None = None) -> str:
    """The help of ``configs/NAME.yaml``: its choices, then its settings as ``words`` make them.

    The comments are those of the files that the settings come from; where several have one, that
    of the file which has the last word counts. ``folder`` is a user's own, as ``--config-dir``
    names it. Raises what Hydra raises for words that it does not understand.
    """
    with hydra.initialize_config_dir(str(configs_dir()), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        overrides = list(words)
        if folder is not None:
            overrides.append(f"hydra.searchpath=['{FILES}{Path(folder).resolve()}']")
        composed = hydra.compose(name, overrides, return_hydra_config=True)
        told, choices = composed.hydra.help, dict(composed.hydra.runtime.choices)
        groups = {
            group: sorted(loader.get_group_options(group))
            for group in reversed(choices)
            if not group.startswith("hydra/")
        }
        defaults = loader.compute_defaults_list(name, overrides, RunMode.RUN).defaults
        places = [configs_dir()]
        if folder is not None:
            places.append(Path(folder))
            for group in groups:
                more = {path.stem for path in (Path(folder) / group).glob("*.yaml")}
                groups[group] = sorted({*groups[group], *more})
    plain = OmegaConf.to_container(composed, resolve=False)
    assert isinstance(plain, dict)
    settings: dict[str, Any] = {str(key): value for key, value in plain.items() if key != "hydra"}
    comments: dict[str, str] = {}
    headings: dict[str, str] = {}
    for default in defaults:
        path = default.config_path or ""
        text = next((f.read_text() for p in places if (f := p / f"{path}.yaml").is_file()), None)
        if text is None or path.startswith("hydra/"):
            continue
        heading, found = comments_of(text)
        headings[path] = heading
        package = f"{default.package}." if default.package else ""
        comments |= {f"{package}{key}": comment for key, comment in found.items()}
    lines = [str(told.header).rstrip(), ""]
    lines += ["Choices, GROUP=CHOICE; those in [brackets] are taken:"]
    for group, options in groups.items():
        taken = choices[group]
        named = ", ".join(f"[{o}]" if o == taken else o for o in options)
        lines += wrapped(named, first=f"  {group:<13} ", then=" " * 16)
        heading = headings.get(f"{group}/{taken}", "")
        if group in settings and taken and heading:
            comments[group] = f"{group}={taken}: {heading}"
        elif taken and heading:
            lines += wrapped(f"{group}={taken}: {heading}", first=" " * 16 + "# ")
    lines += ["", "Settings, KEY=VALUE or GROUP.KEY=VALUE:"]
    lines += [*lines_of(settings, comments), "", str(told.footer).rstrip()]
    lines += ["", examples_of(name)] if examples_of(name) else []
    return "\n".join(lines)


def comments_of(text: str) -> tuple[str, dict[str, str]]:
    """The comment at the head of a YAML file, and those of its settings by their dotted keys.

    The comment of a setting stands behind it or in the lines above.
    """
    heading: list[str] = []
    found: dict[str, str] = {}
    above: list[str] = []
    parents: list[tuple[int, str]] = []  # (indent, key)
    at_head = True
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("#"):
            said = stripped.lstrip("# ")
            if not said.startswith("@package"):
                (heading if at_head else above).append(said)
            continue
        at_head = False
        match = LINE.fullmatch(line)
        if match is None:
            above = []
            continue
        indent = len(match["indent"])
        parents = [parent for parent in parents if parent[0] < indent]
        parents.append((indent, match["key"]))
        comment = " ".join([*above, *behind(match["rest"])])
        above = []
        if comment:
            found[".".join(key for _, key in parents)] = comment
    return " ".join(heading), found


def behind(rest: str) -> list[str]:
    """The comment behind a value, if there is one; a ``#`` inside quotes is none."""
    quoted = QUOTED.match(rest)
    _, sign, comment = (rest[quoted.end() :] if quoted else rest).partition(" #")
    return [comment.strip()] if sign and comment.strip() else []


def lines_of(
    settings: Mapping[str, Any], comments: Mapping[str, str], prefix: str = ""
) -> Iterator[str]:
    """Settings as YAML with their comments, groups last; one of a few values is one line."""
    indent = "  " * prefix.count(".")
    blocks: list[str] = []
    for key, value in settings.items():
        name = f"{prefix}{key}"
        comment = comments.get(name, "")
        inner = any(other.startswith(f"{name}.") for other in comments)
        line = f"{indent}{key}: {flow(value)}"
        if isinstance(value, Mapping) and value and (inner or len(line) > WIDTH):
            blocks += [] if prefix else [""]
            blocks += commented(f"{indent}{key}:", comment, indent)
            blocks += lines_of(value, comments, f"{name}.")
        else:
            yield from commented(line, comment, indent)
    yield from blocks


def commented(line: str, comment: str, indent: str) -> list[str]:
    """A line with its comment behind it, or above where it would be too long."""
    whole = f"{line}  # {comment}" if comment else line
    if len(whole) <= WIDTH:
        return [whole]
    return [*wrapped(comment, first=f"{indent}# "), line] if comment else [line]


def wrapped(text: str, *, first: str, then: str | None = None) -> list[str]:
    """Text in lines of ``WIDTH`` columns that begin with ``first``, then with ``then``."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=first if then is None else then,
        break_long_words=False,
        break_on_hyphens=False,
    )


def flow(value: Any) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6)
    return text.removesuffix("...\n").strip()
