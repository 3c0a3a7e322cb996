"""TIFF and JPEG as others read them: pixels, profile, EXIF, place, provenance."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from engines.media.develop import srgb_profile, write_jpeg
from engines.media.exif import ExifFacts, read_exif
from engines.media.provenance import from_file
from engines.media.tiff import write_tiff

FACTS = ExifFacts(
    make="Canon", model="Canon EOS R5", lens="RF50mm F1.2 L USM", iso=3200.0, exposure_s=1 / 250,
    f_number=2.797959, focal_mm=50.0, datetime="2024:05:06 07:08:09", artist="Zo\u00eb",
    copyright="CC0", exif=((37385, 3, (16,)),),
    gps=((0, 1, bytes((2, 3, 0, 0))), (1, 2, b"S\0"), (2, 5, ((33, 1), (30, 1), (0, 1)))),
)  # fmt: skip
PROVENANCE = {"engine": "raw.yond", "note": '<&"\u00fc>', "params": {"strength": 0.5}}


def _picture(height: int, width: int) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint16]]:
    return np.random.default_rng(7).integers(0, 65536, (height, width, 3)).astype(np.uint16)


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (128, 40), (129, 40), (300, 301)])
def test_tiff_pixels(size: tuple[int, int], tmp_path: Path) -> None:
    picture = _picture(*size)
    write_tiff(tmp_path / "a.tif", picture, FACTS, srgb_profile(), PROVENANCE)
    assert np.array_equal(tifffile.imread(tmp_path / "a.tif"), picture)


def test_tiff_facts(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write_tiff(path, _picture(40, 50), FACTS, srgb_profile(), PROVENANCE)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        assert page.bitspersample == 16
        assert page.photometric == tifffile.PHOTOMETRIC.RGB
        assert page.tags[34675].value == srgb_profile()
        assert page.tags[274].value == 1
    _same_facts(read_exif(path))
    assert from_file(path) == PROVENANCE


def test_jpeg_facts(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    picture = np.full((40, 50, 3), (200, 30, 60), dtype=np.uint8)
    write_jpeg(path, picture, FACTS, PROVENANCE)
    with Image.open(path) as shown:
        assert shown.size == (50, 40)
        assert np.abs(np.asarray(shown).astype(int) - picture).max() <= 2
        exif = shown.getexif()
        assert exif[271] == "Canon"
        assert exif[274] == 1
        inner, place = exif.get_ifd(34665), exif.get_ifd(34853)
        assert inner[42036] == "RF50mm F1.2 L USM"
        assert inner[34855] == 3200
        assert float(inner[33434]) == pytest.approx(1 / 250)
        assert float(inner[33437]) == 2.8
        assert (inner[40962], inner[40963]) == (50, 40)
        assert place[1] == "S"
        profile = ImageCms.ImageCmsProfile(BytesIO(shown.info["icc_profile"]))
        assert "sRGB" in ImageCms.getProfileDescription(profile)
    assert from_file(path) == PROVENANCE


def test_a_comparison_carries_no_facts(tmp_path: Path) -> None:
    write_jpeg(tmp_path / "a.jpg", np.zeros((8, 8, 3), dtype=np.uint8), FACTS, None)
    with Image.open(tmp_path / "a.jpg") as shown:
        assert not shown.getexif()
    assert from_file(tmp_path / "a.jpg") is None


def test_long_texts_do_not_break_a_jpeg(tmp_path: Path) -> None:
    long = replace(FACTS, copyright="c" * 500, lens="l" * 500)
    write_jpeg(tmp_path / "a.jpg", np.zeros((8, 8, 3), dtype=np.uint8), long, PROVENANCE)
    with Image.open(tmp_path / "a.jpg") as shown:
        assert shown.getexif()[33432] == "c" * 500


def test_the_profile_has_no_clock() -> None:
    assert srgb_profile() == srgb_profile()
    assert srgb_profile()[24:36] == bytes((7, 208, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0))


def test_exiftool_finds_no_fault(tmp_path: Path) -> None:
    if shutil.which("exiftool") is None:
        pytest.skip("exiftool is not installed")
    facts = replace(FACTS, gps=())  # ours have not all that EXIF wants of a place
    write_tiff(tmp_path / "a.tif", _picture(40, 50), facts, srgb_profile(), PROVENANCE)
    write_jpeg(tmp_path / "a.jpg", np.zeros((8, 8, 3), dtype=np.uint8), facts, PROVENANCE)
    for name in ("a.tif", "a.jpg"):
        done = subprocess.run(
            ["exiftool", "-s3", "-warning", "-a", "-validate", tmp_path / name],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        # TIFF 6.0, which it goes by, is older than Adobe's deflate.
        odd = [line for line in done.stdout.splitlines() if "tag 0x0103 Compression" not in line]
        assert odd in (["OK"], ["1 Warning"]), done.stdout


def _same_facts(found: ExifFacts) -> None:
    for field in ("make", "model", "lens", "iso", "datetime", "artist", "copyright", "gps"):
        assert getattr(found, field) == getattr(FACTS, field), field
    assert found.f_number == 2.8
    assert found.exposure_s == pytest.approx(1 / 250)
    assert set(FACTS.exif) <= set(found.exif)
