"""What a method is given, and how both begin: ranges of all inputs out of the calibration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from engines.quantize.diffusion.layers import Stepped
from engines.quantize.diffusion.network import Width
from engines.quantize.diffusion.predictor import Predictor
from engines.quantize.diffusion.ranges import Search, Watch, coded, input_range, weight_range
from engines.quantize.diffusion.runtime import Runner
from engines.quantize.diffusion.sampler import Calls, Sampler

BATCH = 32  # calls of the network at once
_LOOKED = 0.1  # share of a method's work that looking at inputs is counted as
Range = tuple[Tensor, Tensor]
"""Scale () float32 and zero point () uint8 of an input."""


@dataclass(frozen=True)
class Task:
    """One model to be quantized.

    Attributes:
        teacher: in full precision; never changed.
        layers: its layers by name.
        widths: name -> how finely, in the order of the data.
        calls: calibration inputs of the network.
        sampler: of the process that they are from.
        shape: (C, H, W) of a picture.
        scratch: a folder that outlives an attempt.
        seed: of everything that is drawn.
        check: raises Cancelled.
        progress: told the share that is done, and a text.
    """

    teacher: Predictor
    layers: Mapping[str, nn.Module]
    widths: Mapping[str, Width]
    calls: Calls
    sampler: Sampler
    shape: tuple[int, int, int]
    scratch: Path
    seed: int
    check: Callable[[], None]
    progress: Callable[[float, str], None]

    def learned(self, share: float, text: str) -> None:
        """Progress after the inputs were looked at, from 0 to 1."""
        self.progress(_LOOKED + (1.0 - _LOOKED) * share, text)

    def weight(self, name: str) -> Tensor:
        """(out, rest) float32 in full precision."""
        weight = self.layers[name].weight
        assert isinstance(weight, Tensor)
        return weight.detach().flatten(1)

    @torch.no_grad()
    def input_ranges(self, search: Search = "power") -> dict[str, Range]:
        """Grids of the inputs of all layers, as they come in full precision."""
        watched = {name: self.layers[name] for name in self.widths}
        done = 0
        with Watch(watched, self.seed) as watch:
            for part in self.calls.batches(BATCH):
                self.check()
                self.teacher.raw(part.x, part.t, part.condition)
                done += len(part)
                share = _LOOKED * done / len(self.calls)
                self.progress(share, "looking at what reaches the layers")
        found: dict[str, Range] = {}
        for name, seen in watch.seen().items():
            self.check()
            bits = self.widths[name].activation
            found[name] = input_range(seen, min(bits, 8), search)
        return found


@torch.no_grad()
def nearest(
    task: Task, name: str, grid: Range, *, symmetric: bool, search: Search = "power"
) -> Stepped:
    """A layer whose weights become the nearest numbers of their rows' grids."""
    width, weight = task.widths[name], task.weight(name).cpu()
    scale, zero = weight_range(weight, width.weight, symmetric=symmetric, search=search)
    middle = 2 ** (width.weight - 1) if zero is None else zero.float()
    codes = (weight / scale.float()).round_().add_(middle).clamp_(0, 2**width.weight - 1)
    return stepped(task, name, codes, scale, zero, grid)


def stepped(
    task: Task, name: str, codes: Tensor, scale: Tensor, zero: Tensor | None, grid: Range
) -> Stepped:
    """A layer out of its codes and the grid of its input, of one step or (steps,) of them."""
    width = task.widths[name]
    weight = task.layers[name].weight
    assert isinstance(weight, Tensor)
    return Stepped(
        coded(codes.cpu(), scale.cpu(), None if zero is None else zero.cpu(), width.weight),
        tuple(weight.shape), width.activation,
        grid[0].detach().cpu().reshape(-1), grid[1].detach().cpu().reshape(-1),
    )  # fmt: skip


@dataclass(frozen=True)
class MinMax:
    """Every layer by its whole range and the nearest code: what the methods are compared with."""

    name: ClassVar[str] = "minmax"

    def quantize(self, task: Task, runner: Runner) -> dict[str, Stepped]:
        """Quantize all layers of `task.widths` and put them into `runner`."""
        grids = task.input_ranges("minmax")
        layers = {
            name: nearest(task, name, grids[name], symmetric=False, search="minmax")
            for name in task.widths
        }
        runner.put_all(layers)
        return layers
