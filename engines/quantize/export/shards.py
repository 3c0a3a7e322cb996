"""safetensors files written tensor by tensor, of which none is ever whole in memory.

A safetensors file begins with a list of all it holds, so tensors go to a spool first; when a shard
is full it is copied behind its list. Files carry temporary names until all of them are there.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from engines.quantize.folder import INDEX

_CHUNK = 16 * 2**20  # bytes copied at a time
_NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


@dataclass(frozen=True)
class _Piece:
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    bytes: int


class ShardWriter:
    """Writes model.safetensors, or numbered shards and their index, into a folder."""

    def __init__(self, folder: Path, shard_bytes: int) -> None:
        """Begin in `folder`, which exists; a shard has at most `shard_bytes` bytes of values.

        A tensor larger than that has a shard of its own.
        """
        self.bytes = 0
        self._folder = folder
        self._limit = shard_bytes
        self._shards: list[list[_Piece]] = []
        self._pieces: list[_Piece] = []
        self._names: set[str] = set()
        self._spool: BinaryIO | None = None
        self._filled = 0

    def add(self, name: str, tensor: Tensor) -> None:
        """Write one tensor.

        Raises:
            ValueError: there is one of that name already.
            OSError: the disk is full, here and in `finish`.
        """
        if name in self._names:
            raise ValueError(f"{name} is written twice.")
        self._names.add(name)
        size = tensor.numel() * tensor.element_size()
        if self._pieces and self._filled + size > self._limit:
            self._close_shard()
        if self._spool is None:
            self._spool = self._spool_path.open("wb")
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        if size:
            flat.view(torch.uint8).numpy().tofile(self._spool)
        piece = _Piece(name, tensor.dtype, tuple(tensor.shape), self._filled, size)
        self._pieces.append(piece)
        self._filled += size
        self.bytes += size

    def finish(self) -> None:
        """Write the last shard and the index, and give all files their names."""
        if self._pieces or not self._shards:
            self._close_shard()
        count = len(self._shards)
        if count == 1:
            os.replace(self._part(1), self._folder / "model.safetensors")
            return
        found: dict[str, str] = {}
        for number, pieces in enumerate(self._shards, 1):
            final = f"model-{number:05d}-of-{count:05d}.safetensors"
            os.replace(self._part(number), self._folder / final)
            found.update((piece.name, final) for piece in pieces)
        index = {"metadata": {"total_size": self.bytes}, "weight_map": dict(sorted(found.items()))}
        text = json.dumps(index, indent=2) + "\n"
        (self._folder / INDEX).write_text(text, encoding="utf-8")

    def close(self) -> None:
        """Give up: take away what is not finished."""
        if self._spool is not None:
            self._spool.close()
        for path in self._folder.glob("*.part"):
            path.unlink(missing_ok=True)

    @property
    def _spool_path(self) -> Path:
        return self._folder / "spool.part"

    def _part(self, number: int) -> Path:
        return self._folder / f"model-{number:05d}.safetensors.part"

    def _close_shard(self) -> None:
        if self._spool is not None:
            self._spool.close()
            self._spool = None
        # Wide types first, as safetensors itself writes them: then every tensor lies aligned.
        pieces = sorted(self._pieces, key=lambda piece: (-piece.dtype.itemsize, piece.name))
        header: dict[str, object] = {"__metadata__": {"format": "pt"}}
        at = 0
        for piece in pieces:
            header[piece.name] = {
                "dtype": _NAMES[piece.dtype],
                "shape": list(piece.shape),
                "data_offsets": [at, at + piece.bytes],
            }
            at += piece.bytes
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        self._shards.append(self._pieces)
        with self._part(len(self._shards)).open("wb") as target:
            target.write(len(text).to_bytes(8, "little") + text)
            if at:
                with self._spool_path.open("rb") as source:
                    for piece in pieces:
                        _copy(source, target, piece)
            target.flush()
            os.fsync(target.fileno())
        self._spool_path.unlink(missing_ok=True)
        self._pieces, self._filled = [], 0


def _copy(source: BinaryIO, target: BinaryIO, piece: _Piece) -> None:
    source.seek(piece.start)
    left = piece.bytes
    while left:
        left -= target.write(source.read(min(left, _CHUNK)))
