"""One film from reading to writing.

Frames are read, gathered into sequences, enlarged, and written as they come; nothing that is kept
grows with the film's length.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from engines.base import Comparison, Job, Measurement, Output, Result, UserError
from engines.media.video_facts import VideoFacts
from engines.media.video_read import Frame, Pixels, VideoReader
from engines.media.video_write import VideoWriter, film_suffix
from engines.progress import duration
from engines.superres.naming import short
from engines.superres.negvsr.finish import compared, finished
from engines.superres.negvsr.net import AUTHORS_THRESHOLD, CARD_THRESHOLD, SCALE, NegVsr
from engines.superres.negvsr.params import OVERLAP, NegvsrParams
from engines.superres.negvsr.restore import Restorer
from engines.superres.negvsr.sequences import sequences
from engines.weights import LoadedModel, ModelFile, sha256_of

_SCRATCH_BYTES = 2 << 30  # of the disk, for a sequence's result
_MEMORY_BYTES = 400 << 20  # for a sequence as it was read and as it was cleaned
_SPARE = 1.2
_SURE = 2.0  # seconds of work after which a rate is known
_FROM, _TO = 2.0, 97.0  # of 100, what enlarging is of a job's progress


def enlarge(path: Path, params: NegvsrParams, job: Job, engine: str, version: str) -> Result:
    """Enlarge a film into the job's workspace.

    Raises:
        UserError: the film or the weights cannot be used, or the result has no room.
        Cancelled: passed through.
    """
    begun = perf_counter()
    job.progress(0, 100, "reading")
    model = _network(params, job) if params.strength > 0.0 else None
    job.check_cancelled()
    with VideoReader(path, params.start, params.seconds) as reader:
        work = _Work(path, params, job, model, reader)
        provenance = {
            "app": "Noise Studio",
            "engine": engine,
            "engine_version": version,
            "weights": work.models,
            "params": params.model_dump(mode="json"),
            "input_sha256": sha256_of(path),
        }
        job.check_cancelled()
        out = job.workspace / work.name
        with VideoWriter(out, path, reader, work.size, params.quality, provenance) as writer:
            seconds = perf_counter()
            work.run(writer)
            seconds = perf_counter() - seconds
            job.progress(_TO, 100, "writing")
            writer.close()
            notes = (*work.notes(), *reader.notes, *writer.notes)
    height, width = work.shown
    measurements = {
        "width": Measurement(width, "px"),
        "height": Measurement(height, "px"),
        "frames": Measurement(work.written),
        "scenes": Measurement(work.scenes),
        "frames_per_second": Measurement(work.written / max(seconds, 1e-9), "frames/s"),
        "seconds": Measurement(perf_counter() - begun, "s"),
    }
    comparison, thumbnail = work.shown_frame()
    job.progress(100, 100, "done")
    return Result(
        outputs=(Output(out, "video", "Enlarged film", primary=True),),
        measurements=measurements,
        comparisons=(comparison,),
        thumbnail=thumbnail,
        notes=tuple(dict.fromkeys(notes)),
        models=work.models,
    )


def _network(params: NegvsrParams, job: Job) -> LoadedModel:
    try:
        model: LoadedModel = job.load(params.weights)
    except UserError as error:
        if params.weights != NegvsrParams().weights:
            raise
        raise UserError(
            "No weights of NegVSR are here yet: train them with `train negvsr-small`, or add the "
            "authors' file under Models and choose it under Weights"
        ) from error
    if not isinstance(model.network, NegVsr):
        raise UserError(f"The weights {params.weights} are of another network; choose others")
    return model


def threshold(params: NegvsrParams, file: ModelFile) -> float:
    """When cleaning is repeated, in levels of 8 bits: what is set, or what suits the weights.

    The small network learned from frames that are cleaned once, and its card says so; the authors'
    last model is run with 5 levels.
    """
    if params.threshold is not None:
        return params.threshold
    return float(file.card.get(CARD_THRESHOLD, AUTHORS_THRESHOLD))


def longest(facts: VideoFacts, wanted: int) -> int:
    """Frames of a sequence: `wanted`, or as many as memory and disk are given for."""
    pixels = facts.width * facts.height
    read = pixels * 3 * (2 if facts.bits > 8 else 1) + pixels * 3 * 2
    made = pixels * SCALE**2 * 3 * 2
    most = min(_MEMORY_BYTES // read, _SCRATCH_BYTES // made)
    return max(min(wanted, most), 2 * OVERLAP)


@dataclass
class _Middle:
    """The frame that is shown: as it was and as it is."""

    given: Pixels
    made: Pixels


class _Work:
    """A film on its way."""

    def __init__(
        self,
        path: Path,
        params: NegvsrParams,
        job: Job,
        model: LoadedModel | None,
        reader: VideoReader,
    ) -> None:
        facts = reader.facts
        self._params, self._job, self._reader, self._facts = params, job, reader, facts
        self.size = (_even(facts.height * params.scale), _even(facts.width * params.scale))
        self.models = {} if model is None else {model.file.id: model.file.sha256}
        self._stem = job.workspace / short(path.stem)
        part = "-preview" if params.preview else ""
        method = "lanczos" if model is None else "negvsr"
        self.name = f"{self._stem.name}-{method}-{params.scale:.3g}x{part}{film_suffix(path)}"
        self._most = longest(facts, params.sequence)
        self._expected = reader.expected
        self.written = self.scenes = 0
        self._begun = perf_counter()
        self._fresh = 0
        self._middle: _Middle | None = None
        self._restorer: Restorer | None = None
        if model is not None:
            assert isinstance(model.network, NegVsr)
            self._restorer = Restorer(
                model.network, job.device, params.cleaning, threshold(params, model.file),
                params.tile, job.workspace / ".sequence.partial", self._step,
            )  # fmt: skip
            self._check_room()

    @property
    def shown(self) -> tuple[int, int]:
        """(height, width) of the new film as a player shows it."""
        height, width = self.size
        upright = self._facts.shown == (self._facts.height, self._facts.width)
        return (height, width) if upright else (width, height)

    def run(self, writer: VideoWriter) -> None:
        """Enlarge all frames."""
        before: int | None = None
        for sequence in sequences(self._reader, self._most):
            self.scenes += sequence.first == 0
            before = sequence.end
            self._fresh = sequence.fresh
            self._step(0.0)
            stack = None
            if self._restorer is not None:
                stack = self._restorer.run([frame.pixels for frame in sequence.frames])
            for number in range(sequence.first, sequence.end):
                self._job.check_cancelled()
                frame = sequence.frames[number]
                self._write(frame, None if stack is None else stack.frame(number), writer)
            if stack is not None:
                stack.remove()
        if before is None:
            raise UserError(
                f"{self._facts.name} ends before {self._params.start:g} s; choose an earlier start"
            )

    def notes(self) -> list[str]:
        """What the person should know of the film."""
        found: list[str] = []
        if self._facts.interlaced:
            found.append(
                "The film is interlaced: lines of two moments were enlarged as one; deinterlace it "
                "first for a better picture"
            )
        if self._facts.has_alpha:
            found.append("The film's transparency is not kept")
        return found

    def shown_frame(self) -> tuple[Comparison, Path]:
        """Pictures of the frame that is shown."""
        assert self._middle is not None
        return compared(self._middle.given, self._middle.made, self._facts, self._stem)

    def _write(self, frame: Frame, made: object, writer: VideoWriter) -> None:
        height, width = self.size
        pixels = finished(made, frame.pixels, (height, width), self._params.strength)  # type: ignore[arg-type]
        writer.write(pixels, frame.pts, frame.duration)
        if self._middle is None or self.written <= self._expected // 2:
            self._middle = _Middle(frame.pixels, pixels)
        self.written += 1
        self._fresh -= 1

    def _step(self, share: float) -> None:
        """So much of the sequence at hand is done."""
        self._job.check_cancelled()
        done = min((self.written + share * self._fresh) / self._expected, 1.0)
        taken = perf_counter() - self._begun
        left = ""
        if 0.0 < done < 1.0 and taken > _SURE:
            left = f", {duration(taken * (1.0 - done) / done)} left"
        # The header's number of frames is no more than a guess.
        now = min(round(self.written + share * self._fresh) + 1, self._expected)
        self._job.progress(
            _FROM + (_TO - _FROM) * done, 100,
            f"enlarging, frame {now} of {self._expected}{left}",
        )  # fmt: skip

    def _check_room(self) -> None:
        made = self._facts.width * self._facts.height * SCALE**2 * 3 * 2
        wanted = min(self._most, self._expected) * made
        free = shutil.disk_usage(self._job.workspace).free
        if wanted * _SPARE > free:
            raise UserError(
                f"The frames of {self._facts.name} take {wanted / 1e9:.1f} GB while they are made, "
                f"and {free / 1e9:.1f} GB are free on this disk; free some space"
            )


def _even(side: float) -> int:
    """The nearest even number, as films have half the colours; at least 2."""
    return max(2 * round(side / 2), 2)
