"""NCSN++ on complex spectrograms: the networks of SGMSE+ and of StoRM.

One U-Net (Song et al. 2021 as Richter et al. 2023 and Lemercier et al. 2023 configured it) whose
layers stand in one list in the order of their calls, so that the names, shapes and order of the
tensors are those of the published checkpoints. The published variants differ in few settings:

| variant | `backbone` | `centred` | `pyramid` | `conditional` |
|---|---|---|---|---|
| SGMSE+ 16 kHz, StoRM's score network | ncsnpp | SGMSE+ True, StoRM False | True | True |
| SGMSE+ 48 kHz | ncsnpp_48k | True | False | True |
| SGMSE+ training objectives, bridge | ncsnpp_v2 | True | True | True |
| StoRM's predictive network | ncsnpp | False | True | False |
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from engines.speech import fir
from engines.speech.settings import Backbone

_HALF = math.sqrt(0.5)


class Fourier(nn.Module):
    """Features of log t at random, fixed frequencies: [B] -> [B, 2 size]."""

    def __init__(self, size: int, scale: float = 16.0) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.randn(size) * scale, requires_grad=False)

    def forward(self, t: Tensor) -> Tensor:
        """Sines, then cosines."""
        angles = torch.log(t)[:, None] * self.W * (2 * math.pi)
        return torch.cat((angles.sin(), angles.cos()), dim=1)


class Norm(nn.GroupNorm):
    """Group normalisation with up to 32 groups of at least 4 channels."""

    def __init__(self, channels: int) -> None:
        super().__init__(min(channels // 4, 32), channels, eps=1e-6)


class Combine(nn.Module):
    """Adds a 1 x 1 projection of the input pyramid."""

    def __init__(self, pyramid: int, channels: int) -> None:
        super().__init__()
        self.Conv_0 = nn.Conv2d(pyramid, channels, 1)

    def forward(self, pyramid: Tensor, h: Tensor) -> Tensor:
        """[B, pyramid, F, T] and [B, channels, F, T] -> [B, channels, F, T]."""
        return self.Conv_0(pyramid) + h


class Residual(nn.Module):
    """BigGAN's residual block, with the time embedding and FIR resampling where asked for."""

    def __init__(
        self, channels: int, width: int, time: int, resample: Literal["", "up", "down"] = ""
    ) -> None:
        super().__init__()
        self._resample = resample
        self.GroupNorm_0 = Norm(channels)
        self.Conv_0 = nn.Conv2d(channels, width, 3, padding=1)
        self.Dense_0 = nn.Linear(time, width)
        self.GroupNorm_1 = Norm(width)
        self.Conv_1 = nn.Conv2d(width, width, 3, padding=1)
        self.Conv_2 = nn.Conv2d(channels, width, 1) if channels != width or resample else None

    def forward(self, x: Tensor, time: Tensor | None) -> Tensor:
        """[B, channels, F, T] and the activated embedding [B, time] -> [B, width, F', T']."""
        h = functional.silu(self.GroupNorm_0(x))
        if self._resample:
            resample = fir.double if self._resample == "up" else fir.halve
            h, x = resample(h), resample(x)
        h = self.Conv_0(h)
        if time is not None:
            h = h + self.Dense_0(time)[:, :, None, None]
        h = self.Conv_1(functional.silu(self.GroupNorm_1(h)))
        return (h + (x if self.Conv_2 is None else self.Conv_2(x))) * _HALF


class Pointwise(nn.Module):
    """A linear map of the channels at every position, stored as [in, out]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.randn(channels, channels) * channels**-0.5)
        self.b = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, C] -> [B, N, C]."""
        return torch.matmul(x, self.W) + self.b


class Attention(nn.Module):
    """Self-attention with one head over all positions, in memory linear in their number."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.GroupNorm_0 = Norm(channels)
        self.NIN_0 = Pointwise(channels)
        self.NIN_1 = Pointwise(channels)
        self.NIN_2 = Pointwise(channels)
        self.NIN_3 = Pointwise(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, F, T] -> [B, C, F, T]."""
        h = self.GroupNorm_0(x).flatten(2).transpose(1, 2)
        query, key, value = (part(h)[:, None] for part in (self.NIN_0, self.NIN_1, self.NIN_2))
        h = self.NIN_3(functional.scaled_dot_product_attention(query, key, value)[:, 0])
        return (x + h.transpose(1, 2).reshape(x.shape)) * _HALF


class NCSNpp(nn.Module):
    """NCSN++: complex spectrograms and a time in, one complex spectrogram out.

    Args:
        nf: channels of the finest level, a multiple of 4.
        ch_mult: width of each level in units of `nf`; each level halves F and T.
        num_res_blocks: residual blocks of each level on the way down; one more on the way up.
        attention: levels (0 is the finest) with attention after each block; the middle has it
            always.
        spectra: complex spectrograms at the input, each two real channels.
        backbone: what becomes of the output: "ncsnpp" divides by t before the last layer,
            "ncsnpp_48k" after it, "ncsnpp_v2" does not divide.
        centred: False maps the input v to 2 v - 1 (StoRM).
        pyramid: True passes the resampled input and output beside the U-Net.
        conditional: False makes a network without time, which divides by nothing.
    """

    def __init__(
        self,
        nf: int = 128,
        ch_mult: Sequence[int] = (1, 1, 2, 2, 2, 2, 2),
        num_res_blocks: int = 2,
        attention: Sequence[int] = (4,),
        spectra: int = 2,
        backbone: Backbone = "ncsnpp",
        centred: bool = True,
        pyramid: bool = True,
        conditional: bool = True,
    ) -> None:
        super().__init__()
        self.spectra, self.backbone, self.centred = spectra, backbone, centred
        self.pyramid, self.conditional = pyramid, conditional
        self._levels, self._blocks, self._attention = len(ch_mult), num_res_blocks, set(attention)
        channels, time = 2 * spectra, 4 * nf
        self.output_layer = nn.Conv2d(channels, 2, 1)
        layers: list[nn.Module] = [Fourier(nf)]
        if conditional:
            layers += [nn.Linear(2 * nf, time), nn.Linear(time, time)]
        layers.append(nn.Conv2d(channels, nf, 3, padding=1))
        width, skips = nf, [nf]
        for level, multiple in enumerate(ch_mult):
            for _ in range(num_res_blocks):
                layers.append(Residual(width, nf * multiple, time))
                width = nf * multiple
                if level in self._attention:
                    layers.append(Attention(width))
                skips.append(width)
            if level + 1 < self._levels:
                layers.append(Residual(width, width, time, "down"))
                if pyramid:
                    layers.append(Combine(channels, width))
                skips.append(width)
        layers += [Residual(width, width, time), Attention(width), Residual(width, width, time)]
        for level, multiple in reversed(list(enumerate(ch_mult))):
            for _ in range(num_res_blocks + 1):
                layers.append(Residual(width + skips.pop(), nf * multiple, time))
                width = nf * multiple
            if level in self._attention:
                layers.append(Attention(width))
            if pyramid:
                layers += [Norm(width), nn.Conv2d(width, channels, 3, padding=1)]
            if level:
                layers.append(Residual(width, width, time, "up"))
        if not pyramid:
            layers += [Norm(width), nn.Conv2d(width, channels, 3, padding=1)]
        self.all_modules = nn.ModuleList(layers)

    @property
    def stride(self) -> int:
        """What F and T must be multiples of."""
        return 2 ** (self._levels - 1)

    def initialise(self, generator: torch.Generator) -> None:
        """Random weights to train from: Glorot-uniform, the last layer of each part nearly 0."""
        last = {id(m.Conv_1.weight) for m in self.modules() if isinstance(m, Residual)}
        last |= {id(m.NIN_3.W) for m in self.modules() if isinstance(m, Attention)}
        for name, parameter in self.named_parameters():
            if name == "all_modules.0.W":
                nn.init.normal_(parameter, 0.0, 16.0, generator)
            elif parameter.ndim > 1:
                gain = 1e-5 if id(parameter) in last else 1.0
                nn.init.xavier_uniform_(parameter, gain, generator)
            else:
                nn.init.zeros_(parameter)
        for module in self.modules():
            if isinstance(module, Norm):
                nn.init.ones_(module.weight)

    def forward(self, x: Tensor, t: Tensor | None = None) -> Tensor:
        """Run the network.

        Args:
            x: complex64 [B, spectra, F, T], in SGMSE+'s order (x_t, y) and StoRM's (x_t, y, D(y));
                F and T are multiples of `stride`.
            t: float32 [B], times above 0; None for a network that is not `conditional`.

        Returns:
            complex64 [B, 1, F, T].
        """
        v = torch.view_as_real(x).movedim(-1, 2).flatten(1, 2)
        if not self.centred:
            v = 2 * v - 1
        # every layer keeps this order; it is some 15 % faster on a processor
        v = v.contiguous(memory_format=torch.channels_last)
        layers = iter(self.all_modules)
        embedded = next(layers)
        time: Tensor | None = None
        if self.conditional:
            assert t is not None, "this network needs a time"
            first, second = next(layers), next(layers)
            time = functional.silu(second(functional.silu(first(embedded(t)))))
        h = self._unet(v, time, layers)
        if self.conditional and self.backbone == "ncsnpp":
            assert t is not None
            h = h / t[:, None, None, None]
        h = self.output_layer(h)
        if self.conditional and self.backbone == "ncsnpp_48k":
            assert t is not None
            h = h / t[:, None, None, None]
        return torch.complex(h[:, :1].contiguous(), h[:, 1:].contiguous())

    def _unet(self, v: Tensor, time: Tensor | None, layers: Iterator[nn.Module]) -> Tensor:
        pyramid = v
        h = next(layers)(v)
        skips = [h]
        for level in range(self._levels):
            for _ in range(self._blocks):
                h = next(layers)(h, time)
                if level in self._attention:
                    h = next(layers)(h)
                skips.append(h)
            if level + 1 < self._levels:
                h = next(layers)(h, time)
                if self.pyramid:
                    pyramid = fir.halve(pyramid)
                    h = next(layers)(pyramid, h)
                skips.append(h)
        h = next(layers)(h, time)
        h = next(layers)(h)
        h = next(layers)(h, time)
        out: Tensor | None = None
        for level in reversed(range(self._levels)):
            for _ in range(self._blocks + 1):
                h = next(layers)(torch.cat((h, skips.pop()), dim=1), time)
            if level in self._attention:
                h = next(layers)(h)
            if self.pyramid:
                part: Tensor = next(layers)(h)
                part = next(layers)(functional.silu(part))
                out = part if out is None else fir.double(out) + part
            if level:
                h = next(layers)(h, time)
        if out is not None:
            return out
        h = next(layers)(h)
        return next(layers)(functional.silu(h))
