"""Covered columns of a sensor: found where a file holds them, left alone where light reaches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.media.raw_covered import read_covered
from engines.media.raw_file import read_raw
from tests.engines.media.make_raw import write_dng

BLACK, WHITE = 512.0, 16383.0
SIZE, MARGIN = (400, 600), 80


def _file(path: Path, *, rows: float, light: float = 0.0) -> tuple[Path, np.ndarray]:
    random = np.random.default_rng(1)
    offsets = random.normal(0.0, rows, (SIZE[0], 1))
    mosaic = BLACK + random.normal(0.0, 6.0, (SIZE[0], MARGIN + SIZE[1])) + offsets
    mosaic[:, MARGIN:] += 900.0
    mosaic[:, :MARGIN] += light * np.linspace(0.0, 1.0, SIZE[0])[:, None]
    levels = np.clip(np.round(mosaic), 0, WHITE).astype(np.uint16)
    area = (0, MARGIN, SIZE[0], MARGIN + SIZE[1])
    return write_dng(path, levels, active=area), offsets[:, 0]


def test_rows_are_read_from_the_covered_columns(tmp_path: Path) -> None:
    file, offsets = _file(tmp_path / "a.dng", rows=3.0)
    assert read_raw(file).facts.width == SIZE[1]
    found = read_covered(file, BLACK, WHITE)
    assert found is not None
    assert found.deviation == pytest.approx(6.0, rel=0.05)
    assert found.sigma_row == pytest.approx(3.0, rel=0.15)
    assert np.corrcoef(found.means, offsets)[0, 1] > 0.95


def test_without_row_noise_none_is_seen(tmp_path: Path) -> None:
    file, _ = _file(tmp_path / "a.dng", rows=0.0)
    found = read_covered(file, BLACK, WHITE)
    assert found is not None
    assert found.sigma_row < 0.3


def test_what_light_reaches_is_not_covered(tmp_path: Path) -> None:
    file, _ = _file(tmp_path / "a.dng", rows=3.0, light=400.0)
    assert read_covered(file, BLACK, WHITE) is None
    plain = write_dng(tmp_path / "plain.dng", np.full(SIZE, 600, np.uint16))
    assert read_covered(plain, BLACK, WHITE) is None
    text = tmp_path / "text.dng"
    text.write_text("no RAW")
    assert read_covered(text, BLACK, WHITE) is None
