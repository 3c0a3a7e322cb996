"""Pictures that end early, hold wrong bytes, are huge or no pictures: one sentence each."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from engines.base import UserError
from engines.media.ifd import Entry, pack_ifd
from engines.media.picture import read_facts, read_picture
from engines.media.picture_write import write_picture
from tests.engines.media.fuzz import damaged
from tests.engines.media.make_picture import chunk, exif_block, png

PHOTO = Path(__file__).parents[2] / "data" / "photos" / "01-book-beside-flowers.png"
EXIF = b"Exif\0\0" + exif_block(">", 6, 64, 48)


def _photo() -> Image.Image:
    with Image.open(PHOTO) as image:
        return image.convert("RGB").resize((64, 48))


def _saved(form: str, **more: Any) -> bytes:
    file = BytesIO()
    _photo().save(file, form, **more)
    return file.getvalue()


def _sixteen() -> bytes:
    return png(np.asarray(_photo()).astype(np.uint16) * 257)


def _bands() -> bytes:
    file = BytesIO()
    pixels = np.asarray(_photo()).astype(np.uint16)
    whole = np.dstack((pixels, pixels))
    more: dict[str, Any] = {"compression": "zlib", "predictor": 2, "tile": (16, 16)}
    tifffile.imwrite(file, whole, photometric="minisblack", planarconfig="contig", **more)
    return file.getvalue()


FILES: dict[str, Callable[[], bytes]] = {
    "a.png": lambda: _saved("PNG", exif=EXIF[6:]),
    "sixteen.png": _sixteen,
    "a.jpg": lambda: _saved("JPEG", exif=EXIF, progressive=True),
    "a.webp": lambda: _saved("WEBP", exif=EXIF),
    "a.gif": lambda: _saved("GIF"),
    "a.bmp": lambda: _saved("BMP"),
    "a.avif": lambda: _saved("AVIF"),
    "a.tif": lambda: _saved("TIFF"),
    "lzw.tif": lambda: _saved("TIFF", compression="tiff_lzw"),
    "jpeg.tif": lambda: _saved("TIFF", compression="jpeg"),
    "bands.tif": _bands,
}


@pytest.mark.parametrize("name", FILES)
def test_cut_short_anywhere(name: str, tmp_path: Path) -> None:
    whole = FILES[name]()
    path = tmp_path / name
    for share in (0.001, 0.02, 0.1, 0.5, 0.9, 0.98):
        path.write_bytes(whole[: max(int(share * len(whole)), 1)])
        with pytest.raises(UserError, match=f"^{name} ") as caught:
            read_picture(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.png", "sixteen.png", "a.webp", "a.jpg", "a.tif", "bands.tif"])
def test_half_a_file_is_said_to_end_early(name: str, tmp_path: Path) -> None:
    whole = FILES[name]()
    if name == "bands.tif":  # its folder must be there to tell
        whole = whole[: int(len(whole) * 1.8)]
    path = tmp_path / name
    path.write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(UserError, match=f"^{name} ends early; copy or download it again$"):
        read_picture(path)


@pytest.mark.parametrize("name", FILES)
def test_wrong_bytes(name: str, tmp_path: Path) -> None:
    """A picture or a sentence; what is read can be written."""
    data = np.frombuffer(FILES[name]() + bytes(4096), dtype=np.uint8)
    rng = np.random.default_rng(4)
    path = tmp_path / name
    read = 0
    for _ in range(40):
        path.write_bytes(damaged(data, rng))
        try:
            found = read_picture(path)
        except UserError as error:
            assert str(error).startswith(name)  # noqa: PT017 - both outcomes are right
            continue
        read += 1
        facts = found.facts
        assert found.pixels.shape == (facts.height, facts.width, facts.channels)
        write_picture(
            tmp_path / "out.tif", found.pixels, found.alpha, facts,
            format="tiff", provenance={},
        )  # fmt: skip
    assert read or name == "sixteen.png"


def test_checksums_are_looked_at(tmp_path: Path) -> None:
    for whole in (_sixteen(), _saved("PNG")):
        data = bytearray(whole)
        data[len(data) // 2] ^= 1
        (tmp_path / "a.png").write_bytes(data)
        with pytest.raises(UserError, match="is damaged and cannot be read"):
            read_picture(tmp_path / "a.png")


def test_a_damaged_text_does_not_cost_the_picture(tmp_path: Path) -> None:
    pixels = np.asarray(_photo())
    bad = bytearray(chunk(b"tEXt", b"Title\0abc"))
    bad[-1] ^= 1
    bomb = chunk(b"zTXt", b"Bomb\0\0" + _squeezed(64 << 20))
    (tmp_path / "a.png").write_bytes(png(pixels, bytes(bad), bomb))
    found = read_picture(tmp_path / "a.png")
    assert np.array_equal(found.pixels, pixels)
    assert found.facts.texts == ()


def _squeezed(size: int) -> bytes:
    return zlib.compress(bytes(size))


def _huge_tiff() -> bytes:
    entries: list[Entry] = [
        (256, 4, (60000,)), (257, 4, (60000,)), (258, 3, (8,)), (259, 3, (1,)), (262, 3, (1,)),
        (273, 4, (8,)), (277, 3, (1,)), (278, 4, (60000,)), (279, 4, (4,)),
    ]  # fmt: skip
    return b"II*\0" + struct.pack("<I", 8) + pack_ifd(entries, 8)


def _huge_png() -> bytes:
    head = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", _squeezed(1000)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _huge_gif() -> bytes:
    data = bytearray(_saved("GIF"))
    data[6:10] = struct.pack("<HH", 60000, 60000)
    return bytes(data)


@pytest.mark.parametrize("make", [_huge_tiff, _huge_png, _huge_gif])
def test_more_pixels_than_fit(make: Callable[[], bytes], tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(make())
    for look in (read_facts, read_picture):
        with pytest.raises(UserError, match=r"^a has 3600 megapixels, .*; cut it into parts$"):
            look(path)


def test_more_samples_than_fit(tmp_path: Path) -> None:
    entries: list[Entry] = [
        (256, 4, (8000,)), (257, 4, (8000,)), (258, 3, (16,) * 20), (259, 3, (1,)),
        (262, 3, (1,)), (273, 4, (8,)), (277, 3, (20,)), (278, 4, (8000,)), (279, 4, (4,)),
    ]  # fmt: skip
    (tmp_path / "a.tif").write_bytes(b"II*\0" + struct.pack("<I", 8) + pack_ifd(entries, 8))
    with pytest.raises(UserError, match=r"^a\.tif has 2\.4 GB of samples, .*; cut it into parts$"):
        read_facts(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [(b"", "is empty; copy or download it again"), (b"hello", "is no picture that can be read"),
     (b"%PDF-1.7" + bytes(100), "is no picture"), (b"II*\0" + bytes(60), "is damaged"),
     (b"\x89PNG\r\n\x1a\n", "ends early"), (b"BM", "is damaged")],
)  # fmt: skip
def test_what_is_no_picture(data: bytes, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(data)
    for look in (read_facts, read_picture):
        with pytest.raises(UserError, match=sentence):
            look(tmp_path / "a.png")


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder"):
        read_picture(tmp_path)
    with pytest.raises(UserError, match="There is no file"):
        read_picture(tmp_path / "a.png")


def test_twelve_bits_are_refused_in_a_sentence(tmp_path: Path) -> None:
    entries: list[Entry] = [
        (256, 4, (4,)), (257, 4, (4,)), (258, 3, (12,)), (259, 3, (1,)), (262, 3, (1,)),
        (273, 4, (8,)), (277, 3, (1,)), (278, 4, (4,)), (279, 4, (24,)),
    ]  # fmt: skip
    head = b"II*\0" + struct.pack("<I", 32) + bytes(24)
    (tmp_path / "a.tif").write_bytes(head + pack_ifd(entries, 32))
    with pytest.raises(UserError, match=r"has 12 bits a sample .*; save it with 8 or 16 bits"):
        read_facts(tmp_path / "a.tif")
