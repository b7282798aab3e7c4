"""How fast a training step is: plain, what people run, in a process of its own, and ours.

``benchmark_step`` is of a CPU. The others are of a GPU, and run on a CPU too, at small sizes, which
is how they are tested.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import torch

from fst.benchmark.floors import Machine, count_flops
from fst.benchmark.kernel_classes import KernelClass, profile_by_class
from fst.benchmark.own_process import OwnProcess
from fst.benchmark.plain import PlainVGG16, training_step
from fst.benchmark.timing import Contestant, Row, failures, peak_mb, race, that_work
from fst.benchmark.twins import new_net, paper_loss, twin_network
from fst.loss.loss_network_file import load_loss_network
from fst.loss.paintings_loss import losses_of
from fst.loss.perceptual_loss import Losses, PerceptualLoss
from fst.nets.transformer_net import TransformerNet
from fst.system.machine import has_bfloat16, keep_freed_memory, processor_flags

PLAIN_STEP = "fst.benchmark.plain:training_step"
LITE_IN_HALF = "fst, lite, bfloat16"


@dataclass(frozen=True)
class Recipe:
    """How a step of ours is run. ``mode`` is torch.compile's; None is eager."""

    name: str
    half: bool = False
    channels_last: bool = False
    mode: str | None = None


RECIPES = (
    Recipe("fst, float32"),
    Recipe("fst, bfloat16", half=True),
    Recipe("fst, bfloat16, channels last", half=True, channels_last=True),
    Recipe("fst, the same compiled", half=True, channels_last=True, mode="default"),
    Recipe("fst, the same, CUDA graphs", half=True, channels_last=True, mode="reduce-overhead"),
)


@contextmanager
def arithmetic(*, tf32: bool, benchmark: bool, products: str = "highest") -> Iterator[None]:
    """PyTorch's switches: TF32 in convolutions (on by default) and in float32 products (off), and
    whether cuDNN tries its algorithms."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark
    precision = torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = tf32, benchmark
    torch.set_float32_matmul_precision(products)
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = before
        torch.set_float32_matmul_precision(precision)


class Steps:
    """Training steps from the same weights on the same photos, with a VGG-16 of random weights."""

    def __init__(self, *, device: str, size: int, batch: int, width: int) -> None:
        torch.manual_seed(0)
        self.device = device
        style = torch.rand(1, 3, size, size).to(device)
        self.photos = torch.rand(batch, 3, size, size).to(device)
        self.net, vgg = new_net(width).to(device), PlainVGG16().to(device)
        self.loss = paper_loss(twin_network(vgg).to(device), style)
        self.vgg_width = vgg.blocks[0][0].out_channels  # type: ignore[index]

    def plain(self, *, tf32: bool) -> Contestant:
        """``fst.benchmark.plain``: with TF32 in convolutions (PyTorch's default) or without."""
        batch, _, size, _ = self.photos.shape
        run = training_step(
            size=size,
            batch=batch,
            width=self.net.width,
            vgg_width=self.vgg_width,
            device=self.device,
        )

        def step() -> None:
            with arithmetic(tf32=tf32, benchmark=False):
                run()

        return step

    def losses(self, recipe: Recipe) -> tuple[TransformerNet, Callable[[], Losses]]:
        """A net of its own, and what computes the losses with it as the recipe says."""
        net, loss, photos = copy.deepcopy(self.net), copy.deepcopy(self.loss), self.photos
        if recipe.channels_last:
            for module in (net, loss):
                module.to(memory_format=torch.channels_last)
            photos = photos.contiguous(memory_format=torch.channels_last)
        function = losses_of
        if recipe.mode is not None:
            function = torch.compile(losses_of, mode=recipe.mode)
        kind = self.device.split(":")[0]

        def evaluate() -> Losses:
            torch.compiler.cudagraph_mark_step_begin()
            with torch.autocast(kind, torch.bfloat16, enabled=recipe.half):
                return function(net, loss, photos)

        return net, evaluate

    def ours(self, recipe: Recipe) -> Contestant:
        """The product's step, as ``FastStyleTransfer`` takes it, without Lightning."""
        net, evaluate = self.losses(recipe)
        fused = self.device.startswith("cuda")
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=fused or None)
        products = "high" if recipe.half else "highest"

        def step() -> None:
            with arithmetic(tf32=True, benchmark=True, products=products):
                total = evaluate().total
                optimizer.zero_grad()
                total.backward()
                optimizer.step()
                net.remove_grid()

        return step


def benchmark_step(
    *,
    machine: Machine,
    size: int,
    batch: int,
    width: int,
    warm_up: int,
    repetitions: int,
    variants: bool = True,
) -> list[Row]:
    """A whole training step on the CPU: forward, loss, backward, Adam.

    ``plain`` is ``fst.benchmark.plain`` in a process of its own; its ``variants`` (left out if not
    asked for) are the same with freed memory kept, as the product keeps it. The others are the
    product's step with the paper's loss, a VGG-16 of random weights and with lite; where the
    processor has bfloat16 there is a line of lite in it, as Lightning's ``bf16-mixed`` has it. Each
    of these runs once more than ``warm_up`` before it is timed: its operations are counted.
    """
    torch.manual_seed(0)
    style, photos = torch.rand(1, 3, size, size), torch.rand(batch, 3, size, size)
    vgg_loss = paper_loss(twin_network(PlainVGG16()), style)
    lite_loss = paper_loss(load_loss_network(name="lite"), style)
    net = new_net(width)

    def our_step(loss: PerceptualLoss, *, half: bool = False) -> Contestant:
        own = copy.deepcopy(net)
        optimizer = torch.optim.Adam(own.parameters(), lr=1e-3)

        def step() -> None:
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                total = loss(own(photos), photos).total
            total.backward()
            optimizer.step()
            own.remove_grid()

        return step

    keep_freed_memory()
    with ExitStack() as open_processes:

        def plain_step(*, keep: bool) -> OwnProcess:
            return open_processes.enter_context(
                OwnProcess(PLAIN_STEP, keep_memory=keep, size=size, batch=batch, width=width)
            )

        plain = {"plain": plain_step(keep=False)}
        if variants:
            plain["plain, memory kept"] = plain_step(keep=True)
        ours = {"fst, VGG-16": our_step(vgg_loss), "fst, lite": our_step(lite_loss)}
        if has_bfloat16(processor_flags()):
            ours[LITE_IN_HALF] = our_step(lite_loss, half=True)
        flops = dict.fromkeys(plain, operations_of_plain(size=size, batch=batch, width=width))
        flops |= {name: count_flops(step) for name, step in ours.items()}
        timings = race({**plain, **ours}, warm_up=warm_up, repetitions=repetitions)
    return [
        Row.of(
            "training step",
            name,
            timing,
            against=timings["plain"],
            size=size,
            batch=batch,
            dtype="bfloat16" if name == LITE_IN_HALF else "float32",
            # the machine's rate is that of float32
            floor_s=None if name == LITE_IN_HALF else flops[name] / machine.flops,
        )
        for name, timing in timings.items()
    ]


def operations_of_plain(*, size: int, batch: int, width: int) -> int:
    """Multiplications and additions of plain's step; they are proportional to the pixels."""
    small = 32
    each = count_flops(training_step(size=small, batch=1, width=width))
    return round(each * batch * (size / small) ** 2)


def benchmark_device_step(
    *,
    machine: Machine,
    device: str,
    size: int,
    batches: Sequence[int],
    width: int,
    warm_up: int,
    repetitions: int,
    calls: int,
    recipes: Sequence[Recipe] = RECIPES,
) -> Iterator[Row]:
    """A whole training step: forward, loss, backward, Adam. The ratio is to plain by default.

    ``machine`` has the rate of bfloat16. ``calls`` steps of the first batch are timed as one.
    """
    for batch in batches:
        torch.compiler.reset()  # else another batch is compiled for any size
        steps = Steps(device=device, size=size, batch=batch, width=width)
        wanted: dict[str, Callable[[], Contestant]] = {
            "plain": partial(steps.plain, tf32=True),
            "plain, no TF32": partial(steps.plain, tf32=False),
            **{recipe.name: partial(steps.ours, recipe) for recipe in recipes},
        }
        flops = count_flops(steps.ours(RECIPES[0]))
        contestants, failed = that_work({name: make() for name, make in wanted.items()})
        each = max(1, calls * batches[0] // batch)
        timings = race(
            contestants, warm_up=warm_up, repetitions=repetitions, device=device, calls=each
        )
        peaks = {name: peak_mb(work, device) for name, work in contestants.items()}
        for name, timing in timings.items():
            rate = flops / timing.median_s
            yield Row.of(
                "training step",
                name,
                timing,
                against=timings.get("plain"),
                size=size,
                batch=batch,
                device=device,
                dtype="bfloat16" if "plain" not in name and "float32" not in name else "float32",
                floor_s=flops / machine.flops,
                peak_mb=peaks[name],
                note=f"{batch / timing.median_s:.0f} images/s; {rate / machine.flops:.1%} of the "
                "machine's measured rate" + (f"; {each} steps timed as one" if each > 1 else ""),
            )
        yield from failures("training step", failed, device=device, size=size, batch=batch)


def profile_step(
    *, device: str, size: int, batch: int, width: int, steps: int, recipes: Sequence[Recipe]
) -> Iterator[tuple[str, list[KernelClass]]]:
    """By recipe, plain first: where the time of a training step goes."""
    made = Steps(device=device, size=size, batch=batch, width=width)
    contestants = {"plain": made.plain(tf32=True)}
    contestants |= {recipe.name: made.ours(recipe) for recipe in recipes}
    working, failed = that_work(contestants)
    for name, work in working.items():
        yield name, profile_by_class(work, steps=steps, device=device)
    for name, error in failed.items():
        yield f"{name}: not profiled: {error}", []


def operations(*, width: int, size: int) -> dict[str, int]:
    """Multiplications and additions for one photo of (size, size), counted by PyTorch.

    They are proportional to the pixels, so they are counted at 32 px.
    """
    small = 32
    steps = Steps(device="cpu", size=small, batch=1, width=width)
    net, loss, photos = steps.net, steps.loss, steps.photos
    work: dict[str, Contestant] = {
        "single pass": lambda: net(photos),
        "VGG-16 to relu3_3 (content)": lambda: loss.network(photos, ["relu3_3"]),
        "VGG-16 to relu4_3 (style)": lambda: loss.network(photos, ["relu4_3"]),
        "training step": lambda: losses_of(net, loss, photos).total.backward(),
        "training step, plain": steps.plain(tf32=True),
    }
    return {name: round(count_flops(of) * (size / small) ** 2) for name, of in work.items()}
