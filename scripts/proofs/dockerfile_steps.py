"""Run the steps of a Dockerfile without Docker, in an empty folder:

python scripts/proofs/dockerfile_steps.py [--file DOCKERFILE] [--target STAGE] \\
    [--photos FOLDER WORDS...]

The stage is the last one, as with docker build, unless one is named. COPY copies, WORKDIR changes
the folder, RUN runs its line with bash, with a home folder and a virtual environment of its own in
place of the image's Python, and as the stage's USER from there on, which only root can show. With
`--photos`, the stage's command is given those words at the end, as by `docker run -v
FOLDER:/photos`, in that folder, without a home, and what its user has left anywhere else is an
error. Only pip's cache is shared. What stands on this machine outside, such as its system
libraries, is not the image's: this shows that the steps follow from the files that are copied, not
that the image has all they need. The full stage needs 6 GB for a while, both a package index.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
KNOWN = {"FROM", "ARG", "WORKDIR", "COPY", "RUN", "USER", "ENTRYPOINT", "CMD"}


def steps(text: str) -> Iterator[tuple[str, str]]:
    """The instructions of a Dockerfile with their arguments; continued lines are joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word.upper(), rest.strip()


def stages(text: str) -> dict[str, list[tuple[str, str]]]:
    """The steps of each stage, FROM first, by its name or its number."""
    found: dict[str, list[tuple[str, str]]] = {}
    for word, rest in steps(text):
        if word == "FROM":
            _, _, name = rest.lower().partition(" as ")
            found[name.strip() or str(len(found))] = steps_of = []
        steps_of.append((word, rest))
    return found


def run_steps(
    dockerfile: Path,
    empty: Path,
    *,
    target: str | None = None,
    photos: Path | None = None,
    words: Sequence[str] = (),
) -> int:
    """Run them below the folder ``empty``; returns the exit code of the first that fails, or 0.

    Then the stage's command with ``words`` in the folder ``photos``, if there is one.
    """
    every = stages(dockerfile.read_text())
    chosen = [*every][-1] if target is None else target
    if chosen not in every:
        print(f"dockerfile_steps: there is no stage {chosen}", file=sys.stderr)
        return 2
    home, python, image = empty / "home", empty / "python", empty / "image"
    home.mkdir()
    venv.create(python, with_pip=True)
    folder = image
    environment = {
        "HOME": str(home),
        "PATH": f"{python / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        "VIRTUAL_ENV": str(python),
        "LANG": "C.UTF-8",
        "PIP_CACHE_DIR": os.environ.get("PIP_CACHE_DIR", str(Path.home() / ".cache" / "pip")),
    }
    outside = re.compile(r"PIP_|SSL_CERT_|(https?|no)_proxy$", re.I)  # how the index is reached
    environment |= {key: value for key, value in os.environ.items() if outside.match(key)}
    user: dict[str, Any] = {}
    command: list[str] = []
    for word, rest in every[chosen]:
        if word not in KNOWN or (word == "FROM" and rest.split()[0].lower() in every):
            print(f"dockerfile_steps: {word} {rest} is not known here", file=sys.stderr)
            return 2
        print(f"{word} {rest}", flush=True)
        if word == "WORKDIR":
            folder = image / rest.lstrip("/")
            folder.mkdir(parents=True, exist_ok=True)
        elif word == "ARG":
            name, _, value = rest.partition("=")
            environment.setdefault(name, os.environ.get(name, value))
        elif word == "USER":
            user = of_user(rest)
            empty.chmod(0o755)  # which tempfile makes for us alone
        elif word == "COPY":
            *sources, place_in = rest.split()
            for source in sources:
                copy(dockerfile.parent / source, folder / place_in, into=len(sources) > 1)
        elif word == "ENTRYPOINT":
            command = json.loads(rest)
        elif word == "RUN":
            code = run(["bash", "-c", rest], folder, environment, user)
            if code:
                return code
    if photos is None:
        return 0
    environment["HOME"] = "/"  # as Docker has it for a user without a name
    print(f"docker run -v {photos}:/photos {' '.join(words)}", flush=True)
    code = run([*command, *words], photos, environment, user)
    if user:
        left = [path for path in empty.rglob("*") if path.lstat().st_uid == user["user"]]
        print(f"  {len(left)} files of the user outside the folder")
        code = code or int(bool(left))
    return code


def of_user(numbers: str) -> dict[str, Any]:
    """``UID:GID`` as subprocess takes it; nothing where we are not root, who alone may do it."""
    if os.getuid() != 0:
        print("  run as who we are: only root can be another")
        return {}
    number, _, group = numbers.partition(":")
    return {"user": int(number), "group": int(group or number), "extra_groups": []}


def run(words: list[str], folder: Path, environment: dict[str, str], user: dict[str, Any]) -> int:
    """Run a program, say its exit code and how long it took, return the code."""
    start = time.monotonic()
    program = shutil.which(words[0], path=environment["PATH"]) or words[0]
    code = subprocess.run([program, *words[1:]], cwd=folder, env=environment, **user).returncode
    print(f"  exit code {code} after {time.monotonic() - start:.0f} s", flush=True)
    return code


def copy(source: Path, target: Path, *, into: bool) -> None:
    """As COPY does: a folder's content, or a file; caches of Python are in .dockerignore."""
    if source.is_dir():
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, target, ignore=ignore, dirs_exist_ok=True)
    else:
        shutil.copy(source, target / source.name if into else target)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the steps of a Dockerfile without Docker.")
    parser.add_argument("--file", type=Path, default=ROOT / "Dockerfile")
    parser.add_argument("--target", metavar="STAGE", help="default: the last")
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="to run the command in")
    parser.add_argument("words", nargs=argparse.REMAINDER, help="of the command")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        return run_steps(
            asked.file.resolve(),
            Path(made).resolve(),
            target=asked.target,
            photos=asked.photos.resolve() if asked.photos else None,
            words=asked.words,
        )


if __name__ == "__main__":
    sys.exit(main())
