"""What denoising may not cost, with the weights that ship."""

from __future__ import annotations

import numpy as np
import pytest

from engines.raw.yond.arch import GuidedResUnet
from studio.bench.job import BenchJob
from studio.bench.raw_chart import chart, cleaned, kept, mosaic_of, quarter
from studio.bench.raw_quality import developed
from studio.bench.raw_scenes import add_noise

_LEAST = {"stars": 0.97, "wires": 0.95, "letters": 0.97, "skin": 0.75}


@pytest.mark.parametrize("weights", ["yond-snrnet-small", "yond-snrnet"])
def test_stars_wires_letters_and_skin_stay(weights: str) -> None:
    clean = mosaic_of(chart(384))
    noisy = add_noise(clean, 6.12, 7.116, seed=2)
    job = BenchJob()
    network = job.load(weights).network
    assert isinstance(network, GuidedResUnet)
    found = cleaned(noisy, network, job)
    for part, least in _LEAST.items():
        true, before, after = (quarter(developed(one), part) for one in (clean, noisy, found))
        assert least < kept(true, after) < 1.05
        assert np.abs(after - true).mean() < 0.8 * np.abs(before - true).mean()
