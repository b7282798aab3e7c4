"""onnxruntime-web, which runs styles in a browser: found on the disk, or fetched once by npm.

It is not ours and not in this repository. One version is known by its checksum: npm's own
``npm pack`` brings it, from whichever registry npm is set to, and nothing is asked for again.
Kept are the few files that a page needs, WebAssembly in gzip: a quarter of the bytes on any file
server, unpacked by the page itself.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from fst.errors import FstError
from fst.system.files import write_whole
from fst.system.paths import cache_dir

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
INTEGRITY = "sha512-" + (
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
)
# what a browser calls a file (servers know .js, and not all of them .mjs) -> the package's name
WASM = {
    "ort.wasm.js": "ort.wasm.min.mjs",
    "wasm.js": "ort-wasm-simd-threaded.mjs",
    "wasm.wasm.gz": "ort-wasm-simd-threaded.wasm",
}
WEBGPU = {
    "ort.webgpu.js": "ort.webgpu.min.mjs",
    "webgpu.js": "ort-wasm-simd-threaded.asyncify.mjs",
    "webgpu.wasm.gz": "ort-wasm-simd-threaded.asyncify.wasm",
}
ENGINES = {"wasm": WASM, "webgpu": WEBGPU}
FETCH_S = 600  # that npm may take


class Runtime:
    """The files of onnxruntime-web in a folder: npm's own, its ``dist``, or what was kept of it.

    ``engines`` are those of ``ENGINES`` that are there. Raises ``FstError`` for a folder without
    the first, ``wasm``.
    """

    def __init__(self, folder: Path) -> None:
        inner = folder / "dist"
        self.folder = inner if inner.is_dir() else folder
        self.engines = [
            engine
            for engine, names in ENGINES.items()
            if all(self._stored(name) is not None for name in names.values())
        ]
        if "wasm" not in self.engines:
            raise FstError(
                f"--runtime {folder} has no {WASM['wasm.wasm.gz']}; give the folder of the npm "
                f"package {PACKAGE}, or leave --runtime out"
            )

    def names(self) -> list[str]:
        """The files that a page asks for, by the names it knows."""
        return [name for engine in self.engines for name in ENGINES[engine]]

    def read(self, name: str) -> bytes:
        """The bytes of one of ``names``."""
        (source,) = (names[name] for names in ENGINES.values() if name in names)
        stored = self._stored(source)
        assert stored is not None
        data = stored.read_bytes()
        packed = stored.suffix == ".gz"
        return gzip.compress(data, 6, mtime=0) if name.endswith(".gz") and not packed else data

    def _stored(self, name: str) -> Path | None:
        for path in (self.folder / f"{name}.gz", self.folder / name):
            if path.is_file():
                return path
        return None


def find_runtime(folder: Path | None = None) -> Runtime:
    """The runtime in ``folder``; or the one that was kept, which is fetched if there is none.

    Raises ``FstError`` where npm is needed and is not here, does not answer, or brings another
    file than the one whose checksum is known.
    """
    if folder is not None:
        return Runtime(folder)
    kept = kept_runtime()
    if not all((kept / "dist" / name).is_file() for name in _kept_names()):
        fetch(kept)
    return Runtime(kept)


def kept_runtime() -> Path:
    """Where the fetched files are kept."""
    return cache_dir() / f"{PACKAGE}-{VERSION}"


def fetch(kept: Path) -> None:
    """Bring the package by npm and keep what a page needs of it in a folder."""
    npm = shutil.which("npm")
    cure = (
        f"unpack {PACKAGE} {VERSION} from npm elsewhere and give its folder with --runtime, or "
        "let fst itself do the work with `fst page --server`"
    )
    if npm is None:
        raise FstError(
            f"the page needs {PACKAGE}, which npm brings, and npm is not installed; install "
            f"Node.js, or {cure}"
        )
    with tempfile.TemporaryDirectory(prefix="fst-page-") as folder:
        words = [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent", "--ignore-scripts"]
        try:
            done = subprocess.run(
                words, cwd=folder, capture_output=True, text=True, timeout=FETCH_S
            )
        except subprocess.TimeoutExpired:
            raise FstError(f"npm did not bring {PACKAGE} in {FETCH_S} s; {cure}") from None
        packed = list(Path(folder).glob("*.tgz"))
        if done.returncode or len(packed) != 1:
            said = (done.stderr or done.stdout).strip().splitlines()[-1:]
            reason = f" ({said[0][:150]})" if said else ""
            raise FstError(f"npm did not bring {PACKAGE} {VERSION}{reason}; {cure}")
        keep(packed[0], kept)


def keep(packed: Path, kept: Path) -> None:
    """Unpack from npm's file what a page needs, if it is the file that is known."""
    digest = hashlib.sha512(packed.read_bytes()).digest()
    if f"sha512-{base64.b64encode(digest).decode()}" != INTEGRITY:
        raise FstError(
            f"what npm brought as {PACKAGE} {VERSION} is another file than the one that is known "
            "by its checksum, and is not used; look at npm's registry setting"
        )
    with tarfile.open(packed) as archive:
        for name in _kept_names():
            inside = archive.extractfile(f"package/dist/{name.removesuffix('.gz')}")
            assert inside is not None, name
            data = inside.read()
            if name.endswith(".gz"):
                data = gzip.compress(data, 9, mtime=0)
            write_whole(kept / "dist" / name, data)


def _kept_names() -> list[str]:
    sources = [source for names in ENGINES.values() for source in names.values()]
    return [f"{name}.gz" if name.endswith(".wasm") else name for name in sources]
