"""Upscalers as pairs of ncnn, run by its library on the CPU."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines.base import UserError
from engines.ncnn_pair import GRAPH, WEIGHTS
from engines.superres.community.library import ncnn
from engines.superres.upscaler import Tiling
from engines.weights import Checkpoint, NetworkSpec

_TILE, _OVERLAP = 256, 32
_MEMORY = 16 << 10  # bytes a pixel
_PROBE = 32  # side of the picture that tells the scale
_SCALES = (1, 2, 3, 4, 8)


class NcnnNet(nn.Module):
    """Graph and weights as bytes; an `engines.superres.upscaler.Upscaler` too.

    Args:
        graph: bytes of the .param file.
        weights: bytes of the .bin file.
        scale: its factor.
        architecture: for people.
    """

    def __init__(self, graph: int, weights: int, scale: int, architecture: str = "ncnn") -> None:
        super().__init__()
        self.register_buffer("graph", torch.zeros(graph, dtype=torch.uint8))
        self.register_buffer("weights", torch.zeros(weights, dtype=torch.uint8))
        self.architecture = architecture
        self._scale = scale
        self._net: Any = None

    @property
    def scale(self) -> int:
        """See `Upscaler`."""
        return self._scale

    @property
    def tiling(self) -> Tiling:
        """See `Upscaler`: its radius is not known, so tiles are blended."""
        return Tiling(halo=None, tile=_TILE, overlap=_OVERLAP, bytes_per_pixel=_MEMORY)

    def upscale(self, lr: Tensor, place: tuple[int, int], full: bool = False) -> Tensor:
        """See `Upscaler`."""
        if self._net is None:
            self._net = _opened(_bytes(self.graph), _bytes(self.weights))
        return torch.from_numpy(_run(self._net, lr[0].cpu().numpy()))[None]


def _opened(graph: bytes, weights: bytes) -> Any:
    """An ncnn network.

    Raises:
        UserError: ncnn cannot read it.
    """
    library = ncnn()
    net = library.Net()
    net.opt.use_vulkan_compute = False
    net.opt.num_threads = torch.get_num_threads()
    # From memory, ncnn would go on to read weights where Python may have put something else.
    with tempfile.TemporaryDirectory(prefix="noise-studio-ncnn-") as folder:
        for name, data in (("net.param", graph), ("net.bin", weights)):
            Path(folder, name).write_bytes(data)
        wrong = net.load_param(str(Path(folder, "net.param")))
        wrong = wrong or net.load_model(str(Path(folder, "net.bin")))
    if wrong or len(net.input_names()) != 1 or not net.output_names():
        raise UserError("ncnn cannot read this network; choose another, or a newer ncnn")
    return net


def _run(net: Any, picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """(3, h, w) -> (channels, H, W).

    Raises:
        UserError: the network takes no such picture.
    """
    library = ncnn()
    picture = np.ascontiguousarray(picture)
    # A Mat does not own the memory that it was made from; its clone does.
    given = library.Mat(picture).clone()
    extractor = net.create_extractor()
    extractor.input(net.input_names()[0], given)
    wrong, found = extractor.extract(net.output_names()[-1])
    result = np.array(found, dtype=np.float32)
    if wrong or result.ndim != 3:
        raise UserError("This ncnn network takes no RGB picture; choose an upscaler")
    return result


def _bytes(buffer: Any) -> bytes:
    return cast("Tensor", buffer).cpu().numpy().tobytes()


def _read(checkpoint: Checkpoint) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    if set(checkpoint.tensors) == {"graph", "weights"}:
        tensors = dict(checkpoint.tensors)  # one of ours, kept before
    elif set(checkpoint.tensors) == {GRAPH, WEIGHTS}:
        tensors = {"graph": checkpoint.tensors[GRAPH], "weights": checkpoint.tensors[WEIGHTS]}
    else:
        return None
    net = _opened(_bytes(tensors["graph"]), _bytes(tensors["weights"]))
    result = _run(net, np.full((3, _PROBE, _PROBE), 0.5, np.float32))
    channels, height, width = result.shape
    scale = height // _PROBE
    if channels != 3 or height != width or scale * _PROBE != height or scale not in _SCALES:
        raise UserError(
            f"{checkpoint.name} makes {channels} x {height} x {width} of 3 x {_PROBE} x {_PROBE}, "
            "which is no plain enlargement; choose another upscaler"
        )
    sizes = {name: value.numel() for name, value in tensors.items()}
    return tensors, {**sizes, "scale": scale, "architecture": "ncnn"}


def _no_golden(_config: Mapping[str, Any]) -> dict[str, Any]:
    raise UserError("There are no golden numbers of community upscalers")


def _no_run(_network: nn.Module, _inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    raise UserError("There are no golden numbers of community upscalers")


SPEC = NetworkSpec(
    id="superres.spandrel/ncnn",
    title="Community upscaler",
    detect=lambda _shapes: None,
    build=lambda config: NcnnNet(**config),
    golden_config=_no_golden,
    golden_run=_no_run,
    expected=(),
    official=lambda _config: False,
    licence="as its source says",
    source="community sites such as OpenModelDB",
    read=_read,
    variant=lambda config: f"{config['architecture']} {config['scale']}x",
)
