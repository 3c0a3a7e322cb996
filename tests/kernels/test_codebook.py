"""Decoding and multiplying weights that are indices into tables."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kernels import codebook


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
