"""How much fine detail a picture has beside its original, whether or not it is the right detail."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from engines.superres.metrics.fidelity import luma


def detail_db(found: Tensor, truth: Tensor) -> float:
    """Power of luma above a quarter of the sampling rate, over the original's, in dB.

    Args:
        found: (1, 3, H, W) RGB in 0..1.
        truth: its original, of the same size.

    Returns:
        0 for as much detail as the original, negative for a softer picture.
    """
    return 10.0 * math.log10(max(_fine(found), 1e-12) / max(_fine(truth), 1e-12))


def _fine(picture: Tensor) -> float:
    y = luma(picture)[0, 0]
    height, width = y.shape
    window = torch.outer(torch.hann_window(height), torch.hann_window(width)).to(y)
    power = torch.fft.rfft2((y - y.mean()) * window).abs().square()
    fy, fx = torch.fft.fftfreq(height).abs()[:, None], torch.fft.rfftfreq(width)[None, :]
    return float(power[torch.maximum(fy, fx) > 0.25].sum())
