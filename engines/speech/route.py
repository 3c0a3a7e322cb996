"""One chunk of any number of channels through a model of one: which channel the network hears."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from engines.sound.chunks import Sound
from engines.speech.model import SpectralModel, Watch
from engines.speech.params import Channels
from kernels.stft import Stft

_BLOCK = 0.01  # seconds in which silence is sought


class Router:
    """Runs chunks (C, N) through a model.

    `linked`, where the model predicts: the network hears the mean of the channels; what differs
    between them gets the gain that it gave each frequency, so voices stay where they are. Where
    the model draws (`regenerates`), linked channels go through one by one with the same noise.
    `each`: one by one in any case.
    """

    def __init__(
        self, model: SpectralModel, channels: Channels, silence: float, watch: Watch
    ) -> None:
        """`silence`: modulus in the model's scale below which nothing is a sound."""
        self._model = model
        self._linked = channels == "linked" and not model.regenerates
        self._silence = silence
        self._watch = watch

    def rows(self, chunk: Sound) -> int:
        """Channels of a chunk that the model will hear; a silent chunk counts as one as well."""
        return max(len(self._heard(chunk)[0]), 1)

    def calls(self, chunks: Sequence[Sound]) -> int:
        """Network calls that `run` will make for some chunks."""
        rows = sum(len(self._heard(chunk)[0]) for chunk in chunks)
        return -(-rows // self._model.cut.batch) * self._model.calls

    def run(self, numbers: Sequence[int], chunks: Sequence[Sound]) -> list[Sound]:
        """Enhance some chunks of one length.

        Args:
            numbers: first sample of each chunk in the recording.
            chunks: (C, N) each.

        Returns:
            (2 C, N) each: the result, then what the predictive part alone gives.
        """
        heard = [self._heard(chunk) for chunk in chunks]
        waves = [wave for rows, _ in heard for wave in rows]
        firsts = [
            number // self._model.hop
            for number, (rows, _) in zip(numbers, heard, strict=True)
            for _ in rows
        ]
        results: list[Sound] = []
        for begin in range(0, len(waves), self._model.cut.batch):
            part = slice(begin, begin + self._model.cut.batch)
            batch = torch.from_numpy(np.stack(waves[part]))
            found = self._model.enhance(batch, firsts[part], self._watch)
            predicted = found.wave if found.predicted is None else found.predicted
            both = torch.stack([found.wave, predicted], dim=1).numpy()
            results += list(both)
        out: list[Sound] = []
        for chunk, (rows, members) in zip(chunks, heard, strict=True):
            mine, results = results[: len(rows)], results[len(rows) :]
            out.append(self._spread(chunk, mine, members))
        return out

    def _heard(self, chunk: Sound) -> tuple[list[NDArray[np.float32]], list[int]]:
        """Waves for the model, and which of them each channel belongs to (-1: silence)."""
        if self._linked:
            mid = chunk.mean(axis=0)
            return ([mid], [0] * len(chunk)) if self._sounds(chunk) else ([], [-1] * len(chunk))
        rows: list[NDArray[np.float32]] = []
        members: list[int] = []
        for channel in chunk:
            known = next((i for i, row in enumerate(rows) if np.array_equal(row, channel)), None)
            if known is None and self._sounds(channel):
                rows.append(channel)
                known = len(rows) - 1
            members.append(-1 if known is None else known)
        return rows, members

    def _sounds(self, chunk: NDArray[np.float32]) -> bool:
        return bool(np.abs(chunk).max() >= self._silence)

    def _spread(self, chunk: Sound, rows: Sequence[Sound], members: Sequence[int]) -> Sound:
        """What the model gave, back onto the channels; silence stays as it is."""
        if not rows:
            return np.concatenate([chunk, chunk])
        if self._linked:
            mid = chunk.mean(axis=0)
            side = chunk - mid
            if np.any(side):
                side = self._same_gain(mid, rows[0][0], side)
            result, predicted = (row + side for row in rows[0])
        else:
            result = np.stack(
                [rows[m][0] if m >= 0 else c for m, c in zip(members, chunk, strict=True)]
            )
            predicted = np.stack(
                [rows[m][1] if m >= 0 else c for m, c in zip(members, chunk, strict=True)]
            )
        sounding = self._envelope(chunk)
        return np.concatenate(
            [chunk + sounding * (made - chunk) for made in (result, predicted)], dtype=np.float32
        )

    def _same_gain(
        self, mid: NDArray[np.float32], clean: NDArray[np.float32], side: Sound
    ) -> Sound:
        """`side` with the gain, 1 at most, that each frequency of `mid` was given."""
        rate = self._model.rate
        stft = Stft(rate // 16000 * 512, rate // 16000 * 256, "sqrt-hann")
        power = stft.forward(torch.from_numpy(np.stack([mid, clean]))).abs().square()
        # Powers are smoothed rather than gains: a weak bin's gain is an accident of its phase.
        before, after = functional.avg_pool2d(
            power[:, None], (3, 3), stride=1, padding=1, count_include_pad=False
        )[:, 0]
        gain = ((after + 1e-9) / (before + 1e-9)).clamp(max=1.0).sqrt()
        spec: Tensor = stft.forward(torch.from_numpy(side)) * gain
        return stft.inverse(spec, side.shape[1]).numpy()

    def _envelope(self, chunk: Sound) -> NDArray[np.float32]:
        """(n,) 1 where there is sound within two blocks, 0 in silence, with short ramps."""
        size = int(self._model.rate * _BLOCK)
        count = -(-chunk.shape[1] // size)
        padded = np.pad(chunk, ((0, 0), (0, count * size - chunk.shape[1])))
        loud = np.abs(padded).reshape(len(chunk), count, size).max(axis=(0, 2)) >= self._silence
        if loud.all():
            return np.ones(chunk.shape[1], dtype=np.float32)
        near = np.convolve(loud, np.ones(5), mode="same") > 0.5
        centres = (np.arange(count) + 0.5) * size
        ramp = np.interp(np.arange(chunk.shape[1]), centres, near.astype(np.float64))
        return ramp.astype(np.float32)
