"""Training harness: a recipe is data, a network, a loss and a schedule.

Every bundled weight is made by `train RECIPE`. `recipes` lists them, `run_recipe` runs one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import cast

from filelock import FileLock, Timeout
from torch import Tensor

from engines.base import UserError
from engines.training.loop import Recipe, Report, train

_RECIPES: dict[str, str] = {
    "yond-snrnet-small": "engines.raw.yond.train:small",
    "yond-snrnet": "engines.raw.yond.train:wide",
    "noiser": "engines.raw.noiser.train:noiser",
    "pnnp": "engines.raw.pnnp.train:camera",
    "eld-small": "engines.raw.eld.train_wide:small",
    "eld-unet": "engines.raw.eld.train:unet",
    "storm-small-predictive": "engines.speech.train:predictive",
    "storm-small": "engines.speech.train_bridge:storm",
    "sgmse-small": "engines.speech.train_bridge:sgmse",
    "sgmse-ncsnpp": "engines.speech.train_ncsnpp:bridged",
    "sgmse-plus": "engines.speech.train_ncsnpp:plus",
    "clipsep-small": "engines.separation.train:small",
    "clipsep-small-plain": "engines.separation.train:plain",
    "labelsep-small": "engines.separation.train:labels",
    "pitsep-small": "engines.separation.train:unnamed",
    "upsr-small": "engines.superres.upsr.train:small",
    "ediffsr-small": "engines.superres.ediffsr.train:small",
    "reddiff-prior": "engines.superres.reddiff.train:prior",
    "negvsr-small": "engines.superres.negvsr.train:small",
    "lm-small": "engines.quantize.train:small",
    "ddpm-small": "engines.quantize.diffusion.train:small",
    "fast-x2": "engines.superres.train:fast_x2",
    "fast-x4": "engines.superres.train:fast_x4",
    "fast-x4-photo": "engines.superres.train:fast_x4_photo",
}


def recipes() -> dict[str, str]:
    """Recipe name -> one line on what it makes."""
    return {name: _recipe(name).title for name in _RECIPES}


def run_recipe(
    name: str,
    *,
    budget_minutes: float | None = None,
    resume: bool = False,
    device: str = "cpu",
    data: Path | None = None,
    folder: Path,
    say: Callable[[str], None] = lambda text: None,
    watch: Callable[[int, Tensor], bool] = lambda step, loss: False,
    every: float | None = None,
) -> Report:
    """Train; see `engines.training.loop.train`.

    `every` are the seconds between two validations, where they are not the recipe's own.

    Raises:
        UserError: there is no such recipe, it is being trained already, or its data cannot be had.
    """
    recipe = _recipe(name)
    if every is not None:
        recipe.config = replace(recipe.config, validate_every=every)
    with _alone(folder / name):
        return train(
            recipe,
            budget_minutes=budget_minutes,
            resume=resume,
            device=device,
            data=data,
            folder=folder,
            say=say,
            watch=watch,
        )


@contextmanager
def _alone(run: Path) -> Generator[None]:
    """Two trainings of one run would take each other's state."""
    run.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run / "training.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(f"{run.name} is being trained already; wait, or stop that") from error
    try:
        yield
    finally:
        lock.release()


def _recipe(name: str) -> Recipe:
    dotted = _RECIPES.get(name)
    if dotted is None:
        raise UserError(f"There is no recipe called {name}; there are: {', '.join(_RECIPES)}")
    module, _, maker = dotted.partition(":")
    return cast("Recipe", getattr(import_module(module), maker)())
