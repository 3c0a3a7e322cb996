"""SNR-Net for one noise level, which is one for a whole picture: less to work out a pixel.

What the guide scales and shifts is folded into the weights of the convolution before it, and the
1 x 1 convolution behind a concatenation is parted, its first half folded into the transposed
convolution that feeds it. The function is the same up to rounding (see the tests). Where the
processor multiplies bfloat16 natively, features may be of that type; input and output are float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from engines.raw.yond.arch import GuidedBlock, GuidedResUnet

_LAST = torch.channels_last


@dataclass(frozen=True)
class _Conv:
    weight: Tensor
    bias: Tensor | None
    stride: int = 1
    padding: int = 0

    def __call__(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight, self.bias, self.stride, self.padding)


@dataclass(frozen=True)
class _Block:
    first: _Conv
    second: _Conv

    def __call__(self, x: Tensor) -> Tensor:
        h = functional.silu(self.first(functional.silu(x)), inplace=True)
        return self.second(h).add_(x)


@dataclass(frozen=True)
class _Up:
    """Transposed convolution, and what was kept on the way down through its 1 x 1 convolution."""

    weight: Tensor
    bias: Tensor
    kept: _Conv

    def __call__(self, x: Tensor, skip: Tensor) -> Tensor:
        return functional.conv_transpose2d(x, self.weight, self.bias, 2).add_(self.kept(skip))


class Folded:
    """`network(x, t, peak)` for one t and peak; see `GuidedResUnet.forward`."""

    def __init__(
        self,
        network: GuidedResUnet,
        t: Tensor,
        peak: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Work out the weights.

        Args:
            network: on its device, in evaluation mode.
            t: (1,) noise level.
            peak: () largest value of the whole image; the published layout needs it.
            dtype: of features and weights.
        """
        self._network, self._dtype = network, dtype
        self._t, self._peak = t.reshape(-1, 1, 1, 1), peak
        if network.noise_units:
            guide = torch.log10(self._t)
        else:
            assert peak is not None
            guide = self._t / peak
        levels = network.levels

        def part(name: str) -> Any:
            return network.get_submodule(name)

        with torch.no_grad():
            self._first = self._conv(part("conv_in"), torch.float32)
            self._last = self._conv(part(f"conv{2 * levels}"))
            self._down = [self._block(part(f"conv{n}"), guide) for n in range(1, levels + 1)]
            self._halve = [self._conv(part(f"pool{n}").conv) for n in range(1, levels)]
            ups = range(levels + 1, 2 * levels)
            self._ups = [self._up(part(f"upv{n}"), part(f"conv{n}")) for n in ups]
            self._blocks = [self._block(part(f"conv{n}"), guide) for n in ups]

    def __call__(self, x: Tensor) -> Tensor:
        """(B, 4, h, w) float32 -> the same, denoised."""
        if self._network.noise_units:
            return x.addcmul(self._t, self._unet(self._network.told(x, self._t)).float())
        assert self._peak is not None
        return x + self._peak * self._unet(x / self._peak).float()

    def _unet(self, x: Tensor) -> Tensor:
        # In bfloat16 a step of the planes is half a noise at low ISO; only features may be rounded.
        h = self._first(x.contiguous(memory_format=_LAST))
        h = functional.leaky_relu_(h, 0.01).to(self._dtype)
        kept: list[Tensor] = []
        for block, halve in zip(self._down, self._halve, strict=False):
            kept.append(block(h))
            h = halve(kept[-1])
        h = self._down[-1](h)
        for up, block in zip(self._ups, self._blocks, strict=True):
            h = block(up(h, kept.pop()))
        return self._last(h)

    def _put(self, weight: Tensor) -> Tensor:
        return weight.to(self._dtype).contiguous(memory_format=_LAST)

    def _conv(self, conv: nn.Conv2d, dtype: torch.dtype | None = None) -> _Conv:
        assert conv.bias is not None
        dtype = dtype or self._dtype
        weight = conv.weight.to(dtype).contiguous(memory_format=_LAST)
        return _Conv(weight, conv.bias.to(dtype), conv.stride[0], int(conv.padding[0]))

    def _block(self, block: GuidedBlock, guide: Tensor) -> _Block:
        gain = block.gamma(guide)  # (1, width, 1, 1)
        shift = block.beta(gain).flatten()
        assert block.conv1.bias is not None
        weight = block.conv1.weight * gain.reshape(-1, 1, 1, 1)
        bias = block.conv1.bias * gain.flatten() + shift
        first = _Conv(self._put(weight), bias.to(self._dtype), padding=1)
        return _Block(first, self._conv(block.conv2))

    def _up(self, up: nn.ConvTranspose2d, block: GuidedBlock) -> _Up:
        assert isinstance(block.short_cut, nn.Sequential)
        mix: Any = block.short_cut[0]
        width = up.weight.shape[1]
        fresh, kept = mix.weight[:, :width, 0, 0], mix.weight[:, width:]
        assert up.bias is not None
        weight = torch.einsum("oc,icyx->ioyx", fresh, up.weight)
        bias = fresh @ up.bias + mix.bias
        return _Up(self._put(weight), bias.to(self._dtype), _Conv(self._put(kept), None))
