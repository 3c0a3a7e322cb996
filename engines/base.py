"""The few types that every engine and every caller of an engine share.

An engine is a class with an id, a parameter model and `run`. The page's controls, the command
line's options and the stored provenance are all made from the parameter model, so an engine says
everything about itself once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

MediaKind = Literal["raw", "image", "audio", "video", "model", "document", "profile"]


class UserError(Exception):
    """Something the person can understand and mend: one sentence, what is wrong and what to do."""


class Cancelled(Exception):
    """Raised by `Job.check_cancelled` once the person has asked for the job to stop."""


class Params(BaseModel):
    """Base of every engine's parameters: frozen, bounded, nothing unknown accepted."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def option(
    default: Any,
    *,
    title: str,
    description: str,
    unit: str = "",
    advanced: bool = False,
    models: str = "",
    local: bool = False,
    suggested: Sequence[float] = (),
    words: Mapping[str, Sequence[str]] | None = None,
    brush: bool = False,
    **constraints: Any,
) -> Any:
    """Declare one parameter field.

    Args:
        default: the blind, automatic value.
        title: label of the control.
        description: one line of help, without a full stop at its end.
        unit: physical unit shown beside the value, such as "DN" or "EV".
        advanced: shown under "Advanced" rather than among the essential options.
        models: id of a network (`engines.weights`), or of the engine whose networks it may be; the
            value is then the id of one of their models.
        local: it names something on this machine, such as a path, so only the person at it may set
            it; where strangers reach the studio it is hidden, and refused unless it is the default.
        suggested: numbers that the page offers as buttons; any other within bounds is as good.
        words: for a list of short texts, some to add by a click, by the name of their group; the
            page shows such a list as words rather than as lines.
        brush: it is what was painted over the pictures, as text that the page's brush writes.
        **constraints: pydantic bounds (`ge`, `le`, `max_length`, ...).
    """
    extra: dict[str, Any] = {
        "unit": unit, "advanced": advanced, "models": models, "local": local,
        "suggested": list(suggested),
        "words": None if words is None else {name: list(words[name]) for name in words},
        "brush": brush,
    }  # fmt: skip
    return Field(
        default, title=title, description=description, json_schema_extra=extra, **constraints
    )


def is_local(info: FieldInfo) -> bool:
    """Whether a parameter may only be set by the person at this machine; see `option`."""
    extra = info.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("local"))


@dataclass(frozen=True)
class Output:
    """A file, or a folder as one thing, that the person asked for.

    A folder is put in its place whole or not at all, as a file is; the page offers it as a zip. It
    holds plain files and folders (no links); files whose name begins with a dot do not count.

    Attributes:
        path: file or folder in `Job.workspace`; its name is the name that the person will see.
        kind: what it is, for players and filters; a "profile" is the JSON of a camera's noise,
            which the studio keeps for later jobs of the same person (`KnowsCameras`).
        label: a few words, such as "denoised mosaic".
        primary: the one to open first; exactly one output of a result is.
    """

    path: Path
    kind: MediaKind
    label: str
    primary: bool = False


@dataclass(frozen=True)
class Figure:
    """A picture to look at (PNG or JPEG inside `Job.workspace`).

    `alt` says it in words; `chart` is a drawing of dark ink on light paper, which a dark page may
    show inverted.
    """

    path: Path
    label: str
    alt: str
    chart: bool = False


@dataclass(frozen=True)
class Comparison:
    """Two renderings of equal size or length made only for comparing before with after.

    Both lie inside `Job.workspace`; `kind` is "image" (JPEG or PNG) or "audio" (WAV or FLAC).
    """

    before: Path
    after: Path
    kind: MediaKind
    label: str


@dataclass(frozen=True)
class Track:
    """A sound to listen to beside others of the same length, in step with them.

    Attributes:
        sound: WAV, FLAC or MP3 inside `Job.workspace`, a file of its own that is no output.
        spectrogram: picture (PNG or JPEG, there as well) of the whole sound from edge to edge,
            time to the right and frequency upwards, without axes.
        label: one or two words, such as "Before" or "Removed".
        loudness: integrated loudness in LUFS (ITU-R BS.1770); -inf for silence.
        marks: (frequency in Hz, its height in the picture from 0 at the foot to 1 at the top), for
            the labels of the frequency axis.
        spans: (start, end) in seconds of where something is heard that the track is about.
    """

    sound: Path
    spectrogram: Path
    label: str
    loudness: float
    marks: Sequence[tuple[float, float]] = ()
    spans: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True)
class Measurement:
    """A named number that the engine found; `unit` is "" for plain ratios and counts."""

    value: float
    unit: str = ""


@dataclass(frozen=True)
class Result:
    """What one run gives back; every path lies inside `Job.workspace`.

    Attributes:
        outputs: the files asked for.
        measurements: numbers by name, in the order in which they are to be read.
        figures: pictures that explain the measurement.
        comparisons: before and after, for the page.
        tracks: sounds of one length to be heard in turn at the same place, for the page.
        thumbnail: a small JPEG of the result (longest side about 320 pixels), if there is one.
        notes: plain sentences for the person.
        models: ids of the weights used -> their sha256.
    """

    outputs: Sequence[Output]
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    figures: Sequence[Figure] = ()
    comparisons: Sequence[Comparison] = ()
    tracks: Sequence[Track] = ()
    thumbnail: Path | None = None
    notes: Sequence[str] = ()
    models: Mapping[str, str] = field(default_factory=dict)


class Job(Protocol):
    """What an engine sees of the studio while it runs."""

    @property
    def device(self) -> str:
        """Torch device string: "cpu", "cuda", "cuda:1" or "mps"."""
        ...

    @property
    def workspace(self) -> Path:
        """An empty folder for this job alone; everything the engine writes goes here."""
        ...

    def progress(self, done: float, total: float, text: str) -> None:
        """Report that `done` of `total` (any unit) is finished and what is going on now."""
        ...

    def check_cancelled(self) -> None:
        """Call at every tile or sampler step.

        Raises:
            Cancelled: the person asked for a stop.
        """
        ...

    def resumable(self, key: str) -> Path:
        """A folder that stays when this job is killed or cancelled, for the next attempt.

        Args:
            key: names the work: whatever changes the outcome (inputs, parameters, the engine's
                version) belongs into it. The same engine and owner get the same folder for it.

        Returns:
            The folder, which exists; the engine removes it when the work is finished. It may be
            gone at the next attempt, as `clean` frees what was not asked for in 30 days.
        """
        ...

    def log(self, text: str) -> None:
        """Write one line to the job's log."""
        ...

    def load(self, model_id: str) -> Any:
        """Return the `engines.weights.LoadedModel` of that id on `device`, cached between jobs.

        Raises:
            UserError: there is no such model, or its file does not fit its network.
        """
        ...


@runtime_checkable
class KnowsCameras(Protocol):
    """A job of a person whose cameras were calibrated."""

    def cameras(self) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """Name and profile (what its JSON holds) of each, the newest first."""
        ...


class Engine(Protocol):
    """One method. Instances are stateless; `run` may be called from any process.

    One whose files all belong to one item has `together = True` (see `takes_together`); one that
    gives something else than it takes has a static method `gives` (see the function of that name).
    """

    id: ClassVar[str]  # "raw.yond": tab's package, dot, method
    title: ClassVar[str]  # "YOND"
    tab: ClassVar[str]  # "RAW": the page's tab that shows it
    summary: ClassVar[str]  # one line: what it does and by whose method
    accepts: ClassVar[tuple[MediaKind, ...]]
    suffixes: ClassVar[tuple[str, ...]]  # lower-case file suffixes that it reads, ".nef"
    version: ClassVar[str]  # raised when the same input would give another output
    Params: ClassVar[type[Params]]

    def run(self, inputs: Sequence[Path], params: Any, job: Job) -> Result:
        """Process one item.

        Args:
            inputs: the files that make up the item (one for most engines), never modified. Where
                `accepts` names "model" it is one folder with a config.json; the studio has
                unpacked what came as a zip.
            params: an instance of `Params`.
            job: device, workspace, progress, cancellation, models.

        Raises:
            UserError: the input cannot be processed; the sentence is shown as it is.
            Cancelled: passed through from `job.check_cancelled`.
        """
        ...


def takes_together(engine: type[Engine]) -> bool:
    """Whether all files that are given at once make up one item, as a camera's calibration does."""
    return bool(getattr(engine, "together", False))


def gives(engine: type[Engine], params: Any) -> tuple[MediaKind, ...]:
    """Kinds of an engine's outputs with these `Params`, the primary one's first.

    By default those that it takes.
    """
    said = getattr(engine, "gives", None)
    return tuple(said(params)) if said is not None else engine.accepts
