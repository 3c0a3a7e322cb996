"""Sharp crops of photographs, for training and for validation; training draws over some of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.base import UserError
from engines.superres import drawn
from engines.training import photos as photographs
from engines.training.photos import photos, sharp_places

DATA = f"{photographs.DATA}; {drawn.DATA}"  # for model cards
HELD_OUT = ("wallpapers-Path", "Lichen-Branches", "Bridge_by", "wallpapers-Grey")
# Further reduction of a photo, share of crops: most photos are softer than a sharp lens.
_ZOOMS = ((1.0, 0.40), (1.5, 0.25), (2.0, 0.20), (3.0, 0.15))
_DRAWN = 0.4  # share of crops with lettering, strokes or shapes over them


class Crops:
    """Crops of training photos, and fixed ones of photos kept out of training.

    Args:
        cache: folder for downloads and reduced photos.
        data: a folder of the user's own photos instead of the packages; lettering then is in
            Pillow's own face.
        side: height and width of a crop.

    Raises:
        UserError: there is no photo to be had, or none that is large enough.
    """

    def __init__(self, cache: Path, data: Path | None, side: int) -> None:
        found = [one for one in photos(cache, data) if min(one.pixels.shape[:2]) > side]
        if not found:
            raise UserError(
                f"No photo is larger than {side} pixels once it is reduced; give larger ones"
            )
        held = [photo for photo in found if any(mark in photo.name for mark in HELD_OUT)]
        self._held = held or found[:: max(len(found) // 4, 1)][:4]
        self._photos = [photo for photo in found if photo not in self._held] or found
        self._places = [sharp_places(photo, side) for photo in self._photos]
        areas = np.array([p.pixels.shape[0] * p.pixels.shape[1] for p in self._photos])
        self._shares = np.sqrt(areas) / np.sqrt(areas).sum()
        self._side = side
        self._drawings = drawn.Drawings(drawn.faces(cache) if data is None else ())

    def draw(self, random: np.random.Generator, count: int) -> Tensor:
        """(count, 3, side, side) float32 RGB in 0..1, turned and mirrored at random."""
        chosen = random.choice(len(self._photos), size=count, p=self._shares)
        return torch.stack([self._crop(random, int(index)) for index in chosen])

    def held(self, count: int, side: int) -> Tensor:
        """(count, 3, side, side) of photos kept out of training, always the same."""
        random = np.random.default_rng(5)
        crops: list[Tensor] = []
        for number in range(count):
            photo = self._held[number % len(self._held)]
            places = sharp_places(photo, side)
            y, x = places[int(random.integers(len(places)))]
            crops.append(_tensor(_floats(photo.pixels[y : y + side, x : x + side])))
        return torch.stack(crops)

    def _crop(self, random: np.random.Generator, index: int) -> Tensor:
        photo, places = self._photos[index], self._places[index]
        height, width = photo.pixels.shape[:2]
        zoom = float(random.choice([z for z, _ in _ZOOMS], p=[share for _, share in _ZOOMS]))
        window = min(round(self._side * zoom), height, width)
        y, x = places[int(random.integers(len(places)))]
        y = min(max(int(y + random.integers(-window // 2, window // 4 + 1)), 0), height - window)
        x = min(max(int(x + random.integers(-window // 2, window // 4 + 1)), 0), width - window)
        crop = photo.pixels[y : y + window, x : x + window]
        if window != self._side:
            reduced = cv2.resize(crop, (self._side, self._side), interpolation=cv2.INTER_AREA)
            crop = np.asarray(reduced, dtype=np.uint16)
        crop = np.rot90(crop, int(random.integers(4)))
        picture = _floats(crop[:, ::-1] if random.random() < 0.5 else crop)
        return _tensor(
            self._drawings.over(picture, random) if random.random() < _DRAWN else picture
        )


def _floats(crop: NDArray[np.uint16]) -> NDArray[np.float32]:
    return np.asarray(crop, dtype=np.float32) / np.float32(65535.0)


def _tensor(picture: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))
