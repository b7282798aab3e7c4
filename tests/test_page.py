"""The page: its files, its server's answers, and the browser's runtime."""

import base64
import gzip
import http.client
import json
import re
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

import fst
from fst.cli import main
from fst.commands import page
from fst.errors import FstError
from fst.inference.chosen_styles import ChosenStyle
from fst.page import runtime as runtimes
from fst.page.runtime import ENGINES, PACKAGE, VERSION, Runtime, find_runtime, kept_runtime
from fst.page.site import CSP, OURS, TYPES, graph_of, in_halves, page_styles, site_of, type_of
from fst.system.paths import checkpoints_dir

STATIC = Path(fst.__file__).parent / "page" / "static"


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    """A folder with files of the runtime's names."""
    folder = tmp_path / "node_modules" / PACKAGE / "dist"
    folder.mkdir(parents=True)
    for names in ENGINES.values():
        for name in names.values():
            (folder / name).write_text(f"this is {name}")
    return Runtime(folder.parent)


@pytest.fixture
def styles(tiny_style: Path) -> list[ChosenStyle]:
    return [ChosenStyle(tiny_style, "tiny")]


@contextmanager
def served(application: Any) -> Iterator[int]:
    """The port at which an application answers, in a thread."""
    uvicorn = pytest.importorskip("uvicorn")
    server = uvicorn.Server(uvicorn.Config(application, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(10)


def get(port: int, path: str, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    return answer, answer.read()


def test_the_page_has_every_file_that_its_files_name(
    styles: list[ChosenStyle], runtime: Runtime
) -> None:
    site = site_of(styles, runtime, server=False)
    assert {path.name for path in STATIC.iterdir()} == {*OURS}
    for name in OURS:
        text = site[name]().decode()
        for found in re.findall(r"""(?:href=|src=|from |URL\(|import\()["'`]([^"'`#]+)""", text):
            if "${" not in found:
                assert found.removeprefix("./") in site, f"{name}: {found}"
    told = json.loads(site["styles.json"]())
    assert told["engines"] == ["wasm", "webgpu"]
    for style in told["styles"]:
        assert {style["graph"], style.get("picture", style["graph"])} <= site.keys()
    for path, read in site.items():
        assert type_of(path)
        assert read(), path


def test_the_page_asks_nothing_of_anybody_else(styles: list[ChosenStyle], runtime: Runtime) -> None:
    site = site_of(styles, runtime, server=False)
    for name in OURS:
        text = site[name]().decode().replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert "://" not in text, name
    index = site["index.html"]().decode()
    assert f'content="{CSP}"' in index
    assert "'unsafe-inline'" not in CSP
    assert "'unsafe-eval'" not in CSP
    assert not re.search(r"<script(?![^>]* src=)|\son\w+=|\sstyle=|<style", index)


def test_paintings_of_one_net_share_its_graph(runtime: Runtime, tiny_style: Path) -> None:
    styles = page_styles(["base", str(tiny_style)])
    site = site_of(styles, runtime, server=False)
    told = {one["name"]: one for one in json.loads(site["styles.json"]())["styles"]}
    assert sum(path.endswith(".onnx") for path in site) == 2
    rows = [told[name]["row"] for name in ("poppies", "dots_berry")]
    assert rows[0] != rows[1]
    assert told["poppies"]["graph"] == told["dots_berry"]["graph"] == "styles/base.onnx"
    assert told[tiny_style.stem]["graph"] == f"styles/{tiny_style.stem}.onnx"
    assert "rows" not in told[tiny_style.stem]
    lacking = [name for name, one in told.items() if "rows" in one and "picture" not in one]
    assert not lacking, "python scripts/thumbnails.py checkpoints/base.safetensors"


def test_files_of_one_name_in_two_folders_have_a_graph_each(
    tiny_style: Path, runtime: Runtime, tmp_path: Path
) -> None:
    other = tmp_path / "base.safetensors"  # as the shipped file of several is called
    other.write_bytes(tiny_style.read_bytes())
    site = site_of(page_styles([str(other), "base"]), runtime, server=False)
    told = {one["name"]: one["graph"] for one in json.loads(site["styles.json"]())["styles"]}
    assert told["base"] != told["poppies"]
    assert site[told["base"]]() != site[told["poppies"]]()


def test_the_shipped_styles_stay_within_their_bytes(runtime: Runtime) -> None:
    """The runtime is 3.7 MB in gzip for WebAssembly alone, and 10.5 MB with WebGPU."""
    styles = page_styles([])
    shipped = [style for style in styles if checkpoints_dir() in style.path.parents]
    assert len(shipped) == 13
    site = site_of(shipped, runtime, server=False)
    own = sum(len(read()) for path, read in site.items() if not path.startswith("runtime/"))
    assert 10e6 < own < 11.5e6


def test_a_graph_has_its_weights_in_float16_and_the_controls(tiny_style: Path) -> None:
    onnx = pytest.importorskip("onnx")
    graph = onnx.load_from_string(graph_of(tiny_style)).graph
    assert [value.name for value in graph.input] == ["pixels", "strength", "colors"]
    weights = [tensor for tensor in graph.initializer if tensor.name.endswith("weight")]
    assert weights
    assert {tensor.data_type for tensor in weights} == {onnx.TensorProto.FLOAT16}


def test_a_number_that_float16_has_not_stays_as_it_is() -> None:
    made = load(in_halves(save({"a": np.float32([1e9, 1]), "b": np.float32([0.5, 1])})))
    assert made["a"].dtype == np.float32
    assert made["b"].dtype == np.float16
    assert made["a"][0] == np.float32(1e9)


def test_a_folder_without_the_runtime_is_refused(tmp_path: Path, runtime: Runtime) -> None:
    with pytest.raises(FstError, match=r"--runtime .* has no ort-wasm-simd-threaded"):
        find_runtime(tmp_path)
    for name in ENGINES["webgpu"].values():
        (runtime.folder / name).unlink()
    assert Runtime(runtime.folder).engines == ["wasm"]
    assert gzip.decompress(runtime.read("wasm.wasm.gz")) == b"this is ort-wasm-simd-threaded.wasm"


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An npm that brings a file of the right names once, and then has nothing more."""
    packed = tmp_path / "packed.tgz"
    with tarfile.open(packed, "w:gz") as archive:
        for names in ENGINES.values():
            for name in names.values():
                file = tmp_path / name
                file.write_text(f"this is {name}")
                archive.add(file, f"package/dist/{name}")
    commands = tmp_path / "commands"
    commands.mkdir()
    (commands / "npm").write_text(
        f'#!/bin/sh\n[ "$1 $2" = "pack {PACKAGE}@{VERSION}" ] || exit 3\n'
        f"/bin/mv {packed} {PACKAGE}-{VERSION}.tgz || {{ echo 'no network' >&2; exit 1; }}\n"
    )
    (commands / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(commands))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return packed


def test_npm_brings_the_runtime_once(npm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = runtimes.hashlib.sha512(npm.read_bytes()).digest()
    known = f"sha512-{base64.b64encode(digest).decode()}"
    monkeypatch.setattr(runtimes, "INTEGRITY", known)
    for _ in range(2):  # which npm would refuse
        assert find_runtime().read("ort.wasm.js") == b"this is ort.wasm.min.mjs"
    assert {path.suffix for path in (kept_runtime() / "dist").iterdir()} == {".mjs", ".gz"}


def test_a_file_of_another_checksum_is_not_used(npm: Path) -> None:
    with pytest.raises(FstError, match="another file than the one that is known"):
        find_runtime()
    assert not kept_runtime().exists()
    with pytest.raises(FstError, match=r"npm did not bring .* \(no network\).*--server"):
        find_runtime()


def test_without_npm_there_is_a_cure(npm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FstError, match=r"npm is not installed; install Node.js, or .*--server"):
        find_runtime()


def test_every_answer_is_isolated_and_of_its_type(
    styles: list[ChosenStyle], runtime: Runtime
) -> None:
    app = pytest.importorskip("fst.page.app")
    pytest.importorskip("starlette")
    site = site_of(styles, runtime, server=False)
    with served(app.application(site)) as port:
        for path in ("", "app.js", "styles.json", "runtime/wasm.wasm.gz", "styles/tiny.onnx"):
            answer, body = get(port, f"/{path}")
            assert answer.status == 200
            assert body == site[path or "index.html"]()
            assert answer.headers["Content-Type"] == type_of(path or "index.html")
            assert answer.headers["Content-Encoding"] is None
            for name, value in app.HEADERS.items():
                assert answer.headers[name] == value
        for path in ("/nothing", "/../pyproject.toml", "/%2e%2e/%2e%2e/etc/passwd"):
            answer, _ = get(port, path)
            assert answer.status == 404
            assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        answer, _ = get(port, "/", Host="somewhere.example")
        assert answer.status == 400


def test_the_command_serves_until_it_is_stopped(
    styles: list[ChosenStyle],
    runtime: Runtime,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("uvicorn")
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)

    def stop() -> None:
        while not opened:
            time.sleep(0.01)
        answer, _ = get(int(opened[0].split(":")[2].strip("/")), "/styles.json")
        opened.append(str(answer.status))
        stopping[0].should_exit = True

    stopping: list[Any] = []
    serve = page.serve

    def seen(app: Any, listening: Any, ready: Any) -> None:
        def and_seen(server: Any) -> None:
            stopping.append(server)
            ready(server)

        serve(app, listening, and_seen)

    monkeypatch.setattr(page, "serve", seen)
    threading.Thread(target=stop, daemon=True).start()
    assert page.main([str(styles[0].path), "--runtime", str(runtime.folder)]) == 0
    assert opened[1] == "200"
    assert "127.0.0.1" in capsys.readouterr().out


def test_a_port_in_use_is_named(styles: list[ChosenStyle]) -> None:
    serving = pytest.importorskip("fst.page.serving")
    first = serving.listen(None)
    first.listen()
    port = first.getsockname()[1]
    with pytest.raises(FstError, match=f"--port {port} cannot be used"):
        serving.listen(port)
    first.close()


def test_files_of_the_page_are_of_known_types() -> None:
    assert {Path(name).suffix for name in OURS} <= TYPES.keys()


def test_the_page_is_a_folder_for_any_file_server(
    tiny_style: Path, runtime: Runtime, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "made"
    words = ["export", str(tiny_style), "base", "--format", "web", "-o", str(folder)]
    words += ["--runtime", str(runtime.folder)]
    assert main(words) == 0
    site = site_of(page_styles([str(tiny_style), "base"]), runtime, server=False)
    written = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert written == site.keys()
    assert all((folder / path).read_bytes() == read() for path, read in site.items())
    assert main(words) == 2
    assert "is not empty; use --force" in capsys.readouterr().err
    assert main([*words, "--force", "--no-webgpu"]) == 0
    assert json.loads((folder / "styles.json").read_bytes())["engines"] == ["wasm"]
    assert main(["export", str(tiny_style), "--format", "web", "--half"]) == 2
    assert "--half is for a single graph" in capsys.readouterr().err
    assert main(["export", str(tiny_style), "base", "--format", "onnx"]) == 2
    assert "2 styles are for --format web; give one" in capsys.readouterr().err
