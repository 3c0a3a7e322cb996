"""The tasks: what a file tells of each, and which operator undoes it.

The authors' settings by task: rate 0.1 for enlarging, 0.25 for holes, 0.5 for blur, JPEG and HDR
(lost levels are not among their tasks and go with JPEG), λ 0.25 everywhere.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from engines.base import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engines.superres.degrade.operator import Operator
    from engines.superres.reddiff.params import ReddiffParams

Task = Literal["enlarge", "deblur", "inpaint", "jpeg", "hdr", "dequantise"]
RATES: dict[Task, float] = {
    "enlarge": 0.1, "deblur": 0.5, "inpaint": 0.25, "jpeg": 0.5, "hdr": 0.5, "dequantise": 0.5,
}  # fmt: skip
WEIGHT = 0.25
DOING: dict[Task, tuple[str, str]] = {  # while it is done, and what is made
    "enlarge": ("enlarging", "Enlarged picture"),
    "deblur": ("deblurring", "Sharper picture"),
    "inpaint": ("filling", "Filled picture"),
    "jpeg": ("cleaning", "Cleaned picture"),
    "hdr": ("recovering", "Picture of more range"),
    "dequantise": ("smoothing", "Picture of more levels"),
}
_BOX = 3.5  # side of a box over the standard deviation of its mean, about √12
_LARGEST = 8
_NEARLY = 0.03  # of a factor that a filter does unseen


def operator_for(params: ReddiffParams, factor: float, seen: NDArray | None) -> Operator:
    """What was done to the picture.

    Args:
        params: with all that depends on the file decided.
        factor: of enlarging.
        seen: (H, W) bool, what of the picture is known; for filling alone.
    """
    import torch

    from engines.superres.degrade.jpeg import Jpeg
    from engines.superres.degrade.operator import (
        Average,
        Bicubic,
        Blur,
        Clipping,
        Levels,
        Mask,
    )

    match params.task:
        case "enlarge":
            scale = min(math.ceil(factor - _NEARLY), _LARGEST)
            plain = scale == 1 or params.reduction == "average"
            return Average(scale) if plain else Bicubic(scale)
        case "deblur" if params.blur == "gauss":
            return Blur.gauss(params.blur_size)
        case "deblur":
            return Blur.box(2 * max(round((_BOX * params.blur_size - 1.0) / 2.0), 1) + 1)
        case "inpaint":
            assert seen is not None
            return Mask(torch.from_numpy(seen))
        case "jpeg":
            assert params.jpeg_quality is not None
            return Jpeg(params.jpeg_quality, params.jpeg_colour != "full")
        case "hdr":
            return Clipping(params.gain)
        case "dequantise":
            assert params.bits is not None
            return Levels(params.bits)


def jpeg_of(path: Path) -> tuple[int, bool] | None:
    """Quality of a JPEG by its table, and whether its colour has half the size; None for others."""
    from PIL import Image, JpegImagePlugin

    from engines.superres.degrade.jpeg import quality_of

    try:
        with Image.open(path) as image:
            if not isinstance(image, JpegImagePlugin.JpegImageFile) or not image.quantization:
                return None
            table = tuple(int(step) for step in image.quantization[min(image.quantization)])
            return quality_of(table), JpegImagePlugin.get_sampling(image) != 0
    except (OSError, SyntaxError, ValueError):
        return None  # whoever reads the picture says what is wrong with it


def bits_of(path: Path) -> int:
    """Bits that the levels of a picture's fullest channel need.

    Raises:
        UserError: it has more than 128 levels.
    """
    import numpy as np

    from engines.media.picture import read_picture

    picture = read_picture(path)
    levels = max(
        len(np.unique(picture.pixels[:, :, channel])) for channel in range(picture.facts.channels)
    )
    bits = max(math.ceil(math.log2(levels)), 1)
    if bits > 7:
        raise UserError(
            f"{path.name} has {levels} levels, so nothing shows how many were lost; give the bits "
            "that were left"
        )
    return bits
