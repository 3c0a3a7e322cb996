"""The pseudo-inverse of a measurement, as an inverse problem is begun with, and of several."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from engines.superres.degrade.operator import DAMPING, Operator


def pseudo_inverse(operator: Operator, measured: Tensor) -> Tensor:
    """A⁺y: of all pictures that fit the measurement the one nearest to the operator's own guess.

    Where `operator.rounds` is 0 that guess, `invert`, fits already. Otherwise the operator is
    linear, and conjugate gradients solve (A·Aᵀ + ε)z = y - A·x; the picture is x + Aᵀz.

    Args:
        operator: what measures.
        measured: (B, 3, h, w) in 0..1.

    Returns:
        (B, 3, h·scale, w·scale) float, not clamped, without a gradient.
    """
    with torch.no_grad():
        first = operator.invert(measured)
    if not operator.rounds:
        return first
    # In float32 rounding would decide what becomes of faint frequencies.
    first = first.double()
    residual = measured.double() - operator.measure(first)
    z = torch.zeros_like(residual)
    direction, norm = residual, residual.square().sum()
    for _ in range(operator.rounds):
        if float(norm) < 1e-12:
            break
        moved = operator.measure(_transposed(operator, direction, first)) + DAMPING * direction
        step = norm / (direction * moved).sum()
        z = z + step * direction
        residual = residual - step * moved
        norm, last = residual.square().sum(), norm
        direction = residual + norm / last * direction
    return (first + _transposed(operator, z, first)).to(measured.dtype)


def _transposed(operator: Operator, values: Tensor, like: Tensor) -> Tensor:
    """Aᵀ of a linear operator, by automatic differentiation."""
    with torch.enable_grad():
        at = torch.zeros_like(like, requires_grad=True)
        (found,) = torch.autograd.grad(operator.measure(at), at, values)
    return found


class Composed(Operator):
    """One operator after the other, the first in the list first."""

    def __init__(self, parts: Sequence[Operator]) -> None:
        """`parts` are at least one."""
        self._parts = list(parts)
        for part in parts:
            self.reach += part.reach * self.scale
            self.align = math.lcm(self.align, part.align * self.scale)
            self.scale *= part.scale
            self.kept *= part.kept

    def measure(self, pictures: Tensor) -> Tensor:
        """See `Operator`."""
        for part in self._parts:
            pictures = part.measure(pictures)
        return pictures

    def invert(self, measured: Tensor) -> Tensor:
        """Each part's pseudo-inverse, from the last to the first."""
        for part in reversed(self._parts):
            measured = pseudo_inverse(part, measured)
        return measured

    def part(self, top: int, left: int, height: int, width: int) -> Operator:
        """See `Operator`."""
        parts: list[Operator] = []
        scale = 1
        for one in self._parts:
            box = (top // scale, left // scale, height // scale, width // scale)
            parts.append(one.part(*box))
            scale *= one.scale
        return Composed(parts)
