"""Blind denoising of packed planes: measure, denoise, measure on the pair, denoise anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import cv2
import numpy as np
import torch
from torch import Tensor

from engines.base import Job
from engines.raw.noise.estimate import NoiseEstimate, estimate_pair, estimate_self
from engines.raw.noise.hot import hot_pixels
from engines.raw.noise.white import Whiteness, whiteness
from engines.raw.yond.arch import GuidedResUnet
from engines.raw.yond.layouts import Layout, Packed
from engines.raw.yond.params import CleanParams
from engines.raw.yond.pipeline import Noise, denoise_tiles, noise_level, plan, scattered
from kernels.clipped import unclipped_mean

_FIRST_PASS_SHARE = 0.25
_MANY_TILES = 8  # below it the first pass takes them all
_BELOW_BLACK = 6.0  # read noises; the transform knows nothing below, and noise is not there
_MANY_BELOW = 0.01
_CUT = 3.0  # read noises below black that a sensor's file holds at least
_HEAPED, _MANY_CUT = 2.0, 1e-3  # samples at the floor over those just above; share of all
_MEAN_SIDE = 33  # packed pixels
_WORKED_ON = 0.5  # of strength and confidence, where the noise is not as a sensor leaves it


@dataclass(frozen=True)
class Denoised:
    """What blind denoising found.

    Attributes:
        planes: float32 on the CPU as it was given, 0 at black and 1 at white, not clamped.
        first: the noise as measured on the noisy image alone.
        last: the noise that the result was made with (`first` again where one pass was asked for,
            or where the second measurement could not be trusted).
        passes: passes that counted.
        hot: (n, 3) plane, row and column of the hot pixels that were taken out; (n, 2) row and
            column of a mosaic.
        level: t of the last pass, the share of the stabilised span that one sigma of noise takes.
        notes: plain sentences for the person.
        rows: deviation of the row noise that was taken off before, DN.
        listed: lit photosites of the camera's profile that were taken out before.
        told: the noise was given and not measured.
        neighbours: correlation of the noise of neighbours, about 0 as a sensor leaves it; None
            where it was not measured.
    """

    planes: Tensor
    first: NoiseEstimate
    last: NoiseEstimate
    passes: int
    hot: Tensor
    level: float
    notes: tuple[str, ...]
    rows: float = 0.0
    listed: int = 0
    told: bool = False
    neighbours: float | None = None


def denoise(
    planes: Tensor,
    scale: float,
    network: GuidedResUnet,
    params: CleanParams,
    job: Job,
    clip: float = 1.0,
) -> Denoised:
    """Run one or two passes of YOND over four planes, (4, h, w); see `denoise_picture`."""
    return denoise_picture(planes, Packed(), scale, network, params, job, clip)


def denoise_picture(
    values: Tensor,
    layout: Layout,
    scale: float,
    network: GuidedResUnet,
    params: CleanParams,
    job: Job,
    clip: float = 1.0,
) -> Denoised:
    """Run one or two passes of YOND.

    Args:
        values: float32 on the CPU as `layout` has it, 0 at black, 1 at white, unclamped.
        layout: how stacks of four planes are made of it.
        scale: white minus black in DN.
        network: SNR-Net in evaluation mode.
        params: strength, passes, tile, and K and sigma where the person gave them.
        job: gets progress from 5 to 85 of 100; cancels at every tile.
        clip: level at which the sensor clips, in the units of `values`.
    """
    stacks = layout.measured(values)
    first = estimate_self(stacks, scale, clip)
    if params.K is not None and params.sigma is not None:
        first = first.by_hand(params.K, params.sigma)
    white = Whiteness(None, None)
    if params.K is None and isinstance(layout, Packed):
        white = whiteness(stacks, scale, first, clip)
    strength = params.strength * (1.0 if white.white else _WORKED_ON)
    hot, instead = torch.empty(0, values.ndim, dtype=torch.int64), torch.empty(0)
    if params.hot_pixels and params.strength > 0.0 and layout.photosites:
        hot, instead = _hot(values, layout, stacks, first, scale)
    if len(hot):
        values = values.clone()
        values[tuple(hot.T)] = instead
        stacks = layout.measured(values)
    passes = 1 if params.K is not None else params.passes
    some = [
        (number, tile)
        for number, stack in enumerate(stacks)
        for tile in plan(stack.shape[1], stack.shape[2], params.tile)
    ]
    if len(some) > _MANY_TILES:
        some = scattered(some, _FIRST_PASS_SHARE)
    total = sum(len(plan(*size, params.tile)) for size in layout.sizes(values))
    total += len(some) if passes == 2 else 0
    step = _steps(job, total, 1e-6 * values.numel() / (1 if layout.photosites else 3))
    last = first
    if passes == 2:
        pairs: list[tuple[Tensor, Tensor]] = []
        for number, stack in enumerate(stacks):
            tiles = [tile for of, tile in some if of == number]
            noise = Noise(first.K, first.sigma)
            for tile, clean in denoise_tiles(stack, tiles, network, noise, scale, 1.0, step):
                top, left, bottom, right = tile
                pairs.append((stack[:, top:bottom, left:right], clean))
        last = estimate_pair(pairs, scale, first, clip)
        del pairs
    del stacks
    noise = Noise(last.K, last.sigma)
    level = noise_level(noise, scale)
    notes = list(last.reasons)
    if not white.white:
        last = replace(last, confidence=_WORKED_ON * last.confidence)
        notes.append(white.note)
    least, most = network.trained_range
    if level < least:
        notes.append(
            "There is less noise here than the network was trained on; it may smooth a little"
        )
    if level > most:
        notes.append("There is more noise here than the network was trained on; some may stay")
    if params.strength == 0.0:
        out = values.clone()
        return Denoised(out, first, last, passes, hot, level, tuple(notes), neighbours=white.lag)
    below: list[float] = []
    floor = _floor(values, noise, scale)
    if floor is not None:
        notes.append(
            "This file keeps nothing below black, which lifts its shadows; their mean was set right"
        )

    def cleaned() -> Iterator[Tensor]:
        for planes in layout.worked(values):
            tiles = plan(planes.shape[1], planes.shape[2], params.tile)
            out = torch.empty_like(planes)
            for (top, left, bottom, right), clean in denoise_tiles(
                planes, tiles, network, noise, scale, strength, step
            ):
                out[:, top:bottom, left:right] = clean
            keep_means(planes, out, noise, scale)
            deep = planes < -_BELOW_BLACK * noise.sigma / scale
            out[deep] = planes[deep]
            for plane in out if floor is not None else ():
                light = unclipped_mean(plane * scale, noise.gain, noise.sigma, floor or 0.0)
                torch.div(light, scale, out=plane)
            below.append(float(deep.float().mean()))
            yield out

    out = layout.gathered(cleaned())
    if max(below) > _MANY_BELOW:
        notes.append(
            "Parts of this picture lie below the black level that the file states; "
            "they were left as they are"
        )
    return Denoised(out, first, last, passes, hot, level, tuple(notes), neighbours=white.lag)


def _floor(values: Tensor, noise: Noise, scale: float) -> float | None:
    """Level at which the noise of dark parts is cut off, DN above black; None where it is not."""
    least = float(values.min())
    if not -_CUT * noise.sigma <= least * scale <= 0.5 * noise.sigma:
        return None
    at = int((values <= least).sum())
    near = int((values <= least + max(0.25 * noise.sigma, 1.0) / scale).sum()) - at
    cut = at > max(_HEAPED * near, _MANY_CUT * values.numel())
    return least * scale if cut else None


def _hot(
    values: Tensor, layout: Layout, stacks: list[Tensor], noise: NoiseEstimate, scale: float
) -> tuple[Tensor, Tensor]:
    """(n, dimensions) places of hot pixels in the picture, and (n,) what stands there instead."""
    found = [hot_pixels(stack, noise.K, noise.sigma, scale) for stack in stacks]
    if not any(len(places) for places, _ in found):
        return torch.empty(0, values.ndim, dtype=torch.int64), torch.empty(0)
    numbers = torch.arange(values.numel(), dtype=torch.int32).reshape(values.shape)
    of_picture: dict[int, float] = {}
    for (places, instead), stack in zip(found, layout.measured(numbers), strict=True):
        for number, value in zip(stack[tuple(places.T)].tolist(), instead.tolist(), strict=True):
            of_picture.setdefault(number, value)
    # torch.unravel_index imports sympy: 1.6 s.
    places = np.stack(np.unravel_index(list(of_picture), tuple(values.shape)), axis=1)
    return torch.from_numpy(places), torch.tensor(list(of_picture.values()), dtype=values.dtype)


def _steps(job: Job, total: int, megapixels: float) -> Callable[[], None]:
    """What is called before every one of `total` tiles."""
    begun = perf_counter()
    done = 0

    def step() -> None:
        nonlocal done
        job.check_cancelled()
        rate = megapixels * done / total / (perf_counter() - begun)
        speed = f", {rate:.2g} MP/s" if done else ""
        job.progress(5 + 80 * done / total, 100, f"denoising, tile {done + 1} of {total}{speed}")
        done += 1

    return step


def put_back(
    noisy: Tensor, clean: Tensor, detail: float, colour: float, neutral: Sequence[float]
) -> Tensor:
    """Blend shares of what was removed back in: grain without colour, colour without grain.

    The residual is split into a part that is grey after white balance, one value a cell of the
    mosaic, and the rest; with both shares at 1 the noisy image is back.

    Args:
        noisy: (4, h, w) planes before.
        clean: (4, h, w) planes after.
        detail: share of the grey part, 0 to 1.
        colour: share of the rest, 0 to 1.
        neutral: camera's R, G, B of a grey surface (as-shot neutral), green 1.
    """
    if detail == 0.0 and colour == 0.0:
        return clean
    grey = torch.tensor([neutral[0], neutral[1], neutral[1], neutral[2]]).reshape(4, 1, 1)
    removed = noisy - clean
    common = (removed / grey).mean(dim=0, keepdim=True) * grey
    return clean + detail * common + colour * (removed - common)


def keep_means(noisy: Tensor, clean: Tensor, noise: Noise, scale: float) -> None:
    """Give `clean` the local means of `noisy`, in place.

    Smoothing what the network cannot resolve averages square roots, and the square of their mean
    lies below the mean (by 1 to 2 % where a few electrons carry fine texture). Over windows of a
    thousand pixels the noisy picture's own mean is known to a thirtieth of its noise or better.

    Args:
        noisy: (4, h, w) planes before, 0 at black and 1 at white.
        clean: (4, h, w) planes after.
        noise: K and sigma in DN.
        scale: white minus black in DN.
    """
    for before, after in zip(noisy, clean, strict=True):
        spread = ((after.clamp(min=0.0) * (noise.gain * scale) + noise.sigma**2).sqrt()) / scale
        # What is no noise, such as a hot pixel that was taken out, must not come back as a stain.
        removed = torch.clamp(before - after, -4.0 * spread, 4.0 * spread).numpy()
        for _ in range(2):
            removed = cv2.blur(removed, (_MEAN_SIDE, _MEAN_SIDE), borderType=cv2.BORDER_REFLECT_101)
        after += torch.from_numpy(removed)


def keep_clipped(noisy: Tensor, clean: Tensor, level: float = 0.98) -> Tensor:
    """Pixels at white stay as they are: they hold no noise, and must stay clipped."""
    return torch.where(noisy > level, noisy, clean)
