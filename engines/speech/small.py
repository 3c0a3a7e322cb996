"""The small networks that ship: StoRM's idea at a cost that two CPU cores carry.

Both parts are one convolutional U-Net over time and frequency with attention over its coarsest
level: `SpeechNet` predicts the clean spectrogram in one call, `BridgeNet` refines it along a
Schroedinger bridge (Lemercier et al., "StoRM", TASLP 2023; Jukic et al., "Schroedinger Bridge for
Generative Speech Enhancement", 2024). Spectrograms are complex, (B, 257, T), 16 kHz, 512-point
sqrt-Hann frames every 256 samples, with moduli raised to 0.5 (`kernels.stft.compress`).

Plain 3x3 convolutions run near a processor's peak, which dual-path recurrent networks of fewer
operations do not. No activation is normalised; what a chunk has in all reaches a point through
its bins' floors and means and through the attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from engines.sound.layers import Attention, StandardConv
from engines.speech.sde import SBVE
from kernels.stft import Stft

BINS = 257
BRIDGE = SBVE(k=2.6, c=0.4)
STFT = Stft(512, 256, "sqrt-hann")
EXPONENT, FACTOR = 0.5, 0.13  # of `kernels.stft.compress`
PREDICTIVE_MAPS = 5  # what a network sees of the noisy spectrogram
BRIDGE_MAPS = PREDICTIVE_MAPS + 2 * 3
_MERGE = 2  # neighbouring bins that share a position


class SmallUnet(nn.Module):
    """U-Net on (B, features, T, 256) maps; every level halves time and frequency.

    Args:
        features: input maps.
        outputs: output maps.
        conditions: numbers (B, conditions) that steer every block, such as the diffusion time.
        widths: channels of the levels, finest first.
        blocks: residual blocks of each level on the way down; the way up has one each.
    """

    position: Tensor  # (2, 256): frequency, linear and bent

    def __init__(
        self,
        features: int,
        outputs: int,
        conditions: int,
        widths: Sequence[int],
        blocks: Sequence[int],
    ) -> None:
        super().__init__()
        self.stride = 2 ** (len(widths) - 1)
        first = widths[0]
        position = torch.linspace(-1.0, 1.0, 256)
        self.register_buffer(
            "position", torch.stack([position, (2.0 + position).log() - 0.5]), persistent=False
        )
        self.stem = nn.Conv2d(stem_inputs(features), first, 3, padding=1)
        self.condition = nn.Sequential(nn.Linear(conditions, 64), nn.SiLU(), nn.Linear(64, 64))
        self.down = nn.ModuleList()
        self.encode = nn.ModuleList()
        self.up = nn.ModuleList()
        self.decode = nn.ModuleList()
        for level, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            if level:
                self.down.append(nn.Conv2d(widths[level - 1], width, 2, stride=2))
                self.up.append(nn.ConvTranspose2d(width, widths[level - 1], 2, stride=2))
                self.decode.append(_Block(widths[level - 1]))
            self.encode.append(nn.ModuleList(_Block(width) for _ in range(count)))
        self.middle = nn.ModuleList([Attention(widths[-1]), _Block(widths[-1])])
        self.head = nn.Conv2d(first, outputs * _MERGE, 3, padding=1)

    def forward(self, maps: Tensor, condition: Tensor) -> Tensor:
        """(B, features, T, 256), (B, conditions) -> (B, outputs, T, 256); any T."""
        batch, _, frames, _ = maps.shape
        position = self.position[None, :, None, :].expand(batch, -1, frames, -1)
        x = _merge(torch.cat([maps, position], dim=1))
        x = functional.pad(x, (0, 0, 0, -frames % self.stride))
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        steer = self.condition(condition)
        skips: list[Tensor] = []
        for level, blocks in enumerate(self.encode):
            if level:
                skips.append(x)
                x = self.down[level - 1](x)
            for block in cast("nn.ModuleList", blocks):
                x = block(x, steer)
        attention, block = self.middle
        x = block(attention(x), steer)
        for level in range(len(skips) - 1, -1, -1):
            x = self.up[level](x) + skips[level]
            x = self.decode[level](x, steer)
        x = self.head(functional.leaky_relu(x, 0.1))[:, :, :frames]
        return _split(x)


class SpeechNet(nn.Module):
    """StoRM's predictive part: noisy spectrogram -> clean spectrogram in one call."""

    def __init__(self, widths: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        self.unet = SmallUnet(PREDICTIVE_MAPS, 4, 1, widths, blocks)
        _silence(self.unet.head)

    def forward(self, y: Tensor, dry: Tensor) -> Tensor:
        """Args: y (B, 257, T) complex64 compressed; dry (B,): 0 keeps the room, 1 removes it too.

        Returns the estimate, shaped like `y`.
        """
        return mask(self.unet(noisy_maps(y), dry[:, None]), y)


class BridgeNet(nn.Module):
    """The refiner: clean spectrogram from a point of the bridge between it and D(y).

    It begins as the predictive network that it refines (`begin_as`) and learns what the two
    further spectrograms tell.
    """

    def __init__(self, widths: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        self.unet = SmallUnet(BRIDGE_MAPS, 4, 2, widths, blocks)

    def forward(self, x_t: Tensor, y: Tensor, d: Tensor, t: Tensor) -> Tensor:
        """Args: x_t, y, d (B, 257, T) complex64 compressed: the state at time t (B,) in (0, 1],
        what was recorded, and the prediction D(y).

        Returns the estimate of the clean spectrogram, shaped like `y`.
        """
        time = torch.stack([t, t.clamp(min=1e-3).log() / 3.5], dim=1)
        maps = torch.cat([noisy_maps(y), _maps(x_t), _maps(d)], dim=1)
        return mask(self.unet(maps, time), y)

    @torch.no_grad()
    def begin_as(self, predictive: SpeechNet) -> None:
        """Take over a predictive network of the same widths, so that the output is D(y, 0)."""
        ours, theirs = self.unet.state_dict(), predictive.unet.state_dict()
        for name, value in theirs.items():
            if ours[name].shape == value.shape:
                ours[name].copy_(value)
        # Maps enter in pairs of bins: those of y, of the other two, of the position.
        stem = torch.zeros_like(ours["stem.weight"]).unflatten(1, (-1, _MERGE))
        known = theirs["stem.weight"].unflatten(1, (-1, _MERGE))
        seen = PREDICTIVE_MAPS
        stem[:, :seen], stem[:, -2:] = known[:, :seen], known[:, -2:]
        ours["stem.weight"].copy_(stem.flatten(1, 2))
        ours["condition.0.weight"].zero_()


class SmallStorm(nn.Module):
    """Both parts as they ship: `denoiser` alone is Fast; `refiner` makes Natural and Best."""

    def __init__(
        self,
        widths: Sequence[int],
        blocks: Sequence[int],
        *,
        refiner: bool = True,
    ) -> None:
        super().__init__()
        self.denoiser = SpeechNet(widths, blocks)
        self.refiner = BridgeNet(widths, blocks) if refiner else None


def noisy_maps(y: Tensor) -> Tensor:
    """(B, 257, T) complex -> (B, 5, T, 256): `_maps`, and how far each point lies above the floor
    (tenth percentile) and the mean of its bin over time.

    A network could find steady noise by itself, but learns it far sooner when it is told.
    """
    maps = _maps(y)
    level = maps[:, 2]
    floor = level.kthvalue(1 + (level.shape[1] - 1) // 10, dim=1, keepdim=True).values
    above = torch.stack([level - floor, level - level.mean(dim=1, keepdim=True)], dim=1)
    return torch.cat([maps, above], dim=1)


def _maps(spectrum: Tensor) -> Tensor:
    """(B, 257, T) complex -> (B, 3, T, 256): real, imaginary and logarithmic modulus.

    The bin at half the sampling rate takes its neighbour's gain and is not looked at.
    """
    part = spectrum[:, :-1].transpose(1, 2)
    power = part.real.square() + part.imag.square()
    return torch.stack([part.real, part.imag, (power + 1e-5).log() / 6.0 + 0.7], dim=1)


def mask(maps: Tensor, y: Tensor) -> Tensor:
    """Apply four maps (B, 4, T, 256) to `y` (B, 257, T): a bounded complex gain, and what is added.

    The gain is 1 where the first two maps are 0, and its modulus is below 2.
    """
    maps = maps.float()
    raw = torch.complex(maps[:, 0] + 0.5493, maps[:, 1])  # tanh(0.5493) = 0.5
    modulus = (raw.real.square() + raw.imag.square() + 1e-12).sqrt()
    gain = raw * (2.0 * modulus.tanh() / modulus)
    gain = torch.cat([gain, gain[:, :, -1:]], dim=2).transpose(1, 2)
    added = functional.pad(maps[:, 2:], (0, 1)).transpose(2, 3)
    return gain * y + torch.complex(added[:, 0], added[:, 1])


class _Block(nn.Module):
    """Residual block of two 3x3 convolutions; between them it is steered, and told what every
    frequency is like on average over time, which is how steady noise shows.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = StandardConv(width)
        self.second = StandardConv(width)
        self.steady = nn.Conv2d(width, width, 1)
        self.steer = nn.Linear(64, 2 * width)
        nn.init.zeros_(self.second.gain)
        for layer in (self.steady, self.steer):
            _silence(layer)

    def forward(self, x: Tensor, steer: Tensor) -> Tensor:
        scale, shift = self.steer(steer)[:, :, None, None].chunk(2, dim=1)
        inner = self.first(functional.leaky_relu(x, 0.1))
        steady = self.steady(inner.mean(dim=2, keepdim=True))
        inner = inner * (1.0 + scale) + (shift + steady)
        return x + self.second(functional.leaky_relu(inner, 0.1))


def stem_inputs(features: int) -> int:
    """Channels of a network's first convolution: its maps and two of position, bins in pairs."""
    return (features + 2) * _MERGE


def _silence(layer: nn.Module) -> None:
    """Start a layer at nought."""
    for weights in layer.parameters():
        nn.init.zeros_(weights)


def _merge(maps: Tensor) -> Tensor:
    """(B, C, T, F) -> (B, 2 C, T, F / 2)."""
    batch, channels, frames, bins = maps.shape
    pairs = maps.reshape(batch, channels, frames, bins // _MERGE, _MERGE)
    return pairs.permute(0, 1, 4, 2, 3).reshape(batch, -1, frames, bins // _MERGE)


def _split(maps: Tensor) -> Tensor:
    """The inverse of `_merge`."""
    batch, channels, frames, bins = maps.shape
    pairs = maps.reshape(batch, channels // _MERGE, _MERGE, frames, bins)
    return pairs.permute(0, 1, 3, 4, 2).reshape(batch, channels // _MERGE, frames, bins * _MERGE)
