"""Our DNG, read back by LibRaw, exiftool, dcraw_emu and tifffile: the same picture and facts."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rawpy
import tifffile
from numpy.typing import NDArray
from PIL import Image

from engines.media.develop import demosaic, render_preview
from engines.media.dng import DngExtras, precision_gain, write_dng, write_linear_dng
from engines.media.exif import ExifFacts
from engines.media.provenance import from_file
from engines.media.raw_file import RawFacts, RawImage, read_facts, read_raw
from tests.engines.media import make_raw
from tests.engines.media.make_raw import flat_patches

DATA = Path(__file__).parents[2] / "data" / "raw"
NAMES = ["CRW_0304.CRW", "P003908.KDC", "colorchart.dng"]
PROVENANCE = {"engine": "raw.yond", "params": {"strength": 1.0}, "note": '<&"\u00fc>'}
PREVIEW = np.full((60, 90, 3), 128, dtype=np.uint8)


def _written(
    source: Path, path: Path, *, linear: bool = False, **changes: Any
) -> tuple[RawImage, Path]:
    """A DNG of the source's own mosaic, levels times the usual gain."""
    raw = read_raw(source)
    facts = replace(raw.facts, **changes)
    gain = precision_gain(facts.white)
    mosaic = np.minimum(raw.mosaic.astype(np.float64), facts.white) * gain
    extras = DngExtras(PROVENANCE, PREVIEW, 0.96, (1e-5, 2e-8), gain)
    if linear:
        write_linear_dng(
            path, demosaic(mosaic.astype(np.uint16), facts, gain), facts, source, extras
        )
    else:
        write_dng(path, mosaic.astype(np.uint16), facts, source, extras)
    return RawImage(facts, raw.mosaic), path


def _developed(path: Path, **more: Any) -> NDArray[np.float64]:
    with rawpy.imread(str(path)) as raw:
        shown = raw.postprocess(use_camera_wb=True, no_auto_bright=True, output_bps=16, **more)
    return shown.astype(np.float64)


def _exiftool(path: Path, *options: str) -> dict[str, Any]:
    if shutil.which("exiftool") is None:
        pytest.skip("exiftool is not installed")
    done = subprocess.run(
        ["exiftool", "-json", "-n", "-G1", *options, path],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)[0]


def _folder_tags(path: Path) -> tuple[dict[int, Any], dict[int, Any], dict[int, Any]]:
    """Tags of the first folder, of the picture's and of the preview's."""
    with tifffile.TiffFile(path) as tiff:
        first = tiff.pages[0]
        assert isinstance(first, tifffile.TiffPage)
        assert first.pages is not None
        pages = [first, *first.pages]
        return tuple({tag.code: tag.value for tag in page.tags} for page in pages)  # type: ignore[return-value, union-attr]


@pytest.mark.parametrize(
    ("white", "gain"), [(255, 16), (1023, 16), (4095, 16), (15000, 4), (16383, 4), (65535, 1)]
)
def test_gain_keeps_white_in_sixteen_bits(white: float, gain: int) -> None:
    assert precision_gain(white) == gain


@pytest.mark.parametrize("name", NAMES)
def test_facts_are_read_back(name: str, tmp_path: Path) -> None:
    raw, path = _written(DATA / name, tmp_path / "a.dng")
    back = read_raw(path)
    gain = precision_gain(raw.facts.white)
    assert np.array_equal(back.mosaic, raw.mosaic * gain)
    assert back.facts.black == tuple(gain * level for level in raw.facts.black)
    assert back.facts.white == gain * raw.facts.white
    assert back.facts.wb == pytest.approx(raw.facts.wb, rel=1e-5)
    assert np.ravel(back.facts.colour_matrix) == pytest.approx(
        np.ravel(raw.facts.colour_matrix), abs=6e-5
    )
    assert np.ravel(back.facts.cam_to_srgb) == pytest.approx(
        np.ravel(raw.facts.cam_to_srgb), abs=5e-4
    )
    same = ["make", "model", "iso", "f_number", "focal_mm", "datetime", "width", "height", "cfa"]
    for field in [*same, "orientation", "crop", "frames"]:
        assert getattr(back.facts, field) == getattr(raw.facts, field), field
    assert (back.facts.exposure_s or 0) == pytest.approx(raw.facts.exposure_s or 0, rel=1e-3)
    assert back.facts.pixel_aspect == pytest.approx(raw.facts.pixel_aspect, rel=1e-4)
    assert back.facts.noise_reduction == pytest.approx(0.96, abs=1e-3)
    assert back.facts.noise_profile == (1e-5, 2e-8)
    assert from_file(path) == PROVENANCE


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("more", [{}, {"adjust_maximum_thr": 0.0}])
def test_developed_colours_are_the_originals(
    name: str, more: dict[str, Any], tmp_path: Path
) -> None:
    _, path = _written(DATA / name, tmp_path / "a.dng")
    theirs, ours = _developed(DATA / name, **more), _developed(path, **more)
    assert ours.shape == theirs.shape
    assert ours.mean(axis=(0, 1)) == pytest.approx(theirs.mean(axis=(0, 1)), rel=0.002)
    # Not in the mean alone: the KDC's two greens have white balances of their own in LibRaw.
    assert np.abs(ours - theirs).mean() < 0.003 * theirs.mean()


@pytest.mark.parametrize("name", NAMES)
def test_linear_colours_are_the_originals(name: str, tmp_path: Path) -> None:
    raw, path = _written(DATA / name, tmp_path / "a.dng", linear=True)
    more = {"adjust_maximum_thr": 0.0, "gamma": (1, 1), "user_flip": 0}
    theirs, ours = _developed(DATA / name, **more), _developed(path, **more)
    assert ours.mean(axis=(0, 1)) == pytest.approx(theirs.mean(axis=(0, 1)), rel=0.005)
    with rawpy.imread(str(path)) as opened:
        assert opened.raw_type == rawpy.RawType.Stack
        assert opened.raw_image.shape[:2] == raw.mosaic.shape
        assert max(opened.black_level_per_channel) == 0


@pytest.mark.parametrize("cfa", ["RGGB", "GRBG", "GBRG", "BGGR"])
def test_every_order_with_levels_of_its_own(cfa: str, tmp_path: Path) -> None:
    mosaic = flat_patches(66, 96)
    source = make_raw.write_dng(
        tmp_path / "in.dng", mosaic, cfa=cfa, black=(500, 510.5, 520.25, 530)
    )
    _, path = _written(source, tmp_path / "out.dng")
    back = read_raw(path)
    assert back.facts.cfa == cfa
    assert back.facts.black == (2000, 2042, 2081, 2120)
    assert np.array_equal(back.mosaic, mosaic * 4)
    theirs, ours = _developed(source), _developed(path)
    assert ours.mean(axis=(0, 1)) == pytest.approx(theirs.mean(axis=(0, 1)), rel=0.005)


def test_odd_margins_and_sizes(tmp_path: Path) -> None:
    """LibRaw does not move the table of black levels with an odd margin; our copy must be right."""
    black = np.array([[400.0, 500.0], [600.0, 700.0]])
    mosaic = (np.tile(black, (35, 50)) + 3000).astype(np.uint16)[:69, :99]
    source = make_raw.write_dng(
        tmp_path / "in.dng", np.pad(mosaic, ((3, 0), (5, 0))), black=black.ravel().tolist(),
        active=(3, 5, 72, 104), wb=(1.0, 1.0, 1.0),
    )  # fmt: skip
    _, path = _written(source, tmp_path / "out.dng")
    back = read_raw(path)
    assert back.mosaic.shape == (68, 98)
    inner = _developed(path)[8:-8, 8:-8]
    assert np.ptp(inner, axis=(0, 1)).max() < 0.005 * inner.mean()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation: int, tmp_path: Path) -> None:
    source = make_raw.write_dng(tmp_path / "in.dng", flat_patches(66, 96), orientation=orientation)
    raw, path = _written(source, tmp_path / "out.dng")
    assert read_facts(path).orientation == orientation
    assert _developed(path).shape[:2] == ((96, 66) if orientation > 4 else (66, 96))
    _, linear = _written(source, tmp_path / "linear.dng", linear=True)
    assert _developed(linear).shape[:2] == ((96, 66) if orientation > 4 else (66, 96))
    assert raw.facts.orientation == orientation


def test_several_frames_become_one(tmp_path: Path) -> None:
    source = make_raw.write_dng(tmp_path / "in.dng", flat_patches(66, 96), frames=3)
    _, path = _written(source, tmp_path / "out.dng")
    assert read_facts(path).frames == 1


def test_previews_hold_the_result(tmp_path: Path) -> None:
    raw = read_raw(DATA / "colorchart.dng")
    drawn = render_preview(raw.mosaic, raw.facts, 1.0)
    extras = DngExtras(PROVENANCE, drawn, 1.0, (), 1)
    path = tmp_path / "a.dng"
    write_dng(path, raw.mosaic, raw.facts, DATA / "colorchart.dng", extras)
    with tifffile.TiffFile(path) as tiff:
        first = tiff.pages[0]
        assert isinstance(first, tifffile.TiffPage)
        assert first.pages is not None
        tiny = first.asarray()
        preview = first.pages[1]
        assert isinstance(preview, tifffile.TiffPage)
        data = path.read_bytes()[preview.dataoffsets[0] :][: preview.databytecounts[0]]
    assert tiny.shape == (171, 256, 3)
    assert tiny.mean(axis=(0, 1)) == pytest.approx(drawn.mean(axis=(0, 1)), abs=0.5)
    with Image.open(BytesIO(data)) as shown:
        assert shown.size == (1734, 1156)
        assert np.abs(np.asarray(shown).astype(int) - drawn).mean() < 4.0
    with rawpy.imread(str(path)) as opened:
        thumb = opened.extract_thumb()
        assert thumb.format == rawpy.ThumbFormat.JPEG
        with Image.open(BytesIO(bytes(thumb.data))) as found:
            assert found.size == (1734, 1156)


def test_tags_of_a_dng_source_are_repeated(tmp_path: Path) -> None:
    curve = (0.0, 0.0, 0.5, 0.6, 1.0, 1.0)
    more = [
        (50730, 10, 1, (-35, 100), True),  # BaselineExposure
        (50731, 5, 1, (5, 4), True),  # BaselineNoise
        (50936, 2, 5, "Acme", True),  # ProfileName
        (50940, 11, 6, curve, True),  # ProfileToneCurve
        (51110, 4, 1, 1, True),  # DefaultBlackRender
        (50827, 1, 4, b"a/b\0", True),  # OriginalRawFileName: of no use in a copy
        (51009, 7, 8, bytes(8), True),  # OpcodeList2, of the mosaic
        (51022, 7, 12, b"\0\0\0\0lens data", True),  # OpcodeList3, of the picture
    ]
    source = make_raw.write_dng(
        tmp_path / "in.dng", flat_patches(66, 96), more=more, model="Acme Two", crop=(2, 2, 92, 62)
    )
    _, path = _written(source, tmp_path / "out.dng")
    first, picture, _ = _folder_tags(path)
    assert first[50730] == (-35, 100)
    assert first[50731] == (5, 4)
    assert first[50708] == "Acme Two"
    assert first[50936] == "Acme"
    assert first[50940] == pytest.approx(curve)
    assert first[51110] == 1
    assert first[50707] == b"\1\3\0\0"
    assert 50827 not in first
    assert (picture[50719], picture[50720]) == ((2, 2), (92, 62))
    assert picture[51009] == bytes(8)
    assert picture[51022] == b"\0\0\0\0lens data"
    _, linear = _written(source, tmp_path / "linear.dng", linear=True)
    _, picture, _ = _folder_tags(linear)
    assert 51009 not in picture  # its gains are for the sites of a mosaic
    assert picture[51022] == b"\0\0\0\0lens data"


def test_opcodes_do_not_survive_a_cut(tmp_path: Path) -> None:
    more = [(51008, 7, 8, bytes(8), True), (51022, 7, 8, bytes(8), True)]
    mosaic = flat_patches(66, 96)
    whole = make_raw.write_dng(tmp_path / "a.dng", mosaic, more=more)
    even = make_raw.write_dng(tmp_path / "b.dng", mosaic, more=more, active=(2, 2, 66, 96))
    odd = make_raw.write_dng(tmp_path / "c.dng", mosaic, more=more, active=(3, 2, 66, 96))
    kept = []
    for source in (whole, even, odd):
        _, path = _written(source, tmp_path / "out.dng")
        kept.append({51008, 51022} & set(_folder_tags(path)[1]))
    assert kept == [{51008, 51022}, {51022}, set()]


def test_exif_lens_and_place(tmp_path: Path) -> None:
    exif = ExifFacts(
        make="NIKON CORPORATION", model="NIKON Z 6", lens="NIKKOR Z 50mm f/1.8 S", iso=6400.0,
        exposure_s=1 / 60, f_number=1.8, focal_mm=50.0, datetime="2024:05:06 07:08:09",
        artist="Zo\u00eb", copyright="CC0",
        exif=((37380, 10, ((-1, 3),)), (37385, 3, (16,)), (42033, 2, b"12345\0")),
        gps=(
            (0, 1, bytes((2, 3, 0, 0))), (1, 2, b"N\0"), (2, 5, ((51, 1), (30, 1), (0, 1))),
            (3, 2, b"W\0"), (4, 5, ((0, 1), (7, 1), (30, 1))),
        ),
    )  # fmt: skip
    source = make_raw.write_dng(tmp_path / "in.dng", flat_patches(66, 96), model="", make="")
    raw, path = _written(source, tmp_path / "out.dng", exif=exif, make=exif.make, model=exif.model)
    back = read_facts(path)
    for field in ("make", "model", "lens", "iso", "exposure_s", "f_number", "focal_mm", "datetime"):
        assert getattr(back, field) == getattr(exif, field), field
    assert back.exif.artist == "Zo\u00eb"
    assert back.exif.gps == exif.gps
    assert set(exif.exif) <= set(back.exif.exif)
    assert raw.facts.exif.lens == exif.lens
    said = _exiftool(path)
    assert said["ExifIFD:LensModel"] == "NIKKOR Z 50mm f/1.8 S"
    assert said["Composite:GPSLatitude"] == pytest.approx(51.5)
    assert said["Composite:GPSLongitude"] == pytest.approx(-0.125)
    assert said["ExifIFD:SerialNumber"] == 12345


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_exiftool_finds_no_fault(name: str, linear: bool, tmp_path: Path) -> None:
    _, path = _written(DATA / name, tmp_path / "a.dng", linear=linear)
    said = _exiftool(path, "-validate", "-warning", "-a")
    assert said["ExifTool:Validate"].split()[:2] == ["0", "0"], said
    source = _exiftool(DATA / name)
    whole = _exiftool(path)
    assert whole["IFD0:Model"] == next(v for k, v in source.items() if k.endswith(":Model"))
    assert whole["XMP-crs:LuminanceSmoothing"] == 0


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_dcraw_emu_develops_it(name: str, linear: bool, tmp_path: Path) -> None:
    """Debian's LibRaw is two years older than ours."""
    if shutil.which("dcraw_emu") is None:
        pytest.skip("dcraw_emu (libraw-bin) is not installed")
    raw, path = _written(DATA / name, tmp_path / "a.dng", linear=linear)
    command = ["dcraw_emu", "-w", "-W", "-4", "-T", "-c", "0", "-Z", tmp_path / "out.tif", path]
    subprocess.run(command, capture_output=True, check=True)
    shown = tifffile.imread(tmp_path / "out.tif")
    wanted = _developed(DATA / name, adjust_maximum_thr=0.0, gamma=(1, 1))
    assert abs(shown.shape[0] - wanted.shape[0]) <= 1
    assert shown.mean(axis=(0, 1)) == pytest.approx(wanted.mean(axis=(0, 1)), rel=0.01)
    assert raw.facts.model in read_facts(DATA / name).model


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    source = make_raw.write_dng(tmp_path / "in.dng", flat_patches(66, 96))
    _, one = _written(source, tmp_path / "a.dng")
    _, two = _written(source, tmp_path / "b.dng")
    assert one.read_bytes() == two.read_bytes()


def test_a_full_disk_is_an_os_error(tmp_path: Path) -> None:
    source = make_raw.write_dng(tmp_path / "in.dng", flat_patches(66, 96))
    raw = read_raw(source)
    extras = DngExtras(PROVENANCE, PREVIEW, 1.0, (), 1)
    with pytest.raises(OSError, match="No space left"):
        write_dng(Path("/dev/full"), raw.mosaic, raw.facts, source, extras)


def test_unknown_cameras_have_a_name_and_a_matrix(tmp_path: Path) -> None:
    facts: RawFacts = read_facts(DATA / "P003908.KDC")
    raw, path = _written(DATA / "P003908.KDC", tmp_path / "a.dng", make="", model="")
    first, _, _ = _folder_tags(path)
    assert first[50708] == "Unknown camera"
    assert np.asarray(first[50721])[::2] / 10_000 == pytest.approx(
        np.ravel(facts.colour_matrix), abs=6e-5
    )
    assert raw.facts.camera == ""
