"""What a diffusion's recipe says of its pictures at a validation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from engines.superres.metrics.fidelity import psnr_y
from engines.superres.metrics.slope import spectrum_slope


def judged(
    pictures: Mapping[str, Tensor], high: Tensor, scale: int, figure: Path
) -> dict[str, float]:
    """PSNR-Y in dB and slope of the spectrum of each kind of picture, by name.

    Args:
        pictures: name -> (B, 3, H, W) RGB in 0..1, rounded to 8 bits.
        high: their originals.
        scale: pixels of border that PSNR leaves out.
        figure: gets up to three rows of them side by side, the original last.
    """
    rows = [
        torch.cat([*(one[i] for one in pictures.values()), high[i]], dim=2)
        for i in range(min(len(high), 3))
    ]
    picture = (torch.cat(rows, dim=1) * 255.0).byte().permute(1, 2, 0).numpy()
    cv2.imwrite(str(figure), picture[:, :, ::-1])
    figures: dict[str, float] = {}
    for name, one in pictures.items():
        each = [psnr_y(o[None], h[None], scale) for o, h in zip(one, high, strict=True)]
        figures[f"psnr_y_{name}_db"] = float(np.mean(each))
    for name, one in (dict(pictures) | {"original": high}).items():
        figures[f"slope_{name}"] = spectrum_slope(one)
    return figures
