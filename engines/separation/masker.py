"""The network's part: a recording of any rate in, masks on the network's own grid out.

Chunks overlap, and where they do their masks fade into each other: the sound itself is never
faded, so no seam can be heard that is not one of the masks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.media.sound_resample import Resampler, resampled_length
from engines.separation.frames import Frames
from engines.separation.model import BINS, HOP, N_FFT, RATE, Separator
from engines.sound.chunks import ChunkPlan, Cutter, Joiner, Sound
from engines.sound.fifo import Fifo
from engines.sound.progress import Meter

CHUNK = 256  # frames, 4.1 s: what the networks were trained on
MARGIN, FADE = 32, 64  # frames at each end that are not used; that two chunks share
_SILENCE = 1e-4  # -80 dBFS


@dataclass(frozen=True)
class Seen:
    """Some frames of the recording on the network's grid (513 bins, 62.5 frames a second).

    Attributes:
        masks: (S, R, 513, k): queries in the order given, then the heads of noise where they are
            wanted; R is 1 for linked channels.
        power: (R, 513, k) of the mixture, for telling how much of it each mask takes.
    """

    masks: Tensor
    power: Tensor


class Masker:
    """One recording's way through the network.

    Args:
        separator: the network.
        queries: (Q, E), or label numbers (Q,).
        rate: Hz, of the recording.
        channels: of the recording.
        heads: masks of noise are wanted too; the network must have them.
        linked: the network sees the root of the channels' mean power, and its masks are for all.
        gain: that the network wants the recording at.
        samples: of the whole recording, as many as will be pushed.
        meter: told of every call.
    """

    def __init__(
        self,
        separator: Separator,
        queries: Tensor,
        rate: int,
        channels: int,
        *,
        heads: bool,
        linked: bool,
        gain: float,
        samples: int,
        meter: Meter,
    ) -> None:
        self._separator, self._queries, self._meter = separator, queries, meter
        self._heads = heads
        self._gain = np.float32(gain)
        self._linked, self._rows = linked, 1 if linked else channels
        self._down = Resampler(rate, RATE, channels)
        self._frames = Frames(N_FFT, HOP, channels, N_FFT // 2)
        self.total = 1 + resampled_length(samples, rate, RATE) // HOP
        self.plan = ChunkPlan(self.total, 1, CHUNK, MARGIN, FADE, 1)
        self._cutter, self._joiner = Cutter(self.plan), Joiner(self.plan)
        self._waiting = Fifo(self._rows * BINS)
        self._made = 0

    def push(self, block: Sound, last: bool = False) -> Iterator[Seen]:
        """Add samples (C, n); yields the frames whose masks are now final."""
        spec = self._frames.push(
            self._down.process(block, last=last) * self._gain, N_FFT // 2 if last else 0
        )
        power = spec.real.square() + spec.imag.square()
        if self._linked:
            power = power.mean(dim=0, keepdim=True)
        flat = power.reshape(self._rows * BINS, -1).numpy()
        left = self.total - self._made
        flat = flat[:, :left]
        self._made += flat.shape[1]
        self._waiting.push(flat)
        for number, chunk in self._cutter.push(flat, last):
            self._meter.check()
            self._meter.expect(number / self.plan.count, 1 / self.plan.count, self._rows)
            masks = self._masks(torch.from_numpy(chunk).reshape(self._rows, BINS, -1))
            rows = masks.reshape(-1, masks.shape[-1])
            joined = torch.from_numpy(self._joiner.push(number, rows.numpy()))
            count = joined.shape[1]
            if count:
                power = torch.from_numpy(self._waiting.pop(count)).reshape(self._rows, BINS, count)
                yield Seen(joined.reshape(*masks.shape[:-1], count), power / float(self._gain) ** 2)

    def _masks(self, power: Tensor) -> Tensor:
        """(R, 513, T) -> (S, R, 513, T)."""
        found: list[Tensor] = []
        for row in power.split(1):  # one by one, so that a stop is heard soon
            self._meter.check()
            found.append(self._of_row(row))
        return torch.cat(found, dim=1)

    def _of_row(self, power: Tensor) -> Tensor:
        """Nothing is found in silence, nor is it looked at."""
        floor = (_SILENCE * float(self._gain) * N_FFT / 4) ** 2  # of a sine's highest bin
        if float(power.max()) < floor:
            return torch.zeros(len(self._queries) + 2 * self._heads, *power.shape)
        found = self._separator.masks(power.sqrt(), self._queries)
        self._meter.called()
        if not self._heads or found.noise is None:
            return found.query
        return torch.cat([found.query, found.noise])


class Grid:
    """From the network's grid to that of a spectrogram at the recording's own rate.

    Its frames are about 64 ms long as the network's are; where the rate is no multiple of 16 kHz
    their bins and times lie between the network's, and masks are interpolated linearly, so that
    masks that add up to 1 still do. Above 8 kHz each takes its mean of 6.5 to 8 kHz.
    """

    def __init__(self, rate: int, total: int) -> None:
        """`total`: frames that the network's masks will have."""
        self.hop = max(round(N_FFT * rate / RATE / 4), 1)
        self.length = 4 * self.hop
        self._rate, self._total = rate, total
        place = torch.arange(self.length // 2 + 1, dtype=torch.float64) * (rate / self.length)
        place = place / (RATE / N_FFT)
        above = place > BINS - 1
        low = place.floor().clamp(max=BINS - 2).long()
        self._low = torch.where(above, BINS, low)
        self._high = torch.where(above, BINS, low + 1)
        self._part = torch.where(above, 0.0, place - low).float()

    def needs(self, frame: int) -> int:
        """Masks that must be known before those of frame `frame` (from -1 on) are."""
        return min(int(self._times(np.array([frame]))[0]) + 2, self._total)

    def at(self, frames: NDArray[np.int64], masks: Tensor, first: int) -> Tensor:
        """Masks (..., 513, k), the first that of the network's frame `first` -> (..., bins, n)."""
        times = torch.from_numpy(self._times(frames)) - first
        early = times.floor().long().clamp(max=masks.shape[-1] - 1)
        late = (early + 1).clamp(max=masks.shape[-1] - 1)
        part = (times - early).float()
        drawn = masks[..., early].lerp(masks[..., late], part)
        band = drawn[..., 416:BINS, :].mean(dim=-2, keepdim=True)
        rows = torch.cat([drawn, band], dim=-2)
        weight = self._part[:, None]
        return rows[..., self._low, :].lerp(rows[..., self._high, :], weight)

    def _times(self, frames: NDArray[np.int64]) -> NDArray[np.float64]:
        times = frames * (self.hop * RATE / HOP / self._rate)
        return np.clip(times, 0.0, self._total - 1.0).astype(np.float64)
