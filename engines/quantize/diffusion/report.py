"""What there is to say about a quantized diffusion model: numbers, JSON, a page, a card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engines.base import Measurement
from engines.quantize.diffusion.folder import DiffusionFolder
from engines.quantize.diffusion.judge import Judged
from engines.quantize.diffusion.layers import Stepped
from engines.quantize.diffusion.params import DiffusionParams
from engines.quantize.scratch import LayerReport

_LOADING = {
    "studio": "With Noise Studio, whose folder is the working folder here:\n\n```python\n"
    "from pathlib import Path\n\n"
    "from engines.quantize.diffusion.load import load_diffusion\n\n"
    'model = load_diffusion(Path("{name}"))\n'
    "pictures = model.sample(4, steps=50, seed=0)  # (4, channels, height, width) in -1..1\n```",
    "dense": "With `pip install diffusers`, or whatever else reads the original.\n\n```python\n"
    "from diffusers import {kind}\n\n"
    'model = {kind}.from_pretrained("{name}")\n```',
}


@dataclass(frozen=True)
class Summary:
    """Everything measured of one run.

    Attributes:
        source: name of the original.
        kind: class of what is loaded: the pipeline, or the network alone.
        engine: id of the engine.
        settings: the parameters that always matter.
        layers: the quantized layers, in the order of the data.
        timesteps, steps: relative squared error of the prediction at each sampling step.
        size_original: bytes of the original network.
        seconds: from the first calibration input to the last layer.
    """

    source: str
    kind: str
    engine: str
    export: str
    settings: Mapping[str, Any]
    layers: Sequence[LayerReport]
    timesteps: Sequence[int]
    steps: Sequence[float]
    size_original: int
    seconds: float
    notes: tuple[str, ...]

    @classmethod
    def of(
        cls, folder: DiffusionFolder, engine: str, params: DiffusionParams,
        layers: Mapping[str, Stepped], errors: Mapping[str, float], seen: Judged, seconds: float,
    ) -> Summary:  # fmt: skip
        """What a run found."""
        rows = [
            LayerReport(name, layer.shape[0] * layer.shape[1], layer.bits, errors.get(name, 0.0))
            for name, layer in layers.items()
        ]
        notes: list[str] = []
        if params.export == "dense" and params.activation_bits < 16:
            notes.append(
                "The dense export holds the rounded weights alone: what loads it does not round "
                "activations, and makes other pictures than those shown here"
            )
        if len(seen.timesteps) < params.steps:
            notes.append(f"The schedule has {len(seen.timesteps)} steps, which are all taken")
        told = params.model_dump()
        told["prompts"] = len(told["prompts"])
        return cls(
            folder.name, folder.pipeline or folder.kind, engine, params.export, told, rows,
            seen.timesteps, seen.errors, folder.network.bytes, seconds, tuple(notes),
        )  # fmt: skip

    @property
    def errors(self) -> dict[str, float]:
        """Layer -> relative squared error of its output."""
        return {layer.name: layer.error for layer in self.layers}

    @property
    def bits(self) -> float:
        """Bits a weight of the quantized layers, everything stored counted."""
        weights = sum(layer.weights for layer in self.layers)
        return sum(layer.bits * layer.weights for layer in self.layers) / max(weights, 1)

    def measurements(self, size: int) -> dict[str, Measurement]:
        """The numbers in the order in which they are to be read; `size` in bytes as written."""
        return {
            "noise_error": Measurement(sum(self.steps) / len(self.steps)),
            "noise_error_last_step": Measurement(self.steps[-1]),
            "bits_per_weight": Measurement(self.bits, "bit"),
            "size_mb": Measurement(size / 1e6, "MB"),
            "size_original_mb": Measurement(self.size_original / 1e6, "MB"),
            "seconds_per_layer": Measurement(self.seconds / len(self.layers), "s"),
            "largest_error": Measurement(max(layer.error for layer in self.layers)),
        }


def card(name: str, summary: Summary) -> str:
    """Text of the README.md in the export."""
    figures = [
        ("Mean squared error of the predicted noise, relative", f"{_mean(summary.steps):.3g}"),
        ("Bits a weight of the quantized layers", f"{summary.bits:.2f}"),
        *((key.replace("_", " "), str(value)) for key, value in summary.settings.items()),
    ]
    loading = _LOADING[summary.export].format(name=name, kind=summary.kind)
    parts = [
        "---\nlibrary_name: diffusers\ntags:\n- quantized\n---",
        f"# {name}",
        f"{summary.source}, quantized by {summary.engine} with Noise Studio. Its licence is that "
        "of the source.",
        *([_bullets(summary.notes)] if summary.notes else []),
        "## Figures and settings",
        _table(("Figure or setting", "Value"), figures),
        "## Loading",
        loading,
        "## Layers",
        "Bits a weight count scales and whatever else is stored; the error is the squared error "
        "of the output relative to it.",
        _table(("Layer", "Bits", "Error"), _rows(summary)),
    ]
    return "\n\n".join(parts) + "\n"


def write_reports(
    folder: Path, name: str, summary: Summary, measurements: Mapping[str, Measurement]
) -> tuple[Path, Path]:
    """Write `<name>.report.json` and `<name>.report.md`; returns both."""
    data, words = folder / f"{name}.report.json", folder / f"{name}.report.md"
    values = asdict(summary) | {
        "measurements": {key: asdict(one) for key, one in measurements.items()}
    }
    data.write_text(json.dumps(values, indent=1), encoding="utf-8")
    figures = [(k.replace("_", " "), f"{m.value:.4g} {m.unit}") for k, m in measurements.items()]
    steps = [(str(t), f"{e:.3g}") for t, e in zip(summary.timesteps, summary.steps, strict=True)]
    parts = [
        f"# {name}",
        f"{summary.source}, {summary.engine}, {summary.export}",
        _table(("Figure", "Value"), figures),
        _table(("Timestep", "Relative squared error of the prediction"), steps),
        _table(("Layer", "Bits a weight", "Relative squared error"), _rows(summary)),
        _bullets(summary.notes),
    ]
    words.write_text("\n\n".join(parts).rstrip() + "\n", encoding="utf-8")
    return data, words


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _rows(summary: Summary) -> list[tuple[str, str, str]]:
    return [(one.name, f"{one.bits:.2f}", f"{one.error:.3g}") for one in summary.layers]


def _bullets(notes: Sequence[str]) -> str:
    return "\n".join(f"- {note}" for note in notes)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
