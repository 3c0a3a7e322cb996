"""`bench superres-speed`: pictures of 1, 16 and 100 megapixels out of `superres.upsr`, four times.

The inputs are made here: the bench's photo crops side by side, as PNG. Each runs in a worker
process as for anybody, from reading to writing; `megapixels_per_second` is of the whole job,
`network` of the enlarging alone, in megapixels of the result. `share` is what the network's
multiplications come to, over what a large matrix product in bfloat16 (where the processor has it,
else float32) reaches on this machine. SPAN (ch48 through ncnn) enlarges the smallest input in this
process, from array to array, where it is installed.
STUDIO_BENCH_MODE=sharp measures the diffusion instead.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch

from engines.base import UserError
from engines.superres.fast import FastNet
from engines.superres.precision import mixed
from studio.bench.raw_scenes import PHOTOS
from studio.bench.upscalers import SCALE, Picture, peer
from studio.config import LOCAL, Settings
from studio.jobs.service import Studio

TITLE = "Super-resolution four times: speed and memory by size"
SIDES = (256, 1000, 2500)  # of the input
_REPEATS = 5


def run() -> list[dict[str, Any]]:
    """One row a size: seconds, megapixels a second, share of the machine's peak, peak memory.

    Raises:
        UserError: the photographs are not there, or the weights.
    """
    rows: list[dict[str, Any]] = []
    mode = os.environ.get("STUDIO_BENCH_MODE", "fast")
    with TemporaryDirectory() as folder:
        home = Path(folder)
        studio = Studio(Settings(home=home))
        studio.start()
        try:
            session = studio.new_session(LOCAL)
            for side in SIDES:
                source = home / f"{side}.png"
                cv2.imwrite(str(source), sheet(side)[:, :, ::-1])
                params = {"mode": mode, "scale": float(SCALE)}
                ids = studio.submit(
                    LOCAL, session.id, "superres.upsr", [[source]], params, source="cli"
                )
                [job] = studio.wait(LOCAL, ids)
                if job.state != "done" or job.seconds is None:
                    raise UserError(job.error or "The job did not end")
                out = (side * SCALE) ** 2 / 1e6
                network = job.measurements["megapixels_per_second"][0]
                rows.append(
                    {
                        "system": f"upsr {mode}",
                        "megapixels": round(out, 1),
                        "seconds": round(job.seconds, 1),
                        "megapixels_per_second": round(out / job.seconds, 2),
                        "network": round(network, 2),
                        "share": round(network * _flop() / _peak(), 2) if mode == "fast" else None,
                        "peak_mb": round(job.peak_mb or 0.0),
                    }
                )
                sys.stderr.write(f"{rows[-1]}\n")
        finally:
            studio.stop()
    return [*rows, *_span()]


def sheet(side: int) -> Picture:
    """(side, side, 3) of the bench's photo crops.

    Raises:
        UserError: the photographs are not there.
    """
    files = sorted(PHOTOS.glob("*.png"))
    if not files:
        raise UserError("The photographs of this bench are in tests/data/photos of the repository")
    row = np.concatenate([np.asarray(cv2.imread(str(file)))[:, :, ::-1] for file in files], axis=1)
    times = -(-side // row.shape[0]), -(-side // row.shape[1]), 1
    return np.ascontiguousarray(np.tile(row, times)[:side, :side])


def _flop() -> float:
    """Multiplications and additions of the fidelity network for a megapixel of the result."""
    layers = [one for one in FastNet(SCALE).modules() if isinstance(one, torch.nn.Conv2d)]
    weights = sum(one.weight.numel() for one in layers)
    return 2.0 * weights * 1e6 / SCALE**2


def _peak() -> float:
    """Operations a second of a large matrix product, as the network's convolutions are run."""
    a = torch.randn(2048, 2048)
    best = 0.0
    with torch.no_grad(), mixed(a.device):
        for _ in range(_REPEATS):
            begun = time.perf_counter()
            torch.mm(a, a)
            best = max(best, 2.0 * 2048**3 / (time.perf_counter() - begun))
    return best


def _span() -> list[dict[str, Any]]:
    try:
        enlarge = peer("SPAN ch48")
    except UserError as error:
        sys.stderr.write(f"SPAN is left out: {error}\n")
        return []
    low = sheet(SIDES[0])
    seconds: list[float] = []
    for _ in range(_REPEATS):
        begun = time.perf_counter()
        enlarge(low)
        seconds.append(time.perf_counter() - begun)
    out = (SIDES[0] * SCALE) ** 2 / 1e6
    network = round(out / min(seconds), 2)
    return [{"system": "SPAN ch48", "megapixels": round(out, 1), "network": network}]
