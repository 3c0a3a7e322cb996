"""Clips to train on, filmed in photographs: the camera pans, zooms, turns and shakes.

In half of them something nearer, cut out of another photo, moves faster than what is behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.superres.photos import Crops

Picture = NDArray[np.float32]  # (h, w, 3) in 0..1

_ROOM = 1.5  # a photo's crop over the side of a frame
_FAST = 7.0  # pixels a frame that a camera pans in the mean of the fast ones
_STILL = 0.12  # share of cameras that only shake
_SHAKE = 0.5  # pixels, from frame to frame
_NEAR = 0.5  # share of clips with something nearer


@dataclass
class _Camera:
    """Where a camera looks; the place of its middle, and how that changes a frame."""

    place: NDArray[np.float64]
    speed: NDArray[np.float64]
    zoom: float
    zooming: float
    angle: float
    turning: float

    @classmethod
    def draw(cls, random: np.random.Generator, side: int) -> _Camera:
        heading = random.uniform(0.0, 2.0 * np.pi)
        pace = 0.0 if random.random() < _STILL else random.gamma(1.5, _FAST / 1.5)
        pace = min(pace, side / 12.0)
        return cls(
            place=np.full(2, side * _ROOM / 2.0) + random.uniform(-0.1, 0.1, 2) * side,
            speed=pace * np.array([np.cos(heading), np.sin(heading)]),
            zoom=random.uniform(1.0, 1.3),
            zooming=random.normal(0.0, 0.004),
            angle=random.normal(0.0, 0.1),
            turning=random.normal(0.0, 0.006),
        )

    def matrix(self, side: int) -> NDArray[np.float64]:
        """(2, 3) from a pixel of the frame to the place in the crop."""
        turn = self.zoom * np.array([
            [np.cos(self.angle), -np.sin(self.angle)], [np.sin(self.angle), np.cos(self.angle)],
        ])  # fmt: skip
        middle = np.full(2, (side - 1) / 2.0)
        return np.column_stack([turn, self.place - turn @ middle])

    def move(self, random: np.random.Generator) -> None:
        self.speed += random.normal(0.0, 0.15, 2)
        self.place += self.speed + random.normal(0.0, _SHAKE, 2)
        self.zoom = float(np.clip(self.zoom * (1.0 + self.zooming), 0.95, 1.5))
        self.angle += self.turning


def filmed(
    far: Picture, near: Picture | None, count: int, side: int, random: np.random.Generator
) -> list[Picture]:
    """`count` frames of (side, side, 3) out of crops half as large again; `near` covers a part."""
    camera = _Camera.draw(random, side)
    other, mask = None, None
    if near is not None:
        mask = _blob(near.shape[0], random)
        other = _Camera.draw(random, side)
        other.speed += camera.speed * random.uniform(1.0, 2.0)
    # Half way along, the camera is where it was drawn, so that it looks past no edge for long.
    for one in (camera, other):
        if one is not None:
            one.place -= one.speed * (count - 1) / 2.0
    frames: list[Picture] = []
    for _ in range(count):
        frame = _seen(far, camera, side)
        if near is not None and mask is not None and other is not None:
            share = _seen(mask, other, side)[:, :, None]
            frame = frame + share * (_seen(near, other, side) - frame)
            other.move(random)
        camera.move(random)
        frames.append(frame.clip(0.0, 1.0))
    return frames


def _seen(picture: Picture, camera: _Camera, side: int) -> Picture:
    found = cv2.warpAffine(
        picture, camera.matrix(side), (side, side),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT_101,
    )  # fmt: skip
    return np.asarray(found, dtype=np.float32)


def _blob(side: int, random: np.random.Generator) -> Picture:
    """(side, side) shares in 0..1 of a few round shapes with an edge of two pixels."""
    coarse = random.standard_normal((side, side), dtype=np.float32)
    smooth = cv2.GaussianBlur(coarse, (0, 0), side / random.uniform(8.0, 20.0))
    smooth = (smooth - np.quantile(smooth, random.uniform(0.6, 0.85))) / (np.ptp(smooth) + 1e-6)
    slope = float(np.abs(np.gradient(smooth)[0]).mean()) + 1e-6
    return (0.5 + smooth / (4.0 * slope)).clip(0.0, 1.0).astype(np.float32)


class Clips:
    """Clips out of training photos, and fixed ones out of photos kept out of training.

    Args:
        cache: folder for downloads and reduced photos.
        data: a folder of the user's own photos instead of the packages.
        side: height and width of a frame.
        count: frames.

    Raises:
        UserError: there is no photo to be had.
    """

    def __init__(self, cache: Path, data: Path | None, side: int, count: int) -> None:
        self.crops = Crops(cache, data, round(side * _ROOM))
        self._side, self._count = side, count

    def draw(self, random: np.random.Generator) -> list[Picture]:
        """(side, side, 3) frames of one clip."""
        near = random.random() < _NEAR
        crops = _pictures(self.crops.draw(random, 2 if near else 1))
        return filmed(crops[0], crops[1] if near else None, self._count, self._side, random)

    def held(self, number: int, side: int, count: int) -> list[list[Picture]]:
        """`number` clips of photos kept out of training, always the same."""
        crops = _pictures(self.crops.held(2 * number, round(side * _ROOM)))
        random = np.random.default_rng(7)
        return [
            filmed(crops[at], crops[number + at] if at % 2 else None, count, side, random)
            for at in range(number)
        ]


def _pictures(crops: Tensor) -> list[Picture]:
    return [np.ascontiguousarray(one.permute(1, 2, 0).numpy()) for one in crops]


def tensor(clip: list[Picture]) -> Tensor:
    """(T, 3, h, w) of frames."""
    return torch.from_numpy(np.stack(clip)).permute(0, 3, 1, 2).contiguous()
