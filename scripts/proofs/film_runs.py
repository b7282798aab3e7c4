"""fst video, killed and gone on with; its memory over a thousand frames; what it copies.

python scripts/proofs/film_runs.py kill --style udnie         # ten times kill -9: the same bytes
python scripts/proofs/film_runs.py memory --style udnie       # peak of 100 and of 1,000 frames
python scripts/proofs/film_runs.py streams FILM --style udnie # hashes of its sound, there and here

The first two make a film of their own: a bright square that moves over a gradient, with a tone.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))
from tests.films import film, packets_of

KILLS = 10
SIZE = (96, 64)


def command(source: Path, output: Path, style: str, *more: str) -> list[str]:
    """The command line."""
    words = ["video", str(source), "-o", str(output), "--style", style, "--force", *more]
    return [sys.executable, "-m", "fst", *words]


def run(words: list[str]) -> None:
    """Run it to its end; what it said is shown if it fails."""
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: {done.stderr}")


def kill(folder: Path, style: str) -> int:
    """``kill -9`` at random moments, then the same command: how often the bytes were the same."""
    source = film(folder / "a.mp4", range(0, 20000, 40), size=SIZE, sound=True)
    whole, made = folder / "whole.mp4", folder / "made.mp4"
    start = time.monotonic()
    run(command(source, whole, style))
    took, same = time.monotonic() - start, 0
    print("| killed after, s | pieces kept | the same bytes |\n|---|---|---|")
    for number in range(KILLS):
        wait = random.Random(number).uniform(0.2, 0.95) * took
        process = subprocess.Popen(command(source, made, style), stdout=subprocess.DEVNULL)
        time.sleep(wait)
        process.kill()
        process.wait()
        parts = folder / "made.mp4.parts"
        kept = len(list(parts.glob("*.nut"))) if parts.is_dir() else 0
        run(command(source, made, style))
        alike = made.read_bytes() == whole.read_bytes()
        same += alike
        print(f"| {wait:.1f} | {kept} | {'yes' if alike else 'NO'} |", flush=True)
        made.unlink()
    print(f"{same} of {KILLS} the same; the whole takes {took:.1f} s")
    return 0 if same == KILLS else 1


def memory(folder: Path, style: str) -> int:
    """The peak of a process over 100 and over 1,000 frames."""
    peaks = []
    for frames in (100, 1000):
        source = film(folder / f"{frames}.mp4", range(0, 40 * frames, 40), size=SIZE)
        process = subprocess.Popen(
            command(source, folder / "made.mp4", style), stdout=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            sys.exit("it failed")
        peaks.append(usage.ru_maxrss / 1e3)
        print(f"{frames} frames: {peaks[-1]:.0f} MB", flush=True)
    return 0 if peaks[1] < 1.1 * peaks[0] else 1


def streams(source: Path, folder: Path, style: str) -> int:
    """A hash over all packets of each kind of stream, of the film and of what is made of it."""
    made = folder / "made.mkv"
    run(command(source, made, style, "--size", "64"))
    same = True
    for kind in ("audio", "subtitle"):
        hashes = []
        for path in (source, made):
            packets = packets_of(path, kind)
            whole = hashlib.sha256("".join(packets).encode()).hexdigest()[:16]
            hashes.append(whole if packets else "none")
            print(f"{kind} of {path.name}: {len(packets)} packets, {hashes[-1]}")
        same &= hashes[0] == hashes[1]
    return 0 if same else 1


def main() -> int:
    """Of the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("kill", "memory", "streams"))
    parser.add_argument("film", type=Path, nargs="?")
    parser.add_argument("--style", required=True)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory(prefix="fst_film_") as name:
        folder = Path(name)
        if options.what == "streams":
            if options.film is None:
                parser.error("streams needs a film")
            return streams(options.film.resolve(), folder, options.style)
        return (kill if options.what == "kill" else memory)(folder, options.style)


if __name__ == "__main__":
    sys.exit(main())
