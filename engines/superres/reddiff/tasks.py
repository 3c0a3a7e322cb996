"""The tasks, and what a file tells of them.

The authors' settings by task: rate 0.1 for enlarging, 0.25 for holes, 0.5 for blur, JPEG and HDR
(lost levels are not among their tasks and go with JPEG), λ 0.25 everywhere.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

from engines.base import UserError

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
