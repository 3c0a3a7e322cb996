"""A quantized diffusion model as a folder: the pipeline as it was, with another network in it.

docs/quantized-layout.md describes the layout "studio"; "dense" has the rounded weights as ordinary
tensors, which diffusers loads like any other model.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from engines.quantize.diffusion.folder import SCHEDULER, DiffusionFolder
from engines.quantize.diffusion.layers import Stepped
from engines.quantize.export.studio import METHOD, VERSION
from engines.quantize.folder import CONFIG, PIPELINE
from engines.quantize.scratch import save_tensors

WEIGHTS = "diffusion_pytorch_model.safetensors"
_NEVER = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".msgpack", ".onnx", ".py"}
_BESIDE = ("LICENSE*", "LICENCE*", "NOTICE*")
_PIECE = 16 * 2**20  # bytes copied at a time


@dataclass(frozen=True)
class Exported:
    """What was written: the folder of the network in it, and the bytes of its tensors."""

    network: Path
    bytes: int


def write_model(
    made: Path, folder: DiffusionFolder, network: nn.Module, layers: Mapping[str, Stepped], *,
    export: str, method: str, timesteps: Sequence[int], card: str, check: Callable[[], None],
) -> Exported:  # fmt: skip
    """Write into `made`, which is made here.

    Args:
        made: where to.
        folder: the original, whose other parts are copied.
        network: quantized; its other tensors are written as they are.
        layers: its quantized layers by name.
        export: "studio" or "dense".
        method: name of the method, for the config.
        timesteps: of the sampling steps that inputs have grids for.
        card: text of README.md.
        check: raises Cancelled.
    """
    alone = not folder.pipeline
    place = made if alone else made / "unet"
    place.mkdir(parents=True)
    (made / "README.md").write_text(card, encoding="utf-8")
    for pattern in _BESIDE:
        for path in folder.path.glob(pattern):
            shutil.copyfile(path, made / path.name)
    beside = SCHEDULER if alone else PIPELINE
    if (folder.path / beside).is_file():
        shutil.copyfile(folder.path / beside, made / beside)
    for name, part in folder.parts.items():
        if name != "unet":
            _copy(part, made / name, check)
    types = {name: where.dtype for name, where in folder.network.places.items()}
    tensors = {name: value.detach() for name, value in network.state_dict().items()}
    config: dict[str, Any] = dict(folder.network.config)
    if export == "studio":
        config["quantization_config"] = _described(layers, method, timesteps)
        for name, layer in layers.items():
            del tensors[f"{name}.weight"]
            tensors |= {f"{name}.{part}": value for part, value in layer.tensors().items()}
    coded = {f"{name}.{part}" for name, layer in layers.items() for part in layer.tensors()}
    kept = {
        name: value if name in coded else value.to(types.get(name, torch.float32))
        for name, value in tensors.items()
    }
    text = json.dumps(config, indent=2) + "\n"
    (place / CONFIG).write_text(text, encoding="utf-8")
    save_tensors(place / WEIGHTS, kept, {"format": "pt"})
    return Exported(place, sum(one.numel() * one.element_size() for one in kept.values()))


def _described(
    layers: Mapping[str, Stepped], method: str, timesteps: Sequence[int]
) -> dict[str, Any]:
    return {
        "quant_method": METHOD,
        "version": VERSION,
        "method": method,
        "timesteps": list(timesteps),
        "layers": {
            name: {"kind": layer.kind, "tensors": sorted(layer.tensors()), **layer.settings()}
            for name, layer in layers.items()
        },
    }


def _copy(source: Path, target: Path, check: Callable[[], None]) -> None:
    """A folder's files without pickles and code; links are followed, as hubs' caches have them."""
    for path in sorted(source.rglob("*")):
        inside = path.relative_to(source)
        hidden = any(part.startswith(".") for part in inside.parts)
        if not path.is_file() or path.suffix in _NEVER or hidden:
            continue
        (target / inside).parent.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as file, (target / inside).open("xb") as copy:
            while piece := file.read(_PIECE):
                check()
                copy.write(piece)
