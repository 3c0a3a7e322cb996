"""A diffusion folder, original or quantized by this studio, as something that makes pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engines.base import UserError
from engines.quantize.diffusion.figures import shown
from engines.quantize.diffusion.folder import DiffusionFolder, open_diffusion
from engines.quantize.diffusion.layers import Stepped
from engines.quantize.diffusion.predictor import (
    Predictor,
    conditions_of,
    load_network,
    make_network,
    shape_of,
)
from engines.quantize.diffusion.runtime import Runner
from engines.quantize.diffusion.sampler import Sampler, noise
from engines.quantize.runtime.layouts import layout_of


@dataclass(frozen=True)
class LoadedDiffusion:
    """A model ready to run.

    Attributes:
        network: a network of diffusers, which may be put into any pipeline of theirs as `unet`.
        folder: where it came from.
        timesteps: those that its inputs have grids for; empty for an original.
    """

    network: nn.Module
    folder: DiffusionFolder
    timesteps: Sequence[int] = ()

    @torch.no_grad()
    def sample(
        self, count: int = 4, *, steps: int = 50, seed: int = 0, prompts: Sequence[str] = (),
        guidance: float = 7.5, check: Callable[[], None] = lambda: None,
    ) -> Tensor:  # fmt: skip
        """Pictures (count, channels, height, width) in -1..1.

        Args:
            count: how many.
            steps: from noise to picture.
            seed: of the noise; picture n begins from seed + n.
            prompts: for models that make pictures of texts.
            guidance: of those.
            check: called at every step.
        """
        predict = Predictor(self.network, conditions_of(self.folder, prompts, guidance))
        generator = torch.Generator().manual_seed(seed)
        condition = predict.conditions.draw(count, generator)
        sampler = Sampler(self.folder.scheduler, steps)
        begun = noise(count, shape_of(self.folder), seed)
        made = sampler.walk(predict, begun, condition, lambda *_: check())
        return shown(self.folder, made).clamp(-1, 1)


def load_diffusion(
    path: Path, device: str = "cpu", check: Callable[[], None] = lambda: None
) -> LoadedDiffusion:
    """Load a diffusion folder in float32.

    Args:
        path: of a pipeline of diffusers, or of a network alone.
        device: torch device.
        check: called before every quantized layer; what it raises ends the loading.

    Raises:
        UserError: the folder cannot be used; the sentence says why.
    """
    folder = open_diffusion(path)
    if folder.network.quantization is None:
        return LoadedDiffusion(load_network(folder, device), folder)
    network = make_network(folder).requires_grad_(False).eval()
    layout = layout_of(folder.network)
    timesteps = _timesteps(folder)
    layers: dict[str, Stepped] = {}
    for name in layout.modules:
        check()
        layer = layout.read(name).layer
        if not isinstance(layer, Stepped):
            raise UserError(f"{name} of {folder.name} is no layer of a diffusion model")
        if len(layer.scale) not in (1, len(timesteps)):
            raise UserError(f"The steps of {name} of {folder.name} are not those of its config")
        layers[name] = layer
    _fill(network, folder, set(layers))
    runner = Runner(network.to(device), timesteps)
    try:
        runner.put_all(layers)
    except (AttributeError, RuntimeError, ValueError) as error:
        raise UserError(
            f"The layers of {folder.name} are not those of its network; fetch the model again"
        ) from error
    return LoadedDiffusion(network, folder, timesteps)


def _timesteps(folder: DiffusionFolder) -> list[int]:
    found = (folder.network.quantization or {}).get("timesteps")
    if not isinstance(found, list) or not found or not all(isinstance(t, int) for t in found):
        raise UserError(f"The config of {folder.name} names no timesteps; fetch the model again")
    return found


def _fill(network: Any, folder: DiffusionFolder, coded: set[str]) -> None:
    wanted = network.state_dict()
    plain = {k: v for k, v in wanted.items() if k.removesuffix(".weight") not in coded}
    for name, value in plain.items():
        value.copy_(folder.network.tensor(name))
