"""`bench superres-inverse`: RED-Diff's tasks beside filters and OpenCV's inpainting.

Ten photo crops of 256 x 256 pixels kept out of training are worn as each task says: "enlarge" (four
times, antialiased cubic), "deblur" (a Gauss of 1.5 pixels), "inpaint" (strokes and letters over
them, a sixth of the pixels), "jpeg" (libjpeg at quality 10), "hdr" (twice the contrast, cut off)
and "dequantise" (8 levels). PSNR and SSIM are of luma, four pixels of border left out; `lead_db` is
PSNR over the task's first system, `least_db` the smallest of all crops; `hole_db` is PSNR of RGB in
what was to be filled alone. RED-Diff is left out where it has no prior.

STUDIO_BENCH_ONLY="RED-Diff,Telea" names the systems to run and STUDIO_BENCH_SETS="inpaint,jpeg" the
tasks; STUDIO_BENCH_CROPS=5 takes so many of the crops, spread over all (one core takes half a
minute for each crop and task). STUDIO_BENCH_WEIGHTS names a file of weights in place of those that
ship, STUDIO_BENCH_STEPS the steps, STUDIO_BENCH_SAVE a folder to put the pictures into.
"""

from __future__ import annotations

import math
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
from torch import Tensor

from engines.base import UserError
from engines.registry import engine_class
from engines.superres.degrade.inverse import pseudo_inverse
from engines.superres.degrade.operator import Bicubic, Blur, Clipping, Levels, Operator
from engines.superres.metrics.fidelity import psnr_y, ssim_y
from engines.weights import load, read_model
from studio.bench.job import BenchJob
from studio.bench.raw_scenes import PHOTOS
from studio.bench.upscalers import Picture, cubic, ours

TITLE = "RED-Diff's tasks, beside filters and OpenCV's inpainting"
_SCALE, _BLUR, _QUALITY, _BITS, _BORDER = 4, 1.5, 10, 3, 4
_OURS = "RED-Diff"
Solve = Callable[[Picture, NDArray[np.bool_]], Picture]  # worn, what is to be filled -> mended

_SETTINGS: dict[str, dict[str, Any]] = {
    "enlarge": {"scale": float(_SCALE)},
    "deblur": {"blur_size": _BLUR},
    "inpaint": {"grow": 0},
    "jpeg": {"jpeg_quality": _QUALITY, "jpeg_colour": "half"},
    "hdr": {},
    "dequantise": {"bits": _BITS},
}


def run() -> list[dict[str, Any]]:
    """A row a task and system.

    Raises:
        UserError: the photographs are not there (they come with the repository).
    """
    only, tasks = (_named(f"STUDIO_BENCH_{one}") for one in ("ONLY", "SETS"))
    save = os.environ.get("STUDIO_BENCH_SAVE")
    highs = originals()
    count = min(int(os.environ.get("STUDIO_BENCH_CROPS", len(highs))), len(highs))
    highs = [highs[n * len(highs) // count] for n in range(count)]
    rows: list[dict[str, Any]] = []
    for task in _SETTINGS:
        if tasks and task not in tasks:
            continue
        pairs = [worn(task, high, number) for number, high in enumerate(highs)]
        base: list[float] = []
        for system, solve in systems(task).items():
            if only and system not in only and base:
                continue
            try:
                begun = time.perf_counter()
                found = [solve(low, hole) for low, hole in pairs]
                seconds = (time.perf_counter() - begun) / len(pairs)
            except UserError as error:
                sys.stderr.write(f"{system} is left out: {error}\n")
                continue
            each = [_psnr(one, high) for one, high in zip(found, highs, strict=True)]
            base = base or each
            row = {"set": task, "system": system} | _judged(found, highs, each, base)
            if task == "inpaint":
                holes = [hole for _, hole in pairs]
                row["hole_db"] = round(_in_holes(found, highs, holes), 3)
            rows.append(row | {"seconds": round(seconds, 3)})
            sys.stderr.write(f"{rows[-1]}\n")
            if save:
                _save(Path(save), task, system, found)
    return rows


def originals() -> list[Picture]:
    """The ten crops, (256, 256, 3) RGB.

    Raises:
        UserError: they are not there.
    """
    files = sorted(PHOTOS.glob("*.png"))
    if not files:
        raise UserError("The photographs of this bench are in tests/data/photos of the repository")
    return [np.asarray(cv2.imread(str(file)))[:, :, ::-1] for file in files]


def worn(task: str, high: Picture, number: int) -> tuple[Picture, NDArray[np.bool_]]:
    """What is given for a crop, and which of its pixels are to be filled; always the same."""
    hole = np.zeros(high.shape[:2], bool)
    operators: dict[str, Operator] = {
        "enlarge": Bicubic(_SCALE),
        "deblur": Blur.gauss(_BLUR),
        "hdr": Clipping(),
        "dequantise": Levels(_BITS),
    }
    if task in operators:
        return _bytes(operators[task].measure(_tensor(high))), hole
    if task == "jpeg":
        _, coded = cv2.imencode(".jpg", high[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))[:, :, ::-1], hole
    hole = strokes(high.shape[0], number)
    low = high.copy()
    low[hole] = 0
    return low, hole


def strokes(side: int, number: int) -> NDArray[np.bool_]:
    """(side, side) thick lines and a line of letters, as on a scratched or stamped photo."""
    random = np.random.default_rng(number)
    drawn = np.zeros((side, side), np.uint8)
    for _ in range(8):
        ends = random.integers(0, side, (2, 2)).tolist()
        cv2.line(drawn, tuple(ends[0]), tuple(ends[1]), 255, int(random.integers(3, 8)))
    cv2.putText(drawn, "NOISE STUDIO", (8, side - 40), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 255, 3)
    return drawn > 0


def systems(task: str) -> dict[str, Solve]:
    """What mends it, by name; the first is what the others are compared with."""

    def same(low: Picture, _hole: NDArray[np.bool_]) -> Picture:
        return low

    def inverse(operator: Operator) -> Solve:
        return lambda low, _hole: _bytes(pseudo_inverse(operator, _tensor(low)))

    def opencv(kind: int) -> Solve:
        def fill(low: Picture, hole: NDArray[np.bool_]) -> Picture:
            return cv2.inpaint(low, hole.astype(np.uint8), 3, kind).astype(np.uint8)

        return fill

    others: dict[str, dict[str, Solve]] = {
        "enlarge": {
            "bicubic": lambda low, _hole: cubic(low),
            "Lanczos": lambda low, _hole: ours("superres.classical", method="lanczos")(low),
        },
        "deblur": {"as it is": same, "damped inverse": inverse(Blur.gauss(_BLUR))},
        "inpaint": {"Telea": opencv(cv2.INPAINT_TELEA), "NS": opencv(cv2.INPAINT_NS)},
        "jpeg": {"as it is": same},
        "hdr": {"contrast undone": inverse(Clipping())},
        "dequantise": {"as it is": same},
    }
    return others[task] | {_OURS: lambda low, hole: _reddiff(task, low, hole)}


class _Job(BenchJob):
    def load(self, model_id: str) -> Any:
        named = os.environ.get("STUDIO_BENCH_WEIGHTS")
        if not named:
            return super().load(model_id)
        return load(read_model(Path(named), model_id, "yours"), self.device)


def _reddiff(task: str, low: Picture, hole: NDArray[np.bool_]) -> Picture:
    """RED-Diff on a PNG file, as on anybody's."""
    kind: Any = engine_class("superres.reddiff")
    with TemporaryDirectory() as name:
        source, mask, workspace = (Path(name) / part for part in ("in.png", "mask.png", "out"))
        workspace.mkdir()
        cv2.imwrite(str(source), low[:, :, ::-1])
        more = dict(_SETTINGS[task])
        if task == "inpaint":
            cv2.imwrite(str(mask), hole.astype(np.uint8) * 255)
            more["mask"] = str(mask)
        if steps := os.environ.get("STUDIO_BENCH_STEPS"):
            more["steps"] = int(steps)
        params = kind.Params(task=task, output="png", **more)
        result = kind().run([source], params, _Job(workspace))
        path = next(output.path for output in result.outputs if output.primary)
        return np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR))[:, :, ::-1]


def _judged(
    found: list[Picture], highs: list[Picture], each: list[float], base: list[float]
) -> dict[str, float]:
    similar = [
        ssim_y(_tensor(one), _tensor(high), _BORDER) for one, high in zip(found, highs, strict=True)
    ]
    leads = np.array(each) - np.array(base)
    return {
        "psnr_y": round(float(np.mean(each)), 3),
        "lead_db": round(float(leads.mean()), 3),
        "least_db": round(float(leads.min()), 3),
        "ssim_y": round(float(np.mean(similar)), 3),
    }


def _psnr(found: Picture, high: Picture) -> float:
    return psnr_y(_tensor(found), _tensor(high), _BORDER)


def _in_holes(found: list[Picture], highs: list[Picture], holes: list[NDArray[np.bool_]]) -> float:
    errors = [
        np.square(one[hole].astype(np.float64) - high[hole]).mean()
        for one, high, hole in zip(found, highs, holes, strict=True)
    ]
    return float(np.mean([10.0 * math.log10(255.0**2 / max(error, 1e-10)) for error in errors]))


def _named(setting: str) -> list[str]:
    return [one for one in os.environ.get(setting, "").split(",") if one]


def _tensor(picture: Picture) -> Tensor:
    planes = np.ascontiguousarray(picture.transpose(2, 0, 1)).astype(np.float32)
    return torch.from_numpy(planes)[None] / 255.0


def _bytes(picture: Tensor) -> Picture:
    levels = (picture[0].clamp(0.0, 1.0) * 255.0).round().byte()
    return np.ascontiguousarray(levels.permute(1, 2, 0).numpy())


def _save(folder: Path, task: str, system: str, found: list[Picture]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(found):
        file = f"{task}-{number:02d}-{system.replace(' ', '-')}.png"
        cv2.imwrite(str(folder / file), picture[:, :, ::-1])
