"""The studio's own engines as functions on a wave, run in this process as anybody's file is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import soundfile

from engines import registry
from studio.bench.job import BenchJob
from studio.bench.voices.measures import RATE, Wave
from studio.bench.voices.peers import Enhance


def engine(engine_id: str, **params: Any) -> Callable[[], Enhance]:
    """A system that runs an engine with these parameters on a 32-bit float WAV file."""

    def make() -> Enhance:
        kind = registry.engine_class(engine_id)
        chosen = kind.Params(**params)

        def enhance(wave: Wave) -> Wave:
            with TemporaryDirectory() as folder:
                return run(kind(), chosen, wave, Path(folder))

        return enhance

    return make


def run(one: Any, params: Any, wave: Wave, folder: Path) -> Wave:
    """Write a wave, let an engine process the file, read its primary output."""
    source, workspace = folder / "in.wav", folder / "out"
    workspace.mkdir()
    soundfile.write(source, wave, RATE, subtype="FLOAT")
    result = one.run([source], params, BenchJob(workspace))
    primary = next(output.path for output in result.outputs if output.primary)
    return np.asarray(soundfile.read(primary, dtype="float32")[0], np.float32)


OURS: dict[str, Callable[[], Enhance]] = {
    "speech.storm, fast": engine("speech.storm", mode="fast"),
    "speech.storm, natural": engine("speech.storm", mode="natural"),
    "speech.storm, best": engine("speech.storm", mode="best"),
    "speech.sgmse": engine("speech.sgmse"),
}
DEREVERB: dict[str, Callable[[], Enhance]] = {
    f"speech.storm, {mode}, both": engine("speech.storm", mode=mode, task="both")
    for mode in ("fast", "best")
}
STEPS: dict[str, Callable[[], Enhance]] = {
    f"{sampler}, {steps} step{'s' * (steps > 1)}": engine(
        "speech.storm", mode="natural", sampler=sampler, steps=steps
    )
    for sampler in ("ode", "sde")
    for steps in (1, 2, 3, 5, 10)
}
