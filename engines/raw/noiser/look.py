"""What is done to the light of a picture, decided once on a small version of it.

The paper's network gives every picture the same mean and the same spread: all that it finds out is
in its instance normalisation. Its output is taken on the small version, where it says how bright
each region is to be; the whole picture then gets these gains. So tiles and sizes agree, and a pixel
keeps its hue, because all its colours get one gain in linear light.

Beside the network stands a plain exposure: the gain at which the brightest parts come to white, or
the mean comes to its target, or between the two. `LookParams.natural` mixes the network's tones
with it in EV.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from engines.raw.noiser.arch import RADIUS, NoiserNet, Norm
from engines.raw.noiser.params import LookParams
from engines.raw.noiser.transfer import Transfer, decode_srgb, encode_srgb

SMALL = 512  # pixels of the longer side of the small version, at most
_SMOOTH = 5  # pixels of the small version over which noise is averaged before it is measured
_BRIGHTEST = 0.995  # share of pixels below what counts as the brightest
_TOP = 0.8  # linear light that these come to
_KNEE = 0.8  # linear light above which highlights are rolled off
_MOST = 4096.0  # gain
_DARKEST = 1e-6
_MOST_APART = 3.0 * math.log(2.0)  # the network's tones from the exposure's: 3 EV
_GUIDED = (16, 1e-3)  # the guided filter's radius, as a part of the width, and its epsilon


@dataclass(frozen=True)
class Exposure:
    """A gain in linear light with its ends kept: what is white stays white.

    Attributes:
        gain: of mid tones and shadows.
        white: where the brightest lies after the gain; above 1 it is rolled off to 1.
    """

    gain: float
    white: float

    def __call__(self, light: Tensor) -> Tensor:
        """Luminance before -> after, both linear, rising throughout."""
        if self.gain < 1.0:
            held = light.clamp(0.0, 1.0)
            return self.gain * held / (1.0 - (1.0 - self.gain) * held)
        lit = light * self.gain
        room = (self.white - _KNEE) / (1.0 - _KNEE)
        if room <= 1.0:
            return lit.clamp(max=1.0)
        over = ((lit - _KNEE) / (1.0 - _KNEE)).clamp(0.0, room)
        rolled = _KNEE + (1.0 - _KNEE) * over / (1.0 + over * (1.0 - 1.0 / room))
        return torch.where(lit > _KNEE, rolled, lit)


@dataclass(frozen=True)
class Look:
    """What `of` decided; `apply` does it to any rows of the picture.

    Attributes:
        mean_before: of the encoded luminance of the small version.
        mean_after: likewise.
        stops: median gain in EV.
    """

    params: LookParams
    transfer: Transfer
    network: NoiserNet
    norm: Norm
    exposure: Exposure
    middle: float
    slope: Tensor
    offset: Tensor
    mean_before: float
    mean_after: float
    stops: float

    @classmethod
    def of(
        cls, small: Tensor, seen: Tensor, transfer: Transfer, network: NoiserNet, params: LookParams
    ) -> Look:
        """Decide.

        Args:
            small: (3, h, w) linear light, the picture made small by means; on the network's device.
            seen: (h, w) bool, what is not transparent; some of it is.
            transfer: luminance weights.
            network: on its device.
            params: what the person wants.
        """
        smooth = _mean(small, min(_SMOOTH, *small.shape[1:]))
        light = transfer.luminance(smooth)
        known = light[seen]
        before = float(encode_srgb(known).mean())
        stops = _stops(known, smooth.amax(0)[seen], params)
        gain = 2.0**stops
        brightest = float(torch.quantile(_some(transfer.luminance(small)[seen]), 0.999))
        exposure = Exposure(gain, gain * brightest)
        middle = float(encode_srgb(exposure(known)).mean())
        coded = encode_srgb(small.clamp(0.0, 1.0))
        filled = torch.where(seen, coded, coded[:, seen].mean(1)[:, None, None])
        norm = network.statistics(2.0 * filled[None] - 1.0)
        look = cls(
            params, transfer, network, norm, exposure, middle,
            torch.zeros(1, 1), torch.zeros(1, 1), before, before, stops,
        )  # fmt: skip
        if params.method == "natural" and params.local and params.natural < 1.0:
            light = transfer.luminance(small)
            lit = exposure(light)
            apart = look._apart(look._network(small), lit)
            slope, offset = _guided(encode_srgb(lit), torch.where(seen, apart, 0.0))
            look = replace(look, slope=slope, offset=offset)
        after = transfer.luminance(look.apply(smooth, 0, smooth.shape[1]))[seen]
        gains = torch.log2(after.clamp(min=_DARKEST) / known.clamp(min=_DARKEST))
        return replace(
            look, mean_after=float(encode_srgb(after).mean()), stops=float(gains.median())
        )

    @property
    def reach(self) -> int:
        """Rows beyond those wanted that `apply` has to see on each side, where there are any."""
        params = self.params
        plain = params.method == "natural" and params.colour == 1.0
        return 0 if plain and (params.local or params.natural == 1.0) else RADIUS

    def apply(self, rows: Tensor, top: int, height: int) -> Tensor:
        """Brighten.

        Args:
            rows: (3, n, width) linear light, `reach` more at each end that the caller then cuts.
            top: where the first of them lies in the picture.
            height: of the picture.

        Returns:
            (3, n, width) linear light, 0 to 1.
        """
        params = self.params
        network = self._network(rows) if self.reach else None
        if params.method == "paper" and network is not None:
            coded = encode_srgb(rows.clamp(0.0, 1.0))
            return decode_srgb(torch.lerp(coded, network, params.strength))
        light = self.transfer.luminance(rows)
        target = self.exposure(light)
        if params.natural < 1.0:
            apart = (
                self._regions(encode_srgb(target), top, height)
                if params.local or network is None
                else self._apart(network, target)
            )
            target = target * torch.exp((1.0 - params.natural) * params.strength * apart)
        if params.contrast != 1.0:
            times = 1.0 + (params.contrast - 1.0) * params.strength
            coded = (encode_srgb(target) - self.middle) * times + self.middle
            target = decode_srgb(coded.clamp(min=0.0))
        target = target.clamp(0.0, 1.0)
        out = within(rows * (target / light.clamp(min=_DARKEST)).clamp(max=_MOST), target)
        if network is not None and params.colour < 1.0:
            own = decode_srgb(network)
            shade = self.transfer.luminance(own).clamp(min=_DARKEST)
            own = within(own * (target / shade), target)
            share = (1.0 - params.colour) * params.strength
            out = decode_srgb(torch.lerp(encode_srgb(out), encode_srgb(own), share))
        return out

    def _network(self, rows: Tensor) -> Tensor:
        """The network's picture, encoded, (3, n, width) in [0, 1]."""
        coded = encode_srgb(rows.clamp(0.0, 1.0))
        with torch.inference_mode():
            found = self.network(2.0 * coded[None] - 1.0, self.norm)[0]
        return (found + 1.0) / 2.0

    def _apart(self, network: Tensor, lit: Tensor) -> Tensor:
        """How much brighter than an exposure the network makes each pixel, natural logarithm."""
        shifted = (network - 0.5 + self.middle).clamp(0.0, 1.0)
        own = self.transfer.luminance(decode_srgb(shifted))
        ratio = torch.log(own.clamp(min=_DARKEST) / lit.clamp(min=_DARKEST))
        return ratio.clamp(-_MOST_APART, _MOST_APART)

    def _regions(self, guide: Tensor, top: int, height: int) -> Tensor:
        """The guided filter's `_apart` for rows of any size: coefficients between the small ones'.

        Args:
            guide: (n, width) encoded luminance after the exposure.
            top: where the rows lie.
            height: of the picture.
        """
        n, width = guide.shape
        down = _places(top, n, height, self.slope.shape[0], guide.device)
        across = _places(0, width, width, self.slope.shape[1], guide.device)
        slope, offset = (
            _between(_between(one, *down).T, *across).T for one in (self.slope, self.offset)
        )
        return (slope * guide + offset).clamp(-_MOST_APART, _MOST_APART)


def within(colours: Tensor, light: Tensor) -> Tensor:
    """Colours that are more than white moved towards grey of the same luminance; the hue stays.

    Args:
        colours: (3, n, width) linear light of luminance `light`.
        light: (n, width), at most 1.
    """
    over = colours.amax(0) - 1.0
    share = torch.where(over > 0.0, (1.0 - light) / (over + 1.0 - light).clamp(min=1e-9), 1.0)
    return (light + (colours - light) * share).clamp(0.0, 1.0)


def _stops(light: Tensor, brightest: Tensor, params: LookParams) -> float:
    """Gain in EV of the plain exposure.

    Args:
        light: (n,) luminance.
        brightest: (n,) largest of the three colours.
        params: brightness, highlights and strength.
    """
    top = max(float(torch.quantile(_some(brightest), _BRIGHTEST)), _DARKEST)
    low, high = -4.0, math.log2(_MOST)
    for _ in range(24):
        middle = (low + high) / 2.0
        dark = float(encode_srgb((light * 2.0**middle).clamp(max=1.0)).mean()) < params.brightness
        low, high = (middle, high) if dark else (low, middle)
    share = params.highlights
    # What reaches white already is no reason to darken the rest.
    stops = share * max(math.log2(_TOP / top), 0.0) + (1.0 - share) * low
    return params.strength * min(max(stops, -4.0), math.log2(_MOST))


def _some(values: Tensor) -> Tensor:
    """At most 2^18 values: torch's quantiles take no more than 2^24, and need not."""
    return values.flatten()[:: max(values.numel() >> 18, 1)].float()


def _mean(picture: Tensor, side: int) -> Tensor:
    """(C, h, w) -> means over windows of an odd side, the border mirrored."""
    half = (side - 1) // 2
    if half == 0:
        return picture
    padded = functional.pad(picture[None].double(), (half,) * 4, mode="reflect")[0]
    for axis in (1, 2):  # running sums: windows may be large
        sums = functional.pad(padded.cumsum(axis), (0, 0, 1, 0) if axis == 1 else (1, 0))
        length = sums.shape[axis] - 2 * half - 1
        ahead = sums.narrow(axis, 2 * half + 1, length)
        padded = (ahead - sums.narrow(axis, 0, length)) / (2 * half + 1)
    return padded.to(picture.dtype)


def _guided(guide: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Slope and offset of He et al.'s guided filter, both (h, w)."""
    part, epsilon = _GUIDED
    height, width = guide.shape
    half = max(min(max(height, width) // part, height - 1, width - 1), 0)

    def mean(one: Tensor) -> Tensor:
        return _mean(one[None], 2 * half + 1)[0]

    a, b = mean(guide), mean(values)
    slope = (mean(guide * values) - a * b) / ((mean(guide * guide) - a * a).clamp(min=0) + epsilon)
    return mean(slope), mean(b - slope * a)


def _places(
    start: int, count: int, whole: int, small: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """For `count` rows of `whole` from `start`: rows of the small version around, and the share."""
    place = (torch.arange(start, start + count, device=device, dtype=torch.float64) + 0.5) * (
        small / whole
    ) - 0.5
    place = place.clamp(0.0, small - 1.0)
    first = place.floor().long()
    return first, (first + 1).clamp(max=small - 1), (place - first).float()


def _between(values: Tensor, first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """Rows of (h, w) values at places between rows."""
    return torch.lerp(values[first], values[second], share[:, None])
