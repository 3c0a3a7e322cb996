"""Codes of a few bits, packed the way checkpoints of quantized models hold them, and back.

Codes are unsigned integers, 0 to 2^bits - 1; whoever has signed ones adds 2^(bits - 1) first. The
four layouts are those of specs in use: compressed-tensors' and VPTQ's dense stream, GPTQ's words
along the inputs, AWQ's GEMM words along the outputs and bitsandbytes' bytes.
"""

from __future__ import annotations

from math import gcd

import torch
from torch import Tensor

WORD = 32
"""Bits of a word; words are int32 and hold their bits least significant first."""

AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
"""Nibble i of an AWQ word holds output 8 c + AWQ_ORDER[i]."""

_MOST_BITS = 31  # a code has to fit a positive int32


def words_for(count: int, bits: int) -> int:
    """Words that `count` codes of `bits` bits take."""
    return -(-count * bits // WORD)


def pack_bits(codes: Tensor, bits: int) -> Tensor:
    """Pack along the last dimension: code j takes the bits j b to j b + b - 1 of the row's stream.

    A code may lie across two words; the bits behind the last code are zero. This is
    compressed-tensors' `weight_packed` for codes (out, in), and VPTQ's indices.

    Args:
        codes: (..., n), any integer type, 0 to 2^bits - 1.
        bits: 1 to 31.

    Returns:
        (..., ceil(n bits / 32)) int32, contiguous.

    Raises:
        ValueError: `bits` is out of range, or a code does not fit.
    """
    _check(codes, bits)
    count = codes.shape[-1]
    codes_each, words_each = _period(bits)
    blocks = -(-count // codes_each)
    words = codes.new_zeros((*codes.shape[:-1], blocks, words_each), dtype=torch.int32)
    for place in range(min(codes_each, count)):
        part = codes[..., place::codes_each].to(torch.int32)
        filled = words[..., : part.shape[-1], :]
        word, shift = divmod(place * bits, WORD)
        filled[..., word] |= part << shift
        if shift + bits > WORD:
            filled[..., word + 1] |= part >> (WORD - shift)
    return words.flatten(-2)[..., : words_for(count, bits)].contiguous()


def unpack_bits(words: Tensor, bits: int, count: int) -> Tensor:
    """Undo `pack_bits`.

    Args:
        words: (..., w) int32.
        bits: 1 to 31.
        count: codes in a row; `words_for(count, bits)` must not exceed w.

    Returns:
        (..., count), uint8 for up to 8 bits, else int32.

    Raises:
        ValueError: `bits` is out of range, or there are fewer words than `count` codes take.
    """
    _check_bits(bits)
    if words.dtype != torch.int32:
        raise ValueError(f"Packed codes are int32 words, and these are {words.dtype}.")
    if words.shape[-1] < words_for(count, bits):
        raise ValueError(
            f"{count} codes of {bits} bits take {words_for(count, bits)} words, "
            f"and there are {words.shape[-1]}."
        )
    codes_each, words_each = _period(bits)
    mask = (1 << bits) - 1
    codes = words.new_empty((*words.shape[:-1], count), dtype=code_type(bits))
    for place in range(min(codes_each, count)):
        target = codes[..., place::codes_each]
        word, shift = divmod(place * bits, WORD)
        part = words[..., word::words_each][..., : target.shape[-1]] >> shift
        if shift + bits > WORD:
            low = WORD - shift  # of its bits, those in the first word
            rest = words[..., word + 1 :: words_each][..., : target.shape[-1]]
            part = (part & ((1 << low) - 1)) | (rest << low)
        target.copy_(part & mask)
    return codes


def pack_gptq(codes: Tensor, bits: int) -> Tensor:
    """GPTQ's `qweight`: words along the inputs, transposed.

    Zero points (out, in / g) become `qzeros` by `pack_bits(zeros.T, bits)`.

    Args:
        codes: (out, in), any integer type, 0 to 2^bits - 1; `in * bits` must divide by 32.
        bits: 1 to 31; 2, 3, 4 and 8 are in use.

    Returns:
        (in * bits / 32, out) int32.

    Raises:
        ValueError: the sizes or a code do not fit.
    """
    if codes.shape[-1] * bits % WORD:
        raise ValueError(f"{codes.shape[-1]} inputs of {bits} bits do not fill whole words.")
    return pack_bits(codes, bits).T.contiguous()


def unpack_gptq(words: Tensor, bits: int) -> Tensor:
    """(in * bits / 32, out) int32 -> (out, in): the inverse of `pack_gptq`.

    Raises:
        ValueError: `bits` is out of range.
    """
    _check_bits(bits)
    return unpack_bits(words.T, bits, words.shape[0] * WORD // bits)


def pack_awq(codes: Tensor) -> Tensor:
    """AWQ's GEMM layout of `qweight` and, for zero points (out, in / g), of `qzeros`; 4 bits.

    Args:
        codes: (out, n), any integer type, 0 to 15; `out` must divide by 8.

    Returns:
        (n, out / 8) int32; nibble i of word c holds output 8 c + `AWQ_ORDER`[i].

    Raises:
        ValueError: the outputs do not divide by 8, or a code does not fit.
    """
    if codes.shape[0] % 8:
        raise ValueError(f"AWQ packs eight outputs a word, and {codes.shape[0]} is no multiple.")
    columns = codes.T.unflatten(-1, (-1, 8))
    order = torch.tensor(AWQ_ORDER, device=codes.device)
    return pack_bits(columns.index_select(-1, order), 4).squeeze(-1)


def unpack_awq(words: Tensor) -> Tensor:
    """(n, out / 8) int32 -> (out, n) uint8: the inverse of `pack_awq`."""
    nibbles = unpack_bits(words.unsqueeze(-1), 4, 8)
    columns = torch.empty_like(nibbles)
    columns[..., list(AWQ_ORDER)] = nibbles
    return columns.flatten(-2).T.contiguous()


def pack_nibbles(codes: Tensor) -> Tensor:
    """Bytes as bitsandbytes has them: of two codes in a row, the first lies in the high four bits.

    Args:
        codes: any shape, read row by row; any integer type, 0 to 15.

    Returns:
        (ceil(n / 2), 1) uint8; the last low half is zero where n is odd.

    Raises:
        ValueError: a code does not fit.
    """
    _check(codes, 4)
    flat = codes.reshape(-1).to(torch.uint8)
    if flat.numel() % 2:
        flat = torch.cat([flat, flat.new_zeros(1)])
    return ((flat[0::2] << 4) | flat[1::2]).unsqueeze(-1)


def unpack_nibbles(data: Tensor, count: int) -> Tensor:
    """Undo `pack_nibbles`: uint8 bytes of any shape -> (count,) uint8.

    Raises:
        ValueError: there are fewer than `count` codes.
    """
    flat = data.reshape(-1)
    if flat.numel() * 2 < count:
        raise ValueError(f"{flat.numel()} bytes hold fewer than {count} codes of 4 bits.")
    return torch.stack([flat >> 4, flat & 15], dim=-1).reshape(-1)[:count]


def code_type(bits: int) -> torch.dtype:
    """What `unpack_bits` returns codes as: uint8 for up to 8 bits, else int32."""
    return torch.uint8 if bits <= 8 else torch.int32


def _period(bits: int) -> tuple[int, int]:
    """The least number of codes that fill whole words, and those words."""
    common = gcd(bits, WORD)
    return WORD // common, bits // common


def _check_bits(bits: int) -> None:
    if not 1 <= bits <= _MOST_BITS:
        raise ValueError(f"Codes have 1 to {_MOST_BITS} bits, not {bits}.")


def _check(codes: Tensor, bits: int) -> None:
    """Refuse what would spill into a neighbour's bits."""
    _check_bits(bits)
    if codes.is_floating_point():
        raise ValueError(f"Codes are integers, not {codes.dtype}.")
    if codes.numel():
        low, high = (int(value) for value in codes.aminmax())
        if low < 0 or high >> bits:
            raise ValueError(f"Codes of {bits} bits are 0 to {(1 << bits) - 1}, not {low}..{high}.")
