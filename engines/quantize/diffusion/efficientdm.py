"""EfficientDM: low-bit fine-tuning without data.

He et al., "EfficientDM: Efficient Quantization-Aware Fine-Tuning of Low-Bit Diffusion Models"
(ICLR 2024). The model in full precision teaches at every step of its own sampling; what is trained
are low-rank matrices that are added to the weights before these are rounded (QALoRA, eq. 5), the
rows' step sizes, and a grid of each layer's input for every sampling step (TALSQ). Learning rates
of the low-rank matrices follow the step sizes of their layer (section 4.2).

Ours: the adapters are added to the weights in full precision, where the authors, to save memory,
begin from weights that are rounded already; every step's grid has an optimiser state of its own,
so that it moves only at its step; rates of step sizes are at most a hundredth of them; the
adapters' rates have a factor, for fewer passes than the paper's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from engines.base import UserError
from engines.quantize.diffusion.kept import keep_layers, kept_layers
from engines.quantize.diffusion.layers import Stepped, rounded, straight
from engines.quantize.diffusion.learning import load_state, save_state
from engines.quantize.diffusion.network import compute
from engines.quantize.diffusion.predictor import Predictor
from engines.quantize.diffusion.ranges import weight_range
from engines.quantize.diffusion.runtime import Runner
from engines.quantize.diffusion.sampler import noise
from engines.quantize.diffusion.task import Range, Task, nearest, stepped

_ADAPTER_SHARE, _WEIGHT_RATE, _STEP_RATE, _MOST = 1 / 2500, 1e-6, 5e-4, 0.01
_ETA = 1.0  # the teacher's walk is DDPM's, so that every pass sees other pictures


@dataclass(frozen=True)
class EfficientDm:
    """Settings.

    Attributes:
        passes: walks from noise to picture.
        batch: pictures a walk.
        rank: of the adapters.
        rate: factor of the adapters' learning rates.
    """

    name: ClassVar[str] = "efficientdm"

    passes: int = 32
    batch: int = 4
    rank: int = 32
    rate: float = 1.0

    def quantize(self, task: Task, runner: Runner) -> dict[str, Stepped]:
        """Quantize all layers of `task.widths`, putting them into `runner`.

        The first and last layers are rounded to the nearest and stay as they are from then on. An
        attempt that was killed goes on after its last whole pass.
        """
        path = task.scratch / "trained.safetensors"
        layers = kept_layers(path)
        if layers is None:
            grids = task.input_ranges()
            edges = {
                name: nearest(task, name, grids[name], symmetric=False)
                for name, width in task.widths.items()
                if width.edge
            }
            for name, layer in edges.items():
                runner.put(name, layer)
            trained = self._trained(task, runner, grids)
            layers = edges | {name: one.done(task, name) for name, one in trained.items()}
            keep_layers(path, layers)
        runner.put_all({k: layer for k, layer in layers.items() if k not in runner.layers})
        return layers

    def _trained(
        self, task: Task, runner: Runner, grids: Mapping[str, Range]
    ) -> dict[str, Adapted]:
        generator = torch.Generator().manual_seed(task.seed)
        learned = {
            name: Adapted(
                task, name, runner, grids[name],
                rank=self.rank, rate=self.rate, generator=generator,
            )
            for name, width in task.widths.items()
            if not width.edge
        }  # fmt: skip
        if not learned:
            return learned
        groups = [group for one in learned.values() for group in one.groups()]
        optimiser = torch.optim.AdamW(groups, weight_decay=0.0)
        first = load_state(task.scratch, learned, optimiser)
        for one in learned.values():
            one.begin()
        try:
            for number in range(first, self.passes):
                self._walk(task, runner, optimiser, number)
                save_state(task.scratch, learned, optimiser, number + 1)
        finally:
            for one in learned.values():
                one.end()
        return learned

    def _walk(
        self, task: Task, runner: Runner, optimiser: torch.optim.Optimizer, number: int
    ) -> None:
        """One pass; the way is the teacher's, and every step of it is one of the optimiser's."""
        generator = torch.Generator().manual_seed(task.seed * 7919 + number)
        start = task.seed + 1_000_003 * (number + 1)
        condition = task.teacher.conditions.draw(self.batch, generator)
        student = Predictor(runner.network, task.teacher.conditions)
        steps = len(task.sampler.timesteps)

        def visit(step: int, x: Tensor, t: Tensor, wanted: Tensor) -> None:
            task.check()
            done = (number + step / steps) / self.passes
            task.learned(done, f"pass {number + 1} of {self.passes}")
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * (1.0 - done)
            with torch.enable_grad():
                found = student(x, t, condition)
                loss = (found - wanted.to(found.device)).square().sum()
                if not bool(loss.isfinite()):
                    raise UserError("The training left all bounds; take a smaller rate, or seed")
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()

        begun = noise(self.batch, task.shape, start)
        task.sampler.walk(task.teacher, begun, condition, visit, eta=_ETA, generator=generator)


class Adapted:
    """One layer while it is trained.

    Attributes:
        left, right: (out, r), 0 at first, and (r, rest): their product is added to the weight.
        scale: (out, 1) step size of the rows.
        steps: scale and zero point of the input, one pair a sampling step.
    """

    def __init__(
        self, task: Task, name: str, runner: Runner, grid: Range, *,
        rank: int, rate: float, generator: torch.Generator,
    ) -> None:  # fmt: skip
        width, weight = task.widths[name], task.weight(name)
        half, zero = weight_range(weight.cpu(), width.weight, symmetric=False)
        assert zero is not None
        device = weight.device
        self._module: Any = runner.network.get_submodule(name)
        self._state = runner.steps
        self._weight, self._zero = weight, zero.float().to(device)
        self._weight_bits = width.weight
        self._bits = width.activation
        count, rest = len(task.sampler.timesteps), weight.shape[1]
        rank = min(rank, *weight.shape)
        reach = rest**-0.5  # Kaiming's, as the authors have it
        drawn = torch.rand((rank, rest), generator=generator) * 2 - 1
        self.right = nn.Parameter((drawn * reach).to(device))
        self.left = nn.Parameter(torch.zeros(weight.shape[0], rank, device=device))
        self.scale = nn.Parameter(half.float().to(device))
        self._least = 0.1 * self.scale.detach().clone()
        self._input_least = 0.1 * float(grid[0])
        pairs = [torch.stack([grid[0], grid[1].float()]).to(device) for _ in range(count)]
        self.scales = nn.ParameterList([nn.Parameter(pair[0].clone()) for pair in pairs])
        self.zeros = nn.ParameterList([nn.Parameter(pair[1].clone()) for pair in pairs])
        self._rate = rate

    def groups(self) -> list[dict[str, Any]]:
        """For the optimiser, with the peak of each part's learning rate."""
        scale = self.scale.detach()
        weight, step = float(scale.mean()), float(self.scales[0].detach())
        rates = {
            "adapter": ([self.left, self.right], self._rate * weight * _ADAPTER_SHARE),
            "scale": ([self.scale], min(_WEIGHT_RATE, _MOST * float(scale.min()))),
            "steps": ([*self.scales], min(_STEP_RATE, _MOST * step)),
            "zeros": ([*self.zeros], _STEP_RATE),
        }
        if self._bits >= 16:
            del rates["steps"], rates["zeros"]
        return [{"params": params, "lr": rate, "peak": rate} for params, rate in rates.values()]

    def parameters(self) -> dict[str, Tensor]:
        """What is learned, for keeping; the steps' grids as two vectors."""
        return {
            "left": self.left, "right": self.right, "scale": self.scale,
            "scales": torch.stack([*self.scales]), "zeros": torch.stack([*self.zeros]),
        }  # fmt: skip

    @torch.no_grad()
    def fill(self, kept: Mapping[str, Tensor]) -> None:
        """Take up what `parameters` gave."""
        for name in ("left", "right", "scale"):
            getattr(self, name).copy_(kept[name])
        for own, name in ((self.scales, "scales"), (self.zeros, "zeros")):
            for parameter, value in zip(own, kept[name], strict=True):
                parameter.copy_(value)

    def begin(self) -> None:
        """Compute with what is learned from now on."""
        self._module.forward = self._forward

    def end(self) -> None:
        """Compute as before."""
        if "forward" in vars(self._module):
            del self._module.forward

    @torch.no_grad()
    def done(self, task: Task, name: str) -> Stepped:
        """The layer with its adapter merged, in codes of the scales as they are stored."""
        half = self.scale.maximum(self._least).half()
        merged = self._weight + self.left @ self.right
        codes = (merged / half.float()).round_().add_(self._zero)
        codes = codes.clamp_(0, 2**self._weight_bits - 1)
        scales = torch.stack([*self.scales]).clamp_min(self._input_least)
        zeros = torch.stack([*self.zeros]).round().clamp(0, 2 ** min(self._bits, 8) - 1)
        grid = scales, zeros.to(torch.uint8)
        return stepped(task, name, codes, half, self._zero.to(torch.uint8), grid)

    def weight(self) -> Tensor:
        """(out, rest): Q(W + BA), with a gradient to adapter and scale."""
        scale = self.scale.maximum(self._least)
        merged = self._weight + self.left @ self.right
        return rounded(merged, scale, self._zero, self._weight_bits)

    def _forward(self, x: Tensor) -> Tensor:
        weight = self.weight().view_as(self._module.weight)
        return compute(self._module, self._input(x), weight)

    def _input(self, x: Tensor) -> Tensor:
        if self._bits >= 16:
            return x
        index = self._state.index
        assert isinstance(index, int)  # in a walk all pictures are at the same step
        scale = self.scales[index].clamp_min(self._input_least)
        zero = straight(self.zeros[index]).clamp(0, 2**self._bits - 1)
        return rounded(x, scale, zero, self._bits)
