"""Noise as sensors leave it, and noise that something worked on."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.raw.noise.estimate import estimate_self
from engines.raw.noise.white import Whiteness, whiteness
from kernels.bayer import pack
from studio.bench.raw_scenes import SCALE, add_noise, clean_sheet


def _found(planes: Tensor) -> Whiteness:
    return whiteness([planes], SCALE, estimate_self(planes, SCALE))


def _planes(stops: float, gain: float, sigma: float) -> Tensor:
    dark = clean_sheet() * np.float32(2.0**-stops)
    return pack(torch.from_numpy(add_noise(dark, gain, sigma, seed=4)), "RGGB")


def _worked_on(planes: Tensor, how: str) -> Tensor:
    def smooth(plane: NDArray[np.float32]) -> NDArray[np.float32]:
        if how == "median":
            return np.asarray(cv2.medianBlur(plane, 3), dtype=np.float32)
        return np.asarray(cv2.GaussianBlur(plane, (0, 0), 0.6), dtype=np.float32)

    kept = (1, 2) if how == "colour" else ()
    done = [p if i in kept else smooth(p) for i, p in enumerate(planes.numpy())]
    return torch.from_numpy(np.stack(done))


@pytest.mark.parametrize(
    ("stops", "gain", "sigma"),
    [(0, 0.3825, 2.06), (3, 0.3825, 2.06), (0, 6.12, 7.1), (3, 24.5, 26)],
)
def test_a_sensors_noise_is_white(stops: float, gain: float, sigma: float) -> None:
    found = _found(_planes(stops, gain, sigma))
    assert found.white
    assert found.note == ""


@pytest.mark.parametrize("how", ["blur", "median", "colour"])
def test_noise_reduction_shows(how: str) -> None:
    planes = _planes(3, 24.5, 26.0)
    assert abs(_found(planes).lag or 1.0) < 0.05
    found = _found(_worked_on(planes, how))
    assert not found.white
    assert "noise reduction" in found.note


def test_even_frames_are_white_and_a_black_one_says_nothing() -> None:
    grey = np.full((1024, 1024), 0.2, dtype=np.float32)
    found = _found(pack(torch.from_numpy(add_noise(grey, 4.0, 12.0, 1)), "RGGB"))
    assert found.lag == pytest.approx(0.0, abs=0.02)
    assert found.colour == pytest.approx(1.0, abs=0.03)
    black = torch.zeros(4, 512, 512)
    assert _found(black) == Whiteness(None, None)
    assert _found(black[:, :8, :8]).white
