"""Everything that `raw.yond` writes: DNG, TIFF, JPEG, sidecar, and the pictures for comparing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engines.base import Comparison, Figure, Job, Measurement, MediaKind, Output, Result
from engines.media.develop import (
    auto_stops,
    demosaic,
    develop,
    eight_bits,
    reduced,
    render_preview,
    srgb_profile,
    upright,
    write_jpeg,
)
from engines.media.dng import (
    DngExtras,
    precision_gain,
    write_developable,
    write_dng,
    write_linear_dng,
)
from engines.media.raw_facts import RawFacts, RawImage
from engines.media.tiff import write_tiff
from engines.raw.yond.params import Form
from engines.weights import LoadedModel, sha256_of

_FORMS: dict[Form, tuple[str, MediaKind, str]] = {
    "dng": (".dng", "raw", "Denoised mosaic DNG"),
    "linear-dng": ("-linear.dng", "raw", "Linear DNG"),
    "tiff": (".tif", "image", "16-bit TIFF"),
    "jpeg": (".jpg", "image", "JPEG"),
}
_PREVIEW = 2048  # longer side of the preview inside a DNG
_THUMBNAIL = 320
_ROWS = 256
_OF_THIS_RUN = ("megapixels_per_second", "peak_mb", "seconds")  # no two runs give the same bytes
_LONGEST_STEM = 200  # bytes; a file system takes 255 with what is put behind


@dataclass(frozen=True)
class Export:
    """What is to be written.

    Attributes:
        raw: the input as read.
        source: the input's path.
        levels: (H, W) float32 denoised mosaic in DN, black included; (H, W, 3) if demosaiced.
        model: the weights that were used.
        engine: id, and `version`, of the engine.
        measurements: what goes into the provenance and to the page.
        reduction: share of the noise that is gone, 0 to 1.
        profile: (S, O) of the noise that is left; () where nobody knows.
        amplified: how many times brighter than the input the result is.
    """

    raw: RawImage
    source: Path
    levels: NDArray[np.float32]
    model: LoadedModel
    engine: str
    version: str
    measurements: Mapping[str, Measurement]
    reduction: float
    profile: tuple[float, float] | tuple[()]
    amplified: float = 1.0


class Wanted(Protocol):
    """What of an engine's parameters decides on the outputs."""

    @property
    def output(self) -> tuple[Form, ...]:
        """Forms to write, the first one primary."""
        ...

    @property
    def exposure(self) -> float | None:
        """Brightness of what is drawn, EV; None is automatic."""
        ...

    def model_dump(self, *, mode: str) -> dict[str, Any]:
        """All parameters, for the provenance."""
        ...


def export(
    what: Export, params: Wanted, job: Job, figures: Sequence[Figure], notes: Sequence[str]
) -> Result:
    """Write outputs, sidecar and comparison into the workspace; progress from 85 to 100.

    Every name begins with the input's, so that nothing of ours can take the place of another.
    """
    facts = what.raw.facts
    provenance = _provenance(what, params)
    gain = precision_gain(facts.white)
    mosaic = _quantised(what.levels, facts.white, gain)
    if what.amplified == 1.0:
        _keep_brightest(mosaic, what.raw, gain)
    job.progress(86, 100, "drawing the comparison")
    stops = params.exposure if params.exposure is not None else auto_stops(mosaic, facts, gain)
    before, after, small = (
        _path(what, job, f".{part}.jpg") for part in ("before", "after", "thumbnail")
    )
    drawn = render_preview(what.raw.mosaic, facts, stops + math.log2(what.amplified))
    write_jpeg(before, upright(drawn, facts.orientation), facts.exif, None, quality=92)
    job.check_cancelled()
    drawn = render_preview(mosaic, facts, stops, gain=gain)
    write_jpeg(after, upright(drawn, facts.orientation), facts.exif, None, quality=92)
    tiny = upright(reduced(_cropped(drawn, facts), _THUMBNAIL), facts.orientation)
    write_jpeg(small, tiny, facts.exif, None, quality=85)
    if stops != 0.0 and {"dng", "linear-dng"} & set(params.output):
        # As a converter shows the file: RawTherapee fits its tone curve to the preview inside.
        drawn = render_preview(mosaic, facts, 0.0, gain=gain)
        job.check_cancelled()
    preview = reduced(_cropped(drawn, facts), _PREVIEW)
    del drawn
    extras = DngExtras(provenance, preview, what.reduction, what.profile, gain)
    job.progress(92, 100, "writing")
    job.check_cancelled()
    outputs = _outputs(what, mosaic, extras, stops, tuple(dict.fromkeys(params.output)), job)
    sidecar = _path(what, job, ".json")
    sidecar.write_text(json.dumps(provenance, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    outputs.append(Output(sidecar, "document", "How it was made"))
    job.progress(100, 100, "done")
    return Result(
        outputs=outputs,
        measurements={**what.measurements, "exposure": Measurement(stops, "EV")},
        figures=figures,
        comparisons=(Comparison(before, after, "image", "Before and after"),),
        thumbnail=small,
        notes=notes,
        models={what.model.file.id: what.model.file.sha256},
    )


def _outputs(
    what: Export,
    mosaic: NDArray[np.uint16],
    extras: DngExtras,
    stops: float,
    forms: Sequence[Form],
    job: Job,
) -> list[Output]:
    """Write what was asked for, in that order; the first is the primary one."""
    facts, gain, exif = what.raw.facts, extras.gain, what.raw.facts.exif
    picture: NDArray[np.uint16] | None = None
    if {"tiff", "jpeg"} & set(forms):
        # LibRaw develops our own DNG, so TIFF and JPEG are what any converter makes of it.
        between = _path(what, job, ".between.dng")
        write_developable(between, mosaic, facts, what.source, extras)
        job.check_cancelled()
        picture = develop(between, facts, gain, stops)
        between.unlink()
        job.check_cancelled()
    outputs: list[Output] = []
    for form in forms:
        ending, kind, label = _FORMS[form]
        path = _path(what, job, ending)
        if form == "dng" or (form == "linear-dng" and facts.kind in ("mono", "linear")):
            write_dng(path, mosaic, facts, what.source, extras)
        elif form == "linear-dng":
            write_linear_dng(path, demosaic(mosaic, facts, gain), facts, what.source, extras)
        elif picture is not None and form == "tiff":
            write_tiff(path, picture, exif, srgb_profile(), extras.provenance)
        elif picture is not None and form == "jpeg":
            write_jpeg(path, eight_bits(picture), exif, extras.provenance)
        outputs.append(Output(path, kind, label, primary=not outputs))
        job.check_cancelled()
    return outputs


def _path(what: Export, job: Job, ending: str) -> Path:
    """A file in the workspace named after the input, cut where its name leaves no room for more."""
    stem = what.source.stem.encode("utf-8", "surrogateescape")[:_LONGEST_STEM]
    return job.workspace / (stem.decode("utf-8", "ignore") + ending)


def _quantised(levels: NDArray[np.float32], white: float, gain: int) -> NDArray[np.uint16]:
    """Levels times `gain`, rounded, between 0 and white."""
    out = np.empty(levels.shape, dtype=np.uint16)
    for top in range(0, len(levels), _ROWS):
        part = levels[top : top + _ROWS] * np.float32(gain)
        np.rint(part, out=part)
        out[top : top + _ROWS] = np.clip(part, 0.0, white * gain, out=part)
    return out


def _keep_brightest(mosaic: NDArray[np.uint16], raw: RawImage, gain: int) -> None:
    """Give the brightest pixel its noisy value back, unless it was taken out as a hot one.

    Programs that use LibRaw make it white; without it they would show the result brighter than the
    input.
    """
    at = int(raw.mosaic.argmax())
    noisy = min(float(raw.mosaic.flat[at]), raw.facts.white)
    left = (mosaic.flat[at] / gain - min(raw.facts.black)) / (noisy - min(raw.facts.black) or 1.0)
    if left > 0.5:
        mosaic.flat[at] = round(noisy * gain)


def _cropped(picture: NDArray[np.uint8], facts: RawFacts) -> NDArray[np.uint8]:
    """What a converter will show of it, for the preview inside the DNG."""
    if facts.crop is None or facts.pixel_aspect != 1.0:
        return picture
    left, top, width, height = facts.crop
    return picture[top : top + height, left : left + width]


def _provenance(what: Export, params: Wanted) -> dict[str, Any]:
    return {
        "app": "Noise Studio",
        "engine": what.engine,
        "engine_version": what.version,
        "weights": {what.model.file.id: what.model.file.sha256},
        "params": params.model_dump(mode="json"),
        "measurements": {
            name: {"value": round(m.value, 6), "unit": m.unit}
            for name, m in what.measurements.items()
            if name not in _OF_THIS_RUN
        },
        "input_sha256": sha256_of(what.source),
    }
