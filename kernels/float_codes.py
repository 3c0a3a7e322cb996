"""Floating-point numbers of four and eight bits: E2M1, E3M0, E4M3FN and E5M2.

Rounded to the nearest value, ties to the even code, and beyond the largest value to it
(saturating), as ZeroQuant-FP (Wu et al., 2023) has them and the OCP's MX and FP8 specifications.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from kernels.codebook import lookup


@dataclass(frozen=True)
class FloatFormat:
    """A sign, `exponent` bits and `mantissa` bits, the sign highest; subnormals, no infinity.

    Attributes:
        name: as people write it.
        exponent: its bits.
        mantissa: its bits.
        largest: the largest finite value.
        torch_type: the type of torch that is this one, where there is one.
    """

    name: str
    exponent: int
    mantissa: int
    largest: float
    torch_type: torch.dtype | None = None

    @property
    def bits(self) -> int:
        """Bits of a code."""
        return 1 + self.exponent + self.mantissa


E2M1 = FloatFormat("E2M1", 2, 1, 6.0)
"""0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives."""

E3M0 = FloatFormat("E3M0", 3, 0, 16.0)
"""0, 0.25, 0.5, 1, 2, 4, 8, 16 and their negatives."""

E4M3FN = FloatFormat("E4M3FN", 4, 3, 448.0, torch.float8_e4m3fn)
E5M2 = FloatFormat("E5M2", 5, 2, 57344.0, torch.float8_e5m2)

FORMATS = {form.name: form for form in (E2M1, E3M0, E4M3FN, E5M2)}


def encode(x: Tensor, form: FloatFormat) -> Tensor:
    """The code of the nearest value; a tie goes to the even code.

    Args:
        x: any shape, any float type; rounded to float32 first. Infinities become the largest value.
        form: one of `FORMATS`.

    Returns:
        The shape of `x`, uint8, 0 to 2^bits - 1. A not-a-number stays one in eight bits and becomes
        the largest value in four.
    """
    x = x.to(torch.float32)
    if form.torch_type is not None:
        clipped = x.clamp(-form.largest, form.largest)
        return clipped.to(form.torch_type).view(torch.uint8)
    edges = _edges(form).to(x.device)
    codes = torch.bucketize(x.abs().contiguous(), edges, out_int32=True, right=True).to(torch.uint8)
    return codes | (torch.signbit(x).to(torch.uint8) << (form.bits - 1))


def decode(codes: Tensor, form: FloatFormat) -> Tensor:
    """The values of codes.

    Args:
        codes: any shape, uint8, 0 to 2^bits - 1.
        form: one of `FORMATS`.

    Returns:
        The shape of `codes`, float32, exact.
    """
    if form.torch_type is not None:
        return codes.view(form.torch_type).to(torch.float32)
    return lookup(codes, table(form).to(codes.device))


def table(form: FloatFormat) -> Tensor:
    """(2^bits,) float32: the value of every code, the negative ones in the upper half."""
    if form.torch_type is not None:
        every = torch.arange(1 << form.bits, dtype=torch.int32).to(torch.uint8)
        return decode(every, form)
    positive = _positive(form)
    return torch.cat([positive, -positive])


def _positive(form: FloatFormat) -> Tensor:
    """(2^(bits - 1),) float32: the values of the codes without sign, rising."""
    code = torch.arange(1 << (form.bits - 1))
    exponent = code >> form.mantissa
    part = (code & ((1 << form.mantissa) - 1)).to(torch.float32) / (1 << form.mantissa)
    bias = (1 << (form.exponent - 1)) - 1
    normal = torch.ldexp(1.0 + part, exponent - bias)
    subnormal = torch.ldexp(part, torch.tensor(1 - bias))
    return torch.where(exponent == 0, subnormal, normal)


@lru_cache
def _edges(form: FloatFormat) -> Tensor:
    """From which value on a code is rounded up to; a tie below an even code belongs to it."""
    values = _positive(form)
    middle = (values[:-1] + values[1:]) / 2
    up = torch.arange(1, values.numel()) % 2 == 0
    return torch.where(up, middle, torch.nextafter(middle, torch.tensor(torch.inf)))
