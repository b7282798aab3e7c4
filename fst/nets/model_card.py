"""A style's card as the README.md of a model hub: front matter for machines, a page for people.

The front matter is YAML, with the keys that Hugging Face's hub reads (its "Model Cards": license,
license_name, license_link, library_name, pipeline_tag, tags). What a card says may be a stranger's
words, and stands in the page as text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fst.nets.style_card import Card

MIT = "mit"
MIT_TEXT = """MIT License

Copyright (c) {year} {author}

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""
# licenses that a hub knows by these words; any other is `other`, under its own name
KNOWN_LICENSES = (MIT, "apache-2.0", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0")
SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|!~$&])")  # what Markdown or HTML would read as its own
USE = """```
fst stylize photo.jpg --style {file}
```

```python
from fst import Stylizer

Stylizer("{file}")("photo.jpg").save("picture.jpg")
```
"""
USE_ONNX = """`{file}` needs nothing of fst (`pip install onnxruntime pillow`):

```python
import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])
photo = np.asarray(Image.open("photo.jpg").convert("RGB"))  # (height, width, 3), 0 .. 255
pixels = photo.transpose(2, 0, 1)[None].copy()  # (1, 3, height, width)
(stylized,) = session.run(None, {{"pixels": pixels}})
Image.fromarray(stylized[0].transpose(1, 2, 0)).save("picture.jpg")
```
"""


def model_card(
    card: Card,
    *,
    license_id: str,
    file: str,
    onnx: str | None,
    pictures: Mapping[str, str],
) -> str:
    """The README.md of a folder with a style: ``file``, maybe ``onnx``, and ``pictures``.

    ``pictures`` has what is said of each by its file. ``license_id`` is that of the weights.
    """
    painting = card.painting
    title = plain(painting.get("title") or card.name)
    by = f" by {plain(painting['artist'])}" if painting.get("artist") else ""
    parts = [
        _front_matter(license_id, onnx is not None),
        f"# {plain(card.name)}: style transfer",
        f"A feed-forward network that repaints photos in the manner of *{title}*{by}, in one pass, "
        "after Johnson, Alahi and Fei-Fei, *Perceptual Losses for Real-Time Style Transfer and "
        "Super-Resolution* (ECCV 2016). Photos may have any size from 16 pixels a side.",
        *(f"![{text}]({name})\n\n{text}" for name, text in pictures.items()),
        "## Use",
        USE.format(file=file).rstrip(),
        *([USE_ONNX.format(file=onnx).rstrip()] if onnx else []),
        "## What it was made of",
        _table(_rows(card)),
        "## License",
        f"The weights: {plain(license_id)}, see `LICENSE`. The painting, the photos and the loss "
        "network that it was trained with keep their own, named above; none of them is part of "
        "this folder.",
    ]
    return "\n\n".join(parts) + "\n"


def plain(text: object) -> str:
    """Somebody's words on one line, with nothing in them that Markdown or HTML would act on."""
    return SPECIAL.sub(r"\\\1", " ".join(str(text).split()))


def _front_matter(license_id: str, onnx: bool) -> str:
    import yaml

    said: dict[str, Any] = {"license": license_id}
    if license_id not in KNOWN_LICENSES:
        said = {"license": "other", "license_name": license_id, "license_link": "LICENSE"}
    said["library_name"] = "fst"
    said["pipeline_tag"] = "image-to-image"
    said["tags"] = ["style-transfer", "fast-style-transfer", "perceptual-loss", "safetensors"]
    said["tags"] += ["onnx"] if onnx else []
    return f"---\n{yaml.safe_dump(said, sort_keys=False, allow_unicode=True).rstrip()}\n---"


def _rows(card: Card) -> list[tuple[str, str]]:
    def of(part: Mapping[str, Any], *keys: str) -> str:
        return ", ".join(plain(part[key]) for key in keys if part.get(key)) or "not said"

    painting, data = card.painting, card.data
    photos = f"{of(data, 'description')}; license: {of(data, 'license')}"
    network = f"{of(card.loss_network, 'description')}; {of(card.loss_network, 'license')}"
    rows = [
        ("painting", of(painting, "title", "artist", "year")),
        ("the painting's license", of(painting, "license")),
        ("photos it was trained on", photos),
        ("loss network", network),
        ("training", _steps(card)),
        ("network", ", ".join(f"{plain(key)} {plain(value)}" for key, value in card.net.items())),
        ("losses on held-out photos", _numbers(card.losses)),
        ("made by", f"fst {plain(card.fst_version)}" if card.fst_version else "not said"),
        ("SHA-256 of the tensors", f"`{plain(card.sha256)}`" if card.sha256 else "not said"),
    ]
    return rows


def _steps(card: Card) -> str:
    steps = card.training.get("steps")
    begun = card.training.get("warm_start")
    if steps is None:
        return "not said"
    name = begun.get("name") if isinstance(begun, Mapping) else None
    return f"{plain(steps)} steps" + (f", begun with the net of {plain(name)}" if name else "")


def _numbers(values: Mapping[str, float]) -> str:
    found = [
        f"{plain(key)} {value:.3g}"
        for key, value in values.items()
        if isinstance(value, int | float)
    ]
    return ", ".join(found) or "not said"


def _table(rows: Sequence[tuple[str, str]]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows)])
