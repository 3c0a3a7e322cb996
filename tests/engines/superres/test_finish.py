"""Colours, holes and alpha."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engines.superres.colour import Matched, Statistics, low_pass, wavelet
from engines.superres.finish import Consistency, Finish, Look
from engines.superres.masks import enlarged_alpha, filled, unmeasured
from engines.superres.resample import resize
from engines.superres.rows import Levels
from tests.engines.superres.helpers import Rows, photo


def finished(
    found: torch.Tensor, source: Levels, look: Look, path: Path
) -> tuple[np.ndarray, Rows]:
    """Rows of uneven heights through `Finish`."""
    rows = Rows()
    finish = Finish(source, (found.shape[1], found.shape[2]), look, path, rows)
    top = 0
    for count in (1, 40, 3, 500):
        finish.take(found[:, top : top + count])
        top += count
    finish.close()
    return np.array(finish.pixels()), rows


def test_coarse_colours_come_from_the_input_and_fine_ones_stay() -> None:
    reference = torch.full((3, 200, 180), 0.5)
    fine = 0.1 * ((torch.arange(180) // 2 + torch.arange(200)[:, None] // 2) % 2 - 0.5)
    found = torch.full((3, 200, 180), 0.6) + fine
    held = wavelet(found, reference)
    assert float((held.mean() - 0.5).abs()) < 1e-5
    assert float((held - 0.5 - fine).abs().max()) < 0.005


def test_low_pass_keeps_what_is_even_and_reaches_31_pixels() -> None:
    assert float((low_pass(torch.full((1, 70, 3), 0.7)) - 0.7).abs().max()) < 1e-6
    point = torch.zeros(1, 1, 127)
    point[0, 0, 63] = 1.0
    wide = low_pass(point)[0, 0].nonzero().flatten()
    assert (int(wide.min()), int(wide.max())) == (63 - 31, 63 + 31)


def test_strips_of_held_colours_are_the_whole(tmp_path: Path) -> None:
    source = Levels(photo(60, 50), 255.0)
    torch.manual_seed(0)
    plain = resize(source.window(0, 60, 0, 50), 120, 100, "lanczos")
    found = (plain + 0.1 + 0.1 * torch.randn(3, 120, 100)).clamp(0, 1)
    look = Look(0.8, True, None, 16, 65535.0)
    pixels, rows = finished(found, source, look, tmp_path / "x")
    expected = plain + 0.8 * (wavelet(found, plain) - plain)
    levels = np.rint(expected.clamp(0, 1).permute(1, 2, 0).numpy() * 65535.0)
    assert np.abs(pixels - levels).max() <= 1
    assert torch.equal(
        rows.picture * 65535.0, torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)
    )


def test_matched_statistics_are_those_of_the_input() -> None:
    torch.manual_seed(0)
    reference, found = torch.rand(3, 50, 40), 0.2 + 0.5 * torch.rand(3, 50, 40)
    statistics = [Statistics(), Statistics()]
    for one, picture in zip(statistics, (found, reference), strict=True):
        one.take(picture[:, :13])
        one.take(picture[:, 13:])
    matched = Matched.between(*statistics)(found)
    assert torch.allclose(matched.mean((1, 2)), reference.mean((1, 2)), atol=1e-5)
    assert torch.allclose(matched.std((1, 2)), reference.std((1, 2)), atol=1e-3)


def test_rounding_is_to_the_nearest_level_and_never_beyond(tmp_path: Path) -> None:
    source = Levels(np.zeros((2, 2, 1), np.uint8), 255.0)
    found = torch.tensor([[[-0.5, 0.0, 100.4 / 255.0, 100.6 / 255.0, 1.0, 1.7]]])
    pixels, _ = finished(found, source, Look(1.0, False, None, 8, 255.0), tmp_path / "x")
    assert pixels.flatten().tolist() == [0, 0, 100, 101, 255, 255]


def test_consistency_is_the_error_at_the_inputs_size() -> None:
    source = Levels(photo(30, 40), 255.0)
    large = resize(source.window(0, 30, 0, 40), 60, 80, "bicubic")
    offset = Consistency(source, (60, 80))
    offset.take(large[:, :31] + 0.1)
    offset.take(large[:, 31:] + 0.1)
    good = Consistency(source, (60, 80))
    good.take(large)
    assert offset.decibels == pytest.approx(20.0, abs=0.5)
    assert good.decibels > 30.0


def test_a_soft_edged_logo_has_no_fringe(tmp_path: Path) -> None:
    """A red disc with a soft edge; what is wholly transparent is black, as tools leave it."""
    y, x = np.mgrid[:41, :41] - 20
    share = (15.0 - np.hypot(x, y)).clip(-2, 2) / 4 + 0.5
    alpha = np.rint(255 * share).astype(np.uint8)
    pixels = np.zeros((41, 41, 3), np.uint8)
    pixels[alpha > 0] = (220, 30, 40)
    whole = filled(pixels, alpha == 0)
    assert (whole == (220, 30, 40)).all(), "the network sees no hole"
    assert (pixels[0, 0] == 0).all(), "the input stays"
    large = enlarged_alpha(alpha, (164, 164), 8, tmp_path / "alpha")
    y, x = (np.mgrid[:164, :164] + 0.5) / 4 - 20.5
    truth = 255 * ((15.0 - np.hypot(x, y)).clip(-2, 2) / 4 + 0.5)
    assert np.abs(large.astype(float) - truth).max() < 12
    deep = enlarged_alpha(alpha, (164, 164), 16, tmp_path / "alpha16")
    assert deep.dtype == np.uint16
    assert np.abs(deep / 257.0 - large).max() < 0.6


def test_holes_take_the_nearest_colour() -> None:
    pixels = np.zeros((5, 9, 3), np.uint16)
    pixels[:, :3], pixels[:, 6:] = 1000, 60000
    holes = np.zeros((5, 9), bool)
    holes[:, 3:6] = True
    whole = filled(pixels, holes)
    assert (whole[:, 3] == 1000).all()
    assert (whole[:, 5] == 60000).all()
    assert filled(pixels, np.ones((5, 9), bool)) is pixels, "nothing is known then"
    assert unmeasured(pixels, 1000).sum() == 15


def test_unmeasured_pixels_stay_unmeasured(tmp_path: Path) -> None:
    pixels = photo(20, 20)
    holes = np.zeros((20, 20), bool)
    holes[:4, 5:9] = True
    look = Look(1.0, False, None, 8, 255.0, holes=holes, nodata=7)
    found = torch.full((3, 60, 60), 0.5)
    found[:, 50:] = 7 / 255
    out, _ = finished(found, Levels(pixels, 255.0), look, tmp_path / "x")
    expected = holes.repeat(3, 0).repeat(3, 1)
    assert (out[expected] == 7).all()
    assert (out[:50][~expected[:50]] == 128).all()
    assert (out[50:] == 8).all(), "what was measured does not become a hole"
