"""`bench raw-speed`: one 24-megapixel RAW file from reading to writing.

The file is made here: a Bayer DNG of 6000 by 4000 with photographs tiled over it, K 4 and sigma 12,
two stops under-exposed. `raw.yond` runs in a worker process as for anybody, with its defaults, and
then with one pass. Beside the seconds stands what a large float32 matrix product reaches on this
machine, since speed says little without it.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tifffile

from studio.bench.raw_scenes import BLACK, SCALE, WHITE, clean_sheet
from studio.config import Settings
from studio.jobs.service import LOCAL, Studio

TITLE = "One 24-megapixel RAW file"
WIDTH, HEIGHT = 6000, 4000
GAIN, SIGMA, STOPS = 4.0, 12.0, 2.0


def run() -> list[dict[str, Any]]:
    """One row a setting: seconds, megapixels a second, peak memory, and the machine's matmul."""
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory() as folder:
        home = Path(folder)
        source = home / "24mp.dng"
        write_sample(source, WIDTH, HEIGHT)
        studio = Studio(Settings(home=home))
        studio.start()
        try:
            session = studio.new_session(LOCAL)
            for name, params in (("2 passes (default)", {}), ("1 pass", {"passes": 1})):
                ids = studio.submit(LOCAL, session.id, "raw.yond", [[source]], params, source="cli")
                [job] = studio.wait(LOCAL, ids)
                if job.state != "done" or job.seconds is None:
                    raise RuntimeError(job.error)
                rows.append(
                    {
                        "setting": name,
                        "seconds": round(job.seconds, 1),
                        "megapixels_per_second": round(WIDTH * HEIGHT / 1e6 / job.seconds, 2),
                        "peak_mb": round(job.peak_mb or 0.0),
                        "K": round(job.measurements["K"][0], 3),
                        "sigma": round(job.measurements["sigma"][0], 2),
                        "matmul_gflops": round(_matmul(), 1),
                        "cores": os.cpu_count(),
                    }
                )
        finally:
            studio.stop()
    return rows


def write_sample(path: Path, width: int, height: int) -> None:
    """A noisy RGGB DNG of any size, made of the bench's photographs side by side."""
    sheet = clean_sheet() * np.float32(2.0**-STOPS)
    rows, columns = -(-height // sheet.shape[0]), -(-width // sheet.shape[1])
    clean = np.tile(sheet, (rows, columns))[:height, :width]
    random = np.random.default_rng(1)
    mosaic = np.empty((height, width), dtype=np.uint16)
    for top in range(0, height, 256):
        part = clean[top : top + 256]
        noisy = BLACK + GAIN * random.poisson(part.astype(np.float64) * SCALE / GAIN)
        noisy += random.normal(0.0, SIGMA, part.shape)
        mosaic[top : top + 256] = np.clip(np.round(noisy), 0, WHITE).astype(np.uint16)
    matrix = (6446, -366, -864, -4436, 12204, 2513, -952, 2496, 6348)  # a Canon's, x 10000
    flat = [number for value in matrix for number in (value, 10_000)]
    tifffile.imwrite(
        path,
        mosaic,
        photometric="cfa",
        metadata=None,
        extratags=[
            (33421, 3, 2, (2, 2), True), (33422, 1, 4, b"\x00\x01\x01\x02", True),
            (50706, 1, 4, b"\x01\x04\x00\x00", True), (50707, 1, 4, b"\x01\x01\x00\x00", True),
            (50708, 2, 0, "Noise Studio bench", True), (50713, 3, 2, (1, 1), True),
            (50714, 3, 1, (int(BLACK),), True), (50717, 4, 1, (int(WHITE),), True),
            (50721, 10, 9, flat, True), (50728, 5, 3, (48, 100, 1, 1, 62, 100), True),
            (50778, 3, 1, (21,), True),
        ],
    )  # fmt: skip


def _matmul(side: int = 2048) -> float:
    """GFLOP/s of a float32 matrix product in this process."""
    import torch

    a = torch.rand(side, side)
    out = a @ a
    begun = time.perf_counter()
    for _ in range(5):
        torch.mm(a, a, out=out)
    return 5 * 2 * side**3 / (time.perf_counter() - begun) / 1e9
