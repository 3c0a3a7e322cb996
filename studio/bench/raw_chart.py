"""`bench raw-chart`: what denoising may cost: stars, wires, letters, skin.

A chart is drawn here, four quarters of what a careless denoiser takes for noise: stars of many
magnitudes on a dark sky, wires and hairs a pixel wide, letters down to six pixels, skin with pores.
It gets the noise of a Sony A7S II and is cleaned blindly at strength 1. `kept_%` is how much of the
fine detail (all finer than 3 pixels) is still there, that is the slope of the result's detail over
the original's; 100 is all, also with noise on it. `gain_db` is PSNR of the mosaic over the noisy
one. STUDIO_BENCH_SAVE=FILE.png draws the chart clean, noisy and cleaned at the last setting.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from engines.raw.unprocess import decode_srgb
from engines.raw.yond.arch import GuidedResUnet
from engines.raw.yond.denoise import denoise, keep_clipped
from engines.raw.yond.params import YondParams
from kernels.bayer import pack, unpack
from studio.bench.job import BenchJob
from studio.bench.raw_quality import developed
from studio.bench.raw_scenes import CONDITIONS, EXPOSURE, NEUTRAL, SCALE, add_noise

TITLE = "Stars, wires, letters and skin"
SIDE = 768
_OVER = 4  # drawn so many times as large
_SHOWN = CONDITIONS[-1]
_CUT = 144  # side of what is shown of each quarter

Floats = NDArray[np.float32]
QUARTERS = ("stars", "wires", "letters", "skin")


def chart(side: int = SIDE) -> Floats:
    """(side, side, 3) sRGB in [0, 1]: stars and wires above, letters and skin below."""
    random = np.random.default_rng(11)
    half = side // 2
    drawn = [part(half * _OVER, random) for part in (_stars, _wires, _letters, _skin)]
    small = [cv2.resize(one, (half, half), interpolation=cv2.INTER_AREA) for one in drawn]
    whole = np.vstack([np.hstack(small[:2]), np.hstack(small[2:])])
    return np.clip(whole, 0.0, 1.0).astype(np.float32)


def _stars(side: int, random: np.random.Generator) -> Floats:
    sky = np.linspace(0.10, 0.16, side, dtype=np.float32)[:, None, None]
    picture = np.ascontiguousarray(np.broadcast_to(sky, (side, side, 3)).astype(np.float32))
    light = np.zeros_like(picture)
    for _ in range(220):
        x, y = random.integers(8, side - 8, 2)
        magnitude = 10.0 ** random.uniform(-0.5, 1.3)
        light[y, x] += (magnitude * random.uniform(0.7, 1.0, 3)).astype(np.float32)
    spread = 0.7 * _OVER
    return picture + cv2.GaussianBlur(light, (0, 0), spread) * np.float32(spread**2)


def _wires(side: int, random: np.random.Generator) -> Floats:
    sky = np.linspace(0.75, 0.5, side, dtype=np.float32)[:, None, None]
    blue = sky * np.array([0.75, 0.87, 1.0], dtype=np.float32)
    picture = np.repeat(blue, side, axis=1)
    for number in range(9):  # from half a pixel to two
        y = int((number + 0.5) / 11 * side)
        ends = (0, y), (side, int(y + 0.12 * side))
        cv2.line(picture, *ends, (0.2, 0.2, 0.22), 2 + number * 3 // 4, cv2.LINE_AA)
    for _ in range(60):  # hairs
        start = random.integers(0, side, 2)
        bend = random.uniform(-1.0, 1.0, 2)
        t = np.linspace(0.0, 1.0, 40)[:, None]
        path = start + side * 0.3 * (t * bend + t**2 * random.uniform(-0.5, 0.5, 2))
        dark = float(random.uniform(0.25, 0.5))
        points = [np.round(path).astype(np.int32)]
        cv2.polylines(picture, points, False, (dark, dark * 0.8, dark * 0.7), 3, cv2.LINE_AA)
    return picture


def _letters(side: int, random: np.random.Generator) -> Floats:
    paper = np.full((side, side, 3), (0.86, 0.85, 0.8), dtype=np.float32)
    y, size = 0, 6.0
    words = "The quick brown fox jumps over 13 lazy dogs & 2,468 hens; "
    while True:
        y += int(1.7 * size * _OVER)
        if y > side:
            return paper
        cover = np.zeros((side, side), dtype=np.uint8)
        width = max(round(0.11 * size * _OVER), 1)
        place, face = (8 * _OVER, y), cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(cover, words * 3, place, face, size * _OVER / 30, 255, width, cv2.LINE_AA)
        ink = np.array((0.1, 0.1, 0.15) if random.random() < 0.6 else (0.6, 0.1, 0.1), np.float32)
        paper += (cover[..., None] / np.float32(255.0)) * (ink - paper)
        size *= 1.12


def _skin(side: int, random: np.random.Generator) -> Floats:
    picture = np.full((side, side, 3), (0.80, 0.60, 0.50), dtype=np.float32)
    for scale, depth in ((60.0, 0.025), (14.0, 0.02), (3.0, 0.02), (1.2, 0.025)):
        wave = cv2.resize(
            random.standard_normal((int(side / _OVER / scale) + 3,) * 2).astype(np.float32),
            (side, side), interpolation=cv2.INTER_CUBIC,
        )  # fmt: skip
        picture += depth * wave[..., None] * np.array([0.8, 1.0, 1.0], np.float32)
    pores = np.zeros((side, side), dtype=np.float32)
    places = random.integers(0, side, (side * side // (90 * _OVER**2), 2))
    pores[places[:, 0], places[:, 1]] = 1.0
    spread = 0.8 * _OVER
    pores = cv2.GaussianBlur(pores, (0, 0), spread) * np.float32(2 * np.pi * spread**2)
    picture -= 0.10 * np.minimum(pores, 1.5)[..., None] * np.array([0.8, 1.0, 1.0], np.float32)
    return picture


def mosaic_of(picture: Floats) -> Floats:
    """(H, W) linear RGGB in [0, 1] of an sRGB picture, as `studio.bench.raw_scenes` makes them."""
    camera = decode_srgb(picture) * NEUTRAL * np.float32(EXPOSURE)
    mosaic = np.empty(camera.shape[:2], dtype=np.float32)
    for y, x, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        mosaic[y::2, x::2] = camera[y::2, x::2, channel]
    return mosaic


def quarter(picture: Floats, name: str) -> Floats:
    """That part of a chart, or of anything that lies like it."""
    number, (height, width) = QUARTERS.index(name), picture.shape[:2]
    top, left = (number // 2) * (height // 2), (number % 2) * (width // 2)
    return picture[top : top + height // 2, left : left + width // 2]


def kept(clean: Floats, found: Floats) -> float:
    """Slope of the fine detail of developed pictures, `found` over `clean`."""
    fine = [one - cv2.GaussianBlur(one, (0, 0), 3.0) for one in (clean, found)]
    return float((fine[0] * fine[1]).sum() / np.square(fine[0]).sum())


def cleaned(noisy: Floats, network: GuidedResUnet, job: BenchJob) -> Floats:
    """A noisy mosaic through `raw.yond`, blindly."""
    planes = pack(torch.from_numpy(noisy), "RGGB")
    done = denoise(planes, SCALE, network, YondParams(), job)
    return unpack(keep_clipped(planes, done.planes), "RGGB", *noisy.shape).numpy()


def run() -> list[dict[str, Any]]:
    """One row a setting, weights and quarter."""
    job = BenchJob()
    save = os.environ.get("STUDIO_BENCH_SAVE")
    clean = mosaic_of(chart())
    seen = developed(clean)
    rows: list[dict[str, Any]] = []
    for number, (iso, gain, sigma) in enumerate(CONDITIONS):
        noisy = add_noise(clean, gain, sigma, number)
        for weights in ("yond-snrnet-small", "yond-snrnet"):
            found = cleaned(noisy, job.load(weights).network, job)
            shown = developed(found)
            for name in QUARTERS:
                errors = [
                    float(np.square(quarter(one, name) - quarter(clean, name)).mean())
                    for one in (noisy, found)
                ]
                rows.append(
                    {
                        "condition": iso, "weights": weights, "part": name,
                        "kept_%": round(100.0 * kept(quarter(seen, name), quarter(shown, name)), 1),
                        "gain_db": round(float(10.0 * np.log10(errors[0] / errors[1])), 2),
                    }
                )  # fmt: skip
        if save and iso == _SHOWN[0]:
            draw([seen, developed(noisy), shown], Path(save))
    return rows


def draw(pictures: list[Floats], path: Path) -> None:
    """A cut of each quarter, one column a picture, twice as large."""
    rows = [np.hstack([quarter(one, name)[:_CUT, :_CUT] for one in pictures]) for name in QUARTERS]
    shown = (np.clip(np.vstack(rows), 0.0, 1.0) * 255.0).round().astype(np.uint8)
    shown = cv2.resize(shown, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    cv2.imwrite(str(path), shown[:, :, ::-1])
