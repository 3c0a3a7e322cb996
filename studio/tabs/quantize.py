"""The quantization tab: models in, smaller ones out, compared and (if they speak) asked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from markupsafe import Markup

from engines.base import Engine
from studio import language
from studio.folders import makes_pictures
from studio.forms import ModelChoices
from studio.inbox import Inbox
from studio.jobs.service import Studio
from studio.jobs.views import ArtifactView, JobView
from studio.layers import layers_of
from studio.markup import figures, filesize, part
from studio.model_facts import model_facts
from studio.panels.files import Offer
from studio.panels.result import Reading, Row, Verdict, plain_reading
from studio.reader import FileReader, Look
from studio.scene import Scene
from studio.snippets import Snippet, diffusion_snippet, snippet
from studio.tabs.generic import MethodTab

_FIRST = "quantize.awq"  # the method that does well without a setting
_PAIRS = {  # measurement -> its title, and the one of the original
    "perplexity": ("Perplexity", "perplexity_original"),
    "size_mb": ("Size", "size_original_mb"),
    "tokens_per_second": ("Speed", "tokens_per_second_original"),
}
_NAMES = {
    "bits_per_weight": "Bits a weight",
    "noise_error": "Error of the predicted noise",
    "noise_error_last_step": "error of the noise in the last step",
    "seconds_per_layer": "seconds a layer",
}
_UNITS = {"tokens_per_second": "tokens/s"}
_CLOSE, _WORSE = 5.0, 25.0  # % that perplexity may rise
_COMPARED = 12  # results of one model in one table


class QuantizeTab(MethodTab):
    """A model's folder, a zip of one or a known model in; one of fewer bits out."""

    noun = "model"
    place = "/home/me/models/SmolLM2-135M"
    in_place = "Or the folder of a model on this machine"
    icon = "model"
    models = True
    first = (
        "weight_bits", "activation_bits", "bits", "group_size", "symmetric", "target", "target_gb",
        "target_increase",
    )  # fmt: skip
    only_with: Mapping[str, tuple[str, Any]] = MappingProxyType(
        {"target_gb": ("target", "size"), "target_increase": ("target", "perplexity")}
    )
    empty = (
        "The smaller model appears here",
        "Choose a model and press Run. You see what it lost, layer by layer, and can ask both "
        "the same question; nothing has to be set.",
    )

    def __init__(self, title: str, engines: Sequence[type[Engine]]) -> None:
        """See `MethodTab`."""
        super().__init__(title, sorted(engines, key=lambda engine: engine.id != _FIRST))
        self.suffixes = (".zip",)
        self._reader = FileReader(model_facts)

    @property
    def limits(self) -> str:
        """See `MethodTab`."""
        return "A zip of a model's folder: config.json, safetensors, tokenizer"

    def build(self, studio: Studio, inbox: Inbox, models: ModelChoices) -> None:
        """See `MethodTab`."""
        self._settings = studio.settings
        super().build(studio, inbox, models)

    def offers(self) -> Sequence[Offer]:
        """Models that ship or were pulled."""
        return [
            Offer(model.id, model.id, f"{model.title}, {filesize(model.bytes)}")
            for model in language.known(self._settings)
        ]

    def look(self, path: Path) -> Look:
        """Architecture, weights, layers and size of a model, or why it cannot be used."""
        if not path.is_dir() and path.suffix.lower() not in self.suffixes:
            return Look(problem="This is no model; drop a zip of a model's folder")
        return self._reader.look(path)

    def read(self, measurements: Mapping[str, tuple[float, str]]) -> Reading:
        """Before and after in large numbers, a sentence on the loss, the rest in a table."""
        headline = [
            Row(
                title,
                _short(name, value),
                _UNITS.get(name, unit),
                None if before is None else _short(name, before),
            )
            for name, (title, _) in _PAIRS.items()
            if name in measurements
            for value, unit in [measurements[name]]
            for before in [_before(measurements, name)]
        ]
        if "noise_error" in measurements:
            share = float(f"{100.0 * measurements['noise_error'][0]:.3g}")
            headline.insert(0, Row(_NAMES["noise_error"], share, "%"))
        if "bits_per_weight" in measurements:
            value, _ = measurements["bits_per_weight"]
            headline.append(Row(_NAMES["bits_per_weight"], round(value, 2), ""))
        if not headline:
            return plain_reading(measurements)
        shown = {*_PAIRS, *(original for _, original in _PAIRS.values()), "bits_per_weight"}
        shown.add("noise_error")
        rest = {_NAMES.get(k, k): value for k, value in measurements.items() if k not in shown}
        return Reading(
            "Before and after", headline, verdict(measurements), plain_reading(rest).rest
        )

    def more(self, job: JobView, scene: Scene) -> Markup:
        """The report's table, other results of the same model, how to load it, and a try-out."""
        model = next((file for file in job.outputs if file.folder and not file.missing), None)
        speaks = model is not None and not makes_pictures(model.path)
        return part(
            "quantize.html",
            job=job,
            layers=layer_table(job),
            others=_compared(job, scene),
            snippet=_snippet(model, shared=scene.studio.settings.shared) if model else None,
            original=job.inputs[0].name if job.inputs and job.inputs[0].path.exists() else "",
            chat=model is not None and chats(model.path),
            ask=speaks,
        )


def verdict(measurements: Mapping[str, tuple[float, str]]) -> Verdict | None:
    """What the loss means, in a sentence; None where it was not measured."""
    after, before = measurements.get("perplexity"), _before(measurements, "perplexity")
    if after is None or not before:
        return None
    rise = round(100.0 * (after[0] / before - 1.0), 1)
    size, was = measurements.get("size_mb"), _before(measurements, "size_mb")
    smaller = f"It takes {100.0 * size[0] / was:.0f} % of the space. " if size and was else ""
    said = f"Perplexity on held-out text {_change(rise)}: "
    if rise <= _CLOSE:
        return Verdict(f"{smaller}{said}answers should read like the original's.", "sure")
    if rise <= _WORSE:
        return Verdict(
            f"{smaller}{said}a loss that can be noticed; more bits or smaller groups lessen it.",
            "sure",
        )
    return Verdict(
        f"{smaller}{said}the model is damaged. Take more bits, smaller groups or another method.",
        "doubt",
    )


def _change(rise: float) -> str:
    if rise == 0:
        return "stays as it was"
    return f"{'rises' if rise > 0 else 'falls'} by {figures(abs(rise))} %"


def _before(measurements: Mapping[str, tuple[float, str]], name: str) -> float | None:
    found = measurements.get(_PAIRS[name][1])
    return None if found is None else found[0]


def _short(name: str, value: float) -> float:
    """As many digits as can be compared at a glance."""
    if value >= 100:
        return round(value)
    return round(value, 2 if value < 10 or name == "perplexity" else 1)


def chats(folder: Path) -> bool:
    """Whether a model has a template for conversations."""
    if (folder / "chat_template.jinja").is_file() or (folder / "chat_template.json").is_file():
        return True
    try:
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and bool(config.get("chat_template"))


def stored_as(folder: Path) -> str:
    """The `quant_method` of a model's config.json; "" where it has none."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return str((config.get("quantization_config") or {}).get("quant_method", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def _snippet(model: ArtifactView, *, shared: bool) -> Snippet:
    # A visitor unpacks the zip where they are; only the person at this machine has the path.
    folder = model.name if shared else str(model.path)
    if makes_pictures(model.path):
        inside = model.path / "unet"
        coded = bool(stored_as(inside if inside.is_dir() else model.path))
        return diffusion_snippet(_diffusers_class(model.path), folder, coded=coded)
    return snippet(stored_as(model.path), folder)


def _diffusers_class(model: Path) -> str:
    """Class of diffusers that loads a folder."""
    for name in ("model_index.json", "config.json"):
        try:
            return str(json.loads((model / name).read_text(encoding="utf-8"))["_class_name"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return "DiffusionPipeline"


# --- tables -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """Column titles, and rows of a link (a job's id, or ""), a mark for "this one", and cells."""

    columns: Sequence[str]
    rows: Sequence[tuple[str, bool, Sequence[str]]]


_COLUMNS = {
    "bits_per_weight": "Bits a weight",
    "perplexity": "Perplexity",
    "noise_error": "Error of the noise",
    "size_mb": "Size, MB",
    "tokens_per_second": "Tokens/s",
}


def layer_table(job: JobView) -> Table | None:
    """Bits and error of every layer, as the report has them."""
    rows = [
        ("", False, [one.name, f"{one.bits:.2f}", f"{one.error:.3g}"]) for one in layers_of(job)
    ]
    if not rows:
        return None
    return Table(["Layer", "Bits a weight", "Error of its output, squared, relative"], rows)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)[:80]
    if name == "noise_error":
        return f"{100.0 * value:.3g} %"
    return figures(round(value, 2) if name == "bits_per_weight" else _short(name, value))


def _compared(job: JobView, scene: Scene) -> Table | None:
    """The original and all results of it in this session, the smallest perplexity first."""
    if not job.inputs:
        return None
    jobs = scene.studio.jobs(
        scene.owner, session_id=job.session_id, states=("done",), limit=50, tab="quantize"
    )
    same = [one for one in jobs if one.inputs and one.inputs[0].sha256 == job.inputs[0].sha256]
    same.sort(key=_loss)
    rows: list[tuple[str, bool, Sequence[str]]] = []
    original = _originals(job)
    columns = {k: v for k, v in _COLUMNS.items() if any(k in one.measurements for one in same)}
    if original:
        rows.append(("", False, ["Original", "", *(_cell(k, original.get(k)) for k in columns)]))
    rows += [
        (
            one.id,
            one.id == job.id,
            [
                one.title,
                _layout(one),
                *(_cell(k, one.measurements.get(k, (None, ""))[0]) for k in columns),
            ],
        )
        for one in same[:_COMPARED]
    ]
    return Table(["Method", "Layout", *columns.values()], rows)


def _loss(job: JobView) -> float:
    """What a result lost, by the measure of its kind."""
    found = job.measurements.get("perplexity") or job.measurements.get("noise_error")
    return found[0] if found else float("inf")


def _layout(job: JobView) -> str:
    """What the model was written as, also where the choice was left to the engine."""
    asked = str(job.params.get("export", "auto"))
    model = next((file for file in job.outputs if file.folder and not file.missing), None)
    return asked if asked != "auto" or model is None else stored_as(model.path) or "dense"


def _originals(job: JobView) -> dict[str, float]:
    found = {name: job.measurements.get(original) for name, (_, original) in _PAIRS.items()}
    return {name: value[0] for name, value in found.items() if value is not None}
