"""`bench raw-quality`: what `raw.yond` gains, beside classical methods that know the true noise.

Twenty-four scenes kept out of training (`studio.bench.raw_scenes`) lie on one linear Bayer sheet.
Noise of a Sony A7S II is added in digital numbers and quantised: photons and Gaussian read noise at
six ISO settings, and at the two highest once more as ELD models them, read noise with heavy tails
and rows. Wavelet shrinkage (scikit-image, BayesShrink) and BM3D work plane by plane in the
stabilised domain with the exact unbiased inverse, and are told the true K and sigma; `raw.yond` is
blind with one and two passes, and once told the truth. PSNR and SSIM are of the linear mosaic
(black 0, white 1), then of the picture developed from it (white balance, edge-aware demosaicing,
sRGB curve), all means over the scenes. `lead_db` is the mean lead over BM3D on the mosaic,
`least_db` that of the scene where it is smallest.

BM3D (PyPI `bm3d`, and `bm4d` for it) is free for non-commercial use only, so it is no dependency,
nor is PyWavelets: STUDIO_BENCH_PEERS names a folder into which `pip install --no-deps --target` put
them. The rows of what is not there are left out, and the leads without BM3D.

STUDIO_BENCH_ONLY="ISO 6400,ELD ISO 25600" names the conditions to run, STUDIO_BENCH_WEIGHTS=a,b the
weights (names, or files); STUDIO_BENCH_EVERY takes every so-many-th scene alone; STUDIO_BENCH_KEEP
names a folder where BM3D's results, nearly all of the time, are kept for the next run.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from engines import weights
from engines.raw.noise.cameras import named
from engines.raw.noise.model import expose, levels
from engines.raw.noise.sensor import SensorNoise
from engines.raw.yond.arch import GuidedResUnet
from engines.raw.yond.denoise import denoise, keep_clipped
from engines.raw.yond.params import YondParams
from kernels.anscombe import forward, unbiased_inverse
from kernels.bayer import pack, unpack
from studio.bench.job import BenchJob
from studio.bench.raw_cost import FIRST_PASS, flops_a_pixel
from studio.bench.raw_scenes import (
    BLACK,
    CONDITIONS,
    CROP,
    NEUTRAL,
    SCALE,
    WHITE,
    Floats,
    Sheet,
    add_noise,
    all_scenes,
)

TITLE = "raw.yond against wavelets and BM3D that know the noise"
BM3D = "BM3D, true noise"
_CAMERA, _ELD = "sony-a7s-ii", (12800.0, 25600.0)


@dataclass(frozen=True)
class Condition:
    """Noise that one exposure has: K and sigma, DN, are what a method can be told."""

    name: str
    gain: float
    sigma: float
    draw: Callable[[Floats, int], Floats]


def conditions() -> list[Condition]:
    """Six of photons and Gaussian read noise, two of ELD."""
    found = [
        Condition(
            name, gain, sigma,
            lambda clean, seed, k=gain, s=sigma: add_noise(clean, k, s, seed),
        )
        for name, gain, sigma in CONDITIONS
    ]  # fmt: skip
    for iso in _ELD:
        noise = SensorNoise.of(named(_CAMERA).profile.at(iso))
        total = float(np.sqrt(noise.deviation**2 + noise.sigma_row**2 + 1.0 / 12.0))
        found.append(
            Condition(
                f"ELD ISO {iso:.0f}", noise.K, total,
                lambda clean, seed, noise=noise: _eld(clean, noise, seed),
            )
        )  # fmt: skip
    return found


def _eld(clean: Floats, noise: SensorNoise, seed: int) -> Floats:
    signal = expose(clean * np.float32(SCALE), noise, "RGGB", np.random.default_rng((7, seed)))
    raw = levels(signal, np.full((1, 1), BLACK, np.float32), WHITE).astype(np.float32)
    return (raw - np.float32(BLACK)) / np.float32(SCALE)


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


def bm3d_of(package: Any, sheet: Sheet, planes: Tensor, gain: float, sigma: float) -> Tensor:
    """BM3D of each packed plane of each scene in the stabilised domain, told the true noise."""
    z = forward(planes.double() * SCALE, gain, sigma).numpy()
    smooth = z.copy()
    for plane, out in zip(z, smooth, strict=True):
        for scene, place in sheet.crops(plane, out, share=2):
            place[:] = package.bm3d(scene, 1.0)
    return (unbiased_inverse(torch.from_numpy(smooth), gain, sigma) / SCALE).float()


def developed(mosaic: Floats) -> Floats:
    """Linear RGGB mosaic in [0, 1] -> (H, W, 3) sRGB in [0, 1]."""
    balanced = np.empty_like(mosaic)
    for y, x, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        balanced[y::2, x::2] = mosaic[y::2, x::2] / NEUTRAL[channel]
    whole = np.round(np.clip(balanced, 0.0, 1.0) * 65535.0).astype(np.uint16)
    # OpenCV names a pattern by its second row and column: its BG is RGGB.
    linear = cv2.cvtColor(whole, cv2.COLOR_BayerBG2RGB_EA).astype(np.float32) / 65535.0
    curve = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return curve.astype(np.float32)


def score(clean: Floats, found: Floats) -> tuple[float, float]:
    """Mean PSNR (dB, peak 1) and SSIM of the linear mosaic over crops without a margin."""
    height, width = clean.shape
    places = [
        (slice(top, top + CROP), slice(left, left + CROP))
        for top in range(0, height, CROP) for left in range(0, width, CROP)
    ]  # fmt: skip
    each = np.array([_of_mosaic(clean[place], found[place]) for place in places])
    return float(each[:, 0].mean()), float(each[:, 1].mean())


def _of_mosaic(clean: Floats, found: Floats) -> tuple[float, float]:
    from skimage.metrics import structural_similarity

    found = np.clip(found, 0.0, 1.0)
    both = [pack(torch.from_numpy(x), "RGGB").numpy() for x in (clean, found)]
    planes = zip(*both, strict=True)
    alike = [structural_similarity(p, q, data_range=1.0) for p, q in planes]
    return _psnr(clean, found), float(np.mean(alike))


def _of_picture(clean: Floats, found: Floats) -> tuple[float, float]:
    from skimage.metrics import structural_similarity

    alike: Any = structural_similarity(clean, found, data_range=1.0, channel_axis=2)
    return _psnr(clean, found), float(alike)


def _psnr(a: Floats, b: Floats) -> float:
    return float(-10.0 * np.log10(np.mean((a.astype(np.float64) - b) ** 2)))


def run() -> list[dict[str, Any]]:
    """One row a condition and method, and K and sigma where they were measured.

    Raises:
        UserError: the photographs are not there (they come with the repository).
    """
    job = BenchJob()
    names = os.environ.get("STUDIO_BENCH_WEIGHTS", ",".join(_shipped_weights())).split(",")
    networks = {Path(name).stem: _network(name, job) for name in names}
    only = [one for one in os.environ.get("STUDIO_BENCH_ONLY", "").split(",") if one]
    sheet = all_scenes().every(max(int(os.environ.get("STUDIO_BENCH_EVERY", "1")), 1))
    clean, picture = sheet.mosaic, developed(sheet.mosaic)
    peers = _peers()
    rows: list[dict[str, Any]] = []
    for number, at in enumerate(conditions()):
        if only and at.name not in only:
            continue
        noisy = at.draw(clean, number)
        planes = pack(torch.from_numpy(noisy), "RGGB")
        first, base = len(rows), None
        for method, found, more in _methods(sheet, planes, at, networks, peers, job):
            mosaic = unpack(found, "RGGB", *clean.shape).numpy()
            linear = np.array([_of_mosaic(*pair) for pair in sheet.crops(clean, mosaic)])
            pairs = sheet.crops(picture, developed(mosaic))
            shown = np.array([_of_picture(*pair) for pair in pairs])
            base = linear[:, 0] if method == BM3D else base
            lead = {}
            if base is not None:
                lead = {
                    "lead_db": round(float((linear[:, 0] - base).mean()), 2),
                    "least_db": round(float((linear[:, 0] - base).min()), 2),
                }
            rows.append(
                {
                    "condition": at.name, "K": round(at.gain, 3), "sigma": round(at.sigma, 3),
                    "method": method,
                    "psnr": round(float(linear[:, 0].mean()), 3),
                    "ssim": round(float(linear[:, 1].mean()), 4),
                    "psnr_developed": round(float(shown[:, 0].mean()), 2),
                    "ssim_developed": round(float(shown[:, 1].mean()), 4),
                } | lead | more
            )  # fmt: skip
        for row in rows[first:]:
            sys.stderr.write(f"{row}\n")
    return rows


def _methods(
    sheet: Sheet,
    planes: Tensor,
    at: Condition,
    networks: dict[str, GuidedResUnet],
    peers: dict[str, Any],
    job: BenchJob,
) -> Iterator[tuple[str, Tensor, dict[str, float]]]:
    if "bm3d" in peers:  # first, as the others' leads are over it
        yield BM3D, _kept(peers["bm3d"], sheet, planes, at), {}
    yield "noisy", planes, {}
    if "pywt" in peers:
        yield "wavelet, true noise", wavelet(planes, at.gain, at.sigma), {}
    for name, network in networks.items():
        flops = flops_a_pixel(network.conv_in.out_channels, network.levels)
        for method, passes, params in (
            ("blind, 1 pass", 1.0, YondParams(passes=1)),
            ("blind, 2 passes", 1.0 + FIRST_PASS, YondParams()),
            ("true noise", 1.0, YondParams(K=at.gain, sigma=at.sigma)),
        ):
            done = denoise(planes, SCALE, network, params, job)
            measured = {
                "K_found": round(done.last.K, 3),
                "sigma_found": round(done.last.sigma, 2),
                "confidence": round(done.last.confidence, 2),
                "kflop_a_packed_pixel": round(passes * flops / 1e3, 1),
            }
            yield f"{name}, {method}", keep_clipped(planes, done.planes), measured


def _kept(package: Any, sheet: Sheet, planes: Tensor, at: Condition) -> Tensor:
    """BM3D's result, read back where STUDIO_BENCH_KEEP has it for exactly this input."""
    folder = os.environ.get("STUDIO_BENCH_KEEP")
    if not folder:
        return bm3d_of(package, sheet, planes, at.gain, at.sigma)
    key = hashlib.sha256(planes.numpy().tobytes()).hexdigest()[:16]
    path = Path(folder) / f"bm3d-{key}-{at.gain:.4f}-{at.sigma:.4f}.npy"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, bm3d_of(package, sheet, planes, at.gain, at.sigma).numpy())
    return torch.from_numpy(np.load(path))


def _network(name: str, job: BenchJob) -> GuidedResUnet:
    """Bundled weights by their name, or a file of weights."""
    path = Path(name)
    if path.suffix != ".safetensors":
        return job.load(name).network
    network = weights.load(weights.read_model(path, path.stem, "yours"), job.device).network
    assert isinstance(network, GuidedResUnet)
    return network


def _shipped_weights() -> list[str]:
    return [file.id for file in weights.bundled() if file.id.startswith("yond-")]


def _peers() -> dict[str, Any]:
    """The packages that are there, by name."""
    folder = os.environ.get("STUDIO_BENCH_PEERS")
    if folder:
        sys.path.append(folder)
    found: dict[str, Any] = {}
    for name, title in (("bm3d", "BM3D"), ("pywt", "Wavelet shrinkage")):
        try:
            found[name] = import_module(name)
        except ImportError:
            sys.stderr.write(f"{title} is left out: no {name} is installed\n")
    return found
