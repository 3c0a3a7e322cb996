"""`bench speech-long`: long recordings: are the joins of the chunks heard, and does memory grow?

Three minutes of held-out voices over changing noise at 5 dB pass each mode of `speech.storm`. Where
one chunk fades into the next, the error against the clean speech is compared with the error within
two seconds around; then the recording is processed again without its first three seconds, so that
all joins lie elsewhere, and both results are compared. Memory and time are those of a worker
process, as for anybody, on 48 kHz stereo files of one minute and of an hour.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import soundfile
import soxr

from engines.speech.params import StormParams
from studio.bench.job import BenchJob
from studio.bench.speech import packages
from studio.bench.voices import sets
from studio.bench.voices.measures import RATE, Wave, mean, si_sdr
from studio.bench.voices.ours import engine
from studio.config import LOCAL, Settings
from studio.jobs.service import Studio

TITLE = "Long recordings: joins and memory"
MODES = ("fast", "natural", "best")
_ENGINE = "speech.storm"
_SECONDS = 180.0
_EARLIER = 3 * RATE
_AROUND = 2 * RATE
_FULL = 48_000
_HOURS = (1.0 / 60.0, 1.0)


def run() -> list[dict[str, Any]]:
    """A row a mode for the joins, a row a length for memory.

    Raises:
        UserError: a package with recordings cannot be fetched, or the engine has no weights here.
    """
    every = max(int(os.environ.get("STUDIO_BENCH_EVERY", "1")), 1)
    mixture = sets.long_mixture(packages(), _SECONDS / every)
    rows = [joins(mode, mixture.noisy, mixture.clean) for mode in MODES]
    return [*rows, *memory(mixture.noisy, [hours / every for hours in _HOURS])]


def joins(mode: str, noisy: Wave, clean: Wave) -> dict[str, Any]:
    """How the error at the joins compares, and how much it matters where the joins are.

    Args:
        mode: of the engine.
        noisy: [N] float32 at 16 kHz.
        clean: [N] the speech in it.
    """
    enhance = engine(_ENGINE, mode=mode)()
    found = enhance(noisy)
    later = enhance(noisy[_EARLIER:])
    places, fade = seams(mode, len(noisy))
    # The first seconds lack what came before them, joins or not.
    agreed = si_sdr(found[_EARLIER + _AROUND :], later[_AROUND:])
    more = mean([excess(found - clean, place, fade) for place in places])
    assert more is not None
    assert agreed is not None
    return {
        "setting": f"joins, {mode}",
        "joins": more.count,
        "error_at_joins_dB": round(more.value, 2),
        "error_at_joins_±": round(more.half, 2),
        "same_with_other_joins_dB": round(agreed, 1),
    }


def excess(error: Wave, place: int, length: int) -> float:
    """Level of an error from `place` on against that of two seconds to either side, in dB."""
    at = error[place : place + length].astype(np.float64)
    beside = np.concatenate(
        [
            error[max(place - _AROUND, 0) : place],
            error[place + length : place + length + _AROUND],
        ]
    ).astype(np.float64)
    return float(10.0 * np.log10((np.mean(at**2) + 1e-12) / (np.mean(beside**2) + 1e-12)))


def seams(mode: str, length: int) -> tuple[list[int], int]:
    """Samples at which one chunk begins to fade into the next, and the length of the fade."""
    from engines.sound.chunks import ChunkPlan
    from engines.speech.choose import choose

    params = StormParams.model_validate({"mode": mode})
    job = BenchJob(Path())
    model = choose(job.load(params.weights), params, job.device)
    cut = model.cut
    plan = ChunkPlan(length, model.hop, cut.length, cut.margin, cut.fade, RATE // 2)
    return [plan.seam(number) for number in range(plan.count - 1)], plan.fade


def memory(noisy: Wave, hours: list[float]) -> Iterator[dict[str, Any]]:
    """One row a length, processed as a job with the engine's defaults."""
    with TemporaryDirectory() as folder:
        home = Path(folder)
        studio = Studio(Settings(home=home / "studio"))
        studio.start()
        try:
            session = studio.new_session(LOCAL)
            for length in hours:
                source = home / f"{length:g}.wav"
                write_stereo(source, noisy, round(length * 3600.0 * _FULL))
                ids = studio.submit(LOCAL, session.id, _ENGINE, [[source]], {}, source="cli")
                [job] = studio.wait(LOCAL, ids)
                if job.state != "done" or job.seconds is None:
                    raise RuntimeError(job.error)
                yield {
                    "setting": f"48 kHz stereo, {60.0 * length:g} min",
                    "seconds": round(job.seconds, 1),
                    "rtf": round(job.seconds / 3600.0 / length, 4),
                    "peak_mb": round(job.peak_mb or 0.0),
                }
                source.unlink()
        finally:
            studio.stop()


def write_stereo(path: Path, wave: Wave, samples: int) -> None:
    """A wave at 16 kHz over and over, as 48 kHz stereo, the right channel a little later."""
    left = soxr.resample(wave, RATE, _FULL)
    both = np.stack([left, np.roll(left, 20)], axis=1)
    with soundfile.SoundFile(path, "w", _FULL, 2, "PCM_16") as file:
        for done in range(0, samples, len(both)):
            file.write(both[: samples - done])
