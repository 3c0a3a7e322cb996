"""`bench lowlight`: brightening of under-exposed photographs, against their well-exposed originals.

Ten photo crops kept out of everything that was tuned become Bayer mosaics of a 14-bit camera, 3 to
6 stops under (two of these a crop), with photons, Tukey-lambda read noise, row noise and whole
digital numbers of a Sony A7S II at ISO 400 (ELD's calibration). Set "8 bit": LibRaw develops them
as they are to PNG files of 8 bits. Set "raw": the RAW file itself; `raw.noiser` denoises it by YOND
first, and the peers get the same denoised development, with all its steps. The original is the
well-exposed mosaic without noise, developed in the same way. By default YOND's best network cleans
RAW files; one row more has the fast one.

`psnr` in dB; `ssim` of all colours; `colour` is CIEDE2000; `loe` counts, of 2500 places, those
whose order of lightness to a place is turned round (Wang et al. 2013), the mean over the places;
`mp_s` is the speed on a picture of 6 megapixels, without reading and writing. Peers: gamma 2.2;
the gamma that takes the mean to 0.45; histogram equalisation and CLAHE (OpenCV) of luma and of
CIELAB's L; multi-scale Retinex with colour restoration (Jobson et al. 1997, constants of theirs).
STUDIO_BENCH_SAVE names a folder to put the pictures into.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import structural_similarity

from engines.base import UserError
from engines.media.develop import develop
from engines.media.dng import DngExtras, write_dng
from engines.media.exif import ExifFacts
from engines.media.raw_colour import XYZ_FROM_SRGB
from engines.media.raw_file import RawFacts
from engines.raw.noiser.develop import developed
from engines.raw.noiser.params import NoiserParams
from engines.raw.noiser.transfer import encode_srgb
from engines.raw.unprocess import decode_srgb
from engines.registry import engine_class
from studio.bench.job import BenchJob
from studio.bench.raw_scenes import PHOTOS

TITLE = "Brightening of under-exposed photographs, beside filters"
BLACK, WHITE = 512.0, 16383.0
_GAIN, _READ, _LAMBDA, _ROW = 0.3825, 1.182, 0.022, 0.362  # A7S II at ISO 400, in DN
_NEUTRAL = np.array([0.48, 1.0, 0.62])
_PLACES = 50  # a side, of lightness order
_LARGE = (2000, 3000)
FAST = "raw.noiser, fast cleaner"  # only RAW files are cleaned

Floats = NDArray[np.float32]
Brighten = Callable[[Floats], Floats]  # (H, W, 3) encoded in [0, 1] -> the same


@dataclass(frozen=True)
class Case:
    """One dark picture.

    Attributes:
        path: the file: PNG or DNG.
        seen: (H, W, 3) encoded, what peers get.
        truth: (H, W, 3) encoded, well exposed.
    """

    path: Path
    seen: Floats
    truth: Floats


def run() -> list[dict[str, Any]]:
    """A row a set and method.

    Raises:
        UserError: the photographs are not there (they come with the repository).
    """
    save = os.environ.get("STUDIO_BENCH_SAVE")
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        speeds = _speeds(folder)
        for kind, cases in sets(folder).items():
            for method in (*PEERS, *OURS):
                if method == FAST and kind != "raw":
                    continue
                found = [_done(method, case, folder) for case in cases]
                row = {"set": kind, "method": method} | judge(found, cases)
                rows.append(row | {"mp_s": round(speeds[method], 2)})
                sys.stderr.write(f"{rows[-1]}\n")
                if save:
                    _save(Path(save), kind, method, found)
    return rows


def _done(method: str, case: Case, folder: Path) -> Floats:
    if method in PEERS:
        return PEERS[method](case.seen).clip(0.0, 1.0).astype(np.float32)
    return noiser(case.path, folder, **OURS[method])[0]


def noiser(path: Path, folder: Path, **params: Any) -> tuple[Floats, float]:
    """`raw.noiser` on a file: its picture, and its megapixels a second."""
    kind: Any = engine_class("raw.noiser")
    workspace = folder / "out"
    workspace.mkdir(exist_ok=True)
    chosen = kind.Params(output="png", depth="16", **params)
    result = kind().run([path], chosen, BenchJob(workspace))
    file = next(output.path for output in result.outputs if output.primary)
    picture = np.asarray(cv2.imread(str(file), cv2.IMREAD_UNCHANGED))[:, :, ::-1]
    speed = result.measurements["megapixels_per_second"].value
    return picture.astype(np.float32) / 65535.0, speed


def sets(folder: Path) -> dict[str, list[Case]]:
    """Dark files and what they ought to be, always the same.

    Raises:
        UserError: the photographs are not there.
    """
    files = sorted(PHOTOS.glob("*.png"))
    if not files:
        raise UserError("The photographs of this bench are in tests/data/photos of the repository")
    found: dict[str, list[Case]] = {"8 bit": [], "raw": []}
    for number, file in enumerate(files):
        photo = np.asarray(Image.open(file).convert("RGB"), np.float32) / 255.0
        light = decode_srgb(photo).astype(np.float64) * _NEUTRAL
        truth = _developed(_written(folder / "well.dng", _mosaic(light), file)) / 65535.0
        for stops in (3 + number % 2, 5 + number % 2):
            random = np.random.default_rng(100 * number + stops)
            stem = f"{number:02d}-{stops}"
            dark = _noisy(_mosaic(light * 2.0**-stops), random)
            raw = _written(folder / f"{stem}.dng", dark, file)
            eight = np.round(_developed(raw) / 257.0).astype(np.uint8)
            flat = folder / f"{stem}.png"
            Image.fromarray(eight).save(flat)
            found["8 bit"].append(Case(flat, eight.astype(np.float32) / 255.0, truth))
            clean = developed(raw, NoiserParams().raw_denoiser, BenchJob(folder)).rows
            light_seen = encode_srgb(clean.linear(0, clean.size[0])).clamp(0.0, 1.0)
            found["raw"].append(Case(raw, light_seen.permute(1, 2, 0).numpy(), truth))
    return found


def _mosaic(camera: NDArray[np.float64]) -> NDArray[np.float64]:
    """(H, W, 3) camera light -> (H, W) RGGB in DN above black."""
    mosaic = np.empty(camera.shape[:2])
    for y, x, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        mosaic[y::2, x::2] = camera[y::2, x::2, channel]
    return mosaic * (WHITE - BLACK)


def _noisy(mosaic: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """What the sensor makes of it, in DN above black."""
    photons = _GAIN * random.poisson(mosaic / _GAIN)
    p = random.random(mosaic.shape).clip(1e-6, 1.0 - 1e-6)
    read = _READ * (p**_LAMBDA - (1.0 - p) ** _LAMBDA) / _LAMBDA
    return photons + read + random.normal(0.0, _ROW, (len(mosaic), 1))


def _written(path: Path, above: NDArray[np.float64], source: Path) -> Path:
    """A DNG of that mosaic, of a camera whose colours are those of sRGB."""
    height, width = above.shape
    matrix = np.diag(_NEUTRAL) @ np.linalg.inv(XYZ_FROM_SRGB)
    red, green, blue = (float(1.0 / one) for one in _NEUTRAL)
    facts = RawFacts(
        make="Noise Studio", model="Bench", lens="", iso=400.0, exposure_s=None, f_number=None,
        focal_mm=None, datetime="", width=width, height=height, cfa="RGGB", bits=14,
        black=(BLACK, BLACK, BLACK, BLACK), white=WHITE, clip=WHITE, flip=0, orientation=1,
        wb=(red, green, blue), colour_matrix=tuple(tuple(row) for row in matrix.tolist()),
        illuminant=21, cam_to_srgb=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), frames=1,
        noise_reduction=None, noise_profile=(), pixel_aspect=1.0, crop=None, margins=(0, 0),
        exif=ExifFacts(),
    )  # fmt: skip
    levels = np.clip(np.round(above + BLACK), 0.0, WHITE).astype(np.uint16)
    preview = np.zeros((16, 16, 3), np.uint8)
    write_dng(path, levels, facts, source, DngExtras({}, preview, 0.0, ()))
    return path


def _developed(path: Path) -> Floats:
    """(H, W, 3) sRGB-encoded levels of 16 bits, as LibRaw develops them."""
    from engines.media.raw_file import read_raw

    return develop(path, read_raw(path).facts, 1, 0.0).astype(np.float32)


def judge(found: list[Floats], cases: list[Case]) -> dict[str, float]:
    """Means of all measures."""
    values: dict[str, list[float]] = {"psnr": [], "ssim": [], "colour": [], "loe": []}
    for picture, case in zip(found, cases, strict=True):
        truth = case.truth
        error = float(np.mean((picture.astype(np.float64) - truth) ** 2))
        values["psnr"].append(-10.0 * float(np.log10(error)))
        alike: Any = structural_similarity(picture, truth, channel_axis=2, data_range=1.0)
        values["ssim"].append(float(alike))
        apart = deltaE_ciede2000(rgb2lab(picture), rgb2lab(truth))
        values["colour"].append(float(apart.mean()))
        values["loe"].append(lightness_order(picture, truth))
    digits = {"psnr": 2, "ssim": 3, "colour": 2, "loe": 0}
    return {name: round(float(np.mean(value)), digits[name]) for name, value in values.items()}


def lightness_order(picture: Floats, truth: Floats) -> float:
    """Pairs of places whose order of lightness (largest colour) differs, a place."""
    places = (_PLACES, _PLACES)
    a, b = (
        cv2.resize(one, places, interpolation=cv2.INTER_AREA).max(axis=2).ravel()
        for one in (picture, truth)
    )
    wrong = (a[:, None] >= a[None]) != (b[:, None] >= b[None])
    return float(wrong.sum(axis=1).mean())


def _gamma(picture: Floats) -> Floats:
    return picture ** (1.0 / 2.2)


def _fitted_gamma(picture: Floats) -> Floats:
    return picture ** (np.log(0.45) / np.log(max(float(picture.mean()), 1e-4)))


def _equalised(picture: Floats) -> Floats:
    luma = cv2.cvtColor(_eight(picture), cv2.COLOR_RGB2YCrCb)
    luma[:, :, 0] = cv2.equalizeHist(luma[:, :, 0])
    return cv2.cvtColor(luma, cv2.COLOR_YCrCb2RGB).astype(np.float32) / np.float32(255.0)


def _clahe(picture: Floats) -> Floats:
    lab = cv2.cvtColor(_eight(picture), cv2.COLOR_RGB2LAB)
    lab[:, :, 0] = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply(lab[:, :, 0])
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB).astype(np.float32) / np.float32(255.0)


def _retinex(picture: Floats) -> Floats:
    """Scales 15, 80 and 250 pixels, colour restoration (125, 46), then 192 (R - 30) of 255 as
    Jobson et al. have it: what is beyond black and white by a hundredth is cut.
    """
    levels = picture.astype(np.float32) * 255.0 + 1.0
    scales = [cv2.GaussianBlur(levels, (0, 0), sigma) for sigma in (15.0, 80.0, 250.0)]
    contrast = np.log(levels) - np.mean([np.log(one) for one in scales], axis=0)
    restored = 46.0 * (np.log(125.0 * levels) - np.log(levels.sum(axis=2, keepdims=True)))
    found = 192.0 * (contrast * restored - 30.0)
    low, high = np.percentile(found, (1.0, 99.0))
    return ((found - low) / max(high - low, 1e-6)).clip(0.0, 1.0).astype(np.float32)


def _eight(picture: Floats) -> NDArray[np.uint8]:
    return (picture.clip(0.0, 1.0) * 255.0).round().astype(np.uint8)


PEERS: dict[str, Brighten] = {
    "as it is": lambda picture: picture,
    "gamma 2.2": _gamma,
    "gamma to the mean": _fitted_gamma,
    "histogram equalisation": _equalised,
    "CLAHE": _clahe,
    "multi-scale Retinex": _retinex,
}
OURS: dict[str, dict[str, Any]] = {
    "raw.noiser, paper": {"method": "paper"},
    "raw.noiser": {},
    FAST: {"cleaner": "fast"},
}


def _speeds(folder: Path) -> dict[str, float]:
    """Megapixels a second of each method."""
    height, width = _LARGE
    photo = np.asarray(Image.open(sorted(PHOTOS.glob("*.png"))[0]).convert("RGB"))
    large = cv2.resize(photo, (width, height), interpolation=cv2.INTER_LINEAR) // 6
    picture = large.astype(np.float32) / 255.0
    path = folder / "large.png"
    cv2.imwrite(str(path), large[:, :, ::-1])
    found: dict[str, float] = {}
    for name, brighten in PEERS.items():
        begun = time.perf_counter()
        brighten(picture)
        found[name] = height * width / 1e6 / max(time.perf_counter() - begun, 1e-9)
    for name, params in OURS.items():
        found[name] = noiser(path, folder, **params)[1]
    return found | {"as it is": 0.0}


def _save(folder: Path, kind: str, method: str, found: list[Floats]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(found):
        name = f"{kind}-{number:02d}-{method}.png".replace(" ", "-").replace(",", "")
        cv2.imwrite(str(folder / name), _eight(picture)[:, :, ::-1])
