"""One recording from reading to writing: survey it, stream it through the network, write tracks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor

from engines.base import Job, Measurement, Output, Result, UserError
from engines.media.sound_format import Depth, SoundFormat, output_format
from engines.separation.asked import Asked, asked
from engines.separation.deliver import Delivery
from engines.separation.masker import Masker
from engines.separation.model import Separator
from engines.separation.names import label
from engines.separation.params import ClipSepParams
from engines.separation.query import encoder_for, nearest
from engines.separation.split import Rules, Splitter
from engines.separation.timeline import write_timeline
from engines.separation.told import Near, measured, notes_of
from engines.sound.part import Part
from engines.sound.progress import Meter
from engines.sound.survey import Survey, survey
from engines.weights import LoadedModel, sha256_of

_LEVEL = 0.2  # modulus that the recording's 99.9th percentile is brought to for the network


def process(
    inputs: Sequence[Path], params: ClipSepParams, job: Job, engine: str, version: str
) -> Result:
    """Separate a recording and write what `params` asks for into the job's workspace.

    Args:
        inputs: the recording, then any pictures to look for.
        params: see there.
        job: see `engines.base.Job`.
        engine: id of the engine.
        version: of the engine.

    Raises:
        UserError: the recording, the weights or a query cannot be used.
        Cancelled: passed through.
    """
    begun = perf_counter()
    job.progress(0, 100, "reading")
    path, *shown = inputs
    pictures = [*shown, *(Path(one).expanduser() for one in params.picture)]
    what = asked(params, pictures=bool(pictures))
    loaded: LoadedModel = job.load(params.weights)
    separator = Separator.of(loaded)
    job.progress(1, 100, "understanding what to look for")
    queries, near = _queries(separator, what, pictures, params)
    sounds = [*what.queries, *(label(picture.stem) for picture in pictures)]
    heads = params.noise and separator.heads
    part = Part.of(path, params.start, params.length)
    found = _survey(part, job)
    form, format_notes = _format(part, params)
    provenance = {
        "app": "Noise Studio",
        "engine": engine,
        "engine_version": version,
        "weights": {loaded.file.id: loaded.file.sha256},
        "params": {
            **params.model_dump(mode="json"),
            "picture": [picture.name for picture in pictures],
            "encoder": Path(params.encoder).name,  # a path is nobody's business
        },
        "input_sha256": sha256_of(path),
    }
    job.check_cancelled()
    rate, seconds = part.facts.rate, found.samples / part.facts.rate
    meter = Meter(job, 6, 90, "separating")
    masker = Masker(
        separator,
        queries,
        rate,
        found.channels,
        heads=heads,
        linked=params.channels == "linked",
        gain=_LEVEL / max(found.percentile, 1e-4),
        samples=found.samples,
        meter=meter,
    )
    rules = Rules(
        wanted=len(sounds),
        unwanted=len(what.negative),
        kind=params.mask,
        competition=params.competition,
        strength=params.strength,
        mode=what.mode,
        noise=heads,
    )
    splitter = Splitter(masker, rules, rate, found.channels)
    named = [*sounds, *(["Unnamed 1", "Unnamed 2"] if heads else [])]
    with Delivery(part, found, form, named, what.mode, provenance, job) as delivery:
        for piece in splitter.run(part.blocks()):
            meter.check()
            delivery.add(piece)
        there = splitter.activity.found(seconds)
        delivered = delivery.finish(there)
    outputs = list(delivered.outputs)
    if params.timeline != "none":
        path = write_timeline(job.workspace, part.stem, params.timeline, sounds, there)
        outputs.append(Output(path, "document", "Timeline"))
    notes = [
        *notes_of(what, sounds, there, near, found, part, params),
        *(["This network tells no unnamed sounds apart"] if params.noise and not heads else []),
        *part.notes,
        *format_notes,
        *delivered.notes,
    ]
    measurements = {
        **measured(delivery.labels[: len(sounds)], there, near),
        "seconds_of_sound": Measurement(seconds, "s"),
        "network_calls": Measurement(meter.calls),
        "real_time_factor": Measurement((perf_counter() - begun) / seconds),
    }
    job.progress(100, 100, "done")
    return Result(
        outputs=tuple(outputs),
        measurements=measurements,
        tracks=delivered.tracks,
        thumbnail=delivered.thumbnail,
        notes=tuple(dict.fromkeys(notes)),
        models={loaded.file.id: loaded.file.sha256},
    )


def _queries(
    separator: Separator, what: Asked, pictures: Sequence[Path], params: ClipSepParams
) -> tuple[Tensor, list[Near]]:
    """Queries of words, pictures and unwanted words, in that order; what the first two are like.

    The unwanted come last, behind all that become tracks.
    """
    if separator.encoder == "none":
        raise UserError("This network takes no queries; choose a CLIPSep model under Weights")
    encoder = encoder_for(separator, params.encoder)
    parts: list[Tensor] = []
    if what.queries:
        parts.append(encoder.text(what.queries))
    if pictures:
        parts.append(encoder.picture(pictures))
    wanted = torch.cat(parts)
    near = [Near(tuple(nearest(separator, one))) for one in wanted]
    if what.negative:
        wanted = torch.cat([wanted, encoder.text(what.negative)])
    return wanted, near


def _format(part: Part, params: ClipSepParams) -> tuple[SoundFormat, tuple[str, ...]]:
    """The input's format; FLAC where that is lossy, as what is coded anew no longer adds up."""
    if params.format != "same" or not part.facts.lossy:
        return output_format(part.facts, params.format, params.depth)
    depth: Depth = "16" if params.depth == "same" else params.depth
    form, notes = output_format(part.facts, "flac", depth)
    told = "The recording is lossy, so the tracks are written as FLAC: only then do they add up"
    return form, (told, *notes)


def _survey(part: Part, job: Job) -> Survey:
    """The first pass; progress from 1 to 6."""

    def look(samples: int) -> None:
        job.check_cancelled()
        share = min(samples / part.expected, 1.0)
        job.progress(1 + 5 * share, 100, "looking through the recording")

    return survey(part.blocks(), part.facts.rate, part.facts.name, look)
