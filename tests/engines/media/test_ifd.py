"""TIFF folders: what is packed is read back, and damage never raises, loops or swells."""

from __future__ import annotations

import struct
from fractions import Fraction
from io import BytesIO

import numpy as np
import pytest

from engines.media.ifd import (
    Entry,
    IfdReader,
    NoFoldersError,
    append_ifd,
    ascii_entry,
    pack_ifd,
)

ENTRIES: list[Entry] = [
    (700, 1, b"xyz"),
    ascii_entry(271, "Acme Ünïcode"),
    (256, 4, (70000,)),
    (258, 3, (16, 16, 16)),
    (33434, 5, (Fraction(1, 50),)),
    (50721, 10, ((-1164, 10_000), (6461, 10_000))),
    (51041, 12, (1e-5, 1e-7)),
    (50000, 11, (0.5,)),
]


def _file(*folders: list[Entry]) -> BytesIO:
    file = BytesIO(b"II*\0\0\0\0\0")
    places = [append_ifd(file, entries) for entries in folders]
    file.seek(4)
    file.write(struct.pack("<I", places[0]))
    return file


def test_what_is_packed_is_read_back() -> None:
    reader = IfdReader(_file(ENTRIES))
    folder = reader.folder(reader.start)
    assert folder is not None
    assert list(folder.entries) == sorted(code for code, _, _ in ENTRIES)
    assert folder.entries[700][2] == b"xyz"
    assert folder.text(271) == "Acme Ünïcode"
    assert folder.numbers(258) == (16.0, 16.0, 16.0)
    assert folder.entries[33434][2] == ((1, 50),)
    assert folder.numbers(50721) == (-0.1164, 0.6461)
    assert folder.numbers(51041) == (1e-5, 1e-7)
    assert folder.number(99, default=7) == 7
    assert folder.following == 0


def test_a_folder_is_sorted_and_its_values_lie_at_even_places() -> None:
    packed = pack_ifd(ENTRIES, 8)
    (count,) = struct.unpack("<H", packed[:2])
    codes = []
    for at in range(2, 2 + 12 * count, 12):
        code, kind, number, place = struct.unpack("<HHII", packed[at : at + 12])
        codes.append(code)
        if number * {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 10: 8, 11: 4, 12: 8}[kind] > 4:
            assert place % 2 == 0
    assert codes == sorted(codes)
    assert len(packed) % 2 == 0


def test_the_other_byte_order() -> None:
    data = struct.pack(">2sHIH", b"MM", 42, 8, 1) + struct.pack(">HHIHHI", 256, 3, 1, 500, 0, 0)
    reader = IfdReader(BytesIO(data))
    folder = reader.folder(reader.start)
    assert folder is not None
    assert folder.number(256) == 500


def test_sub_folders_are_found_and_nothing_is_followed_twice() -> None:
    file = _file([(256, 4, (1,))], [(256, 4, (2,))])
    second = pack_ifd([(256, 4, (2,))], 0)
    sub = file.getbuffer().nbytes - len(second)
    start = append_ifd(file, [(256, 4, (3,)), (330, 4, (sub, sub, 0))])
    file.seek(4)
    file.write(struct.pack("<I", start))
    file.seek(start + 2 + 24)
    file.write(struct.pack("<I", start))  # follows itself
    assert [folder.number(256) for folder in IfdReader(file).folders()] == [3, 2]


@pytest.mark.parametrize("data", [b"", b"II*\0", b"\0" * 20, b"HELLO WORLD, THIS IS NO TIFF"])
def test_what_is_no_tiff(data: bytes) -> None:
    with pytest.raises(NoFoldersError):
        IfdReader(BytesIO(data))


def test_damage_neither_raises_nor_swells() -> None:
    whole = np.frombuffer(_file(ENTRIES).getvalue(), dtype=np.uint8)
    rng = np.random.default_rng(5)
    for _ in range(2000):
        data = whole.copy()
        data[rng.integers(2, len(data), 6)] = rng.integers(0, 256, 6)
        broken = BytesIO(data[: rng.integers(8, len(data) + 1)].tobytes())
        for folder in IfdReader(broken).folders():
            for code in folder.entries:
                folder.numbers(code)
                folder.text(code)


def test_a_ratio_without_denominator_is_nought() -> None:
    reader = IfdReader(_file([(50730, 10, ((3, 0),))]))
    folder = reader.folder(reader.start)
    assert folder is not None
    assert folder.numbers(50730) == (0.0,)
