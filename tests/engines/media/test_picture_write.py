"""Pictures as they are written: every pixel, and everything that the input said about itself."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms

from engines.base import Cancelled, UserError
from engines.media import picture_tiff_write
from engines.media.develop import srgb_profile
from engines.media.exif import read_exif
from engines.media.ifd import IfdReader
from engines.media.picture import PictureFacts, read_picture
from engines.media.picture_write import (
    SUFFIX,
    WriteFormat,
    check_size,
    format_for,
    write_picture,
)
from engines.media.provenance import from_file
from tests.engines.media.make_picture import MAKER_NOTE, exif_block

RNG = np.random.default_rng(8)
MADE = {"engine": "superres.test", "note": '<&"\u00fc>', "params": {"scale": 2}}
FORMATS: list[WriteFormat] = ["png", "tiff", "jpeg", "webp"]
PLAIN = PictureFacts("in.png", "png", 4, 4)
IPTC = b"\x1c\x02\x05\0\5Title\x1c\x02\x74\0\3CC0"
XMP = (
    b"<?xpacket begin='' id='W5M0MpCehiHzreSzNTczkc9d'?><x:xmpmeta xmlns:x='adobe:ns:meta/'>"
    b"<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>"
    b"<rdf:Description rdf:about='uuid:1' xmlns:tiff='http://ns.adobe.com/tiff/1.0/'"
    b" xmlns:dc='http://purl.org/dc/elements/1.1/' xmlns:exif='http://ns.adobe.com/exif/1.0/'"
    b" xmlns:xmpNote='http://ns.adobe.com/xmp/note/' xmpNote:HasExtendedXMP='ABC'"
    b" tiff:Orientation='6' tiff:ImageWidth='24' dc:source='kept'>"
    b"<exif:PixelYDimension>16</exif:PixelYDimension></rdf:Description></rdf:RDF></x:xmpmeta>"
    + b" " * 2000
    + b"<?xpacket end='w'?>"
)


def _noise(*shape: int, dtype: Any = np.uint8) -> NDArray[Any]:
    return RNG.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


@pytest.mark.parametrize("form", ["png", "tiff"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("clear", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (131, 57)])
def test_every_pixel_is_there(
    form: WriteFormat,
    dtype: Any,
    channels: int,
    clear: bool,
    size: tuple[int, int],
    tmp_path: Path,
) -> None:
    pixels = _noise(*size, channels, dtype=dtype)
    alpha = _noise(*size, dtype=dtype) if clear else None
    path = tmp_path / ("a" + SUFFIX[form])
    assert write_picture(path, pixels, alpha, PLAIN, format=form, provenance=MADE) == ()
    found = read_picture(path)
    assert np.array_equal(found.pixels, pixels)
    assert (found.alpha is None) == (alpha is None)
    if alpha is not None and found.alpha is not None:
        assert np.array_equal(found.alpha, alpha)
    assert from_file(path) == MADE
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    if form == "png" and dtype == np.uint8:  # and to another reader
        with Image.open(path) as image:
            whole = pixels if alpha is None else np.dstack((pixels, alpha))
            assert np.array_equal(np.asarray(image).reshape(whole.shape), whole)
    if form == "tiff":
        stored = tifffile.imread(path).reshape(*size, -1)
        assert np.array_equal(stored[:, :, :channels], pixels)


@pytest.mark.parametrize("form", ["jpeg", "webp"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (40, 33)])
def test_eight_bits_of_sixteen(
    form: WriteFormat, channels: int, size: tuple[int, int], tmp_path: Path
) -> None:
    levels = np.linspace(0, 65535, size[0] * size[1]).astype(np.uint16)
    pixels = np.repeat(levels.reshape(*size, 1), channels, axis=2)
    path = tmp_path / ("a" + SUFFIX[form])
    notes = write_picture(path, pixels, None, PLAIN, format=form, provenance=MADE, quality=100)
    assert len(notes) == 1
    assert "8 bits a colour" in notes[0]
    found = read_picture(path).pixels
    assert found.shape[2] == (channels if form == "jpeg" else 3)
    exact = np.rint(pixels / 257.0)
    assert np.abs(found - exact).max() <= (0 if form == "webp" else 2)


@pytest.mark.parametrize("channels", [1, 3])
def test_transparency_in_webp_and_jpeg(channels: int, tmp_path: Path) -> None:
    pixels = np.full((16, 24, channels), 50, np.uint8)
    alpha = np.zeros((16, 24), np.uint8)
    alpha[:, 12:] = 255
    path = tmp_path / "a.webp"
    assert write_picture(path, pixels, alpha, PLAIN, format="webp", provenance=MADE) == ()
    found = read_picture(path).alpha
    assert found is not None
    assert np.array_equal(found, alpha)
    notes = write_picture(tmp_path / "a.jpg", pixels, alpha, PLAIN, format="jpeg", provenance=MADE)
    assert ["laid over white" in note for note in notes] == [True]
    laid = read_picture(tmp_path / "a.jpg").pixels.astype(int)
    assert np.abs(laid[:, :8] - 255).max() <= 2
    assert np.abs(laid[:, 16:] - 50).max() <= 2


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("order", ["<", ">"])
def test_all_that_a_photo_says_is_kept(form: WriteFormat, order: str, tmp_path: Path) -> None:
    source = tmp_path / "in.jpg"
    resources = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + struct.pack(">I", len(IPTC)) + IPTC
    Image.fromarray(_noise(16, 24, 3)).save(
        source, exif=b"Exif\0\0" + exif_block(order, 6, 24, 16), icc_profile=srgb_profile(),
        dpi=(240, 240), xmp=XMP,
        extra=b"\xff\xed" + struct.pack(">H", len(resources) + 2) + resources,
    )  # fmt: skip
    picture = read_picture(source)
    assert picture.pixels.shape == (24, 16, 3)
    assert picture.facts.iptc == IPTC
    path = tmp_path / ("out" + SUFFIX[form])
    large = np.kron(picture.pixels, np.ones((3, 3, 1), np.uint8))
    notes = write_picture(
        path, large, None, picture.facts, format=form, provenance=MADE, scale=(3.0, 3.0)
    )
    facts = read_picture(path).facts
    assert (facts.width, facts.height) == (48, 72)
    assert facts.icc == srgb_profile()
    exif = read_exif(path) if form == "tiff" else None
    with Image.open(path) as image:
        read = image.getexif()
        assert read[271] == "Acme"
        assert read[274] == 1
        inner = read.get_ifd(34665)
        assert (inner[40962], inner[40963]) == (48, 72)
        assert inner[42036] == "Acme 50mm"
        assert float(inner[33434]) == 1 / 250
        assert read.get_ifd(34853)[2] == (47.0, 30.0, 0.0)
    if exif is not None:
        assert (exif.lens, exif.gps[0]) == ("Acme 50mm", (1, 2, b"N\0"))
    # The maker's note stands where it stood, so that its own pointers stay true.
    data = path.read_bytes()
    base = 0 if form == "tiff" else data.index(b"II*\0" if order == "<" else b"MM\0*")
    assert data.index(MAKER_NOTE) - base == exif_block(order, 6, 24, 16).index(MAKER_NOTE)
    assert b"thumbnailthumbnail" not in data
    assert facts.xmp is not None
    for part in (b"Orientation='1'", b"ImageWidth='48'", b"Dimension>72<", b"dc:source='kept'"):
        assert part in facts.xmp
    assert b"HasExtendedXMP" not in facts.xmp
    assert b'rdf:about="uuid:1"' in facts.xmp
    assert from_file(path) == MADE
    if form == "webp":
        assert notes == ("WebP has no place for IPTC; PNG, TIFF and JPEG keep it",)
    else:
        assert notes == ()
        assert facts.iptc == IPTC
        assert facts.dpi == (240, 240)


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_said_can_be_stripped(form: WriteFormat, tmp_path: Path) -> None:
    facts = replace(
        PLAIN, exif=exif_block("<", 1, 4, 4), xmp=XMP, iptc=IPTC, icc=srgb_profile(),
        texts=(("Author", "Zoe"),), dpi=(96.0, 96.0),
    )  # fmt: skip
    path = tmp_path / ("a" + SUFFIX[form])
    write_picture(path, _noise(9, 9, 3), None, facts, format=form, provenance=MADE, metadata=False)
    data = path.read_bytes()
    for word in (b"Acme", b"kept", b"Title", b"Zoe"):
        assert word not in data
    found = read_picture(path).facts
    assert found.icc == srgb_profile()
    assert (found.exif, found.iptc, found.texts) == (None, None, ())
    assert from_file(path) == MADE


def test_texts_and_colours_go_from_png_to_png(tmp_path: Path) -> None:
    facts = replace(
        PLAIN,
        texts=(("Title", "Na\u00efve"), ("Author", "\u4e2d")),
        colour_chunks=((b"gAMA", b"\0\0\xb1\x8f"), (b"sRGB", b"\0")),
    )
    write_picture(tmp_path / "a.png", _noise(9, 9, 3), None, facts, format="png", provenance=MADE)
    found = read_picture(tmp_path / "a.png").facts
    assert found.texts == facts.texts
    assert found.colour_chunks == facts.colour_chunks
    write_picture(
        tmp_path / "a.png", _noise(9, 9, 3), None, replace(facts, icc=srgb_profile()),
        format="png", provenance=MADE,
    )  # fmt: skip
    with Image.open(tmp_path / "a.png") as image:
        profile = ImageCms.ImageCmsProfile(BytesIO(image.info["icc_profile"]))
        assert "sRGB" in ImageCms.getProfileDescription(profile)
    assert read_picture(tmp_path / "a.png").facts.colour_chunks == ()


def test_a_second_step_replaces_what_the_first_said(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    facts = replace(PLAIN, xmp=XMP)
    for made in (MADE, {**MADE, "engine": "superres.again"}):
        write_picture(path, _noise(9, 9, 3), None, facts, format="jpeg", provenance=made)
        assert from_file(path) == made
        facts = read_picture(path).facts
    assert path.read_bytes().count(b"<noisestudio:provenance>") == 1
    assert b"dc:source='kept'" in path.read_bytes()


@pytest.mark.parametrize("xmp", [b"", b"no markup", b"<rdf:RDF/>", b"\xff\xfe<\0", None])
def test_odd_packets_do_no_harm(xmp: bytes | None, tmp_path: Path) -> None:
    facts = replace(PLAIN, xmp=xmp)
    write_picture(tmp_path / "a.png", _noise(3, 3, 3), None, facts, format="png", provenance=MADE)
    assert from_file(tmp_path / "a.png") == MADE


def test_more_than_a_jpeg_has_room_for(tmp_path: Path) -> None:
    long = XMP.replace(b"kept", b"kept" * 20000)
    facts = replace(PLAIN, xmp=long, exif=exif_block("<", 1, 4, 4) + bytes(70000))
    path = tmp_path / "a.jpg"
    notes = write_picture(path, _noise(9, 9, 3), None, facts, format="jpeg", provenance=MADE)
    assert len(notes) == 2
    assert from_file(path) == MADE
    assert read_picture(path).facts.exif is None


def test_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_tiff_write, "CLASSIC_LIMIT", 1000)
    pixels = _noise(140, 50, 3, dtype=np.uint16)
    facts = replace(PLAIN, exif=exif_block(">", 1, 4, 4), icc=srgb_profile())
    path = tmp_path / "a.tif"
    write_picture(path, pixels, None, facts, format="tiff", provenance=MADE)
    assert path.read_bytes()[:4] == b"II+\0"
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_bigtiff
        assert np.array_equal(tiff.asarray(), pixels)
        assert tiff.pages.first.tags["ExifTag"].value["ExposureTime"] == (1, 250)
    found = read_picture(path)
    assert np.array_equal(found.pixels, pixels)
    assert found.facts.icc == srgb_profile()
    assert from_file(path) == MADE
    with path.open("rb") as file:
        reader = IfdReader(file)
        first = reader.folder(reader.start)
        assert first is not None
        inner = reader.folder(first.number(34665))
        assert inner is not None
        assert inner.text(42036) == "Acme 50mm"
        assert 37500 not in inner.entries


@pytest.mark.parametrize("form", FORMATS)
def test_a_stop_leaves_nothing(form: WriteFormat, tmp_path: Path) -> None:
    pixels = np.zeros((3000, 3000, 3), np.uint8)
    asked: Iterator[int] = iter(range(10))

    def check() -> None:
        if next(asked) == 1:
            raise Cancelled

    path = tmp_path / ("a" + SUFFIX[form])
    path.write_bytes(b"before")
    with pytest.raises(Cancelled):
        write_picture(path, pixels, None, PLAIN, format=form, provenance=MADE, check=check)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"before"


@pytest.mark.parametrize(
    ("form", "size", "channels", "advice"),
    [("jpeg", (10, 70000), 3, "choose TIFF or PNG"), ("webp", (20000, 10), 3, "choose TIFF or PNG"),
     ("png", (10, 10), 4, "choose TIFF"), ("jpeg", (10, 10), 2, "choose TIFF")],
)  # fmt: skip
def test_limits_of_formats(
    form: WriteFormat, size: tuple[int, int], channels: int, advice: str
) -> None:
    with pytest.raises(UserError, match=advice):
        check_size(form, *size, channels, "a.png")
    check_size("tiff", *size, channels, "a.png")


def test_the_same_format_where_it_is_written_here() -> None:
    assert format_for(replace(PLAIN, format="jpeg"), "same") == "jpeg"
    assert format_for(replace(PLAIN, format="heic"), "same") == "png"
    assert format_for(replace(PLAIN, format="heic"), "webp") == "webp"


@pytest.mark.parametrize("form", ["png", "tiff"])
def test_memory_does_not_grow_with_the_picture(form: WriteFormat, tmp_path: Path) -> None:
    peaks: list[int] = []
    for height in (400, 1600):
        pixels = np.memmap(tmp_path / "pixels", np.uint16, "w+", shape=(height, 2000, 3))
        alpha = np.memmap(tmp_path / "alpha", np.uint16, "w+", shape=(height, 2000))
        tracemalloc.start()
        write_picture(tmp_path / "a", pixels, alpha, PLAIN, format=form, provenance=MADE)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + (2 << 20)
    assert peaks[1] < 64 << 20
