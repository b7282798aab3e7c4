"""Files cut, flipped and forged, of each kind that fst reads: a sentence, or the very same result.

python scripts/proofs/fuzz_files.py            # some 2,600 files, ten minutes
python scripts/proofs/fuzz_files.py --quick    # a tenth of them
python scripts/proofs/fuzz_files.py networks   # one kind
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import random
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

sys.path.append(str(Path(__file__).resolve().parents[2]))
from judging import MOST_MEMORY, MOST_SECONDS, Count, Read, Trial, judged, told

from fst.data.photo_files import list_photos, open_photo
from fst.data.prepared_folder import INDEX
from fst.errors import FstError
from fst.inference.stylizer import Stylizer
from fst.loss.loss_network import LossNetwork
from fst.loss.loss_network_file import load_loss_network, parse_vgg, save_loss_network
from fst.nets.style_card import Card, listed_cards, read_card
from fst.nets.style_file import save_style
from fst.nets.transformer_net import TransformerNet
from fst.training.checkpoint_files import NEEDED, Checkpoint, read_checkpoint, write_checkpoint
from tests.conftest import TINY, picture, vgg_state
from tests.wrong_files import CONFIGS, CONTENTS, STRANGE, WRONG, compress

VALUES: list[Any] = [None, True, -1, 3000, 1e308, float("nan"), float("inf"), "", "\x1b[2J", [], {}]
STYLE, RUN, CACHE = Path("tiny.safetensors"), Path("runs/tiny"), Path("cache")
BASE = {"mean": [0.5] * 3, "std": [0.25] * 3}
TRAIN = ["train", "experiment=laptop", "loss=relative", "loss_network=file", *TINY]
TRAIN += ["loss_network.file=vgg.safetensors", "style.image=painting.png", "run_dir=runs/tiny"]
TRAIN += ["previews.photos=0", "logger=csv", "style.name=tiny"]
TRAIN += ["trainer.max_steps=4", "checkpoint_every=2", "trainer.val_check_interval=2"]
RESUME = [*TRAIN, "data.root=photos"]
CHECKPOINT = RUN / "checkpoints" / "step_00000002.ckpt"


def sound_files(folder: Path) -> None:
    """One of each: a style, loss networks, a run with a checkpoint and a style, prepared photos."""
    torch.manual_seed(0)
    (folder / "photos").mkdir()
    for number in range(4):
        picture(64, 48, seed=number).save(folder / "photos" / f"photo_{number}.png")
    picture(80, 64, seed=9).save(folder / "painting.png")
    picture(40, 32, seed=8).save(folder / "photo.png")
    net = TransformerNet(width=4, residual_blocks=1, output_gain=0.1)
    save_style(folder / STYLE, net, Card(name="tiny", net={}), half=False)
    state = vgg_state([[4, 4], [6, 6], [8, 8, 8], [8, 8, 8]])
    torch.save(state, folder / "vgg.pth")
    network = LossNetwork(
        convolutions=parse_vgg(state, "vgg"), mean=(0.5,) * 3, std=(0.25,) * 3,
        padding_mode="zeros", description="vgg",
    )  # fmt: skip
    save_loss_network(folder / "vgg.safetensors", network, half=False)
    (folder / "vgg.fstphoto").write_text("mine")
    told("prepare", "photos", "-o", str(CACHE), "--size", "48")
    told(*RESUME)
    for later in [path for path in CHECKPOINT.parent.iterdir() if path.name != CHECKPOINT.name]:
        later.unlink()


# how each kind is read; what comes back is compared with what the sound file gives


def style(folder: Path) -> object:
    listed_cards(STYLE)
    read_card(STYLE)
    photo = np.random.default_rng(0).integers(0, 256, (1, 3, 24, 24), dtype=np.uint8)
    return Stylizer(STYLE).pixels(photo).tobytes()


def style_by_commands(folder: Path) -> object:
    """Each of the commands that take a style file; the picture, where it is not refused."""
    said: list[str] = []
    for words in (
        ["info", str(STYLE), "--json"],
        ["stylize", "photo.png", "--style", str(STYLE), "--backend", "torch", "-o", "made.png"],
        ["export", str(STYLE), "--format", "onnx", "-o", "made.onnx"],
    ):
        try:
            told(*words)
        except FstError as error:
            said.append(str(error))
            if said[-1].count("\n") != 1:
                raise
    if not Path("made.png").exists():
        raise FstError(said[0])
    return np.asarray(Image.open("made.png")).tobytes()


def network(name: str) -> Read:
    def read(folder: Path) -> object:
        mine = load_loss_network(name="mine", file=name, **BASE)
        mine.fingerprint()
        photo = torch.linspace(0, 1, 3 * 32 * 32).view(1, 3, 32, 32)
        return mine(photo, mine.layers)[mine.layers[-1]].numpy().tobytes()

    return read


def checkpoint(folder: Path) -> object:
    found = Checkpoint.read(CHECKPOINT)
    found.require(*NEEDED)
    return {key: tensor.numpy().tobytes() for key, tensor in found.state["state_dict"].items()}


def resumed(folder: Path) -> object:
    """Training one step more."""
    told(*RESUME, f"resume={CHECKPOINT}")
    return _weights()


def resumed_by_itself(folder: Path) -> object:
    told(*RESUME)
    return _weights()


def sheet(folder: Path) -> object:
    told("sheet", str(RUN), "--count", "1", "--size", "64")
    return Path("sheet.jpg").read_bytes(), Path("sheet.csv").read_bytes()


def listed(folder: Path) -> object:
    return told("list"), told("info", "tiny", "--json")


def evaluated(folder: Path) -> object:
    words = ["photos=1", "sizes=[32]", "limit=2", "starts=[content]", "device=cpu"]
    told("evaluate", str(RUN / "tiny.safetensors"), "photos", *words, "run_dir=out")
    rows = json.loads(Path("out/evaluation.json").read_text())
    return [
        {k: v for k, v in row.items() if not re.search("_s$|seconds|speed_up", k)} for row in rows
    ]


def prepared(folder: Path) -> object:
    """Every photo that training would have, whole."""
    return [np.asarray(open_photo(path).image()).tobytes() for path in list_photos(CACHE)]


def prepared_again(folder: Path) -> object:
    """``fst prepare`` once more; what it makes, and that nothing outside is touched."""
    try:
        told("prepare", "photos", "-o", str(CACHE), "--size", "48", "--check")
    finally:
        assert Path("photo.png").exists()
        assert len(list(Path("photos").iterdir())) == 4
        assert Path("vgg.fstphoto").read_text() == "mine"
    return prepared(folder)


def trained_on_prepared(folder: Path) -> object:
    told(*TRAIN, "data.root=cache", "run_dir=runs/other")
    return _weights(Path("runs/other/tiny.safetensors"))


def _weights(path: Path = RUN / "tiny.safetensors") -> object:
    return {key: tensor.numpy().tobytes() for key, tensor in load_file(path).items()}


# what is done to them


def cuts_and_flips(
    rng: random.Random, path: Path, read: Read, *, cuts: int, flips: int, header: int = 0
) -> Iterator[Trial]:
    """``path`` cut short, and with one bit flipped, half of them in its first ``header`` bytes."""

    def cut(share: float) -> Callable[[Path], object]:
        def plant(folder: Path) -> None:
            data = path.read_bytes()
            path.write_bytes(data[: int(share * len(data))])

        return plant

    def flip(share: float, bit: int, within: int) -> Callable[[Path], object]:
        def plant(folder: Path) -> None:
            data = bytearray(path.read_bytes())
            data[int(share * (within or len(data)))] ^= 1 << bit
            path.write_bytes(data)

        return plant

    for _ in range(cuts):
        share = rng.random()
        yield Trial(f"{path.name} cut at {share:.6f}", cut(share), read)
    for number in range(flips):
        share, bit, within = rng.random(), rng.randrange(8), header * (number % 2)
        what = f"{path.name}: bit {bit} at {share:.6f} of {within or 'all'}"
        yield Trial(what, flip(share, bit, within), read)


def card_of(whole: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """A style file with another card and the same tensors."""
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    card = json.loads(header["__metadata__"]["card"])
    change(card)
    header["__metadata__"]["card"] = json.dumps(card)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + whole[8 + length :]


def cards(rng: random.Random, count: int, read: Read, *, deep: bool) -> Iterator[Trial]:
    """Style files with odd values in their cards, half of them without the checksum of the card."""

    def trial(what: str, change: Callable[[dict[str, Any]], object], covered: bool) -> Trial:
        def all_changes(card: dict[str, Any]) -> None:
            change(card)
            if not covered:
                card.pop("sha256_all", None)

        def plant(folder: Path) -> None:
            STYLE.write_bytes(card_of(STYLE.read_bytes(), all_changes))

        return Trial(what, plant, read)

    keys = ["name", "painting", "net", "training", "losses", "evaluation", "sha256", "new"]
    keys += ["format_version", "sha256_all", "loss_network"]
    inner = ["width", "residual_blocks", "output_gain", "upsampling", "padding_mode", "new"]
    for number in range(count):
        where, value = rng.randrange(2), rng.choice(VALUES)
        key = rng.choice(inner if where else keys)

        def change(
            card: dict[str, Any], where: int = where, key: str = key, value: Any = value
        ) -> None:
            (card["net"] if where else card)[key] = value

        yield trial(f"card: {key} is {value!r}", change, bool(number % 2))
    for what, wrong in WRONG.items() if deep else ():
        yield trial(f"card: {what}", wrong, False)


def odd_networks() -> Iterator[Trial]:
    """Networks of odd tensors, those of ``named_parameters``, a compressed bomb."""
    path, read = Path("vgg.pth"), network("vgg.pth")

    def plant(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
        def planted(folder: Path) -> None:
            state = torch.load(path, weights_only=True)
            change(state)
            torch.save(state, path)

        return planted

    def parameters(folder: Path) -> None:
        state = torch.load(path, weights_only=True)
        torch.save({key: torch.nn.Parameter(value) for key, value in state.items()}, path)

    def bomb(folder: Path) -> None:
        plant(lambda state: state.update({"classifier.0.weight": torch.zeros(10_000_000)}))(folder)
        path.rename("big.pth")
        compress(Path("big.pth"), path)

    for what, change in STRANGE.items():
        yield Trial(f"network: {what}", plant(change), read)
    yield Trial("network: parameters", parameters, read, works=True)
    yield Trial("network: a compressed bomb", bomb, read)


def wrong_checkpoints(rng: random.Random, count: int) -> Iterator[Trial]:
    """Checkpoints with a right checksum and wrong contents, at any depth; resumed from."""

    def trial(what: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Trial:
        def plant(folder: Path) -> None:
            write_checkpoint(CHECKPOINT, change(read_checkpoint(CHECKPOINT)))

        return Trial(f"checkpoint: {what}", plant, resumed)

    for contents in CONTENTS[: count or 0]:
        yield trial(f"{contents}", lambda state, contents=contents: contents)
    odd = [None, "", [], {}, -1, "x", [[1]]]
    for _ in range(count):
        seed, value = rng.random(), rng.choice([*odd, "gone"])

        def change(state: dict[str, Any], seed: float = seed, value: Any = value) -> dict[str, Any]:
            state = copy.deepcopy(state)
            change_one(random.Random(seed), state, value)
            return state

        yield trial(f"{value!r} at {seed:.6f}", change)


def change_one(rng: random.Random, value: Any, other: Any) -> str:
    """Set one value at any depth of nested dictionaries to ``other``, or delete it (``gone``)."""
    key = rng.choice(list(value))
    if isinstance(value[key], dict) and value[key] and rng.random() < 0.75:
        return f"{key}.{change_one(rng, value[key], other)}"
    if other == "gone":
        del value[key]
    else:
        value[key] = other
    return str(key)


def run_folders(rng: random.Random, count: int, reads: list[Read]) -> Iterator[Trial]:
    """A run's config.yaml and run.json: missing, cut, odd whole, or with one value of a wrong kind.

    Numbers are not among the values: a setting may be another number, and is then another run.
    """
    files = (RUN / "config.yaml", RUN / "run.json")

    def write(path: Path, text: str) -> Callable[[Path], object]:
        return lambda folder: path.write_bytes(text.encode("utf-8", "surrogateescape"))

    def remove(path: Path) -> Callable[[Path], object]:
        return lambda folder: path.unlink()

    def change(path: Path, seed: float, value: Any) -> Callable[[Path], object]:
        def plant(folder: Path) -> None:
            held = yaml.safe_load(path.read_text())
            change_one(random.Random(seed), held, value)
            path.write_text(yaml.safe_dump(held) if path.suffix == ".yaml" else json.dumps(held))

        return plant

    for number in range(count):
        read, path = reads[number % len(reads)], files[number // len(reads) % 2]
        by = f"{path.name}, {read.__name__}:"
        if rng.random() < 0.5:
            what = rng.choice([*CONFIGS, "gone"])
            plant = remove(path) if what == "gone" else write(path, CONFIGS[what])
            yield Trial(f"{by} {what}", plant, read)
        else:
            seed, value = rng.random(), rng.choice(["", "x", [], ["x"], {}, {"x": 1}, [[]]])
            yield Trial(f"{by} {value!r} at {seed:.6f}", change(path, seed, value), read)


def planted_indexes(read: Read) -> Iterator[Trial]:
    """Indexes without a checksum that name files outside their folder, or of wrong kinds."""
    for name in ("../vgg.fstphoto", "/etc/passwd", "../photo.png", "a/../../vgg.fstphoto", "", 5):
        for photo in ("photo_9.png", "../photo.png", 5):

            def plant(folder: Path, name: object = name, photo: object = photo) -> None:
                entry = {"photo": photo, "bytes": 1, "mtime_ns": 1, "file": name}
                header, *lines = (CACHE / INDEX).read_text().splitlines()
                older = {key: value for key, value in json.loads(header).items() if key != "sha256"}
                lines = [json.dumps(older), *lines, json.dumps(entry)]
                (CACHE / INDEX).write_text("".join(f"{line}\n" for line in lines))

            yield Trial(f"index: {photo!r} from {name!r}, {read.__name__}", plant, read)


def kinds(times: float, seed: int, *, deep: bool) -> dict[str, list[Trial]]:
    """The trials by kind, ``times`` their full number; ``deep``: also slow ones."""
    rng = random.Random(seed)

    def n(full: int) -> int:
        return max(2, round(full * times))

    slow: list[Read] = [evaluated, resumed_by_itself] if deep else []
    few = n(20) if deep else 0
    found = {
        "styles": [
            *cuts_and_flips(rng, STYLE, style, cuts=n(100), flips=n(500), header=1500),
            *cards(rng, n(400), style_by_commands, deep=deep),
        ],
        "networks": [
            *cuts_and_flips(
                rng, Path("vgg.safetensors"), network("vgg.safetensors"), cuts=n(50), flips=n(150),
                header=1500,
            ),
            *cuts_and_flips(rng, Path("vgg.pth"), network("vgg.pth"), cuts=n(50), flips=n(150)),
            *(odd_networks() if deep else ()),
        ],
        "checkpoints": [
            *cuts_and_flips(rng, CHECKPOINT, checkpoint,
                            cuts=n(100), flips=n(200)),
            *(wrong_checkpoints(rng, n(60)) if deep else ()),
        ],
        "run folders": [*run_folders(rng, n(240), [sheet, listed, *slow])],
        "indexes": [
            *cuts_and_flips(rng, CACHE / INDEX, prepared, cuts=n(100), flips=n(200)),
            *cuts_and_flips(rng, CACHE / INDEX, prepared_again, cuts=n(30), flips=n(60)),
            *cuts_and_flips(rng, CACHE / INDEX, trained_on_prepared, cuts=few, flips=few),
            *planted_indexes(prepared),
            *(planted_indexes(prepared_again) if deep else ()),
        ],
    }  # fmt: skip
    return found


def made_sound(top: Path) -> Path:
    """The folder of the sound files, made at ``here`` below ``top``, where they are damaged."""
    before, folder = Path.cwd(), top.resolve() / "here"
    folder.mkdir()
    os.chdir(folder)
    try:
        sound_files(folder)
    finally:
        os.chdir(before)
    return shutil.copytree(folder, folder.with_name("sound"))


def fuzz(
    names: list[str], times: float, seed: int, sound: Path, *, deep: bool = True
) -> Iterator[Count]:
    """Try the kinds of these names, all if there are none; what was held, by kind."""
    for kind, trials in kinds(times, seed, deep=deep).items():
        if not names or kind in names:
            yield judged(kind, trials, sound, sound.with_name("here"))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", help="styles, networks, checkpoints ...; default: all")
    parser.add_argument("--quick", action="store_true", help="a tenth of them")
    parser.add_argument("--times", type=float, default=1.0, help="of their number (default 1)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    print("| kind | tried | held | in a sentence | the same result |\n|---|---|---|---|---|")
    faults: list[str] = []
    times = 0.1 if options.quick else options.times
    with tempfile.TemporaryDirectory() as top:
        for count in fuzz(options.kinds, times, options.seed, made_sound(Path(top))):
            shown = (count.kind, count.tried, count.held, count.sentences, count.same)
            print(f"| {' | '.join(map(str, shown))} |", flush=True)
            faults += [f"{count.kind}: not held: {fault}" for fault in count.faults]
    print("\n".join(faults))
    print(f"none took {MOST_SECONDS:.0f} s or {MOST_MEMORY / 1e6:.0f} MB, but for those named here")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
