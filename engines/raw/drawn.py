"""What photographs hold too little of for a network to learn it: wires, letters, edges, stars."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint16]
Floats = NDArray[np.float32]


def sharpened(crop: Pixels, amount: float) -> Pixels:
    """Unsharp mask of 0.7 pixels on (h, w, 3) values: a sharper lens than the photo's."""
    sharp = crop.astype(np.float32)
    soft = cv2.GaussianBlur(sharp, (0, 0), 0.7)
    return np.clip(sharp + np.float32(amount) * (sharp - soft), 0.0, 65535.0).astype(np.uint16)


def drawing(side: int, random: np.random.Generator) -> Pixels:
    """(side, side, 3) sRGB of one kind of drawing, drawn at twice the size and reduced."""
    kind = _KINDS[int(random.integers(len(_KINDS)))]
    big = 2 * side
    slope = random.uniform(-0.5, 0.5, 2).astype(np.float32)
    along = np.linspace(0.0, 1.0, big, dtype=np.float32)
    ramp = 1.0 + slope[0] * along[:, None, None] + slope[1] * along[None, :, None]
    ground = random.uniform(0.02, 0.15, 3) if kind is _stars else random.uniform(0.05, 0.9, 3)
    picture = np.ascontiguousarray(ground.astype(np.float32) * ramp, dtype=np.float32)
    picture = kind(picture.clip(0.0, 1.0), random)
    reduced = cv2.resize(picture.clip(0.0, 1.0), (side, side), interpolation=cv2.INTER_AREA)
    return (reduced * 65535.0).astype(np.uint16)


def _stars(picture: Floats, random: np.random.Generator) -> Floats:
    light = np.zeros_like(picture)
    for _ in range(int(random.integers(5, 60))):
        x, y = random.integers(2, len(picture) - 2, 2)
        bright = np.exp(random.uniform(-2.0, 3.0))
        light[y, x] += (bright * random.uniform(0.6, 1.0, 3)).astype(np.float32)
    return picture + cv2.GaussianBlur(light, (0, 0), float(random.uniform(0.8, 2.2)))


def _wires(picture: Floats, random: np.random.Generator) -> Floats:
    for _ in range(int(random.integers(3, 16))):
        ends = _point(picture, random), _point(picture, random)
        cv2.line(picture, *ends, _ink(random), int(random.integers(1, 6)), cv2.LINE_AA)
    return picture


def _letters(picture: Floats, random: np.random.Generator) -> Floats:
    for _ in range(int(random.integers(2, 9))):
        said = "".join(chr(code) for code in random.integers(33, 127, 12))
        cover = np.zeros(picture.shape[:2], dtype=np.uint8)
        size, width = float(random.uniform(0.4, 1.6)), int(random.integers(1, 4))
        place, face = _point(picture, random), int(random.integers(8))
        cv2.putText(cover, said, place, face, size, 255, width, cv2.LINE_AA)
        share = cover[..., None].astype(np.float32) / np.float32(255.0)
        picture += share * (np.array(_ink(random), dtype=np.float32) - picture)
    return picture


def _leaves(picture: Floats, random: np.random.Generator) -> Floats:
    for _ in range(int(random.integers(20, 160))):
        axes = (len(picture) / 3.0 * random.uniform(0.02, 1.0, 2) ** 2 + 1.0).astype(int)
        turn = float(random.uniform(0.0, 180.0))
        middle, size = _point(picture, random), (int(axes[0]), int(axes[1]))
        cv2.ellipse(picture, middle, size, turn, 0.0, 360.0, _ink(random), -1, cv2.LINE_AA)
    return picture


_KINDS: tuple[Callable[[Floats, np.random.Generator], Floats], ...] = (
    _stars, _wires, _letters, _leaves,
)  # fmt: skip


def _ink(random: np.random.Generator) -> tuple[float, float, float]:
    grey = random.random() < 0.5
    red, green, blue = random.uniform(0.0, 1.0, 3)
    return (red, red, red) if grey else (red, green, blue)


def _point(picture: Floats, random: np.random.Generator) -> tuple[int, int]:
    side = len(picture)
    return int(random.integers(-side // 4, side + side // 4)), int(random.integers(side))
