"""The network: frames are cleaned, then enlarged with what their neighbours know.

RealBasicVSR (CVPR 2022) with NegVSR's changes (AAAI 2024): ten residual blocks a branch and CARAFE
in place of pixel shuffling. A sequence is walked through backwards and forwards; at each frame the
features of the last one are moved along the optical flow to where they are now.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from engines.superres.negvsr.blocks import Trunk, leaky, warp
from engines.superres.negvsr.carafe import Carafe
from engines.superres.negvsr.flow import SpyNet, dense_search

SCALE = 4
PASSES = 3  # that a sequence is cleaned at most
AUTHORS_THRESHOLD = 5.0  # of their last model, in levels; the one before has 1.5
CARD_THRESHOLD = "threshold"  # what a model card calls another
FlowKind = Literal["spynet", "dis"]


def _nothing() -> None:
    pass


class BasicVsr(nn.Module):
    """Frames of a sequence, four times as wide and high.

    Args:
        mid: channels of the features.
        blocks: residual blocks in each direction.
        compressed: see `Carafe`.
        hr: channels at the result's size.
        flow: "spynet" is a part of the network, "dis" is worked out.
    """

    def __init__(self, mid: int, blocks: int, compressed: int, hr: int, flow: FlowKind) -> None:
        super().__init__()
        self.mid = mid
        if flow == "spynet":
            self.spynet = SpyNet()
        self._flow = flow
        self.backward_resblocks_layer10 = Trunk(mid + 3, mid, blocks)
        self.forward_resblocks_layer10 = Trunk(mid + 3, mid, blocks)
        self.fusion = nn.Conv2d(2 * mid, mid, 1)
        self.carafe1 = Carafe(mid, compressed)
        self.carafe2 = Carafe(mid, compressed)
        self.conv_hr = nn.Conv2d(mid, hr, 3, padding=1)
        self.conv_last = nn.Conv2d(hr, 3, 3, padding=1)

    def flows(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Of each frame into the next, and of each but the first into the last before it.

        Args:
            frames: (B, T, 3, h, w) RGB in 0..1.

        Returns:
            Two of (B, T - 1, 2, h, w) float32, pixels.
        """
        batch, count = frames.shape[:2]
        first, second = frames[:, :-1].flatten(0, 1), frames[:, 1:].flatten(0, 1)
        if count == 1:
            nothing = frames.new_zeros(batch, 0, 2, *frames.shape[-2:], dtype=torch.float32)
            return nothing, nothing
        find = self.spynet if self._flow == "spynet" else dense_search
        shape = (batch, count - 1)
        return find(first, second).unflatten(0, shape), find(second, first).unflatten(0, shape)

    def forward(
        self,
        frames: Tensor,
        seen: Tensor | None = None,
        flows: tuple[Tensor, Tensor] | None = None,
        step: Callable[[], None] = _nothing,
    ) -> Tensor:
        """Enlarge a sequence.

        Args:
            frames: (B, T, 3, h, w) RGB in 0..1.
            seen: what the features are made of, where that is not the frames; the flow and the
                plain enlargement are always those of the frames (NegVSR's mixing).
            flows: of the frames, where they are known.
            step: called after each of the five parts of the work on a frame; may raise.

        Returns:
            (B, T, 3, 4·h, 4·w) float32, not clamped.
        """
        batch, count, _, height, width = frames.shape
        seen = frames if seen is None else seen
        ahead, back = self.flows(frames) if flows is None else flows
        nothing = frames.new_zeros(batch, self.mid, height, width)
        later: list[Tensor] = [nothing] * count
        features = nothing
        for at in reversed(range(count)):
            if at < count - 1:
                features = warp(features, ahead[:, at])
            features = self.backward_resblocks_layer10(torch.cat([seen[:, at], features], dim=1))
            later[at] = features
            step()
        features = nothing
        found: list[Tensor] = []
        for at in range(count):
            if at:
                features = warp(features, back[:, at - 1])
            features = self.forward_resblocks_layer10(torch.cat([seen[:, at], features], dim=1))
            step()
            found.append(self._enlarged(later[at], features, frames[:, at], step))
            later[at] = nothing  # its memory is needed by the next
        return torch.stack(found, dim=1)

    def _enlarged(
        self, later: Tensor, earlier: Tensor, frame: Tensor, step: Callable[[], None]
    ) -> Tensor:
        x = leaky(self.fusion(torch.cat([later.to(earlier.dtype), earlier], dim=1)))
        x = leaky(self.carafe1(x))
        step()
        x = leaky(self.carafe2(x))
        step()
        x = self.conv_last(leaky(self.conv_hr(x)))
        step()
        return x.float() + interpolate(frame.float(), scale_factor=SCALE, mode="bilinear")


class NegVsr(nn.Module):
    """Cleaning and `BasicVsr`; the defaults are the authors' sizes.

    Args:
        mid: channels of the features.
        blocks: residual blocks of each direction.
        cleaning: residual blocks that clean.
        compressed: see `Carafe`.
        hr: channels at the result's size.
        flow: see `BasicVsr`.
    """

    def __init__(
        self,
        mid: int = 64,
        blocks: int = 10,
        cleaning: int = 20,
        compressed: int = 64,
        hr: int = 64,
        flow: FlowKind = "spynet",
    ) -> None:
        super().__init__()
        self.image_cleaning = nn.Sequential(
            Trunk(3, mid, cleaning), nn.Conv2d(mid, 3, 3, padding=1)
        )
        self.basicvsr = BasicVsr(mid, blocks, compressed, hr, flow)
        self._blocks = cleaning

    @property
    def cleaning_radius(self) -> int:
        """Pixels beyond a place that its cleaning depends on."""
        return 2 * self._blocks + 2

    def residue(self, frames: Tensor) -> Tensor:
        """What cleaning adds to (B, 3, h, w) frames in 0..1."""
        return self.image_cleaning(frames).float()

    def clean(self, frames: Tensor, threshold: float, passes: int = PASSES) -> Tensor:
        """Clean a sequence until what is added is small.

        Args:
            frames: (B, T, 3, h, w) RGB in 0..1.
            threshold: mean of what is added, in levels of 8 bits, below which it ends; 255 is once.
            passes: at most.
        """
        for _ in range(passes):
            added = self.residue(frames.flatten(0, 1)).view_as(frames)
            frames = frames + added
            if float(added.detach().abs().mean()) < threshold / 255.0:
                break
        return frames

    def forward(self, frames: Tensor, threshold: float = 255.0) -> Tensor:
        """(B, T, 3, h, w) RGB in 0..1 -> (B, T, 3, 4·h, 4·w), not clamped."""
        return self.basicvsr(self.clean(frames, threshold))
