"""`bench raw-noise`: how well gain and read noise are read from one image.

The pictures are sheets of the scenes of `bench raw-quality`, as they are and three stops
under-exposed, with known noise at six ISO settings: the ten most textured scenes together and in
halves (`scenes` is "textured"), and all twenty-four together and row by row ("all"). Compared are
YOND's published coarse estimate (a threshold on the spread of the blurred image, local variances in
windows of 29, plain least squares), our coarse one, and our refined one. Errors are relative to the
truth; a noise line is judged where it matters, by its standard deviation at the scene's quartiles.

Then real files, whose truth nobody knows: the left and the right half of a picture are of one
sensor, so both must tell the same. `halves_%` is by how much the noise that they tell differs at
the picture's quartiles. They are those of tests/data/raw; STUDIO_BENCH_RAW names another folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.media.raw_file import RAW_SUFFIXES, read_raw
from engines.raw.noise.estimate import estimate_self
from engines.raw.yond.arch import GuidedResUnet
from engines.raw.yond.denoise import denoise
from engines.raw.yond.params import YondParams
from engines.raw.yond.process import to_planes
from kernels.bayer import pack
from studio.bench.job import BenchJob
from studio.bench.raw_scenes import (
    CONDITIONS,
    CROP,
    MARGIN,
    PHOTOS,
    SCALE,
    add_noise,
    all_scenes,
    clean_sheet,
)

TITLE = "Gain and read noise, blindly"
_WINDOW, _INNER, _BINS = 29, 19, 1000

Array = NDArray[np.float32]


def run() -> list[dict[str, Any]]:
    """One row a condition and method: median and worst errors over the scenes, per cent."""
    job = BenchJob()
    network = job.load("yond-snrnet-small").network
    assert isinstance(network, GuidedResUnet)
    return [*_known(network, job), *_real(network, job)]


def _real(network: GuidedResUnet, job: BenchJob) -> Iterator[dict[str, Any]]:
    folder = Path(os.environ.get("STUDIO_BENCH_RAW", PHOTOS.parent / "raw"))
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in RAW_SUFFIXES:
            continue
        raw = read_raw(path)
        planes, black, span = to_planes(raw)
        scale = float(span.mean())
        clip = (raw.facts.clip - float(black.mean())) / scale
        middle = planes.shape[2] // 2
        parts = (planes, planes[:, :, :middle].clone(), planes[:, :, middle:].clone())
        levels = np.quantile(planes[:, ::4, ::4].numpy().clip(0.0), (0.25, 0.5, 0.75)) * scale
        for method, find in (
            ("ours, coarse", lambda part: estimate_self(part, scale, clip)),  # noqa: B023
            (
                "ours, refined",
                lambda part: denoise(part, scale, network, YondParams(), job, clip).last,  # noqa: B023
            ),
        ):
            whole, left, right = (find(part) for part in parts)
            ratio = np.sqrt(left.variance(levels) / right.variance(levels))
            yield {
                "condition": path.name,
                "method": method,
                "K": round(whole.K, 3),
                "sigma": round(whole.sigma, 2),
                "confidence": round(whole.confidence, 2),
                "K_left": round(left.K, 3),
                "K_right": round(right.K, 3),
                "halves_%": round(100.0 * float(np.abs(ratio - 1.0).max()), 1),
            }


def _sheets() -> Iterator[tuple[str, list[Array]]]:
    """What the scenes are called, and pictures of them."""
    ten = clean_sheet()
    yield "textured", [ten, ten[:CROP], ten[CROP:]]
    every = all_scenes().mosaic
    row = CROP + 2 * MARGIN
    yield "all", [every, *(every[top : top + row] for top in range(0, len(every), row))]


def _known(network: GuidedResUnet, job: BenchJob) -> Iterator[dict[str, Any]]:
    for scenes, parts in _sheets():
        pictures = [part * np.float32(2.0**-stops) for part in parts for stops in (0, 3)]
        for row in _judged(pictures, network, job):
            yield {"scenes": scenes} | row


def _judged(
    pictures: list[Array], network: GuidedResUnet, job: BenchJob
) -> Iterator[dict[str, Any]]:
    for name, gain, sigma in CONDITIONS:
        found: dict[str, list[tuple[float, float, float]]] = {}
        for number, clean in enumerate(pictures):
            planes = pack(torch.from_numpy(add_noise(clean, gain, sigma, number)), "RGGB")
            coarse = estimate_self(planes, SCALE)
            refined = denoise(planes, SCALE, network, YondParams(), job).last
            levels = np.quantile(clean, (0.25, 0.5, 0.75)) * SCALE
            for method, k, s in (
                ("published, coarse", *published(planes)),
                ("ours, coarse", coarse.K, coarse.sigma),
                ("ours, refined", refined.K, refined.sigma),
            ):
                true = np.sqrt(gain * levels + sigma**2)
                told = np.sqrt(np.maximum(k * levels + s**2, 0.0))
                errors = (k / gain - 1.0, s / sigma - 1.0, float(np.max(np.abs(told / true - 1.0))))
                found.setdefault(method, []).append(errors)
        for method, errors in found.items():
            k, s, level = np.abs(np.array(errors)).T
            yield {
                "condition": name,
                "method": method,
                "K_median_%": round(100 * float(np.median(k)), 1),
                "sigma_median_%": round(100 * float(np.median(s)), 1),
                "noise_median_%": round(100 * float(np.median(level)), 1),
                "noise_worst_%": round(100 * float(level.max()), 1),
            }


def published(planes: Tensor) -> tuple[float, float]:
    """K and sigma (DN) as YOND's released code reads them from the noisy image alone."""
    means: list[Array] = []
    variances: list[Array] = []
    scores: list[Array] = []
    for plane in planes.numpy():
        mean = _box(plane, _WINDOW)
        means.append(mean)
        variances.append(np.maximum(_box(plane * plane, _WINDOW) - mean * mean, 0.0))
        blurred = _box(plane, _INNER)
        local = _box(blurred, _WINDOW)
        spread = np.maximum(_box(blurred * blurred, _WINDOW) - local * local, 0.0)
        scores.append(np.sqrt(spread))
    m, v, t = (np.stack(part).ravel() for part in (means, variances, scores))
    best, threshold = np.inf, float(np.quantile(t, 0.25))
    for share in range(10, 101, 5):
        limit = float(np.quantile(t, share / 100))
        bins, _ = np.histogram(m[t <= limit], bins=_BINS, range=(0.0, 1.0))
        score = limit / (share * max(int(np.count_nonzero(bins)), 1))
        if score < best:
            best, threshold = score, limit
    flat = t < threshold
    usable = flat & (m > 1e-4) & (m < 0.8)
    if usable.mean() > 0.01:
        flat = usable
    slope, floor = np.polyfit(m[flat], v[flat], 1)
    return max(float(slope), 0.0) * SCALE, float(np.sqrt(max(float(floor), 0.0))) * SCALE


def _box(plane: Array, side: int) -> Array:
    blurred = cv2.blur(plane, (side, side), borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(blurred, dtype=np.float32)
