"""One picture from reading to writing, for every engine of the tab.

Read it; send it through the networks of the engine's method, tile by tile and row by row; finish
the rows (size, colours, strength, rounding) into a mapped file; write that in the format wanted.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from time import perf_counter

from engines.base import Job, Measurement, Output, Result
from engines.media.picture import read_picture
from engines.media.picture_write import write_picture
from engines.superres.meter import Meter
from engines.superres.naming import result_name, short, suffix
from engines.superres.params import SuperresParams
from engines.superres.pipeline import Pipeline, Work
from engines.superres.upscaler import Make, Method
from engines.superres.views import Shown, compare, thumbnail
from engines.weights import sha256_of


def enlarge(
    path: Path,
    params: SuperresParams,
    job: Job,
    make: Make,
    engine: str,
    version: str,
    origin: tuple[int, int] = (0, 0),
    opaque: bool = False,
) -> Result:
    """Enlarge or restore one picture into the job's workspace.

    Args:
        path: the picture.
        params: common to all engines; those of one engine are known to its `make`.
        job: of the studio.
        make: chooses networks for a factor; not called where none is needed.
        engine: id, and `version`, for the provenance.
        version: see `engine`.
        origin: (y, x) of the file's first pixel in a larger picture that it was cut from; noise
            is then that of the larger one.
        opaque: its transparency is left out.

    Raises:
        UserError: the file or the weights cannot be used, or the result has no room.
        Cancelled: passed through.
    """
    begun = perf_counter()
    job.progress(0, 100, "reading")
    picture = read_picture(path)
    if opaque:
        picture = replace(picture, alpha=None)
    work = Work.plan(picture, params)
    job.check_cancelled()
    meter = Meter(job, 2, 90)
    wanted = params.strength > 0.0 and work.factor >= 1.0
    method = make(work.factor, meter) if wanted else Method("lanczos", ())
    enlarging = perf_counter()
    done = Pipeline(work, method, params, job, meter, origin).run()
    enlarging = perf_counter() - enlarging
    named = result_name(path, params, method.name, work.factor)
    megapixels = work.target[0] * work.target[1] / 1e6
    measurements = {
        "width": Measurement(work.target[1], "px"),
        "height": Measurement(work.target[0], "px"),
        "consistency": Measurement(done.consistency, "dB"),
        "megapixels": Measurement(megapixels, "MP"),
        "megapixels_per_second": Measurement(megapixels / enlarging, "MP/s"),
    }
    provenance = {
        "app": "Noise Studio",
        "engine": engine,
        "engine_version": version,
        "weights": dict(method.models),
        "params": params.model_dump(mode="json"),
        "measurements": {
            name: {"value": round(m.value, 6), "unit": m.unit}
            for name, m in measurements.items()
            if name != "megapixels_per_second"  # no two runs give the same
        },
        "input_sha256": sha256_of(path),
    }
    stem = job.workspace / short(path.stem)
    job.progress(90, 100, "drawing the comparison")
    shown = Shown(done.pixels, done.white, done.alpha, picture.facts)
    comparison = compare(done.source, shown, stem)
    small = thumbnail(shown, stem.with_name(f"{stem.name}.thumbnail.jpg"))
    job.check_cancelled()
    job.progress(94, 100, "writing")
    output = job.workspace / (named + suffix(work.form))
    written = write_picture(
        output, done.pixels, done.alpha, picture.facts, format=work.form, provenance=provenance,
        quality=params.quality, metadata=params.metadata, scale=work.scale,
        check=job.check_cancelled,
    )  # fmt: skip
    done.remove()
    size = (picture.pixels.shape[0], picture.pixels.shape[1])
    figures = method.figures(job.workspace, stem.name, size) if method.stages else ()
    notes = (*picture.notes, *work.notes, *method.notes, *written)
    measurements["seconds"] = Measurement(perf_counter() - begun, "s")
    job.progress(100, 100, "done")
    return Result(
        outputs=(Output(output, "image", method.made, primary=True),),
        measurements=measurements,
        figures=figures,
        comparisons=(comparison,),
        thumbnail=small,
        notes=tuple(dict.fromkeys(notes)),
        models=dict(method.models),
    )
