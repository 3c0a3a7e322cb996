"""Reading RAW: the mosaic untouched, the facts right, refusals in one sentence."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rawpy

from engines.base import UserError
from engines.media.raw_file import RAW_SUFFIXES, RawImage, read_facts, read_raw
from tests.engines.media import make_raw
from tests.engines.media.make_raw import flat_patches, write_dng

DATA = Path(__file__).parents[2] / "data" / "raw"
REAL = {
    "CRW_0304.CRW": {
        "camera": "Canon PowerShot G2", "iso": 50.0, "height": 1720, "width": 2312, "cfa": "RGGB",
        "black": (32.0,) * 4, "white": 1023.0, "bits": 10, "crop": (20, 8, 2272, 1704),
        "exposure_s": pytest.approx(1 / 50, rel=0.05), "f_number": 4.0, "pixel_aspect": 1.0,
        "datetime": "2022:01:20 08:13:24",
    },
    "P003908.KDC": {
        "camera": "Kodak DC120 ZOOM Digital Camera", "iso": 160.0, "height": 976, "width": 848,
        "cfa": "GRBG", "black": (0.0,) * 4, "white": 255.0, "bits": 8, "crop": None,
        "exposure_s": 0.00364, "f_number": 4.0, "pixel_aspect": pytest.approx(1.5346, abs=1e-4),
        "datetime": "1994:01:02 15:52:32",
    },
    "colorchart.dng": {
        "camera": "Canon EOS Kiss X4", "iso": None, "height": 1156, "width": 1734, "cfa": "RGGB",
        "black": (2056.0,) * 4, "white": 15000.0, "bits": 14, "crop": None, "exposure_s": None,
        "f_number": None, "pixel_aspect": 1.0, "datetime": "",
    },
}  # fmt: skip


def _message(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_raw(path)
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    assert not message.endswith(".")
    assert len(message) < 200
    return message


def _sites(raw: RawImage) -> np.ndarray[Any, Any]:
    height, width = raw.mosaic.shape
    colours = np.array(["RGB".index(letter) for letter in raw.facts.cfa]).reshape(2, 2)
    return np.tile(colours, (height // 2 + 1, width // 2 + 1))[:height, :width]


@pytest.mark.parametrize("name", REAL)
def test_real_files(name: str) -> None:
    before = (DATA / name).read_bytes()
    raw = read_raw(DATA / name)
    for field, value in REAL[name].items():
        assert getattr(raw.facts, field) == value, field
    with rawpy.imread(str(DATA / name)) as theirs:
        assert np.array_equal(raw.mosaic, theirs.raw_image_visible)
        assert raw.mosaic.dtype == np.uint16
        colours = np.where(theirs.raw_colors_visible == 3, 1, theirs.raw_colors_visible)
        assert np.array_equal(_sites(raw), colours)
    assert raw.facts.orientation == 1
    assert raw.facts.frames == 1
    assert (DATA / name).read_bytes() == before
    assert read_facts(DATA / name).camera == raw.facts.camera


@pytest.mark.parametrize("margins", [(0, 0), (2, 4), (3, 4), (2, 5), (3, 5)])
@pytest.mark.parametrize("cfa", ["RGGB", "GRBG", "GBRG", "BGGR"])
def test_every_order_with_every_margin(cfa: str, margins: tuple[int, int], tmp_path: Path) -> None:
    """A site's value tells its colour in the file, so a slip of one pixel shows."""
    top, left = margins
    levels = {"R": 1000, "G": 2000, "B": 3000}
    height, width = 61, 87
    mosaic = np.zeros((top + height, left + width), dtype=np.uint16)
    for site, colour in enumerate(cfa):
        y, x = divmod(site, 2)
        mosaic[top:, left:][y::2, x::2] = levels[colour] + site
    active = (top, left, top + height, left + width)
    path = write_dng(
        tmp_path / "a.dng", mosaic, cfa=cfa, active=active, black=(100, 110.5, 120, 130)
    )
    raw = read_raw(path)
    # LibRaw leaves out one row or column where a margin is odd.
    assert raw.mosaic.shape == (height - top % 2, width - left % 2)
    for site, colour in enumerate(raw.facts.cfa):
        y, x = divmod(site, 2)
        values = raw.mosaic[y::2, x::2]
        assert np.all(values == values[0, 0])
        origin = int(values[0, 0]) - levels[colour]
        assert cfa[origin] == colour
        assert raw.facts.black[site] == (100, 110.5, 120, 130)[origin]


@pytest.mark.parametrize(("bits", "black"), [(8, 0), (10, 64), (12, 256), (14, 512), (16, 1024)])
def test_depths(bits: int, black: int, tmp_path: Path) -> None:
    white = 2**bits - 1
    mosaic = flat_patches(40, 50, black=black, white=white)
    raw = read_raw(write_dng(tmp_path / "a.dng", mosaic, black=(black,), white=white))
    assert np.array_equal(raw.mosaic, mosaic)
    assert (raw.facts.bits, raw.facts.black, raw.facts.white) == (bits, (black,) * 4, white)


@pytest.mark.parametrize("size", [(22, 22), (23, 22), (22, 25), (33, 47)])
def test_small_and_odd_sizes(size: tuple[int, int], tmp_path: Path) -> None:
    mosaic = flat_patches(*size)
    raw = read_raw(write_dng(tmp_path / "a.dng", mosaic))
    assert np.array_equal(raw.mosaic, mosaic)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (21, 64)])
def test_smaller_than_libraw_reads(size: tuple[int, int], tmp_path: Path) -> None:
    message = _message(write_dng(tmp_path / "a.dng", flat_patches(*size)))
    assert f"a picture of {size[1]} x {size[0]} pixels" in message


@pytest.mark.parametrize("level", [0, 512, 16383, 65535])
def test_one_level_everywhere(level: int, tmp_path: Path) -> None:
    path = write_dng(tmp_path / "a.dng", np.full((40, 50), level, dtype=np.uint16))
    raw = read_raw(path)
    assert np.all(raw.mosaic == level)
    assert raw.facts.clip == 16383


def test_where_the_sensor_clips(tmp_path: Path) -> None:
    mosaic = flat_patches(64, 96)
    mosaic[20:40, 30:60] = 15000
    assert read_raw(write_dng(tmp_path / "a.dng", mosaic)).facts.clip == 15000
    mosaic[20:40, 30:60] += (np.arange(30) * 40).astype(np.uint16)
    assert read_raw(write_dng(tmp_path / "b.dng", mosaic)).facts.clip == 16383


def test_a_dark_frame_clips_at_white_alone(tmp_path: Path) -> None:
    mosaic = np.full((64, 96), 2100, dtype=np.uint16)
    path = write_dng(tmp_path / "a.dng", mosaic, black=(2056,), white=4095)
    assert read_raw(path).facts.clip == 4095


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation: int, tmp_path: Path) -> None:
    mosaic = flat_patches(40, 50)
    raw = read_raw(write_dng(tmp_path / "a.dng", mosaic, orientation=orientation))
    assert raw.facts.orientation == orientation
    assert np.array_equal(raw.mosaic, mosaic)


def test_white_balance_and_neutral(tmp_path: Path) -> None:
    facts = read_facts(write_dng(tmp_path / "a.dng", flat_patches(40, 50), wb=(2.5, 1.0, 1.25)))
    assert facts.wb == pytest.approx((2.5, 1.0, 1.25), rel=1e-4)
    assert facts.neutral == pytest.approx((0.4, 1.0, 0.8), rel=1e-4)


def test_matrices_turn_a_white_surface_white(tmp_path: Path) -> None:
    facts = read_facts(write_dng(tmp_path / "a.dng", flat_patches(40, 50)))
    assert np.ravel(facts.colour_matrix) == pytest.approx(make_raw.MATRIX)
    assert facts.illuminant == 21
    assert np.sum(facts.cam_to_srgb, axis=1) == pytest.approx(1.0)


def test_without_matrix_camera_colours_are_srgb(tmp_path: Path) -> None:
    facts = read_facts(write_dng(tmp_path / "a.dng", flat_patches(64, 96), matrix=()))
    assert np.asarray(facts.cam_to_srgb) == pytest.approx(np.eye(3), abs=2e-3)


def test_levels_that_cannot_be(tmp_path: Path) -> None:
    path = write_dng(tmp_path / "a.dng", flat_patches(40, 50), black=(3000,), white=2000)
    assert "black is 3000 and white 2000" in _message(path)


def test_several_frames_take_the_first(tmp_path: Path) -> None:
    mosaic = flat_patches(40, 50)
    raw = read_raw(write_dng(tmp_path / "a.dng", mosaic, frames=3))
    assert raw.facts.frames == 3
    assert np.array_equal(raw.mosaic, mosaic)


def test_crop_is_counted_from_the_visible_area(tmp_path: Path) -> None:
    mosaic = flat_patches(64, 96)
    even = write_dng(tmp_path / "a.dng", mosaic, active=(2, 4, 64, 96), crop=(4, 6, 80, 50))
    odd = write_dng(tmp_path / "b.dng", mosaic, active=(3, 4, 64, 96), crop=(4, 6, 80, 50))
    whole = write_dng(tmp_path / "c.dng", mosaic, crop=(0, 0, 96, 64))
    outside = write_dng(tmp_path / "d.dng", mosaic, crop=(90, 0, 96, 64))
    crops = [read_facts(path).crop for path in (even, odd, whole, outside)]
    assert crops == [(4, 6, 80, 50), (4, 5, 80, 50), None, None]


def test_a_table_of_levels_is_applied(tmp_path: Path) -> None:
    table = tuple(int(v) for v in np.arange(256) ** 2)
    mosaic = flat_patches(40, 50, black=0, white=255).astype(np.uint8)
    path = write_dng(
        tmp_path / "a.dng", mosaic, black=(0,), white=65535, more=[(50712, 3, 256, table, True)]
    )
    assert np.array_equal(read_raw(path).mosaic, mosaic.astype(np.uint16) ** 2)


def test_what_a_dng_says_of_its_noise(tmp_path: Path) -> None:
    more = [(50935, 5, 1, (3, 4), True), (51041, 12, 2, (2e-5, 3e-7), True)]
    facts = read_facts(write_dng(tmp_path / "a.dng", flat_patches(40, 50), more=more))
    assert facts.noise_reduction == 0.75
    assert facts.noise_profile == (2e-5, 3e-7)
    plain = read_facts(write_dng(tmp_path / "b.dng", flat_patches(40, 50)))
    assert plain.noise_reduction is None
    assert plain.noise_profile == ()


def test_a_crw_keeps_its_owners_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert read_facts(DATA / "CRW_0304.CRW").datetime == "2022:01:20 08:13:24"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_camera_names() -> None:
    facts = read_facts(DATA / "CRW_0304.CRW")

    def names(make: str, model: str) -> tuple[str, str]:
        named = replace(facts, make=make, model=model)
        return named.camera, named.unique_camera

    assert names("NIKON CORPORATION", "NIKON D850") == ("NIKON D850", "Nikon D850")
    assert names("SONY", "ILCE-7M3") == ("SONY ILCE-7M3", "Sony ILCE-7M3")
    assert names("Canon", "Canon EOS R5") == ("Canon EOS R5", "Canon EOS R5")
    assert names("", "") == ("", "Unknown camera")


# Refusals ---------------------------------------------------------------------------------------


def test_not_there(tmp_path: Path) -> None:
    assert _message(tmp_path / "a.NEF").startswith("There is no file a.NEF here")


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.NEF").mkdir()
    assert "is a folder" in _message(tmp_path / "a.NEF")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.NEF")
    assert "is no ordinary file" in _message(tmp_path / "a.NEF")


def test_empty(tmp_path: Path) -> None:
    (tmp_path / "a.NEF").touch()
    assert "is empty" in _message(tmp_path / "a.NEF")


def test_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.NEF").write_bytes(b"x")
    (tmp_path / "a.NEF").chmod(0)
    user = os.geteuid()
    if user == 0:  # who may read everything
        os.seteuid(65534)
    try:
        assert "may not be read" in _message(tmp_path / "a.NEF")
    finally:
        os.seteuid(user)


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"Dear diary, today I took no photos. " * 20, "is not a camera RAW file"),
        (b"x", "is not a camera RAW file"),
        (b"\0" * 5000, "is not a camera RAW file"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF" + b"\0" * 500, "is a JPEG picture"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 500, "is a PNG picture"),
        (b"PK\x03\x04" + b"\0" * 500, "is a zip archive"),
        (b"FOVb" + b"\0" * 500, "comes from a Foveon sensor"),
        (b"II*\0\x08\0\0\0" + b"\0" * 500, "is damaged"),
        (b"\0\0\0\x18ftypcrx " + b"\0" * 500, "is damaged"),
        (b"\0\0\0\x18ftypcrx " + b"\0" * 12 + b"\0\x10\0\0mdat", "0.0 of 1048.6 kB are there"),
    ],
)
@pytest.mark.parametrize("name", ["a.NEF", "a.CR2"])
def test_other_files(name: str, start: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(start)
    assert words in _message(tmp_path / name)


def test_sensors_that_are_not_read(tmp_path: Path) -> None:
    mosaic = flat_patches(64, 96)
    three = np.stack([mosaic] * 3, axis=-1)
    linear: dict[str, Any] = {"cfa": "", "photometric": 34892, "black": (512,)}
    (tmp_path / "x3f").write_bytes(b"FOVb" + b"\0" * 64)
    files = {
        "whose noise is no longer": write_dng(tmp_path / "d", three, compression=34892, **linear),
        "is a lossy DNG": write_dng(tmp_path / "e", mosaic, compression=52546),
        "no plain grid": write_dng(tmp_path / "g", mosaic, layout=2),
        r"not known here (RGBR)": write_dng(tmp_path / "f", mosaic, cfa="RGBR"),
        "not known here (RGRGRGRGGBGBGBGB)": write_dng(
            tmp_path / "h", mosaic, cfa="RGRGRGRGGBGBGBGB", black=(512,)
        ),
        "Foveon": tmp_path / "x3f",
    }
    for words, path in files.items():
        message = _message(path)
        assert words in message
        assert "\n" not in message


def test_suffixes_are_lower_case() -> None:
    assert {".nef", ".cr3", ".arw", ".dng", ".crw", ".kdc"} <= set(RAW_SUFFIXES)
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in RAW_SUFFIXES)
