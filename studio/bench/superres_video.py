"""`bench superres-video`: films four times, beside filters and pictures enlarged one by one.

Clips are filmed in the bench's photographs, which no recipe learns from: the camera pans, zooms and
shakes, and in half of them something nearer moves. "clean" clips are made small by an antialiased
cubic filter, "film" ones are worn as `negvsr-small` learns it (blur, noise, JPEG, a video encoder).
Everything runs from array to array, so that no encoder blurs the comparison; pictures go through
the engine one by one.

PSNR is of luma, four pixels of border left out; `lead_db` is over Lanczos. `unsteady` is what is
left between a frame and the next one moved back along the original's flow, in levels of 8 bits;
`unsteady_original` is that of the original itself, the least there can be.

STUDIO_BENCH_ONLY="negvsr,Lanczos" names the systems to run; STUDIO_BENCH_WEIGHTS names a file of
NegVSR's weights to use in place of those that ship.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from engines.base import UserError
from engines.superres.degrade.operator import Bicubic
from engines.superres.degrade.video import half
from engines.superres.metrics.fidelity import psnr_y, rounded
from engines.superres.metrics.temporal import unsteadiness
from engines.superres.negvsr.clips import filmed, tensor
from engines.superres.negvsr.net import SCALE, NegVsr
from engines.superres.negvsr.params import NegvsrParams
from engines.superres.negvsr.process import threshold
from engines.superres.negvsr.restore import Restorer
from engines.weights import BUNDLED, load, read_model
from studio.bench.raw_scenes import PHOTOS
from studio.bench.upscalers import Picture, cubic, ours

TITLE = "Films enlarged four times: closeness and steadiness, beside filters and single pictures"
FRAMES, SIDE = 10, 160  # of a clip; the photographs are 256 wide
Clip = NDArray[np.uint8]  # (T, h, w, 3)
Enlarge = Callable[[Clip], Clip]


def one_by_one(enlarge: Callable[[Picture], Picture]) -> Enlarge:
    """A way of enlarging pictures, as one for films."""
    return lambda clip: np.stack([enlarge(frame) for frame in clip])


def negvsr() -> Enlarge:
    """The network that ships, or the one that is named, as films go through it.

    Raises:
        UserError: there are no weights.
    """
    params = NegvsrParams()
    named = os.environ.get("STUDIO_BENCH_WEIGHTS")
    path = Path(named) if named else BUNDLED / f"{params.weights}.safetensors"
    if not path.is_file():
        raise UserError(f"it needs weights, {path.name}: run `train {params.weights}`")
    file = read_model(path, path.stem, "bundled")
    network = load(file, "cpu").network
    if not isinstance(network, NegVsr):
        raise UserError(f"{path.name} is of another network")

    def enlarge(clip: Clip) -> Clip:
        with TemporaryDirectory() as folder:
            scratch = Path(folder) / "frames"
            restorer = Restorer(
                network, "cpu", params.cleaning, threshold(params, file), params.tile, scratch,
                lambda _share: None,
            )  # fmt: skip
            stack = restorer.run(list(clip))
            height, width = (side * SCALE for side in clip.shape[1:3])
            frames = [stack.frame(at).window(0, height, 0, width) for at in range(len(clip))]
            stack.remove()
        levels = torch.stack(frames).clamp(0.0, 1.0) * 255.0
        return levels.round().byte().permute(0, 2, 3, 1).numpy()

    return enlarge


SYSTEMS: dict[str, Callable[[str], Enlarge]] = {
    "bicubic": lambda _set: one_by_one(cubic),
    "Lanczos": lambda _set: one_by_one(ours("superres.classical", method="lanczos")),
    "upsr fast": lambda name: one_by_one(
        ours("superres.upsr", mode="fast", source="clean" if name == "clean" else "photo")
    ),
    "negvsr": lambda _set: negvsr(),
}


def run() -> list[dict[str, Any]]:
    """A row a set and system.

    Raises:
        UserError: the photographs are not there (they come with the repository).
    """
    only = [one for one in os.environ.get("STUDIO_BENCH_ONLY", "").split(",") if one]
    rows: list[dict[str, Any]] = []
    for name, pairs in sets().items():
        lanczos = SYSTEMS["Lanczos"](name)
        base = [_psnr(lanczos(low), high) for low, high in pairs]
        for system, make in SYSTEMS.items():
            if only and system not in only:
                continue
            try:
                enlarge = make(name)
                enlarge(pairs[0][0][:2])  # what is loaded at the first call
            except UserError as error:
                sys.stderr.write(f"{system} is left out: {error}\n")
                continue
            begun = time.perf_counter()
            found = [enlarge(low) for low, _ in pairs]
            seconds = (time.perf_counter() - begun) / sum(len(low) for low, _ in pairs)
            row = {"set": name, "system": system} | judge(found, pairs, base)
            rows.append(row | {"seconds_a_frame": round(seconds, 3)})
            sys.stderr.write(f"{rows[-1]}\n")
    return rows


def sets() -> dict[str, list[tuple[Clip, Clip]]]:
    """Name of a degradation -> (small, original) clips, always the same.

    Raises:
        UserError: the photographs are not there.
    """
    files = sorted(PHOTOS.glob("*.png"))
    if not files:
        raise UserError("The photographs of this bench are in tests/data/photos of the repository")
    pictures = [
        np.asarray(cv2.imread(str(file)))[:, :, ::-1].astype(np.float32) / np.float32(255.0)
        for file in files
    ]
    clean: list[tuple[Clip, Clip]] = []
    worn: list[tuple[Clip, Clip]] = []
    for number, picture in enumerate(pictures):
        random = np.random.default_rng(100 + number)
        near = pictures[(number + 1) % len(pictures)] if number % 2 else None
        clip = filmed(np.ascontiguousarray(picture), near, FRAMES, SIDE, random)
        high = _eight(np.stack(clip))
        small = Bicubic(SCALE).measure(tensor(clip)).permute(0, 2, 3, 1).numpy()
        clean.append((_eight(small), high))
        worn.append((_eight(np.stack(half(SCALE).wear(clip, random))), high))
    return {"clean": clean, "film": worn}


def judge(found: list[Clip], pairs: list[tuple[Clip, Clip]], base: list[float]) -> dict[str, float]:
    """Means of all measures; `base` is the PSNR of Lanczos of each pair, in dB."""
    psnr = [_psnr(one, high) for one, (_, high) in zip(found, pairs, strict=True)]
    leads = [one - plain for one, plain in zip(psnr, base, strict=True)]
    steady = [
        unsteadiness(_tensor(one), _tensor(high), SCALE)
        for one, (_, high) in zip(found, pairs, strict=True)
    ]
    least = [unsteadiness(_tensor(high), _tensor(high), SCALE) for _, high in pairs]
    return {
        "psnr_y": round(float(np.mean(psnr)), 3),
        "lead_db": round(float(np.mean(leads)), 3),
        "least_db": round(min(leads), 3),
        "unsteady": round(float(np.mean(steady)), 3),
        "unsteady_original": round(float(np.mean(least)), 3),
    }


def _psnr(found: Clip, high: Clip) -> float:
    pairs = zip(_tensor(found), _tensor(high), strict=True)
    return float(np.mean([psnr_y(rounded(o[None]), h[None], SCALE) for o, h in pairs]))


def _tensor(clip: Clip) -> torch.Tensor:
    planes = np.ascontiguousarray(clip.transpose(0, 3, 1, 2)).astype(np.float32)
    return torch.from_numpy(planes) / 255.0


def _eight(clip: Any) -> Clip:
    return (clip.clip(0.0, 1.0) * 255.0).round().astype(np.uint8)
