"""One clean RAW in, one noisy RAW out.

The input's own levels stay: the camera's noise is scaled to them, so that a step of one is as fine
a share of the range as a step of the other. The file says the ISO that was simulated, the exposure
that follows, and the noise in its NoiseProfile; everything that was drawn is in its provenance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.base import Comparison, Job, Measurement, Output, Result, UserError
from engines.media.develop import auto_stops, reduced, render_preview, upright, write_jpeg
from engines.media.dng import DngExtras, write_dng
from engines.media.exif import ExifFacts
from engines.media.ifd import Entry
from engines.media.raw_file import RawFacts, RawImage, read_bayer
from engines.raw.noise.choose import by_name, fitting
from engines.raw.noise.model import expose, levels, strips
from engines.raw.noise.profile import AUTO, Named
from engines.raw.noise.sensor import SensorNoise
from engines.raw.simulate.params import SimulateParams
from engines.raw.simulate.proxy import Proxy, proxy_of
from engines.weights import sha256_of

_PREVIEW, _THUMBNAIL = 2048, 320
_LONGEST_STEM = 180


@dataclass(frozen=True)
class _Drawn:
    mosaic: NDArray[np.uint16]
    clipped: float


def process(path: Path, params: SimulateParams, job: Job, engine: str, version: str) -> Result:
    """Draw noise for `path` and write the DNG into the job's workspace.

    Raises:
        UserError: the file, the profile or the weights cannot be used.
        Cancelled: passed through.
    """
    job.progress(0, 100, "reading the RAW")
    raw = read_bayer(path, "Simulated noise (raw.simulate)")
    camera = _camera(params.profile, raw.facts, job)
    scale = _span(raw.facts) / camera.profile.span
    noise = SensorNoise.of(camera.profile.at(params.iso), camera.name).times(scale)
    proxy = (
        proxy_of(job, params.weights, params.iso, _span(raw.facts))
        if params.noise == "pnnp"
        else None
    )
    drawn = _draw(raw, noise, params, proxy, job)
    facts = replace(raw.facts, iso=params.iso, exif=_exif(raw.facts.exif, params))
    measurements = _measurements(noise, params, drawn, proxy)
    weights = {} if proxy is None else dict([proxy.weights])
    return _export(
        path, raw, facts, drawn, measurements, camera, params, job, (engine, version), weights
    )


def _camera(name: str, facts: RawFacts, job: Job) -> Named:
    if name != AUTO:
        return by_name(name, job)
    found = fitting(facts, job)
    if found is None:
        raise UserError(
            f"There is no profile of this file's camera ({facts.camera or 'unknown'}); choose one"
        )
    return found


def _span(facts: RawFacts) -> float:
    return facts.white - float(np.mean(facts.black))


def _draw(
    raw: RawImage, noise: SensorNoise, params: SimulateParams, proxy: Proxy | None, job: Job
) -> _Drawn:
    facts = raw.facts
    random = np.random.default_rng(params.seed)
    cell = np.asarray(facts.black, dtype=np.float32).reshape(2, 2)
    across = -(-facts.width // 2)
    mosaic = np.empty_like(raw.mosaic)
    clipped = 0
    for top, bottom in strips(facts.height):
        job.check_cancelled()
        job.progress(5 + 75 * top / facts.height, 100, "drawing noise")
        black = np.tile(cell, (-(-(bottom - top) // 2), across))[: bottom - top, : facts.width]
        clean = (raw.mosaic[top:bottom].astype(np.float32) - black) / np.float32(params.ratio)
        dark = None
        if proxy is not None:
            dark = proxy.draw((top, bottom), (facts.height, facts.width), facts.cfa, random)
        kind = "eld" if params.noise == "pnnp" else params.noise
        signal = expose(clean, noise, facts.cfa, random, kind, dark)
        out = levels(signal, black, facts.white)
        if params.ratio == 1.0:  # nobody knows how much brighter than white it was
            white = raw.mosaic[top:bottom] >= facts.clip
            out[white] = raw.mosaic[top:bottom][white]
        clipped += int(np.count_nonzero(out >= facts.white)) + int(np.count_nonzero(out == 0))
        mosaic[top:bottom] = out
    return _Drawn(mosaic, clipped / mosaic.size)


def _measurements(
    noise: SensorNoise, params: SimulateParams, drawn: _Drawn, proxy: Proxy | None
) -> dict[str, Measurement]:
    found = {
        "K": Measurement(noise.K, "DN/e-"),
        "sigma": Measurement(noise.sigma, "DN"),
        "iso": Measurement(params.iso),
        "ratio": Measurement(params.ratio, "x"),
        "clipped": Measurement(100.0 * drawn.clipped, "%"),
        "seed": Measurement(params.seed),
    }
    if params.noise == "eld":
        found |= {
            "sigma_tl": Measurement(noise.sigma_tl, "DN"),
            "lam": Measurement(noise.lam),
            "sigma_row": Measurement(noise.sigma_row, "DN"),
        }
        found |= {
            f"bias_{site}": Measurement(value, "DN")
            for site, value in zip(("r", "gr", "gb", "b"), noise.bias, strict=True)
        }
    if proxy is not None:
        found |= {
            "sigma": Measurement(proxy.sigma, "DN"),
            "sigma_row": Measurement(proxy.sigma_row, "DN"),
        }
    return found


def _exif(exif: ExifFacts, params: SimulateParams) -> ExifFacts:
    """The setting that was simulated in place of the input's."""
    exposure = exif.exposure_s / params.ratio if exif.exposure_s else None
    entries: dict[int, Entry] = {entry[0]: entry for entry in exif.exif}
    entries[34855] = (34855, 3, (min(round(params.iso), 65535),))
    for old in (33434, 37377, 34865, 34866, 34867):  # other words for exposure and sensitivity
        entries.pop(old, None)
    if exposure:
        entries[33434] = (33434, 5, (Fraction(exposure).limit_denominator(1_000_000),))
    return replace(exif, iso=params.iso, exposure_s=exposure, exif=tuple(entries.values()))


def _export(
    path: Path,
    raw: RawImage,
    facts: RawFacts,
    drawn: _Drawn,
    measurements: dict[str, Measurement],
    camera: Named,
    params: SimulateParams,
    job: Job,
    made_by: tuple[str, str],
    weights: dict[str, str],
) -> Result:
    stem = path.stem.encode("utf-8", "surrogateescape")[:_LONGEST_STEM].decode("utf-8", "ignore")
    stem = f"{stem}-iso{params.iso:.0f}-x{params.ratio:g}"
    job.progress(82, 100, "drawing the comparison")
    stops = auto_stops(raw.mosaic, facts)
    before, after, small = (
        job.workspace / f"{stem}.{part}.jpg" for part in ("before", "after", "thumbnail")
    )
    clean = render_preview(raw.mosaic, facts, stops)
    write_jpeg(before, upright(clean, facts.orientation), facts.exif, None, quality=92)
    del clean
    job.check_cancelled()
    noisy = render_preview(drawn.mosaic, facts, stops + float(np.log2(params.ratio)))
    write_jpeg(after, upright(noisy, facts.orientation), facts.exif, None, quality=92)
    preview = reduced(noisy, _PREVIEW)
    del noisy
    write_jpeg(small, upright(reduced(preview, _THUMBNAIL), facts.orientation), facts.exif, None)
    job.check_cancelled()
    job.progress(94, 100, "writing")
    engine, version = made_by
    provenance = {
        "app": "Noise Studio",
        "engine": engine,
        "engine_version": version,
        "weights": weights,
        "camera": camera.profile.model,
        "params": params.model_dump(mode="json"),
        "measurements": {
            name: {"value": round(m.value, 6), "unit": m.unit} for name, m in measurements.items()
        },
        "input_sha256": sha256_of(path),
    }
    span = _span(facts)
    read = measurements["sigma"].value ** 2 + 1.0 / 12.0
    profile = (measurements["K"].value / span, read / span**2)
    out = job.workspace / f"{stem}.dng"
    write_dng(out, drawn.mosaic, facts, path, DngExtras(provenance, preview, 0.0, profile))
    job.progress(100, 100, "done")
    notes = [f"Noise of {camera.profile.model} at ISO {params.iso:.0f}; seed {params.seed}"]
    return Result(
        outputs=[Output(out, "raw", "Noisy RAW", primary=True)],
        measurements=measurements,
        comparisons=[Comparison(before, after, "image", "Clean and noisy, equally bright")],
        thumbnail=small,
        notes=notes,
        models=weights,
    )
