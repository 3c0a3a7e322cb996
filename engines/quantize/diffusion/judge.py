"""What quantization cost: errors of layers, of the prediction at every step, and pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from engines.quantize.diffusion.layers import Stepped
from engines.quantize.diffusion.network import compute
from engines.quantize.diffusion.predictor import Condition, Predictor
from engines.quantize.diffusion.runtime import Runner
from engines.quantize.diffusion.sampler import Calls, Sampler, noise

BATCH = 16
_SEED = 100_000  # pictures that are judged begin from other noise than those of the calibration


@dataclass(frozen=True)
class Judged:
    """Both models on the same ways.

    Attributes:
        timesteps: of the steps, the noisiest first.
        errors: squared error of the prediction at each, relative to the prediction's power; the
            inputs are those of the original's way.
        before, after: (n, C, H, W) what each made of the same noise, on its own way.
    """

    timesteps: Sequence[int]
    errors: Sequence[float]
    before: Tensor
    after: Tensor

    @property
    def error(self) -> float:
        """Mean of all steps."""
        return sum(self.errors) / len(self.errors)


@torch.no_grad()
def judged(
    teacher: Predictor, student: Predictor, sampler: Sampler, begun: Tensor, condition: Condition,
    progress: Callable[[float], None],
) -> Judged:  # fmt: skip
    """Walk with both from the same noise.

    Args:
        teacher: the original.
        student: the quantized model.
        sampler: of the steps.
        begun: (n, C, H, W) noise.
        condition: of each picture.
        progress: told the share that is done.
    """
    steps = len(sampler.timesteps)
    wrong, power = torch.zeros(steps), torch.zeros(steps)
    before: list[Tensor] = []
    after: list[Tensor] = []
    for start in range(0, len(begun), BATCH):
        part = slice(start, start + BATCH)
        own = None if condition is None else condition[part]

        def visit(
            number: int, x: Tensor, t: Tensor, wanted: Tensor,
            own: Condition = own, start: int = start,
        ) -> None:  # fmt: skip
            found = student(x, t, own).float().cpu()
            wrong[number] += (found - wanted).square().sum()
            power[number] += wanted.square().sum()
            progress((start + 0.7 * len(x) * (number + 1) / steps) / len(begun))

        before.append(sampler.walk(teacher, begun[part], own, visit))
        after.append(sampler.walk(student, begun[part], own))
    errors = [float(e / p) for e, p in zip(wrong, power.clamp_min(1e-20), strict=True)]
    return Judged(sampler.timesteps, errors, torch.cat(before), torch.cat(after))


@torch.no_grad()
def layer_errors(
    teacher: Predictor, layers: Mapping[str, Stepped], runner: Runner, calls: Calls,
    check: Callable[[], None],
) -> dict[str, float]:  # fmt: skip
    """Squared error of each layer's output relative to the output, one layer at a time.

    Args:
        teacher: in full precision, whose inputs each layer gets.
        layers: quantized.
        runner: for the sampling step that an input's grid belongs to.
        calls: of the network, all taken at once.
        check: raises Cancelled.
    """
    found: dict[str, float] = {}
    index = runner.steps.at(calls.t)

    def hook(name: str) -> Callable[..., None]:
        layer = layers[name]

        def see(module: nn.Module, args: tuple[Any, ...], made: Tensor) -> None:
            check()
            x = args[0]
            own = index if isinstance(index, int) or len(x) == len(calls) else int(index[0])
            weight = layer.kernel().to(x.device)
            found[name] = _relative(compute(module, layer.prepare_input(x, own), weight), made)

        return see

    network = teacher.network
    hooks = [network.get_submodule(name).register_forward_hook(hook(name)) for name in layers]
    try:
        teacher.raw(calls.x, calls.t, calls.condition)
    finally:
        for one in hooks:
            one.remove()
    return found


def held_out(
    teacher: Predictor, shape: tuple[int, int, int], count: int, seed: int
) -> tuple[Tensor, Condition]:
    """Noise and conditions of pictures that no method has seen."""
    generator = torch.Generator().manual_seed(seed + _SEED)
    return noise(count, shape, seed + _SEED), teacher.conditions.draw(count, generator)


def _relative(made: Tensor, wanted: Tensor) -> float:
    return float((made - wanted).square().sum() / (wanted.square().sum() + 1e-20))
