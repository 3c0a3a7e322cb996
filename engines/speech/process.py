"""One recording from reading to writing.

Survey it, stream it through the model, write what was asked for, and say what was done.
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

from engines.base import Job, Measurement, Result
from engines.media.sound_format import output_format
from engines.sound.part import Part
from engines.sound.progress import Meter
from engines.sound.survey import Survey, survey
from engines.speech.choose import choose
from engines.speech.clean import Cleaner
from engines.speech.deliver import Delivery
from engines.speech.model import SpectralModel
from engines.speech.params import SpeechParams
from engines.weights import LoadedModel, sha256_of

_DOING = {"fast": "cleaning", "natural": "rebuilding speech", "best": "rebuilding speech"}
_MANY_CLIPPED = 0.001
_UNLIKE = 8.0  # dB
_MOSTLY_GONE = 10.0  # removed power against what is left


def process(path: Path, params: SpeechParams, job: Job, engine: str, version: str) -> Result:
    """Enhance `path` and write what `params` asks for into the job's workspace.

    Raises:
        UserError: the file or the weights cannot be used.
        Cancelled: passed through.
    """
    begun = perf_counter()
    job.progress(0, 100, "reading")
    loaded: LoadedModel = job.load(params.weights)
    model = choose(loaded, params, job.device)
    part = Part.of(path, params.start, params.length, params.channels == "mono")
    found = _survey(part, job)
    form, format_notes = output_format(part.facts, params.format, params.depth)
    provenance = {
        "app": "Noise Studio",
        "engine": engine,
        "engine_version": version,
        "weights": {loaded.file.id: loaded.file.sha256},
        "params": params.model_dump(mode="json"),
        "regenerated": model.regenerates,
        "input_sha256": sha256_of(path),
    }
    job.check_cancelled()
    meter = Meter(job, 5, 90, _DOING[params.mode])
    cleaner = Cleaner(found, part.facts.rate, model, params, meter)
    delivery = Delivery(part, found, form, params, provenance, job)
    with delivery:
        for piece in cleaner.run(part.blocks()):
            delivery.add(piece)
        delivered = delivery.finish()
    seconds = found.samples / part.facts.rate
    measurements = {
        "noise_removed": Measurement(delivered.noise_removed, "dB"),
        **{
            f"loudness_{track.label.lower()}": Measurement(track.loudness, "LUFS")
            for track in delivered.tracks
        },
        "snr_before": Measurement(found.snr, "dB"),
        "snr_after": Measurement(delivered.snr_after, "dB"),
        "clipped_before": Measurement(100.0 * found.clipped, "%"),
        "limited": Measurement(delivered.limited, "samples"),
        "seconds_of_sound": Measurement(seconds, "s"),
        "network_calls": Measurement(meter.calls),
        "real_time_factor": Measurement((perf_counter() - begun) / seconds),
    }
    if model.regenerates and model.predict is not None:
        measurements["agreement"] = Measurement(cleaner.agreement.decibels, "dB")
    notes = (
        *part.notes,
        *format_notes,
        *_notes(found, part, model, params, cleaner),
        *delivered.notes,
    )
    job.progress(100, 100, "done")
    return Result(
        outputs=delivered.outputs,
        measurements=measurements,
        tracks=delivered.tracks,
        thumbnail=delivered.thumbnail,
        notes=tuple(dict.fromkeys(notes)),
        models={loaded.file.id: loaded.file.sha256},
    )


def _survey(part: Part, job: Job) -> Survey:
    """The first pass; progress from 0 to 5."""

    def look(samples: int) -> None:
        job.check_cancelled()
        share = min(samples / part.expected, 1.0)
        job.progress(5 * share, 100, "looking through the recording")

    return survey(part.blocks(), part.facts.rate, part.facts.name, look)


def _notes(
    found: Survey, part: Part, model: SpectralModel, params: SpeechParams, cleaner: Cleaner
) -> list[str]:
    notes: list[str] = []
    if part.facts.has_video and not part.whole:
        notes.append("Only a part was asked for, so the sound comes without the picture")
    if found.silent:
        return [
            *notes,
            "There is nothing louder than -80 dBFS in this recording; it was left as it is",
        ]
    if found.clipped > _MANY_CLIPPED:
        notes.append(
            f"{100 * found.clipped:.1f} % of the recording is clipped; that distortion stays"
        )
    if found.constant:
        percent = 100 * max(abs(value) for value in found.offset)
        notes.append(f"A constant offset of {percent:.1f} % of full scale was taken out")
    if found.opposed and params.channels == "linked":
        notes.append("The channels cancel each other, so each was cleaned by itself")
    elif params.channels == "mono" and part.facts.channels > 1:
        notes.append(f"The {part.facts.channels} channels were mixed to one")
    elif found.channels > 1 and params.channels == "linked" and not model.regenerates:
        notes.append("The channels were cleaned together, so voices stay where they are")
    if part.facts.rate > 1.05 * model.rate:
        edge = f"Above {model.rate / 2000:g} kHz"
        notes.append(
            {
                "follow": f"{edge} the sound follows the gain of the band below",
                "keep": f"{edge} the sound is as it was, noise included",
                "drop": f"{edge} there is silence now",
            }[params.highs]
        )
    if model.regenerates:
        notes.append("Speech was rebuilt, not only cleaned; listen to names and numbers")
        if model.predict is not None and cleaner.agreement.decibels < _UNLIKE:
            notes.append("What was rebuilt differs much from what was heard; Fast is safer here")
    if cleaner.mostly_gone(_MOSTLY_GONE):
        notes.append(
            "Nearly all of this was taken for something other than speech; music and animals need "
            "another tool"
        )
    return notes
