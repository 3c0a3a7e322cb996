"""A measurement: what a camera, a scan or a web site made of a picture.

Training degrades with one, judging compares with one, and an inverse problem is solved for one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torch.nn.functional import interpolate


class Operator(Protocol):
    """A map from pictures to measurements; pictures are (B, 3, H, W) float32 RGB in 0..1."""

    @property
    def scale(self) -> int:
        """Height and width of a picture over those of its measurement."""
        ...

    def measure(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 3, H/scale, W/scale), differentiable."""
        ...

    def invert(self, measured: Tensor) -> Tensor:
        """A first picture that fits the measurement: (B, 3, h, w) -> (B, 3, h*scale, w*scale)."""
        ...


@dataclass(frozen=True)
class Bicubic:
    """Antialiased cubic reduction with a = -0.5, as Pillow and MATLAB do it: the "clean" case."""

    scale: int

    def measure(self, pictures: Tensor) -> Tensor:
        """See `Operator.measure`; sides must be multiples of the scale."""
        height, width = (side // self.scale for side in pictures.shape[-2:])
        return interpolate(pictures, (height, width), mode="bicubic", antialias=True)

    def invert(self, measured: Tensor) -> Tensor:
        """Cubic enlargement with the same kernel; see `Operator.invert`."""
        height, width = (side * self.scale for side in measured.shape[-2:])
        return interpolate(measured, (height, width), mode="bicubic", antialias=True)
