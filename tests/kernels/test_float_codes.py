"""Four- and eight-bit floats: every code there and back, ties, saturation."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from kernels import float_codes
from kernels.float_codes import E2M1, E3M0, E4M3FN, E5M2, FORMATS, FloatFormat


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
def test_every_code_there_and_back(form: FloatFormat) -> None:
    codes = torch.arange(1 << form.bits).to(torch.uint8).reshape(2, -1)
    values = float_codes.decode(codes, form)
    finite = torch.isfinite(values)
    assert torch.equal(float_codes.encode(values, form)[finite], codes[finite])
    assert values[finite].max() == form.largest
    assert torch.equal(float_codes.table(form).isfinite(), finite.flatten())


def test_the_values_are_those_of_the_paper() -> None:
    assert float_codes.table(E2M1)[:8].tolist() == [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    assert float_codes.table(E3M0)[:8].tolist() == [0, 0.25, 0.5, 1, 2, 4, 8, 16]
    assert float_codes.table(E2M1)[8:].tolist() == [0, -0.5, -1, -1.5, -2, -3, -4, -6]


def test_e4m3fn_follows_its_bits() -> None:
    codes = torch.arange(127)  # 127 is the not-a-number
    exponent, part = codes >> 3, (codes & 7) / 8.0
    values = torch.where(exponent == 0, part * 2.0**-6, (1.0 + part) * 2.0 ** (exponent - 7.0))
    assert torch.equal(float_codes.decode(codes.to(torch.uint8), E4M3FN), values)


@pytest.mark.parametrize("form", [E2M1, E3M0], ids=["E2M1", "E3M0"])
def test_nearest_and_ties_to_the_even_code(form: FloatFormat) -> None:
    values = float_codes.table(form)[: 1 << (form.bits - 1)]
    for low, (below, above) in enumerate(pairwise(values)):
        middle = (below + above) / 2
        tied = low + low % 2
        wanted = torch.tensor([low, tied, low + 1], dtype=torch.uint8)
        x = torch.stack([middle * (1 - 1e-6), middle, middle * (1 + 1e-6)])
        assert torch.equal(float_codes.encode(x, form), wanted)
        assert torch.equal(float_codes.encode(-x, form), wanted + (1 << (form.bits - 1)))


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
def test_it_saturates_and_is_nearest(form: FloatFormat) -> None:
    ends = torch.tensor([1e9, -1e9, torch.inf, -torch.inf])
    largest = torch.tensor([1.0, -1.0, 1.0, -1.0]) * form.largest
    assert torch.equal(float_codes.decode(float_codes.encode(ends, form), form), largest)
    x = torch.randn(500) * form.largest / 2
    every = float_codes.table(form)
    every = every[every.isfinite()]
    nearest = (x[:, None] - every).abs().amin(1)
    got = (float_codes.decode(float_codes.encode(x, form), form) - x).abs()
    assert torch.equal(got, nearest)


def test_other_types_are_read_as_float32() -> None:
    x = torch.tensor([0.26, 5.5], dtype=torch.bfloat16)
    assert float_codes.encode(x, E2M1).tolist() == [1, 7]
    assert float_codes.encode(x.double(), E5M2).dtype == torch.uint8
