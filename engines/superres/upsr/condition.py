"""Whether a picture is worn: how coarsely its own JPEG compression has rounded it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Literal

from PIL import Image

_COARSE = 16.0  # mean step of luma; quality 86 of the usual tables


def condition(path: Path) -> Literal["clean", "photo"]:
    """What the automatic choice takes a file for.

    "photo" where it is a JPEG whose mean luma quantiser is 16 or more, at which blocks and rings
    begin to show four times enlarged; every other file is "clean".
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its size; only the head is read
            with Image.open(path, formats=("JPEG",)) as picture:
                tables = getattr(picture, "quantization", {})
    except (OSError, ValueError, Image.DecompressionBombError):
        return "clean"
    steps = list(tables.get(0, ()))
    return "photo" if steps and sum(steps) / len(steps) >= _COARSE else "clean"
