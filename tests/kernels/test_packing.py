"""Packed codes: words worked out by hand, and there and back for every width."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kernels import packing


def unsigned(words: Tensor) -> list[int]:
    return [word & 0xFFFFFFFF for word in words.flatten().tolist()]


def random_codes(*shape: int, bits: int) -> Tensor:
    codes = torch.randint(0, 1 << bits, shape)
    codes.view(-1)[:2] = torch.tensor([0, (1 << bits) - 1])  # both ends are there
    return codes.to(packing.code_type(bits))


@pytest.mark.parametrize("bits", [*range(1, 17), 20, 24, 31])
@pytest.mark.parametrize("count", [1, 7, 32, 33, 64, 101])
def test_dense_there_and_back(bits: int, count: int) -> None:
    codes = random_codes(3, 2, count, bits=bits)
    words = packing.pack_bits(codes, bits)
    assert words.dtype == torch.int32
    assert words.shape == (3, 2, -(-count * bits // 32))
    back = packing.unpack_bits(words, bits, count)
    assert back.dtype == codes.dtype
    assert torch.equal(back, codes)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 8, 11, 16])
def test_dense_words_are_the_rows_one_long_number(bits: int) -> None:
    codes = random_codes(2, 37, bits=bits)
    for row, words in zip(codes.tolist(), packing.pack_bits(codes, bits), strict=True):
        number = sum(code << (bits * place) for place, code in enumerate(row))
        stored = sum(word << (32 * place) for place, word in enumerate(unsigned(words)))
        assert stored == number


def test_dense_words_by_hand() -> None:
    eight = torch.arange(1, 9, dtype=torch.uint8)
    assert unsigned(packing.pack_bits(eight, 4)) == [0x87654321]
    # 3 bits: code 10 has bits 30 to 32, one of them in the second word.
    codes = torch.zeros(32, dtype=torch.uint8)
    codes[10] = 0b101
    codes[21] = 0b110
    assert unsigned(packing.pack_bits(codes, 3)) == [1 << 30, 1 | (0b10 << 31) & 0xFFFFFFFF, 0b11]


def test_gptq_lies_along_the_inputs() -> None:
    codes = torch.zeros(2, 16, dtype=torch.uint8)
    codes[1, :8] = torch.arange(8, 16, dtype=torch.uint8)
    words = packing.pack_gptq(codes, 4)
    assert words.shape == (2, 2)
    assert unsigned(words) == [0, 0xFEDCBA98, 0, 0]


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_gptq_there_and_back(bits: int) -> None:
    codes = random_codes(24, 96, bits=bits)
    words = packing.pack_gptq(codes, bits)
    assert words.shape == (96 * bits // 32, 24)
    assert words.is_contiguous()
    assert torch.equal(packing.unpack_gptq(words, bits), codes)


def test_awq_order_by_hand() -> None:
    codes = torch.zeros(16, 3, dtype=torch.uint8)
    codes[8:, 2] = torch.arange(8, dtype=torch.uint8)
    words = packing.pack_awq(codes)
    assert words.shape == (3, 2)
    # Nibbles from the least: outputs 0, 2, 4, 6, 1, 3, 5, 7.
    assert unsigned(words) == [0, 0, 0, 0, 0, 0x75316420]


def test_awq_there_and_back() -> None:
    codes = random_codes(40, 33, bits=4)
    assert torch.equal(packing.unpack_awq(packing.pack_awq(codes)), codes)


@pytest.mark.parametrize("count", [1, 2, 9, 64])
def test_nibbles(count: int) -> None:
    codes = random_codes(count + 1, bits=4)[1:]
    data = packing.pack_nibbles(codes)
    assert data.shape == (-(-count // 2), 1)
    assert int(data[0]) >> 4 == int(codes[0])
    assert torch.equal(packing.unpack_nibbles(data, count), codes)


@pytest.mark.parametrize(
    ("codes", "bits"),
    [([16], 4), ([-1], 4), ([8, 0], 3), ([0], 0), ([0], 32)],
)
def test_codes_that_do_not_fit_are_refused(codes: list[int], bits: int) -> None:
    with pytest.raises(ValueError, match="bits"):
        packing.pack_bits(torch.tensor(codes), bits)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="integers"):
        packing.pack_bits(torch.zeros(8), 4)
    with pytest.raises(ValueError, match="words"):
        packing.unpack_bits(torch.zeros(1, dtype=torch.int32), 4, 9)
    with pytest.raises(ValueError, match="int32"):
        packing.unpack_bits(torch.zeros(1, dtype=torch.int64), 4, 8)
    with pytest.raises(ValueError, match="whole words"):
        packing.pack_gptq(torch.zeros(4, 12, dtype=torch.uint8), 4)
    with pytest.raises(ValueError, match="outputs"):
        packing.pack_awq(torch.zeros(12, 4, dtype=torch.uint8))
    with pytest.raises(ValueError, match="fewer"):
        packing.unpack_nibbles(torch.zeros(2, dtype=torch.uint8), 5)
