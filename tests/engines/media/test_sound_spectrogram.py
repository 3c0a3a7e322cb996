"""Spectrogram pictures: bounded, the same whatever the blocks, and everything in its place."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from engines.media.sound_spectrogram import HEIGHT, RANGE, SpectrogramPicture, draw_spectrogram
from tests.engines.media.make_sound import sweep, write


def drawn(path: Path) -> NDArray[np.int64]:
    """Shades from 0 to 255, rows from the foot."""
    with Image.open(path) as picture:
        assert picture.mode == "P"
        return np.asarray(picture).astype(np.int64)[::-1]


def test_a_tone_is_at_its_time_and_its_height(tmp_path: Path) -> None:
    rate = 48_000
    wave = np.zeros((1, 10 * rate), np.float32)
    part = slice(3 * rate, 6 * rate)
    wave[0, part] = 0.5 * np.sin(2 * np.pi * 4000 * np.arange(3 * rate) / rate)
    picture = SpectrogramPicture(rate, wave.shape[1])
    picture.add(wave)
    picture.save(tmp_path / "a.png", reference_db=0.0)
    shades = drawn(tmp_path / "a.png")
    assert shades.shape[0] == HEIGHT
    row = int(dict(picture.marks)[4000] * HEIGHT)
    inside = shades[:, round(shades.shape[1] * 0.35) : round(shades.shape[1] * 0.55)]
    assert abs(int(inside.mean(axis=1).argmax()) - row) <= 1
    level = RANGE * (inside.max(axis=0).min() / 255 - 1)
    assert -12 < level <= -6  # a tone of -6 dBFS, spread over the width of a row
    loud = np.flatnonzero(shades[row] > 128) / shades.shape[1]
    assert loud.min() == pytest.approx(0.3, abs=0.003)
    assert loud.max() == pytest.approx(0.6, abs=0.003)
    assert not shades[:, : round(shades.shape[1] * 0.29)].any()


@pytest.mark.parametrize("rate", [8000, 11_025, 44_100])
def test_blocks_make_no_difference(rate: int, tmp_path: Path) -> None:
    wave = sweep(rate, 2, 1.0)
    for size in (160, 5000, 10**6):
        picture = SpectrogramPicture(rate, wave.shape[1])
        for start in range(0, wave.shape[1], size):
            picture.add(wave[:, start : start + size])
        picture.save(tmp_path / f"{size}.png")
    expected = drawn(tmp_path / "1000000.png")
    for size in (160, 5000):
        assert np.abs(drawn(tmp_path / f"{size}.png") - expected).max() <= 1
    assert expected.shape[1] > 100


def test_marks_stop_at_half_the_rate() -> None:
    assert [hertz for hertz, _ in SpectrogramPicture(8000, 100).marks] == [
        100, 250, 500, 1000, 2000, 4000,
    ]  # fmt: skip
    heights = [height for _, height in SpectrogramPicture(48_000, 100).marks]
    assert heights == sorted(heights)
    assert 0 < heights[0] < heights[-1] < 1
    assert SpectrogramPicture(8000, 100).marks[-1] == (4000, 1.0)


def test_one_reference_makes_pictures_comparable(tmp_path: Path) -> None:
    loud, soft = (SpectrogramPicture(16_000, 32_000) for _ in range(2))
    noise = np.random.default_rng(0).standard_normal((1, 32_000)).astype(np.float32)
    loud.add(0.1 * noise)
    soft.add(0.01 * noise)
    reference = loud.reference_db()
    loud.save(tmp_path / "loud.png", reference)
    soft.save(tmp_path / "soft.png", reference)
    difference = drawn(tmp_path / "loud.png") - drawn(tmp_path / "soft.png")
    assert np.median(difference) == pytest.approx(20 / RANGE * 255, abs=2)


@pytest.mark.parametrize("count", [0, 1, 80, 3000])
def test_short_and_silent_sounds(count: int, tmp_path: Path) -> None:
    picture = SpectrogramPicture(8000, count)
    picture.add(np.zeros((2, count), np.float32))
    picture.save(tmp_path / "a.png")
    assert not drawn(tmp_path / "a.png").any()
    SpectrogramPicture(8000, count).save(tmp_path / "b.png")  # nothing came
    assert not drawn(tmp_path / "b.png").any()


def test_a_file_drawn_at_once_and_its_thumbnail(tmp_path: Path) -> None:
    wave = sweep(44_100, 2)
    path = write(tmp_path / "a.wav", wave, 44_100, "FLOAT")
    calls: list[int] = []
    marks = draw_spectrogram(path, tmp_path / "a.png", check=lambda: calls.append(1))
    picture = SpectrogramPicture(44_100, wave.shape[1])
    picture.add(wave)
    picture.save(tmp_path / "b.png")
    np.testing.assert_array_equal(drawn(tmp_path / "a.png"), drawn(tmp_path / "b.png"))
    assert marks == picture.marks
    assert calls
    picture.save(tmp_path / "c.jpg", size=(320, 200))
    with Image.open(tmp_path / "c.jpg") as small:
        assert (small.format, small.size, small.mode) == ("JPEG", (320, 200), "RGB")


def test_an_hour_takes_no_more_memory_and_no_wider_picture(tmp_path: Path) -> None:
    block = np.tile(sweep(8000)[:, :8000], 4)
    tracemalloc.start()
    try:
        picture = SpectrogramPicture(8000, 3600 * 8000)
        for _ in range(900):
            picture.add(block)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    picture.save(tmp_path / "a.png")
    assert peak < 20_000_000
    assert drawn(tmp_path / "a.png").shape == (HEIGHT, 1600)
