"""Which camera profile a job takes: one by name, or the one that fits the file."""

from __future__ import annotations

import re

from engines.base import Job, KnowsCameras
from engines.media.raw_file import RawFacts
from engines.raw.noise.cameras import named, shipped
from engines.raw.noise.profile import AUTO, NONE, CameraProfile, Named, profile_of


def saved(job: Job) -> tuple[Named, ...]:
    """The person's own profiles, the newest first; none where the job knows of none."""
    if not isinstance(job, KnowsCameras):
        return ()
    return tuple(Named(name, profile_of(values, name), False) for name, values in job.cameras())


def by_name(name: str, job: Job) -> Named:
    """A profile by its name, the person's own before those that ship.

    Raises:
        UserError: there is none of that name.
    """
    return named(name, saved(job))


def fitting(facts: RawFacts, job: Job) -> Named | None:
    """The profile of the file's own camera, the person's newest first; None where there is none.

    A profile of another bit depth is of another readout, whose noise is another.
    """
    for one in (*saved(job), *shipped()):
        if same_camera(facts, one.profile) and one.profile.bits == facts.bits:
            return one
    return None


def same_camera(facts: RawFacts, profile: CameraProfile) -> bool:
    """Whether a file is of a profile's camera; "Canon" may be said or not."""
    mine, its = _words(f"{facts.make} {facts.model}"), _words(profile.model)
    model = _words(facts.model)
    return bool(model) and model <= its and its <= mine


def require(name: str, facts: RawFacts, job: Job) -> Named | None:
    """What a parameter stands for: None for "none", the fitting one (or None) for "auto".

    Raises:
        UserError: there is no profile of that name.
    """
    if name == NONE:
        return None
    return fitting(facts, job) if name == AUTO else by_name(name, job)


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z0-9-]+", text.lower())) - {"corporation", "company"}
