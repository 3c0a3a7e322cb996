"""TIFF as many programs write it: layouts, compressions, depths, bands, transparency."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from engines.base import UserError
from engines.media.ifd import Entry, pack_ifd
from engines.media.picture import read_facts, read_picture

RNG = np.random.default_rng(6)
LAYOUTS: list[dict[str, Any]] = [
    {},
    {"rowsperstrip": 5},
    {"byteorder": ">"},
    {"bigtiff": True},
    {"tile": (16, 32)},
    {"planarconfig": "separate"},
    {"compression": "zlib", "predictor": 2},
    {"compression": "zlib", "predictor": 2, "byteorder": ">", "tile": (16, 16), "bigtiff": True},
    {"compression": "zlib", "planarconfig": "separate", "rowsperstrip": 7},
]


def _noise(*shape: int, dtype: Any = np.uint16) -> NDArray[Any]:
    return RNG.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_layouts(layout: dict[str, Any], dtype: Any, tmp_path: Path) -> None:
    pixels = _noise(37, 45, 3, dtype=dtype)
    stored = pixels.transpose(2, 0, 1) if layout.get("planarconfig") == "separate" else pixels
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", **layout)
    found = read_picture(tmp_path / "a.tif")
    assert np.array_equal(found.pixels, pixels)
    assert found.pixels.dtype == dtype
    assert found.facts == read_facts(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "zstd", "lzma", "raw"])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_compressions(compression: str, mode: str, tmp_path: Path) -> None:
    pixels = _noise(37, 45, len(mode), dtype=np.uint8)
    Image.fromarray(pixels.squeeze()).save(tmp_path / "a.tif", compression=compression)
    found = read_picture(tmp_path / "a.tif")
    alpha = mode.endswith("A")
    assert np.array_equal(found.pixels, pixels[:, :, :-1] if alpha else pixels)
    if alpha:
        assert found.alpha is not None
        assert np.array_equal(found.alpha, pixels[:, :, -1])


def test_lzw_with_prediction(tmp_path: Path) -> None:
    pixels = np.cumsum(_noise(40, 50, 3) % 50, axis=0, dtype=np.uint16)
    parameters = [cv2.IMWRITE_TIFF_COMPRESSION, 5, cv2.IMWRITE_TIFF_PREDICTOR, 2]
    cv2.imwrite(str(tmp_path / "a.tif"), pixels, parameters)
    assert np.array_equal(read_picture(tmp_path / "a.tif").pixels, pixels[:, :, ::-1])


def test_jpeg_inside(tmp_path: Path) -> None:
    Image.new("RGB", (40, 24), (200, 100, 50)).save(tmp_path / "a.tif", compression="jpeg")
    found = read_picture(tmp_path / "a.tif").pixels
    assert found.shape == (24, 40, 3)
    assert np.abs(found.astype(int) - (200, 100, 50)).max() <= 3


@pytest.mark.parametrize("bands", [2, 4, 5, 13])
def test_bands(bands: int, tmp_path: Path) -> None:
    pixels = _noise(20, 30, bands)
    tags = [(33550, 12, 3, (10.0, 10.0, 0.0), True)]
    tifffile.imwrite(
        tmp_path / "a.tif", pixels, photometric="minisblack", planarconfig="contig",
        extrasamples=["unspecified"] * (bands - 1), extratags=tags,
    )  # fmt: skip
    found = read_picture(tmp_path / "a.tif")
    assert np.array_equal(found.pixels, pixels)
    assert found.alpha is None
    assert not found.facts.rgb
    assert found.facts.geo is not None


def test_what_nothing_is_said_of_is_transparency(tmp_path: Path) -> None:
    pixels = _noise(20, 30, 4)
    kind: Any = {"photometric": "rgb", "extrasamples": ["unspecified"]}
    tifffile.imwrite(tmp_path / "a.tif", pixels, **kind)
    alpha = read_picture(tmp_path / "a.tif").alpha
    assert alpha is not None
    assert np.array_equal(alpha, pixels[:, :, 3])
    # but of a placed picture it is near infrared
    tags = [(33550, 12, 3, (10.0, 10.0, 0.0), True)]
    tifffile.imwrite(tmp_path / "a.tif", pixels, extratags=tags, **kind)
    assert read_picture(tmp_path / "a.tif").facts.channels == 4


def test_colour_that_was_multiplied_by_alpha(tmp_path: Path) -> None:
    colour = _noise(20, 30, 3)
    alpha = np.maximum(_noise(20, 30), 20000)
    alpha[0] = 0
    stored = np.rint(colour * (alpha[:, :, None] / 65535.0)).astype(np.uint16)
    whole = np.dstack((stored, alpha))
    tifffile.imwrite(tmp_path / "a.tif", whole, photometric="rgb", extrasamples=["assocalpha"])
    found = read_picture(tmp_path / "a.tif")
    assert found.alpha is not None
    assert np.array_equal(found.alpha, alpha)
    assert np.abs(found.pixels[1:].astype(int) - colour[1:]).max() <= 2
    assert not found.pixels[0].any()


def test_white_may_be_zero(tmp_path: Path) -> None:
    pixels = _noise(20, 30)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="miniswhite")
    assert np.array_equal(read_picture(tmp_path / "a.tif").pixels[:, :, 0], 65535 - pixels)


def test_palette(tmp_path: Path) -> None:
    table = _noise(3, 256)
    index = _noise(20, 30, dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", index, photometric="palette", colormap=table)
    found = read_picture(tmp_path / "a.tif").pixels
    assert np.array_equal(found, (table >> 8).astype(np.uint8).T[index])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_decimals_from_0_to_1(dtype: Any, tmp_path: Path) -> None:
    values = RNG.random((20, 30, 3)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb")
    found = read_picture(tmp_path / "a.tif")
    assert np.array_equal(found.pixels, np.rint(values.astype(np.float64) * 65535))
    assert found.notes == ("Decimals from 0 to 1 became 16 bits",)


def test_decimals_with_prediction(tmp_path: Path) -> None:
    """As GDAL writes them (TIFF Technical Note 3): bytes by significance, then differenced."""
    values = RNG.random((8, 10, 3)).astype(np.float32)
    planes = values.reshape(8, 30).astype(">f4").view(np.uint8).reshape(8, 30, 4)
    rows = planes.swapaxes(1, 2).reshape(8, 120)
    rows = np.concatenate((rows[:, :3], rows[:, 3:] - rows[:, :-3]), axis=1).astype(np.uint8)
    entries: list[Entry] = [
        (256, 4, (10,)), (257, 4, (8,)), (258, 3, (32, 32, 32)), (259, 3, (1,)), (262, 3, (2,)),
        (273, 4, (8,)), (277, 3, (3,)), (279, 4, (960,)), (317, 3, (3,)), (339, 3, (3, 3, 3)),
    ]  # fmt: skip
    head = b"II*\0" + struct.pack("<I", 8 + 960)
    (tmp_path / "a.tif").write_bytes(head + rows.tobytes() + pack_ifd(entries, 8 + 960))
    found = read_picture(tmp_path / "a.tif").pixels
    assert np.array_equal(found, np.rint(values.astype(np.float64) * 65535))


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint32])
def test_whole_numbers_that_fit(dtype: Any, tmp_path: Path) -> None:
    values = _noise(20, 30, dtype=np.uint16).astype(dtype) & 0x7FFF
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack")
    assert np.array_equal(read_picture(tmp_path / "a.tif").pixels[:, :, 0], values)


@pytest.mark.parametrize(
    "values",
    [np.array([[-5, 7]], np.int16), np.array([[0, 70000]], np.uint32),
     np.array([[0.5, 2.5]], np.float32), np.array([[0.5, np.nan]], np.float32)],
)  # fmt: skip
def test_numbers_that_do_not_fit(values: NDArray[Any], tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack")
    with pytest.raises(UserError, match=r"a\.tif has values .* do not fit into 16 bits; save it"):
        read_picture(tmp_path / "a.tif")


def test_a_sparse_file_has_zeros(tmp_path: Path) -> None:
    pixels = _noise(64, 64, 1)
    tifffile.imwrite(tmp_path / "a.tif", pixels[:, :, 0], tile=(32, 32))
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tiff:
        page = tiff.pages.first
        for code in (324, 325):
            places = list(page.tags[code].value)
            places[1] = 0
            page.tags[code].overwrite(places)
    pixels[:32, 32:] = 0
    assert np.array_equal(read_picture(tmp_path / "a.tif").pixels, pixels)


def test_a_camera_raw_file_is_sent_to_its_tab(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif",
        _noise(8, 8),
        photometric=32803,
        extratags=[(33421, 3, 2, (2, 2), True), (33422, 1, 4, b"\0\1\1\2", True)],
    )
    with pytest.raises(UserError, match="open it in the RAW tab"):
        read_facts(tmp_path / "a.tif")
