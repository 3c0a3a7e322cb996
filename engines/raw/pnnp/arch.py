"""The proxy of "Physics-guided Noise Neural Proxy": a dark frame in three decoupled parts.

* frame-wise: what is the same in every frame, D(ISO) = k · ISO + b + one number an ISO (smooth maps
  of the four planes);
* row-wise: one value a row, from a proxy of its own;
* pixel-wise: g(n) = sigma(ISO) · (n + r(n, ISO)), n standard normal, r a network of 1x1
  convolutions, so pixels stay independent; its mean is taken off and its scale is tied to the
  measured line, as physics wants.

A 1x1 network of one channel is a curve. Drawing a frame therefore takes it from a table.
No code of the training was published; this follows the paper's text.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

SHADE = 16
Part = Literal["pixel", "row"]

_TABLE = 4097
_REACH = 6.0  # standard normal


class Block(nn.Module):
    """Two 1x1 convolutions, each with SiLU, beside the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one = nn.Linear(width, width)
        self.two = nn.Linear(width, width)

    def forward(self, h: Tensor) -> Tensor:
        """(..., width) -> (..., width)."""
        return h + functional.silu(self.two(functional.silu(self.one(h))))


class Curve(nn.Module):
    """n + r(n, ISO): the shape of one part's law in units of its standard deviation."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.enter = nn.Linear(1, width)
        self.setting = nn.Sequential(nn.Linear(1, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))
        self.leave = nn.Linear(width, 1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, n: Tensor, octave: Tensor) -> Tensor:
        """(B, S) standard normal and (B,) log2(ISO / 100) -> (B, S), its mean not taken off."""
        h = self.enter(n[..., None]) + self.setting(octave[:, None])[:, None]
        for block in self.blocks:
            h = block(h)
        return n + self.leave(h)[..., 0]


class NoiseProxy(nn.Module):
    """All three parts of one camera.

    Args:
        settings: how many ISO settings were measured.
        width, blocks: of the curves (16 and 2 as published).
    """

    def __init__(self, settings: int, width: int = 16, blocks: int = 2) -> None:
        super().__init__()
        self.pixel = Curve(width, blocks)
        self.row = Curve(width, blocks)
        for name in ("octave", "log_sigma", "log_row", "offset"):
            self.register_buffer(name, torch.zeros(settings))
        self.register_buffer("slope", torch.zeros(4, SHADE, SHADE))  # DN per ISO
        self.register_buffer("level", torch.zeros(4, SHADE, SHADE))  # DN
        self.register_buffer("span", torch.ones(()))  # white minus black of its camera, DN
        self.octave: Tensor
        self.log_sigma: Tensor
        self.log_row: Tensor
        self.offset: Tensor
        self.slope: Tensor
        self.level: Tensor
        self.span: Tensor

    def curve(self, part: Part) -> Curve:
        """The network of a part."""
        return self.pixel if part == "pixel" else self.row

    def centred(self, part: Part, n: Tensor, octave: Tensor) -> Tensor:
        """(B, S) samples in units of the part's deviation, of mean zero over the normal law."""
        curve = self.curve(part)
        p = (torch.arange(512, device=n.device) + 0.5) / 512
        even = torch.special.ndtri(p).expand(len(n), -1)
        return curve(n, octave) - curve(even, octave).mean(dim=1, keepdim=True)

    def deviation(self, part: Part, iso: float) -> float:
        """Measured standard deviation of a part, DN; between settings along the logarithms."""
        table = self.log_sigma if part == "pixel" else self.log_row
        return math.exp(_between(_octave(iso), self.octave, table))

    @torch.no_grad()
    def table(self, part: Part, iso: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Standard normal values and what becomes of them, DN."""
        n = torch.linspace(-_REACH, _REACH, _TABLE, device=self.octave.device)
        octave = torch.tensor([_octave(iso)], device=n.device)
        value = self.centred(part, n[None], octave)[0] * self.deviation(part, iso)
        return n.cpu().numpy(), value.cpu().numpy()

    def shade(self, iso: float) -> NDArray[np.float32]:
        """(4, 16, 16) what stays the same in every frame, planes R, G, G, B, DN."""
        offset = _between(_octave(iso), self.octave, self.offset)
        return (self.slope * iso + self.level + offset).cpu().numpy()


def _octave(iso: float) -> float:
    return math.log2(iso / 100.0)


def _between(x: float, xs: Tensor, ys: Tensor) -> float:
    return float(np.interp(x, xs.cpu().numpy(), ys.cpu().numpy()))
