"""EXIF: what a camera wrote about a picture, read from any RAW and carried into what we write."""

from __future__ import annotations

import logging
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import exifread
from exifread.utils import Ratio

Entry = tuple[int, int, tuple[Any, ...]]  # tag, TIFF type (1 to 12), values

logging.getLogger("exifread").setLevel(logging.CRITICAL)

# Tags of the EXIF folder that stay true of a denoised copy; a maker note's offsets would break.
_CARRIED = frozenset(
    [33434, 33437, 34850, 34855, 34864, 34865, 34866, 36867, 36868, 36880, 36881, 36882, 37377,
     37378, 37379, 37380, 37381, 37382, 37383, 37384, 37385, 37386, 37520, 37521, 37522, 41486,
     41487, 41488, 41493, 41495, 41985, 41986, 41987, 41988, 41989, 41990, 41991, 41992, 41993,
     41994, 42016, 42032, 42033, 42034, 42035, 42036, 42037]
)  # fmt: skip
_SIZE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_FORMAT = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d"}


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
    try:
        with path.open("rb") as file:
            tags: Mapping[str, Any] = exifread.process_file(file, details=False)
    except Exception:
        # The reader meets every camera's bugs; what it cannot read is simply not known.
        tags = {}
    make, model = _text(tags, "Image Make"), _text(tags, "Image Model")
    if not model:
        make, model = _ciff_camera(path)
    return ExifFacts(
        make=make,
        model=model,
        lens=_text(tags, "EXIF LensModel"),
        iso=_number(tags, "EXIF ISOSpeedRatings", "Image ISOSpeedRatings"),
        exposure_s=_number(tags, "EXIF ExposureTime", "Image ExposureTime"),
        f_number=_number(tags, "EXIF FNumber", "Image FNumber"),
        focal_mm=_number(tags, "EXIF FocalLength", "Image FocalLength"),
        datetime=_text(tags, "EXIF DateTimeOriginal") or _text(tags, "Image DateTime"),
        artist=_text(tags, "Image Artist"),
        copyright=_text(tags, "Image Copyright"),
        exif=_entries(tags, "EXIF ", _CARRIED),
        gps=_entries(tags, "GPS ", frozenset(range(32))),
    )


def _text(tags: Mapping[str, Any], name: str) -> str:
    return str(tags[name].printable).strip("\0 ") if name in tags else ""


def _number(tags: Mapping[str, Any], *names: str) -> float | None:
    for name in names:
        values = tags[name].values if name in tags else ()
        if isinstance(values, Sequence) and not isinstance(values, str) and values:
            try:
                found = float(values[0])
            except (TypeError, ValueError, ZeroDivisionError):
                continue
            if found > 0:
                return found
    return None


def _ciff_camera(path: Path) -> tuple[str, str]:
    """Make and model from a Canon CRW file, whose format (CIFF) is no TIFF."""
    try:
        data = path.read_bytes() if path.stat().st_size < 64_000_000 else b""
    except OSError:
        return "", ""
    if data[6:14] != b"HEAPCCDR":
        return "", ""
    place = data.find(b"Canon\0Canon ")
    if place < 0:
        return "Canon", ""
    parts = data[place : place + 64].split(b"\0")
    return parts[0].decode("ascii"), parts[1].decode("ascii", "replace")


def _entries(tags: Mapping[str, Any], prefix: str, wanted: frozenset[int]) -> tuple[Entry, ...]:
    found: dict[int, Entry] = {}
    for name, tag in tags.items():
        if not name.startswith(prefix) or getattr(tag, "tag", None) not in wanted:
            continue
        values = tag.values
        if isinstance(values, str):
            values = tuple(values.encode("utf-8", "replace"))
        if not values or tag.field_type not in _SIZE:
            continue
        found[tag.tag] = (tag.tag, tag.field_type, tuple(values))
    return tuple(found[code] for code in sorted(found))


def standard_entries(facts: ExifFacts) -> tuple[Entry, ...]:
    """Entries of an EXIF folder: the carried ones, and the facts that were known from elsewhere."""
    found = {entry[0]: entry for entry in facts.exif}

    def add(code: int, kind: int, *values: Any) -> None:
        found.setdefault(code, (code, kind, values))

    add(36864, 7, *b"0231")
    if facts.exposure_s:
        add(33434, 5, Fraction(facts.exposure_s).limit_denominator(100_000))
    if facts.f_number:
        add(33437, 5, Fraction(facts.f_number).limit_denominator(100))
    if facts.iso:
        add(34855, 3, min(round(facts.iso), 65535))
    if facts.focal_mm:
        add(37386, 5, Fraction(facts.focal_mm).limit_denominator(100))
    if facts.datetime:
        add(36867, 2, *facts.datetime.encode("ascii", "replace"), 0)
    if facts.lens:
        add(42036, 2, *facts.lens.encode("utf-8"), 0)
    return tuple(found[code] for code in sorted(found))


def pack_ifd(entries: Sequence[Entry], offset: int) -> bytes:
    """One little-endian TIFF folder that starts at `offset`, its values behind it."""
    head = struct.pack("<H", len(entries))
    body = b""
    start = offset + 2 + 12 * len(entries) + 4
    for code, kind, values in sorted(entries):
        data = _values(kind, values)
        count = len(data) // _SIZE[kind]
        if len(data) <= 4:
            place = data.ljust(4, b"\0")
        else:
            place = struct.pack("<I", start + len(body))
            body += data + b"\0" * (len(data) % 2)
        head += struct.pack("<HHI", code, kind, count) + place
    return head + struct.pack("<I", 0) + body


def _values(kind: int, values: Sequence[Any]) -> bytes:
    if kind in (2, 7):
        data = bytes(int(v) & 255 for v in values)
        return data if kind == 7 or data.endswith(b"\0") else data + b"\0"
    if kind in (5, 10):
        form = "<II" if kind == 5 else "<ii"
        return b"".join(struct.pack(form, *_ratio(value)) for value in values)
    return struct.pack(f"<{len(values)}{_FORMAT[kind]}", *values)


def _ratio(value: Any) -> tuple[int, int]:
    if isinstance(value, tuple):
        return int(value[0]), int(value[1])
    if isinstance(value, Ratio | Fraction):
        return value.numerator, value.denominator
    found = Fraction(float(value)).limit_denominator(10_000)
    return found.numerator, found.denominator


def camera_entries(facts: ExifFacts, orientation: int) -> tuple[Entry, ...]:
    """Entries of a first folder that any picture of ours has."""
    texts = (
        (271, facts.make), (272, facts.model), (305, "Noise Studio"), (306, facts.datetime),
        (315, facts.artist), (33432, facts.copyright),
    )  # fmt: skip
    found: list[Entry] = [(code, 2, (*text.encode("utf-8"), 0)) for code, text in texts if text]
    return (*found, (274, 3, (orientation,)))


def exif_block(facts: ExifFacts, orientation: int) -> bytes:
    """A JPEG's APP1 contents: "Exif", and a little TIFF with camera, EXIF and GPS folders."""
    exif, gps = standard_entries(facts), facts.gps
    first = list(camera_entries(facts, orientation))
    pointers = [(34665, 4, (0,))] + ([(34853, 4, (0,))] if gps else [])
    size = len(pack_ifd([*first, *pointers], 8))
    exif_bytes = pack_ifd(exif, 8 + size)
    pointers = [(34665, 4, (8 + size,))]
    if gps:
        pointers.append((34853, 4, (8 + size + len(exif_bytes),)))
    head = pack_ifd([*first, *pointers], 8)
    tail = pack_ifd(gps, 8 + size + len(exif_bytes)) if gps else b""
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + head + exif_bytes + tail
