"""What an exported session holds: one zip with `session.json` and the files that it names.

```
session.json                     this module's `SessionFile`
inputs/<sha256>/<name>           each input once; a model's folder is a folder there
results/<number>/<name>          whatever that job made
```
Nothing of the machine that it comes from is in it: no path, no owner, no id. `session.json` is
read as anything that a stranger may have written: every value has its type and bounds.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

FORMAT = "noise-studio-session"
FORMAT_VERSION = 2  # 1 knew nothing of recipes
MANIFEST = "session.json"
RESULTS = "results/"  # what jobs have made; a step of a recipe takes its input from there
MOST_JOBS = 10_000

_Hash = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
_Number = Annotated[float, Field(allow_inf_nan=False)]
_Pair = tuple[_Number, _Number]
_Short = Annotated[str, Field(max_length=80)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Facts(_Part):
    """What the page knows of a file besides; see `studio.jobs.perform`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    alt: Annotated[str, Field(max_length=2000)] = ""
    chart: bool = False
    folder: bool = False
    loudness: _Number | None = None
    marks: Annotated[list[_Pair], Field(max_length=100)] = []
    spans: Annotated[list[_Pair], Field(max_length=20_000)] = []


class FileEntry(_Part):
    """A file or folder; `stored` is where it lies in the zip, "" where it was gone."""

    role: Literal[
        "input", "output", "figure", "before", "after", "track", "spectrogram", "thumbnail"
    ]
    kind: Literal["raw", "image", "audio", "video", "model", "document", "profile"]
    label: Annotated[str, Field(max_length=200)] = ""
    name: Annotated[str, Field(min_length=1, max_length=255)]
    sha256: _Hash = ""
    bytes: Annotated[int, Field(ge=0, le=1 << 50)] = 0
    primary: bool = False
    facts: Facts = Facts()
    folder: bool = False
    stored: Annotated[str, Field(max_length=600)] = ""


class MeasuredEntry(_Part):
    """A number that an engine found."""

    name: _Short
    value: _Number
    unit: Annotated[str, Field(max_length=40)] = ""


class CameraEntry(_Part):
    """A camera's noise, as this job measured it."""

    name: Annotated[str, Field(max_length=200)]
    model: Annotated[str, Field(max_length=120)]
    profile: dict[str, Any]


class RecipeEntry(_Part):
    """What a job knows of the recipe that it is a step of; see `studio.recipes.runs`."""

    name: Annotated[str, Field(max_length=200)]
    step: Annotated[int, Field(ge=1)]
    steps: Annotated[int, Field(ge=1, le=1000)]
    keep: bool = False
    source: Annotated[str, Field(max_length=255)] = ""

    @model_validator(mode="after")
    def _in_order(self) -> RecipeEntry:
        if self.step > self.steps:
            raise ValueError("a recipe has fewer steps than that")
        return self


class JobEntry(_Part):
    """A job that has ended; one that was not done counts as cancelled, and can be run again.

    `parent` is the place in the list, from 0, of the job that was the step before.
    """

    engine: _Short
    engine_version: Annotated[str, Field(max_length=20)] = ""
    params: dict[str, Any]
    state: Literal["done", "failed", "cancelled"]
    error: Annotated[str, Field(max_length=5000)] | None = None
    device: Annotated[str, Field(max_length=20)] = "auto"
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] = 0
    batch: Annotated[int, Field(ge=0)] | None = None
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None
    seconds: _Number | None = None
    peak_mb: _Number | None = None
    camera: Annotated[str, Field(max_length=120)] = ""
    versions: Annotated[dict[_Short, _Short], Field(max_length=100)] = {}
    models: Annotated[
        dict[Annotated[str, Field(max_length=120)], _Hash], Field(max_length=100)
    ] = {}
    notes: Annotated[list[Annotated[str, Field(max_length=2000)]], Field(max_length=100)] = []
    measurements: Annotated[list[MeasuredEntry], Field(max_length=2000)] = []
    files: Annotated[list[FileEntry], Field(max_length=2000)]
    profile: CameraEntry | None = None
    recipe: RecipeEntry | None = None
    parent: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _complete(self) -> JobEntry:
        roles = [file.role for file in self.files]
        for one, other in (("before", "after"), ("track", "spectrogram")):
            if roles.count(one) != roles.count(other):  # type: ignore[arg-type]
                raise ValueError(f"there are not as many {one} as {other} files")
        if self.state != "done" and any(role != "input" for role in roles):
            raise ValueError("a job that is not done has results")
        if len({entry.name for entry in self.measurements}) != len(self.measurements):
            raise ValueError("two measurements have one name")
        if self.parent is not None and self.recipe is None:
            raise ValueError("a job has a step before it, and no recipe")
        return self


class SessionFile(_Part):
    """The whole of `session.json`."""

    format: Literal["noise-studio-session"]
    version: Literal[1, 2]
    studio: Annotated[str, Field(max_length=40)]
    exported: datetime
    name: Annotated[str, Field(min_length=1, max_length=200)]
    jobs: Annotated[list[JobEntry], Field(max_length=MOST_JOBS)]

    @model_validator(mode="after")
    def _chained(self) -> SessionFile:
        for place, job in enumerate(self.jobs):
            if job.parent is not None and job.parent >= place:
                raise ValueError("a step comes before the one that it follows")
        return self
