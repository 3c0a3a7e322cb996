"""`bench raw-mosaics`: every kind of sensor, and the ways in which it can be brought to YOND.

The ten scenes that ship are sampled as a Bayer, an X-Trans, a quad-Bayer, a four-colour (RGBE and
CYGM) and a monochrome sensor would, or given in three colours a pixel, with noise of a Sony A7S II
in digital numbers; once more in three colours as edge-aware demosaicing of the noisy Bayer mosaic
leaves them. The network that ships is told the true K and sigma, so that ways are compared and not
estimates; the way that `raw.yond` takes is run blind too. Wavelet shrinkage (BayesShrink, where
PyWavelets is installed) is told the truth and works on the stacks of planes of `raw.yond`'s way.
PSNR is of the samples themselves, black 0 and white 1; of the demosaiced picture, against the clean
mosaic demosaiced likewise. Last, four pictures of one scene.

STUDIO_BENCH_ONLY="ISO 3200,ISO 25600" names the conditions, STUDIO_BENCH_KINDS=RGBE,CYGM the
kinds.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from engines.base import UserError
from engines.raw.unprocess import decode_srgb
from engines.raw.yond import order
from engines.raw.yond.arch import GuidedResUnet
from engines.raw.yond.denoise import denoise_picture
from engines.raw.yond.layouts import FourColours, Grid, Layout, Packed
from engines.raw.yond.params import YondParams
from engines.raw.yond.phases import Demosaiced, XTrans
from studio.bench.job import BenchJob
from studio.bench.raw_quality import wavelet
from studio.bench.raw_scenes import (
    CONDITIONS,
    EXPOSURE,
    NEUTRAL,
    PHOTOS,
    SCALE,
    Floats,
    add_noise,
)  # fmt: skip

TITLE = "raw.yond on every kind of sensor"
_XTRANS = "GGRGGBGGBGGRBRGRBGGGBGGRGGRGGBRBGBRG"
_QUAD = "RRGGRRGGGGBBGGBB"
_DEFAULT = "ISO 3200,ISO 25600"
_BURST = "four pictures"
_SIZE = 504, 1272  # whole cells of every filter

Way = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class _Known:
    """The network, told the noise."""

    network: GuidedResUnet
    job: BenchJob
    gain: float
    sigma: float

    def stack(self, planes: Tensor) -> Tensor:
        """(4, h, w) denoised."""
        return self.picture(planes, Packed())

    def picture(self, values: Tensor, layout: Layout) -> Tensor:
        """A picture denoised as `layout` has it."""
        told = YondParams(K=self.gain, sigma=self.sigma, hot_pixels=False)
        return denoise_picture(values, layout, SCALE, self.network, told, self.job).planes


def run() -> list[dict[str, Any]]:
    """One row a condition, kind and way: psnr, and K and sigma where they were measured."""
    job = BenchJob()
    network = job.load("yond-snrnet-small").network
    assert isinstance(network, GuidedResUnet)
    light = _sheet()
    wanted = os.environ.get("STUDIO_BENCH_ONLY", _DEFAULT).split(",")
    kinds = [kind for kind in os.environ.get("STUDIO_BENCH_KINDS", "").split(",") if kind]
    rows: list[dict[str, Any]] = []
    for number, (name, gain, sigma) in enumerate(CONDITIONS):
        if name not in wanted:
            continue
        known = _Known(network, job, gain, sigma)
        for kind, clean, noisy, layout, others in _kinds(light, known, number):
            if kinds and kind not in kinds:
                continue
            at = {"condition": name, "kind": kind}
            rows.append(_row(at, "noisy", clean, noisy))
            if find_spec("pywt") is not None:
                smooth = layout.gathered(wavelet(one, gain, sigma) for one in layout.worked(noisy))
                rows.append(_row(at, "wavelet, true noise", clean, smooth))
            rows.append(_row(at, "raw.yond, true noise", clean, known.picture(noisy, layout)))
            done = denoise_picture(noisy, layout, SCALE, network, YondParams(), job)
            found = {"K_found": round(done.last.K, 2), "sigma_found": round(done.last.sigma, 2)}
            rows.append(_row(at, "raw.yond, blind", clean, done.planes) | found)
            rows += [_row(at, f"tried: {way}", clean, made(noisy)) for way, made in others.items()]
        if not kinds or _BURST in kinds:
            rows += _burst(light, known, name, number)
    return rows


def _row(at: dict[str, str], way: str, clean: Floats, found: Tensor) -> dict[str, Any]:
    error = float((found.clamp(0.0, 1.0) - torch.from_numpy(clean)).square().mean())
    row: dict[str, Any] = at | {"way": way, "psnr": round(-10.0 * float(np.log10(error)), 2)}
    sys.stderr.write(f"{row}\n")
    return row


def _kinds(
    light: Floats, known: _Known, seed: int
) -> Iterator[tuple[str, Floats, Tensor, Layout, dict[str, Way]]]:
    """Kind, clean and noisy picture, the layout that `raw.yond` takes, other ways by name."""

    def drawn(clean: Floats) -> Tensor:
        return torch.from_numpy(add_noise(clean, known.gain, known.sigma, seed))

    def grid(*rows_and_columns: Tensor) -> Grid:
        return Grid((rows_and_columns[0], rows_and_columns[1]), _SIZE)

    plain = grid(*order.reflected(_SIZE, "RGGB"))

    def plane_by_plane(values: Tensor) -> Tensor:
        [stack] = plain.measured(values)
        half = (stack.shape[1], stack.shape[2])
        alone = Grid(order.reflected(half, "RGGB"), half)
        return plain.gathered(iter([torch.stack([known.picture(plane, alone) for plane in stack])]))

    bayer = _sampled(light, "RGGB")
    yield "Bayer", bayer, drawn(bayer), plain, {}

    xtrans = XTrans(_XTRANS, *_SIZE)
    clean = _sampled(light, _XTRANS)
    yield (
        "X-Trans",
        clean,
        drawn(clean),
        xtrans,
        {"stacks of touching photosites": lambda values: _through_measured(values, xtrans, known)},
    )

    swapped = grid(*(order.swapped(side, 0) for side in _SIZE))
    clean = _sampled(light, _QUAD)

    def four_bayers(values: Tensor) -> Tensor:
        out = torch.empty_like(values)
        for y in (0, 1):
            for x in (0, 1):
                part = values[y::2, x::2]
                half = (part.shape[0], part.shape[1])
                out[y::2, x::2] = known.picture(part, Grid(order.reflected(half, "RGGB"), half))
        return out

    def colours_alone(values: Tensor) -> Tensor:
        out = torch.empty_like(values)
        for y in (0, 2):
            for x in (0, 2):
                places = [np.s_[y + dy :: 4, x + dx :: 4] for dy in (0, 1) for dx in (0, 1)]
                found = known.stack(torch.stack([values[place] for place in places]))
                for place, plane in zip(places, found, strict=True):
                    out[place] = plane
        return out

    yield "quad-Bayer", clean, drawn(clean), swapped, {
        "four Bayer mosaics of half the size": four_bayers, "each colour alone": colours_alone,
    }  # fmt: skip

    clean = np.ascontiguousarray(light @ np.array([0.5, 0.6, 0.25], np.float32))

    def shifted(values: Tensor) -> Tensor:
        found = [
            known.picture(values.roll((-y, -x), (0, 1)), plain).roll((y, x), (0, 1))
            for y in (0, 1) for x in (0, 1)
        ]  # fmt: skip
        return torch.stack(found).mean(dim=0)

    yield "monochrome", clean, drawn(clean), plain, {"mean of four offsets": shifted}

    four = FourColours(plain)
    direct: dict[str, Way] = {
        "planes as they are": lambda values: known.picture(values, plain),
        "each plane alone": plane_by_plane,
    }
    emerald = 0.35 * light[:, :, 1] + 0.6 * light[:, :, 2]
    clean = _sampled(np.dstack([light, emerald]).astype(np.float32), "RGEB", "RGBE")
    yield "RGBE", clean, drawn(clean), four, direct
    red, green, blue = (light[:, :, channel] for channel in range(3))
    mixed = np.dstack([0.6 * green + 0.5 * blue, 0.5 * red + 0.6 * green, green,
                       0.6 * red + 0.5 * blue])  # fmt: skip
    clean = _sampled(mixed.astype(np.float32), "CYGM", "CYGM")
    yield "CYGM", clean, drawn(clean), four, direct

    def channels_alone(values: Tensor) -> Tensor:
        return torch.stack([known.picture(part, plain) for part in values.unbind(2)], dim=2)

    demosaiced = Demosaiced(*_SIZE)
    ways: dict[str, Way] = {"each channel alone": channels_alone}
    yield "three colours, white noise", light, drawn(light), demosaiced, ways
    noisy = torch.from_numpy(_edge_aware(drawn(bayer).numpy()))
    yield "demosaiced", _edge_aware(bayer), noisy, demosaiced, ways


def _burst(light: Floats, known: _Known, name: str, seed: int) -> list[dict[str, Any]]:
    clean = _sampled(light, "RGGB")
    drawn = [
        torch.from_numpy(add_noise(clean, known.gain, known.sigma, 100 * seed + n))
        for n in range(4)
    ]
    plain = Grid(order.reflected(_SIZE, "RGGB"), _SIZE)
    blind = YondParams()

    def cleaned(values: Tensor) -> Tensor:
        return denoise_picture(values, plain, SCALE, known.network, blind, known.job).planes

    mean = torch.stack(drawn).mean(dim=0)
    at = {"condition": name, "kind": _BURST}
    each = torch.stack([cleaned(one) for one in drawn])
    return [
        _row(at, "noisy mean", clean, mean),
        _row(at, "first, denoised", clean, each[0]),
        _row(at, "mean, denoised", clean, cleaned(mean)),
        _row(at, "tried: mean of denoised", clean, each.mean(dim=0)),
    ]


def _through_measured(values: Tensor, layout: Layout, known: _Known) -> Tensor:
    """Means of what the stacks that noise is measured in say of each photosite."""
    numbers = torch.arange(values.numel()).reshape(values.shape)
    total, count = torch.zeros(values.numel()), torch.zeros(values.numel())
    stacks = zip(layout.measured(values), layout.measured(numbers), strict=True)
    for stack, places in stacks:
        found = known.stack(stack).flatten()
        total.index_add_(0, places.flatten(), found)
        count.index_add_(0, places.flatten(), torch.ones_like(found))
    return (total / count).reshape(values.shape)


def _sheet() -> Floats:
    """(504, 1272, 3) linear camera RGB in [0, 1] of the ten scenes that ship.

    Raises:
        UserError: they are not there.
    """
    files = sorted(PHOTOS.glob("*.png"))
    if not files:
        raise UserError("The photographs of this bench are in tests/data/photos of the repository")
    crops = [np.asarray(Image.open(file).convert("RGB"), np.float32) / 255.0 for file in files]
    rows = [np.concatenate(crops[start : start + 5], axis=1) for start in (0, 5)]
    light = decode_srgb(np.concatenate(rows, axis=0)) * NEUTRAL * np.float32(EXPOSURE)
    return np.ascontiguousarray(light[: _SIZE[0], : _SIZE[1]])


def _sampled(light: Floats, cell: str, colours: str = "RGB") -> Floats:
    side = round(len(cell) ** 0.5)
    numbers = np.array([colours.index(letter) for letter in cell]).reshape(side, side)
    seen = np.tile(numbers, (_SIZE[0] // side, _SIZE[1] // side))
    return np.take_along_axis(light, seen[:, :, None], axis=2)[:, :, 0].astype(np.float32)


def _edge_aware(mosaic: Floats) -> Floats:
    room = 4095.0
    coded = np.clip(np.rint(mosaic * (65535.0 - room) + room), 0, 65535).astype(np.uint16)
    found = cv2.demosaicing(coded, cv2.COLOR_BayerRGGB2RGB_EA).astype(np.float32)
    return (found - np.float32(room)) / np.float32(65535.0 - room)
