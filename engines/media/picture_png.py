"""PNG: its chunks checked and read, and the pixels of 16-bit ones, which Pillow would cut to 8.

Chunks after PNG, third edition (W3C). OpenCV decodes 16 bits; it is only given whole chunks,
since it says nothing of others.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.media.picture_exif import block_of
from engines.media.picture_facts import PictureFacts, Pixels, Source, damaged, ends_early
from engines.media.picture_pillow import load_eight
from engines.media.picture_xmp import upright

COLOUR_CHUNKS = (b"cHRM", b"cICP", b"gAMA", b"sRGB")
_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS")
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_KEPT = (b"iCCP", b"eXIf", b"pHYs", b"acTL", b"tRNS", *_TEXTS, *COLOUR_CHUNKS)
_MOST = 16 << 20  # bytes of a text or profile, unpacked
_MOST_TEXTS = 200
_INCH = 0.0254  # m
_XMP = "XML:com.adobe.xmp"
_RAW_PROFILE = "Raw profile type "
_NOT_TEXTS = (_RAW_PROFILE, "exif:", "tiff:")  # ImageMagick's ways to keep EXIF and the like


@dataclass
class PngHead:
    """What stands in a PNG beside its pixels."""

    width: int = 0
    height: int = 0
    bits: int = 8
    colour: int = 0  # 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha
    transparent: bytes | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    frames: int = 1
    texts: list[tuple[str, str]] = field(default_factory=list)
    colour_chunks: list[tuple[bytes, bytes]] = field(default_factory=list)


def open_png(path: Path) -> Source:
    """Look at a PNG.

    Raises:
        UserError: the file ends early or is damaged.
    """
    head = read_png_head(path)
    exif, orientation = block_of(head.exif or _profile(head.texts, "exif", "APP1"))
    facts = PictureFacts(
        name=path.name,
        format="png",
        width=head.width,
        height=head.height,
        bits=16 if head.bits == 16 else 8,
        channels=1 if head.colour in (0, 4) else 3,
        has_alpha=head.colour in (4, 6) or head.transparent is not None,
        icc=head.icc,
        exif=exif,
        xmp=None if head.xmp is None else upright(head.xmp),
        iptc=_profile(head.texts, "iptc"),
        dpi=head.dpi,
        frames=head.frames,
        texts=tuple(text for text in head.texts if not text[0].startswith(_NOT_TEXTS)),
        colour_chunks=tuple(head.colour_chunks),
    )

    def load() -> Pixels:
        if head.bits == 16:
            return _load_sixteen(path, head)
        return load_eight(BytesIO(_bare(path)), ("PNG",), facts)

    return Source(facts, orientation, (), load)


def read_png_head(path: Path) -> PngHead:
    """Read all chunks but the pixels'.

    Raises:
        UserError: the file ends early or is damaged.
    """
    head = PngHead()
    with path.open("rb") as file:
        file.seek(8)
        while True:
            start = file.read(8)
            if len(start) < 8:
                raise ends_early(path.name)
            size, name = struct.unpack(">I4s", start)
            if name == b"IEND":
                break
            if name == b"IHDR" or (name in _KEPT and size <= _MOST):
                data, check = file.read(size), file.read(4)
                if len(check) < 4:
                    raise ends_early(path.name)
                if struct.pack(">I", zlib.crc32(name + data)) == check:
                    _take(head, name, data)
                elif name in _CRITICAL:
                    raise damaged(path.name)
            else:
                file.seek(size + 4, 1)
    if head.width < 1 or head.height < 1:
        raise damaged(path.name)
    if head.icc is not None:
        head.colour_chunks.clear()  # the profile goes before them
    return head


def _bare(path: Path) -> bytearray:
    """The PNG with its pixels alone: decoders stumble over texts that are damaged or long."""
    with path.open("rb") as file:
        out = bytearray(file.read(8))
        while start := file.read(8):
            size, name = struct.unpack(">I4s", start)
            if name not in _CRITICAL:
                file.seek(size + 4, 1)
                continue
            data, check = file.read(size), file.read(4)
            if zlib.crc32(data, zlib.crc32(name)) != int.from_bytes(check, "big"):
                raise damaged(path.name)
            out += start + data + check
            if name == b"IEND":
                break
    return out


def _load_sixteen(path: Path, head: PngHead) -> NDArray[np.uint16]:
    """(height, width, 1 to 4) uint16: grey or RGB, then alpha where there is one."""
    found = cv2.imdecode(np.frombuffer(_bare(path), np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None or found.dtype != np.uint16 or found.shape[:2] != (head.height, head.width):
        raise damaged(path.name)
    whole: NDArray[Any] = found.reshape(head.height, head.width, -1)
    if head.colour == 4:  # comes as BGRA of equal colours
        return np.ascontiguousarray(whole[:, :, 2:])
    if head.colour != 0:
        swap = cv2.COLOR_BGR2RGB if whole.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
        return np.asarray(cv2.cvtColor(whole, swap, dst=whole), dtype=np.uint16)
    if head.transparent is None or len(head.transparent) < 2:
        return whole
    clear = int.from_bytes(head.transparent[:2], "big")
    alpha = np.where(whole[:, :, :1] == clear, np.uint16(0), np.uint16(65535))
    return np.concatenate((whole[:, :, :1], alpha), axis=2)


def _profile(texts: Sequence[tuple[str, str]], *names: str) -> bytes | None:
    """What ImageMagick and ExifTool keep in a text: name, length, and the bytes in hexadecimal."""
    for keyword, text in texts:
        if keyword.removeprefix(_RAW_PROFILE) in names and keyword.startswith(_RAW_PROFILE):
            try:
                return bytes.fromhex("".join(text.split()[2:])) or None
            except ValueError:
                return None
    return None


def _take(head: PngHead, name: bytes, data: bytes) -> None:
    if name == b"IHDR" and len(data) == 13:
        head.width, head.height, head.bits, head.colour = struct.unpack(">IIBB", data[:10])
    elif name == b"tRNS":
        head.transparent = data
    elif name == b"iCCP":
        head.icc = _unpacked(data.partition(b"\0")[2][1:])
    elif name == b"eXIf":
        head.exif = data
    elif name == b"pHYs" and len(data) == 9:
        across, down, unit = struct.unpack(">IIB", data)
        if unit == 1 and across and down:
            head.dpi = (_whole(across * _INCH), _whole(down * _INCH))
    elif name == b"acTL" and len(data) == 8:
        head.frames = max(struct.unpack(">I", data[:4])[0], 1)
    elif name in COLOUR_CHUNKS:
        head.colour_chunks.append((name, data))
    elif name in _TEXTS and len(head.texts) < _MOST_TEXTS:
        keyword, text = _text(name, data)
        if keyword == _XMP:
            head.xmp = text.encode("utf-8")
        elif keyword and text:
            head.texts.append((keyword, text))


def _whole(dpi: float) -> float:
    """Whole where it was, before it was rounded to pixels a metre."""
    return float(round(dpi)) if abs(dpi - round(dpi)) <= _INCH / 2 else dpi


def _text(name: bytes, data: bytes) -> tuple[str, str]:
    keyword, _, rest = data.partition(b"\0")
    if name == b"tEXt":
        text = rest.decode("latin-1")
    elif name == b"zTXt":
        text = (_unpacked(rest[1:]) or b"").decode("latin-1")
    else:
        _, _, body = rest[2:].partition(b"\0")  # language
        _, _, body = body.partition(b"\0")  # keyword in that language
        text = ((_unpacked(body) or b"") if rest[:1] == b"\1" else body).decode("utf-8", "replace")
    return keyword.decode("latin-1"), text


def _unpacked(data: bytes) -> bytes | None:
    """Inflate what ends within bounds; None else."""
    worker = zlib.decompressobj()
    try:
        found = worker.decompress(data, _MOST)
    except zlib.error:
        return None
    return found if worker.eof else None
