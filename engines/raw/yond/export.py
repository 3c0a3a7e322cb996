"""Everything that `raw.yond` writes: DNG, TIFF, JPEG, sidecar, and the pictures for comparing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.base import Comparison, Figure, Job, Measurement, MediaKind, Output, Result
from engines.media.develop import (
    auto_stops,
    demosaic,
    develop,
    render_preview,
    thumbnail,
    write_jpeg,
    write_tiff,
)
from engines.media.dng import DngExtras, precision_gain, write_dng, write_linear_dng
from engines.media.raw_file import RawImage
from engines.raw.yond.params import YondParams
from engines.weights import LoadedModel, sha256_of


@dataclass(frozen=True)
class Export:
    """What is to be written.

    Attributes:
        raw: the input as read.
        source: the input's path.
        levels: (H, W) float32 denoised mosaic in DN, black included.
        model: the weights that were used.
        engine: id, and `version`, of the engine.
        measurements: what goes into the provenance and to the page.
        reduction: share of the noise that is gone, 0 to 1.
        profile: (S, O) of the noise that is left.
    """

    raw: RawImage
    source: Path
    levels: NDArray[np.float32]
    model: LoadedModel
    engine: str
    version: str
    measurements: Mapping[str, Measurement]
    reduction: float
    profile: tuple[float, float]


def export(
    what: Export, params: YondParams, job: Job, figures: Sequence[Figure], notes: Sequence[str]
) -> Result:
    """Write outputs, sidecar and comparison into the workspace; progress from 85 to 100."""
    facts, stem = what.raw.facts, what.source.stem
    provenance = _provenance(what, params)
    gain = precision_gain(facts.white)
    mosaic = np.round(what.levels * gain).clip(0.0, facts.white * gain).astype(np.uint16)
    job.progress(86, 100, "drawing the comparison")
    stops = params.exposure if params.exposure is not None else auto_stops(mosaic // gain, facts)
    before = job.workspace / "before.jpg"
    after = job.workspace / "after.jpg"
    write_jpeg(before, render_preview(what.raw.mosaic, facts, stops), facts, None, quality=92)
    job.check_cancelled()
    drawn = render_preview(mosaic, facts, stops, gain=gain)
    write_jpeg(after, drawn, facts, None, quality=92)
    small = job.workspace / "thumbnail.jpg"
    small.write_bytes(thumbnail(drawn))
    extras = DngExtras(
        provenance=provenance,
        preview=_preview(mosaic, what, stops, gain),
        noise_reduction=what.reduction,
        noise_profile=what.profile,
        gain=gain,
    )
    mosaic_dng = job.workspace / f"{stem}.dng"
    outputs: list[Output] = []

    def add(path: Path, kind: MediaKind, label: str) -> None:
        outputs.append(Output(path, kind, label, primary=not outputs))
        job.check_cancelled()

    job.progress(92, 100, "writing")
    # LibRaw develops our own DNG, so TIFF and JPEG are what any converter makes of it.
    write_dng(mosaic_dng, mosaic, facts, what.source, extras)
    writers: dict[str, Callable[[], None]] = {
        "dng": lambda: add(mosaic_dng, "raw", "Denoised mosaic DNG"),
        "linear-dng": lambda: add(_linear(what, mosaic, extras, job), "raw", "Linear DNG"),
        "tiff": lambda: add(
            _tiff(what, mosaic_dng, stops, provenance, job), "image", "16-bit TIFF"
        ),
        "jpeg": lambda: add(_jpeg(what, mosaic_dng, stops, provenance, job), "image", "JPEG"),
    }
    for form in dict.fromkeys(params.output):
        writers[form]()
    sidecar = job.workspace / f"{stem}.json"
    sidecar.write_text(json.dumps(provenance, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    add(sidecar, "document", "How it was made")
    if "dng" not in params.output:
        mosaic_dng.unlink()
    job.progress(100, 100, "done")
    return Result(
        outputs=outputs,
        measurements=what.measurements | {"exposure": Measurement(stops, "EV")},
        figures=figures,
        comparisons=(Comparison(before, after, "image", "Before and after"),),
        thumbnail=small,
        notes=notes,
        models={what.model.file.id: what.model.file.sha256},
    )


def _provenance(what: Export, params: YondParams) -> dict[str, Any]:
    return {
        "app": "Noise Studio",
        "engine": what.engine,
        "engine_version": what.version,
        "weights": {what.model.file.id: what.model.file.sha256},
        "params": params.model_dump(mode="json"),
        "measurements": {
            name: {"value": round(m.value, 6), "unit": m.unit}
            for name, m in what.measurements.items()
            if name != "megapixels_per_second"  # the same input must give the same bytes
        },
        "input_sha256": sha256_of(what.source),
    }


def _preview(
    mosaic: NDArray[np.uint16], what: Export, stops: float, gain: int
) -> NDArray[np.uint8]:
    """The DNG's embedded preview: every other cell of the result, stored as the mosaic is."""
    cells = mosaic[: mosaic.shape[0] // 2 * 2, : mosaic.shape[1] // 2 * 2]
    step = max(min(cells.shape) // 1500, 1)
    if step == 1 or min(cells.shape) < 8:
        return render_preview(mosaic, what.raw.facts, stops, gain=gain, upright=False)
    height, width = cells.shape[0] // 2 // step, cells.shape[1] // 2 // step
    small = np.empty((2 * height, 2 * width), dtype=np.uint16)
    for y in (0, 1):
        for x in (0, 1):
            small[y::2, x::2] = cells[y :: 2 * step, x :: 2 * step][:height, :width]
    return render_preview(small, what.raw.facts, stops, gain=gain, upright=False)


def _linear(what: Export, mosaic: NDArray[np.uint16], extras: DngExtras, job: Job) -> Path:
    path = job.workspace / f"{what.source.stem}-linear.dng"
    rows = 512
    facts, height = what.raw.facts, mosaic.shape[0]
    rgb = np.empty((*mosaic.shape, 3), dtype=np.uint16)
    for top in range(0, height, rows):
        start, stop = max(top - 8, 0), min(top + rows + 8, height)
        part = demosaic(mosaic[start:stop], facts, extras.gain)[top - start : top - start + rows]
        rgb[top : top + rows] = np.round(part.clip(0.0, 1.0) * 65535.0).astype(np.uint16)
        job.check_cancelled()
    write_linear_dng(path, rgb, facts, what.source, extras)
    return path


def _tiff(what: Export, dng: Path, stops: float, provenance: dict[str, Any], job: Job) -> Path:
    path = job.workspace / f"{what.source.stem}.tif"
    write_tiff(path, develop(dng, stops, 16), what.raw.facts, provenance)
    return path


def _jpeg(what: Export, dng: Path, stops: float, provenance: dict[str, Any], job: Job) -> Path:
    path = job.workspace / f"{what.source.stem}.jpg"
    write_jpeg(path, develop(dng, stops, 8), what.raw.facts, provenance)
    return path
