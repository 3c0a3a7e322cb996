"""One system in a process of its own, so that its time and its memory are its own."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np

from engines.base import UserError
from studio.bench.voices.measures import RATE, Wave
from studio.bench.voices.ours import STEPS
from studio.bench.voices.systems import PACKAGES, SYSTEMS
from studio.jobs.peak import forget_peak, peak_mb


@dataclass(frozen=True)
class Work:
    """What a system made of the clips, and what it cost.

    Attributes:
        found: number of a clip -> the output, as long as the clip.
        rtf: seconds a second of sound, on one minute in one piece, after a warm-up.
        cpu: processor seconds a second of sound, in the same run.
        peak_mb: the process's peak of memory in that run, Python and packages included.
    """

    found: dict[str, Wave]
    rtf: float
    cpu: float
    peak_mb: float | None


def work(name: str, clips: Mapping[str, Wave], minute: Wave) -> Work:
    """Run the system called `name` in this process.

    Args:
        name: key of `SYSTEMS` or `STEPS`.
        clips: number of a clip -> [N] float32 at 16 kHz.
        minute: what time and memory are measured on.

    Raises:
        UserError: a package or the weights that it needs are not here.
    """
    try:
        enhance = {**SYSTEMS, **STEPS}[name]()
    except ImportError as error:
        package = PACKAGES.get(name, error.name)
        raise UserError(
            f"it needs {package}; install it: {sys.executable} -m pip install --no-deps {package}"
        ) from error
    enhance(minute[: 4 * RATE])
    forget_peak()
    begun, used = time.perf_counter(), time.process_time()
    enhance(minute)
    length = len(minute) / RATE
    rtf, cpu = ((now - then) / length for now, then in (
        (time.perf_counter(), begun), (time.process_time(), used)
    ))  # fmt: skip
    peak = peak_mb()
    found = {number: np.asarray(enhance(wave), np.float32) for number, wave in clips.items()}
    return Work(found, rtf, cpu, peak)


def alone(name: str, clips: Mapping[str, Wave], minute: Wave) -> Work:
    """`work` in a fresh process.

    Raises:
        UserError: a package or the weights that it needs are not here, or it ended the process.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(work, name, clips, minute).result()
        except BrokenProcessPool as error:
            raise UserError("it ended its process; it may not fit this machine") from error
