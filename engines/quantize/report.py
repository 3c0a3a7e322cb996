"""What there is to say about a quantized model: numbers, a JSON document, a page of text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engines.base import Measurement
from engines.quantize.export import Card, CardLine
from engines.quantize.folder import ModelFolder
from engines.quantize.params import ModelParams
from engines.quantize.scratch import BlockReport, LayerReport
from engines.quantize.walk import Walked


@dataclass(frozen=True)
class Summary:
    """Everything measured of one run.

    Attributes:
        source: name of the original.
        engine: id of the engine.
        export: layout that was written.
        exact: whether the layout holds what was measured without rounding it again.
        settings: parameters that differ from their defaults, and those that always matter.
        perplexity, perplexity_original: on the held-out text; NaN where it was not to be measured.
        divergence: KL(original || quantized), nats a token.
        bits_per_weight: of the quantized layers, everything stored counted.
        seconds_per_layer: to quantize one linear layer, mean.
        reload_difference: of the logits after reading back, relative; None where not checked.
    """

    source: str
    engine: str
    export: str
    exact: bool
    settings: Mapping[str, Any]
    perplexity: float
    perplexity_original: float
    divergence: float
    bits_per_weight: float
    size_original_mb: float
    seconds_per_layer: float
    blocks: Sequence[BlockReport]
    notes: tuple[str, ...]
    size_mb: float = 0.0
    tokens_per_second: float | None = None
    tokens_per_second_original: float | None = None
    reload_difference: float | None = None
    front: Sequence[Mapping[str, float | bool]] = ()

    @classmethod
    def of(
        cls, folder: ModelFolder, engine: str, export: str, params: ModelParams, walked: Walked
    ) -> Summary:
        """What a walk found."""
        layers = [layer for block in walked.blocks for layer in block.layers]
        weights = sum(layer.weights for layer in layers)
        measured = params.evaluate > 0
        notes = list(dict.fromkeys(note for block in walked.blocks for note in block.notes))
        if params.export == "auto" and export != "compressed-tensors":
            notes.append(
                "compressed-tensors cannot hold what this method makes, so the model is in Noise "
                "Studio's own layout; choose the export dense for other programs"
            )
        return cls(
            source=folder.name,
            engine=engine,
            export=export,
            exact=export != "dense",
            settings=_told(params),
            perplexity=walked.perplexity if measured else float("nan"),
            perplexity_original=walked.perplexity_original if measured else float("nan"),
            divergence=walked.divergence,
            bits_per_weight=sum(layer.bits * layer.weights for layer in layers) / max(weights, 1),
            size_original_mb=folder.bytes / 1e6,
            seconds_per_layer=sum(block.seconds for block in walked.blocks) / max(len(layers), 1),
            blocks=walked.blocks,
            notes=tuple(notes),
        )

    @property
    def layers(self) -> list[LayerReport]:
        """All quantized layers."""
        return [layer for block in self.blocks for layer in block.layers]

    def measurements(self) -> dict[str, Measurement]:
        """The numbers in the order in which they are to be read."""
        found = {
            "perplexity": Measurement(self.perplexity),
            "perplexity_original": Measurement(self.perplexity_original),
            "bits_per_weight": Measurement(self.bits_per_weight, "bit"),
            "size_mb": Measurement(self.size_mb, "MB"),
            "size_original_mb": Measurement(self.size_original_mb, "MB"),
        }
        if self.tokens_per_second is not None and self.tokens_per_second_original is not None:
            found["tokens_per_second"] = Measurement(self.tokens_per_second, "tokens/s")
            found["tokens_per_second_original"] = Measurement(
                self.tokens_per_second_original, "tokens/s"
            )
        found["seconds_per_layer"] = Measurement(self.seconds_per_layer, "s")
        found["divergence"] = Measurement(self.divergence, "nats/token")
        found["largest_error"] = Measurement(max(layer.error for layer in self.layers))
        return found


def card(summary: Summary) -> Card:
    """The model card in the export."""
    figures = {
        "Bits a weight": f"{summary.bits_per_weight:.3f}",
        "Perplexity on held-out text": f"{summary.perplexity:.3f} "
        f"(original {summary.perplexity_original:.3f})",
        "Divergence from the original": f"{summary.divergence:.4f} nats a token",
    }
    if summary.perplexity != summary.perplexity:
        del figures["Perplexity on held-out text"]
    return Card(
        source=summary.source,
        method=summary.engine,
        settings={name: str(value) for name, value in summary.settings.items()},
        figures=figures,
        layers=[CardLine(layer.name, layer.bits, layer.error) for layer in summary.layers],
        notes=summary.notes,
    )


def write_reports(folder: Path, name: str, summary: Summary) -> tuple[Path, Path]:
    """Write `<name>.report.json` and `<name>.report.md`; returns both."""
    data, words = folder / f"{name}.report.json", folder / f"{name}.report.md"
    values = asdict(summary)
    values["layers"] = [asdict(layer) for layer in summary.layers]
    values["blocks"] = [
        {"name": block.name, "seconds": block.seconds, "error": block.error}
        for block in summary.blocks
    ]
    values["measurements"] = {
        key: asdict(one) for key, one in summary.measurements().items() if one.value == one.value
    }
    data.write_text(json.dumps(_finite(values), indent=1), encoding="utf-8")
    words.write_text(_text(name, summary), encoding="utf-8")
    return data, words


def _text(name: str, summary: Summary) -> str:
    lines = [f"# {name}", "", f"{summary.source}, {summary.engine}, {summary.export}", ""]
    lines += ["| | |", "| --- | --- |"]
    for key, one in summary.measurements().items():
        if one.value == one.value:
            lines.append(f"| {key.replace('_', ' ')} | {one.value:.4g} {one.unit} |")
    lines += ["", "| layer | bits a weight | relative squared error |", "| --- | --- | --- |"]
    lines += [f"| {one.name} | {one.bits:.3f} | {one.error:.3g} |" for one in summary.layers]
    lines += ["", *(f"- {note}" for note in summary.notes)]
    return "\n".join(lines).rstrip() + "\n"


def _told(params: ModelParams) -> dict[str, Any]:
    """Parameters as they go into a card: never a path of this machine."""
    values = params.model_dump()
    values["calibration"] = "own text" if values["calibration"] else "bundled"
    return {name: value for name, value in values.items() if value not in (None, "")}


def _finite(value: Any) -> Any:
    """JSON has no NaN: such numbers are left empty."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and value != value else value
