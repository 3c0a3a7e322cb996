"""`bench speech-steps`: what more steps of the sampler bring, and what they cost.

The held-out mixtures of `bench speech` at 5 dB, voices that no training heard. The bridge of
`speech.storm` runs 1, 2, 3, 5 and 10 steps as an ODE and as an SDE; Fast, which is the prediction
that the bridge starts from, stands above.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from studio.bench.speech import compare, packages
from studio.bench.voices import sets
from studio.bench.voices.ours import OURS, STEPS
from studio.bench.voices.sources import HEARD_IN_TRAINING

TITLE = "Steps of the bridge against quality"
_SNR = 5


def run() -> list[dict[str, Any]]:
    """One row a sampler and number of steps: means of every measure, and the cost.

    Raises:
        UserError: a package with recordings cannot be fetched.
        ImportError: a measure is not installed.
    """
    every = max(int(os.environ.get("STUDIO_BENCH_EVERY", "1")), 1)
    return measure(packages(), every, [next(iter(OURS)), *STEPS])


def measure(folder: Path, every: int, systems: Sequence[str]) -> list[dict[str, Any]]:
    """As `run`, with the folder of packages and the systems given."""
    wanted = [
        one
        for one in sets.held_out(folder)
        if one.snr == _SNR and one.voice not in HEARD_IN_TRAINING
    ][::every]
    found = compare(wanted, sets.long_mixture(folder, 60.0).noisy, systems)
    costs = {row["system"]: row for row in found if row["set"] == "cost"}
    return [
        {**row, "rtf": costs[row["system"]]["rtf"], "peak_mb": costs[row["system"]]["peak_mb"]}
        for row in found
        if row["set"] == f"{_SNR} dB"
    ]
