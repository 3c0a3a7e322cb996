"""TIFF and BigTIFF pictures: photos, scans and band stacks of satellites."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engines.base import UserError
from engines.media.develop import srgb_profile
from engines.media.geotiff import GeoFacts
from engines.media.ifd import Entry, Folder, IfdReader
from engines.media.picture_exif import packed_exif
from engines.media.picture_facts import PictureFacts, Pixels, Source, check_room, damaged
from engines.media.picture_pillow import cmyk_note, cmyk_to_rgb, load_eight
from engines.media.picture_xmp import upright
from engines.media.tiff_pieces import COMPRESSIONS, TiffLayout, read_samples

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_COLOUR_FILTERS = (32803, 34892)
_DTYPES = {
    (1, 1): np.bool_, (8, 1): np.uint8, (16, 1): np.uint16, (32, 1): np.uint32,
    (16, 2): np.int16, (32, 2): np.int32, (16, 3): np.float16, (32, 3): np.float32,
    (64, 3): np.float64,
}  # fmt: skip
_ASSOCIATED, _UNASSOCIATED = 1, 2
_MOST_SAMPLES = 512
_CENTIMETRE = 3
_NO_PICTURE = 1 | 4  # bits of the kind of page: a smaller copy, a mask


@dataclass(frozen=True)
class _Page:
    layout: TiffLayout
    photometric: int
    colours: int  # samples that are the picture, alpha and what is left out not counted
    alpha: int | None
    premultiplied: bool


def open_tiff(path: Path) -> Source:
    """Look at a TIFF.

    Raises:
        UserError: it holds something that is no picture, or one that cannot be decoded here.
        NoFoldersError: it is damaged.
    """
    with path.open("rb") as file:
        reader = IfdReader(file)
        pages = [folder for folder in reader.folders() if 256 in folder.entries]
        full = [folder for folder in pages if not folder.number(254) & _NO_PICTURE] or pages
        if not full:
            raise damaged(path.name)
        first = full[0]
        exif, gps = (
            reader.folder(place) if (place := first.number(code)) else None
            for code in (34665, 34853)
        )
    photometric = first.number(262, _BLACK_IS_ZERO)
    if photometric in _COLOUR_FILTERS:
        raise UserError(f"{path.name} is a camera RAW file; open it in the RAW tab")
    xmp = _bytes(first, 700)
    facts = PictureFacts(
        name=path.name,
        format="tiff",
        width=first.number(256),
        height=first.number(257),
        icc=srgb_profile() if photometric == _CMYK else _bytes(first, 34675),
        exif=packed_exif(_values(first), _values(exif), _values(gps)),
        xmp=None if xmp is None else upright(xmp),
        iptc=_iptc(first, reader.order),
        dpi=_dpi(first),
        geo=GeoFacts.among(first.entries),
        frames=len(full),
    )
    notes = [cmyk_note(_bytes(first, 34675))] if photometric == _CMYK else []
    page = _page(first, reader.order, facts.geo is not None)
    if page is None:
        return _by_pillow(path, first, facts, notes)
    return _by_pieces(path, page, facts, notes)


def _by_pieces(path: Path, page: _Page, facts: PictureFacts, notes: list[str]) -> Source:
    layout = page.layout
    pixel = layout.samples * layout.dtype.itemsize
    check_room(path.name, layout.height, layout.width, pixel)
    eight = layout.bits <= 8 or page.photometric in (_PALETTE, _CMYK)
    facts = replace(
        facts,
        bits=8 if eight else 16,
        channels=3 if page.photometric in (_PALETTE, _CMYK) else page.colours,
        has_alpha=page.alpha is not None,
        rgb=page.photometric in (_RGB, _PALETTE, _CMYK),
    )
    if layout.dtype.kind == "f":
        notes.append("Decimals from 0 to 1 became 16 bits")
    elif layout.bits == 32:
        notes.append("32 bits a sample became 16, with the same numbers")
    elif layout.bits == 16 and eight:
        notes.append("16 bits a sample became 8")

    def load() -> Pixels:
        with path.open("rb") as file:
            samples = read_samples(file, layout, path.name)
        return _to_picture(samples, page, path.name)

    # A georeference belongs to the pixels as they are stored.
    orientation = 1 if facts.geo else _orientation(layout.folder)
    return Source(facts, orientation, tuple(notes), load)


def _page(first: Folder, order: Literal["<", ">"], placed: bool) -> _Page | None:
    """How the samples are to be taken; None where Pillow may know better."""
    samples = first.number(277, 1)
    sizes = first.numbers(258) or (1.0,)
    kinds = set(first.numbers(339)) or {1.0}
    kind = int(kinds.pop()) if len(kinds) == 1 else 0
    dtype = _DTYPES.get((int(sizes[0]), 1 if kind == 4 else kind))
    photometric = first.number(262, _BLACK_IS_ZERO)
    colours = {_RGB: 3, _CMYK: 4}.get(photometric, 1)
    if (
        dtype is None
        or len(set(sizes)) != 1
        or first.number(259, 1) not in COMPRESSIONS
        or first.number(266, 1) != 1  # bits of a byte the other way round
        or photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK)
        or (photometric == _PALETTE and (samples != 1 or sizes[0] not in (8, 16)))
        or not colours <= samples <= _MOST_SAMPLES
    ):
        return None
    layout = TiffLayout(
        first, order, first.number(256), first.number(257), samples, np.dtype(dtype)
    )
    extras = [int(extra) for extra in first.numbers(338)][: samples - colours]
    alpha = next(
        (colours + at for at, e in enumerate(extras) if e in (_ASSOCIATED, _UNASSOCIATED)), None
    )
    if alpha is None and samples == colours + 1 and not placed:
        alpha = colours  # writers that say nothing of a fourth sample mean transparency
    premultiplied = alpha is not None and extras[alpha - colours :][:1] == [_ASSOCIATED]
    if photometric != _CMYK:
        colours = samples - (alpha is not None)
    return _Page(layout, photometric, colours, alpha, premultiplied)


def _to_picture(samples: NDArray[Any], page: _Page, name: str) -> Pixels:
    """Samples as stored -> channels, then alpha if there is any."""
    ordered = page.alpha in (None, page.colours) and samples.shape[2] <= page.colours + 1
    if ordered and page.photometric in (_RGB, _BLACK_IS_ZERO) and not page.premultiplied:
        return _integers(samples, name)
    alpha = None if page.alpha is None else _integers(samples[:, :, page.alpha], name)
    kept = [at for at in range(samples.shape[2]) if at != page.alpha][: page.colours]
    whole = samples if len(kept) == samples.shape[2] else samples[:, :, kept]
    if page.photometric == _PALETTE:
        pixels = _through_palette(whole[:, :, 0], page.layout.folder, name)
    else:
        pixels = _integers(whole, name)
        if page.photometric == _WHITE_IS_ZERO:
            pixels = np.iinfo(pixels.dtype).max - pixels
        elif page.photometric == _CMYK:
            pixels = _from_cmyk(pixels, page.layout.folder)
            alpha = alpha if alpha is None else _eight(alpha)
    if alpha is None:
        return pixels
    if page.premultiplied:
        pixels = _unmultiplied(pixels, alpha)
    return np.concatenate((pixels, alpha[:, :, None]), axis=2)


def _integers(samples: NDArray[Any], name: str) -> Pixels:
    """Whatever kind of number as uint8 or uint16."""
    if samples.dtype == np.bool_:
        return samples.astype(np.uint8) * np.uint8(255)
    if samples.dtype in (np.uint8, np.uint16):
        return samples
    low, high = float(samples.min()), float(samples.max())
    if samples.dtype.kind == "f" and 0.0 <= low and high <= 1.0:
        out = np.empty(samples.shape, np.uint16)
        for row, values in zip(out, samples, strict=True):
            np.rint(values.astype(np.float64) * 65535.0, out=row, casting="unsafe")
        return out
    if samples.dtype.kind != "f" and 0.0 <= low and high <= 65535.0:
        return samples.astype(np.uint16)
    raise UserError(
        f"{name} has values from {low:g} to {high:g}, which do not fit into 16 bits; save it with"
        " 8 or 16 bits a sample, or as decimals from 0 to 1"
    )


def _through_palette(index: NDArray[Any], folder: Folder, name: str) -> Pixels:
    table = np.array(folder.numbers(320), dtype=np.uint16)
    entries = 1 << folder.number(258, 1)
    if len(table) != 3 * entries:
        raise damaged(name)
    # Colours have 16 bits; some writers fill only the lower 8.
    eight = (table >> 8 if table.max() > 255 else table).astype(np.uint8)
    return eight.reshape(3, entries).T[index]


def _from_cmyk(pixels: Pixels, folder: Folder) -> Pixels:
    image = Image.fromarray(np.ascontiguousarray(_eight(pixels)), "CMYK")
    return np.asarray(cmyk_to_rgb(image, _bytes(folder, 34675)), dtype=np.uint8)


def _eight(pixels: Pixels) -> NDArray[np.uint8]:
    return pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)


def _unmultiplied(pixels: Pixels, alpha: Pixels) -> Pixels:
    """Colour as it was before it was multiplied by alpha; 0 where nothing is left of it."""
    full = np.iinfo(pixels.dtype).max
    out = np.zeros_like(pixels)
    for row, colour, share in zip(out, pixels, alpha, strict=True):
        there = share > 0
        value = colour[there].astype(np.float64) * full / share[there, None]
        row[there] = np.rint(np.minimum(value, full)).astype(pixels.dtype)
    return out


def _by_pillow(path: Path, first: Folder, facts: PictureFacts, notes: list[str]) -> Source:
    """JPEG in TIFF, two and four bits, YCbCr and the like: what libtiff makes of it in 8 bits."""
    sizes = first.numbers(258) or (1.0,)
    samples = first.number(277, 1)
    photometric = first.number(262, _BLACK_IS_ZERO)
    colours = {_RGB: 3, _YCBCR: 3, _CMYK: 4, _PALETTE: 1}.get(photometric, 1)
    if max(sizes) > 8 or first.numbers(339) not in ((), (1.0,) * samples):
        raise UserError(
            f"{path.name} has {sizes[0]:.0f} bits a sample in a form that cannot be read here; save"
            " it with 8 or 16 bits"
        )
    if samples > colours + 1 or photometric > _YCBCR:
        raise UserError(
            f"{path.name} is a TIFF of a kind that cannot be read here; save it without"
            " compression, or with LZW or ZIP"
        )
    turned = _orientation(first) > 4  # Pillow does it by itself
    facts = replace(
        facts,
        width=facts.height if turned else facts.width,
        height=facts.width if turned else facts.height,
        channels=1 if colours == 1 and photometric != _PALETTE else 3,
        has_alpha=samples == colours + 1,
        dpi=facts.dpi and facts.dpi[:: -1 if turned else 1],
    )
    return Source(facts, 1, tuple(notes), lambda: load_eight(path, ("TIFF",), facts))


def _orientation(folder: Folder) -> int:
    found = folder.number(274, 1)
    return found if 1 <= found <= 8 else 1


def _values(folder: Folder | None) -> Sequence[Entry]:
    return () if folder is None else tuple(folder.entries.values())


def _bytes(folder: Folder, code: int) -> bytes | None:
    entry = folder.entries.get(code)
    return entry[2] or None if entry is not None and isinstance(entry[2], bytes) else None


def _iptc(folder: Folder, order: str) -> bytes | None:
    """IPTC's records, which are often said to be numbers of 32 bits."""
    entry = folder.entries.get(33723)
    if entry is not None and entry[1] == 4:
        return struct.pack(f"{order}{len(entry[2])}I", *entry[2])
    return _bytes(folder, 33723)


def _dpi(folder: Folder) -> tuple[float, float] | None:
    across, down = (next(iter(folder.numbers(code)), 0.0) for code in (282, 283))
    unit = {2: 1.0, _CENTIMETRE: 2.54}.get(folder.number(296, 2))
    if unit is None or not 1 <= across < 1e5 or not 1 <= down < 1e5:
        return None
    return (across * unit, down * unit)
