"""Lettering, pen strokes and plain shapes laid over crops of photographs.

The photographs of the training set are landscapes and plants. Signs, scans, handwriting and
machines have what those lack: long clean edges and thin strokes on an even ground. A network that
never saw them leaves half of what it could win there (`bench superres`, the three crops with
writing). Each drawing is made three times as large and reduced by area, then softened as a lens
would, so that its edges are as sharp as those of a photograph and no sharper.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from engines.training.packages import fetch

PACKAGES: dict[str, str] = {
    "fonts-breip": "OFL-1.1",
    "fonts-bwht": "CC0-1.0",
    "fonts-comic-neue": "OFL-1.1",
    "fonts-dancingscript": "OFL-1.1",
    "fonts-dejavu-core": "Bitstream Vera, public domain",
    "fonts-dkg-handwriting": "OFL-1.1",
    "fonts-ecolier-court": "OFL-1.1",
    "fonts-kaushanscript": "OFL-1.1",
    "fonts-kristi": "OFL-1.1",
    "fonts-liberation": "OFL-1.1",
    "fonts-linuxlibertine": "GPL-2+ with font exception, OFL-1.1",
    "fonts-lobstertwo": "OFL-1.1",
    "fonts-motoya-l-cedar": "Apache-2.0",
    "fonts-roboto-slab": "Apache-2.0",
    "fonts-wqy-microhei": "Apache-2.0, GPL-3 with font exception",
}
DATA = "drawn over some crops: lettering in the fonts of the Debian packages " + ", ".join(
    f"{name} ({licence})" for name, licence in PACKAGES.items()
)  # for model cards
_FACES = {".ttf", ".otf", ".ttc"}
_EASTERN = ("wqy", "motoya", "mtl")  # faces with Chinese or Japanese characters
_OVER = 3  # a drawing is made this many times as large
_LETTERS = "eeeettaaooiinnsshhrrddlluuccmmwwffggyyppbbvvkkjjxxqqzz"

Crop = NDArray[np.float32]
_Colour = NDArray[np.float32]


def faces(cache: Path) -> list[Path]:
    """Files of fonts in a fixed order; their packages are fetched on the first call.

    Raises:
        UserError: a package cannot be fetched.
    """
    return sorted(
        file
        for package in PACKAGES
        for file in fetch(package, cache / "packages").rglob("*")
        if file.suffix.lower() in _FACES and file.is_file() and not file.is_symlink()
    )


class Drawings:
    """Draws over crops.

    Args:
        faces: files of fonts; without any, Pillow's own is used.
    """

    def __init__(self, faces: Sequence[Path]) -> None:
        self._faces = list(faces)

    def over(self, crop: Crop, random: np.random.Generator) -> Crop:
        """A crop with lettering, strokes, shapes or several of them, most often on a ground.

        Args:
            crop: (H, W, 3) float32 RGB in 0..1; it is not changed.
            random: every choice comes from it.

        Returns:
            (H, W, 3) float32 RGB in 0..1.
        """
        side = crop.shape[:2]
        picture = crop.copy()
        if random.random() < 0.7:
            picture = _laid(picture, _area(side, random), _ground(crop, random))
        ink = _ink(picture, random)
        chosen = random.random(3) < (0.75, 0.3, 0.35)
        chosen[0] |= not chosen.any()
        for draw, wanted in zip((self._lettering, _strokes, _shapes), chosen, strict=True):
            if wanted:
                picture = _laid(picture, draw(side, random), ink + _shift(random, 0.04))
                if random.random() < 0.4:
                    ink = _ink(picture, random)
        softness = float(random.uniform(0.0, 0.8))
        if softness > 0.2:
            picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), softness), dtype=np.float32)
        return picture.clip(0.0, 1.0)

    def _lettering(self, side: tuple[int, int], random: np.random.Generator) -> Crop:
        """A few lines in one face, turned and slanted; (H, W) of 0..1."""
        height, width = (_OVER * length for length in side)
        size = float(np.exp(random.uniform(np.log(7.0), np.log(64.0)))) * _OVER
        face, eastern = self._face(round(size), random)
        canvas = Image.new("L", (width, height), 0)
        pen = ImageDraw.Draw(canvas)
        weight = int(random.integers(1, 3)) * _OVER // 2 if random.random() < 0.15 else 0
        spacing = size * float(random.uniform(1.0, 1.7))
        y = float(random.uniform(-0.5, 0.5)) * size
        while y < height:
            line = _line(random, round(1.5 * width / size) + 2, eastern)
            x = float(random.uniform(-0.3, 0.5)) * width
            pen.text((x, y), line, fill=255, font=face, stroke_width=weight)
            y += spacing
        return _reduced(_turned(np.asarray(canvas), random), side)

    def _face(
        self, size: int, random: np.random.Generator
    ) -> tuple[ImageFont.FreeTypeFont | ImageFont.ImageFont, bool]:
        if not self._faces:
            return ImageFont.load_default(size), False
        file = self._faces[int(random.integers(len(self._faces)))]
        eastern = any(mark in file.name.lower() for mark in _EASTERN)
        return ImageFont.truetype(str(file), size), eastern and random.random() < 0.8


def _line(random: np.random.Generator, length: int, eastern: bool) -> str:
    """About `length` characters of words without a meaning."""
    if eastern:
        kana = random.integers(0x3042, 0x30F0, length)
        ideographs = random.integers(0x4E00, 0x9000, length)
        chosen = np.where(random.random(length) < 0.4, kana, ideographs)
        return "".join(chr(int(code)) for code in chosen)
    style = int(random.integers(4))
    words: list[str] = []
    while sum(map(len, words)) < length:
        if random.random() < 0.15:
            words.append(str(int(random.integers(10_000))))
            continue
        word = "".join(random.choice(list(_LETTERS), int(random.integers(1, 10))))
        words.append(word.upper() if style == 0 else word.capitalize() if style == 1 else word)
    return " ".join(words)


def _strokes(side: tuple[int, int], random: np.random.Generator) -> Crop:
    """Smooth curves of a pen or a wire; (H, W) of 0..1."""
    canvas = np.zeros((_OVER * side[0], _OVER * side[1]), np.uint8)
    for _ in range(int(random.integers(1, 9))):
        corners = random.uniform(-0.1, 1.1, (int(random.integers(3, 6)), 2)) * _OVER * min(side)
        at = np.linspace(0.0, 1.0, 60)
        points = np.zeros((60, 2))
        for index, corner in enumerate(corners):  # Bernstein's polynomials
            degree = len(corners) - 1
            share = float(np.prod(np.arange(degree, degree - index, -1, dtype=float)))
            share /= float(np.prod(np.arange(1, index + 1, dtype=float)))
            points += share * (at**index * (1.0 - at) ** (degree - index))[:, None] * corner
        thick = max(round(float(np.exp(random.uniform(0.0, np.log(7.0)))) * _OVER * 0.8), 1)
        line = np.round(points).astype(np.int32)[:, None]
        cv2.polylines(canvas, [line], isClosed=False, color=255, thickness=thick)
    return _reduced(canvas, side)


def _shapes(side: tuple[int, int], random: np.random.Generator) -> Crop:
    """Rings, boxes, bars and rows of them, filled or in outline; (H, W) of 0..1."""
    canvas = np.zeros((_OVER * side[0], _OVER * side[1]), np.uint8)
    big = _OVER * min(side)
    size = random.uniform(0.03, 0.35, 2) * big
    turn = float(random.uniform(0.0, 180.0))
    begin, step = random.uniform(0.0, 1.0, 2) * big, random.uniform(-0.4, 0.4, 2) * big
    thick = -1 if random.random() < 0.4 else max(round(float(random.uniform(0.6, 6.0)) * _OVER), 1)
    ellipse = random.random() < 0.5
    for number in range(int(random.integers(1, 12))):
        centre = begin + number * step
        if ellipse:
            middle = (round(float(centre[0])), round(float(centre[1])))
            axes = (round(float(size[0])) + 1, round(float(size[1])) + 1)
            cv2.ellipse(canvas, middle, axes, turn, 0, 360, 255, thick)
            continue
        box = cv2.boxPoints((tuple(centre), tuple(size * 2.0), turn))
        outline = np.round(box).astype(np.int32)[:, None]
        if thick < 0:
            cv2.fillPoly(canvas, [outline], 255)
        else:
            cv2.polylines(canvas, [outline], isClosed=True, color=255, thickness=thick)
    return _reduced(canvas, side)


def _area(side: tuple[int, int], random: np.random.Generator) -> Crop:
    """The place of a sign or a sheet: everything, or a turned box; (H, W) of 0..1."""
    if random.random() < 0.5:
        return np.ones(side, np.float32)
    canvas = np.zeros((_OVER * side[0], _OVER * side[1]), np.uint8)
    centre = random.uniform(0.2, 0.8, 2) * canvas.shape[::-1]
    size = random.uniform(0.4, 1.4, 2) * min(canvas.shape)
    turn = float(random.normal(0.0, 12.0))
    box = cv2.boxPoints((tuple(centre), tuple(size), turn))
    cv2.fillPoly(canvas, [np.round(box).astype(np.int32)[:, None]], 255)
    return _reduced(canvas, side)


def _ground(crop: Crop, random: np.random.Generator) -> Crop:
    """An even colour with light that falls off and a trace of the photo's texture; (H, W, 3)."""
    height, width = crop.shape[:2]
    colour = _colour(random)
    slope = random.normal(0.0, 0.12, 2)
    rows, columns = np.linspace(-1.0, 1.0, height), np.linspace(-1.0, 1.0, width)
    light = 1.0 + slope[0] * rows[:, None] + slope[1] * columns[None]
    texture = crop - crop.mean(axis=(0, 1))
    share = float(random.choice([0.0, 0.05, 0.2]))
    return np.asarray(colour * light[:, :, None] + share * texture, dtype=np.float32)


def _colour(random: np.random.Generator) -> _Colour:
    """(3,) RGB; as often gray as coloured."""
    level = float(random.uniform(0.0, 1.0))
    spread = 0.03 if random.random() < 0.5 else 0.3
    return np.asarray(level + random.normal(0.0, spread, 3), dtype=np.float32).clip(0.0, 1.0)


def _ink(picture: Crop, random: np.random.Generator) -> _Colour:
    """(3,) RGB that stands off from the picture's mean."""
    mean = float(picture.mean())
    ink = _colour(random)
    while abs(float(ink.mean()) - mean) < 0.15:
        ink = _colour(random)
    return ink


def _shift(random: np.random.Generator, spread: float) -> _Colour:
    return np.asarray(random.normal(0.0, spread, 3), dtype=np.float32)


def _laid(picture: Crop, mask: Crop, colour: NDArray[np.float32]) -> Crop:
    return np.asarray(picture + mask[:, :, None] * (colour - picture), dtype=np.float32)


def _turned(canvas: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Turned about its middle and seen from aside, most often a little."""
    if random.random() < 0.3:
        return canvas
    height, width = canvas.shape
    turn = float(random.normal(0.0, 10.0)) if random.random() < 0.8 else random.uniform(0.0, 360.0)
    matrix = cv2.getRotationMatrix2D((width / 2.0, height / 2.0), turn, 1.0)
    matrix[0, 1] += float(random.normal(0.0, 0.15))
    warped = cv2.warpAffine(canvas, matrix, (width, height), flags=cv2.INTER_LINEAR)
    return np.asarray(warped, dtype=np.uint8)


def _reduced(canvas: NDArray[np.uint8], side: tuple[int, int]) -> Crop:
    small = cv2.resize(canvas, (side[1], side[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.float32) / np.float32(255.0)
