"""Sequences of a camera's own noise, cut out of films where these are flat (NegVSR, 3.1).

A window is kept as a sequence if it is flat in every frame, and if its brightness and its noise
stay the same from frame to frame; what is left then is noise, as it comes after the camera and the
encoder were through with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.base import UserError
from engines.media.sound_facts import VIDEO_SUFFIXES
from engines.media.video_read import VideoReader
from engines.superres.degrade.video import encoded
from engines.training.photos import Photo

Levels = NDArray[np.uint8]

SIDE = 64  # of a window, and its stride
_FLAT = 50.0  # variance of a window's luma, in squared levels; it has to be below
_DARKEST = 0.0  # mean of a window's luma; it has to be above
_STEADY = 50.0  # variance over time of variances, and of means, at most
_MOST = 320  # sequences that are kept
_GROUPS = 40  # of frames that are looked at in one film
_SHOT = (320, 448)  # height and width of what is filmed of a photo


def collect(frames: Sequence[Levels]) -> list[Levels]:
    """Windows of a film that are flat and steady.

    Args:
        frames: T of (h, w, 3) RGB.

    Returns:
        (T, 64, 64, 3) each.
    """
    lumas = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) for frame in frames]
    height, width = lumas[0].shape
    found: list[Levels] = []
    for top in range(0, height - SIDE + 1, SIDE):
        for left in range(0, width - SIDE + 1, SIDE):
            place = (slice(top, top + SIDE), slice(left, left + SIDE))
            parts = np.stack([luma[place] for luma in lumas])
            variances, means = parts.var(axis=(1, 2)), parts.mean(axis=(1, 2))
            flat = bool((variances < _FLAT).all() and (means > _DARKEST).all())
            if flat and variances.var() <= _STEADY and means.var() <= _STEADY:
                found.append(np.stack([frame[place] for frame in frames]))
    return found


def library(
    cache: Path, data: Path | None, photos: Sequence[Photo], count: int
) -> NDArray[np.uint8]:
    """Sequences of `count` frames to train with, (N, count, 64, 64, 3), made on the first call.

    They come out of the films in the person's folder; where there are none, out of films that are
    made here: a still photo, the noise of a small sensor, and an encoder.
    """
    films = [] if data is None else sorted(
        path for path in data.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES
    )  # fmt: skip
    named = [f"{path.name}{path.stat().st_size}" for path in films] or [p.name for p in photos]
    kept = cache / f"noise-sequences-{count}-{_key(named)}.npy"
    if not kept.is_file():
        found: list[Levels] = []
        shots = _groups(films, count) if films else _shots(photos, count)
        for shot in shots:
            windows = collect(shot)
            # No single film may give them all.
            found += windows[:: max(len(windows) // 12, 1)][:12]
            if len(found) >= _MOST:
                break
        if not found:
            raise UserError("No film holds a flat, steady place to take noise from; add others")
        partial = kept.with_suffix(".partial.npy")
        np.save(partial, np.stack(found[:_MOST]))
        partial.replace(kept)
    return np.load(kept, mmap_mode="r")


def _key(names: Sequence[str]) -> str:
    from hashlib import sha256

    return sha256("\n".join(names).encode()).hexdigest()[:12]


def _groups(films: Sequence[Path], count: int) -> Iterator[list[Levels]]:
    for path in films:
        with VideoReader(path) as reader:
            held: list[Levels] = []
            for number, frame in enumerate(reader):
                deep = frame.pixels.dtype.itemsize == 2
                held.append((frame.pixels >> (8 if deep else 0)).astype(np.uint8))
                if len(held) == count:
                    yield held
                    held = []
                if number >= _GROUPS * count:
                    break


def _shots(photos: Sequence[Photo], count: int) -> Iterator[list[Levels]]:
    """Still photos, filmed: noise that grows with light, blotchy in colour, then an encoder."""
    random = np.random.default_rng(17)
    for _ in range(3):
        for photo in photos:
            pixels = photo.pixels
            height, width = min(_SHOT[0], pixels.shape[0]), min(_SHOT[1], pixels.shape[1])
            top = int(random.integers(pixels.shape[0] - height + 1))
            left = int(random.integers(pixels.shape[1] - width + 1))
            part = pixels[top : top + height, left : left + width]
            still = part.astype(np.float32) / np.float32(65535.0)
            shot_noise, read_noise = random.uniform(0.0, 8e-4), random.uniform(0.003, 0.03)
            blotch, chroma = random.uniform(0.4, 1.6), random.uniform(0.3, 1.0)
            frames = []
            for _ in range(count):
                deviation = np.sqrt(shot_noise * still + read_noise**2)
                noise = random.standard_normal(still.shape, dtype=np.float32)
                grey = noise.mean(axis=2, keepdims=True) * np.float32(3**0.5)
                coloured = cv2.GaussianBlur(noise, (0, 0), blotch) * np.float32(2.0 * blotch)
                frames.append(still + deviation * (grey + chroma * coloured) / np.float32(2**0.5))
            worn = encoded(frames, random.random() < 0.7, height * width * random.uniform(0.3, 2.0))
            yield [(frame * 255.0).round().astype(np.uint8) for frame in worn]
