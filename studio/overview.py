"""Chosen pictures as a browser can show them, made in a process of its own."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from engines.base import UserError
from studio.reader import FileReader, Look

if TYPE_CHECKING:
    from PIL.Image import Image

    _Image = tuple[Image, bytes | None]

_SIDE = 1600  # pixels, of the longer side
_QUALITY = 88
_KEPT = 24  # pictures
_DRAFT = {"L", "RGB"}  # modes of a JPEG that is decoded at a part of its size


class Overviews:
    """Makes them when they are asked for, and keeps the last ones."""

    def __init__(self) -> None:
        self._reader = FileReader(overview, kept=_KEPT)

    def image(self, path: Path) -> tuple[bytes, str]:
        """A picture of `_SIDE` pixels at most and its media type, with the input's profile.

        Raises:
            UserError: it is no picture that can be read.
        """
        found = self._reader.wait(path)
        if found.problem:
            raise UserError(found.problem)
        return found.more["image"], found.more["type"]


def overview(path: Path) -> Look:
    """A picture made smaller: JPEG, or WebP where it is transparent.

    Raises:
        UserError: it is no picture that can be read.
    """
    from PIL import Image

    image, icc = _drafted(path) or _read(path)
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS, reducing_gap=3.0)
    kind = "webp" if image.mode in ("LA", "RGBA") else "jpeg"
    if image.mode == "LA":
        image = image.convert("RGBA")
    made = io.BytesIO()
    image.save(made, kind, quality=_QUALITY, **({"icc_profile": icc} if icc else {}))
    return Look(more={"image": made.getvalue(), "type": f"image/{kind}"})


def _drafted(path: Path) -> _Image | None:
    """A JPEG, decoded at a part of its size, and its profile; None for any other picture."""
    from PIL import Image, ImageOps

    try:
        image = Image.open(path, formats=["JPEG"])
        if image.mode not in _DRAFT:
            return None
        image.draft(None, (_SIDE, _SIDE))
        icc = image.info.get("icc_profile")
        return ImageOps.exif_transpose(image), icc
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _read(path: Path) -> _Image:
    """Any picture with 8 bits a sample, and its profile; of many bands the first three."""
    import numpy as np
    from PIL import Image

    from engines.media.picture import read_picture

    picture = read_picture(path)
    step = max(1, min(picture.pixels.shape[:2]) // (2 * _SIDE))
    layers = [picture.pixels[::step, ::step, :3]]
    if layers[0].shape[2] == 2:
        layers = [layers[0][:, :, :1]]
    if picture.alpha is not None:
        layers.append(picture.alpha[::step, ::step, None])
    whole = np.concatenate(layers, axis=2)
    if whole.dtype == np.uint16:
        whole = (whole >> 8).astype(np.uint8)
    image = Image.fromarray(whole[:, :, 0] if whole.shape[2] == 1 else np.ascontiguousarray(whole))
    return image, picture.facts.icc
