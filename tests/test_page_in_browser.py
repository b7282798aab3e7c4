"""The page in a real Chromium: `make test-page` installs what drives it, and `.ci/run` calls that.

A Chromium or its driver that is missing is a failure here, not a skip.
"""

import functools
import http.server
import io
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fst import Stylizer
from fst.inference.chosen_styles import ChosenStyle
from fst.page.folder import write_folder
from fst.page.painting import Painter
from fst.page.runtime import find_runtime
from fst.page.site import Site, page_styles, site_of
from fst.page.uploads import Uploads
from fst.system.paths import checkpoints_dir

from .conftest import picture
from .test_page import served

pytestmark = pytest.mark.browser

DRIVER = Path(__file__).parent / "browser" / "drive.mjs"
MODULES = os.environ.get("FST_NODE_MODULES", str(DRIVER.parent / "node_modules"))
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ON_SWIFTSHADER = [
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
    "--enable-features=Vulkan",
    "--use-vulkan=swiftshader",
]
FAKE_CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
FAKE_CAMERA += ["--disable-gpu"]


def drive(url: str, *steps: tuple[object, ...], **more: object) -> dict[str, Any]:
    """Lead a Chromium through the steps; it must have asked nobody else, and met no error.

    With ``may_fail=True`` it may have met errors.
    """
    may_fail = more.pop("may_fail", False)
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert executable, "no Chromium is installed; apt-get install chromium"
    asked = {"url": url, "executable": executable, "steps": steps, **more}
    done = subprocess.run(
        ["node", DRIVER],
        input=json.dumps(asked, default=str),
        capture_output=True,
        text=True,
        timeout=170,
        env={**os.environ, "FST_NODE_MODULES": MODULES},
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert "failed" not in told, told
    own = re.match(r"(https?://[^/]+|file://.*(?=/))", url)
    assert own
    for request in told["requests"]:
        assert request.startswith((f"{own[0]}/", f"blob:{own[0]}/")), request
    assert may_fail or not told["errors"]
    return told


@pytest.fixture(scope="module")
def styles(tiny_style: Path) -> list[ChosenStyle]:
    udnie = ChosenStyle(checkpoints_dir() / "udnie.safetensors", "udnie")
    base = checkpoints_dir() / "base.safetensors"
    return [ChosenStyle(tiny_style, "tiny #1"), udnie, ChosenStyle(Path(f"{base}:dots"), "dots")]


@pytest.fixture(scope="module")
def site(styles: list[ChosenStyle]) -> Site:
    return site_of(styles, find_runtime(), server=True)


@pytest.fixture(scope="module")
def url(site: Site, styles: list[ChosenStyle]) -> Iterator[str]:
    """`fst page --server`, with isolation."""
    from fst.page.app import application

    paths = {style.label: style.path for style in styles}
    painter = Painter(paths)
    with served(application(site, Uploads(paths, painter).routes)) as port:
        yield f"http://127.0.0.1:{port}/"
    painter.stop()


@pytest.fixture(scope="module")
def plain_url(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The folder on Python's own file server, in a folder of it, without isolation."""
    folder = tmp_path_factory.mktemp("files")
    write_folder(site, folder / "page")
    with file_server(folder) as port:
        yield f"http://127.0.0.1:{port}/page/"


@contextmanager
def file_server(folder: Path) -> Iterator[int]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def photo(path: Path, width: int, height: int, **saved: object) -> Path:
    noise = np.random.default_rng(0).integers(0, 40, (height, width, 3), np.uint8)
    pixels = np.asarray(picture(width, height, seed=3)) // 2 + noise
    Image.fromarray(pixels).save(path, **saved)
    return path


def off(made: Path, expected: Image.Image) -> int:
    got = Image.open(made).convert("RGB")
    assert got.size == expected.size
    return int(np.abs(np.asarray(got, int) - np.asarray(expected.convert("RGB"), int)).max())


def test_a_downloaded_picture_is_that_of_stylize(
    url: str, styles: list[ChosenStyle], tmp_path: Path
) -> None:
    """Odd sides, strength and colors, a painting of several, strokes of another size."""
    shot = photo(tmp_path / "shot.png", 171, 95)
    told = drive(
        url,
        ("photo", shot),
        ("select", "#format", "png"),
        ("style", "udnie"),
        ("download", tmp_path / "udnie.png"),
        ("set", "strength", 70),
        ("set", "colors", 40),
        ("download", tmp_path / "mixed.png"),
        ("set", "strength", 100),
        ("set", "colors", 0),
        ("style", "dots"),
        ("download", tmp_path / "dots.png"),
        ("style", "tiny #1"),
        ("set", "stroke", -1),
        ("download", tmp_path / "coarse.png"),
        ("set", "stroke", 2),
        ("download", tmp_path / "fine.png"),
        ("check", "[value=server]"),
        ("set", "stroke", 0),
        ("download", tmp_path / "server.png"),
    )
    assert told["isolated"]
    assert told["engine"] == "wasm"
    assert told["results"][3] == "shot_udnie.png"
    expected = {style.label: Stylizer(style.path) for style in styles}
    opened = Image.open(shot)
    assert off(tmp_path / "udnie.png", expected["udnie"](opened)) <= 2
    mixed = expected["udnie"](opened, strength=0.7, keep_colors=0.4)
    assert off(tmp_path / "mixed.png", mixed) <= 2
    assert off(tmp_path / "dots.png", expected["dots"](opened)) <= 2
    assert off(tmp_path / "coarse.png", expected["tiny #1"](opened, stroke=67)) <= 2
    assert off(tmp_path / "fine.png", expected["tiny #1"](opened, stroke=190)) <= 2
    assert off(tmp_path / "server.png", expected["tiny #1"](opened)) <= 1


def test_without_isolation_one_thread_does_the_same(
    plain_url: str, styles: list[ChosenStyle], tmp_path: Path
) -> None:
    """And a photo that is to be turned, a JPEG, and a file that is none."""
    exif = Image.Exif()
    exif[0x0112] = 6
    shot = photo(tmp_path / "shot.png", 60, 41, exif=exif)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photo(tmp_path / "whole.jpg", 60, 41).read_bytes()[:200])
    small = photo(tmp_path / "small.png", 15, 90)
    told = drive(
        plain_url,
        ("photo", broken),
        ("photo", small),
        ("photo", shot),
        ("select", "#format", "png"),
        ("style", "tiny #1"),
        ("download", tmp_path / "made.png"),
        ("select", "#format", "jpg"),
        ("download", tmp_path / "made.jpg"),
    )
    assert not told["isolated"]
    assert "“broken.jpg” is not a picture" in told["results"][0][1]
    assert "at least 16 a side are needed" in told["results"][1][1]
    turned = Stylizer(styles[0].path)(Image.open(shot))
    assert turned.size == (41, 60)
    assert off(tmp_path / "made.png", turned) <= 2
    assert Image.open(tmp_path / "made.jpg").format == "JPEG"


def test_twelve_megapixels_are_reduced_and_memory_does_not_grow(
    url: str, styles: list[ChosenStyle], tmp_path: Path
) -> None:
    shot = photo(tmp_path / "large.jpg", 4000, 3000, quality=92)
    again = [
        ("photo", photo(tmp_path / "middle.png", 900, 700)),
        ("until", "/ s, 900/.test(document.querySelector('#status').textContent)"),
        ("memory",),
    ]
    told = drive(
        url,
        ("photo", shot),
        ("select", "#format", "png"),
        ("style", "tiny #1"),
        ("download", tmp_path / "made.png"),
        *again,
        *again,
        *again,
    )
    words, trouble = told["results"][2]
    assert not trouble
    assert "2309×1732 pixels, reduced from 4000×3000" in words
    memory = told["results"][6::3]
    assert memory[2] < memory[0] + 50e6
    read = Image.open(shot)
    expected = Stylizer(styles[0].path)(read.resize((2309, 1732), Image.Resampling.LANCZOS))
    assert off(tmp_path / "made.png", expected) <= 2


def test_webgpu_makes_the_same_picture(url: str, styles: list[ChosenStyle], tmp_path: Path) -> None:
    """Its speed is nothing to go by: SwiftShader is a processor that plays a GPU."""
    shot = photo(tmp_path / "shot.png", 71, 48)
    told = drive(
        f"{url}?engine=webgpu",
        ("photo", shot),
        ("select", "#format", "png"),
        ("style", "tiny #1"),
        ("evaluate", "document.querySelector('#engine').textContent"),
        ("download", tmp_path / "made.png"),
        ("set", "colors", 60),
        ("download", tmp_path / "colors.png"),
        flags=ON_SWIFTSHADER,
    )
    assert told["engine"] == "webgpu"
    assert "WebGPU" in told["results"][3]  # it has not fallen back
    tiny = Stylizer(styles[0].path)
    assert off(tmp_path / "made.png", tiny(Image.open(shot))) <= 2
    assert off(tmp_path / "colors.png", tiny(Image.open(shot), keep_colors=0.6)) <= 3


def test_keys_cancel_camera_and_several_styles(url: str, tmp_path: Path) -> None:
    shot = photo(tmp_path / "large.png", 1400, 1000)
    told = drive(
        url,
        ("click", "#empty .start-camera"),
        ("until", "/frames a second/.test(document.querySelector('#rate').textContent)"),
        ("evaluate", "document.querySelector('#rate').textContent"),
        ("click", "#stop-camera"),
        ("photo", shot),
        ("click", ".tile:has([value=udnie])"),
        ("wait", "#cancel"),
        ("press", "Escape"),
        ("evaluate", "document.querySelector('#status').textContent"),
        ("photo", photo(tmp_path / "small.png", 60, 50)),
        ("until", "/ s, /.test(document.querySelector('#status').textContent)"),
        ("check", "#several"),
        ("style", "tiny #1"),
        ("evaluate", "document.querySelectorAll('#results .frame').length"),
        ("focus", ".frame input"),
        ("press", "ArrowRight"),
        ("evaluate", "document.querySelector('.frame').style.getPropertyValue('--at')"),
        ("evaluate", "document.querySelector('.frame input').getAttribute('aria-valuetext')"),
        flags=FAKE_CAMERA,
    )
    results = told["results"]
    assert "frames a second" in results[2]
    assert results[8] == "Cancelled."
    assert results[13] == 2
    assert "51%" in results
    assert "51 % photo" in results


def test_by_keys_alone_and_a_server_that_is_gone_for_a_while(url: str, tmp_path: Path) -> None:
    told = drive(
        url,
        ("press", "Tab"),  # to the styles
        ("press", "Tab"),
        ("evaluate", "document.activeElement.textContent"),
        ("choose", "Enter", photo(tmp_path / "shot.png", 60, 50)),
        ("offline", True),
        ("focus", "[value='tiny #1']"),
        ("press", "Space"),
        ("until", "document.querySelector('#trouble').textContent"),
        ("evaluate", "document.querySelector('#trouble').textContent"),
        ("offline", False),
        ("press", "Space"),
        ("until", "/ s, 60/.test(document.querySelector('#status').textContent)"),
        ("evaluate", "document.querySelector('#trouble').textContent"),
        may_fail=True,
    )
    results = told["results"]
    assert results[2] == "Choose a photo"
    assert results[3] == ["Choose a style.", ""]
    assert "the server of this page" in results[8].lower()
    assert results[12] == ""


def test_a_page_that_cannot_begin_says_why(styles: list[ChosenStyle], tmp_path: Path) -> None:
    write_folder(site_of(styles[:1], find_runtime(), server=False), tmp_path / "page")
    (tmp_path / "page" / "styles.json").unlink()
    trouble = ("evaluate", "document.querySelector('#trouble').textContent")
    shut = ("evaluate", "document.querySelector('#empty button').disabled")
    told = drive(f"file://{tmp_path}/page/index.html", trouble, shut, may_fail=True)
    assert "only from a file server: run python -m http.server" in told["results"][0]
    with file_server(tmp_path / "page") as port:
        told = drive(f"http://127.0.0.1:{port}/", trouble, shut, may_fail=True)
    assert "list of styles, styles.json, is missing" in told["results"][0]
    assert told["results"][1]


@pytest.mark.parametrize(("width", "dark"), [(390, False), (1280, True)])
def test_nothing_is_wider_than_the_screen_and_all_has_a_name(
    url: str, width: int, dark: bool, tmp_path: Path
) -> None:
    nameless = """[...document.querySelectorAll('button, input, select, [role=img]')].filter(
      (one) => !(one.labels?.length || one.getAttribute('aria-label') || one.textContent.trim())
    ).map((one) => one.outerHTML)"""
    told = drive(
        url,
        ("photo", photo(tmp_path / "shot.png", 300, 200)),
        ("style", "tiny #1"),
        ("evaluate", nameless),
        ("screenshot", tmp_path / "page.png"),
        width=width,
        height=844,
        dark=dark,
    )
    assert told["wide"] == width
    assert told["results"][2] == []
    shown = np.asarray(Image.open(io.BytesIO((tmp_path / "page.png").read_bytes())).convert("L"))
    assert (np.median(shown[-40:]) < 60) == dark


def test_a_folder_of_the_shipped_styles_is_small() -> None:
    """Bounds of 26 MB with WebAssembly, and 40 MB with WebGPU as well."""
    shipped = [style for style in page_styles([]) if checkpoints_dir() in style.path.parents]
    assert len(shipped) == 13
    runtime = find_runtime()
    both = site_of(shipped, runtime, server=False)
    assert sum(len(read()) for read in both.values()) < 22e6
    runtime.engines = ["wasm"]
    assert sum(len(read()) for read in site_of(shipped, runtime, server=False).values()) < 16e6
    base = site_of(page_styles(["base"]), runtime, server=False)
    assert sum(len(read()) for read in base.values()) < 5e6
