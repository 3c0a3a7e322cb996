"""What `test_triton` runs in a process of its own, where Triton is its interpreter.

The interpreter has no bfloat16 products; float16 stands for the short types.
"""

from __future__ import annotations

import pytest
import torch

from kernels import codebook, float_codes, grouped, packing, triton_codebook, triton_grouped


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("rows", "inputs", "groups"), [(40, 96, 3), (33, 50, 1)])
def test_integers(bits: int, symmetric: bool, rows: int, inputs: int, groups: int) -> None:
    codes = torch.randint(0, 1 << bits, (rows, inputs), dtype=torch.uint8)
    scale = (torch.rand(rows, groups) + 0.1).to(torch.float16)
    zero = torch.randint(0, 1 << bits, scale.shape, dtype=torch.uint8)
    words = packing.pack_bits(codes, bits)
    moved = None if symmetric else zero
    weight = grouped.dequantize(codes, scale, 1 << (bits - 1) if symmetric else zero)
    got = triton_grouped.dequantize(words, inputs, bits, scale, moved)
    assert torch.equal(got, weight)
    x = torch.randn(2, 9, inputs)
    y = triton_grouped.matmul(x, words, bits, scale, moved)
    assert torch.allclose(y, x @ weight.T, rtol=1e-4, atol=1e-3)
    short = triton_grouped.matmul(x.to(torch.float16), words, bits, scale, moved)
    assert short.dtype == torch.float16
    assert torch.allclose(short.float(), x @ weight.T, rtol=0.02, atol=0.02 * float(y.std()))


@pytest.mark.parametrize("form", [float_codes.E2M1, float_codes.E3M0], ids=["E2M1", "E3M0"])
def test_small_floats(form: float_codes.FloatFormat) -> None:
    weight = torch.randn(40, 64)
    scale = (weight.view(40, 2, 32).abs().amax(-1) / form.largest).to(torch.float16)
    spread = scale.float().repeat_interleave(32, 1)
    codes = float_codes.encode(weight / spread, form)
    expected = float_codes.decode(codes, form) * spread
    words, table = packing.pack_bits(codes, 4), float_codes.table(form)
    assert torch.equal(triton_grouped.dequantize(words, 64, 4, scale, table=table), expected)
    x = torch.randn(5, 64)
    y = triton_grouped.matmul(x, words, 4, scale, table=table)
    assert torch.allclose(y, x @ expected.T, atol=1e-4)


@pytest.mark.parametrize("sizes", [[16], [300, 8]])
@pytest.mark.parametrize("length", [4, 6])
def test_codebooks(sizes: list[int], length: int) -> None:
    rows, inputs = 44, 70
    indices = [torch.randint(0, size, (-(-rows // length), inputs)) for size in sizes]
    books = [torch.randn(size, length) for size in sizes]
    x = torch.randn(3, inputs)
    y = triton_codebook.matmul(x, indices, books, rows)
    assert torch.allclose(y, codebook.matmul(x, indices, books, rows), atol=1e-4)


def test_three_books_are_refused() -> None:
    index, book = torch.zeros(1, 8, dtype=torch.int32), torch.randn(2, 4)
    with pytest.raises(ValueError, match="One book or two"):
        triton_codebook.matmul(torch.randn(1, 8), [index] * 3, [book] * 3, 4)
