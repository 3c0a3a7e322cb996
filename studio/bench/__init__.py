"""Benches: every figure in the README is made by one of these, on the machine that runs it."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol, cast

from engines.base import UserError

BENCHES: dict[str, str] = {
    "startup": "studio.bench.startup",
    "overhead": "studio.bench.overhead",
    "library": "studio.bench.library",
    "load": "studio.bench.load",
    "faults": "studio.bench.faults",
    "raw-noise": "studio.bench.raw_noise",
    "raw-quality": "studio.bench.raw_quality",
    "raw-speed": "studio.bench.raw_speed",
    "raw-chart": "studio.bench.raw_chart",
    "raw-mosaics": "studio.bench.raw_mosaics",
    "raw-calibrate": "studio.bench.raw_calibrate",
    "raw-dark": "studio.bench.raw_dark",
    "lowlight": "studio.bench.lowlight",
    "speech": "studio.bench.speech",
    "superres": "studio.bench.superres",
    "superres-inverse": "studio.bench.superres_inverse",
    "superres-speed": "studio.bench.superres_speed",
    "superres-video": "studio.bench.superres_video",
    "speech-steps": "studio.bench.speech_steps",
    "speech-long": "studio.bench.speech_long",
    "separation": "studio.bench.separation",
    "quantize": "studio.bench.quantize",
    "quantize-kernels": "studio.bench.quantize_kernels",
    "quantize-memory": "studio.bench.quantize_memory",
    "quantize-diffusion": "studio.bench.quantize_diffusion",
}


class Bench(Protocol):
    """What a bench's module holds."""

    TITLE: str

    def run(self) -> list[dict[str, Any]]:
        """Measure; one row a condition, the same keys in each row that has them.

        Raises:
            UserError: what is measured needs something that is not here.
        """
        ...


def load_bench(name: str) -> Bench:
    """Import a bench.

    Raises:
        UserError: there is none of that name, or a package that it needs is missing.
    """
    dotted = BENCHES.get(name)
    if dotted is None:
        raise UserError(f"There is no bench of this name; there are {', '.join(BENCHES)}: {name}")
    return cast("Bench", import_module(dotted))
