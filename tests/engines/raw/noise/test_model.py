"""The ELD noise model: what is drawn has the moments and the structure that were asked for."""

from __future__ import annotations

import numpy as np
import pytest

from engines.raw.noise import tukey
from engines.raw.noise.cameras import PUBLISHED
from engines.raw.noise.model import expose, levels, signal_independent
from engines.raw.noise.sensor import SensorNoise

NOISE = SensorNoise(4.0, 3.0 * tukey.spread(-0.1), 3.0, -0.1, 2.0, (5.0, -3.0, 2.0, 0.0))


@pytest.mark.parametrize("lam", [-0.25, -0.05, 0.0, 0.14, 0.5])
def test_quantiles_spread_and_distribution_of_tukeys_law_agree(lam: float) -> None:
    drawn = tukey.draw(np.random.default_rng(1), (400_000,), lam).astype(np.float64)
    assert drawn.std() == pytest.approx(tukey.spread(lam), rel=0.02)
    assert drawn.mean() == pytest.approx(0.0, abs=0.01)
    p = np.array([0.001, 0.1, 0.5, 0.9, 0.999])
    np.testing.assert_allclose(tukey.cdf(tukey.quantile(p, lam), lam), p, atol=1e-5)


def test_rows_are_shared_by_both_colours_of_a_sensor_row() -> None:
    dark = signal_independent(NOISE, (400, 2000), "RGGB", np.random.default_rng(2))
    red, green = dark[0::2, 0::2].mean(axis=1), dark[0::2, 1::2].mean(axis=1)
    assert np.corrcoef(red, green)[0, 1] > 0.95
    assert red.std() == pytest.approx(NOISE.sigma_row, rel=0.15)
    rows = dark.mean(axis=1)
    assert abs(np.corrcoef(rows[0::2], rows[1::2])[0, 1]) < 0.25  # the next row is another


@pytest.mark.parametrize("cfa", ["RGGB", "GBRG"])
def test_the_bias_goes_to_its_colour_in_any_phase(cfa: str) -> None:
    dark = signal_independent(NOISE, (600, 800), cfa, np.random.default_rng(3))
    means = {cfa[s]: [] for s in range(4)}
    for site in range(4):
        means[cfa[site]].append(float(dark[site // 2 :: 2, site % 2 :: 2].mean()))
    assert means["R"] == pytest.approx([5.0], abs=0.3)
    assert means["B"] == pytest.approx([0.0], abs=0.3)
    assert sorted(means["G"]) == pytest.approx([-3.0, 2.0], abs=0.3)


def test_light_scatters_by_its_gain_and_is_cut_after_all_else() -> None:
    light = np.full((500, 500), 900.0, dtype=np.float32)
    signal = expose(light, NOISE, "RGGB", np.random.default_rng(4))
    assert signal.mean() == pytest.approx(901.0, abs=1.0)
    variance = 4.0 * 900.0 + NOISE.sigma**2 + NOISE.sigma_row**2
    assert signal[0::2, 0::2].var() == pytest.approx(variance, rel=0.03)
    out = levels(signal, np.float32(512.0), 1400.0)
    assert out.max() == 1400
    assert out.dtype == np.uint16
    assert levels(np.array([[-600.0]], np.float32), np.float32(512.0), 1400.0)[0, 0] == 0


def test_the_same_seed_draws_the_same() -> None:
    light = np.zeros((64, 64), dtype=np.float32)
    one, other = (expose(light, NOISE, "RGGB", np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert not np.array_equal(one, expose(light, NOISE, "RGGB", np.random.default_rng(8)))


def test_a_drawn_setting_lies_on_the_published_laws() -> None:
    random = np.random.default_rng(5)
    camera = PUBLISHED[0]
    drawn = [camera.draw(random) for _ in range(2000)]
    gains = np.log([one.K for one in drawn])
    assert np.exp(gains.min()) >= camera.least
    assert np.exp(gains.max()) <= camera.most
    a, b, s = camera.row
    left = np.log([one.sigma_row for one in drawn]) - a * gains - b
    assert left.mean() == pytest.approx(0.0, abs=0.03)
    assert left.std() == pytest.approx(s, rel=0.1)
