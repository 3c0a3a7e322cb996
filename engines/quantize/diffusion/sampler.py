"""The way from noise to a picture, step by step, and what is picked up on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engines.quantize.diffusion.predictor import Condition, Predictor

_BATCH = 16  # pictures that are on their way together


@dataclass(frozen=True)
class Calls:
    """Inputs of a network: x (n, C, H, W), t (n,) int64, and what each is conditioned on."""

    x: Tensor
    t: Tensor
    condition: Condition

    def __len__(self) -> int:
        return len(self.x)

    def batches(self, size: int) -> Iterator[Calls]:
        """In order, some at a time."""
        for start in range(0, len(self), size):
            yield self.at(slice(start, start + size))

    def at(self, places: slice | Tensor) -> Calls:
        """Some of them."""
        condition = None if self.condition is None else self.condition[places]
        return Calls(self.x[places], self.t[places], condition)


class Sampler:
    """DDIM (Song et al. 2020) with the schedule of a folder's own scheduler."""

    def __init__(self, config: Mapping[str, Any], steps: int) -> None:
        """Sample in `steps` steps of the schedule that a scheduler's config describes."""
        from diffusers.schedulers.scheduling_ddim import DDIMScheduler

        told = {k: v for k, v in config.items() if not k.startswith("_")}
        made: Any = DDIMScheduler.from_config(told)
        self._scheduler = made
        self.length = int(made.config["num_train_timesteps"])
        made.set_timesteps(min(steps, self.length))
        self.timesteps: list[int] = [int(t) for t in made.timesteps]

    @torch.no_grad()
    def walk(
        self, predict: Predictor, x: Tensor, condition: Condition,
        visit: Callable[[int, Tensor, Tensor, Tensor], None] = lambda *_: None,
        *, eta: float = 0.0, generator: torch.Generator | None = None,
    ) -> Tensor:  # fmt: skip
        """From noise to pictures.

        Args:
            predict: the network.
            x: (B, C, H, W) noise of variance 1.
            condition: of each.
            visit: called at every step with its number, x there, t (B,) and the prediction.
            eta: share of DDPM's noise that is added at each step.
            generator: of that noise.
        """
        for number, t in enumerate(self.timesteps):
            times = torch.full((len(x),), t)
            found = predict(x, times, condition).float().cpu()
            visit(number, x, times, found)
            x = self.back(found, number, x, eta, generator)
        return x

    def back(
        self, found: Tensor, number: int, x: Tensor, eta: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:  # fmt: skip
        """One step towards the picture, from what the network found at x."""
        step = self._scheduler.step(
            found[:, : x.shape[1]], self.timesteps[number], x, eta=eta, generator=generator
        )
        return step.prev_sample


def noise(count: int, shape: tuple[int, int, int], seed: int) -> Tensor:
    """(count, C, H, W); each picture from a seed of its own, so that counts do not matter."""
    return torch.stack(
        [
            torch.randn(shape, generator=torch.Generator().manual_seed(seed + n))
            for n in range(count)
        ]
    )


def skewed_times(
    count: int, length: int, mean: float, spread: float, generator: torch.Generator
) -> Tensor:
    """Timesteps after a normal distribution, cut off at both ends: (count,) int64.

    PTQ4DM's NDTC (Shang et al., CVPR 2023, section 3.3): t ~ N(mean, spread^2) in shares of the
    training steps, with a mean below one half, as the network matters more close to the picture.
    """
    drawn = length * (mean + spread * torch.randn(count, generator=generator))
    return drawn.clamp(0, length - 1).long()


def even_times(count: int, length: int) -> Tensor:
    """Timesteps evenly from end to end, (count,) int64."""
    return torch.linspace(0, length - 1, count).round().long()


def collected(
    sampler: Sampler, predict: Predictor, times: Tensor, shape: tuple[int, int, int], seed: int,
    progress: Callable[[float], None],
) -> Calls:  # fmt: skip
    """Calls out of the sampling process, each picture's x_t at its own time.

    The time that goes with an x is the one that the network was called with there: PTQ4DM's code
    compares its times with the number of the step, of which the first is the noisiest.

    Args:
        sampler: whose steps are walked; a time stands for the nearest of them.
        predict: the network in full precision.
        times: (n,) int64, wanted.
        shape: of a picture.
        seed: of the noise and the conditions.
        progress: told the share that is done.
    """
    steps = torch.tensor(sampler.timesteps)
    wanted = (times[:, None] - steps[None]).abs().argmin(dim=1)
    generator = torch.Generator().manual_seed(seed)
    condition = predict.conditions.draw(len(times), generator)
    begun = noise(len(times), shape, seed)
    kept = torch.empty_like(begun)
    for start in range(0, len(times), _BATCH):
        part = slice(start, start + _BATCH)

        def visit(number: int, x: Tensor, _t: Tensor, _e: Tensor, part: slice = part) -> None:
            kept[part][wanted[part] == number] = x[wanted[part] == number]
            done = part.start + len(x) * (number + 1) / len(steps)
            progress(done / len(times))

        own = None if condition is None else condition[part]
        sampler.walk(predict, begun[part], own, visit)
    return Calls(kept, steps[wanted], _some_empty(condition, predict, generator))


def _some_empty(condition: Condition, predict: Predictor, generator: torch.Generator) -> Condition:
    """With guidance, every other call of the network is without a text."""
    empty = predict.conditions.empty
    if empty is None or condition is None or predict.conditions.guidance == 1.0:
        return condition
    without = torch.rand(len(condition), generator=generator) < 0.5
    return torch.where(without[:, None, None], empty, condition)
