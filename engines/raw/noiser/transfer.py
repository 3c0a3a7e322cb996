"""How a picture's numbers stand for light: the tone curve and luminance weights of its profile.

Ratios of light are what an exposure changes; ratios of encoded numbers are not, and scaling them
turns hues. So whatever brightens decodes first, with the curve that the profile names.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import torch
from torch import Tensor

_HEADER = 128
_MOST_TAGS = 200
_SRGB_LIKE = (2.0, 2.4)  # exponents at a half, of curves that are no plain powers
_REC709 = (0.2126, 0.7152, 0.0722)


@dataclass(frozen=True)
class Transfer:
    """Between encoded numbers and linear light, both 0 at black and 1 at white.

    Attributes:
        gamma: exponent of a plain power; None is sRGB's curve.
        weights: shares of red, green and blue in luminance, sum 1.
    """

    gamma: float | None = None
    weights: tuple[float, float, float] = _REC709

    def decode(self, encoded: Tensor) -> Tensor:
        """Encoded -> linear light."""
        if self.gamma == 1.0:
            return encoded
        if self.gamma is not None:
            return encoded.clamp(min=0.0) ** self.gamma
        return decode_srgb(encoded)

    def encode(self, linear: Tensor) -> Tensor:
        """Linear light -> encoded."""
        if self.gamma == 1.0:
            return linear
        if self.gamma is not None:
            return linear.clamp(min=0.0) ** (1.0 / self.gamma)
        return encode_srgb(linear)

    def luminance(self, linear: Tensor) -> Tensor:
        """(3, ...) linear -> (...)."""
        red, green, blue = self.weights
        return linear[0] * red + linear[1] * green + linear[2] * blue


def decode_srgb(encoded: Tensor) -> Tensor:
    """sRGB-encoded -> linear light."""
    return torch.where(
        encoded <= 0.04045, encoded / 12.92, ((encoded.clamp(min=0.0) + 0.055) / 1.055) ** 2.4
    )


def encode_srgb(linear: Tensor) -> Tensor:
    """Linear light -> sRGB-encoded."""
    return torch.where(
        linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp(min=1e-9) ** (1 / 2.4) - 0.055
    )


def transfer_of(icc: bytes | None) -> Transfer:
    """What an ICC profile says; sRGB where there is none, or none that is understood."""
    if icc is None:
        return Transfer()
    try:
        tags = _tags(icc)
        curve = next(tags[name] for name in (b"rTRC", b"gTRC", b"kTRC") if name in tags)
        exponent, plain = _exponent(curve)
        srgb = not plain and _SRGB_LIKE[0] <= exponent <= _SRGB_LIKE[1]
        gamma = None if srgb else round(min(max(exponent, 0.5), 4.0), 3)
        return Transfer(gamma, _weights(tags))
    except (struct.error, StopIteration, ValueError, ZeroDivisionError):
        return Transfer()


def _tags(icc: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", icc, _HEADER)
    found: dict[bytes, bytes] = {}
    for number in range(min(count, _MOST_TAGS)):
        name, start, size = struct.unpack_from(">4sII", icc, _HEADER + 4 + 12 * number)
        found[name] = icc[start : start + size]
    return found


def _exponent(curve: bytes) -> tuple[float, bool]:
    """Power that goes through the curve in the middle, and whether the curve is that power."""
    if curve[:4] == b"curv":
        (count,) = struct.unpack_from(">I", curve, 8)
        if count == 0:
            return 1.0, True
        if count == 1:
            return struct.unpack_from(">H", curve, 12)[0] / 256.0, True
        middle = count // 2
        (value,) = struct.unpack_from(">H", curve, 12 + 2 * middle)
        return math.log(value / 65535.0) / math.log(middle / (count - 1)), False
    if curve[:4] != b"para":
        raise ValueError("a curve of an unknown kind")
    (kind,) = struct.unpack_from(">H", curve, 8)
    count = (1, 3, 4, 5, 7)[min(kind, 4)]
    g, *rest = (value / 65536.0 for value in struct.unpack_from(f">{count}i", curve, 12))
    if kind == 0:
        return g, True
    a, b = rest[:2]
    offset = rest[2] if kind == 2 else rest[4] if kind == 4 else 0.0
    return math.log((0.5 * a + b) ** g + offset) / math.log(0.5), False


def _weights(tags: dict[bytes, bytes]) -> tuple[float, float, float]:
    """Y of the three colorants, as shares."""
    if any(name not in tags for name in (b"rXYZ", b"gXYZ", b"bXYZ")):
        return _REC709
    found = [struct.unpack_from(">i", tags[name], 12)[0] for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    if min(found) <= 0:
        return _REC709
    red, green, blue = (value / sum(found) for value in found)
    return red, green, blue
