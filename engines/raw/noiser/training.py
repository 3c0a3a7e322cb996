"""NoiSER's network trained in front of a person, on noise alone, while they look at a picture.

What is learned so far lies in a folder of its own, so that a stopped training goes on where it was.
"""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from engines.base import Job, MediaKind, Params, Result, option
from engines.raw.noiser.engine import NoiserEngine
from engines.raw.noiser.preview import write_facts
from engines.superres.preview import AFTER

WEIGHTS = "noiser.safetensors"
_EVERY = 1.5  # seconds between two looks


class TrainParams(Params):
    """What is trained."""

    key: str = option("", title="Key", description="Names the folder of the answer", max_length=64)
    sigma: float = option(
        1.0, title="Noise", description="Spread before it is cut to black and white",
        ge=0.2, le=5.0,
    )  # fmt: skip
    smooth: float = option(
        0.1, title="Smoothness", description="Weight of total variation", ge=0.0, le=2.0
    )
    seed: int = option(1, title="Seed", description="Other noise", ge=0, le=2**31 - 1)
    steps: int = option(2000, title="Steps", description="Images of noise", ge=10, le=20_000)


class TrainEngine:
    """Takes the picture to look at; writes curve, picture and, at the end, weights."""

    id: ClassVar[str] = "raw.train"
    title: ClassVar[str] = "Training"
    tab: ClassVar[str] = NoiserEngine.tab
    summary: ClassVar[str] = "Trains NoiSER's network on noise"
    accepts: ClassVar[tuple[MediaKind, ...]] = NoiserEngine.accepts
    suffixes: ClassVar[tuple[str, ...]] = NoiserEngine.suffixes
    version: ClassVar[str] = "1"
    Params: ClassVar[type[Params]] = TrainParams

    def run(self, inputs: Sequence[Path], params: Any, job: Job) -> Result:
        """See `engines.base.Engine.run`."""
        from engines.raw.noiser.look import SMALL
        from engines.raw.noiser.proxy import proxy
        from engines.raw.noiser.rows import shrunk
        from engines.raw.noiser.train import NoiserRecipe
        from engines.training.loop import train
        from engines.weights import read_training_state

        answer = job.resumable(params.key)
        settings = params.model_dump(exclude={"key"})
        home = job.resumable(f"run {self.version} {sorted(settings.items())}")
        small = proxy(inputs[0])
        picture = shrunk(small.linear, small.seen, SMALL)[0]
        state = home / "noiser" / "state.pt"
        begun = int(read_training_state(state, "cpu")["step"]) if state.is_file() else 0
        done = begun

        def step() -> None:
            nonlocal done
            job.check_cancelled()
            shown = min(done, params.steps)
            job.progress(shown, params.steps, f"training, step {shown} of {params.steps}")
            done += 1

        recipe = NoiserRecipe(
            sigma=params.sigma, smooth=params.smooth, seed=params.seed, every=_EVERY, step=step,
            picture=(picture, small.transfer), steps=max(params.steps - begun, 1),
        )  # fmt: skip
        report = train(
            recipe, folder=home, resume=begun > 0, device=job.device,
            say=lambda _line: _tell(home / "noiser", answer, params.steps),
        )  # fmt: skip
        shutil.copyfile(report.weights, answer / WEIGHTS)
        _tell(home / "noiser", answer, params.steps, seconds=report.seconds)
        shutil.rmtree(home, ignore_errors=True)
        return Result(outputs=())


def _tell(run: Path, answer: Path, steps: int, seconds: float | None = None) -> None:
    """Hand on the curve and the picture of a run."""
    partial = answer / f"{AFTER}.partial"
    shutil.copyfile(run / "validation.png", partial)
    os.replace(partial, answer / AFTER)
    with (run / "curve.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    curve = [[int(row["step"]), float(row["loss"])] for row in rows]
    found: dict[str, Any] = {"steps": steps, "curve": curve, "mean": float(rows[-1]["mean"])}
    found["spread"] = float(rows[-1]["spread"])
    if seconds is not None:
        found["seconds"] = seconds
    write_facts(answer, found)
