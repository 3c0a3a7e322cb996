"""Ratios of a separation: numbers of mir_eval 0.8.2 on the same signals, and what must hold."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from engines.separation.metrics import bss_eval, si_ratios, si_sdr

Floats = NDArray[np.float64]

# mir_eval.separation.bss_eval_sources(sources, estimates, compute_permutation=False)
_PEERS = {
    2: [(18.608965, 19.108802, 28.299048), (6.60674, 6.790892, 21.250151)],
    3: [
        (18.608965, 19.089678, 28.459318),
        (13.102709, 13.959376, 20.744828),
        (5.096953, 5.281213, 20.039684),
    ],
}


@pytest.fixture(scope="module")
def sources() -> Floats:
    drawn = np.random.default_rng(0)
    noise = [drawn.normal(size=16_000) for _ in range(3)]
    return np.stack(
        [lfilter([1.0], [1.0, -0.9], noise[0]), lfilter([1.0], [1.0, 0.7], noise[1]), noise[2]]
    )


def _estimates(sources: Floats) -> Floats:
    drawn = np.random.default_rng(1)
    count = len(sources)
    return np.stack(
        [
            lfilter([0.8, 0.2, 0.1], [1.0], sources[n])
            + 0.2 * sources[(n + 1) % count]
            + 0.1 * drawn.normal(size=16_000)
            for n in range(count)
        ]
    )


@pytest.mark.parametrize("count", [2, 3])
def test_the_ratios_are_those_of_mir_eval(sources: Floats, count: int) -> None:
    estimates = _estimates(sources[:count])
    # The noise of the estimates follows their number, as the peer had it.
    for place, expected in enumerate(_PEERS[count]):
        found = bss_eval(np.roll(sources[:count], -place, axis=0), estimates[place])
        assert found == pytest.approx(expected, abs=2e-6)


def test_a_filter_is_forgiven_by_one_and_a_gain_by_the_other(sources: Floats) -> None:
    wanted, other, _ = sources
    filtered = lfilter([0.5, 0.4, -0.3], [1.0], wanted)
    assert bss_eval(sources[:2], filtered).sdr > 40.0
    assert si_sdr(wanted, filtered) < 20.0
    assert si_sdr(wanted, -0.3 * wanted) > 200.0
    rest = other - wanted * ((other @ wanted) / (wanted @ wanted))
    found = si_ratios(wanted, rest, wanted + 0.1 * rest)
    assert found.sar > 200.0
    assert found.sir == pytest.approx(found.sdr)


def test_the_mixture_scores_its_ratio(sources: Floats) -> None:
    wanted, other = sources[2], sources[1] * 0.1
    ratio = 10.0 * np.log10((wanted @ wanted) / (other @ other))
    assert si_ratios(wanted, other, wanted + other).sdr == pytest.approx(ratio, abs=0.2)


def test_silence_has_no_ratio(sources: Floats) -> None:
    silent = np.zeros(16_000)
    assert all(np.isnan(bss_eval(sources[:2], silent)))
    assert all(np.isnan(bss_eval(np.stack([silent, sources[1]]), sources[0])))
    # A silent other source is no source: nothing interferes.
    alone = bss_eval(np.stack([sources[0], silent]), sources[0] + 0.1 * sources[2])
    assert alone.sir == np.inf
    assert alone.sdr == pytest.approx(alone.sar)


def test_a_source_given_twice_does_no_harm(sources: Floats) -> None:
    twice = np.stack([sources[0], sources[1], sources[1]])
    estimate = sources[0] + 0.3 * sources[1]
    once = bss_eval(sources[:2], estimate)
    assert bss_eval(twice, estimate).sir == pytest.approx(once.sir, abs=0.01)


def test_shapes_that_do_not_fit_are_refused(sources: Floats) -> None:
    with pytest.raises(ValueError, match="references must be"):
        bss_eval(sources, sources[0][:-1])
