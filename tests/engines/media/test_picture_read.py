"""Pictures of every kind as they are read: depth, channels, transparency, orientation, notes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pillow_heif
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageOps

from engines.base import UserError
from engines.media.develop import srgb_profile
from engines.media.picture import Picture, read_facts, read_picture
from tests.engines.media.make_picture import chunk, cmyk_profile, exif_block, png

RNG = np.random.default_rng(5)
PHOTO = Path(__file__).parents[2] / "data" / "photos" / "01-book-beside-flowers.png"
INKS = [(55, -37, -50), (48, 74, -3), (89, -5, 93)]


def _noise(*shape: int, dtype: Any = np.uint8) -> NDArray[Any]:
    return RNG.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def _read(path: Path) -> Picture:
    """Read, and hold the quick look against it."""
    before = path.read_bytes()
    found = read_picture(path)
    assert path.read_bytes() == before
    assert read_facts(path) == found.facts
    facts = found.facts
    assert found.pixels.shape == (facts.height, facts.width, facts.channels)
    assert found.pixels.dtype == (np.uint16 if facts.bits == 16 else np.uint8)
    assert (found.alpha is not None) == facts.has_alpha
    if found.alpha is not None:
        assert found.alpha.shape == (facts.height, facts.width)
        assert found.alpha.dtype == found.pixels.dtype
    return found


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("samples", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 301), (37, 23)])
def test_png(dtype: Any, samples: int, size: tuple[int, int], tmp_path: Path) -> None:
    pixels = _noise(*size, samples, dtype=dtype)
    (tmp_path / "a.png").write_bytes(png(pixels))
    found = _read(tmp_path / "a.png")
    channels = samples - (samples % 2 == 0)
    assert np.array_equal(found.pixels, pixels[:, :, :channels])
    if samples % 2 == 0:
        assert found.alpha is not None
        assert np.array_equal(found.alpha, pixels[:, :, -1])
    assert found.notes == ()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("samples", [1, 3])
def test_png_with_one_colour_made_clear(dtype: Any, samples: int, tmp_path: Path) -> None:
    pixels = _noise(9, 11, samples, dtype=dtype)
    pixels[4, 4] = pixels[0, 0]
    colour = pixels[0, 0].astype(">u2").tobytes()
    (tmp_path / "a.png").write_bytes(png(pixels, chunk(b"tRNS", colour)))
    found = _read(tmp_path / "a.png")
    assert np.array_equal(found.pixels, pixels)
    assert found.alpha is not None
    same = (pixels == pixels[0, 0]).all(axis=2)
    assert np.array_equal(found.alpha, np.where(same, 0, np.iinfo(dtype).max))


@pytest.mark.parametrize("clear", [False, True])
def test_palette_becomes_colours(clear: bool, tmp_path: Path) -> None:
    image = Image.fromarray(_noise(13, 17, 3)).quantize(16)
    more: dict[str, Any] = {"transparency": 3} if clear else {}
    image.save(tmp_path / "a.png", **more)
    found = _read(tmp_path / "a.png")
    assert np.array_equal(found.pixels, np.asarray(image.convert("RGB")))
    if clear:
        assert found.alpha is not None
        assert np.array_equal(found.alpha == 0, np.asarray(image) == 3)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
def test_one_bit_is_grey(name: str, tmp_path: Path) -> None:
    image = Image.fromarray(_noise(13, 17)).convert("1")
    image.save(tmp_path / name)
    found = _read(tmp_path / name)
    assert np.array_equal(found.pixels[:, :, 0], np.asarray(image.convert("L")))


@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.bmp", "a.gif", "a.avif"])
def test_pillows_formats(name: str, tmp_path: Path) -> None:
    with Image.open(PHOTO) as photo:
        photo.save(tmp_path / name)
    found = _read(tmp_path / name)
    with Image.open(tmp_path / name) as image:
        assert np.array_equal(found.pixels, np.asarray(image.convert("RGB")))
    assert found.notes == ()


@pytest.mark.parametrize("profile", [cmyk_profile(INKS), None, b"broken" * 50])
@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
def test_cmyk_goes_through_its_profile(name: str, profile: bytes | None, tmp_path: Path) -> None:
    cyan = Image.new("CMYK", (32, 16), (255, 0, 0, 0))
    more: dict[str, Any] = {"icc_profile": profile} if profile else {}
    cyan.save(tmp_path / name, **more)
    found = _read(tmp_path / name)
    good = profile is not None and not profile.startswith(b"broken")
    expected = (0, 151, 218) if good else (0, 255, 255)
    assert np.abs(found.pixels[8, 8].astype(int) - expected).max() <= 3
    assert found.facts.icc == srgb_profile()
    assert len(found.notes) == 1
    assert ("no profile" in found.notes[0]) == (profile is None)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "lzw.tif", "jpeg.tif", "a.webp"])
def test_orientation_is_applied(orientation: int, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    image = Image.fromarray(_noise(16, 24, 3))
    exif = Image.Exif()
    exif[274] = orientation
    compression = {"jpeg.tif": "jpeg", "lzw.tif": "tiff_lzw"}.get(name)
    more: dict[str, Any] = {"compression": compression} if compression else {}
    image.save(path, exif=exif, dpi=(300, 150), **more)
    found = _read(path)
    with Image.open(path) as stored:
        upright = ImageOps.exif_transpose(stored)
        assert np.array_equal(found.pixels, np.asarray(upright))
    if name != "a.webp":
        assert found.facts.dpi is not None
        turned = orientation > 4
        assert np.allclose(found.facts.dpi, (150, 300) if turned else (300, 150), atol=0.01)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_the_first_frame_of_many(name: str, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("#f00", "#0f0", "#00f")]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
    found = _read(tmp_path / name)
    assert np.array_equal(found.pixels[5, 5], (255, 0, 0))
    assert found.facts.frames == 3
    assert found.notes == ("It has 3 frames, of which the first was taken",)


def test_the_first_page_of_many(tmp_path: Path) -> None:
    pages = _noise(3, 20, 10, 3)
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(pages[0, ::2, ::2], photometric="rgb", subfiletype=1)  # a preview
        for page in pages:
            tiff.write(page, photometric="rgb")
    found = _read(tmp_path / "a.tif")
    assert np.array_equal(found.pixels, pages[0])
    assert found.notes == ("It has 3 pages, of which the first was taken",)


def test_a_name_that_lies(tmp_path: Path) -> None:
    Image.new("RGB", (5, 4)).save(tmp_path / "a.jpg")
    found = _read((tmp_path / "a.jpg").rename(tmp_path / "a.png"))
    assert found.facts.format == "jpeg"
    assert found.notes == ("It is a JPEG, though its name ends in .png",)


@pytest.mark.parametrize("order", ["<", ">"])
def test_what_a_camera_wrote_is_put_right(order: str, tmp_path: Path) -> None:
    block = exif_block(order, 6, 24, 16)
    Image.fromarray(_noise(16, 24, 3)).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + block)
    exif = _read(tmp_path / "a.jpg").facts.exif
    assert exif is not None
    assert b"thumbnail" not in exif
    assert len(exif) < len(block) - 300
    assert exif[16:].replace(b"\1", b"").startswith(block[16:40].replace(b"\1", b""))
    read = Image.Exif()
    read.load(exif)
    assert read[274] == 1
    assert read.get_ifd(34665)[37500].startswith(b"Acme\0note")
    assert read.get_ifd(34853)[1] == "N"
    assert not read.get_ifd(1)


def test_texts_and_colours_of_a_png(tmp_path: Path) -> None:
    iptc = b"\x1c\x02\x05\0\3abc"
    raw = f"\niptc\n      {len(iptc)}\n{iptc.hex()}\n".encode()
    chunks = [
        chunk(b"gAMA", b"\0\0\xb1\x8f"),
        chunk(b"tEXt", b"Title\0Na\xefve"),
        chunk(b"iTXt", b"Author\0\0\0\0\0" + "\u4e2d".encode()),
        chunk(b"tEXt", b"Raw profile type iptc\0" + raw),
        chunk(b"tEXt", b"exif:Orientation\x006"),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation='6'/>"),
        chunk(b"pHYs", (11811).to_bytes(4, "big") * 2 + b"\1"),
        chunk(b"tEXt", b"Broken\0text")[:-1] + b"\0",
    ]
    (tmp_path / "a.png").write_bytes(png(_noise(4, 4, 3), *chunks))
    facts = _read(tmp_path / "a.png").facts
    assert facts.texts == (("Title", "Na\u00efve"), ("Author", "\u4e2d"))
    assert facts.colour_chunks == ((b"gAMA", b"\0\0\xb1\x8f"),)
    assert facts.iptc == iptc
    assert facts.xmp == b"<x tiff:Orientation='1'/>"
    assert facts.dpi == pytest.approx((300, 300), abs=0.01)


def test_more_bits_than_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.avif"
    with av.open(str(path), "w", format="avif") as container:
        stream = container.add_stream("libsvtav1", rate=1)
        assert isinstance(stream, av.VideoStream)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p10le"
        frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 100, np.uint8), "rgb24")
        container.mux(stream.encode(frame.reformat(format="yuv420p10le")))
        container.mux(stream.encode(None))
    found = _read(path)
    assert np.abs(found.pixels.astype(int) - 100).max() <= 3
    assert found.notes == ("It has more than 8 bits a colour, of which 8 were read",)


def test_heic(tmp_path: Path) -> None:
    path = tmp_path / "a.heic"
    pillow_heif.register_heif_opener()
    block = exif_block(">", 6, 256, 256)
    with Image.open(PHOTO) as photo:
        photo.save(path, exif=block, quality=100)
    found = _read(path)
    with Image.open(path) as image:  # which the plugin turns by itself
        assert np.array_equal(found.pixels, np.asarray(image))
    assert found.facts.exif is not None
    assert b"Acme One" in found.facts.exif


def test_heic_without_its_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    path = tmp_path / "a.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
    with pytest.raises(UserError, match=r"a\.heic is HEIC; save it as JPEG or PNG, or install"):
        read_picture(path)
