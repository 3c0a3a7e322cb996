"""ZeroQuant-FP: weights as floating-point numbers of 4 or 8 bits, activations as FP8.

Wu et al., "ZeroQuant-FP: A Leap Forward in LLMs Post-Training W4A8 Quantization Using
Floating-Point Formats" (2023): GPTQ chooses the codes, scales of groups are powers of two apart, so
that 4-bit weights become FP8 by a shift, and a product of low rank makes up for what is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from engines.base import UserError
from engines.quantize.block import Block
from engines.quantize.floating import MOST_SHIFT, Activations, Floating, LowRank, Scales
from engines.quantize.layers import Grid, QuantizedLayer
from engines.quantize.method import NoGradients, Uses
from engines.quantize.methods.curvature import Curvature, curvatures
from engines.quantize.methods.gptq import gptq
from engines.quantize.methods.grid import group_of, note_groups, tiles
from engines.quantize.methods.lorc import thin_factors
from kernels.float_codes import FORMATS, FloatFormat, decode, encode

Constraint = Literal["free", "m1", "m2"]

_SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6)  # of a range that are tried
_LEAST = 2.0**-24  # the smallest float16 above 0


@dataclass(frozen=True)
class ZeroQuantFp(NoGradients):
    """Floating-point codes by GPTQ.

    Attributes:
        four: numbers of 4 bits, "E2M1" or "E3M0".
        eight: numbers of 8 bits, "E4M3FN" or "E5M2".
        constraint: scales of groups: any ("free"); powers of two ("m1"); or the row's own scale
            times powers of two ("m2").
        search: look for the part of each range that leaves the least error; else all of it counts.
        rank: columns of the thin matrix that makes up for the error; 0 for none.
        factors: how the thin matrices are stored.
        outputs: let them make up for the error of the output, not of the weight as in the paper.
        activations: how what comes in is rounded.
        damping: share of the mean of the Hessian's diagonal that is added to it.
    """

    name: ClassVar[str] = "zeroquant_fp"
    uses: ClassVar[Uses] = "activations"

    four: Literal["E2M1", "E3M0"] = "E2M1"
    eight: Literal["E4M3FN", "E5M2"] = "E4M3FN"
    constraint: Constraint = "m2"
    search: bool = True
    rank: int = 8
    factors: Literal["int8", "float16"] = "int8"
    outputs: bool = True
    activations: Activations = "fp8"
    damping: float = 0.01

    def quantize(self, block: Block, grids: Mapping[str, Grid]) -> dict[str, QuantizedLayer]:
        """See `engines.quantize.method.Method`.

        Raises:
            UserError: other than 4 or 8 bits are wanted.
        """
        for grid in grids.values():
            if grid.bits not in (4, 8):
                raise UserError(
                    f"There are floating-point numbers of 4 and 8 bits here, and not of "
                    f"{grid.bits}; choose one of them, or another method"
                )
        note_groups(block, grids)
        made: dict[str, QuantizedLayer] = {}
        for path, curvature in curvatures(block, list(grids), damping=self.damping):
            block.progress(len(made) / len(grids), path)
            made[path] = self._layer(block, path, grids[path], curvature)
        return made

    def _layer(self, block: Block, path: str, grid: Grid, curvature: Curvature | None) -> Floating:
        weight = block.weight(path)
        form = FORMATS[self.four if grid.bits == 4 else self.eight]
        size = group_of(weight.shape[1], grid)
        importance = None if curvature is None else curvature.diagonal
        scales = fit_scales(
            weight, form, size, self.constraint, search=self.search, importance=importance
        )
        codes = _codes(weight, form, scales.values(), size, curvature, block)
        layer = Floating(codes, form, scales, size, None, self.activations)
        if not self.rank:
            return layer
        block.check()
        left, right = thin_factors(
            weight - layer.rounded(), self.rank, curvature if self.outputs else None
        )
        thin = LowRank.stored(left, right, int8=self.factors == "int8")
        return Floating(codes, form, scales, size, thin, self.activations)


def _codes(
    weight: Tensor,
    form: FloatFormat,
    scale: Tensor,
    size: int,
    curvature: Curvature | None,
    block: Block,
) -> Tensor:
    """(out, in) uint8: GPTQ's choice, or the nearest where there is no curvature."""
    if curvature is None:
        return encode(weight.unflatten(1, (-1, size)) / scale.unsqueeze(-1), form).flatten(1)
    codes = torch.empty(weight.shape[1], weight.shape[0], dtype=torch.uint8, device=weight.device)

    def round_column(number: int, column: Tensor) -> Tensor:
        step = scale[:, number // size]
        codes[number] = encode(column / step, form)
        return decode(codes[number], form) * step

    gptq(weight, curvature, round_column, block.check)
    return codes.T.contiguous()


def fit_scales(
    weight: Tensor,
    form: FloatFormat,
    size: int,
    constraint: Constraint,
    *,
    search: bool = False,
    importance: Tensor | None = None,
) -> Scales:
    """Scales for the groups of a weight.

    A group's own scale is s = max|w| / the largest number. M1 has powers of two in its place, M2
    the row's largest s divided by powers of two. Of the power above and the one below each group
    gets the one with the smaller squared error: the one below cuts its largest weights off, the one
    above leaves a part of the numbers unused.

    Args:
        weight: (out, in) float32.
        form: the numbers.
        size: weights in a group, which divide `in`.
        constraint: see `ZeroQuantFp`.
        search: try narrower ranges too: of each group ("free") or of each row ("m2").
        importance: (in,) float32, by which squared errors of inputs are multiplied.

    Returns:
        The scales as they are stored.
    """
    weigh = None if importance is None else importance.unflatten(0, (-1, size))
    shares = _SHARES if search else (1.0,)
    fitted = [_fit(groups, form, constraint, shares, weigh) for _, groups in tiles(weight, size)]
    shifts = [scales.shift for scales in fitted if scales.shift is not None]
    row = torch.cat([scales.row for scales in fitted])
    return Scales(row, torch.cat(shifts) if shifts else None)


def _fit(
    groups: Tensor,
    form: FloatFormat,
    constraint: Constraint,
    shares: Sequence[float],
    weigh: Tensor | None,
) -> Scales:
    """Scales of some rows, given as groups (rows, n, g)."""
    kind = torch.float16 if form.bits == 4 else torch.float32
    own = (groups.abs().amax(-1) / form.largest).clamp_min(_LEAST)
    if constraint == "free":
        rows = [Scales(_stored(own * share, kind)) for share in shares]
    elif constraint == "m1":
        top = own.amax(1, keepdim=True)
        row = _stored(torch.ldexp(torch.ones_like(top), top.log2().ceil().int()), kind)
        rows = [_shifted(groups, form, row, own, weigh)]
    else:
        top = own.amax(1, keepdim=True)
        rows = [_shifted(groups, form, _stored(top * share, kind), own, weigh) for share in shares]
    best, least = rows[0], _errors(groups, form, rows[0].values(), weigh)
    for scales in rows[1:]:
        errors = _errors(groups, form, scales.values(), weigh)
        if scales.shift is None or best.shift is None:
            row = torch.where(errors < least, scales.row, best.row)
            best, least = Scales(row), torch.minimum(errors, least)
            continue
        better = errors.sum(1, keepdim=True) < least.sum(1, keepdim=True)
        best = Scales(
            torch.where(better, scales.row, best.row),
            torch.where(better, scales.shift, best.shift),
        )
        least = torch.where(better, errors, least)
    return best


def _shifted(
    groups: Tensor, form: FloatFormat, row: Tensor, own: Tensor, weigh: Tensor | None
) -> Scales:
    """The better of both powers of two beside what each group wants, below the row's scale."""
    wanted = (row.float() / own).log2()
    above, below = (
        Scales(row, power.clamp(0, MOST_SHIFT).to(torch.uint8))
        for power in (wanted.floor(), wanted.ceil())
    )
    assert above.shift is not None
    assert below.shift is not None
    errors = [_errors(groups, form, scales.values(), weigh) for scales in (above, below)]
    return Scales(row, torch.where(errors[1] < errors[0], below.shift, above.shift))


def _errors(groups: Tensor, form: FloatFormat, scale: Tensor, weigh: Tensor | None) -> Tensor:
    """(rows, n): squared errors of groups (rows, n, g), of inputs that count as `weigh` (n, g)."""
    step = scale.unsqueeze(-1)
    error = decode(encode(groups / step, form), form).mul_(step).sub_(groups).square_()
    return (error if weigh is None else error.mul_(weigh)).sum(-1)


def _stored(scale: Tensor, kind: torch.dtype) -> Tensor:
    return scale.clamp(_LEAST, torch.finfo(kind).max).to(kind)
