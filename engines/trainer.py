"""A recipe trained from the page, looked at while it learns; it runs through the queue.

The run lies where `train RECIPE` has it, so each goes on with what the other began. A person who
stops it gets what was learned so far: it is validated and exported as at the end of the budget.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from engines.base import Job, MediaKind, Params, Result, option

if TYPE_CHECKING:
    from torch import Tensor

FACTS, PICTURE, WEIGHTS, STOP = "facts.json", "picture.png", "weights.safetensors", "stop"
_LOOK = 0.5  # seconds between two points of the curve
_POINTS = 400
_VALIDATIONS = 6  # about so many pictures in a run


class RecipeParams(Params):
    """What is trained, and where."""

    key: str = option("", title="Key", description="Names the folder of the answer", max_length=64)
    recipe: str = option("", title="Recipe", description="What is trained", max_length=80)
    minutes: float = option(
        10.0, title="Budget", description="How long to train", unit="min", ge=0.05, le=1440.0
    )
    resume: bool = option(True, title="Go on", description="From what was learned before")
    data: str = option(
        "", title="Data", description="Folder of your own files", max_length=1000, local=True
    )
    folder: str = option(
        "", title="Folder", description="Where runs lie", max_length=1000, local=True
    )


class RecipeEngine:
    """Takes no file; writes curve and picture, and at the end the weights."""

    id: ClassVar[str] = "models.train"
    title: ClassVar[str] = "Training"
    tab: ClassVar[str] = "Models"
    summary: ClassVar[str] = "Trains a network by its recipe"
    accepts: ClassVar[tuple[MediaKind, ...]] = ("document",)
    suffixes: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[str] = "1"
    Params: ClassVar[type[Params]] = RecipeParams

    def run(self, inputs: Sequence[Path], params: Any, job: Job) -> Result:
        """See `engines.base.Engine.run`."""
        from engines.training import run_recipe

        folder = Path(params.folder)
        answer = job.resumable(params.key)
        live = _Live(job, params, answer, folder / params.recipe)
        job.progress(0, 1, "getting the data ready")
        report = run_recipe(
            params.recipe,
            budget_minutes=params.minutes,
            resume=params.resume and live.begun,
            device=job.device,
            data=Path(params.data) if params.data else None,
            folder=folder,
            say=lambda _line: live.validated(),
            watch=live.step,
            every=min(300.0, max(5.0, 60.0 * params.minutes / _VALIDATIONS)),
        )
        shutil.copyfile(report.weights, answer / WEIGHTS)
        live.tell(figures=report.figures)
        return Result(outputs=())


class _Live:
    """What a person sees of a run."""

    def __init__(self, job: Job, params: RecipeParams, answer: Path, run: Path) -> None:
        self._job, self._params, self._answer, self._run = job, params, answer, run
        self.begun = (run / "state.pt").is_file()
        self._start: float | None = None
        self._looked = 0.0
        self._total: Any = None
        self._count = 0
        self._curve: list[tuple[int, float]] = []
        self._figures: dict[str, float] = {}
        self._step = 0

    def step(self, step: int, loss: Tensor) -> bool:
        """A step is done; True where the run is to end now."""
        now = time.monotonic()
        self._start = self._start if self._start is not None else now
        self._total = loss if self._total is None else self._total + loss
        self._count += 1
        self._step = step
        if now - self._looked < _LOOK:
            return False
        self._looked = now
        self._job.check_cancelled()
        self._curve.append((step, float(self._total) / self._count))
        self._total, self._count = None, 0
        if len(self._curve) > _POINTS:
            pairs = zip(self._curve[::2], self._curve[1::2], strict=False)
            self._curve = [(b[0], (a[1] + b[1]) / 2) for a, b in pairs]
        budget = 60.0 * self._params.minutes
        spent = min(now - self._start, budget)
        self._job.progress(spent, budget, f"training, step {step}")
        self.tell()
        return (self._answer / STOP).exists()

    def validated(self) -> None:
        """A validation is done: its picture and figures are there."""
        picture = self._run / "validation.png"
        if picture.is_file():
            partial = self._answer / f"{PICTURE}.partial"
            shutil.copyfile(picture, partial)
            os.replace(partial, self._answer / PICTURE)
        with (self._run / "curve.csv").open(newline="") as file:
            last = list(csv.DictReader(file))[-1]
        known = {name: value for name, value in last.items() if name not in _COLUMNS and value}
        self._figures = {name: float(value) for name, value in known.items()}
        self.tell()

    def tell(self, figures: dict[str, float] | None = None) -> None:
        """Write what there is to be seen."""
        self._figures = self._figures if figures is None else figures
        picture = self._answer / PICTURE
        found = {
            "step": self._step,
            "curve": self._curve,
            "figures": self._figures,
            "picture": picture.stat().st_mtime_ns if picture.is_file() else 0,
        }
        partial = self._answer / f"{FACTS}.partial"
        partial.write_text(json.dumps(found), encoding="utf-8")
        os.replace(partial, self._answer / FACTS)


_COLUMNS = ("step", "seconds", "loss")
