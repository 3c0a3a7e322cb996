"""Reading any picture at its full depth, upright, with all that is to be kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from engines.base import UserError
from engines.media.opening import beginning
from engines.media.picture_facts import (
    Picture,
    PictureFacts,
    PictureFormat,
    Pixels,
    Source,
    check_room,
    damaged,
    ends_early,
)
from engines.media.picture_pillow import open_other
from engines.media.picture_png import open_png
from engines.media.picture_tiff import open_tiff

__all__ = ["PICTURE_SUFFIXES", "Picture", "PictureFacts", "read_facts", "read_picture"]

PICTURE_SUFFIXES = (
    ".png", ".tif", ".tiff", ".jpg", ".jpeg", ".jpe", ".webp", ".bmp", ".gif", ".avif", ".heic",
    ".heif",
)  # fmt: skip
_TURNED = 5  # orientations from here on swap width and height
_USUAL: dict[PictureFormat, tuple[str, ...]] = {
    "png": (".png", ".apng"),
    "tiff": (".tif", ".tiff"),
    "jpeg": (".jpg", ".jpeg", ".jpe"),
    "webp": (".webp",),
    "bmp": (".bmp",),
    "gif": (".gif",),
    "avif": (".avif",),
    "heic": (".heic", ".heif"),
}
_NAMES: dict[PictureFormat, str] = {
    "png": "a PNG", "tiff": "a TIFF", "jpeg": "a JPEG", "webp": "a WebP", "bmp": "a BMP",
    "gif": "a GIF", "avif": "an AVIF", "heic": "a HEIC",
}  # fmt: skip


def read_facts(path: Path) -> PictureFacts:
    """Read the head alone.

    Raises:
        UserError: it is no picture that can be read; one sentence.
    """
    return _upright(_opened(path))


def read_picture(path: Path) -> Picture:
    """Read a picture whole: upright, palette as RGB, CMYK as sRGB; the file is not changed.

    Of several frames or pages the first is taken, and a note says so.

    Raises:
        UserError: it is no picture that can be read, is damaged, ends early or is too large.
    """
    source = _opened(path)
    facts = _upright(source)
    try:
        found = _turned(source.load(), source.orientation)
    except UserError:
        raise
    except Exception as error:  # whatever decoders make of a stranger's bytes
        raise _unreadable(path, error) from error
    channels = facts.channels
    pixels = np.ascontiguousarray(found[:, :, :channels])
    alpha = np.ascontiguousarray(found[:, :, channels]) if facts.has_alpha else None
    return Picture(pixels, alpha, facts, _notes(path, facts) + source.notes)


def _opened(path: Path) -> Source:
    again = "copy or download it again"
    form = _format(beginning(path, 32, wanted="a picture", again=again))
    if form is None:
        raise UserError(
            f"{path.name} is no picture that can be read here; choose PNG, TIFF, JPEG or WebP"
        )
    try:
        if form == "png":
            source = open_png(path)
        elif form == "tiff":
            source = open_tiff(path)
        else:
            source = open_other(path, form)
    except UserError:
        raise
    except Exception as error:  # likewise
        raise _unreadable(path, error) from error
    facts = source.facts
    pixel = (facts.channels + facts.has_alpha) * facts.bits // 8
    check_room(path.name, facts.height, facts.width, pixel)
    return source


def _format(start: bytes) -> PictureFormat | None:
    """What a file is by its first 32 bytes."""
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if start.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "webp"
    if start.startswith(b"BM"):
        return "bmp"
    if start.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if start[4:8] == b"ftyp":
        brands = [start[8:12], *(start[at : at + 4] for at in range(16, 32, 4))]
        if b"avif" in brands or b"avis" in brands:
            return "avif"
        if brands[0] in (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"):
            return "heic"
    return None


def _upright(source: Source) -> PictureFacts:
    facts = source.facts
    if source.orientation < _TURNED:
        return facts
    dpi = facts.dpi and (facts.dpi[1], facts.dpi[0])
    return replace(facts, width=facts.height, height=facts.width, dpi=dpi)


def _turned(pixels: Pixels, orientation: int) -> Pixels:
    """Undo what EXIF's orientation says of stored pixels."""
    if orientation >= _TURNED:
        pixels = pixels.swapaxes(0, 1)
    # Where the first stored row and column lie: 2, 3, 7, 8 and so on.
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _notes(path: Path, facts: PictureFacts) -> tuple[str, ...]:
    notes: list[str] = []
    if path.suffix.lower() not in _USUAL[facts.format]:
        notes.append(f"It is {_NAMES[facts.format]}, though its name ends in {path.suffix or '?'}")
    if facts.frames > 1:
        many = "pages" if facts.format == "tiff" else "frames"
        notes.append(f"It has {facts.frames} {many}, of which the first was taken")
    return tuple(notes)


def _unreadable(path: Path, error: Exception) -> UserError:
    if isinstance(error, MemoryError):
        return UserError(f"{path.name} does not fit into memory; cut it into parts")
    if "truncated" in str(error).lower():
        return ends_early(path.name)
    return damaged(path.name)
