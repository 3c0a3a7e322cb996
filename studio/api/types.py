"""What programs get: plain values whose names stay as they are."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict  # pydantic takes no other before Python 3.12


class EngineFacts(TypedDict):
    """One engine; `parameters` is a JSON schema by name, `together` makes one job of all files."""

    id: str
    title: str
    tab: str
    summary: str
    version: str
    accepts: list[str]
    suffixes: list[str]
    together: bool
    parameters: dict[str, Any]


class PresetFacts(TypedDict):
    """Settings with a name, of one engine; `starts` where its tab of the page begins with them."""

    engine: str
    name: str
    params: dict[str, Any]
    starts: bool


class Submitted(TypedDict):
    """Ids of the new jobs, in the order of the files."""

    jobs: list[str]


class JobStatus(TypedDict):
    """Where a job stands.

    `state` is queued, running, done, failed, cancelled, interrupted (it goes on at the next start)
    or planned (it waits for another job); `error` is a sentence where it failed. `seconds_left` is
    null until it can be told, and `waiting` counts the caller's own waiting jobs.
    """

    job: str
    engine: str
    state: str
    done: float
    total: float
    text: str
    seconds_left: float | None
    error: str | None
    waiting: int


class File(TypedDict):
    """A file that a job made; `url` is to be fetched with the same key, cookie or password."""

    id: str
    name: str
    kind: str
    label: str
    primary: bool
    bytes: int
    sha256: str
    url: str


class Value(TypedDict):
    """A measured number; `unit` is "" for plain ratios and counts."""

    value: float
    unit: str


class JobResult(TypedDict):
    """Everything about a job; lists and objects are empty until it is done."""

    job: str
    engine: str
    engine_version: str
    state: str
    error: str | None
    inputs: list[str]
    params: dict[str, Any]
    seed: int
    device: str
    seconds: float | None
    outputs: list[File]
    figures: list[File]
    measurements: dict[str, Value]
    notes: list[str]
