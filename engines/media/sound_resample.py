"""Changing the sampling rate of a stream: soxr's best quality, no delay, an exact length."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray


class Resampler:
    """Resamples blocks of one sound as if it were whole.

    The filter has linear phase and its delay is taken out: sample k of the output is at the same
    time as sample k·rate_in/rate_out of the input. Pass band to 0.91 of the lower Nyquist
    frequency, stop band below -170 dB (soxr VHQ). Equal rates pass through untouched.

    Args:
        rate_in: of the blocks that come.
        rate_out: of the blocks that go.
        channels: of both.
    """

    def __init__(self, rate_in: int, rate_out: int, channels: int) -> None:
        self.rate_in = rate_in
        self.rate_out = rate_out
        self._channels = channels
        self._stream = (
            soxr.ResampleStream(rate_in, rate_out, channels, dtype="float32", quality="VHQ")
            if rate_in != rate_out
            else None
        )
        self._given = 0
        self._returned = 0

    def process(
        self, block: NDArray[np.float32], *, last: bool = False, length: int | None = None
    ) -> NDArray[np.float32]:
        """Resample the next block.

        Args:
            block: (channels, n) float32; may be empty.
            last: nothing follows; what the filter still holds is given out.
            length: with `last`, samples of the whole output. By default
                `resampled_length(samples given)`; for the way back, the original's length.

        Returns:
            (channels, m) float32. Over all calls, exactly `length` samples.
        """
        self._given += block.shape[1]
        if self._stream is None:
            out = np.ascontiguousarray(block, dtype=np.float32)
        else:
            columns = np.ascontiguousarray(block.T, dtype=np.float32)
            out = np.ascontiguousarray(self._stream.resample_chunk(columns, last=last).T)
        if last:
            wanted = resampled_length(self._given, self.rate_in, self.rate_out)
            left = (wanted if length is None else length) - self._returned
            if left < 0:
                raise ValueError(f"{-left} samples more than the length have been given out")
            out = out[:, :left]
            if out.shape[1] < left:
                out = np.pad(out, ((0, 0), (0, left - out.shape[1])))
        self._returned += out.shape[1]
        return out


def resampled_length(samples: int, rate_in: int, rate_out: int) -> int:
    """Samples that cover the same time at another rate, the last one begun included."""
    return -(-samples * rate_out // rate_in)


def resample(wave: NDArray[np.float32], rate_in: int, rate_out: int) -> NDArray[np.float32]:
    """Resample a whole (channels, n) float32 wave at once; as `Resampler`."""
    return Resampler(rate_in, rate_out, wave.shape[0]).process(wave, last=True)
