"""A network that runs with quantized layers: rounded weights, and inputs rounded step by step.

Layers compute in floating point with the numbers that their codes stand for, as the papers' own
code does; the files are small, the speed is the original's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from engines.quantize.diffusion.layers import Stepped


class Steps:
    """Which sampling step a network is at, told from the timestep that it is called with.

    Asked with other timesteps than those it knows, as when fewer steps are sampled with, it takes
    the nearest.
    """

    def __init__(self, timesteps: Sequence[int]) -> None:
        """Know the sampler's timesteps, in any order."""
        self.timesteps = torch.tensor(list(timesteps))
        self.index: Tensor | int = 0

    def at(self, timestep: Any) -> Tensor | int:
        """Number of the step, or (B,) int64 where a batch is of several."""
        asked = torch.as_tensor(timestep).detach().cpu().reshape(-1)
        if len(asked) > 1 and bool((asked == asked[0]).all()):
            asked = asked[:1]
        distance = (asked[:, None].float() - self.timesteps[None].float()).abs()
        nearest = distance.argmin(dim=1)
        return nearest if len(nearest) > 1 else int(nearest)

    def follow(self, network: nn.Module) -> Any:
        """Look at every call of `network`; returns the hook's handle."""

        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self.index = self.at(args[1] if len(args) > 1 else kwargs["timestep"])

        return network.register_forward_pre_hook(hook, with_kwargs=True)


class Runner:
    """Puts quantized layers into a network of diffusers, one after another."""

    def __init__(self, network: nn.Module, timesteps: Sequence[int]) -> None:
        """`network` shares its parameters with nobody who minds their being replaced."""
        self.network = network
        self.steps = Steps(timesteps)
        self.layers: dict[str, Stepped] = {}
        self.steps.follow(network)

    def put(self, name: str, layer: Stepped) -> None:
        """Give one layer its rounded weight (a new parameter) and a rounded input."""
        module: Any = self.network.get_submodule(name)
        old = module.weight
        if tuple(old.shape) != layer.weight_shape:
            raise ValueError(f"{name} is {tuple(old.shape)} and not {layer.weight_shape}")
        weight = layer.kernel().to(old.device, old.dtype)
        module.weight = nn.Parameter(weight, requires_grad=False)
        if name in self.layers:
            raise ValueError(f"{name} is quantized twice")
        self.layers[name] = layer
        module.register_forward_pre_hook(
            lambda _, args: (layer.prepare_input(args[0], self.steps.index), *args[1:])
        )

    def put_all(self, layers: Mapping[str, Stepped]) -> None:
        """`put` for each."""
        for name, layer in layers.items():
            self.put(name, layer)
