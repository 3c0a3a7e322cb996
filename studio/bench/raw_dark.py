"""`bench raw-dark`: pictures of almost no light, by a network that knows sensors and blindly.

The sheet of `bench raw-quality` is made 100 and 300 times too dark, gets the noise of published
cameras at high ISO (Tukey's lambda law, rows, rounding; in two conditions three times the rows), is
cleaned and amplified again. PSNR and SSIM are those of the amplified linear mosaic, cut to black
and white.
`raw.yond` is blind, and once has the camera's profile, by which rows are taken off first where they
are strong; `raw.eld` has the profile too, and the amplification. STUDIO_BENCH_ELD names a file of
its weights, as `train eld-small` leaves it, to measure in place of those that ship.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines import weights
from engines.raw.eld.guided import WideUnet
from engines.raw.eld.params import EldParams
from engines.raw.eld.process import denoise_told
from engines.raw.noise.cameras import named
from engines.raw.noise.model import expose, levels
from engines.raw.noise.sensor import NO_BIAS, SensorNoise
from engines.raw.yond.arch import GuidedResUnet
from engines.raw.yond.denoise import denoise
from engines.raw.yond.known import Known, take_rows
from engines.raw.yond.params import YondParams
from kernels.bayer import pack, unpack
from studio.bench.job import BenchJob
from studio.bench.raw_quality import score
from studio.bench.raw_scenes import clean_sheet

TITLE = "Extremely dark, banded pictures"
CONDITIONS: tuple[
    tuple[str, float, float, float], ...
] = (  # camera, ISO, darker by, times the rows
    ("sony-a7s-ii", 6400, 100, 1),
    ("sony-a7s-ii", 25600, 100, 1),
    ("sony-a7s-ii", 6400, 300, 1),
    ("canon-70d", 3200, 100, 1),
    ("canon-5d-mark-iv", 6400, 100, 1),
    ("nikon-d850", 6400, 100, 1),
    ("sony-a7s-ii", 25600, 100, 3),
    ("canon-70d", 3200, 100, 3),
)


def run() -> list[dict[str, Any]]:
    """One row a condition and method: psnr, ssim.

    Raises:
        UserError: the file of weights is none.
    """
    job = BenchJob()
    blind = job.load("yond-snrnet").network
    assert isinstance(blind, GuidedResUnet)
    eld = job.load(EldParams().network).network
    if file := os.environ.get("STUDIO_BENCH_ELD"):
        path = Path(file)
        eld = weights.load(weights.read_model(path, path.stem, "yours"), job.device).network
    assert isinstance(eld, WideUnet)
    clean = clean_sheet()
    rows: list[dict[str, Any]] = []
    for number, (camera, iso, ratio, bands) in enumerate(CONDITIONS):
        profile = named(camera).profile
        noise = SensorNoise.of(profile.at(iso))
        noise = replace(noise, sigma_row=bands * noise.sigma_row, bias=NO_BIAS)
        random = np.random.default_rng((7, number))
        signal = expose(clean * np.float32(profile.span / ratio), noise, "RGGB", random)
        black = np.full((1, 1), profile.bl, np.float32)
        raw = levels(signal, black, profile.wl).astype(np.float32)
        planes = pack(torch.from_numpy((raw - profile.bl) / np.float32(profile.span)), "RGGB")
        said = f"{camera} ISO {iso:.0f}, {ratio:.0f}x" + (
            f", rows x{bands:.0f}" if bands > 1 else ""
        )
        span, known = profile.span, planes.clone()
        says = Known(noise.K, noise.deviation, noise.sigma_row, NO_BIAS, (), camera)
        rows_off = take_rows(known, span, 1.0, says)
        told = YondParams(K=noise.K, sigma=says.total(rows_off))
        methods = {
            "noisy": planes * ratio,
            "raw.yond, blind": denoise(planes, span, blind, YondParams(), job).planes * ratio,
            "raw.yond, profile": denoise(known, span, blind, told, job).planes * ratio,
            "raw.eld": denoise_told(known, ratio, span, 1.0, eld, told, job).planes,
        }
        for method, found in methods.items():
            psnr, ssim = score(clean, _mosaic(found, clean))
            rows.append(
                {
                    "condition": said,
                    "method": method,
                    "psnr": round(psnr, 2),
                    "ssim": round(ssim, 4),
                }
            )
    return rows


def _mosaic(planes: Tensor, like: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = like.shape
    return unpack(planes.clamp(0.0, 1.0), "RGGB", height, width).numpy()
