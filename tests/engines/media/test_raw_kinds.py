"""RAW files of every kind of sensor: read, written as DNG, read back, developed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rawpy
from numpy.typing import NDArray

from engines.base import UserError
from engines.media.develop import auto_stops, demosaic, develop, render_preview
from engines.media.dng import DngExtras, write_developable, write_dng, write_linear_dng
from engines.media.raw_facts import RawFacts
from engines.media.raw_file import read_bayer, read_raw
from tests.engines.media import make_raw
from tests.engines.media.make_raw import QUAD, XTRANS
from tests.engines.media.make_raw import write_dng as write_input

FOUR = (*make_raw.MATRIX, -0.1, 1.0, 0.3)
KINDS: dict[str, dict[str, Any]] = {
    "xtrans": {"cfa": XTRANS, "black": (512,)},
    "mono": {"cfa": "", "photometric": 34892, "black": (512,), "matrix": ()},
    "linear": {"cfa": "", "photometric": 34892, "black": (500, 512, 530)},
    "quad": {"cfa": QUAD, "black": (512,)},
    "four": {"cfa": "RGCB", "colours": "RGBC", "wb": (2.0, 1.0, 1.5, 1.2), "matrix": FOUR},
}
GREY = 0.2  # share of the range


def _grey(kind: str, size: tuple[int, int] = (540, 546)) -> NDArray[np.uint16]:
    """What a grey surface gives: a brighter right half, every colour by its own neutral."""
    settings = KINDS[kind]
    wb = settings.get("wb", (2.0, 1.0, 1.5)) if kind != "mono" else (1.0,)
    light = np.full(size, GREY) * np.where(np.arange(size[1]) < size[1] // 2, 1.0, 2.0)
    if kind == "linear":
        black = np.array(settings["black"])
        found = light[:, :, None] / np.array(wb) * (16383 - black) + black
    else:
        cfa = settings["cfa"] or "R"
        side = round(len(cfa) ** 0.5)
        cell = np.array([1 / wb[settings.get("colours", "RGB").index(c)] for c in cfa])
        shape = -(-size[0] // side), -(-size[1] // side)
        found = light * np.tile(cell.reshape(side, side), shape)[: size[0], : size[1]]
        found = found * (16383 - 512) + 512
    return np.rint(found).astype(np.uint16)


def _copied(kind: str, folder: Path, gain: int = 4) -> tuple[RawFacts, Path]:
    source = write_input(folder / "in.dng", _grey(kind), **KINDS[kind])
    raw = read_raw(source)
    extras = DngExtras({}, np.full((40, 60, 3), 90, np.uint8), 0.9, (1e-5, 1e-8), gain)
    write_dng(folder / "out.dng", raw.mosaic * np.uint16(gain), raw.facts, source, extras)
    return raw.facts, folder / "out.dng"


@pytest.mark.parametrize("kind", KINDS)
def test_facts_and_samples_come_back(kind: str, tmp_path: Path) -> None:
    mosaic = _grey(kind)
    facts, path = _copied(kind, tmp_path)
    assert facts.kind == kind
    back = read_raw(path)
    assert np.array_equal(back.mosaic, mosaic * np.uint16(4))
    assert back.facts.black == tuple(4 * level for level in facts.black)
    # LibRaw reads the white balance against each channel's own range, where there are such.
    assert back.facts.wb == pytest.approx(facts.wb, rel=2e-3 if kind == "linear" else 1e-5)
    assert np.ravel(back.facts.cam_to_srgb) == pytest.approx(np.ravel(facts.cam_to_srgb), abs=1e-3)
    for field in ("cfa", "colours", "channels", "width", "height", "orientation"):
        assert getattr(back.facts, field) == getattr(facts, field), field


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "quad"])
def test_libraw_develops_the_copy_like_the_original(kind: str, tmp_path: Path) -> None:
    _, path = _copied(kind, tmp_path)
    shown: list[NDArray[Any]] = []
    for file in (tmp_path / "in.dng", path):
        with rawpy.imread(str(file)) as raw:
            shown.append(raw.postprocess(use_camera_wb=kind != "mono", no_auto_bright=True))
    assert np.abs(shown[0].astype(int) - shown[1].astype(int)).max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_grey_is_grey_in_every_picture(kind: str, tmp_path: Path) -> None:
    facts, _ = _copied(kind, tmp_path)
    mosaic = _grey(kind)
    stops = auto_stops(mosaic, facts)
    assert 0.9 / (2 * GREY) / 2 == pytest.approx(2.0 ** (stops - 1), rel=0.1)
    path = tmp_path / "between.dng"
    extras = DngExtras({}, np.zeros((16, 16, 3), np.uint8), 0.0, (), 4)
    write_developable(path, mosaic * np.uint16(4), facts, tmp_path / "in.dng", extras)
    developed = develop(path, facts, 4, 0.0) / 257.0
    drawn = render_preview(mosaic, facts, 0.0)
    assert drawn.shape == developed.shape == (540, 546, 3)
    linear = np.array([GREY, 2 * GREY])
    wanted = 255 * (1.055 * linear ** (1 / 2.4) - 0.055)
    for picture, near in ((drawn, 2.0), (developed, 3.0)):
        for half, level in zip(
            (np.s_[40:500, 40:240], np.s_[40:500, 310:500]), wanted, strict=True
        ):
            found = picture[half].reshape(-1, 3).mean(axis=0)
            assert found == pytest.approx([level] * 3, abs=near), kind


@pytest.mark.parametrize("kind", ["xtrans", "quad"])
def test_demosaiced_copy(kind: str, tmp_path: Path) -> None:
    facts, _ = _copied(kind, tmp_path)
    extras = DngExtras({}, np.zeros((16, 16, 3), np.uint8), 0.0, (), 1)
    rgb = demosaic(_grey(kind), facts)
    write_linear_dng(tmp_path / "linear.dng", rgb, facts, tmp_path / "in.dng", extras)
    back = read_raw(tmp_path / "linear.dng")
    assert back.facts.kind == "linear"
    assert back.mosaic[300, 100] * np.array(facts.wb) / 65535 == pytest.approx([GREY] * 3, rel=1e-3)


@pytest.mark.parametrize("shift", [(1, 2), (3, 5), (2, 4)])
@pytest.mark.parametrize(("kind", "side"), [("xtrans", 6), ("quad", 4)])
def test_the_filter_is_counted_from_the_visible_area(
    kind: str, side: int, shift: tuple[int, int], tmp_path: Path
) -> None:
    """A DNG's cell begins at its active area; what is read is the visible area's."""
    top, left = shift
    cfa = KINDS[kind]["cfa"]
    mosaic = _grey(kind, (620 + top, 640 + left))[top:, left:]  # from here on the cell is another
    table = "".join(
        cfa[(y + top) % side * side + (x + left) % side] for y in range(side) for x in range(side)
    )
    framed = np.pad(mosaic, ((4, 0), (6, 0)))
    path = write_input(
        tmp_path / "a.dng", framed, cfa=table, black=(512,),
        active=(4, 6, framed.shape[0], framed.shape[1]),
    )  # fmt: skip
    raw = read_raw(path)
    assert np.array_equal(raw.mosaic, mosaic)
    colours = raw.facts.colour_cell
    seen = np.tile(colours, (200, 200))[: mosaic.shape[0], : mosaic.shape[1]]
    means = [mosaic[:, :250][seen[:, :250] == number].mean() for number in range(3)]
    above = (np.array(means) - 512) * np.array(raw.facts.wb) / (16383 - 512)
    assert above == pytest.approx([GREY] * 3, rel=1e-3)


def test_engines_for_bayer_say_so(tmp_path: Path) -> None:
    path = write_input(tmp_path / "a.dng", _grey("xtrans"), **KINDS["xtrans"])
    with pytest.raises(
        UserError, match=r"Calibration works on Bayer mosaics, and a\.dng holds a X"
    ):
        read_bayer(path, "Calibration")


def test_unknown_colours_of_four_are_refused(tmp_path: Path) -> None:
    settings: dict[str, Any] = KINDS["four"] | {"matrix": ()}
    path = write_input(tmp_path / "a.dng", _grey("four"), **settings)
    with pytest.raises(UserError, match="neither it nor LibRaw says"):
        read_raw(path)


def test_each_picture_of_a_file_can_be_read(tmp_path: Path) -> None:
    mosaic = make_raw.flat_patches(64, 96)
    path = write_input(tmp_path / "a.dng", mosaic, frames=3)
    for frame in range(3):
        raw = read_raw(path, frame)
        assert np.array_equal(raw.mosaic, mosaic + 100 * frame)
        assert replace(raw.facts, clip=0.0) == replace(read_raw(path).facts, clip=0.0)
    with pytest.raises(UserError, match="holds no picture number 4"):
        read_raw(path, 3)
