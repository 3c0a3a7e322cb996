"""RED-Diff's optimisation of one picture of any size (Mardani et al., ICLR 2024, algorithm 1).

μ begins at A⁺y and is moved by Adam one step a time t of a falling grid, down

    λ·w(t)·mean((ε̂(x_t, t) - ε)·μ') + v/2·mean((y - A(μ'))²),   x_t = √ᾱ·μ' + √(1-ᾱ)·ε,

with μ' = μ + σ·noise, ε̂ taken as constant, values in -1..1, and each mean over its own elements.

A picture larger than the prior is one μ as well: ε̂ comes from tiles of the prior's size that begin
elsewhere at every step and are blended inside it. μ and Adam's moments lie in files and go by as
rows, so memory holds a row of tiles. Both means are then multiplied by the same number, the
picture's elements over a tile's: with that Adam's own small constant weighs what it does in a
picture of the prior's size, where the number is 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from engines.base import UserError
from engines.superres.degrade.inverse import pseudo_inverse
from engines.superres.degrade.operator import Mask, Operator
from engines.superres.meter import Meter
from engines.superres.noise_field import noise_field
from engines.superres.reddiff.frame import Frame, Span, spans
from engines.superres.reddiff.plane import BYTES, CHANNELS, Plane
from engines.superres.reddiff.schedule import Schedule, Weighting
from engines.superres.rows import Sink, Source, strips
from engines.superres.tiles import window

_EPSILON = 1e-8  # of Adam
_HALO = 16  # multiples of what is measured together, or of the reach, around rows of an A⁺
PLANES = 4  # files of μ (two) and of Adam's moments


class Denoiser(Protocol):
    """What is asked of a prior; see `engines.superres.reddiff.prior.Prior`."""

    @property
    def schedule(self) -> Schedule:
        """Of its noise."""
        ...

    def batch(self, tile: int, device: torch.device) -> int:
        """Tiles at once."""
        ...

    def noise(self, x: Tensor, t: int) -> Tensor:
        """ε̂ of x_t, (B, 3, h, w) in -1..1."""
        ...


@dataclass(frozen=True)
class Plan:
    """Numbers of the optimisation.

    Attributes:
        steps: of the grid of times.
        weight: λ.
        rate: of Adam.
        betas: of Adam, the authors' by default.
        weighting: w(t).
        together: times that share one step of Adam; their terms are averaged.
        jitter: σ of the noise in μ'.
        fidelity: v.
        seed: of all noise.
        tile: side of a tile.
    """

    steps: int = 50
    weight: float = 0.25
    rate: float = 0.1
    betas: tuple[float, float] = (0.9, 0.99)
    weighting: Weighting = "linear"
    together: int = 1
    jitter: float = 0.0
    fidelity: float = 1.0
    seed: int = 0
    tile: int = 256


class Solver:
    """One picture of three channels.

    Args:
        prior: estimates noise.
        operator: A.
        plan: numbers.
        source: y, with samples in 0..1.
        origin: (y, x) of its first pixel in the picture that noise and blocks belong to.
        file: name of a file -> where to put it.
        meter: counts tiles and stops at them.
        device: torch device.
    """

    def __init__(
        self,
        prior: Denoiser,
        operator: Operator,
        plan: Plan,
        source: Source,
        origin: tuple[int, int],
        file: Callable[[str], Path],
        meter: Meter,
        device: str,
    ) -> None:
        self._prior, self._operator, self._plan = prior, operator, plan
        self._source, self._meter = source, meter
        self._device = torch.device(device)
        self._frame = Frame.around(source.size, origin, operator, plan.tile)
        self._place = tuple(
            at * operator.scale - before
            for at, before in zip(origin, self._frame.before, strict=True)
        )
        self._planes = [Plane(file(f"reddiff{n}"), self._frame.size) for n in range(PLANES)]
        self._times = prior.schedule.times(plan.steps, plan.together)
        self._shown = 1.0 / (CHANNELS * plan.tile**2)  # what both terms are multiplied by

    def run(self, sink: Sink) -> None:
        """Optimise, and hand on μ as rows of samples in 0..1.

        Raises:
            UserError: the numbers went astray.
            Cancelled: passed through.
        """
        try:
            self._begin()
            for number in range(len(self._times)):
                self._step(number)
                self._meter.next_pass()
            self._give(sink)
        finally:
            for plane in self._planes:
                plane.remove()
        sink.close()

    def _begin(self) -> None:
        """μ = A⁺y."""
        height, width = self._frame.size
        align = self._operator.align
        halo = _HALO * max(-(-self._operator.reach // align), 1) * align
        if isinstance(self._operator, Mask):  # holes are filled from both sides
            halo = self._plan.tile
        step = max(self._plan.tile // align, 1) * align
        for top in range(0, height, step):
            self._meter.check()
            bottom = min(top + step, height)
            first, last = max(top - halo, 0), min(bottom + halo, height)
            part = self._operator.part(first, 0, last - first, width)
            found = pseudo_inverse(part, self._measured(first, last))[0] * 2.0 - 1.0
            self._planes[0].put(top, found[:, top - first : bottom - first])

    def _measured(self, top: int, bottom: int) -> Tensor:
        """What was measured of rows of the frame, (1, 3, n, w) in 0..1; bounds are aligned."""
        scale = self._operator.scale
        y, x = (before // scale for before in self._frame.before)
        rows = window(
            self._source, top // scale - y, bottom // scale - y, -x,
            self._frame.size[1] // scale - x,
        )  # fmt: skip
        return rows[None]

    def _drawn(self, stream: int, top: int, bottom: int, left: int, right: int) -> Tensor:
        y, x = top + self._place[0], left + self._place[1]
        return noise_field(self._plan.seed, stream, CHANNELS, y, x, bottom - top, right - left)

    def _moved(self, number: int, top: int, bottom: int, left: int, right: int) -> Tensor:
        """μ' of a part of the frame."""
        now = self._planes[number % 2].window(top, bottom, left, right)
        if self._plan.jitter == 0.0:
            return now
        stream = number * (self._plan.together + 1) + self._plan.together
        return now + self._plan.jitter * self._drawn(stream, top, bottom, left, right)

    def _step(self, number: int) -> None:
        """One step of Adam over the whole frame, row of tiles by row of tiles."""
        plan, (height, width) = self._plan, self._frame.size
        random = np.random.default_rng([plan.seed, number])
        overlap = max(plan.tile // 8, 1)
        rows, columns = (spans(size, plan.tile, overlap, random) for size in (height, width))
        self._meter.replan(len(rows) * len(columns))
        left = torch.zeros(CHANNELS, 0, width)  # what the last row of tiles shares with the next
        for position, row in enumerate(rows):
            band = torch.zeros(CHANNELS, plan.tile, width)
            band[:, : left.shape[1]] = left
            self._regularised(number, row, columns, band)
            following = rows[position + 1].begin if position + 1 < len(rows) else height
            ready = following - row.begin
            for top, bottom in strips(0, ready, 4 * CHANNELS * width):
                self._meter.check()
                self._move(number, row.begin + top, row.begin + bottom, band[:, top:bottom])
            left = band[:, ready:].clone()

    def _regularised(self, number: int, row: Span, columns: list[Span], band: Tensor) -> None:
        """Add a row of tiles' λ·w·(ε̂ - ε) to the band, averaged over the step's times."""
        plan, tile = self._plan, self._plan.tile
        top, bottom = row.begin, row.begin + tile
        batch = self._prior.batch(tile, self._device)
        for first in range(0, len(columns), batch):
            self._meter.check()
            some = columns[first : first + batch]
            bounds = [(top, bottom, one.begin, one.begin + tile) for one in some]
            clean = torch.stack([self._moved(number, *one) for one in bounds])
            for which, t in enumerate(self._times[number]):
                stream = number * (plan.together + 1) + which
                noise = torch.stack([self._drawn(stream, *one) for one in bounds])
                alpha = self._prior.schedule.alpha(t)
                x = math.sqrt(alpha) * clean + math.sqrt(1.0 - alpha) * noise
                found = self._prior.noise(x.to(self._device), t).cpu() - noise
                share = plan.weight * self._prior.schedule.weight(t, plan.weighting)
                found *= share / len(self._times[number])
                for one, part in zip(some, found, strict=True):
                    part *= row.weights[:, None] * one.weights
                    band[:, :, one.begin : one.begin + tile] += part
            for _ in some:
                self._meter.tile()

    def _move(self, number: int, top: int, bottom: int, regular: Tensor) -> None:
        """Adam's step on some rows; `regular` is the first term's gradient there."""
        plan, width = self._plan, self._frame.size[1]
        gradient = (regular + self._fit(number, top, bottom)) * self._shown
        if not bool(torch.isfinite(gradient.sum())):
            raise UserError("The optimisation went astray; choose a smaller rate or weight")
        first, second = self._planes[2:]
        bounds = (top, bottom, 0, width)
        mean = first.window(*bounds).lerp_(gradient, 1.0 - plan.betas[0])
        square = second.window(*bounds).mul_(plan.betas[1])
        square.addcmul_(gradient, gradient, value=1.0 - plan.betas[1])
        first.put(top, mean)
        second.put(top, square)
        less, more = (1.0 - beta ** (number + 1) for beta in plan.betas)
        spread = square.sqrt_().div_(math.sqrt(more)).add_(_EPSILON)
        now = self._planes[number % 2].window(*bounds)
        now.addcdiv_(mean, spread, value=-plan.rate / less)
        self._planes[1 - number % 2].put(top, now)

    def _fit(self, number: int, top: int, bottom: int) -> Tensor:
        """The second term's gradient in some rows, times the frame's elements: (3, n, width).

        Rows around them are measured as well, as far as a measured value reaches; those whose
        surroundings are cut off do not count.
        """
        operator, (height, width) = self._operator, self._frame.size
        align, reach, scale = operator.align, operator.reach, operator.scale
        begin = max((top - 2 * reach) // align * align, 0)
        end = min(-(-(bottom + 2 * reach) // align) * align, height)
        part = operator.part(begin, 0, end - begin, width)
        mu = self._moved(number, begin, end, 0, width)[None].to(self._device)
        measured = self._measured(begin, end).to(self._device)
        first = -(-reach // scale) if begin > 0 else 0
        last = (end - begin - (reach if end < height else 0)) // scale
        with torch.enable_grad():
            mu.requires_grad_()
            residual = 2.0 * (part.measure((mu + 1.0) / 2.0) - measured)
            loss = residual[:, :, first:last].square().sum() / 2.0
            (gradient,) = torch.autograd.grad(loss, mu)
        share = self._plan.fidelity * scale**2 / operator.kept
        return share * gradient[0, :, top - begin : bottom - begin].cpu()

    def _give(self, sink: Sink) -> None:
        """The picture without what surrounds it; pixels that were seen are the file's own."""
        (y, x), (height, width) = self._frame.before, self._frame.inner
        found = self._planes[len(self._times) % 2]
        for top, bottom in strips(0, height, CHANNELS * width):
            self._meter.check()
            rows = (found.window(y + top, y + bottom, x, x + width) + 1.0) / 2.0
            if isinstance(self._operator, Mask):
                seen = self._operator.seen[top:bottom, :width]
                rows = torch.where(seen, self._source.window(top, bottom, 0, width), rows)
            sink.take(rows.clamp_(0.0, 1.0))


def room(size: tuple[int, int], operator: Operator, tile: int) -> int:
    """Bytes of the disk that a measurement of (height, width) takes at most while it is solved."""
    sides = (max(side * operator.scale, tile) + 2 * operator.align for side in size)
    return PLANES * BYTES * CHANNELS * math.prod(sides)
