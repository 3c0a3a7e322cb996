"""`train RECIPE`: make weights; every bundled file is made so."""

from __future__ import annotations

import argparse

from engines.training import recipes, run_recipe
from studio.commands import output, settings


def train(args: argparse.Namespace) -> int:
    """Train by a recipe, or list the recipes."""
    if args.recipe is None:
        output.table(list(recipes().items()))
        return 0
    folder = settings.load(args).cache / "training"
    device = settings.device(args) or "cpu"
    try:
        report = run_recipe(
            args.recipe,
            budget_minutes=args.budget_minutes,
            resume=args.resume,
            device=_best() if device == "auto" else device,
            data=args.data,
            folder=folder,
            say=lambda text: print(text, flush=True),
        )
    except KeyboardInterrupt:
        output.say("Stopped; --resume goes on from the last validation")
        return 130
    print(f"{report.recipe}: {report.steps} steps in {report.seconds / 60:.0f} minutes")
    print(f"Weights, with their model card beside them: {report.weights}")
    print("To use them here: models add FILE; to ship them, put both files into assets/weights/")
    return 0


def _best() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
