"""`bench raw-calibrate`: what calibration recovers of a camera whose noise is known.

Frames of 1024 x 1536 pixels are drawn by the ELD model with the published numbers of a Sony A7S II:
four dark frames, and two flat ones at each of three exposures, at five ISO settings. Then the law
of the dark is compared on fresh frames by Kullback-Leibler divergence (bins of one level, worst
setting): Gaussian, Tukey's lambda law (ELD) and the learned proxy (PNNP), where the truth is ELD's
model and where it is not (telegraph noise: two pixels in a hundred jump to one side).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engines.raw.calibrate.darks import Dark, DarkNoise, measure_darks
from engines.raw.calibrate.flats import Flat, measure_gain
from engines.raw.noise.cameras import named
from engines.raw.noise.model import expose
from engines.raw.noise.profile import CameraProfile
from engines.raw.noise.sensor import SensorNoise
from engines.raw.pnnp.arch import NoiseProxy
from engines.raw.pnnp.data import Learned, made_frame, of_darks
from engines.raw.pnnp.judge import divergences
from engines.raw.pnnp.train import PnnpRecipe
from engines.training.loop import train
from engines.weights import read_tensors
from studio.bench.job import BenchJob

TITLE = "Calibration against known truth, and learned dark noise"
_CAMERA = "sony-a7s-ii"
_ISOS = (100.0, 800.0, 3200.0, 12800.0, 25600.0)
_SIZE = (1024, 1536)
_FLATS = (0.05, 0.2, 0.5)
_BIAS = (0.4, -0.3, 0.2, 0.1)  # DN; the published table has none for this camera
_MINUTES = 1.0  # for a proxy


def run() -> list[dict[str, Any]]:
    """One row a setting (errors in per cent; of lambda and bias as they are), two of divergence."""
    profile = named(_CAMERA).profile
    rows = [_recovered(profile, iso, number) for number, iso in enumerate(_ISOS)]
    rows.append(
        {"condition": "dark of ELD's model", **_divergence(_eld(profile, 1), _eld(profile, 2))}
    )
    rows.append({"condition": "dark with telegraph noise", **_divergence(_jumps(1), _jumps(2))})
    return rows


def _recovered(profile: CameraProfile, iso: float, seed: int) -> dict[str, Any]:
    entry = profile.at(iso).model_copy(update={"bias": _BIAS})
    true = SensorNoise.of(entry)
    random = np.random.default_rng((11, seed))

    def frame(light: float) -> Flat:
        clean = np.full(_SIZE, light * profile.span, dtype=np.float32)
        clean[0::2, 0::2] *= 0.5
        clean[1::2, 1::2] *= 0.7
        return made_frame("", expose(clean, true, "RGGB", random), profile.bl, profile.wl)

    job = BenchJob()
    dark = measure_darks([frame(0.0) for _ in range(4)], job, lambda text: None)
    pairs = [(frame(light), frame(light)) for light in _FLATS]
    gain = measure_gain(pairs, dark.sigma**2 + 1.0 / 12.0, job, lambda text: None)
    assert gain is not None
    assert dark.law.lam is not None
    assert dark.law.scale is not None
    return {
        "condition": f"ISO {iso:.0f}",
        "K_%": _error(gain.K, true.K),
        "sigma_%": _error(dark.sigma, true.sigma),
        "sigma_tl_%": _error(dark.law.scale, true.sigma_tl),
        "lambda": round(dark.law.lam - true.lam, 4),
        "sigma_row_%": _error(dark.sigma_row, true.sigma_row),
        "bias_DN": round(float(np.max(np.abs(np.subtract(dark.bias, _BIAS)))), 3),
        "R2_tukey": round(dark.law.r2 or 0.0, 5),
        "R2_gauss": round(dark.law.r2_gauss or 0.0, 5),
    }


def _error(found: float, true: float) -> float:
    return round(100.0 * (found / true - 1.0), 2)


def _eld(profile: CameraProfile, seed: int) -> dict[float, list[Flat]]:
    found: dict[float, list[Flat]] = {}
    for number, iso in enumerate(_ISOS[1:]):
        noise = SensorNoise.of(profile.at(iso))
        random = np.random.default_rng((seed, number))
        black = np.zeros(_SIZE, dtype=np.float32)
        found[iso] = [
            made_frame("", expose(black, noise, "RGGB", random), profile.bl, profile.wl)
            for _ in range(4)
        ]
    return found


def _jumps(seed: int) -> dict[float, list[Flat]]:
    """Gaussian noise, rows, and pixels that jump upwards."""
    random = np.random.default_rng(seed)
    found: dict[float, list[Flat]] = {}
    for iso, sigma in ((800.0, 3.0), (3200.0, 8.0), (12800.0, 20.0)):
        frames: list[Flat] = []
        for _ in range(4):
            signal = random.normal(0.0, sigma, _SIZE)
            jumps = random.random(_SIZE) < 0.02
            signal[jumps] += random.exponential(4.0 * sigma, int(jumps.sum()))
            signal += random.normal(0.0, 0.1 * sigma, (_SIZE[0], 1))
            frames.append(made_frame("", signal.astype(np.float32), 512.0, 16383.0))
        found[iso] = frames
    return found


def _divergence(
    known: Mapping[float, Sequence[Dark]], fresh: Mapping[float, Sequence[Dark]]
) -> dict[str, float]:
    """Worst divergence over the settings: laws of `known` on `fresh`."""
    learned = of_darks("", 14, 15871.0, known)
    network = _learn(learned)
    worst: dict[str, float] = {}
    for setting in learned.settings:
        judged: DarkNoise = measure_darks(
            fresh[setting.iso], BenchJob(), lambda text: None, hold=True
        )
        assert judged.held is not None
        for name, value in divergences(network, setting, judged.held).items():
            worst[f"KL_{name}"] = max(worst.get(f"KL_{name}", 0.0), value)
    return {name: round(value, 5) for name, value in worst.items()}


def _learn(learned: Learned) -> NoiseProxy:
    recipe = _Given()
    recipe.use(learned)
    with tempfile.TemporaryDirectory() as folder:
        report = train(recipe, folder=Path(folder), budget_minutes=_MINUTES)
        network = NoiseProxy(len(learned.settings))
        network.load_state_dict(read_tensors(report.weights))
    return network.eval()


class _Given(PnnpRecipe):
    """Measurements that are there already."""

    def prepare(self, cache: Path, data: Path | None) -> None:
        """Nothing to read."""
