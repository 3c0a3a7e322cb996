"""Cameras whose noise was published: ELD's calibration, and per-ISO figures of two sensors.

Laws are ln(value) = a · ln(K) + b with scatter s, over K from `least` to `most`, which lie six
stops apart in every camera. The publication gives K alone; that `least` belongs to ISO 100 is our
reading (it is what the Sony's own table says). Levels are those with which the published networks
were trained, not the cameras' own: only their difference matters here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from engines.base import UserError
from engines.raw.noise import tukey
from engines.raw.noise.profile import CameraProfile, IsoNoise, Law, Named
from engines.raw.noise.sensor import SensorNoise

_BLACK, _WHITE = 800.0, 16383.0
_OCTAVES = tuple(100.0 * 2.0**step for step in range(7))

Numbers = tuple[float, float, float]
Sites = tuple[float, float, float, float]


@dataclass(frozen=True)
class Published:
    """One camera's laws.

    Attributes:
        name: by which it is chosen.
        model: as its files call it.
        least, most: range of K, DN per electron.
        sigma, tukey, row: a, b, s of the three laws.
        shapes: range of lambda; heavy tails belong to high ISO.
        bias: at the highest ISO, DN.
    """

    name: str
    model: str
    least: float
    most: float
    sigma: Numbers
    tukey: Numbers
    row: Numbers
    shapes: tuple[float, float]
    bias: Sites = (0.0, 0.0, 0.0, 0.0)

    @property
    def lines(self) -> dict[str, Law]:
        """The laws by name."""
        laws = {"sigma": self.sigma, "sigma_tl": self.tukey, "sigma_row": self.row}
        return {name: Law(a=a, b=b, s=s) for name, (a, b, s) in laws.items()}

    def draw(self, random: np.random.Generator) -> SensorNoise:
        """Noise of a setting and a body at random, as ELD draws it for training."""
        log = random.uniform(math.log(self.least), math.log(self.most))
        sigma, scale, row = (
            math.exp(random.normal(a * log + b, s))
            for a, b, s in (self.sigma, self.tukey, self.row)
        )
        share = math.exp(log) / self.most
        a, b, c, d = (share * value for value in self.bias)
        lam = random.uniform(*self.shapes)
        return SensorNoise(math.exp(log), sigma, scale, lam, row, (a, b, c, d))

    def profile(self) -> CameraProfile:
        """The middle of the laws at whole stops."""
        stops = math.log(self.most / self.least)
        found: list[IsoNoise] = []
        for iso in _OCTAVES:
            gain = self.least * iso / 100.0
            share = math.log(gain / self.least) / stops
            scales = {
                name: math.exp(law.a * math.log(gain) + law.b) for name, law in self.lines.items()
            }
            a, b, c, d = (gain / self.most * value for value in self.bias)
            lam = self.shapes[1] + share * (self.shapes[0] - self.shapes[1])
            found.append(IsoNoise(iso=iso, K=gain, lam=lam, bias=(a, b, c, d), **scales))
        return CameraProfile(
            model=self.model, bits=14, bl=_BLACK, wl=_WHITE, iso=tuple(found), lines=self.lines
        )


PUBLISHED: tuple[Published, ...] = (
    Published(
        "canon-5d-mark-iv", "Canon EOS 5D Mark IV", 0.2182, 13.964,
        (0.67713, 1.51219, 0.24641), (0.65588, 1.09269, 0.28605), (0.47128, -0.80790, 0.24362),
        (0.0143, 0.2000), (0.2, 0.0, 0.9, 0.3),
    ),
    Published(
        "canon-70d", "Canon EOS 70D", 0.4075, 26.080,
        (0.56812, 1.99827, 0.24870), (0.48681, 1.46427, 0.38201), (0.72922, -0.93706, 0.25022),
        (-0.1714, 0.1429), (3.4, 6.1, -0.5, -1.4),
    ),
    Published(
        "canon-700d", "Canon EOS 700D", 0.4476, 28.648,
        (0.65246, 2.07986, 0.25782), (0.59824, 1.53704, 0.38882), (0.62206, -0.77565, 0.24848),
        (-0.1571, 0.1286), (2.2, 1.8, -2.5, -2.9),
    ),
    Published(
        "nikon-d850", "NIKON D850", 0.4150, 26.563,
        (0.56346, 0.79941, 0.21408), (0.47739, -0.09044, 0.23920), (0.44829, -1.79771, 0.23218),
        (-0.2429, -0.1000), (2.3, 3.7, 2.6, 0.1),
    ),
    Published(
        "sony-a7s-ii", "SONY ILCE-7SM2", 0.0939, 6.0106,
        (0.54075, 1.21824, 0.26751), (0.46210, 0.56571, 0.26337), (0.52754, -0.59170, 0.29429),
        (-0.1429, 0.1286), (4.1, 3.8, 4.3, 4.1),
    ),
)  # fmt: skip

# Measured, a setting a row: ISO, K, sigma, sigma_tl, lambda, sigma_row. At ISO 2000 the second gain
# of the pixel sets in and the read noise falls.
_SONY = (
    (100, 0.0956, 1.007, 0.702, 0.149, 0.139),
    (400, 0.3825, 2.060, 1.182, 0.022, 0.362),
    (800, 0.7650, 3.548, 1.935, -0.008, 0.572),
    (1600, 1.530, 6.299, 3.228, -0.044, 0.989),
    (2000, 1.913, 2.654, 1.436, -0.013, 0.331),
    (3200, 3.060, 3.919, 2.042, -0.035, 0.445),
    (6400, 6.120, 7.116, 3.450, -0.075, 0.722),
    (12800, 12.24, 14.25, 7.038, -0.065, 1.275),
    (25600, 24.48, 25.85, 12.18, -0.091, 2.276),
)


@lru_cache(maxsize=1)
def shipped() -> tuple[Named, ...]:
    """Profiles that come with the studio."""
    found = [Named(one.name, one.profile(), True) for one in PUBLISHED if one.name != "sony-a7s-ii"]
    sony = next(one for one in PUBLISHED if one.name == "sony-a7s-ii")
    found.append(Named(sony.name, _measured_sony(sony), True))
    found.append(Named("imx686-phone", _phone(), True))
    return tuple(found)


def named(name: str, saved: tuple[Named, ...] = ()) -> Named:
    """A profile by its name, the person's own first.

    Raises:
        UserError: there is none of that name.
    """
    known = [*saved, *shipped()]
    for one in known:
        if one.name == name:
            return one
    names = ", ".join(dict.fromkeys(one.name for one in known))
    raise UserError(f"There is no camera profile called {name}; there are {names}")


def _measured_sony(sony: Published) -> CameraProfile:
    iso = tuple(
        IsoNoise(
            iso=iso, K=gain, sigma=sigma, sigma_tl=scale, lam=lam, sigma_row=row,
            bias=(0.0, 0.0, 0.0, 0.0),
        )
        for iso, gain, sigma, scale, lam, row in _SONY
    )  # fmt: skip
    return CameraProfile(model=sony.model, bits=14, bl=512, wl=16383, iso=iso, lines=sony.lines)


def _phone() -> CameraProfile:
    """Sony's IMX686 in a phone, 10 bits."""
    lines = {
        "sigma_tl": Law(a=0.8519, b=0.0799, s=0.0292),
        "sigma_row": Law(a=0.8761, b=-2.1146, s=0.0327),
    }
    shape = 0.102
    found: list[IsoNoise] = []
    for iso in _OCTAVES[3:]:  # the laws hold for ln K from -0.19 to 2.17
        gain = 0.001366 * iso
        scale, row = (
            math.exp(lines[name].a * math.log(gain) + lines[name].b)
            for name in ("sigma_tl", "sigma_row")
        )
        found.append(
            IsoNoise(iso=iso, K=gain, sigma=scale * tukey.spread(shape), sigma_tl=scale, lam=shape,
                     sigma_row=row, bias=(-0.08, -0.05, -1.20, -0.94) if iso == 6400 else None)
        )  # fmt: skip
    return CameraProfile(
        model="IMX686 phone", bits=10, bl=64, wl=1023, iso=tuple(found), lines=lines
    )
