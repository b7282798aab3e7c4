"""Run the steps of a Dockerfile without Docker, in an empty folder:

python scripts/proofs/dockerfile_steps.py [DOCKERFILE, default this project's]

COPY copies, WORKDIR changes the folder, RUN runs its line with bash, with a home folder and a
virtual environment of its own in place of the image's Python. Only pip's cache is shared. What
stands on this machine outside, such as its system libraries, is not the image's: this shows that
the steps follow from the files that are copied, not that the image has all they need. Needs 6 GB
for a while and a package index.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
KNOWN = {"FROM", "WORKDIR", "COPY", "RUN", "ENTRYPOINT", "CMD"}


def steps(text: str) -> Iterator[tuple[str, str]]:
    """The instructions of a Dockerfile with their arguments; continued lines are joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word.upper(), rest.strip()


def run_steps(dockerfile: Path, empty: Path) -> int:
    """Run them below the folder ``empty``; returns the exit code of the first that fails, or 0."""
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
    for word, rest in steps(dockerfile.read_text()):
        if word not in KNOWN:
            print(f"dockerfile_steps: {word} is not known here", file=sys.stderr)
            return 2
        print(f"{word} {rest}", flush=True)
        if word == "WORKDIR":
            folder = image / rest.lstrip("/")
            folder.mkdir(parents=True, exist_ok=True)
        elif word == "COPY":
            *sources, target = rest.split()
            for source in sources:
                copy(dockerfile.parent / source, folder / target, into=len(sources) > 1)
        elif word == "RUN":
            start = time.monotonic()
            code = subprocess.run(["bash", "-c", rest], cwd=folder, env=environment).returncode
            print(f"  exit code {code} after {time.monotonic() - start:.0f} s", flush=True)
            if code:
                return code
    return 0


def copy(source: Path, target: Path, *, into: bool) -> None:
    """As COPY does: a folder's content, or a file; caches of Python are in .dockerignore."""
    if source.is_dir():
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, target, ignore=ignore, dirs_exist_ok=True)
    else:
        shutil.copy(source, target / source.name if into else target)


if __name__ == "__main__":
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "Dockerfile"
    with tempfile.TemporaryDirectory() as made:
        sys.exit(run_steps(file.resolve(), Path(made)))
