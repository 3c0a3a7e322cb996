"""SNR-Net, the guided residual U-Net of YOND, with the tensor names of the released checkpoints.

The network sees four packed Bayer planes in the stabilised domain, where the noise is white and of
one strength t everywhere, and is told t. Two layouts share all block tensors:

* the published one: four input planes, input and t divided by the input's largest value, the guide
  is t itself, and the U-Net's output is added to the input;
* ours: eight input planes, the four and their local detail in units of the noise, the guide is
  log10 t, and the U-Net's output is added in units of t. A real 14-bit file at base ISO has t near
  0.002; fed with t itself a network cannot tell that from 0.02 and smooths fine texture away. In
  units of the noise the task is the same one over the whole range.

There is no normalisation layer, so tiles agree with the whole wherever the halo covers the
receptive field (`GuidedResUnet.receptive_radius`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

PLANES = 4


class GuidedBlock(nn.Module):
    """Residual block whose features are scaled and shifted by the noise level."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.gamma = nn.Sequential(nn.Conv2d(1, width, 1), nn.SiLU(), nn.Conv2d(width, width, 1))
        self.beta = nn.Sequential(nn.SiLU(), nn.Conv2d(width, width, 1))
        self.short_cut = (
            nn.Sequential(nn.Conv2d(width_in, width, 1)) if width_in != width else nn.Identity()
        )

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        """(B, width_in, h, w), (B, 1, 1, 1) -> (B, width, h, w)."""
        x = self.short_cut(x)
        gain = self.gamma(guide)  # (B, width, 1, 1)
        h = self.conv1(functional.silu(x)) * gain + self.beta(gain)
        return x + self.conv2(functional.silu(h, inplace=True))


class Halve(nn.Module):
    """Strided convolution that halves height and width (its own module for the tensor names)."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width_in, width, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width_in, h, w) -> (B, width, h/2, w/2)."""
        return self.conv(x)


class GuidedResUnet(nn.Module):
    """SNR-Net.

    Args:
        nf: width of the first level; it doubles at every level (32 as published, 11.2 M weights).
        levels: encoder levels (5 as published); sides must be multiples of 2^(levels - 1).
        noise_units: False for the published layout, True for ours (see the module's text).
    """

    def __init__(self, nf: int = 32, levels: int = 5, noise_units: bool = False) -> None:
        super().__init__()
        self.levels = levels
        self.noise_units = noise_units
        widths = [nf << level for level in range(levels)]
        self.conv_in = nn.Conv2d(2 * PLANES if noise_units else PLANES, nf, 3, padding=1)
        # Published numbering: conv1..conv5 down, conv6..conv9 up, conv10 out.
        for level, width in enumerate(widths):
            self.add_module(f"conv{level + 1}", GuidedBlock(width, width))
            if level + 1 < levels:
                self.add_module(f"pool{level + 1}", Halve(width, widths[level + 1]))
        for step, width in enumerate(reversed(widths[:-1])):
            number = levels + 1 + step
            self.add_module(f"upv{number}", nn.ConvTranspose2d(2 * width, width, 2, stride=2))
            self.add_module(f"conv{number}", GuidedBlock(2 * width, width))
        self.add_module(f"conv{2 * levels}", nn.Conv2d(nf, PLANES, 1))

    @property
    def multiple(self) -> int:
        """Heights and widths of the input must be multiples of this."""
        return 1 << (self.levels - 1)

    @property
    def trained_range(self) -> tuple[float, float]:
        """Noise levels t that a network of this layout has seen in training."""
        return (0.0016, 0.13) if self.noise_units else (5 / 255, 50 / 255)

    @property
    def receptive_radius(self) -> int:
        """Packed pixels beyond which the input has no influence on an output pixel."""
        detail = 2 if self.noise_units else 0
        blocks = sum(
            2 * (2 if level + 1 < self.levels else 1) << level for level in range(self.levels)
        )
        halvings = sum(1 << level for level in range(self.levels - 1))
        return detail + 1 + blocks + halvings + self.multiple

    def forward(self, x: Tensor, t: Tensor, peak: Tensor | None = None) -> Tensor:
        """Denoise.

        Args:
            x: (B, 4, h, w) packed planes, about [0, 1] in the stabilised domain.
            t: (B,) or (1,) standard deviation of the noise in units of `x`, positive.
            peak: largest value of the whole image when `x` is one tile of it (published layout
                only: it normalises by that value); by default the largest of each sample.

        Returns:
            (B, 4, h, w), the estimate of the clean planes.
        """
        t = t.reshape(-1, 1, 1, 1)
        if self.noise_units:
            residual = self._unet(self.told(x, t), torch.log10(t))
            return x + t * residual.float()  # mixed precision ends here
        if peak is None:
            peak = x.amax(dim=(1, 2, 3))
        peak = peak.reshape(-1, 1, 1, 1)
        return x + peak * self._unet(x / peak, t / peak)

    @staticmethod
    def told(x: Tensor, t: Tensor) -> Tensor:
        """(B, 4, h, w) -> (B, 8, h, w): the planes, and their detail in units of the noise."""
        around = functional.pad(x, (2, 2, 2, 2), mode="replicate")
        # Twelve times as fast as avg_pool2d on a CPU in channels_last.
        mean = functional.conv2d(around, x.new_full((PLANES, 1, 5, 5), 0.04), groups=PLANES)
        return torch.cat([x, torch.asinh((x - mean) / t)], dim=1)

    def _unet(self, x: Tensor, guide: Tensor) -> Tensor:
        part = self.get_submodule
        # In bfloat16 a step of the planes is half a noise at low ISO; only features may be rounded.
        with torch.autocast(x.device.type, enabled=False):
            h = functional.leaky_relu(self.conv_in(x), 0.01)
        skips: list[Tensor] = []
        for level in range(1, self.levels + 1):
            h = part(f"conv{level}")(h, guide)
            if level < self.levels:
                skips.append(h)
                h = part(f"pool{level}")(h)
        for number in range(self.levels + 1, 2 * self.levels):
            h = torch.cat([part(f"upv{number}")(h), skips.pop()], dim=1)
            h = part(f"conv{number}")(h, guide)
        return part(f"conv{2 * self.levels}")(h)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw starting weights for training (ours, not the published N(0, 0.02²)).

        The guide multiplies features, so its gain starts at one; the last layer starts at zero, so
        the network starts as the identity at every noise level.
        """
        for name, module in self.named_modules():
            if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                continue
            fan = (
                module.weight[0].numel()
                if isinstance(module, nn.Conv2d)
                else module.weight.shape[0]
            )
            with torch.no_grad():
                module.weight.normal_(0.0, math.sqrt(1.0 / fan), generator=generator)
                if module.bias is not None:
                    module.bias.zero_()
                if name.endswith("gamma.2"):
                    module.weight.mul_(0.1)
                    module.bias.fill_(1.0)  # type: ignore[union-attr]
                elif name.endswith(("beta.1", ".conv2")) or name == f"conv{2 * self.levels}":
                    module.weight.mul_(0.0 if name == f"conv{2 * self.levels}" else 0.3)
