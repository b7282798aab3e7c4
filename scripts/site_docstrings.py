"""For mkdocstrings (mkdocs.yml): examples of docstrings, ``>>> ...``, as blocks of Python.

In Markdown a line that begins with ``>>>`` is a quotation in a quotation in a quotation.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"(?:^>>> .*\n?)+", re.M)


class Examples(griffe.Extension):
    """Fences around what a reader may type."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for each class, function and module, once it is read."""
        if obj.docstring is not None:
            obj.docstring.value = EXAMPLE.sub(_fenced, obj.docstring.value)


def _fenced(found: re.Match[str]) -> str:
    lines = [line.removeprefix(">>> ") for line in found[0].splitlines()]
    return "\n".join(["```python", *lines, "```", ""])
