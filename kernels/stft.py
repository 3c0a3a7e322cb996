"""Short-time Fourier transform, its inverse, and amplitude compression of complex spectrograms.

SGMSE+ (Richter et al., TASLP 2023, section III) and everything built on it work on
b |c|^a e^(i angle c) of the STFT, which evens out the heavy-tailed amplitudes of speech.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

# Moduli below these are treated as if they were these, which bounds the gradients at 0.
_LEAST_COMPRESSED = 1e-7
_LEAST_EXPANDED = 1e-12


@dataclass(frozen=True)
class Stft:
    """One-sided, centred STFT with a periodic window of `n_fft` samples; not normalised.

    Attributes:
        n_fft: samples of a frame; there are n_fft // 2 + 1 bins.
        hop: samples from frame to frame; frame j is centred on sample j hop.
        window: "hann", or "sqrt-hann", whose square overlap-adds to a constant.
    """

    n_fft: int
    hop: int
    window: Literal["hann", "sqrt-hann"] = "hann"

    @property
    def bins(self) -> int:
        """Frequencies of a frame, 0 and Nyquist among them."""
        return self.n_fft // 2 + 1

    def frames(self, samples: int) -> int:
        """Frames that `forward` makes of so many samples."""
        return 1 + samples // self.hop

    def shape(
        self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """The window, (n_fft,)."""
        hann = torch.hann_window(self.n_fft, periodic=True, device=device, dtype=torch.float64)
        return (hann.sqrt() if self.window == "sqrt-hann" else hann).to(dtype)

    def forward(self, wave: Tensor) -> Tensor:
        """Spectrogram of a sound.

        Args:
            wave: [..., N] float32 or float64, N at least 1. Its ends are mirrored by n_fft // 2
                samples; a sound too short to be mirrored has zeros there.

        Returns:
            [..., n_fft // 2 + 1, 1 + N // hop] complex of the same precision.
        """
        flat = wave.reshape(-1, wave.shape[-1])
        spec = torch.stft(
            flat,
            self.n_fft,
            self.hop,
            window=self.shape(wave.device, wave.dtype),
            center=True,
            pad_mode="reflect" if wave.shape[-1] > self.n_fft // 2 else "constant",
            return_complex=True,
        )
        return spec.reshape(*wave.shape[:-1], *spec.shape[-2:])

    def inverse(self, spec: Tensor, length: int) -> Tensor:
        """Sound of a spectrogram by weighted overlap-add, the least-squares inverse.

        Past the last frame's centre only that frame's falling window is left to divide by, so give
        `forward` whole multiples of the hop where a spectrogram is to be changed in between.

        Args:
            spec: [..., n_fft // 2 + 1, T] complex.
            length: samples wanted, at most T hop.

        Returns:
            [..., length] of the same precision.
        """
        real = torch.float64 if spec.dtype == torch.complex128 else torch.float32
        flat = spec.reshape(-1, *spec.shape[-2:])
        wave = torch.istft(
            flat,
            self.n_fft,
            self.hop,
            window=self.shape(spec.device, real),
            center=True,
            length=length,
        )
        return wave.reshape(*spec.shape[:-2], length)


def compress(spec: Tensor, exponent: float, factor: float) -> Tensor:
    """Map each value c to factor |c|^exponent e^(i angle c), 0 to 0 with a finite gradient.

    Args:
        spec: complex, any shape.
        exponent: a, above 0 and at most 1.
        factor: b, above 0.
    """
    return spec * (factor * _modulus(spec, _LEAST_COMPRESSED) ** (exponent - 1.0))


def expand(spec: Tensor, exponent: float, factor: float) -> Tensor:
    """The inverse of `compress` with the same settings."""
    scaled = spec / factor
    return scaled * _modulus(scaled, _LEAST_EXPANDED) ** (1.0 / exponent - 1.0)


def _modulus(spec: Tensor, least: float) -> Tensor:
    """|c|, at least `least`, where the gradient is 0 (that of abs is not defined at 0)."""
    return (spec.real.square() + spec.imag.square()).clamp(min=least**2).sqrt()
