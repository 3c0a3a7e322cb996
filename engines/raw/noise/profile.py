"""What the noise of one camera is at each ISO: the profile that calibration writes and others read.

It is a small JSON object that people hand on: `model`, `bits`, `bl`, `wl`, `iso` (a list) and
`lines`. What was not measured is null: dark frames alone say nothing of K, flats alone nothing of
rows. Levels are digital numbers (DN) of that camera; logarithms are natural.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engines.base import UserError

# What stands for the profile of the file's own camera, and for none.
AUTO, NONE = "auto", "none"
# What parameters that name a profile give as `models`: with the second, "none" may be chosen.
PROFILES, PROFILES_OR_NONE = "raw.profile", "raw.profile/none"
_LARGEST = 1 << 20  # bytes of a file that may be a profile
_SAME_ISO = 0.02
MOST_HOT = 4096  # photosites named in one profile

Positive = Annotated[float, Field(gt=0.0, le=1e7, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0.0, le=1e7, allow_inf_nan=False)]
Finite = Annotated[float, Field(ge=-1e7, le=1e7, allow_inf_nan=False)]
Shape = Annotated[float, Field(ge=-0.45, le=2.0, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class IsoNoise(_Part):
    """Noise at one ISO setting.

    Attributes:
        K: gain, DN per electron.
        sigma: standard deviation of a pixel's read noise without rows and rounding, DN.
        sigma_tl, lam: scale (DN) and shape of the Tukey-lambda law of the same noise.
        sigma_row: standard deviation of the offset that a row's pixels share, DN.
        bias: mean in the dark above the black level at R, G beside R, G beside B and B, DN.
    """

    iso: Positive
    K: Positive | None = None
    sigma: NotNegative | None = None
    sigma_tl: NotNegative | None = None
    lam: Shape | None = None
    sigma_row: NotNegative | None = None
    bias: tuple[Finite, Finite, Finite, Finite] | None = None


class Law(_Part):
    """ln(value) = a * ln(K) + b, with scatter s (standard deviation of the residual) and R²."""

    a: Finite
    b: Finite
    s: NotNegative = 0.0
    r2: Annotated[float, Field(le=1.0, allow_inf_nan=False)] | None = None


class CameraProfile(_Part):
    """Noise of one camera.

    Attributes:
        model: make and model.
        bits: bits of its samples.
        bl, wl: black and white level, DN.
        iso: settings in rising order.
        lines: laws of "sigma", "sigma_tl" and "sigma_row" over K.
        hot: row and column of photosites of the visible area that are lit in the dark.
    """

    model: Annotated[str, Field(min_length=1, max_length=120)]
    bits: Annotated[int, Field(ge=8, le=16)]
    bl: NotNegative
    wl: Positive
    iso: Annotated[tuple[IsoNoise, ...], Field(min_length=1, max_length=200)]
    lines: dict[str, Law] = Field(default_factory=dict, max_length=20)
    hot: Annotated[
        tuple[tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]], ...],
        Field(max_length=MOST_HOT),
    ] = ()

    @model_validator(mode="after")
    def _levels(self) -> CameraProfile:
        if self.bl >= self.wl:
            raise ValueError("Black lies at or above white")
        return self

    @property
    def span(self) -> float:
        """White minus black, DN."""
        return self.wl - self.bl

    def to_json(self) -> str:
        """The shared form; without `hot` where there are none."""
        values = self.model_dump(mode="json", exclude={"hot"} if not self.hot else None)
        values["iso"] = [one.model_dump(mode="json") for one in self.iso]
        return json.dumps(values, indent=2) + "\n"

    def at(self, iso: float) -> IsoNoise:
        """Noise at any ISO: measured there, or between and beyond the measured ones.

        Scales run along straight lines in logarithms, shape and bias along those of ln(ISO). Beyond
        the measured range K goes on with ISO, scales by their laws where there are any.
        """
        iso = min(
            (one.iso for one in self.iso if abs(one.iso / iso - 1.0) < _SAME_ISO),
            key=lambda known: abs(known - iso),
            default=iso,
        )
        gain = self._along(iso, lambda one: one.K)
        if gain is not None and not self._within(iso, lambda one: one.K):
            nearest = min(
                (one for one in self.iso if one.K is not None),
                key=lambda one: abs(math.log(one.iso / iso)),
            )
            gain = (nearest.K or 1.0) * iso / nearest.iso
        found: dict[str, Any] = {"iso": iso, "K": gain}
        for name in ("sigma", "sigma_tl", "sigma_row"):
            value = self._along(iso, lambda one, name=name: getattr(one, name))
            law = self.lines.get(name)
            outside = not self._within(iso, lambda one, name=name: getattr(one, name))
            if law is not None and gain is not None and outside:
                value = math.exp(law.a * math.log(gain) + law.b)
            found[name] = value
        found["lam"] = self._along(iso, lambda one: one.lam, logarithmic=False)
        sites = [
            self._along(iso, lambda one, n=n: one.bias[n] if one.bias else None, logarithmic=False)
            for n in range(4)
        ]
        found["bias"] = None if None in sites else tuple(sites)
        return IsoNoise.model_validate(found)

    def _known(self, value: Callable[[IsoNoise], float | None]) -> list[tuple[float, float]]:
        pairs = [(one.iso, value(one)) for one in self.iso]
        return sorted((iso, found) for iso, found in pairs if found is not None)

    def _within(self, iso: float, value: Callable[[IsoNoise], float | None]) -> bool:
        known = self._known(value)
        return bool(known) and known[0][0] <= iso <= known[-1][0]

    def _along(
        self, iso: float, value: Callable[[IsoNoise], float | None], *, logarithmic: bool = True
    ) -> float | None:
        known = self._known(value)
        if not known:
            return None
        below = max((pair for pair in known if pair[0] <= iso), default=known[0])
        above = min((pair for pair in known if pair[0] >= iso), default=known[-1])
        if below[0] == above[0]:
            return below[1]
        share = math.log(iso / below[0]) / math.log(above[0] / below[0])
        if logarithmic and min(below[1], above[1]) > 0.0:
            return below[1] * (above[1] / below[1]) ** share
        return below[1] + share * (above[1] - below[1])


@dataclass(frozen=True)
class Named:
    """A profile and the name by which it is chosen; `shipped` ones are of published cameras."""

    name: str
    profile: CameraProfile
    shipped: bool


def parse_profile(text: str | bytes, named: str = "This profile") -> CameraProfile:
    """A profile from JSON that anybody may have written.

    Raises:
        UserError: it is no profile; the sentence says what is wrong with it.
    """
    try:
        values: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{named} is no JSON; choose the file that calibration wrote") from error
    return profile_of(values, named)


def profile_of(values: Any, named: str = "This profile") -> CameraProfile:
    """A profile from what JSON was read as; see `parse_profile`."""
    if not isinstance(values, dict):
        raise UserError(f"{named} is no camera profile; it has to be a JSON object")
    try:
        found = CameraProfile.model_validate(values)
    except ValidationError as error:
        first: Any = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "it"
        what = str(first["msg"]).removeprefix("Value error, ")
        raise UserError(
            f"{named} is no camera profile: {place}: {what[:1].lower()}{what[1:]}"
        ) from error
    return found.model_copy(update={"iso": tuple(sorted(found.iso, key=lambda one: one.iso))})


def read_profile(path: Path) -> CameraProfile:
    """A profile from a file.

    Raises:
        UserError: it cannot be read, or is no profile.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise UserError(f"{path.name} is too large for a camera profile")
        text = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path.name} could not be read; check the path") from error
    return parse_profile(text, path.name)


def laws(iso: Sequence[IsoNoise]) -> dict[str, Law]:
    """Straight lines of the logarithms of the scales over that of K, by least squares.

    A law needs two settings with different K; its scatter and R² need three.
    """
    found: dict[str, Law] = {}
    for name in ("sigma", "sigma_tl", "sigma_row"):
        points = [
            (math.log(one.K), math.log(getattr(one, name)))
            for one in iso
            if one.K is not None and (getattr(one, name) or 0.0) > 0.0
        ]
        law = _law(points)
        if law is not None:
            found[name] = law
    return found


def _law(points: Sequence[tuple[float, float]]) -> Law | None:
    if len(points) < 2:
        return None
    count = len(points)
    mean_x, mean_y = (sum(point[n] for point in points) / count for n in (0, 1))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if spread < 1e-9:
        return None
    a = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    b = mean_y - a * mean_x
    left = sum((y - a * x - b) ** 2 for x, y in points)
    whole = sum((y - mean_y) ** 2 for _, y in points)
    return Law(
        a=a,
        b=b,
        s=math.sqrt(left / (count - 2)) if count > 2 else 0.0,
        r2=1.0 - left / whole if whole > 0.0 and count > 2 else None,
    )
