"""EXIF wherever makers put it: TIFF of their own magic, CR3 boxes, RAF's JPEG, MRW's block, CRW."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from engines.media.exif import ExifFacts, exif_block, read_exif, standard_entries
from engines.media.ifd import Entry, ascii_entry, pack_ifd

DATA = Path(__file__).parents[2] / "data" / "raw"
FACTS = ExifFacts(
    make="Acme", model="Acme One", lens="Acme 35mm", iso=800.0, exposure_s=0.02, f_number=4.0,
    focal_mm=35.0, datetime="2024:05:06 07:08:09", gps=((1, 2, b"N\0"),),
)  # fmt: skip
TIFF = exif_block(FACTS, 60, 40)[6:]


def _tiff(entries: list[Entry]) -> bytes:
    return b"II*\0" + struct.pack("<I", 8) + pack_ifd(entries, 8)


def _cr3() -> bytes:
    first = _tiff([ascii_entry(271, "Acme"), ascii_entry(272, "Acme One")])
    exif = _tiff(list(standard_entries(FACTS)))
    gps = _tiff(list(FACTS.gps))
    boxes = b"".join(
        struct.pack(">I", 8 + len(data)) + name + data
        for name, data in ((b"CMT1", first), (b"CMT2", exif), (b"CMT3", _tiff([])), (b"CMT4", gps))
    )
    return struct.pack(">I8sI4s", 20, b"ftypcrx ", 1, b"crx ") + boxes


def _raf() -> bytes:
    jpeg = b"\xff\xd8\xff\xe1\x10\0Exif\0\0" + TIFF
    return (b"FUJIFILMCCD-RAW 0201".ljust(84, b"\0") + struct.pack(">II", 148, len(jpeg))).ljust(
        148, b"\0"
    ) + jpeg


def _mrw() -> bytes:
    blocks = b"\0PRD" + struct.pack(">I", 24) + bytes(24)
    blocks += b"\0TTW" + struct.pack(">I", len(TIFF)) + TIFF
    return b"\0MRM" + struct.pack(">I", len(blocks)) + blocks


@pytest.mark.parametrize(
    "data",
    [
        TIFF,
        b"IIRO" + TIFF[4:],  # Olympus
        b"IIU\0" + TIFF[4:],  # Panasonic
        _cr3(),
        _raf(),
        _mrw(),
    ],
    ids=["tiff", "orf", "rw2", "cr3", "raf", "mrw"],
)
def test_every_makers_place(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(data)
    found = read_exif(tmp_path / "a.raw")
    for field in ("make", "model", "lens", "iso", "exposure_s", "f_number", "focal_mm", "datetime"):
        assert getattr(found, field) == getattr(FACTS, field), field
    assert found.gps == FACTS.gps


def test_a_crw_names_its_camera() -> None:
    found = read_exif(DATA / "CRW_0304.CRW")
    assert (found.make, found.model) == ("Canon", "Canon PowerShot G2")


def test_facts_in_the_first_folder() -> None:
    """TIFF/EP keeps them there; the KDC does."""
    found = read_exif(DATA / "P003908.KDC")
    assert (found.f_number, found.focal_mm) == (4.0, 37.0)
    assert {entry[0] for entry in found.exif} >= {33434, 33437, 34850, 36867, 37385}


@pytest.mark.parametrize(
    "data", [b"", b"II*\0", b"\0" * 100, _cr3()[:60], _raf()[:120], _mrw()[:30]]
)
def test_broken_files_give_empty_facts(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(data)
    assert read_exif(tmp_path / "a.raw").iso is None


def test_what_says_nothing_is_not_carried(tmp_path: Path) -> None:
    exif: list[Entry] = [
        (33434, 5, ((0, 1),)),  # exposure time 0: a lens without contacts, a video frame
        (33437, 5, ((0, 0),)),
        (37386, 5, ((0, 1),)),
        ascii_entry(42036, "   "),
        (37384, 3, (0,)),  # light source unknown is a value
        (37510, 7, b"x" * 5000),
        (37500, 7, b"maker note"),
    ]
    first: list[Entry] = [ascii_entry(272, "One"), (34665, 4, (0,))]
    at = 8 + len(pack_ifd(first, 8))
    first[1] = (34665, 4, (at,))
    data = b"II*\0" + struct.pack("<I", 8) + pack_ifd(first, 8) + pack_ifd(exif, at)
    (tmp_path / "a.raw").write_bytes(data)
    found = read_exif(tmp_path / "a.raw")
    assert found.exif == ((37384, 3, (0,)),)
    assert (found.exposure_s, found.f_number, found.lens) == (None, None, "")


def test_numbers_are_written_as_photographers_say_them() -> None:
    facts = ExifFacts(f_number=2.797959327697754, exposure_s=1 / 8000, iso=102400.0)
    written = {entry[0]: entry[2][0] for entry in standard_entries(facts) if entry[0] != 36864}
    assert str(written[33437]) == "14/5"
    assert str(written[33434]) == "1/8000"
    assert written[34855] == 65535
