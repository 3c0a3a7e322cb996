"""The network of ours for the extreme dark: YOND's SNR-Net, which also sees what lies wide around.

Where a pixel holds less light than noise, the local detail that SNR-Net looks at is nothing but
noise, and what is there to be seen are means over many pixels. So beside the planes and their
detail (5 x 5, in units of the noise) it sees how the mean of 5 x 5 stands out of that of 25 x 25,
in units of that mean's own noise. All tensors but the first are named and shaped as SNR-Net's,
from which it can begin.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from engines.raw.yond.arch import PLANES, GuidedResUnet

_SIDE = 5  # of the box; the wide one is a box of five times the side
SEEN = 3 * PLANES


class WideUnet(GuidedResUnet):
    """SNR-Net with twelve planes in; see `GuidedResUnet`."""

    def __init__(self, nf: int = 32, levels: int = 4) -> None:
        super().__init__(nf, levels, noise_units=True)
        self.conv_in = nn.Conv2d(SEEN, nf, 3, padding=1)

    @property
    def trained_range(self) -> tuple[float, float]:
        """Noise levels t that it has seen in training."""
        return (0.01, 0.2)

    @property
    def receptive_radius(self) -> int:
        """See `GuidedResUnet.receptive_radius`; the wide mean reaches ten pixels farther."""
        return super().receptive_radius + _SIDE * (_SIDE // 2)

    @staticmethod
    def told(x: Tensor, t: Tensor) -> Tensor:
        """(B, 4, h, w) -> (B, 12, h, w): the planes, their detail, and that of their means."""
        near, far = _SIDE // 2, _SIDE * (_SIDE // 2)
        box = x.new_full((PLANES, 1, _SIDE, _SIDE), _SIDE**-2.0)
        around = functional.pad(x, (near, near, near, near), mode="replicate")
        mean = functional.conv2d(around, box, groups=PLANES)
        around = functional.pad(mean, (far, far, far, far), mode="replicate")
        wide = functional.conv2d(around, box, groups=PLANES, dilation=_SIDE)
        detail = torch.asinh((x - mean) / t)
        return torch.cat([x, detail, torch.asinh(_SIDE * (mean - wide) / t)], dim=1)
