"""Pictures beside a quantized diffusion model: errors over steps and layers, and samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from engines.base import Figure
from engines.media.chart import Axis, Chart
from engines.quantize.diffusion.folder import DiffusionFolder
from engines.quantize.diffusion.judge import Judged
from engines.quantize.figures import decades

_INK, _OTHER = "#0d4a55", "#b5651d"
_SHORT = 96  # pictures smaller than this are shown larger
_GAP = 4


def draw_steps(path: Path, judged: Judged) -> Figure:
    """Error of the prediction over the way from noise to picture."""
    errors = [max(error, 1e-9) for error in judged.errors]
    chart = Chart(
        Axis("timestep (the picture is at 0)", 0.0, max(*judged.timesteps, 1), counts=True),
        Axis("relative squared error of the prediction", *decades(errors), by_tens=True),
    )
    points = list(zip(map(float, judged.timesteps), errors, strict=True))
    chart.line(points, _INK)
    for t, error in points:
        chart.dot(t, error, _INK, radius=3.0)
    chart.save(path)
    worst = max(range(len(errors)), key=errors.__getitem__)
    return Figure(
        path,
        "Error of every step",
        f"Squared error of the predicted noise relative to it, over the sampling steps; the "
        f"largest is {errors[worst]:.2g} at timestep {judged.timesteps[worst]}",
        chart=True,
    )


def draw_layers(path: Path, errors: Mapping[str, float]) -> Figure:
    """Error of every layer's output in the order of the data."""
    values = [max(error, 1e-9) for error in errors.values()]
    chart = Chart(
        Axis("layer", 0.0, max(len(values) - 1, 1), counts=True),
        Axis("relative squared error", *decades(values), by_tens=True),
    )
    chart.line(list(enumerate(values)), _OTHER, width=2)
    for number, error in enumerate(values):
        chart.dot(number, error, _OTHER, radius=3.0)
    chart.save(path)
    worst = max(errors, key=lambda name: errors[name])
    return Figure(
        path,
        "Error of every layer",
        f"Squared error of each layer's output relative to it; the largest is "
        f"{errors[worst]:.2g} in {worst}",
        chart=True,
    )


def write_sheet(path: Path, pictures: Tensor) -> Path:
    """Pictures (n, 1 or 3, H, W) in -1..1 side by side in rows, as a PNG."""
    count, _, height, width = pictures.shape
    across = math.ceil(math.sqrt(count))
    times = max(1, _SHORT // min(height, width))
    rows = math.ceil(count / across)
    sheet = np.full(
        (rows * (height + _GAP) - _GAP, across * (width + _GAP) - _GAP, 3), 255, np.uint8
    )
    shown = ((pictures.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    for number, picture in enumerate(shown.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()):
        y, x = (number // across) * (height + _GAP), (number % across) * (width + _GAP)
        sheet[y : y + height, x : x + width] = picture
    image = Image.fromarray(sheet)
    image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    image.save(path, "PNG", optimize=True)
    return path


@torch.no_grad()
def shown(folder: DiffusionFolder, made: Tensor) -> Tensor:
    """What a network made, as pictures (n, 1 or 3, H, W): decoded where there is a decoder.

    Latent pictures whose decoder is not there, or cannot be read, are shown by three channels.
    """
    decoder = _decoder(folder)
    if decoder is not None:
        return torch.cat([decoder(one[None]) for one in made])
    channels = made.shape[1]
    if channels in (1, 3):
        return made
    first = made[:, :3] if channels > 3 else made[:, :1]
    return first / first.abs().amax().clamp_min(1e-6)


def _decoder(folder: DiffusionFolder) -> Callable[[Tensor], Tensor] | None:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.autoencoders.vq_model import VQModel

    kinds: Sequence[tuple[str, Any]] = (("vae", AutoencoderKL), ("vqvae", VQModel))
    for name, kind in kinds:
        if name in folder.parts:
            try:
                network: Any = kind.from_pretrained(
                    str(folder.parts[name]), local_files_only=True, use_safetensors=True
                ).float()
            except (OSError, ValueError, KeyError, RuntimeError):
                return None
            factor = float(network.config.get("scaling_factor") or 1.0)
            return lambda one: network.eval().decode(one / factor, return_dict=False)[0]
    return None
