"""Drawing a mosaic: colours of LibRaw's development, strips without seams, upright pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rawpy
from numpy.typing import NDArray

from engines.media import develop
from engines.media.develop import auto_stops, demosaic, eight_bits, reduced, render_preview, upright
from engines.media.dng import DngExtras, precision_gain, write_dng
from engines.media.raw_file import RawFacts, RawImage, read_raw
from tests.engines.media import make_raw
from tests.engines.media.make_raw import flat_patches

DATA = Path(__file__).parents[2] / "data" / "raw"
NAMES = ["CRW_0304.CRW", "P003908.KDC", "colorchart.dng"]
ORDERS = ["RGGB", "GRBG", "GBRG", "BGGR"]


def _ours(raw: RawImage, source: Path, path: Path) -> int:
    """Write the source's own mosaic as a DNG; returns its gain."""
    gain = precision_gain(raw.facts.white)
    mosaic = np.minimum(raw.mosaic.astype(np.int64), round(raw.facts.white)) * gain
    preview = np.zeros((8, 8, 3), dtype=np.uint8)
    extras = DngExtras({"engine": "x"}, preview, 1.0, (), gain)
    write_dng(path, mosaic.astype(np.uint16), raw.facts, source, extras)
    return gain


def _coloured(tmp_path: Path, cfa: str, colour: tuple[float, float, float]) -> RawImage:
    """A file of one camera colour, 0 to 1."""
    mosaic = np.zeros((40, 50))
    for site, letter in enumerate(cfa):
        y, x = divmod(site, 2)
        mosaic[y::2, x::2] = 512 + colour["RGB".index(letter)] * (16383 - 512)
    return read_raw(make_raw.write_dng(tmp_path / "a.dng", mosaic.astype(np.uint16), cfa=cfa))


@pytest.mark.parametrize("stops", [0.0, 1.5])
@pytest.mark.parametrize("name", NAMES)
def test_preview_and_development_agree(name: str, stops: float, tmp_path: Path) -> None:
    """LibRaw cuts where the preview rolls highlights off, and cuts noise below black."""
    raw = read_raw(DATA / name)
    gain = _ours(raw, DATA / name, tmp_path / "a.dng")
    theirs = eight_bits(develop.develop(tmp_path / "a.dng", raw.facts, gain, stops))
    ours = render_preview(raw.mosaic, raw.facts, stops)
    assert ours.shape == theirs.shape
    middling = (theirs.min(axis=2) > 20) & (theirs.max(axis=2) < 220)
    assert middling.mean() > 0.1
    # Most of the KDC's noise is cut at black in the file already.
    tolerance = 4.0 if name.endswith("KDC") else 1.0
    wanted = theirs[middling].mean(axis=0)
    assert ours[middling].mean(axis=0) == pytest.approx(wanted, abs=tolerance)


def test_development_does_not_depend_on_the_brightest_pixel(tmp_path: Path) -> None:
    source = make_raw.write_dng(tmp_path / "in.dng", flat_patches(66, 96))
    raw = read_raw(source)
    gain = _ours(raw, source, tmp_path / "a.dng")
    raw.mosaic[20, 20] = 14000
    _ours(raw, source, tmp_path / "b.dng")
    one, two = (
        develop.develop(tmp_path / name, raw.facts, gain, 0.0).astype(int)
        for name in ("a.dng", "b.dng")
    )
    assert np.abs(one - two)[:, 40:].max() == 0


def test_shadows_keep_their_steps_when_brightened(tmp_path: Path) -> None:
    """Six stops up, sixteen bits must not turn into ten."""
    raw = read_raw(make_raw.write_dng(tmp_path / "in.dng", flat_patches(66, 96), wb=(1, 1, 1)))
    ramp = 512 * 4 + np.tile(np.arange(96) * 8, (66, 1))
    extras = DngExtras({}, np.zeros((8, 8, 3), dtype=np.uint8), 1.0, (), 4)
    write_dng(tmp_path / "a.dng", ramp.astype(np.uint16), raw.facts, tmp_path / "in.dng", extras)
    row = develop.develop(tmp_path / "a.dng", raw.facts, 4, 6.0)[33, 8:-8, 1]
    assert len(np.unique(row)) > 70


@pytest.mark.parametrize("cfa", ORDERS)
@pytest.mark.parametrize("colour", [(0.4, 0.1, 0.1), (0.1, 0.4, 0.1), (0.1, 0.1, 0.4)])
def test_colours_in_every_order(
    cfa: str, colour: tuple[float, float, float], tmp_path: Path
) -> None:
    raw = _coloured(tmp_path, cfa, colour)
    shown = render_preview(raw.mosaic, raw.facts, 0.0)
    assert shown.shape == (40, 50, 3)
    assert np.ptp(shown.reshape(-1, 3).astype(int), axis=0).max() == 0
    linear = np.asarray(raw.facts.cam_to_srgb) @ (np.array(colour) * raw.facts.wb)
    wanted = np.where(linear > 0.0031308, 1.055 * linear.clip(1e-9) ** (1 / 2.4) - 0.055, 0.0)
    assert shown[0, 0] == pytest.approx((wanted * 255).clip(0, 255), abs=1.5)
    camera = demosaic(raw.mosaic, raw.facts)
    assert camera[20, 20] / 65535 == pytest.approx(colour, abs=1e-4)


@pytest.mark.parametrize("cfa", ORDERS)
def test_what_is_clipped_is_white(cfa: str, tmp_path: Path) -> None:
    raw = _coloured(tmp_path, cfa, (1.0, 1.0, 1.0))
    for stops in (0.0, 2.0, 5.0):
        shown = render_preview(raw.mosaic, raw.facts, stops)
        assert shown.min() >= 242
        assert np.ptp(shown[20, 20].astype(int)) <= 1
    low = replace(raw.facts, clip=14000.0)
    shown = render_preview(np.minimum(raw.mosaic, 14000), low, 0.0)
    assert shown.min() >= 242
    assert np.ptp(shown[20, 20].astype(int)) <= 1


@pytest.mark.parametrize("size", [(301, 64), (300, 65), (257, 33), (129, 22)])
@pytest.mark.parametrize("cfa", ["RGGB", "GBRG"])
def test_strips_leave_no_seam(
    cfa: str, size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    mosaic = rng.integers(500, 9000, size).astype(np.uint16)
    raw = read_raw(make_raw.write_dng(tmp_path / "a.dng", mosaic, cfa=cfa))
    parts = [render_preview(raw.mosaic, raw.facts, 1.0), demosaic(raw.mosaic, raw.facts)]
    monkeypatch.setattr(develop, "_STRIP", 1000)
    assert np.array_equal(parts[0], render_preview(raw.mosaic, raw.facts, 1.0))
    assert np.array_equal(parts[1], demosaic(raw.mosaic, raw.facts))


def test_gain_changes_nothing() -> None:
    raw = read_raw(DATA / "CRW_0304.CRW")
    plain = render_preview(raw.mosaic, raw.facts, 0.5)
    finer = render_preview(raw.mosaic * 16, raw.facts, 0.5, gain=16)
    assert np.abs(plain.astype(int) - finer).max() <= 1
    assert auto_stops(raw.mosaic, raw.facts) == auto_stops(raw.mosaic * 16, raw.facts, 16)


def test_noise_around_black_keeps_its_mean(tmp_path: Path) -> None:
    """If what is below black were cut before the interpolation, dark areas would be brightened."""
    noise = np.random.default_rng(2).normal(0, 60, (400, 400))
    mosaic = np.round(520 + noise).astype(np.uint16)
    facts = read_raw(make_raw.write_dng(tmp_path / "a.dng", mosaic)).facts
    coding = develop._Coding(facts.clip, 52_000.0, 13_000.0, (1.0, 1.0, 1.0))
    shown = (develop._interpolate(mosaic, facts, 1, coding) - 13_000.0) / 52_000.0
    wanted = (mosaic.mean() - 512) / (16383 - 512)
    assert shown.mean(axis=(0, 1)) == pytest.approx([wanted] * 3, rel=0.05)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_is_what_libraw_shows(orientation: int, tmp_path: Path) -> None:
    mosaic = flat_patches(40, 64)
    mosaic[:20] = 1000
    raw = read_raw(make_raw.write_dng(tmp_path / "a.dng", mosaic, orientation=orientation))
    ours = upright(render_preview(raw.mosaic, raw.facts, 0.0), raw.facts.orientation)
    with rawpy.imread(str(tmp_path / "a.dng")) as theirs:
        shown = theirs.postprocess(use_camera_wb=True, no_auto_bright=True)
    assert ours.shape == shown.shape
    assert ours.flags.c_contiguous
    ours, shown = ours[..., 1].astype(float), shown[..., 1].astype(float)
    assert np.corrcoef(ours.ravel(), shown.ravel())[0, 1] > 0.98


@pytest.mark.parametrize(("aspect", "shape"), [((2, 1), (40, 128, 3)), ((1, 2), (80, 64, 3))])
def test_pixels_that_are_not_square(
    aspect: tuple[int, int], shape: tuple[int, ...], tmp_path: Path
) -> None:
    scale = (50718, 5, 2, (aspect[0], 1, aspect[1], 1), True)
    raw = read_raw(make_raw.write_dng(tmp_path / "a.dng", flat_patches(40, 64), more=[scale]))
    assert render_preview(raw.mosaic, raw.facts, 0.0).shape == shape


def _stops(facts: RawFacts, levels: NDArray[np.float64]) -> float:
    return auto_stops(levels.astype(np.uint16), facts)


def test_exposure_suits_the_picture(tmp_path: Path) -> None:
    bright = flat_patches(400, 600)
    facts = read_raw(make_raw.write_dng(tmp_path / "a.dng", bright, wb=(1, 1, 1))).facts
    normal = auto_stops(bright, facts)
    assert 0.0 <= normal < 1.0
    darker = _stops(facts, 512 + (bright - 512.0) / 16)
    assert darker == pytest.approx(normal + 4, abs=0.2)
    assert _stops(facts, np.full((400, 600), 16383.0)) == 0.0
    assert _stops(facts, np.full((400, 600), 512.0)) == 8.0
    lamp = 512 + np.full((400, 600), 16.0)
    lamp[:20, :30] = 16383
    assert _stops(facts, lamp) > 2.5


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3), (3, 2), (5, 5)])
def test_tiny_pictures(size: tuple[int, int]) -> None:
    facts = replace(read_raw(DATA / "colorchart.dng").facts, height=size[0], width=size[1])
    mosaic = np.full(size, 5000, dtype=np.uint16)
    assert render_preview(mosaic, facts, auto_stops(mosaic, facts)).shape == (*size, 3)
    assert demosaic(mosaic, facts).shape == (*size, 3)


def test_reduced_keeps_the_mean() -> None:
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 256, (301, 400, 3)).astype(np.uint8)
    small = reduced(picture, 100)
    assert small.shape == (75, 100, 3)
    assert small.mean() == pytest.approx(picture.mean(), abs=0.5)
    assert reduced(picture, 400) is picture
    assert reduced(picture[:1], 10).shape == (1, 10, 3)


def test_the_upper_half_of_every_sample() -> None:
    assert eight_bits(np.array([0, 255, 256, 65535], dtype=np.uint16)).tolist() == [0, 0, 1, 255]
