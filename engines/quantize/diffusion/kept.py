"""Layers that are done, kept on disk until the whole model is: what a killed run goes on from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open

from engines.quantize.diffusion.layers import Stepped
from engines.quantize.scratch import save_tensors


def keep_layers(path: Path, layers: Mapping[str, Stepped]) -> None:
    """Write layers to a file, under a temporary name first."""
    tensors = {
        f"{name}/{part}": value
        for name, layer in layers.items()
        for part, value in layer.tensors().items()
    }
    settings = {name: layer.settings() for name, layer in layers.items()}
    save_tensors(path, tensors, {"layers": json.dumps(settings)})


def kept_layers(path: Path) -> dict[str, Stepped] | None:
    """The layers of a file; None where there is none, or it is damaged (it is then removed)."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            settings = json.loads(file.metadata()["layers"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        found: dict[str, Stepped] = {}
        for name, told in settings.items():
            start = f"{name}/"
            own = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
            found[name] = Stepped.from_tensors(own, told)
        return found
    except (OSError, SafetensorError, KeyError, ValueError, TypeError):
        path.unlink(missing_ok=True)
        return None
