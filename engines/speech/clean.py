"""A recording through a model, as a stream: blocks in, blocks of the same samples out.

Memory holds a few chunks and what waits for them, whatever the recording's length. The result is
the input minus what is removed, so at any strength both add up to the input exactly, and sample
for sample nothing moves: resampled sounds are only ever subtracted from resampled sounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from engines.media.sound_resample import Resampler, resampled_length
from engines.sound.chunks import ChunkPlan, Cutter, Joiner, Sound
from engines.sound.fifo import Fifo, with_end
from engines.sound.progress import Meter
from engines.sound.survey import SILENCE, Survey
from engines.speech.curves import Curve
from engines.speech.model import SpectralModel
from engines.speech.params import SpeechParams
from engines.speech.route import Router

_SHORTEST = 0.5  # seconds that a network is given at least
_HIGHS_FLOOR = 10.0 ** (-30.0 / 20.0)
_AT_ONCE = 1 << 16  # samples that are finished together


@dataclass(frozen=True)
class Piece:
    """Some samples, (C, n) float32: the input, and the result before any limiting."""

    before: Sound
    after: Sound


@dataclass
class Agreement:
    """How close the result stays to the predictive estimate, summed while it streams past."""

    product: float = 0.0
    predicted: float = 0.0
    result: float = 0.0

    def add(self, result: Sound, predicted: Sound) -> None:
        """Take (C, n) samples of both into account."""
        x, d = result.astype(np.float64), predicted.astype(np.float64)
        self.product += float((x * d).sum())
        self.predicted += float((d * d).sum())
        self.result += float((x * x).sum())

    @property
    def decibels(self) -> float:
        """SI-SDR of the result against the estimate, -30 to 60."""
        if self.predicted <= 0.0 or self.result <= 0.0:
            return 60.0
        share = min(self.product**2 / (self.predicted * self.result), 1.0)
        return float(np.clip(10.0 * np.log10((share + 1e-12) / (1.0 - share + 1e-12)), -30.0, 60.0))


class Cleaner:
    """One recording's way through a model."""

    def __init__(
        self, facts: Survey, rate: int, model: SpectralModel, params: SpeechParams, meter: Meter
    ) -> None:
        """Prepare; `facts` are of exactly the samples that `run` will be given, at `rate` Hz."""
        self._facts = facts
        self._rate, self._model, self._params = rate, model, params
        self._level = facts.reference(model.level)
        channels = "each" if facts.opposed and params.channels == "linked" else params.channels
        self._router = Router(model, channels, SILENCE / self._level, meter)
        self._meter = meter
        self._finished = 0
        low, cut = resampled_length(facts.samples, rate, model.rate), model.cut
        self.plan = ChunkPlan(
            low, model.hop, cut.length, cut.margin, cut.fade, int(_SHORTEST * model.rate)
        )
        self.agreement = Agreement()
        self._removed = self._left = 0.0
        pooled = channels != "each"
        self._speech = Curve(model.rate, 0.05, 0.15, pooled)
        self._band = Curve(model.rate, 0.03, 0.0, pooled, above=model.rate / 4)

    def mostly_gone(self, ratio: float) -> bool:
        """Whether the power that the model took is more than `ratio` times what it left."""
        return self._removed > ratio * self._left

    def run(self, blocks: Iterable[Sound]) -> Iterator[Piece]:
        """(C, n) blocks of any size -> pieces that together have as many samples."""
        c = self._facts.channels
        down = Resampler(self._rate, self._model.rate, c)
        back = Resampler(self._model.rate, self._rate, 2 * c)
        offset = self._facts.offset.astype(np.float32)[:, None]
        waiting, found = Fifo(c), Fifo(2 * c)
        cutter, joiner = Cutter(self.plan), Joiner(self.plan)
        ready: list[tuple[int, Sound]] = []
        done = 0
        for block, last in with_end(blocks, c):
            waiting.push(block)
            centred = (block - offset) / np.float32(self._level)
            for chunk in cutter.push(down.process(centred, last=last), last):
                self._meter.check()
                ready.append(chunk)
                if sum(self._router.rows(one) for _, one in ready) >= self._model.cut.batch:
                    self._chunks(ready, joiner, back, found)
                    ready = []
            if last:
                self._chunks(ready, joiner, back, found, last=True)
            for piece in self._pieces(waiting, found, done):
                done += piece.before.shape[1]
                yield piece

    def _chunks(
        self,
        ready: list[tuple[int, Sound]],
        joiner: Joiner,
        back: Resampler,
        found: Fifo,
        last: bool = False,
    ) -> None:
        """Enhance chunks; hand on (removed, heard) at the recording's rate."""
        c, count = self._facts.channels, self.plan.count
        calls = self._router.calls([chunk for _, chunk in ready])
        self._meter.expect(self._finished / count, len(ready) / count, calls)
        self._finished += len(ready)
        results = self._router.run([self.plan.start(n) for n, _ in ready], [x for _, x in ready])
        parts = [
            joiner.push(number, np.concatenate([chunk, result]))
            for (number, chunk), result in zip(ready, results, strict=True)
        ]
        joined = np.concatenate(parts, axis=1) if parts else np.zeros((3 * c, 0), np.float32)
        before, after, predicted = joined[:c], joined[c : 2 * c], joined[2 * c :]
        self.agreement.add(after, predicted)
        self._removed += float(np.square(before - after, dtype=np.float64).sum())
        self._left += float(np.square(after, dtype=np.float64).sum())
        for curve in (self._speech, self._band):
            curve.push(before, after, last)
        both = np.concatenate([before - after, before]) * np.float32(self._level)
        length = self._facts.samples if last else None
        found.push(back.process(both, last=last, length=length))

    def _pieces(self, waiting: Fifo, found: Fifo, done: int) -> Iterator[Piece]:
        while True:
            ratio = self._model.rate / self._rate
            known = min(self._speech.known(), self._band.known()) / ratio - done - 1
            count = int(min(waiting.count, found.count, max(known, 0), _AT_ONCE))
            if count == 0:
                return
            yield self._piece(waiting.pop(count), found.pop(count), done)
            done += count

    def _piece(self, before: Sound, found: Sound, done: int) -> Piece:
        c, params = self._facts.channels, self._params
        positions = (done + np.arange(before.shape[1]) + 0.5) * (self._model.rate / self._rate)
        removed, heard = found[:c], found[c:]
        offset = self._facts.offset.astype(np.float32)[:, None]
        band = self._band.at(positions)
        if self._rate != self._model.rate and params.highs != "keep":
            rest = before - offset - heard
            gain = np.maximum(band, np.float32(_HIGHS_FLOOR))
            removed = removed + (rest if params.highs == "drop" else (1.0 - gain) * rest)
        speech = self._speech.at(positions)
        floor = 0.0 if params.strength is None else 10.0 ** (-params.strength / 20.0)
        left = np.maximum(np.float32(params.keep) * (1.0 - speech), np.float32(floor))
        taken = (1.0 - left) * removed
        if self._facts.constant:
            taken = taken + np.float32(1.0 - floor) * offset
        return Piece(before, (before - taken).astype(np.float32))
