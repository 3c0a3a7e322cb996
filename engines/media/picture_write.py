"""Writing pictures with everything kept, strip by strip where the format allows it."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engines.base import UserError
from engines.media.ifd import NoFoldersError
from engines.media.picture_exif import ExifBlock
from engines.media.picture_facts import PictureFacts, Pixels
from engines.media.picture_tiff_write import write_tiff_picture
from engines.media.picture_xmp import sized, with_provenance
from engines.media.png_write import Chunk, text_chunk, write_png

WriteFormat = Literal["png", "tiff", "jpeg", "webp"]
SUFFIX: Mapping[WriteFormat, str] = {
    "png": ".png", "tiff": ".tif", "jpeg": ".jpg", "webp": ".webp",
}  # fmt: skip
_NAMES: Mapping[WriteFormat, str] = {
    "png": "PNG", "tiff": "TIFF", "jpeg": "JPEG", "webp": "WebP",
}  # fmt: skip
_LONGEST: Mapping[WriteFormat, int] = {
    "png": (1 << 31) - 1, "tiff": (1 << 31) - 1, "jpeg": 65500, "webp": 16383,
}  # fmt: skip
_SEGMENT = 65533 - 29  # bytes that a JPEG has for an EXIF block or an XMP packet
_STRIP_BYTES = 16 << 20
_INCH = 0.0254  # m
_LOSSLESS = 100


def format_for(facts: PictureFacts, asked: Literal["same"] | WriteFormat) -> WriteFormat:
    """The format to write: what was asked for, or the input's; PNG for what is not written here."""
    if asked != "same":
        return asked
    same: dict[str, WriteFormat] = {form: form for form in SUFFIX}
    return same.get(facts.format, "png")


def check_size(form: WriteFormat, height: int, width: int, channels: int, name: str) -> None:
    """Whether the format can hold such a picture, to be asked before the work is done.

    Raises:
        UserError: it cannot; the sentence names the format to take.
    """
    if channels not in (1, 3) and form != "tiff":
        raise UserError(
            f"{name} has {channels} bands, which {_NAMES[form]} cannot hold; choose TIFF as the"
            " output"
        )
    if max(height, width) > _LONGEST[form]:
        raise UserError(
            f"{name} would become {width} x {height} pixels, and {_NAMES[form]} ends at"
            f" {_LONGEST[form]}; choose TIFF or PNG as the output, or a smaller scale"
        )


def write_picture(
    path: Path,
    pixels: Pixels,
    alpha: Pixels | None,
    facts: PictureFacts,
    *,
    format: WriteFormat,
    provenance: Mapping[str, Any],
    quality: int = 95,
    metadata: bool = True,
    scale: tuple[float, float] = (1.0, 1.0),
    check: Callable[[], None] | None = None,
) -> tuple[str, ...]:
    """Write a picture made from another one, with what that one said about itself.

    It gets its name only when it is whole. PNG and TIFF are written by strips, so `pixels` may be
    mapped from a file larger than memory; JPEG and WebP take the picture whole, in 8 bits.

    Args:
        path: the final name; its suffix is `SUFFIX[format]`.
        pixels: (height, width, channels) uint8 or uint16: 1, 3, or for TIFF any number.
        alpha: (height, width) of the same dtype, or None.
        facts: of the input, from `read_picture`; its profile, EXIF, XMP, IPTC, resolution and
            georeference are written with the sizes put right.
        format: what to write.
        provenance: how it was made, see `engines.media.provenance.to_xmp`.
        quality: 1 to 100 for JPEG and WebP; WebP is lossless at 100.
        metadata: whether EXIF, XMP, IPTC and texts are kept; profile, resolution and georeference
            always are.
        scale: new height by old height and new width by old width, for the georeference.
        check: called at every strip; may raise, and nothing is left then.

    Returns:
        Plain sentences about what the format could not hold.

    Raises:
        UserError: the format cannot hold such a picture.
        OSError: the disk is full or the folder cannot be written.
    """
    height, width, channels = pixels.shape
    check_size(format, height, width, channels, facts.name)
    kept = _kept(facts, metadata, width, height, scale)
    xmp = with_provenance(kept.xmp, provenance)
    notes: list[str] = []
    if format == "jpeg" and len(xmp) > _SEGMENT:
        xmp = with_provenance(None, provenance)
        notes.append("JPEG has no room for so much XMP, so it was left out; PNG keeps it")
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("w+b") as file:
            if format == "png":
                write_png(file, pixels, alpha, _png_chunks(kept, xmp), check)
            elif format == "tiff":
                write_tiff_picture(file, pixels, alpha, kept, xmp, check)
            else:
                notes += _write_whole(file, pixels, alpha, kept, xmp, format, quality, check)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return tuple(notes)


def _kept(
    facts: PictureFacts, metadata: bool, width: int, height: int, scale: tuple[float, float]
) -> PictureFacts:
    """Facts of the picture that is written."""
    exif = facts.exif
    if exif is not None:
        try:
            exif = ExifBlock(exif).sized(width, height)
        except (NoFoldersError, struct.error):
            exif = None
    whole = replace(
        facts,
        width=width,
        height=height,
        exif=exif,
        xmp=None if facts.xmp is None else sized(facts.xmp, width, height),
        geo=None if facts.geo is None else facts.geo.scaled(scale),
    )
    return whole if metadata else replace(whole, exif=None, xmp=None, iptc=None, texts=())


def _png_chunks(kept: PictureFacts, xmp: bytes) -> list[Chunk]:
    """Chunks that stand before the pixels, in the order that PNG asks for."""
    chunks: list[Chunk] = []
    if kept.icc is not None:
        chunks.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(kept.icc)))
    else:
        chunks += kept.colour_chunks
    if kept.dpi is not None:
        across, down = (round(value / _INCH) for value in kept.dpi)
        chunks.append((b"pHYs", struct.pack(">IIB", across, down, 1)))
    if kept.exif is not None:
        chunks.append((b"eXIf", kept.exif))
    chunks.append((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp))
    if kept.iptc is not None:  # PNG has no place of its own for it; ExifTool reads this one
        text = f"\niptc\n{len(kept.iptc):8d}\n{kept.iptc.hex()}\n"
        packed = zlib.compress(text.encode("ascii"))
        chunks.append((b"zTXt", b"Raw profile type iptc\0\0" + packed))
    return [*chunks, *(text_chunk(*text) for text in kept.texts)]


def _write_whole(
    file: BinaryIO,
    pixels: Pixels,
    alpha: Pixels | None,
    kept: PictureFacts,
    xmp: bytes,
    form: Literal["jpeg", "webp"],
    quality: int,
    check: Callable[[], None] | None,
) -> list[str]:
    """JPEG or WebP through Pillow; returns what to say about it."""
    notes: list[str] = []
    if pixels.dtype == np.uint16:
        notes.append(f"{_NAMES[form]} holds 8 bits a colour; PNG and TIFF keep 16")
    if alpha is not None and form == "jpeg":
        notes.append("JPEG has no transparency, so the picture was laid over white; PNG keeps it")
    more: dict[str, Any] = {"icc_profile": kept.icc or b""}
    exif = kept.exif
    if exif is not None and form == "jpeg" and len(exif) > _SEGMENT:
        exif = None
        notes.append("JPEG has no room for so much EXIF, so it was left out; PNG keeps it")
    if exif is not None:
        more["exif"] = b"Exif\0\0" + exif
    if form == "jpeg":
        if kept.dpi is not None:
            more["dpi"] = (round(kept.dpi[0]), round(kept.dpi[1]))
        if kept.iptc is not None and len(kept.iptc) <= _SEGMENT:
            more["extra"] = _app13(kept.iptc)
        more |= {"quality": quality, "subsampling": 0}
    else:
        if kept.iptc is not None:
            notes.append("WebP has no place for IPTC; PNG, TIFF and JPEG keep it")
        more |= {"quality": quality, "lossless": quality >= _LOSSLESS, "method": 4}
    image = _image(pixels, alpha, form, check)
    if check is not None:
        check()
    image.save(file, form.upper(), xmp=xmp, **more)
    return notes


def _image(
    pixels: Pixels,
    alpha: Pixels | None,
    form: Literal["jpeg", "webp"],
    check: Callable[[], None] | None,
) -> Image.Image:
    """The picture in 8 bits, put together strip by strip."""
    height, width, channels = pixels.shape
    laid = alpha is not None and form == "jpeg"
    mode = "L" if channels == 1 else "RGB"
    shown = ("RGB" if form == "webp" else mode) + ("A" if alpha is not None and not laid else "")
    image = Image.new(shown, (width, height))
    rows = max(_STRIP_BYTES // (width * channels * pixels.itemsize), 1)
    for top in range(0, height, rows):
        if check is not None:
            check()
        strip = _eight(pixels[top : top + rows])
        if alpha is not None:
            cover = _eight(alpha[top : top + rows])
            if laid:
                strip = _over_white(strip, cover)
            else:
                strip = np.dstack((*([strip] * (3 if channels == 1 else 1)), cover))
        # Pillow wants two dimensions for grey
        part = Image.fromarray(strip[:, :, 0] if strip.shape[2] == 1 else strip)
        image.paste(part if part.mode == shown else part.convert(shown), (0, top))
    return image


def _eight(pixels: Pixels) -> NDArray[np.uint8]:
    """uint8 or uint16 -> uint8, rounded to the nearest."""
    if pixels.dtype == np.uint8:
        return np.asarray(pixels)
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _over_white(pixels: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    share = alpha[:, :, None].astype(np.uint16)
    return ((pixels * share + 255 * (255 - share) + 127) // 255).astype(np.uint8)


def _app13(iptc: bytes) -> bytes:
    """A JPEG segment that holds IPTC records the way Photoshop does (8BIM, resource 0x0404)."""
    body = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + struct.pack(">I", len(iptc)) + iptc
    body += b"\0" * (len(iptc) % 2)
    return b"\xff\xed" + struct.pack(">H", len(body) + 2) + body
