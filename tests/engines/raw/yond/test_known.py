"""`raw.yond` with a camera's profile: where the picture bears it out, and where not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engines.base import Result, UserError
from engines.media.raw_file import read_raw
from engines.raw.noise.profile import CameraProfile, IsoNoise
from engines.raw.noise.rows import row_offsets
from engines.raw.noise.sensor import SensorNoise
from engines.raw.yond.engine import YondEngine
from engines.raw.yond.params import YondParams
from studio.bench.job import BenchJob
from tests.engines.media.make_raw import write_dng
from tests.engines.raw.make_frames import BLACK, SIZE, WHITE, truth, write_frame


class _Job(BenchJob):
    """A job of somebody who has calibrated cameras."""

    def __init__(self, folder: Path, *profiles: CameraProfile) -> None:
        super().__init__(folder)
        folder.mkdir()
        self._profiles = profiles

    def cameras(self) -> Sequence[tuple[str, Mapping[str, Any]]]:
        return [("mine", one.model_dump(mode="json")) for one in self._profiles]


def _profile(noise: SensorNoise, iso: float = 3200, **more: Any) -> CameraProfile:
    entry = IsoNoise(iso=iso, K=noise.K, sigma=noise.sigma, sigma_tl=noise.sigma_tl, lam=noise.lam,
                     sigma_row=noise.sigma_row, bias=noise.bias)  # fmt: skip
    return CameraProfile(model="Acme One", bits=14, bl=BLACK, wl=WHITE, iso=(entry,), **more)


def _patches() -> np.ndarray[Any, Any]:
    steps = np.linspace(0.01, 0.4, 8)[np.arange(SIZE[1]) * 8 // SIZE[1]]
    return np.tile(steps * (WHITE - BLACK), (SIZE[0], 1))


def _run(path: Path, job: _Job, **params: Any) -> Result:
    return YondEngine().run([path], YondParams(**params), job)


def test_a_profile_of_camera_and_iso_is_taken_by_itself(tmp_path: Path) -> None:
    noise = truth(3200)
    file = write_frame(tmp_path / "a.dng", noise, 3200, 1, clean=_patches())
    result = _run(file, _Job(tmp_path / "job", _profile(noise)))
    assert result.measurements["K"].value == pytest.approx(noise.K)
    assert result.measurements["passes"].value == 1
    assert any("taken from the camera profile mine at ISO 3200" in note for note in result.notes)
    blind = _run(file, _Job(tmp_path / "blind", _profile(noise)), profile="none")
    assert blind.measurements["passes"].value == 2
    assert not any("profile" in note for note in blind.notes)


@pytest.mark.parametrize(("factor", "word"), [(4.0, "less"), (0.2, "more")])
def test_a_profile_that_the_picture_contradicts_is_set_aside(
    factor: float, word: str, tmp_path: Path
) -> None:
    noise = truth(3200)
    file = write_frame(tmp_path / "a.dng", noise, 3200, 1, clean=_patches())
    wrong = replace(noise, K=noise.K * factor, sigma=noise.sigma * factor)
    result = _run(file, _Job(tmp_path / "job", _profile(wrong)))
    assert result.measurements["K"].value == pytest.approx(noise.K, rel=0.2)
    assert any(f"set aside: the picture has {word} noise" in note for note in result.notes)


def test_a_profile_of_another_camera_is_not_taken(tmp_path: Path) -> None:
    noise = truth(3200)
    file = write_frame(tmp_path / "a.dng", noise, 3200, 1, clean=_patches(), model="Acme Two")
    result = _run(file, _Job(tmp_path / "job", _profile(noise)))
    assert result.measurements["passes"].value == 2
    with pytest.raises(UserError, match="There is no camera profile called nobody"):
        _run(file, _Job(tmp_path / "other"), profile="nobody")


def test_the_noise_profile_of_a_dng_counts(tmp_path: Path) -> None:
    from engines.raw.yond.known import prepare

    noise = truth(3200)
    file = write_frame(tmp_path / "a.dng", noise, 3200, 1, clean=_patches())
    raw = read_raw(file)
    span = WHITE - BLACK
    facts = replace(raw.facts, noise_profile=(noise.K / span, noise.sigma**2 / span**2))
    planes = torch.from_numpy((raw.mosaic.astype(np.float32) - BLACK) / span)
    packed = torch.stack([planes[y::2, x::2] for y in (0, 1) for x in (0, 1)])
    found = prepare(packed, span, 1.0, facts, None, YondParams(), _Job(tmp_path / "job"))
    assert found.params.K == pytest.approx(noise.K)
    assert any("NoiseProfile" in note for note in found.notes)


def test_hot_pixels_of_the_profile_are_taken_out_where_they_are_lit(tmp_path: Path) -> None:
    noise = truth(3200)
    pattern = np.zeros(SIZE)
    pattern[100, 100] = 6.0 * noise.sigma  # too weak to be seen blindly
    dark = np.full(SIZE, 50.0)
    file = write_frame(tmp_path / "a.dng", noise, 3200, 3, clean=dark, pattern=pattern)
    profile = _profile(noise, hot=((100, 100), (200, 201)))
    with_it = _run(file, _Job(tmp_path / "job", profile))
    without = _run(file, _Job(tmp_path / "plain", _profile(noise)))
    hot = "hot_pixels"
    assert with_it.measurements[hot].value == without.measurements[hot].value + 1


def test_strong_rows_are_found_and_taken_off(tmp_path: Path) -> None:
    noise = replace(truth(3200), sigma_row=5.0)
    random = np.random.default_rng(4)
    size = (256, 1024)
    offsets = random.normal(0.0, 5.0, (size[0], 1))
    mosaic = 40.0 + random.normal(0.0, noise.sigma, size) + offsets
    planes = torch.from_numpy(mosaic.astype(np.float32))
    packed = torch.stack([planes[y::2, x::2] for y in (0, 1) for x in (0, 1)]) / 15871.0
    found = row_offsets(packed, noise.K, noise.sigma, 5.0, 15871.0)
    left = found - np.stack([offsets[0::2, 0], offsets[1::2, 0]])
    assert left.std() < 0.4 * 5.0
    file = write_frame(tmp_path / "a.dng", noise, 3200, 3, clean=np.full(SIZE, 30.0))
    result = _run(file, _Job(tmp_path / "job", _profile(noise)))
    assert result.measurements["row_noise_removed"].value == pytest.approx(5.0, rel=0.2)
    assert any("Row noise" in note for note in result.notes)
    weak = _run(
        write_frame(tmp_path / "b.dng", truth(3200), 3200, 3, clean=np.full(SIZE, 30.0)),
        _Job(tmp_path / "weak", _profile(truth(3200))),
    )
    assert weak.measurements["row_noise_removed"].value == 0.0


def test_rows_that_the_covered_columns_show_are_taken_off(tmp_path: Path) -> None:
    random = np.random.default_rng(6)
    height, width, margin = 256, 512, 100
    offsets = random.normal(0.0, 8.0, (height, 1))
    mosaic = BLACK + random.normal(0.0, 12.0, (height, margin + width)) + offsets
    mosaic[:, margin:] += 40.0
    levels = np.clip(np.round(mosaic), 0, WHITE).astype(np.uint16)
    area = (0, margin, height, margin + width)
    file = write_dng(tmp_path / "a.dng", levels, active=area)
    result = _run(file, _Job(tmp_path / "job"))
    assert result.measurements["row_noise_removed"].value == pytest.approx(8.0, rel=0.25)
    assert any("covered columns" in note for note in result.notes)
