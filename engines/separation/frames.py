"""Short-time spectra of a stream: frames as they become complete, and back to samples."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.sound.chunks import Sound

OVERLAP = 4  # frames over each sample; Hann windows squared then add up to 1.5 everywhere
_POWER = 1.5


def window(length: int) -> Tensor:
    """(length,) periodic Hann."""
    return torch.hann_window(length, periodic=True, dtype=torch.float64).float()


class Frames:
    """Samples in, the complete frames of their spectrogram out; silence lies around the sound.

    Args:
        length: samples of a frame, a multiple of 4.
        hop: from frame to frame.
        channels: of the sound.
        before: samples of silence before the first one; frame k begins at k hop in what results.
    """

    def __init__(self, length: int, hop: int, channels: int, before: int) -> None:
        self._length, self._hop = length, hop
        self._window = window(length)
        self._held = np.zeros((channels, before), np.float32)

    def push(self, block: Sound, silence: int = 0) -> Tensor:
        """Add samples (C, n), and `silence` more behind the last: (C, bins, k) complex64."""
        parts = [self._held, block, np.zeros((len(block), silence), np.float32)]
        held = np.concatenate(parts, axis=1)
        count = max((held.shape[1] - self._length) // self._hop + 1, 0)
        self._held = held[:, count * self._hop :]
        if not count:
            return torch.zeros(len(held), self._length // 2 + 1, 0, dtype=torch.complex64)
        used = torch.from_numpy(held[:, : (count - 1) * self._hop + self._length].copy())
        frames = used.unfold(1, self._length, self._hop) * self._window
        return torch.fft.rfft(frames).transpose(1, 2)


class Overlap:
    """Frames in, the samples that are final out: the least-squares inverse of `Frames`.

    Hop is a quarter of the frames' length. The first frames lack those before them, so what comes
    out begins with samples to throw away: as many as the `before` of `Frames`.
    """

    def __init__(self, length: int, channels: int) -> None:
        self._length, self._hop = length, length // OVERLAP
        self._window = window(length) / _POWER
        self._tail = torch.zeros(channels, OVERLAP - 1, self._hop)

    def push(self, spec: Tensor) -> NDArray[np.float32]:
        """(C, bins, k) complex64 -> the (C, k hop) samples that no later frame touches."""
        channels, _, count = spec.shape
        frames = torch.fft.irfft(spec.transpose(1, 2), n=self._length) * self._window
        parts = frames.reshape(channels, count, OVERLAP, self._hop)
        out = torch.zeros(channels, count + OVERLAP - 1, self._hop)
        out[:, : OVERLAP - 1] += self._tail
        for part in range(OVERLAP):
            out[:, part : part + count] += parts[:, :, part]
        self._tail = out[:, count:].clone()
        return out[:, :count].reshape(channels, -1).numpy()
