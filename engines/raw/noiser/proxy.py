"""A small version of any file of the tab, quickly had, for looking while settings are chosen."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.media.develop import srgb_profile
from engines.media.raw_facts import RawImage
from engines.media.raw_file import read_raw
from engines.raw.noiser.process import is_raw, readable
from engines.raw.noiser.rows import PictureRows, made_small
from engines.raw.noiser.transfer import Transfer, transfer_of

SIDE = 1152
_KEPT = 4
_TURNS = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}  # TIFF's orientation -> quarter turns to the left
_kept: dict[tuple[str, int, int], Proxy] = {}


@dataclass(frozen=True)
class Proxy:
    """A picture of at most `SIDE` pixels along its longer side.

    Attributes:
        linear: (3, h, w) float32 linear light, 0 to 1.
        seen: (h, w) bool, what is not transparent.
        transfer: of the file, for showing it with `icc`.
        icc: profile that encoded numbers belong to, or None.
        drawn: what was made of it before, by name.
    """

    linear: Tensor
    seen: Tensor
    transfer: Transfer
    icc: bytes | None
    drawn: dict[str, bytes] = field(default_factory=dict[str, bytes])


def proxy(path: Path) -> Proxy:
    """Make one, or find the one that was made; the last few files' are kept.

    Raises:
        UserError: the file cannot be brightened.
    """
    facts = path.stat()
    key = (str(path), facts.st_size, facts.st_mtime_ns)
    if key not in _kept:
        if len(_kept) >= _KEPT:
            del _kept[next(iter(_kept))]
        _kept[key] = _of_raw(read_raw(path)) if is_raw(path) else _of_picture(path)
    return _kept[key]


def forget() -> None:
    """Let go of all that is kept."""
    _kept.clear()


def _of_picture(path: Path) -> Proxy:
    picture = readable(path)
    transfer = transfer_of(picture.facts.icc)
    small, seen = made_small(PictureRows(picture, transfer), SIDE, lambda: None)
    return Proxy(small, torch.from_numpy(seen), transfer, picture.facts.icc)


def _of_raw(raw: RawImage) -> Proxy:
    """Means of the mosaic's cells, balanced and in sRGB's colours as LibRaw would do it.

    Noise is gone with the size, so nothing has to denoise it.
    """
    facts = raw.facts
    side = facts.black_cell.shape[0]
    height, width = facts.height // side, facts.width // side
    factor = min(SIDE / max(height, width), 1.0)
    size = (max(round(width * factor), 1), max(round(height * factor), 1))
    planes: dict[int, list[NDArray[np.float32]]] = {}
    least = min(facts.wb)
    colours = facts.colour_cell.ravel() if facts.cfa else range(len(facts.black))
    for site, (colour, black) in enumerate(zip(colours, facts.black, strict=True)):
        y, x = divmod(site, side)
        whole = raw.mosaic[y::side, x::side] if facts.channels == 1 else raw.mosaic[:, :, site]
        small = cv2.resize(
            whole[:height, :width].astype(np.float32), size, interpolation=cv2.INTER_AREA
        )
        number = 0 if facts.kind == "mono" else int(colour)
        times = facts.wb[number] / least / (facts.clip - black)
        planes.setdefault(number, []).append(((small - black) * times).astype(np.float32))
    camera = np.stack([np.mean(planes[number], axis=0) for number in sorted(planes)])
    camera = (np.repeat(camera, 3, axis=0) if facts.kind == "mono" else camera).clip(0.0, 1.0)
    matrix = np.asarray(facts.cam_to_srgb, np.float32)
    light = np.tensordot(matrix, camera, axes=1).clip(0.0, 1.0)
    if facts.orientation in (2, 4, 5, 7):
        light = light[:, :, ::-1]
    light = np.rot90(light, _TURNS.get(facts.orientation, 0), axes=(1, 2))
    linear = torch.from_numpy(np.ascontiguousarray(light, np.float32))
    return Proxy(linear, torch.ones(linear.shape[1:], dtype=torch.bool), Transfer(), srgb_profile())
