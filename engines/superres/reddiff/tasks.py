"""The tasks, what a file tells of them, and the numbers of the optimisation that suit them.

The authors' numbers by task, for 1000 steps: rate 0.1 for enlarging, 0.25 for holes, 0.5 for blur,
JPEG and HDR (lost levels are not among their tasks and go with JPEG), λ 0.25, Adam's β 0.9 and
0.99. With 50 steps those leave a picture that is worse than the measurement: a β of 0.99 remembers
the large gradients of the first, noisiest times to the end, so the last steps move nothing, and
what the rate had thrown about stays. For few steps Adam forgets sooner, and rates and λ were chosen
on crops of photos kept out of training, with the prior that ships.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engines.base import UserError

Task = Literal["enlarge", "deblur", "inpaint", "jpeg", "hdr", "dequantise"]


@dataclass(frozen=True)
class Tuning:
    """Numbers of the optimisation: Adam's rate, the prior's weight λ, and Adam's β."""

    rate: float
    weight: float
    betas: tuple[float, float]


# Nothing but the prior moves what lies in a hole, and little tells of what a blur took.
_STEPS: dict[Task, int] = {"inpaint": 150, "deblur": 100}
_OTHERS = 50
_FEW = 200  # steps, up to which the numbers for few are taken
_SOON = (0.6, 0.7)
_FOR_FEW: dict[Task, Tuning] = {
    "enlarge": Tuning(0.1, 0.15, _SOON),
    "deblur": Tuning(0.04, 0.01, _SOON),
    "inpaint": Tuning(0.03, 0.25, _SOON),
    "jpeg": Tuning(0.02, 0.3, _SOON),
    "hdr": Tuning(0.15, 0.1, _SOON),
    "dequantise": Tuning(0.04, 0.1, _SOON),
}
_RATES: dict[Task, float] = {
    "enlarge": 0.1, "deblur": 0.5, "inpaint": 0.25, "jpeg": 0.5, "hdr": 0.5, "dequantise": 0.5,
}  # fmt: skip


def steps_of(task: Task) -> int:
    """How many steps a task is given by itself."""
    return _STEPS.get(task, _OTHERS)


def tuning(task: Task, steps: int) -> Tuning:
    """What suits a task and a number of steps; see the module's text."""
    return _FOR_FEW[task] if steps <= _FEW else Tuning(_RATES[task], 0.25, (0.9, 0.99))


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
