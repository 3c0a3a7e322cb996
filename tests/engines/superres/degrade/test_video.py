"""Clips are worn as films are: numbers drift, and an encoder goes over them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.superres.degrade.video import Drift, encoded, full, half
from engines.superres.negvsr.clips import filmed
from tests.engines.media.make_film import moving

PHOTOS = Path(__file__).parents[3] / "data" / "photos"


def clip(count: int, side: int) -> list[np.ndarray]:
    return list(moving(count, side, side).astype(np.float32) / np.float32(255.0))


def test_a_number_drifts_by_small_steps_within_its_bounds() -> None:
    drift = Drift(np.random.default_rng(0), (0.0, 1.0), 0.05)
    values = np.array([drift() for _ in range(2000)])
    assert values.min() >= 0.0
    assert values.max() <= 1.0
    assert np.abs(np.diff(values)).max() <= 0.05
    assert np.ptp(values) > 0.5


@pytest.mark.parametrize("make", [full, half])
@pytest.mark.parametrize("seed", range(4))
def test_frames_come_back_small_and_as_levels(make: type, seed: int) -> None:
    frames = clip(4, 96)
    worn = make(4).wear(frames, np.random.default_rng(seed))
    again = make(4).wear(frames, np.random.default_rng(seed))
    assert len(worn) == 4
    for one, other, whole in zip(worn, again, frames, strict=True):
        assert one.shape == (24, 24, 3)
        assert np.array_equal(one, other)
        assert np.abs(one * 255 - np.round(one * 255)).max() < 1e-3
        assert (one.min(), one.max()) >= (0.0, 0.0)
        assert one.max() <= 1.0
        # It is still the picture: close to its mean, and brighter where that is.
        small = whole.reshape(24, 4, 24, 4, 3).mean((1, 3))
        assert abs(float(one.mean() - small.mean())) < 0.12
        assert np.corrcoef(one.ravel(), small.ravel())[0, 1] > 0.3


@pytest.mark.parametrize("x264", [True, False])
def test_fewer_bits_are_farther_from_the_original(x264: bool) -> None:
    photo = np.asarray(cv2.imread(str(sorted(PHOTOS.glob("*.png"))[0])), np.float32) / 255.0
    frames = filmed(photo, None, 5, 160, np.random.default_rng(1))
    errors = []
    for bits in (1e3, 1e5):
        found = encoded(frames, x264, bits)
        assert len(found) == 5
        errors.append(np.mean([np.abs(a - b).mean() for a, b in zip(found, frames, strict=True)]))
    assert errors[0] > 1.3 * errors[1]


def test_odd_and_unequal_frames_are_encoded() -> None:
    frames = [*clip(2, 49), *clip(1, 33)]
    assert {one.shape for one in encoded(frames, True, 1e5)} == {(48, 48, 3)}
