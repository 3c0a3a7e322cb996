"""The numbers of one exposure's noise."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engines.base import UserError
from engines.raw.noise import tukey
from engines.raw.noise.profile import IsoNoise

NO_BIAS = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class SensorNoise:
    """All numbers of one exposure's noise, DN (see `IsoNoise` for the fields)."""

    K: float
    sigma: float
    sigma_tl: float
    lam: float
    sigma_row: float
    bias: tuple[float, float, float, float]

    @classmethod
    def of(cls, iso: IsoNoise, named: str = "The profile") -> SensorNoise:
        """From a profile's entry; rows and bias that nobody measured are none.

        Raises:
            UserError: gain or read noise is not known.
        """
        if iso.K is None or (iso.sigma is None and iso.sigma_tl is None):
            what = "K" if iso.K is None else "its read noise"
            raise UserError(
                f"{named} does not say {what} at ISO {iso.iso:.0f}; calibrate with "
                f"{'flat' if iso.K is None else 'dark'} frames too, or choose another"
            )
        lam = iso.lam if iso.lam is not None else 0.14
        scale = iso.sigma_tl
        if scale is None:
            scale = (iso.sigma or 0.0) / tukey.spread(lam)
        sigma = iso.sigma if iso.sigma is not None else scale * tukey.spread(lam)
        return cls(iso.K, sigma, scale, lam, iso.sigma_row or 0.0, iso.bias or NO_BIAS)

    @property
    def deviation(self) -> float:
        """Standard deviation of a pixel's read noise as Tukey's law has it, DN.

        `sigma` is that of the Gaussian which fits best; of published cameras the two differ by up
        to a tenth.
        """
        return self.sigma_tl * tukey.spread(self.lam)

    def times(self, factor: float) -> SensorNoise:
        """The same noise where a step is `factor` times as fine."""
        a, b, c, d = (value * factor for value in self.bias)
        return replace(
            self,
            K=self.K * factor,
            sigma=self.sigma * factor,
            sigma_tl=self.sigma_tl * factor,
            sigma_row=self.sigma_row * factor,
            bias=(a, b, c, d),
        )
