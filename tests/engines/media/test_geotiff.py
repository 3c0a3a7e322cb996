"""The place of a picture on Earth stays where it was when the picture gets larger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from engines.media.geotiff import GeoFacts
from engines.media.picture import read_picture
from engines.media.picture_write import write_picture

RNG = np.random.default_rng(9)
MADE = {"engine": "superres.test"}
AREA, POINT = 1, 2
Tags = list[tuple[int, int, int, Any, bool]]


def _keys(raster_type: int) -> Tags:
    keys = (1, 1, 0, 2, 1024, 0, 1, 1, 1025, 0, 1, raster_type)
    return [(34735, 3, len(keys), keys, True), (34737, 2, 0, "WGS 84 / UTM zone 32N|", True)]


def _by_scale(raster_type: int) -> Tags:
    return [
        (33550, 12, 3, (10.0, 20.0, 0.0), True),
        (33922, 12, 6, (3.0, 5.0, 0.0, 500000.0, 5400000.0, 0.0), True),
        *_keys(raster_type),
    ]


def _by_matrix(raster_type: int) -> Tags:
    matrix = (8.0, 2.0, 0.0, 500000.0, 3.0, -9.0, 0.0, 5400000.0, *(0.0,) * 7, 1.0)
    return [(34264, 12, 16, matrix, True), *_keys(raster_type)]


def _corners(geo: GeoFacts, width: int, height: int) -> NDArray[np.float64]:
    """Where the outer corners of the picture lie, straight from GeoTIFF's definitions."""
    entries = {code: values for code, _, values in geo.entries}
    # Raster coordinates of a corner: of the first pixel's own corner, or of its middle.
    back = 0.5 if geo.is_point else 0.0
    raster = np.array([(x, y) for x in (0, width) for y in (0, height)]) - back
    if 34264 in entries:
        matrix = np.array(entries[34264]).reshape(4, 4)
        return raster @ matrix[:2, :2].T + matrix[:2, 3]
    i, j, _, x, y, _ = entries[33922][:6]
    across, down = entries[33550][:2]
    return np.stack((x + (raster[:, 0] - i) * across, y - (raster[:, 1] - j) * down), axis=1)


@pytest.mark.parametrize("raster_type", [AREA, POINT])
@pytest.mark.parametrize("make", [_by_scale, _by_matrix])
@pytest.mark.parametrize("size", [(148, 180), (74, 90), (111, 140), (37, 45)])
def test_corners_stay(make: Any, raster_type: int, size: tuple[int, int], tmp_path: Path) -> None:
    pixels = RNG.integers(0, 65536, (37, 45, 5)).astype(np.uint16)
    extra: Tags = [
        *make(raster_type),
        (42112, 2, 0, "<GDALMetadata><Item name='A'>1</Item></GDALMetadata>", True),
        (42113, 2, 0, "0", True),
    ]
    tifffile.imwrite(
        tmp_path / "a.tif", pixels, photometric="minisblack", planarconfig="contig",
        extratags=extra, metadata=None,
    )  # fmt: skip
    picture = read_picture(tmp_path / "a.tif")
    before = picture.facts.geo
    assert before is not None
    assert before.nodata == 0
    assert before.is_point == (raster_type == POINT)
    large = np.zeros((*size, 5), np.uint16)
    scale = (size[0] / 37, size[1] / 45)
    write_picture(
        tmp_path / "b.tif", large, None, picture.facts,
        format="tiff", provenance=MADE, scale=scale,
    )  # fmt: skip
    found = read_picture(tmp_path / "b.tif").facts
    after = found.geo
    assert after is not None
    assert not found.rgb
    expected = _corners(before, 45, 37)
    assert np.allclose(_corners(after, size[1], size[0]), expected, rtol=0, atol=1e-6)
    for code in (34735, 34737, 42112, 42113):
        assert [e for e in after.entries if e[0] == code] == [
            e for e in before.entries if e[0] == code
        ]
    with tifffile.TiffFile(tmp_path / "b.tif") as tiff:
        page = tiff.pages.first
        assert page.shape == (*size, 5)
        assert tiff.geotiff_metadata is not None
        assert tiff.geotiff_metadata["GTRasterTypeGeoKey"] == raster_type


def test_a_satellites_camera_model() -> None:
    """Lines and samples are counted from the middle of the first pixel."""
    values = [0.0] * 92
    values[2:4], values[7:9] = [99.5, 199.5], [100.0, 200.0]
    after = GeoFacts(((50844, 12, tuple(values)),)).scaled((2.0, 4.0)).entries[0][2]
    # 99.5 from the middle is 100 from the edge, twice of which is 200.
    assert after[2:4] == (199.5, 799.5)
    assert after[7:9] == (200.0, 800.0)


@pytest.mark.parametrize("text", [b"nan\0", b"\0", b"none\0"])
def test_no_number_for_what_was_not_measured(text: bytes) -> None:
    assert GeoFacts(((42113, 2, text),)).nodata is None


def test_damaged_entries_are_carried_as_they_are() -> None:
    odd = ((33550, 12, (1.0,)), (34264, 12, (1.0, 2.0)), (34735, 3, (1, 1)), (50844, 12, (1.0,)))
    assert GeoFacts(odd).scaled((2.0, 2.0)).entries == odd
    assert not GeoFacts(odd).is_point
