"""Decoding and multiplying weights that are indices into tables."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kernels import codebook, native
from kernels.codebook_matmul import VectorWeight


def by_hand(indices: list[Tensor], books: list[Tensor], rows: int) -> Tensor:
    length = books[0].shape[1]
    weight = torch.zeros(rows, indices[0].shape[1])
    for row in range(rows):
        for column in range(weight.shape[1]):
            for index, book in zip(indices, books, strict=True):
                weight[row, column] += book[int(index[row // length, column]), row % length]
    return weight


def sample(rows: int, length: int, sizes: list[int]) -> tuple[list[Tensor], list[Tensor]]:
    vectors = -(-rows // length)
    indices = [torch.randint(0, size, (vectors, 10), dtype=torch.int32) for size in sizes]
    return indices, [torch.randn(size, length) for size in sizes]


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several tiles, the last of them not full, in a small weight."""
    monkeypatch.setattr(codebook, "_TILE_WEIGHTS", 90)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("rows", [12, 14, 37])
@pytest.mark.parametrize("sizes", [[16], [300, 8]])
def test_decode_and_matmul(rows: int, sizes: list[int]) -> None:
    indices, books = sample(rows, 4, sizes)
    expected = by_hand(indices, books, rows)
    assert torch.equal(codebook.decode(indices, books, rows), expected)
    x = torch.randn(2, 3, 10)
    assert torch.allclose(codebook.matmul(x, indices, books, rows), x @ expected.T, atol=1e-5)
    half = codebook.matmul(x.to(torch.bfloat16), indices, books, rows)
    assert half.dtype == torch.bfloat16
    assert torch.allclose(half.float(), x @ expected.T, rtol=0.05, atol=0.2)


@pytest.mark.parametrize("built", [True, False])
@pytest.mark.parametrize("length", [2, 4, 6, 8, 12])
@pytest.mark.parametrize("sizes", [[16], [70_000], [65_536], [300, 8]])
def test_prepared(
    sizes: list[int], length: int, built: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not built:
        monkeypatch.setattr(native, "load", lambda: None)
    rows, inputs = 37, 11
    indices = [torch.randint(0, size, (-(-rows // length), inputs)) for size in sizes]
    for index, size in zip(indices, sizes, strict=True):
        index[0, 0] = size - 1
    books = [torch.randn(size, length).to(torch.float16) for size in sizes]
    weight = VectorWeight(indices, books, rows)
    assert (weight.native is None) == (not built or sizes == [70_000] or native.load() is None)
    dense = codebook.decode(indices, [book.float() for book in books], rows)
    for batch in (1, 2, 7, 40):
        x = torch.randn(batch, inputs)
        assert torch.allclose(weight.matmul(x), x @ dense.T, atol=1e-5)
    x = torch.randn(2, 3, inputs, dtype=torch.bfloat16)
    y = weight.matmul(x)
    assert (y.dtype, y.shape) == (torch.bfloat16, (2, 3, rows))
    assert torch.allclose(y.float(), x.float() @ dense.T, rtol=0.02, atol=0.1)


def test_an_index_beyond_its_book_is_refused_before_it_is_looked_up() -> None:
    if native.load() is None:
        pytest.skip(native.why_not())
    for wrong in (16, -1):
        index = torch.zeros(3, 10, dtype=torch.int32)
        index[1, 2] = wrong
        with pytest.raises(ValueError, match="beyond the 16 vectors"):
            VectorWeight([index], [torch.randn(16, 4)], 12)


@pytest.mark.usefixtures("small_tiles")
def test_lookup_of_values() -> None:
    table = torch.randn(16)
    codes = torch.randint(0, 16, (40, 7), dtype=torch.uint8)
    assert torch.equal(codebook.lookup(codes, table), table[codes.long()])


def test_shapes_that_do_not_fit_are_refused() -> None:
    indices, books = sample(12, 4, [16, 8])
    with pytest.raises(ValueError, match="vectors of 4"):
        codebook.decode(indices, books, 16)
    with pytest.raises(ValueError, match="vectors of 4"):
        codebook.decode(indices, [books[0], torch.randn(8, 3)], 12)
