"""`bench raw-quality`: what `raw.yond` gains over wavelet shrinkage that knows the true noise.

Ten sharp photographs kept out of training are turned into one linear Bayer sheet; noise of a Sony
A7S II at six ISO settings (K, sigma from the ELD calibration) is added in digital numbers and
quantised. Wavelet shrinkage (scikit-image, BayesShrink, per packed plane, stabilised domain, exact
unbiased inverse) is told the true K and sigma; `raw.yond` is blind with one and with two passes,
and once told the truth. PSNR and SSIM are those of the linear mosaic (black 0, white 1), the mean
over the crops.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from engines.base import UserError
from engines.raw.unprocess import decode_srgb
from engines.raw.yond.arch import GuidedResUnet
from engines.raw.yond.denoise import denoise, keep_clipped
from engines.raw.yond.params import YondParams
from kernels.anscombe import forward, unbiased_inverse
from kernels.bayer import pack, unpack
from studio.bench.job import BenchJob

TITLE = "raw.yond against wavelet shrinkage that knows the noise"
PHOTOS = Path(__file__).resolve().parents[2] / "tests" / "data" / "photos"
CONDITIONS: tuple[tuple[str, float, float], ...] = (
    ("ISO 400", 0.3825, 2.06),
    ("ISO 1600", 1.530, 6.299),
    ("ISO 3200", 3.060, 3.919),
    ("ISO 6400", 6.120, 7.116),
    ("ISO 12800", 12.24, 14.25),
    ("ISO 25600", 24.48, 25.85),
)
BLACK, WHITE = 512.0, 16383.0
SCALE = WHITE - BLACK
CROP = 256
_NEUTRAL = np.array([0.48, 1.0, 0.62], dtype=np.float32)  # a daylight camera's grey
_EXPOSURE = 0.7


def clean_sheet() -> NDArray[np.float32]:
    """(512, 1280) linear RGGB mosaic in [0, 1] made of the ten crops, five a row.

    Raises:
        UserError: the photographs are not there (they come with the repository, not the package).
    """
    files = sorted(PHOTOS.glob("*.png"))
    if not files:
        raise UserError("The photographs of this bench are in tests/data/photos of the repository")
    crops = [np.asarray(Image.open(file).convert("RGB"), np.float32) / 255.0 for file in files]
    rows = [np.concatenate(crops[start : start + 5], axis=1) for start in (0, 5)]
    camera = decode_srgb(np.concatenate(rows, axis=0)) * _NEUTRAL * np.float32(_EXPOSURE)
    mosaic = np.empty(camera.shape[:2], dtype=np.float32)
    for y, x, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        mosaic[y::2, x::2] = camera[y::2, x::2, channel]
    return mosaic


def add_noise(
    clean: NDArray[np.float32], gain: float, sigma: float, seed: int
) -> NDArray[np.float32]:
    """Photons, read noise and whole digital numbers, clipped as a sensor does; all in [0, 1]."""
    random = np.random.default_rng(seed)
    photons = random.poisson(clean.astype(np.float64) * SCALE / gain)
    raw = BLACK + gain * photons + random.normal(0.0, sigma, clean.shape)
    raw = np.clip(np.round(raw), 0.0, WHITE)
    return ((raw - BLACK) / SCALE).astype(np.float32)


def wavelet(planes: Tensor, gain: float, sigma: float) -> Tensor:
    """BayesShrink of each packed plane in the stabilised domain, told the true noise."""
    from skimage.restoration import denoise_wavelet

    z = forward(planes.double() * SCALE, gain, sigma).numpy()
    top = float(z.max())  # the function clips at one
    smooth = [
        denoise_wavelet(plane / top, sigma=1.0 / top, method="BayesShrink", rescale_sigma=False)
        for plane in z
    ]
    back = unbiased_inverse(torch.from_numpy(np.stack(smooth)) * top, gain, sigma)
    return (back / SCALE).float()


def score(clean: NDArray[np.float32], found: NDArray[np.float32]) -> tuple[float, float]:
    """Mean PSNR (dB, peak 1) and SSIM over the crops of the sheet."""
    from skimage.metrics import structural_similarity

    psnr: list[float] = []
    ssim: list[float] = []
    for top in range(0, clean.shape[0], CROP):
        for left in range(0, clean.shape[1], CROP):
            a = clean[top : top + CROP, left : left + CROP].astype(np.float64)
            b = np.clip(found[top : top + CROP, left : left + CROP], 0.0, 1.0).astype(np.float64)
            psnr.append(float(-10.0 * np.log10(np.mean((a - b) ** 2))))
            both = [pack(torch.from_numpy(x), "RGGB").numpy() for x in (a, b)]
            planes = zip(*both, strict=True)
            ssim.append(
                float(np.mean([structural_similarity(p, q, data_range=1.0) for p, q in planes]))
            )
    return float(np.mean(psnr)), float(np.mean(ssim))


def run(weights: str = "yond-snrnet-small") -> list[dict[str, Any]]:
    """One row a condition and method: psnr, ssim, and K and sigma where they were measured."""
    job = BenchJob()
    network = job.load(weights).network
    assert isinstance(network, GuidedResUnet)
    clean = clean_sheet()
    rows: list[dict[str, Any]] = []
    for number, (name, gain, sigma) in enumerate(CONDITIONS):
        noisy = add_noise(clean, gain, sigma, seed=number)
        planes = pack(torch.from_numpy(noisy), "RGGB")

        def row(method: str, found: Tensor, **more: float) -> None:
            psnr, ssim = score(clean, unpack(found, "RGGB", *clean.shape).numpy())
            rows.append(
                {"condition": name, "K": gain, "sigma": sigma, "method": method,  # noqa: B023
                 "psnr": round(psnr, 3), "ssim": round(ssim, 4), **more}
            )  # fmt: skip

        row("noisy", planes)
        row("wavelet, true noise", wavelet(planes, gain, sigma))
        for method, params in (
            ("raw.yond, blind, 1 pass", YondParams(passes=1)),
            ("raw.yond, blind, 2 passes", YondParams()),
            ("raw.yond, true noise", YondParams(K=gain, sigma=sigma)),
        ):
            done = denoise(planes, SCALE, network, params, job)
            row(
                method,
                keep_clipped(planes, done.planes),
                K_found=round(done.last.K, 3),
                sigma_found=round(done.last.sigma, 2),
                confidence=round(done.last.confidence, 2),
            )
    return rows
