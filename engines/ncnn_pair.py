"""A network of ncnn, two files that belong together, as one mapping of tensors.

`NAME.param` is the graph in text and `NAME.bin` its weights; they come side by side or in a zip.
The studio keeps both as bytes in one safetensors file.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from engines.base import UserError

if TYPE_CHECKING:
    from torch import Tensor

GRAPH, WEIGHTS = "ncnn.param", "ncnn.bin"  # names of the tensors
_MAGIC = b"7767517"
_MOST = 1 << 31  # bytes of either


def is_pair(path: Path) -> bool:
    """Whether a file is (half of) such a network, by its name and that of its neighbour."""
    suffix = path.suffix.lower()
    return suffix in (".param", ".zip") or (suffix == ".bin" and _other(path, ".param").is_file())


def read_pair(path: Path) -> dict[str, Tensor]:
    """Graph and weights as bytes.

    Args:
        path: either of the two files, or a zip in which both are.

    Returns:
        `GRAPH` and `WEIGHTS`, both (n,) uint8.

    Raises:
        UserError: the other half is missing, or it is no graph of ncnn.
    """
    import torch

    try:
        graph, weights = _zipped(path) if path.suffix.lower() == ".zip" else _beside(path)
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{path.name} cannot be read; it is damaged or locked") from error
    if not graph.lstrip().startswith(_MAGIC):
        raise UserError(f"{path.name} holds no graph of ncnn in text; binary ones cannot be used")
    return {
        name: torch.frombuffer(bytearray(data), dtype=torch.uint8)
        for name, data in ((GRAPH, graph), (WEIGHTS, weights))
    }


def _beside(path: Path) -> tuple[bytes, bytes]:
    graph, weights = _other(path, ".param"), _other(path, ".bin")
    for file in (graph, weights):
        if not file.is_file():
            raise UserError(
                f"{path.name} is half of an ncnn network; put {file.name} beside it, or both into "
                "a zip"
            )
        if not 0 < file.stat().st_size < _MOST:
            raise UserError(f"{file.name} has no usable size; fetch it again")
    return graph.read_bytes(), weights.read_bytes()


def _zipped(path: Path) -> tuple[bytes, bytes]:
    found: dict[str, bytes] = {}
    with zipfile.ZipFile(path) as packed:
        for info in packed.infolist():
            suffix = PurePosixPath(info.filename).suffix.lower()
            if suffix in (".param", ".bin") and not info.filename.startswith("__MACOSX"):
                if suffix in found or info.file_size >= _MOST:
                    raise UserError(f"{path.name} holds several networks; zip one pair alone")
                found[suffix] = packed.read(info)
    if len(found) != 2 or not all(found.values()):
        raise UserError(
            f"{path.name} holds no ncnn network; zip its .param and .bin file, or add another file"
        )
    return found[".param"], found[".bin"]


def _other(path: Path, suffix: str) -> Path:
    """The file of the same name with another suffix, whichever case that is written in."""
    upper = path.with_suffix(suffix.upper())
    return upper if upper.is_file() else path.with_suffix(suffix)


def together(paths: Sequence[Path]) -> list[Path]:
    """Files that came in folders of their own, the halves of pairs moved into one.

    Returns:
        What is to be read: one of each pair, and all other files.
    """
    graphs = {path.stem: path for path in paths if path.suffix.lower() == ".param"}
    rest: list[Path] = []
    for path in paths:
        graph = graphs.get(path.stem) if path.suffix.lower() == ".bin" else None
        if graph is None:
            rest.append(path)
        elif path.parent != graph.parent:
            shutil.copyfile(path, graph.with_suffix(path.suffix))
    return rest
