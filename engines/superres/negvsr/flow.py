"""Where the pixels of one frame are in another.

SPyNet (CVPR 2017), as mmedit has it, learns that; OpenCV's dense inverse search (DIS, ECCV 2016)
works it out in a hundredth of the time.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, relu

from engines.superres.negvsr.blocks import warp

_LEVELS = 6
_STEP = 2 ** (_LEVELS - 1)  # sides must be multiples of it
_WIDTHS = (8, 32, 64, 32, 16, 2)
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
_LUMA = (0.299, 0.587, 0.114)
_LEAST = 16  # pixels of a side that DIS can work with


class _Conv(nn.Module):
    """Of a 7 x 7 kernel; a module of its own for its tensors' names."""

    def __init__(self, given: int, wanted: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(given, wanted, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class _Level(nn.Module):
    """(B, 8, h, w), two frames and a first flow -> (B, 2, h, w), what to add to it."""

    def __init__(self) -> None:
        super().__init__()
        pairs = pairwise(_WIDTHS)
        self.basic_module = nn.Sequential(*(_Conv(given, wanted) for given, wanted in pairs))

    def forward(self, x: Tensor) -> Tensor:
        last = len(self.basic_module) - 1
        for number, layer in enumerate(self.basic_module):
            x = layer(x) if number == last else relu(layer(x))
        return x


class SpyNet(nn.Module):
    """Six levels, from a thirty-second of the size on, each adding to the flow of the last."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.basic_module = nn.ModuleList(_Level() for _ in range(_LEVELS))
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1))

    def forward(self, here: Tensor, there: Tensor) -> Tensor:
        """Where each pixel of `here` is in `there`.

        Args:
            here: (B, 3, h, w) RGB in 0..1.
            there: likewise.

        Returns:
            (B, 2, h, w) float32, pixels to the right and downwards.
        """
        height, width = here.shape[-2:]
        size = [-(-side // _STEP) * _STEP for side in (height, width)]
        pair = [
            interpolate((one.float() - self.mean) / self.std, size, mode="bilinear")
            for one in (here, there)
        ]
        flow = interpolate(self._pyramid(*pair), (height, width), mode="bilinear")
        return flow * flow.new_tensor([width / size[1], height / size[0]]).view(1, 2, 1, 1)

    def _pyramid(self, here: Tensor, there: Tensor) -> Tensor:
        sizes = [(here, there)]
        for _ in range(_LEVELS - 1):
            here, there = avg_pool2d(here, 2), avg_pool2d(there, 2)
            sizes.append((here, there))
        flow = here.new_zeros(len(here), 2, *here.shape[-2:])
        for level, (one, other) in zip(self.basic_module, reversed(sizes), strict=True):
            if one.shape[-2:] != flow.shape[-2:]:
                flow = 2.0 * interpolate(flow, scale_factor=2, mode="bilinear", align_corners=True)
            moved = warp(other, flow, border=True)
            flow = flow + level(torch.cat([one, moved, flow], dim=1)).float()
        return flow


@torch.no_grad()
def dense_search(here: Tensor, there: Tensor) -> Tensor:
    """The same by OpenCV's DIS, on the luma in 8 bits; no gradient goes through it."""
    weights = here.new_tensor(_LUMA).view(1, 3, 1, 1)
    greys = [
        ((one.float().clamp(0.0, 1.0) * weights).sum(1) * 255.0).round().byte().cpu().numpy()
        for one in (here, there)
    ]
    height, width = greys[0].shape[1:]
    if min(height, width) < _LEAST:
        return here.new_zeros(len(here), 2, height, width, dtype=torch.float32)
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    search.setFinestScale(1)
    found = [search.calc(one, other, None) for one, other in zip(*greys, strict=True)]  # type: ignore[call-overload]
    flow = torch.from_numpy(np.stack(found).transpose(0, 3, 1, 2).astype(np.float32))
    return flow.to(here.device)
