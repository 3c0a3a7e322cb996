"""A measurement: what a camera, a scan or a web site made of a picture.

Training degrades with one, judging compares with one, and an inverse problem is solved for one.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, interpolate, pad

# The authors take singular values of a blur below 0.03 for zero; its square as Tikhonov's term does
# the same without a decomposition of the whole picture's size.
DAMPING = 0.03**2
_BLOCK = 256  # side of what is sharpened at once


class Operator(ABC):
    """A map from pictures to measurements; pictures are (B, 3, H, W) float32 RGB in 0..1.

    Attributes:
        scale: height and width of a picture over those of its measurement.
        reach: pixels of a picture, beyond those that a measured value covers, that it depends on.
        align: a window of a picture is measured as in the whole where its top and left are
            multiples of this; sides of pictures are multiples as well.
        kept: share of the measurement's values that were measured, above 0.
        rounds: of `engines.superres.degrade.inverse.pseudo_inverse`; 0 where `invert` is exact.
    """

    scale: int = 1
    reach: int = 0
    align: int = 1
    kept: float = 1.0
    rounds: int = 0

    @abstractmethod
    def measure(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 3, H/scale, W/scale), differentiable."""

    @abstractmethod
    def invert(self, measured: Tensor) -> Tensor:
        """A first picture that fits the measurement: (B, 3, h, w) -> (B, 3, h*scale, w*scale)."""

    def part(self, top: int, left: int, height: int, width: int) -> Operator:
        """The operator of a window of the picture, given in the picture's pixels."""
        del top, left, height, width  # most are the same everywhere
        return self


class Bicubic(Operator):
    """Antialiased cubic reduction with a = -0.5, as Pillow and MATLAB do it: the "clean" case."""

    rounds = 12

    def __init__(self, scale: int) -> None:
        """`scale` is the factor of the reduction."""
        self.scale, self.reach, self.align = scale, 2 * scale, scale

    def measure(self, pictures: Tensor) -> Tensor:
        """See `Operator.measure`; sides must be multiples of the scale."""
        height, width = (side // self.scale for side in pictures.shape[-2:])
        return interpolate(pictures, (height, width), mode="bicubic", antialias=True)

    def invert(self, measured: Tensor) -> Tensor:
        """Cubic enlargement with the same kernel; see `Operator.invert`."""
        height, width = (side * self.scale for side in measured.shape[-2:])
        return interpolate(measured, (height, width), mode="bicubic", antialias=True)


class Average(Operator):
    """Means over squares of pixels, as a sensor of larger pixels sees them."""

    def __init__(self, scale: int) -> None:
        """`scale` is the side of a square."""
        self.scale, self.align = scale, scale

    def measure(self, pictures: Tensor) -> Tensor:
        """See `Operator`."""
        return avg_pool2d(pictures, self.scale)

    def invert(self, measured: Tensor) -> Tensor:
        """Each value fills its square, which is the pseudo-inverse."""
        return measured.repeat_interleave(self.scale, -2).repeat_interleave(self.scale, -1)


class Blur(Operator):
    """A separable blur, mirrored at the picture's edges."""

    def __init__(self, taps: Sequence[float]) -> None:
        """`taps` are weights along either axis, an odd number; they are made to add up to 1."""
        total = sum(taps)
        self.taps = tuple(tap / total for tap in taps)
        self.reach = len(taps) // 2

    @classmethod
    def box(cls, side: int) -> Blur:
        """Means over squares of an odd side."""
        return cls([1.0] * side)

    @classmethod
    def gauss(cls, sigma: float, taps: int | None = None) -> Blur:
        """A Gaussian of standard deviation `sigma` pixels, cut off at three of them.

        `taps`, an odd number, cuts it elsewhere; the paper's has 5 with a sigma of 10 or 25.
        """
        half = math.ceil(3.0 * sigma) if taps is None else taps // 2
        return cls([math.exp(-0.5 * (x / sigma) ** 2) for x in range(-half, half + 1)])

    def measure(self, pictures: Tensor) -> Tensor:
        """See `Operator`; sides must be larger than the reach."""
        channels, half = pictures.shape[1], self.reach
        kernel = torch.tensor(self.taps, dtype=pictures.dtype, device=pictures.device)
        kernel = kernel.expand(channels, 1, 1, -1)
        x = pad(pictures, (half, half, half, half), mode="reflect") if half else pictures
        x = conv2d(x, kernel, groups=channels)
        return conv2d(x, kernel.transpose(2, 3), groups=channels)

    def invert(self, measured: Tensor) -> Tensor:
        """See `Operator`; what the blur leaves less than 3 % of is damped.

        It goes block by block, with as much around each as a sharp place depends on.
        """
        halo = 8 * self.reach + 16
        found = torch.empty_like(measured)
        height, width = measured.shape[-2:]
        for top in range(0, height, _BLOCK):
            for left in range(0, width, _BLOCK):
                y0, x0 = max(top - halo, 0), max(left - halo, 0)
                bottom, right = min(top + _BLOCK, height), min(left + _BLOCK, width)
                part = measured[..., y0 : bottom + halo, x0 : right + halo].double()
                part = self._sharpened(part)[..., top - y0 : bottom - y0, left - x0 : right - x0]
                found[..., top:bottom, left:right] = part
        return found

    def _sharpened(self, x: Tensor) -> Tensor:
        """Tikhonov's inverse of both axes at once, by the singular values of either."""
        rows, columns = (_decomposed(self.taps, side) for side in x.shape[-2:])
        kept = rows[1][:, None] * columns[1]
        x = rows[0].T @ x @ columns[0] * (kept / (kept.square() + DAMPING))
        return rows[2].T @ x @ columns[2]


@lru_cache(maxsize=16)
def _decomposed(taps: tuple[float, ...], size: int) -> tuple[Tensor, Tensor, Tensor]:
    """U, singular values and Vᵀ of a blur along an axis, float64."""
    half = len(taps) // 2
    places = (torch.arange(size)[:, None] + torch.arange(-half, half + 1)).abs()
    places = torch.minimum(places, 2 * (size - 1) - places)
    weights = torch.tensor(taps, dtype=torch.float64).expand(size, -1)
    blur = torch.zeros(size, size, dtype=torch.float64).scatter_add_(1, places, weights)
    return torch.linalg.svd(blur)


class Mask(Operator):
    """Some pixels are seen; the others are grey, which is 0 where values run from -1 to 1."""

    def __init__(self, seen: Tensor, kept: float | None = None) -> None:
        """`seen` is (H, W) bool on the CPU with at least one True; `kept` is its mean."""
        self.seen = seen
        self.kept = float(seen.float().mean()) if kept is None else kept

    def measure(self, pictures: Tensor) -> Tensor:
        """See `Operator`."""
        return torch.where(self.seen.to(pictures.device), pictures, 0.5)

    def invert(self, measured: Tensor) -> Tensor:
        """See `Operator`; what is not seen goes on smoothly from what is seen around it."""
        return filled(measured, self.seen.to(measured.device))

    def part(self, top: int, left: int, height: int, width: int) -> Operator:
        """See `Operator`; what lies beyond the picture is not seen."""
        inside = self.seen[top : top + height, left : left + width]
        seen = torch.zeros(height, width, dtype=torch.bool)
        seen[: inside.shape[0], : inside.shape[1]] = inside
        return Mask(seen, self.kept)


def filled(values: Tensor, seen: Tensor) -> Tensor:
    """Pixels that are not seen, as the mean of what is seen around them (push and pull).

    Each halving takes means of what is seen alone, until all is; on the way back what is not seen
    comes from the coarser picture. Grey where nothing is seen at all.

    Args:
        values: (B, C, H, W).
        seen: (H, W) bool, on the same device.
    """
    if bool(seen.all()):
        return values
    if seen.numel() == 1:
        return torch.full_like(values, 0.5)
    size = values.shape[2:]
    window = [min(2, side) for side in size]
    share = seen.to(values.dtype)[None, None]
    known = avg_pool2d(share, window, ceil_mode=True)
    means = avg_pool2d(values * share, window, ceil_mode=True) / known.clamp(min=1e-6)
    coarse = filled(means, known[0, 0] > 0)
    return torch.where(seen, values, interpolate(coarse, [*size], mode="bilinear"))


class Clipping(Operator):
    """An HDR scene: contrast about the middle grey times a gain, cut off at black and white."""

    def __init__(self, gain: float = 2.0) -> None:
        """`gain` is above 1."""
        self.gain = gain

    def measure(self, pictures: Tensor) -> Tensor:
        """See `Operator`; what is cut off has no gradient."""
        return ((pictures - 0.5) * self.gain + 0.5).clamp(0.0, 1.0)

    def invert(self, measured: Tensor) -> Tensor:
        """See `Operator`."""
        return (measured - 0.5) / self.gain + 0.5


class Levels(Operator):
    """Rounding to 2^bits levels; the gradient goes straight through."""

    def __init__(self, bits: int) -> None:
        """`bits` of a sample."""
        self._most = float(2**bits - 1)

    def measure(self, pictures: Tensor) -> Tensor:
        """See `Operator`."""
        rounded = (pictures * self._most + 0.5).floor() / self._most
        return pictures + (rounded - pictures).detach()

    def invert(self, measured: Tensor) -> Tensor:
        """See `Operator`."""
        return measured
