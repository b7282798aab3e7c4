"""Load a style once, stylize many photos: any size, any device, one forward pass each."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypedDict, Unpack, overload

import numpy as np
from PIL import Image

from fst.errors import FstError
from fst.inference.backends import FIXED_MEMORY, Backend, is_out_of_memory, open_backend
from fst.inference.controls import PLAIN, Controls, Mask, controlled, mask_of
from fst.inference.strokes import side_of, with_strokes
from fst.inference.tiling import AUTO, OFF, Silent, Tiling, Watch
from fst.nets.blend import read_blend, require_unnamed
from fst.nets.style_card import cards_trusted, net_width, parted_address, read_card
from fst.nets.style_file import MIN_SIDE
from fst.nets.style_names import find_file, find_style
from fst.nets.trained_strength import picture_share, takes_strength
from fst.pictures.image import Picture, from_array, read_picture, to_array, to_picture
from fst.pictures.opening import DECODING
from fst.system.console import note_once
from fst.system.machine import give_back_freed_memory
from fst.system.memory import LatelyFree, bound_of_memory, total_memory
from fst.system.paths import user_path

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from fst.inference.tiled_style import TiledStyle

LARGEST_ON_GPU = 2**31  # values of one layer, beyond which not every kernel can count
BESIDE = 2  # photos of this size that are read and written meanwhile


class Asked(TypedDict, total=False):
    """``Controls`` as keywords of a call."""

    strength: float
    keep_colors: float
    mask: Mask | None
    styles: Mapping[str, float] | None
    stroke: int | str | None


class Stylizer:
    """A trained style, ready to use.

    ``style`` is a style file, the name of a shipped style, or of a run below ``runs/``.
    ``backend`` is ``torch``, ``onnx`` or ``openvino``, the last two on the CPU only, or ``auto``:
    the fastest that is installed. ``precision`` is ``exact``, float32; ``fast``, OpenVINO's
    bfloat16 on a CPU that has it, float16 on a GPU; or ``auto``, which is ``fast`` on a GPU, and on
    a CPU where the style's card says that nobody would see it; ``backend.precision`` tells. ``say``
    is told, in a sentence, what goes wrong on the way to a backend. ``trust_card`` takes an older
    file's card as it is, whatever its ``output_gain``, though no checksum covers it. ``styles``
    blends paintings of a net of several, by their weights: ``Stylizer("base", styles={"udnie": 0.6,
    "dots": 0.4})``. Raises ``FstError`` for a style that is unknown or damaged, a device that is
    not here, a backend that is not installed, a precision that cannot be had, a blend of a net that
    knows one painting.

    A picture whose pass does not fit into the memory goes in tiles, without seams
    (``fst.inference.tiled_pass``). ``tiles``, ``max_memory`` (bytes) and ``scratch`` are those of
    ``Tiling``, which raises ``FstError``; ``watch`` is told of such a pass, which may take long.

    >>> stylizer = Stylizer("great_wave")
    >>> stylizer("photo.jpg").save("wave.jpg")
    """

    def __init__(
        self,
        style: str | Path,
        *,
        device: str | torch.device = "auto",
        backend: str = "auto",
        precision: str = "auto",
        say: Callable[[str], None] = lambda line: None,
        trust_card: bool = False,
        styles: Mapping[str, float] | None = None,
        tiles: str | int = AUTO,
        max_memory: int | None = None,
        scratch: str | Path | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.tiling = Tiling(tiles, max_memory, None if scratch is None else user_path(scratch))
        self._watch = watch or Silent()
        self._styles = styles
        self._open = partial(
            open_backend, backend, device=str(device), precision=precision, say=say
        )
        self._trust_card = trust_card
        self.lately_free = LatelyFree(max_memory)
        self._other: tuple[Any, Backend] | None = None  # blend and strength of the last call
        with cards_trusted(trust_card):
            self.path = find_style(style) if styles is None else find_file(style)
            if styles is None:
                self.card = read_card(self.path)
            else:
                require_unnamed(self.path)
                self.card, _ = read_blend(self.path, styles)
            self.takes_strength = takes_strength(self.card)
            self.name = self.card.name
            self.backend = self._open(self.path, blend=styles)

    @overload
    def __call__(
        self, photo: Image.Image | str | os.PathLike[str], **controls: Unpack[Asked]
    ) -> Image.Image: ...
    @overload
    def __call__(self, photo: np.ndarray, **controls: Unpack[Asked]) -> np.ndarray: ...
    @overload
    def __call__(self, photo: Tensor, **controls: Unpack[Asked]) -> Tensor: ...
    @overload
    def __call__(
        self, photo: list[Any] | tuple[Any, ...], **controls: Unpack[Asked]
    ) -> list[Any]: ...

    def __call__(self, photo: Any, **controls: Unpack[Asked]) -> Any:
        """One photo, or a list of them -> stylized, of the same kind and size.

        - A Pillow image of any mode, or the path of a picture -> a Pillow image, RGB, or RGBA if it
          has transparency. RGBA fits into a ``.png``; for a ``.jpg`` say ``.convert("RGB")``.
        - An array or tensor of uint8 RGB, (H, W, 3) or (B, 3, H, W) -> the same shape and type, a
          tensor on its device.
        - A list or tuple of any of these -> a list.

        ``strength``, ``keep_colors``, ``mask``, ``styles`` and ``stroke`` are those of
        ``Controls``; another blend than in the call before takes as long as to open a style.

        Anything else is refused: floating point might be in [0, 1], in [0, 255] or normalized, and
        a guess would be wrong in silence. Raises ``FstError`` for that, and as ``Controls`` and
        ``pixels`` do.
        """
        return self._any(photo, Controls(**controls))

    def _any(self, photo: Any, controls: Controls) -> Any:
        if isinstance(photo, (list, tuple)):
            return [self._any(one, controls) for one in photo]
        if isinstance(photo, (str, os.PathLike)):
            read = read_picture(user_path(os.fspath(photo)))
            return self.picture(read, controls).image()
        if isinstance(photo, Image.Image):
            return self.picture(_decoded(photo), controls).image()
        if isinstance(photo, np.ndarray):
            return self._batch(photo, controls)
        if type(photo).__module__.partition(".")[0] == "torch" and hasattr(photo, "detach"):
            return self._tensor(photo, controls)
        raise FstError(
            f"a photo of type {type(photo).__name__} cannot be stylized; give a Pillow image, a "
            "path, a uint8 array or tensor (H, W, 3) or (B, 3, H, W), or a list of them"
        )

    def _tensor(self, photo: Tensor, controls: Controls) -> Tensor:
        import torch

        if photo.dtype != torch.uint8:  # some of torch's types are none of numpy's
            _refuse_type(str(photo.dtype).removeprefix("torch."))
        if photo.device.type == "meta" or photo.layout != torch.strided:
            raise FstError("a tensor without pixels of its own (meta, sparse) cannot be stylized")
        made = self._batch(photo.detach().cpu().numpy(), controls)
        return torch.from_numpy(made).to(photo.device)

    def _batch(self, photo: np.ndarray, controls: Controls) -> np.ndarray:
        if photo.dtype == np.uint8 and photo.ndim == 3 and photo.shape[2] == 3:
            made = self.pixels(photo.transpose(2, 0, 1)[None], controls)
            return made[0].transpose(1, 2, 0).copy()
        return self.pixels(photo, controls)

    def picture(self, photo: Picture, controls: Controls = PLAIN) -> Picture:
        """``Picture`` -> stylized ``Picture`` with the photo's alpha and profile."""
        made = self.pixels(to_array(photo.rgb), controls, alpha=photo.alpha)
        return replace(photo, rgb=from_array(made))

    def pixels(
        self,
        pixels: np.ndarray,
        controls: Controls = PLAIN,
        *,
        alpha: Image.Image | None = None,
    ) -> np.ndarray:
        """pixels (B, 3, H, W) uint8 RGB -> stylized, the same shape and type.

        ``alpha`` (mode L) is what the mask "alpha" stands for. Raises ``FstError`` for another
        shape or type, for a picture under 16 px, for one too large for the free memory, and for
        controls that do not fit.
        """
        if pixels.dtype != np.uint8:
            _refuse_type(str(pixels.dtype))
        if pixels.ndim != 4 or pixels.shape[1] != 3 or pixels.shape[0] < 1:
            raise FstError(
                f"pixels of shape {tuple(pixels.shape)} are neither (H, W, 3) nor (B, 3, H, W)"
            )
        batch, _, height, width = pixels.shape
        if min(height, width) < MIN_SIDE:
            raise FstError(
                f"the photo has {width}x{height} px; at least {MIN_SIDE} px a side are needed"
            )
        mask = None
        if controls.mask is not None:  # before the pass, which takes seconds
            mask = mask_of(controls.mask, alpha, width, height)
        stroke = side_of(controls.stroke, min(height, width))
        larger = max(1.0, (stroke or 0) / min(height, width))  # fine strokes: an enlarged pass
        fits = self.require_memory(batch, round(height * larger), round(width * larger))
        run = self.passes(controls.styles, controls.strength, all_fit=fits)
        stylized = run(pixels) if stroke is None else with_strokes(run, pixels, stroke)
        return controlled(stylized, pixels, self.last_mix(controls), mask)

    def last_mix(self, controls: Controls) -> Controls:
        """What is left for ``controlled`` to do after the pass.

        Of a net that took the strength, little of the photo is mixed in; of any other all that the
        strength asks for, which is said in a line, once.
        """
        if self.takes_strength:
            return replace(controls, strength=picture_share(controls.strength))
        if 0 < controls.strength < 1:
            note_once(
                f"{self.name} was not trained to take a strength (net.strengths=true): the pixels "
                "of photo and picture are mixed",
                kind="mixed pixels",
            )
        return controls

    def passes(
        self,
        styles: Mapping[str, float] | None,
        strength: float,
        *,
        all_fit: bool = False,
    ) -> Callable[[np.ndarray], np.ndarray]:
        """The pass of this style, or of another blend, over pixels (B, 3, H, W) uint8.

        A net that was trained to take a strength takes this one.

        In one go, or in tiles where that does not fit, or is asked for; ``all_fit`` says that
        every pass to come fits, for all that is known.
        """
        backend = self._backend(styles, strength)

        def run(pixels: np.ndarray) -> np.ndarray:
            batch, _, height, width = pixels.shape
            if self._in_one_go(batch, height, width, fits=all_fit):
                try:
                    return backend(np.ascontiguousarray(pixels))
                except Exception as error:  # each runtime has its own exceptions
                    if not is_out_of_memory(error):
                        raise
                    if self.tiling.tiles == OFF:
                        raise FstError(
                            f"the photo of {width}x{height} px does not fit into the memory of "
                            f"{backend.device}; leave --tiles off out, or use a smaller size, for "
                            f"instance --size {min(height, width) // 2}"
                        ) from None
            return self.in_tiles(styles, strength)(pixels)

        return run

    def in_tiles(self, styles: Mapping[str, float] | None, strength: float) -> TiledStyle:
        """What stylizes in tiles, in this style or another blend, as ``passes`` has it."""
        from fst.inference.tiled_style import TiledStyle

        backend = self._backend(styles, strength)
        blend = self._styles if styles is None else styles
        path = self.path if blend is None else parted_address(self.path)[0]
        with cards_trusted(self._trust_card):
            return TiledStyle(
                backend,
                path,
                blend,
                self.tiling,
                self._watch,
                strength=strength,
                beside=BESIDE * DECODING,
            )

    def _in_one_go(self, batch: int, height: int, width: int, *, fits: bool) -> bool:
        tiles = self.tiling.tiles
        if not isinstance(tiles, str) and max(height, width) > tiles:
            return False
        if tiles == OFF:
            return True
        if self.backend.device != "cpu":
            return batch * height * width * net_width(self.card) < LARGEST_ON_GPU
        return fits or self._needed(batch * height * width) <= self.lately_free.look()

    def _needed(self, pixels: int) -> float:
        """Bytes of a pass over so many pixels in one go, and of the photos beside it."""
        memory = self.backend.memory.needed(pixels, net_width(self.card))
        return memory + BESIDE * DECODING * pixels

    def _backend(self, styles: Mapping[str, float] | None, strength: float) -> Backend:
        """The one of this style, or of another blend or strength; that of the last call is kept."""
        between = self.takes_strength and 0 < strength < 1
        if styles is None and not between:
            return self.backend
        asked = None if styles is None else dict(styles), strength if between else 1.0
        if self._other is None or self._other[0] != asked:
            path = self.path if styles is None else parted_address(self.path)[0]
            with cards_trusted(self._trust_card):
                opened = self._open(path, blend=styles, strength=strength)
            self._other = asked, opened
        return self._other[1]

    def require_memory(self, batch: int, height: int, width: int, *, at_all: bool = False) -> bool:
        """Whether a pass fits in one go; ``FstError`` if in tiles it would not fit either.

        So it is said before the system would have to kill the process. ``at_all`` asks only whether
        the machine has the memory, whatever else holds some of it now.
        """
        if self.backend.device != "cpu":
            return True
        pixels = batch * height * width
        needed = self._needed(pixels)
        if self.lately_free.is_plenty(needed):
            return True
        available = self._all_memory() if at_all else self.lately_free.look()
        if needed > available and not at_all:
            give_back_freed_memory()  # of the pictures before
            available = self.lately_free.look()
        if needed <= available:
            return True
        if self._fits_in_tiles(pixels, height, width):
            return False
        now = min(available, self.lately_free.look())
        share = max(now - FIXED_MEMORY, 0) / (needed - FIXED_MEMORY)
        fits = int(min(height, width) * (0.95 * share) ** 0.5)
        cure = f"use --size {fits}" if fits >= MIN_SIDE else "more is needed for any photo"
        raise FstError(
            f"the photo of {width}x{height} px needs about {needed / 1e9:.1f} GB of memory "
            f"and {available / 1e9:.1f} GB are {'here' if at_all else 'free'}"
            f"{bound_of_memory(at_all=at_all)}; {cure}"
        )

    def _all_memory(self) -> int:
        """Bytes that there would be if nothing held any."""
        total, most = total_memory(), self.tiling.max_memory
        return total if most is None else min(total, most)

    def _fits_in_tiles(self, pixels: int, height: int, width: int) -> bool:
        """Whether tiles fit, and the pixels themselves."""
        from fst.inference.tile_budget import reckon

        if self.tiling.tiles == OFF or BESIDE * DECODING * pixels > self.lately_free.look():
            return False
        try:
            reckon(self.card.net, height, width, memory=self.backend.memory, tiling=self.tiling)
        except FstError:
            return False
        return True


def _decoded(photo: Image.Image) -> Picture:
    try:
        return to_picture(photo)
    except FstError:
        raise
    except Exception as error:  # Pillow decodes when the pixels are first asked for
        raise FstError(f"the photo cannot be decoded and converted to RGB ({error})") from None


def _refuse_type(name: str) -> NoReturn:
    raise FstError(
        f"pixels of type {name} cannot be stylized; give uint8 in 0 .. 255, which of floating "
        "point in 0 .. 1 is (255 * pixels).round() as uint8"
    )
