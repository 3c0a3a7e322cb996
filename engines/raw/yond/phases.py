"""Pictures that are seen as four Bayer mosaics, one a phase; see `engines.raw.yond.layouts`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from engines.media.interpolate import interpolated
from engines.raw.yond.order import extended, first, is_cell
from kernels.bayer import PHASES, pack, unpack


class Phases:
    """What can be seen as four Bayer mosaics, one a phase, of the picture's size."""

    def __init__(self, height: int, width: int) -> None:
        self.size = height, width

    def sizes(self, values: Tensor) -> list[tuple[int, int]]:
        """See `Layout`."""
        height, width = self.size
        return [((height + dy + 1) // 2, (width + dx + 1) // 2) for dy, dx in PHASES.values()]

    def _wanted(self, cfa: str) -> Tensor:
        """(H, W) colour that the mosaic of a phase has at each pixel."""
        cell = torch.tensor(["RGB".index(letter) for letter in cfa]).reshape(2, 2)
        height, width = self.size
        return cell.repeat(-(-height // 2), -(-width // 2))[:height, :width]

    def _taken(self, light: Tensor, cfa: str) -> Tensor:
        """(H, W) of (H, W, 3): the mosaic of a phase."""
        return torch.gather(light, 2, self._wanted(cfa)[:, :, None])[:, :, 0]


class Demosaiced(Phases):
    """Three colours in each pixel.

    Noise is measured in the phase that has most of it. Where the picture was interpolated from a
    Bayer mosaic that is the mosaic's own, in which noise is still as the sensor made it; all four
    phases denoised as strongly as it asks for measures better than each by its own noise.
    """

    photosites = False

    def measured(self, values: Tensor) -> list[Tensor]:
        """See `Layout`; of one phase only."""
        rough = self.roughness(values)
        for stack, most in zip(self.worked(values), rough, strict=True):
            if most == max(rough):
                return [stack]
        return []

    def roughness(self, values: Tensor) -> list[float]:
        """Median square of the detail of red and blue in each phase: noise, if most is even."""
        found: list[float] = []
        for stack in self.worked(values):
            down = stack[::3, 1:, :] - stack[::3, :-1, :]
            found.append(float((down[..., 1:] - down[..., :-1]).abs().median()) ** 2)
        return found

    def worked(self, values: Tensor) -> Iterator[Tensor]:
        """See `Layout`."""
        for cfa in PHASES:
            yield pack(self._taken(values, cfa), cfa)

    def gathered(self, stacks: Iterator[Tensor]) -> Tensor:
        """See `Layout`."""
        total = torch.zeros(*self.size, 3)
        for cfa in PHASES:
            mosaic = unpack(next(stacks), cfa, *self.size)
            total.scatter_add_(2, self._wanted(cfa)[:, :, None], mosaic[:, :, None])
        total[:, :, 1] *= 0.5  # green is in two phases
        return total


class XTrans(Phases):
    """X-Trans: cells of three by three with five greens, and a red and a blue twice each.

    For measuring, all values are real: four greens that touch each other make one stack, and twice
    a red, two greens and a blue that touch make another.
    """

    photosites = True

    def __init__(self, cfa: str, height: int, width: int) -> None:
        """Raise `UserError` unless greens lie as in every known X-Trans sensor."""
        super().__init__(height, width)
        front = first(cfa, 6, is_cell)
        self._rows = extended(height, front[0])
        self._columns = extended(width, front[1])
        colours = np.array(["RGB".index(letter) for letter in cfa]).reshape(6, 6)
        repeats = -(-height // 6), -(-width // 6)
        self._colours = torch.from_numpy(np.tile(colours, repeats)[:height, :width].copy())

    def measured(self, values: Tensor) -> list[Tensor]:
        """See `Layout`."""
        whole = values[self._rows][:, self._columns]
        colours = self._colours[self._rows][:, self._columns]
        height, width = (len(order) // 3 * 3 for order in (self._rows, self._columns))

        def at(of: Tensor, y: int, x: int) -> Tensor:
            return of[y : y + height : 3, x : x + width : 3]

        stacks = [torch.stack([at(whole, y, x) for y in (0, 1) for x in (0, 1)])]
        for y in (2, 1):
            one, other = at(whole, y, y + 1), at(whole, y + 1, y)
            red = at(colours, y, y + 1) == 0
            greens = at(whole, y, y), at(whole, y + 1, y + 1)
            stacks.append(
                torch.stack([torch.where(red, one, other), *greens, torch.where(red, other, one)])
            )
        return stacks

    def worked(self, values: Tensor) -> Iterator[Tensor]:
        """See `Layout`."""
        light = torch.from_numpy(interpolated(values.numpy(), self._colours.numpy(), 1))
        for cfa in PHASES:
            real = self._wanted(cfa) == self._colours
            yield pack(torch.where(real, values, self._taken(light, cfa)), cfa)

    def gathered(self, stacks: Iterator[Tensor]) -> Tensor:
        """See `Layout`."""
        total = torch.zeros(self.size)
        for cfa in PHASES:
            real = self._wanted(cfa) == self._colours
            total += torch.where(real, unpack(next(stacks), cfa, *self.size), 0.0)
        return torch.where(self._colours == 1, 0.5 * total, total)  # green is in two phases
