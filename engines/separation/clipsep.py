"""CLIPSep (Dong et al., ICLR 2023) and its relatives, with the authors' tensor names.

All look at a spectrogram's logarithmic moduli on logarithmic frequency; what differs is what the
K maps of the U-Net are weighed by. `small.SmallSep` offers the same two methods.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from engines.separation.unet import UNet, begin
from engines.separation.warp import warp

Kind = Literal["clipsep", "nit", "label", "pit"]
EMBEDDING = 512  # of CLIP ViT-B/32, and of the authors' learned labels


class Logits(NamedTuple):
    """What a network says before the sigmoid, on logarithmic frequency.

    `query` is (B, Q, 256, T), one map a query. `noise` is (B, 2, 256, T), sounds that no query
    names (NIT), or the two unnamed sources (PIT); None where there are none.
    """

    query: Tensor
    noise: Tensor | None


class CLIPSep(nn.Module):
    """One network of the family.

    Args:
        kind: "clipsep" weighs the maps by a projected query embedding; "nit" has two heads of
            noise besides; "label" knows a fixed list of labels; "pit" takes no query.
        layers: levels of the U-Net.
        channels: its output maps K.
        ngf: channels of its first level.
        embedding: length of a query.
        labels: entries of the list, for "label".
    """

    def __init__(
        self,
        kind: Kind = "clipsep",
        layers: int = 7,
        channels: int = 32,
        ngf: int = 64,
        embedding: int = EMBEDDING,
        labels: int = 0,
    ) -> None:
        super().__init__()
        self.kind: Kind = kind
        self.embedding = embedding
        self.sound_net = UNet(1, channels, layers, ngf)
        if kind == "label":
            self.label_net = nn.Embedding(labels, embedding)
        if kind != "pit":
            self.frame_net = nn.Linear(embedding, channels)
        if kind == "nit":
            self.pit_nets = nn.ModuleList(nn.Linear(channels, channels) for _ in range(2))
        self.synth_net = nn.Conv2d(channels, 2, 1) if kind == "pit" else _Weigh(channels)
        self.apply(begin)

    @property
    def stride(self) -> int:
        """What the number of frames must be a multiple of."""
        return self.sound_net.stride

    def forward(self, magnitude: Tensor, queries: Tensor) -> Logits:
        """Logits of the masks.

        Args:
            magnitude: (B, F, T) float32 moduli on linear frequency, T a multiple of `stride`.
            queries: (B, Q, embedding) float32, or (B, Q) label numbers for "label"; Q may be 0.
        """
        seen = (warp(magnitude + 1e-10)).log()
        maps = self.sound_net(seen[:, None])
        if self.kind == "pit":
            return Logits(maps[:, :0], self.synth_net(maps))
        if self.kind == "label":
            queries = self.label_net(queries)
        plain = self.frame_net(queries)
        weigh = self.synth_net
        noise = None
        if self.kind == "nit":
            middle = plain.mean(dim=1, keepdim=True)
            heads = torch.cat([net(middle) for net in self.pit_nets], dim=1)
            noise = weigh(heads.sigmoid(), maps)
        return Logits(weigh(plain.sigmoid(), maps), noise)


class _Weigh(nn.Module):
    """Sum of the maps (B, K, F, T), weighed by (B, Q, K) and by a scale of its own."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, weights: Tensor, maps: Tensor) -> Tensor:
        return torch.einsum("bqk,bkft->bqft", weights * self.scale, maps) + self.bias
