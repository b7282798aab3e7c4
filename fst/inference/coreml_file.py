"""A style file -> a Core ML package (``.mlpackage``), built with coremltools' MIL: no torch.

The program is ``PixelNet`` of ``TransformerNet`` for photos of one size, an RGB image to an RGB
image. Core ML itself is Apple's alone: here the written package is read back and computed in numpy
(``fst.inference.coreml_run``), which says that the program is right, and not that Core ML runs it.
"""

from __future__ import annotations

import contextlib
import io
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fst.errors import FstError, pip_install
from fst.inference.backends import installed
from fst.inference.coreml_run import run_of_package
from fst.inference.graph_file import eager_pass, load_onnx, metadata_of
from fst.inference.onnx_graph import EPS, IN, OUT, GraphOptions, onnx_graph
from fst.inference.parity import measure_parity
from fst.nets.style_card import Card
from fst.nets.style_file import arrays_of, read_checked
from fst.nets.trained_strength import at_strength, takes_strength
from fst.system.installed import is_here

MOST_OFF = {False: 1, True: 2}  # levels of 255, in float32 and in float16


def require_coreml(options: GraphOptions) -> None:
    """Raise ``FstError`` for what a Core ML package cannot be, or where coremltools is missing."""
    if options != GraphOptions(half=options.half, size=options.size):
        raise FstError(
            "--opset, --inputs and --floats are not for --format coreml, whose program takes and "
            "returns an image; leave them out"
        )
    if options.size is None:
        raise FstError(
            "--format coreml is for photos of one size; give --size HEIGHTxWIDTH, for instance "
            "--size 512x512"
        )
    if not is_here("coremltools"):
        raise FstError(f"--format coreml needs coremltools; {pip_install('coreml')}")


def export_coreml(style: Path, card: Card, path: Path, options: GraphOptions) -> dict[str, Any]:
    """Write the package of a style, compute the written one in numpy, return the parity.

    It appears at ``path``, in place of one that may be there, only if no pixel is off by more than
    1 of 255, or 2 in half precision, from eager PyTorch, or from ONNX Runtime where PyTorch is not
    installed; else ``FstError`` is raised and nothing is left behind.
    """
    require_coreml(options)
    assert options.size is not None
    if path.exists() and not (path / "Manifest.json").is_file():
        raise FstError(f"{path} is no Core ML package and stays; use -o elsewhere")
    own, data = read_checked(style)
    if takes_strength(own):
        own, data = at_strength(own, data, 1.0)
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}.mlpackage")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        model = _model(own, arrays_of(data), options)
        model.save(str(temporary))
        expected = eager_pass(style)
        if expected is None and (installed("onnx") or installed("openvino")):
            expected = load_onnx(onnx_graph(own, data))
        shape = (1, *options.size)
        parity = measure_parity(expected, run_of_package(temporary), [shape])
        off = parity.get("max_difference", 0)
        if off > MOST_OFF[options.half]:
            cure = "please report this with your version of coremltools"
            if options.half:
                cure = f"float16 is too coarse for {card.name}: leave out --half"
            raise FstError(f"{path} is not written: a pixel of it is off by {off} of 255; {cure}")
        if expected is not None:
            card.export["coreml"] = parity
        shutil.rmtree(temporary)
        for key, value in metadata_of([card]).items():
            model.user_defined_metadata[key] = value
        model.short_description = f"Style transfer in the manner of {card.name}"
        model.save(str(temporary))
        _take_place(temporary, path)
    except OSError as error:
        raise FstError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return parity


def package_bytes(path: Path) -> int:
    """The bytes of all files of a package."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _take_place(temporary: Path, path: Path) -> None:
    """Rename, where a package may stand already."""
    old = temporary.with_suffix(".old")
    if path.exists():
        path.rename(old)
    temporary.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def _model(card: Card, tensors: dict[str, np.ndarray], options: GraphOptions) -> Any:
    """The ``coremltools.models.MLModel`` of a style, with an image at both ends."""
    assert options.size is not None
    height, width = options.size
    with _quiet():
        import coremltools as ct
        from coremltools.converters.mil import Builder

        # from iOS 16 and macOS 13 on, a program may return an image
        target = ct.target.iOS16
        spec = Builder.TensorSpec(shape=(1, 3, height, width))

        @Builder.program(input_specs=[spec], opset_version=target)
        def program(pixels: Any) -> Any:
            return _Program(Builder, card.net, tensors).net(pixels, options.size)

        image = ct.ImageType(name=IN, shape=(1, 3, height, width), color_layout=ct.colorlayout.RGB)
        precision = ct.precision.FLOAT16 if options.half else ct.precision.FLOAT32
        converted = ct.convert(
            program,
            source="milinternal",
            convert_to="mlprogram",
            compute_precision=precision,
            minimum_deployment_target=target,
            inputs=[image],
            skip_model_load=True,
        )
        described = converted.get_spec()
        (output,) = described.description.output
        output.type.imageType.width, output.type.imageType.height = width, height
        rgb = described.description.input[0].type.imageType.colorSpace
        output.type.imageType.colorSpace = rgb
        return ct.models.MLModel(described, weights_dir=converted.weights_dir, skip_model_load=True)


class _Program:
    """The operations of a whole pass, as ``onnx_graph.Writer`` has the nodes."""

    def __init__(self, builder: Any, arguments: dict[str, Any], tensors: dict[str, Any]) -> None:
        self.mb = builder
        self.arguments = arguments
        self.tensors = {name: value.astype(np.float32) for name, value in tensors.items()}

    def net(self, pixels: Any, size: Any) -> Any:
        """Levels (1, 3, H, W) -> the picture's, whole numbers in 0 .. 255."""
        height, width = size
        full, half = (height, width), (-(-height // 2), -(-width // 2))
        mb = self.mb
        x = self.step("1", "conv1.conv", mb.mul(x=pixels, y=np.float32(1 / 255)))
        x = self.step("2", "down1.conv", x, stride=2)
        x = self.step("3", "down2.conv", x, stride=2)
        for block in range(int(self.arguments["residual_blocks"])):
            at = f"residual.{block}"
            y = mb.relu(x=self.norm(f"{at}.norm1", self.conv(f"{at}.conv1.conv", x)))
            y = self.norm(f"{at}.norm2", self.conv(f"{at}.conv2.conv", y))
            x = mb.add(x=x, y=y)
        x = self.step("4", "up1.conv.conv", self.enlarged(x, half))
        x = self.step("5", "up2.conv.conv", self.enlarged(x, full))
        y = self.conv("conv2.conv", x)
        y = mb.tanh(x=mb.mul(x=y, y=np.float32(self.arguments["output_gain"])))
        y = mb.mul(x=mb.add(x=y, y=np.float32(1)), y=np.float32(127.5))
        return mb.round(x=y, name=OUT)

    def step(self, norm: str, conv: str, x: Any, *, stride: int = 1) -> Any:
        return self.mb.relu(x=self.norm(f"norm{norm}", self.conv(conv, x, stride=stride)))

    def conv(self, name: str, x: Any, *, stride: int = 1) -> Any:
        weight = self.tensors[f"{name}.weight"]
        margin = weight.shape[-1] // 2
        x = self.mb.pad(x=x, pad=[0, 0, 0, 0, *[margin] * 4], mode="reflect")
        bias = self.tensors[f"{name}.bias"]
        return self.mb.conv(
            x=x, weight=weight, bias=bias, strides=[stride, stride], pad_type="valid"
        )

    def norm(self, name: str, x: Any) -> Any:
        gamma, beta = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        return self.mb.instance_norm(x=x, gamma=gamma, beta=beta, epsilon=np.float32(EPS))

    def enlarged(self, x: Any, size: tuple[int, int]) -> Any:
        twice: dict[str, Any] = {"scale_factor_height": 2.0, "scale_factor_width": 2.0}
        if self.arguments.get("upsampling", "nearest") == "nearest":
            x = self.mb.upsample_nearest_neighbor(x=x, **twice)
        else:
            x = self.mb.upsample_bilinear(x=x, **twice, align_corners=False)
        if tuple(x.shape[-2:]) == size:
            return x
        return self.mb.slice_by_index(x=x, begin=[0, 0, 0, 0], end=[*x.shape[:2], *size])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without coremltools' bars, and its notes that this is no Mac and torch is too new."""
    with contextlib.redirect_stderr(io.StringIO()):
        yield
