"""`bench quantize-diffusion`: what PTQ4DM and EfficientDM leave of a diffusion model.

The model is `ddpm-small`, the bundled one or what `train ddpm-small` made, or the folder in
STUDIO_BENCH_MODEL. `noise_error` is the squared error of the predicted noise relative to it, mean
over the steps of the original's own way, on pictures that no method has seen; `frechet` is a
Fréchet distance between the pictures of the quantized model and others of the original's, on the
features of a fixed random network (`studio.bench.frechet`; it is no FID). The row "float" is the
original against itself with other noise: what is left there is chance. "min-max" is rounding by
whole ranges, with nothing searched or learned.

STUDIO_BENCH_ONLY=ptq4dm,efficientdm@W4A4 names what to run; STUDIO_BENCH_PICTURES, _STEPS,
_SAMPLES, _ITERATIONS (of PTQ4DM) and _PASSES (of EfficientDM) change the sizes.
STUDIO_BENCH_ROWS=FILE keeps every row as it comes, and what lies there is not measured again.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from engines.base import UserError
from studio.bench.job import BenchJob
from studio.bench.quantize import Kept
from studio.config import Settings

TITLE = "Quantized diffusion models: predicted noise and pictures"
WIDTHS = ((8, 8), (4, 8), (4, 4))
SYSTEMS = ("min-max", "ptq4dm", "efficientdm")
_PICTURES, _STEPS, _SAMPLES, _ITERATIONS, _PASSES = 256, 50, 256, 500, 64
_JUDGED = 16  # pictures on whose way the noise is compared
_SEED, _OTHER = 5_000_000, 9_000_000


def run() -> list[dict[str, Any]]:
    """One row a system and width, the original first.

    Raises:
        UserError: the model is not here.
    """
    folder = _model()
    kept = Kept(os.environ.get("STUDIO_BENCH_ROWS"))
    bench: _Bench | None = None
    rows: list[dict[str, Any]] = []
    for system, width in _wanted(os.environ.get("STUDIO_BENCH_ONLY", "")):
        found = kept.row(system, width)
        if found is None:
            bench = bench or _Bench(folder)
            found = bench.row(system, width)
            kept.add(found)
            sys.stderr.write(f"{found}\n")
        rows.append(found)
    return rows


def _wanted(only: str) -> list[tuple[str, str]]:
    names = [f"W{weights}A{inputs}" for weights, inputs in WIDTHS]
    whole = [("float", ""), *((system, name) for system in SYSTEMS for name in names)]
    asked = [one for one in only.split(",") if one]
    named = [one for a in asked for one in whole if a in (one[0], f"{one[0]}@{one[1]}")]
    return list(dict.fromkeys(named)) or whole


def _model() -> Path:
    named = os.environ.get("STUDIO_BENCH_MODEL")
    if named:
        return Path(named)
    root = Path(__file__).resolve().parents[2]
    trained = Settings.load().home / "training" / "ddpm-small" / "ddpm-small"
    places = (root / "assets" / "diffusion" / "ddpm-small", trained)
    for place in places:
        if place.is_dir():
            return place
    raise UserError("There is no diffusion model here; make one with: train ddpm-small")


def _size(name: str, default: int) -> int:
    return int(os.environ.get(f"STUDIO_BENCH_{name}", default))


class _Job(BenchJob):
    def resumable(self, key: str) -> Path:
        """A folder that the engine may remove."""
        place = self.workspace / "scratch"
        place.mkdir(exist_ok=True)
        return place


class _Bench:
    """The original and its pictures, made once."""

    def __init__(self, folder: Path) -> None:
        from engines.quantize.diffusion.load import load_diffusion
        from studio.bench.frechet import features

        self._folder = folder
        self._original = load_diffusion(folder)
        self._steps = _size("STEPS", _STEPS)
        self._others = features(self._pictures(self._original, _OTHER))

    def row(self, system: str, width: str) -> dict[str, Any]:
        """Quantize, load what was written, and judge it."""
        from engines.quantize.diffusion.load import load_diffusion
        from studio.bench.frechet import features, frechet

        begun = time.process_time()
        found: dict[str, Any] = {"system": system, "bits": width}
        if system == "float":
            pictures = self._pictures(self._original, _SEED)
            return found | {
                "noise_error": 0.0,
                "frechet": round(frechet(features(pictures), self._others), 5),
                "core_seconds": round(time.process_time() - begun, 1),
            }
        with TemporaryDirectory() as name:
            made, measured = self._made(system, width, Path(name))
            spent = time.process_time() - begun
            loaded = load_diffusion(made)
            error = self._error(loaded)
            pictures = self._pictures(loaded, _SEED)
        return found | {
            "noise_error": round(error, 6),
            "frechet": round(frechet(features(pictures), self._others), 5),
            "bits_per_weight": round(measured["bits_per_weight"].value, 3),
            "size_mb": round(measured["size_mb"].value, 3),
            "size_original_mb": round(measured["size_original_mb"].value, 3),
            "core_seconds": round(spent, 1),
        }

    def _made(self, system: str, width: str, place: Path) -> tuple[Path, Any]:
        from engines.quantize.diffusion.params import (
            DiffusionParams,
            EfficientDmParams,
            Ptq4dmParams,
        )
        from engines.quantize.diffusion.process import Work, quantize
        from engines.quantize.diffusion.sampler import even_times
        from engines.quantize.diffusion.task import MinMax
        from engines.registry import engine_class

        weights, inputs = (int(one) for one in width[1:].split("A"))
        common: dict[str, Any] = {
            "weight_bits": weights, "activation_bits": inputs, "steps": self._steps,
            "samples": _size("SAMPLES", _SAMPLES), "pictures": 1,
        }  # fmt: skip
        job = _Job(place)
        if system == "min-max":
            times: Callable[..., Any] = lambda count, length, _: even_times(count, length)  # noqa: E731
            work = Work(MinMax(), times, "nothing")
            params: Any = DiffusionParams(**common)
        else:
            iterations = {
                "ptq4dm": _size("ITERATIONS", _ITERATIONS), "efficientdm": _size("PASSES", _PASSES)
            }[system]  # fmt: skip
            kind = {"ptq4dm": Ptq4dmParams, "efficientdm": EfficientDmParams}[system]
            params = kind(**common, iterations=iterations)
            engine: Any = engine_class(f"quantize.{system}")
            work = engine().work(params)
        result = quantize(self._folder, f"quantize.{system}", "1", work, params, job)
        return result.outputs[0].path, result.measurements

    def _error(self, loaded: Any) -> float:
        from engines.quantize.diffusion.judge import judged
        from engines.quantize.diffusion.predictor import Conditions, Predictor, shape_of
        from engines.quantize.diffusion.sampler import Sampler, noise

        shape = shape_of(self._original.folder)
        sampler = Sampler(self._original.folder.scheduler, self._steps)
        both = [Predictor(one.network, Conditions()) for one in (self._original, loaded)]
        begun = noise(_JUDGED, shape, _SEED)
        return judged(both[0], both[1], sampler, begun, None, lambda _: None).error

    def _pictures(self, loaded: Any, seed: int) -> Any:
        import torch

        count = _size("PICTURES", _PICTURES)
        parts = [
            loaded.sample(min(32, count - start), steps=self._steps, seed=seed + start)
            for start in range(0, count, 32)
        ]
        return torch.cat(parts)
