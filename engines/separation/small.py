"""The small network that ships: CLIPSep's idea at a cost that two CPU cores carry.

One U-Net over logarithmic frequency and time hears the mixture and gives K maps, whatever is asked
for. A query steers a second, shallow way up from the coarsest levels (FiLM: scale and shift of
every block), which says for the corners of cells of 8 x 8 points how the K maps are to be weighed
besides CLIPSep's own weights, which are the same everywhere. So a further query costs little beside
the first, and it is understood where whole sounds are in view. The heads of noise-invariant
training weigh the same maps as CLIPSep does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from engines.separation.clipsep import Kind, Logits
from engines.separation.warp import ROWS, pool
from engines.sound.layers import Attention, StandardConv

_MERGE = 2  # neighbouring rows and frames that share a position
_CELL = 8  # rows and frames of a pixel of the third level
_FEATURES = 3
_STEER = 96
_FAINT = 1e-4  # modulus that counts as silence, for sounds within -1..1


class SmallSep(nn.Module):
    """See the module's text.

    Args:
        widths: channels of the levels, finest first; each halves frequency and time.
        blocks: residual blocks of each level on the way down.
        channels: maps K.
        kind: as in `clipsep.CLIPSep`; "label" and "pit" learn their queries.
        embedding: length of a query.
        words: what it was trained on; their embeddings are the buffer `known`.
    """

    known: Tensor  # (words, embedding) float32
    position: Tensor  # (1, 1, 128, 1)
    slope: Tensor  # (4, 64)

    def __init__(
        self,
        widths: Sequence[int],
        blocks: Sequence[int],
        channels: int = 16,
        kind: Kind = "nit",
        embedding: int = 384,
        words: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.kind: Kind = kind
        self.embedding = embedding
        self.channels = channels
        self.words = tuple(words)
        self.stride = _MERGE * 2 ** (len(widths) - 1)
        position = torch.linspace(-1.0, 1.0, ROWS // _MERGE)[None, None, :, None]
        self.register_buffer("position", position, persistent=False)
        self.register_buffer("slope", _slopes(), persistent=False)
        self.register_buffer("known", torch.zeros(len(words), embedding))
        self.stem = nn.Conv2d(_FEATURES * _MERGE**2 + 1, widths[0], 3, padding=1)
        self.down = nn.ModuleList()
        self.encode = nn.ModuleList()
        self.up = nn.ModuleList()
        self.decode = nn.ModuleList()
        for level, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            if level:
                self.down.append(nn.Conv2d(widths[level - 1], width, 2, stride=2))
                self.up.append(nn.ConvTranspose2d(width, widths[level - 1], 2, stride=2))
                self.decode.append(_Block(widths[level - 1], steered=False))
            self.encode.append(nn.ModuleList(_Block(width, steered=False) for _ in range(count)))
        self.middle = Attention(widths[-1])
        self.head = nn.Conv2d(widths[0], channels * _MERGE**2, 3, padding=1)
        self.query = nn.Sequential(
            nn.Linear(embedding, 2 * _STEER), nn.SiLU(), nn.Linear(2 * _STEER, _STEER)
        )
        self.ask = nn.ModuleList(_Block(width, steered=True) for width in reversed(widths[2:]))
        self.rise = nn.ModuleList(
            nn.ConvTranspose2d(width, finer, 2, stride=2)
            for width, finer in zip(reversed(widths[3:]), reversed(widths[2:-1]), strict=True)
        )
        self.weigh = nn.Conv2d(widths[2], channels + 1, 2, padding=1)
        self.fuse = nn.Linear(_STEER, channels + 1)
        if kind == "nit":
            self.noise = nn.ModuleList(nn.Linear(_STEER, channels + 1) for _ in range(2))
        if kind == "label":
            self.labels = nn.Embedding(len(words), embedding)
            nn.init.normal_(self.labels.weight, 0.0, embedding**-0.5)
        if kind == "pit":
            self.unnamed = nn.Parameter(torch.randn(2, embedding) * embedding**-0.5)

    def forward(self, magnitude: Tensor, queries: Tensor) -> Logits:
        """Logits of the masks.

        Args:
            magnitude: (B, F, T) float32 moduli on linear frequency, T a multiple of `stride`.
            queries: (B, Q, embedding) float32, or (B, Q) label numbers for "label"; not looked at
                for "pit".
        """
        batch = len(magnitude)
        if self.kind == "label":
            queries = self.labels(queries)
        if self.kind == "pit":
            queries = self.unnamed.expand(batch, -1, -1)
        maps, coarse = self._hear(magnitude)
        # A number of an embedding is small; here they are about one.
        steer = self.query(queries * self.embedding**0.5)
        fused = self.fuse(functional.silu(steer))[..., None, None]
        weights = _at_corners(self._ask(coarse, steer) + fused)
        count = weights.shape[-2]
        if self.kind == "nit":
            middle = functional.silu(steer.mean(dim=1))
            heads = torch.stack([net(middle) for net in self.noise], dim=1)
            heads = heads[:, None, None].expand(-1, *weights.shape[1:3], -1, -1)
            weights = torch.cat([weights, heads], dim=-2)
        weighed = weights @ maps
        logits = _whole((weighed[..., :count, :].unflatten(-2, (-1, 4)) * self.slope).sum(dim=-2))
        if self.kind == "pit":
            return Logits(logits[:, :0], logits)
        noise = _whole(weighed[..., count:, :]) if self.kind == "nit" else None
        return Logits(logits, noise)

    def _hear(self, magnitude: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The maps in cells, (B, 32, T / 8, K + 1, 64), the last of ones; and what the levels from
        the third on hold, coarsest first.
        """
        x = functional.pixel_unshuffle(_features(magnitude), _MERGE)
        place = self.position.expand(len(x), -1, -1, x.shape[-1])
        x = torch.cat([x, place], dim=1).contiguous(memory_format=torch.channels_last)
        x = self.stem(x)
        skips: list[Tensor] = []
        for level, blocks in enumerate(self.encode):
            if level:
                x = self.down[level - 1](x)
            for block in cast("nn.ModuleList", blocks):
                x = block(x, None)
            skips.append(x)
        skips[-1] = x = self.middle(x)
        coarse = skips[:1:-1]
        for level in range(len(skips) - 2, -1, -1):
            x = self.up[level](x) + skips[level]
            x = self.decode[level](x, None)
        x = self.head(functional.leaky_relu(x, 0.1))
        # (B, K pixels, 128, T / 2): four by four positions, of two by two pixels each, are a cell.
        side = _CELL // _MERGE
        x = x.unflatten(3, (-1, side)).unflatten(2, (-1, side)).unflatten(1, (-1, _MERGE, _MERGE))
        x = x.permute(0, 4, 6, 1, 5, 2, 7, 3).flatten(4)
        return functional.pad(x, (0, 0, 0, 1), value=1.0), coarse

    def _ask(self, coarse: Sequence[Tensor], steer: Tensor) -> Tensor:
        """Weights (B, Q, K + 1, 33, T / 8 + 1) of the maps at the corners of the cells."""
        batch, count = steer.shape[:2]
        flat = steer.flatten(0, 1)
        x = self.ask[0](coarse[0].repeat_interleave(count, dim=0), flat)
        for rise, block, skip in zip(self.rise, list(self.ask)[1:], coarse[1:], strict=True):
            x = rise(x) + skip.repeat_interleave(count, dim=0)
            x = block(x, flat)
        return self.weigh(functional.leaky_relu(x, 0.1)).unflatten(0, (batch, count))


def _at_corners(weights: Tensor) -> Tensor:
    """(B, Q, K + 1, 33, C + 1) -> (B, 32, C, 4 Q, K + 1): those of each cell's four corners."""
    upper, lower = weights[..., :-1, :], weights[..., 1:, :]
    four = [upper[..., :-1], upper[..., 1:], lower[..., :-1], lower[..., 1:]]
    return torch.stack(four, dim=2).permute(0, 4, 5, 1, 2, 3).flatten(3, 4)


def _slopes() -> Tensor:
    """(4, 64): how near each pixel of a cell is to its corners; adds up to 1."""
    along = (torch.arange(_CELL) + 0.5) / _CELL
    pair = torch.stack([1.0 - along, along])
    return (pair[:, None, :, None] * pair[None, :, None, :]).reshape(4, _CELL * _CELL)


def _whole(cells: Tensor) -> Tensor:
    """(B, 32, C, Q, 64) -> (B, Q, 256, 8 C) float32."""
    apart = cells.float().unflatten(-1, (_CELL, _CELL))
    return apart.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)


def _features(magnitude: Tensor) -> Tensor:
    """(B, F, T) -> (B, 3, 256, T): level, over the row's mean, over the frame's mean."""
    level = (pool(magnitude.square()) + _FAINT**2).log() / 6.0
    above = level - level.mean(dim=2, keepdim=True)
    tone = level - level.mean(dim=1, keepdim=True)
    return torch.stack([level, above, tone], dim=1)


class _Block(nn.Module):
    """Residual block of two 3x3 convolutions, which is told what every row is like on average
    over time, and is steered by the query where it is asked.
    """

    def __init__(self, width: int, *, steered: bool) -> None:
        super().__init__()
        self.first = StandardConv(width)
        self.second = StandardConv(width)
        self.steady = nn.Conv2d(width, width, 1)
        nn.init.zeros_(self.steady.weight)
        if steered:
            self.steer = nn.Linear(_STEER, 2 * width)
        else:
            nn.init.zeros_(self.second.gain)

    def forward(self, x: Tensor, steer: Tensor | None) -> Tensor:
        inner = self.first(functional.leaky_relu(x, 0.1))
        shift = self.steady(inner.mean(dim=3, keepdim=True))
        if steer is not None:
            scale, bias = self.steer(steer)[:, :, None, None].chunk(2, dim=1)
            inner, shift = inner * (1.0 + scale), shift + bias
        return x + self.second(functional.leaky_relu(inner + shift, 0.1))
