"""Blocks that are done, kept on disk until the whole model is: what a killed run goes on from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from engines.quantize.kinds import layer_kind
from engines.quantize.layers import QuantizedLayer


@dataclass(frozen=True)
class LayerReport:
    """One linear layer: full name, weights, stored bits a weight, and its error.

    `error` is the squared error of its output relative to the output, on calibration text.
    """

    name: str
    weights: int
    bits: float
    error: float


@dataclass(frozen=True)
class BlockReport:
    """One block: `error` is its output's relative squared error; `seconds` what it took."""

    name: str
    seconds: float
    error: float
    layers: tuple[LayerReport, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Done:
    """A finished block.

    Attributes:
        layers: path of a linear layer in the block -> what it became.
        plain: path of every other parameter -> its value, float32.
        report: what there is to say about it.
    """

    layers: Mapping[str, QuantizedLayer]
    plain: Mapping[str, Tensor]
    report: BlockReport


class Scratch:
    """Files of finished blocks in a folder that outlives an attempt."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, index: int) -> Path:
        """Where block `index` is kept."""
        return self.folder / f"block-{index:04}.safetensors"

    def has(self, index: int) -> bool:
        """Whether block `index` is done."""
        return self.path(index).is_file()

    def save(self, index: int, done: Done) -> None:
        """Keep a block under a temporary name, then under its own."""
        tensors = {f"plain/{path}": value for path, value in done.plain.items()}
        layers: dict[str, Any] = {}
        for path, layer in done.layers.items():
            layers[path] = {"kind": layer.kind, "settings": layer.settings()}
            for name, value in layer.tensors().items():
                tensors[f"layer/{path}/{name}"] = value
        metadata = {"layers": json.dumps(layers), "report": json.dumps(asdict(done.report))}
        save_tensors(self.path(index), tensors, metadata)

    def load(self, index: int) -> Done:
        """A block that was kept.

        Raises:
            OSError, SafetensorError: its file cannot be read.
        """
        with safe_open(self.path(index), framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        layers: dict[str, QuantizedLayer] = {}
        for path, stored in json.loads(metadata["layers"]).items():
            prefix = f"layer/{path}/"
            own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            layers[path] = layer_kind(stored["kind"]).from_tensors(own, stored["settings"])
        plain = {k.removeprefix("plain/"): v for k, v in tensors.items() if k.startswith("plain/")}
        return Done(layers, plain, _report(json.loads(metadata["report"])))

    def whole(self, index: int) -> bool:
        """Whether block `index` is done and its file can be read; a damaged file is removed."""
        if not self.has(index):
            return False
        try:
            self.load(index)
        except (OSError, SafetensorError, KeyError, ValueError):
            self.path(index).unlink(missing_ok=True)
            return False
        return True


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file under a temporary name, then give it its own."""
    partial = path.with_name(f"{path.name}.partial")
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    save_file(plain, partial, dict(metadata))
    os.replace(partial, path)


def _report(values: Mapping[str, Any]) -> BlockReport:
    layers = tuple(LayerReport(**one) for one in values["layers"])
    return BlockReport(**{**values, "layers": layers, "notes": tuple(values["notes"])})
