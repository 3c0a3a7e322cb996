"""PTQ4DM: post-training quantization calibrated on the denoising process itself.

Shang et al., "Post-training Quantization on Diffusion Models" (CVPR 2023): calibration inputs are
taken from the sampling process at times of a skewed normal distribution (`sampler.skewed_times`).
What follows is QDrop (Wei et al., ICLR 2022) as the authors run it: unit by unit the rounding of
the weights (AdaRound, Nagel et al., ICML 2020) and the step sizes of the inputs are learned, so
that the unit's output stays what it was, while half of all inputs are left unrounded at random.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from engines.quantize.diffusion.kept import keep_layers, kept_layers
from engines.quantize.diffusion.layers import Stepped, rounded
from engines.quantize.diffusion.network import common, compute, units_of
from engines.quantize.diffusion.ranges import weight_range
from engines.quantize.diffusion.runtime import Runner
from engines.quantize.diffusion.task import BATCH, Range, Task, nearest, stepped
from engines.quantize.diffusion.unit import Inputs, inputs_of

_STRETCH = 1.2, -0.1  # of AdaRound's sigmoid: zeta - gamma, gamma
_PENALTY, _BETAS, _QUIET = 0.01, (20.0, 2.0), 0.2
_DROP = 0.5  # share of inputs that stay unrounded
_STEP_RATE = 4e-5
_ROUND_RATE, _ROUND_MOST, _ROUND_FULL = 1e-3, 0.02, 20_000


@dataclass(frozen=True)
class Ptq4dm:
    """Settings; `iterations` of each unit, 0 for the nearest codes in searched ranges."""

    name: ClassVar[str] = "ptq4dm"

    iterations: int = 200

    def quantize(self, task: Task, runner: Runner) -> dict[str, Stepped]:
        """Quantize all layers of `task.widths`, putting them into `runner` as they are done.

        A unit that was done in an earlier attempt is not done again.
        """
        grids: dict[str, Range] = {}
        units = units_of(task.teacher.network, task.widths)
        for number, unit in enumerate(units):
            task.check()
            path = task.scratch / f"unit-{number:04}.safetensors"
            layers = kept_layers(path)
            if layers is None:
                grids = grids or task.input_ranges()

                def told(share: float, number: int = number) -> None:
                    text = f"block {number + 1} of {len(units)}"
                    task.learned((number + share) / len(units), text)

                told(0.0)
                layers = self._unit(task, runner, unit, number, grids, told)
                keep_layers(path, layers)
            runner.put_all(layers)
        return dict(runner.layers)

    def _unit(
        self, task: Task, runner: Runner, unit: Sequence[str], number: int,
        grids: dict[str, Range], told: Callable[[float], None],
    ) -> dict[str, Stepped]:  # fmt: skip
        if self.iterations == 0:
            return {name: nearest(task, name, grids[name], symmetric=True) for name in unit}
        place = common(unit)
        teacher, student = task.teacher.network, runner.network
        exact = inputs_of(teacher, place, task.teacher, task.calls, BATCH, task.check, outputs=True)
        told(0.1)
        noisy = inputs_of(student, place, task.teacher, task.calls, BATCH, task.check)
        told(0.2)
        module = student.get_submodule(place)
        learned = {
            name: _Learned(task, name, student.get_submodule(name), grids[name]) for name in unit
        }
        generator = torch.Generator().manual_seed(task.seed * 7919 + number)
        self._learn(module, list(learned.values()), exact, noisy, generator, task, told)
        return {name: one.done(task, name) for name, one in learned.items()}

    def _learn(
        self, module: nn.Module, learned: Sequence[_Learned], exact: Inputs, noisy: Inputs,
        generator: torch.Generator, task: Task, told: Callable[[float], None],
    ) -> None:  # fmt: skip
        rate = min(_ROUND_MOST, _ROUND_RATE * _ROUND_FULL / self.iterations)
        rounding = torch.optim.Adam([one.alpha for one in learned], lr=rate)
        steps = torch.optim.Adam([one.scale for one in learned], lr=_STEP_RATE)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(steps, T_max=self.iterations)
        device = task.teacher.device
        for one in learned:
            one.begin(generator)
        try:
            for turn in range(self.iterations):
                task.check()
                told(0.2 + 0.8 * turn / self.iterations)
                places = torch.randint(len(exact), (min(BATCH, len(exact)),), generator=generator)
                args, kwargs = noisy.mixed(exact, places, _DROP, generator, device)
                made = module(*args, **kwargs)
                made = made[0] if isinstance(made, tuple) else made
                wanted = exact.outputs[places].to(device)
                loss = (made - wanted).square().sum(1).mean()
                share = (turn + 1) / self.iterations
                if share >= _QUIET:
                    beta = _BETAS[1] + (_BETAS[0] - _BETAS[1]) * (1 - share) / (1 - _QUIET)
                    loss = loss + _PENALTY * torch.stack([o.undecided(beta) for o in learned]).sum()
                rounding.zero_grad()
                steps.zero_grad()
                loss.backward()
                rounding.step()
                steps.step()
                cosine.step()
        finally:
            for one in learned:
                one.end()


class _Learned:
    """One layer while its rounding is learned.

    Attributes:
        alpha: (out, rest), above 0 where a weight will be rounded up.
        scale: () of the input's grid.
    """

    def __init__(self, task: Task, name: str, module: nn.Module, grid: Range) -> None:
        width, weight = task.widths[name], task.weight(name)
        scale, _ = weight_range(weight.cpu(), width.weight, symmetric=True)
        self._module: Any = module
        self._half = scale
        self._scale = scale.float().to(weight.device)
        self._levels, self._middle = 2**width.weight - 1, 2 ** (width.weight - 1)
        steps = weight / self._scale
        self._floor = steps.floor()
        share = ((steps - self._floor) - _STRETCH[1]) / _STRETCH[0]
        self.alpha = nn.Parameter(torch.logit(share))
        self._bits = width.activation
        self._least = 0.1 * float(grid[0])
        self.scale = nn.Parameter(grid[0].to(weight.device, copy=True))
        self._zero = grid[1].float().to(weight.device)
        self._generator = torch.Generator()

    def begin(self, generator: torch.Generator) -> None:
        """Compute with what is learned from now on."""
        self._generator = generator
        self._module.forward = self._forward

    def end(self) -> None:
        """Compute as before."""
        del self._module.forward

    def undecided(self, beta: float) -> Tensor:
        """How far weights are from being rounded down or up (AdaRound, eq. 24)."""
        return (1.0 - (2.0 * self._up() - 1.0).abs().pow(beta)).sum()

    @torch.no_grad()
    def done(self, task: Task, name: str) -> Stepped:
        """The layer, every weight rounded the way that was learned."""
        codes = (self._floor + (self.alpha >= 0) + self._middle).clamp(0, self._levels)
        grid = self.scale.clamp_min(self._least), self._zero.to(torch.uint8)
        return stepped(task, name, codes, self._half, None, grid)

    def _up(self) -> Tensor:
        return (torch.sigmoid(self.alpha) * _STRETCH[0] + _STRETCH[1]).clamp(0, 1)

    def _forward(self, x: Tensor) -> Tensor:
        codes = (self._floor + self._up() + self._middle).clamp(0, self._levels)
        weight = (codes - self._middle) * self._scale
        return compute(self._module, self._input(x), weight.view_as(self._module.weight))

    def _input(self, x: Tensor) -> Tensor:
        if self._bits >= 16:
            return x
        scale = self.scale.clamp_min(self._least)
        made = rounded(x, scale, self._zero, self._bits)
        return torch.where(kept_mask(x, _DROP, self._generator), made, x)


def kept_mask(x: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """True for a random `share` of the places of `x`."""
    return (torch.rand(x.shape, generator=generator) < share).to(x.device)
