"""What the pipeline sees of any speech network: waveforms in, waveforms out.

The small networks that ship, the official StoRM pair and SGMSE+ differ in transform, rate,
conditions and sampler; all of them are a `SpectralModel` made by `engines.speech.choose`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from engines.speech.field import NoiseField
from kernels.stft import Stft, compress, expand

_LOUDER = 1.5  # modulus that the guard allows, against the louder of input and estimate
_LOST_DB = -5.0  # below it the estimate is trusted more than what was regenerated
_UNSURE_DB = 5.0  # over so many decibels the trust changes

Level = Literal["peak", "percentile"]
Noise = Callable[[int, torch.Size], Tensor]


class Watch(Protocol):
    """Told of every call of a network."""

    def check(self) -> None:
        """Called before; raises `Cancelled`."""
        ...

    def called(self) -> None:
        """Called after."""
        ...


@dataclass(frozen=True)
class Enhanced:
    """Result for some chunks, float32 on the CPU.

    `wave` is (B, N); `predicted` is what the predictive part alone gives, where `wave` was
    regenerated from it.
    """

    wave: Tensor
    predicted: Tensor | None = None


@dataclass(frozen=True)
class Transform:
    """Waveform <-> spectrogram that a network knows.

    Attributes:
        stft: frames.
        kind: what happens to the moduli: "exponent": factor |c|^exponent; "log":
            factor ln(1 + |c|); "none".
        exponent: for "exponent".
        factor: for "exponent" and "log".
        multiple: frames are filled up at the right to a multiple of this.
        mirrored: filled up by reflection where there are enough frames, else with zeros.
    """

    stft: Stft
    kind: Literal["exponent", "log", "none"] = "exponent"
    exponent: float = 0.5
    factor: float = 1.0
    multiple: int = 1
    mirrored: bool = False

    def forward(self, waves: Tensor) -> Tensor:
        """(B, N) float32 -> (B, F, T) complex64."""
        spec = self.compress(self.stft.forward(waves))
        missing = -spec.shape[-1] % self.multiple
        if self.mirrored and missing < spec.shape[-1]:
            parts = (spec.real, spec.imag)
            return torch.complex(*(functional.pad(p, (0, missing), mode="reflect") for p in parts))
        return functional.pad(spec, (0, missing))

    def inverse(self, spec: Tensor, length: int) -> Tensor:
        """(B, F, T) complex64, not compressed -> (B, length) float32."""
        return self.stft.inverse(spec[..., : self.stft.frames(length)], length)

    def compress(self, spec: Tensor) -> Tensor:
        """Complex values -> as the network knows them."""
        if self.kind == "exponent":
            return compress(spec, self.exponent, self.factor)
        if self.kind == "log":
            modulus = spec.abs().clamp(min=1e-12)
            return spec * (self.factor * torch.log1p(modulus) / modulus)
        return spec

    def expand(self, spec: Tensor) -> Tensor:
        """The inverse of `compress`."""
        if self.kind == "exponent":
            return expand(spec, self.exponent, self.factor)
        if self.kind == "log":
            modulus = spec.abs().clamp(min=1e-12)
            return spec * (torch.expm1(modulus / self.factor) / modulus)
        return spec


@dataclass(frozen=True)
class Cut:
    """Chunks that a model likes, in samples at its rate; see `engines.sound.chunks.ChunkPlan`."""

    length: int
    margin: int
    fade: int
    batch: int


Predict = Callable[[Tensor], Tensor]
Sample = Callable[[Tensor, Tensor, Noise, Watch], Tensor]


@dataclass(frozen=True)
class SpectralModel:
    """A predictive part, a sampler, or both.

    Attributes:
        rate: Hz that it works at.
        transform: see `Transform`.
        cut: see `Cut`.
        device: torch device of its networks.
        field: noise of the sampler.
        predict: compressed noisy spectrogram -> compressed estimate; None for a model without.
        sample: (noisy, estimate or noisy again, noise, watch) -> compressed result; None to stop
            at the estimate.
        sample_calls: network calls of `sample`.
        guarded: whether the invention guard limits what `sample` gives.
        level: what of the recording the networks want at 1: its peak, or the 99.9th percentile
            of its moduli.
    """

    rate: int
    transform: Transform
    cut: Cut
    device: str
    field: NoiseField
    predict: Predict | None
    sample: Sample | None
    sample_calls: int
    guarded: bool
    level: Level

    @property
    def hop(self) -> int:
        """Samples from frame to frame."""
        return self.transform.stft.hop

    @property
    def calls(self) -> int:
        """Network calls for a chunk."""
        return (self.predict is not None) + (self.sample_calls if self.sample is not None else 0)

    @property
    def regenerates(self) -> bool:
        """Whether the result is drawn from a learned distribution rather than predicted."""
        return self.sample is not None

    @torch.inference_mode()
    def enhance(self, waves: Tensor, firsts: Sequence[int], watch: Watch) -> Enhanced:
        """Enhance chunks of equal length.

        Args:
            waves: (B, N) float32 on the CPU, N a multiple of the hop.
            firsts: number of each chunk's first frame in its recording.
            watch: told of every network call; may raise `Cancelled`.
        """
        length = waves.shape[1]
        y = self.transform.forward(waves.to(self.device))
        d = y
        if self.predict is not None:
            watch.check()
            d = self.predict(y)
            watch.called()
        estimate = self.transform.expand(d)
        if self.sample is None:
            return Enhanced(self._wave(estimate, length))
        x = self.transform.expand(self.sample(y, d, self._noise(firsts, y), watch))
        if self.guarded:
            x = guard(x, self.transform.expand(y), estimate if self.predict is not None else None)
        predicted = self._wave(estimate, length) if self.predict is not None else None
        return Enhanced(self._wave(x, length), predicted)

    def _wave(self, spec: Tensor, length: int) -> Tensor:
        return self.transform.inverse(spec, length).to("cpu", torch.float32)

    def _noise(self, firsts: Sequence[int], like: Tensor) -> Noise:
        bins, frames = like.shape[1:]

        def draw(number: int, shape: torch.Size) -> Tensor:
            if shape != like.shape:
                raise ValueError(f"noise of shape {tuple(shape)} for {tuple(like.shape)}")
            known: dict[int, Tensor] = {}
            for first in firsts:
                if first not in known:
                    known[first] = self.field.frames(number, first, frames, bins)
            return torch.stack([known[first] for first in firsts]).to(like.device)

        return draw


def guard(x: Tensor, y: Tensor, d: Tensor | None) -> Tensor:
    """Keep a sampler from inventing sound.

    No bin becomes louder than 1.5 times the louder of input and estimate within one frame to
    either side; frames in which the estimate finds hardly any speech are taken from the estimate.

    Args:
        x: (B, F, T) complex, not compressed, what was sampled.
        y: the noisy input, likewise.
        d: the predictive estimate, likewise, if there is one.
    """
    loudest = y.abs() if d is None else torch.maximum(y.abs(), d.abs())
    limit = _LOUDER * functional.max_pool1d(loudest, 3, stride=1, padding=1)
    x = x * (limit / x.abs().clamp(min=1e-12)).clamp(max=1.0)
    if d is None:
        return x
    ratio = _power(d) / _power(y - d).clamp(min=1e-12)
    decibels = 10.0 * ratio.clamp(min=1e-12).log10()
    trust = ((decibels - _LOST_DB) / _UNSURE_DB + 0.5).clamp(0.0, 1.0)
    trust = functional.avg_pool1d(trust, 3, stride=1, padding=1, count_include_pad=False)
    return d + trust * (x - d)


def _power(spec: Tensor) -> Tensor:
    """(B, F, T) -> (B, 1, T): power of each frame."""
    return (spec.real.square() + spec.imag.square()).sum(dim=1, keepdim=True)
