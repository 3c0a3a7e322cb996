"""`bench raw-speed`: one RAW file from reading to writing, beside other converters.

The file is made here: a Bayer DNG of 24 megapixels with photographs tiled over it, as soft as a
lens leaves them, the noise of a Sony A7S II at ISO 12800, two stops under-exposed. `raw.yond` runs
as anybody's command does, blindly, and once at strength 0, which reads, measures and writes alone;
`cpu_seconds_beyond` is what a setting takes more. `raw.noiser` denoises and brightens. Seconds and
CPU-seconds are those of whole processes. Where darktable or RawTherapee are installed, each
develops the file plainly and with its own noise reduction, and our DNG plainly: PSNR against the
noise-free file developed plainly by the same converter.

darktable has no noise profile of this camera and takes a general one, so it runs once more with the
noise that the file has. Its own profiles are of demosaiced pictures and lie far below a sensor's
line, so the line is told at the share of it that measured best here (of 0.01, 0.03, 0.1, 0.3, 1).

The first rows are the network alone in this process, FLOP/s beside those of a large matrix product.
STUDIO_BENCH_MEGAPIXELS=24,100 names the sizes; other converters run on the first alone.
STUDIO_BENCH_CONVERTERS=RawTherapee names those to run, 0 none; STUDIO_BENCH_SETTINGS="strength 0;
best, 2 passes" names those of ours, the first of them "strength 0".
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import tifffile

from studio.bench.raw_cost import BEST, FAST, FIRST_PASS, flops_a_pixel
from studio.bench.raw_peers import (
    PROGRAMS,
    Cost,
    Picture,
    modes,
    psnr,
    read_picture,
    there,
    timed,
)
from studio.bench.raw_scenes import BLACK, CONDITIONS, SCALE, WHITE, Floats, clean_sheet

TITLE = "One 24-megapixel RAW file"
ISO, STOPS = 12800, 2.0
GAIN, SIGMA = next((k, s) for name, k, s in CONDITIONS if name == f"ISO {ISO}")
_SOFT = 0.6  # packed pixels, spread of what the scenes are blurred with
_WAVELETS, _NON_LOCAL = 0.03, 0.1  # see above


@dataclass(frozen=True)
class Setting:
    """A command: an engine, its parameters, and passes of which network (width, levels)."""

    params: dict[str, str]
    engine: str = "raw.yond"
    network: tuple[int, int] | None = None
    passes: float = 1.0 + FIRST_PASS


SETTINGS: dict[str, Setting] = {
    "strength 0": Setting({"strength": "0", "passes": "1", "quality": "fast"}),
    "fast, 1 pass": Setting({"passes": "1", "quality": "fast"}, network=FAST, passes=1.0),
    "fast, 2 passes": Setting({"quality": "fast"}, network=FAST),
    "best, 1 pass": Setting({"passes": "1"}, network=BEST, passes=1.0),
    "best, 2 passes": Setting({}, network=BEST),
    "raw.noiser, fast": Setting({"cleaner": "fast"}, "raw.noiser"),
    "raw.noiser": Setting({}, "raw.noiser"),
}


def run() -> list[dict[str, Any]]:
    """One row a setting, ours first."""
    sizes = [float(one) for one in os.environ.get("STUDIO_BENCH_MEGAPIXELS", "24").split(",")]
    rows = list(network_rows())
    for number, size in enumerate(sizes):
        height = round((size * 1e6 / 1.5) ** 0.5 / 2) * 2
        with TemporaryDirectory() as folder:
            rows += _size(Path(folder), height * 3 // 2, height, peers=number == 0)
    return rows


def _size(folder: Path, width: int, height: int, *, peers: bool) -> Iterator[dict[str, Any]]:
    noisy = folder / "noisy.dng"
    write_sample(noisy, width, height)
    megapixels = round(width * height / 1e6, 1)
    ours: dict[str, Path] = {}
    wanted = [one for one in os.environ.get("STUDIO_BENCH_SETTINGS", "").split(";") if one]
    base = 0.0
    _ours(noisy, folder / "warm", SETTINGS["strength 0"])  # what a first run finds on disk
    for name, setting in SETTINGS.items():
        if wanted and name not in wanted:
            continue
        out = folder / name.replace(" ", "-").replace(",", "")
        cost = _ours(noisy, out, setting)
        base = base or cost.cpu_seconds
        if setting.network:
            ours[name] = next(out.glob("*.dng"))
        row = {"cpu_seconds_beyond": round(cost.cpu_seconds - base, 1)}
        if setting.network:
            flops = setting.passes * flops_a_pixel(*setting.network)
            row["kflop_a_packed_pixel"] = round(flops / 1e3, 1)
        yield {"megapixels": megapixels, "setting": name, **_costs(cost), **row}
    only = os.environ.get("STUDIO_BENCH_CONVERTERS", ",".join(PROGRAMS)).split(",")
    if not peers or only == ["0"]:
        return
    clean = folder / "clean.dng"
    write_sample(clean, width, height, noise=False)
    for converter in PROGRAMS:
        if converter not in only:
            continue
        if not there(converter):
            sys.stderr.write(f"{converter} is left out: it is not installed\n")
            continue
        ways = modes(converter, *(_line(share) for share in (_WAVELETS, _NON_LOCAL)))
        truth, _ = _developed(ways["plain"], clean, folder)
        base = 0.0
        for name, develop in ways.items():
            picture, cost = _developed(develop, noisy, folder)
            base = base or cost.cpu_seconds
            yield {
                "megapixels": megapixels, "setting": f"{converter}, {name}", **_costs(cost),
                "cpu_seconds_beyond": round(cost.cpu_seconds - base, 1),
                "psnr": round(psnr(picture, truth), 2),
            }  # fmt: skip
        for name, path in ours.items():
            picture, _ = _developed(ways["plain"], path, folder)
            yield {
                "megapixels": megapixels, "setting": f"{converter} on {name}",
                "psnr": round(psnr(picture, truth), 2),
            }  # fmt: skip


def _line(share: float) -> tuple[float, float]:
    """The file's noise as darktable is told it, at a share of it."""
    return share * GAIN / SCALE, SIGMA**2 / (GAIN * SCALE)


def _ours(source: Path, out: Path, setting: Setting) -> Cost:
    out.mkdir()
    params = {"profile": "none"} if setting.engine == "raw.yond" else {}
    params |= setting.params
    options = [word for name, value in params.items() for word in ("--param", f"{name}={value}")]
    command = [
        sys.executable, "-m", "studio.cli", "run", setting.engine, str(source), "--out", str(out),
        *options,
    ]  # fmt: skip
    return timed(command, out / "log")


def _developed(
    develop: Callable[[Path, Path], Cost], source: Path, folder: Path
) -> tuple[Picture, Cost]:
    target = folder / "developed.tif"
    target.unlink(missing_ok=True)
    cost = develop(source, target)
    return read_picture(target), cost


def _costs(cost: Cost) -> dict[str, float]:
    return {
        "seconds": round(cost.seconds, 1),
        "cpu_seconds": round(cost.cpu_seconds, 1),
        "peak_mb": round(cost.peak_mb),
    }


def network_rows() -> Iterator[dict[str, Any]]:
    """The network on one tile: GFLOP/s in float32 and bfloat16, and of a matrix product."""
    import torch

    from engines.raw.yond.folded import Folded
    from kernels.precision import fast_bfloat16
    from studio.bench.job import BenchJob

    kinds = [torch.float32]
    if fast_bfloat16(torch.device("cpu")):
        kinds.append(torch.bfloat16)
    side = 768
    for name in ("yond-snrnet-small", "yond-snrnet"):
        network = BenchJob().load(name).network
        flops = side**2 * flops_a_pixel(network.conv_in.out_channels, network.levels)
        for kind in kinds:
            folded = Folded(network, torch.tensor([0.01]), torch.tensor(1.0), kind)
            x = torch.rand(1, 4, side, side).contiguous(memory_format=torch.channels_last)
            with torch.inference_mode():
                rate = flops / _least(lambda f=folded, x=x: f(x)) / 1e9
            product = _matmul(kind)
            yield {
                "setting": f"{name} alone, {str(kind).removeprefix('torch.')}",
                "gflops": round(rate, 1), "matmul_gflops": round(product, 1),
                "share_%": round(100.0 * rate / product), "cores": torch.get_num_threads(),
            }  # fmt: skip


def _least(work: Callable[[], Any], times: int = 5) -> float:
    work()
    found: list[float] = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return min(found)


def write_sample(path: Path, width: int, height: int, *, noise: bool = True) -> None:
    """An RGGB DNG of any size, made of the bench's photographs side by side; a Sony A7S II's."""
    sheet = _soft(clean_sheet() * np.float32(2.0**-STOPS))
    rows, columns = -(-height // sheet.shape[0]), -(-width // sheet.shape[1])
    clean = np.tile(sheet, (rows, columns))[:height, :width]
    random = np.random.default_rng(1)
    mosaic = np.empty((height, width), dtype=np.uint16)
    for top in range(0, height, 256):
        part = clean[top : top + 256].astype(np.float64) * SCALE
        if noise:
            part = GAIN * random.poisson(part / GAIN) + random.normal(0.0, SIGMA, part.shape)
        mosaic[top : top + 256] = np.clip(np.round(BLACK + part), 0, WHITE).astype(np.uint16)
    matrix = (5838, -1430, -246, -3497, 11477, 2297, -748, 1885, 5778)  # the camera's, x 10000
    flat = [number for value in matrix for number in (value, 10_000)]
    tifffile.imwrite(
        path,
        mosaic,
        photometric="cfa",
        metadata=None,
        extratags=[
            (271, 2, 0, "SONY", True), (272, 2, 0, "ILCE-7SM2", True),
            (33421, 3, 2, (2, 2), True), (33422, 1, 4, b"\x00\x01\x01\x02", True),
            (34855, 3, 1, (ISO,), True),
            (50706, 1, 4, b"\x01\x04\x00\x00", True), (50707, 1, 4, b"\x01\x01\x00\x00", True),
            (50708, 2, 0, "Sony ILCE-7SM2", True), (50713, 3, 2, (1, 1), True),
            (50714, 3, 1, (int(BLACK),), True), (50717, 4, 1, (int(WHITE),), True),
            (50721, 10, 9, flat, True), (50728, 5, 3, (48, 100, 1, 1, 62, 100), True),
            (50778, 3, 1, (21,), True),
        ],
    )  # fmt: skip


def _soft(mosaic: Floats) -> Floats:
    """A mosaic whose planes are blurred, as by a lens."""
    out = np.empty_like(mosaic)
    for y in (0, 1):
        for x in (0, 1):
            plane = np.ascontiguousarray(mosaic[y::2, x::2])
            out[y::2, x::2] = cv2.GaussianBlur(plane, (0, 0), _SOFT)
    return out


def _matmul(kind: Any, side: int = 2048) -> float:
    """GFLOP/s of a matrix product in this process."""
    import torch

    a = torch.rand(side, side).to(kind)
    out = a @ a
    return 2 * side**3 / _least(lambda: torch.mm(a, a, out=out)) / 1e9
