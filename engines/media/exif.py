"""EXIF: what a camera wrote about a picture, read from any RAW and carried into what we write."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from engines.media.ifd import Entry, Folder, IfdReader, NoFoldersError, append_ifd, ascii_entry

# Tags of the EXIF folder that stay true of a denoised copy; no maker note: its offsets would break.
_CARRIED = (
    33434, 33437, 34850, 34855, 34864, 34865, 34866, 36867, 36868, 36880, 36881, 36882, 37377,
    37378, 37379, 37380, 37381, 37382, 37383, 37384, 37385, 37386, 37520, 37521, 37522, 41486,
    41487, 41488, 41493, 41495, 41985, 41986, 41987, 41988, 41989, 41990, 41991, 41992, 41993,
    41994, 42016, 42032, 42033, 42034, 42035, 42036, 42037,
)  # fmt: skip
_NOT_ZERO = frozenset(  # where a camera writes 0 for "unknown"
    (33434, 33437, 34855, 37377, 37378, 37381, 37386, 41989)
)
_GPS_TAGS = range(32)
_LONGEST = 1000  # bytes of an entry; a JPEG has room for 64 kB of them
_NOTHING = Folder(0, {}, 0)


@dataclass(frozen=True)
class ExifFacts:
    """The usual facts, "" or None where unknown, and the entries to carry over as they are."""

    make: str = ""
    model: str = ""
    lens: str = ""
    iso: float | None = None
    exposure_s: float | None = None
    f_number: float | None = None
    focal_mm: float | None = None
    datetime: str = ""
    artist: str = ""
    copyright: str = ""
    exif: tuple[Entry, ...] = ()
    gps: tuple[Entry, ...] = ()


def read_exif(path: Path) -> ExifFacts:
    """Read what there is; a file without EXIF, or with a broken one, gives empty facts."""
    with path.open("rb") as file:
        try:
            first, exif, gps = _folders(file)
        except (NoFoldersError, struct.error):
            first = exif = gps = _NOTHING
        make, model = first.text(271), first.text(272)
        if not model:
            make, model = _ciff_camera(file)
    return ExifFacts(
        make=make,
        model=model,
        lens=exif.text(42036) or first.text(42036),
        iso=_positive(34855, exif, first),
        exposure_s=_positive(33434, exif, first),
        f_number=_positive(33437, exif, first),
        focal_mm=_positive(37386, exif, first),
        datetime=exif.text(36867) or first.text(36867) or first.text(306),
        artist=first.text(315),
        copyright=first.text(33432),
        exif=_carried(_CARRIED, exif, first),
        gps=_carried(_GPS_TAGS, gps),
    )


def _folders(file: BinaryIO) -> tuple[Folder, Folder, Folder]:
    """First, EXIF and GPS folder of any RAW that has them, wherever its maker put them."""
    head = file.read(16)
    if head[4:12] == b"ftypcrx ":  # Canon's CR3 keeps the three as files of their own
        file.seek(0)
        start = file.read(1 << 20)
        first, exif, gps = (
            _first_folder(file, start.find(name)) for name in (b"CMT1", b"CMT2", b"CMT4")
        )
        return first, exif, gps
    if head.startswith(b"FUJIFILM"):
        return _linked(file, _in_jpeg(file, _number(file, 84)))
    if head.startswith(b"\0MRM"):
        file.seek(0)
        return _linked(file, file.read(1 << 16).find(b"\0TTW") + 8)
    return _linked(file, 0)


def _linked(file: BinaryIO, base: int) -> tuple[Folder, Folder, Folder]:
    reader = IfdReader(file, base)
    first = reader.folder(reader.start) or _NOTHING
    exif, gps = (
        (reader.folder(place) if (place := first.number(code)) else None) or _NOTHING
        for code in (34665, 34853)
    )
    return first, exif, gps


def _first_folder(file: BinaryIO, box: int) -> Folder:
    """The first folder of the TIFF that follows a four-letter name at `box`."""
    if box < 0:
        return _NOTHING
    reader = IfdReader(file, box + 4)
    return reader.folder(reader.start) or _NOTHING


def _in_jpeg(file: BinaryIO, start: int) -> int:
    """Where the TIFF inside the JPEG at `start` begins."""
    file.seek(start)
    place = file.read(1 << 17).find(b"Exif\0\0")
    if place < 0:
        raise NoFoldersError
    return start + place + 6


def _number(file: BinaryIO, place: int) -> int:
    file.seek(place)
    return struct.unpack(">I", file.read(4))[0]


def _positive(code: int, *folders: Folder) -> float | None:
    for folder in folders:
        found = next(iter(folder.numbers(code)), 0.0)
        if found > 0:
            return found
    return None


def _ciff_camera(file: BinaryIO) -> tuple[str, str]:
    """Make and model from a Canon CRW file, whose format (CIFF) is no TIFF."""
    file.seek(6)
    if file.read(8) != b"HEAPCCDR":
        return "", ""
    file.seek(0)
    data = file.read(64 << 20)
    place = data.find(b"Canon\0Canon ")
    if place < 0:
        return "Canon", ""
    make, model = data[place : place + 64].split(b"\0")[:2]
    return make.decode("ascii"), model.decode("ascii", "replace")


def _carried(wanted: tuple[int, ...] | range, *folders: Folder) -> tuple[Entry, ...]:
    found: list[Entry] = []
    for code in wanted:
        entry = next((f.entries[code] for f in folders if code in f.entries), None)
        if entry is not None and _worth_carrying(entry):
            found.append(entry)
    return tuple(found)


def _worth_carrying(entry: Entry) -> bool:
    """Whether it says something: no blank text, no zero that stands for "unknown"."""
    code, kind, values = entry
    if kind == 13 or len(values) > _LONGEST:
        return False
    if kind == 2:
        return bool(bytes(values).strip(b"\0 "))
    if code in _NOT_ZERO:
        first = values[0][0] if kind in (5, 10) else values[0]
        return bool(first) and (kind not in (5, 10) or bool(values[0][1]))
    return True


def standard_entries(facts: ExifFacts) -> tuple[Entry, ...]:
    """Entries of an EXIF folder: the carried ones, and the facts that were known from elsewhere."""
    found: dict[int, Entry] = {36864: (36864, 7, b"0231")}
    if facts.exposure_s:
        found[33434] = (33434, 5, (Fraction(facts.exposure_s).limit_denominator(100_000),))
    if facts.f_number:
        # Cameras compute it from APEX values; 2.797959 is meant to be 2.8.
        found[33437] = (33437, 5, (Fraction(round(facts.f_number, 2)).limit_denominator(100),))
    if facts.iso:
        found[34855] = (34855, 3, (min(round(facts.iso), 65535),))
    if facts.focal_mm:
        found[37386] = (37386, 5, (Fraction(facts.focal_mm).limit_denominator(100),))
    if facts.datetime:
        found[36867] = ascii_entry(36867, facts.datetime)
    if facts.lens:
        found[42036] = ascii_entry(42036, facts.lens)
    found |= {entry[0]: entry for entry in facts.exif}
    return tuple(found[code] for code in sorted(found))


def camera_entries(facts: ExifFacts, orientation: int) -> tuple[Entry, ...]:
    """Entries of a first folder that any picture of ours has."""
    texts: Mapping[int, str] = {
        271: facts.make, 272: facts.model, 305: "Noise Studio", 306: facts.datetime,
        315: facts.artist, 33432: facts.copyright,
    }  # fmt: skip
    found = [ascii_entry(code, text) for code, text in texts.items() if text]
    return (*found, (274, 3, (orientation,)))


def srgb_entries(facts: ExifFacts) -> tuple[Entry, ...]:
    """Entries of the EXIF folder of a finished sRGB picture."""
    return (*standard_entries(facts), (40960, 7, b"0100"), (40961, 3, (1,)))


def exif_block(facts: ExifFacts, width: int, height: int) -> bytes:
    """APP1 contents of an upright JPEG: "Exif", and a little TIFF with camera, EXIF and GPS."""
    exif: list[Entry] = [
        *srgb_entries(facts),
        (37121, 7, bytes((1, 2, 3, 0))),  # Y, Cb, Cr
        (40962, 4, (width,)),
        (40963, 4, (height,)),
    ]
    file = BytesIO(b"II*\0\0\0\0\0")
    first: list[Entry] = [
        *camera_entries(facts, orientation=1),
        (282, 5, ((300, 1),)), (283, 5, ((300, 1),)), (296, 3, (2,)), (531, 3, (1,)),
        (34665, 4, (append_ifd(file, exif),)),
    ]  # fmt: skip
    if facts.gps:
        first.append((34853, 4, (append_ifd(file, facts.gps),)))
    start = append_ifd(file, first)
    file.seek(4)
    file.write(struct.pack("<I", start))
    return b"Exif\0\0" + file.getvalue()
