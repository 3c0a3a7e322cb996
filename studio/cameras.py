"""Camera profiles that a person can choose: their own, and those that ship."""

from __future__ import annotations

from engines.raw.noise.profile import AUTO, NONE
from studio.jobs.service import Studio


def camera_choices(studio: Studio, owner: str, *, none: bool) -> list[tuple[str, str]]:
    """Label and name of each profile; with `none` also "measure on the picture alone"."""
    from engines.raw.noise.cameras import shipped  # scipy takes its time to load

    own = [
        (f"{name} (yours, {profile.get('model', '')})", name)
        for name, profile in (studio.store.cameras(owner) if owner else ())
    ]
    taken = {name for _, name in own}
    published = [(one.profile.model, one.name) for one in shipped() if one.name not in taken]
    first = [("Automatic", AUTO), *([("None", NONE)] if none else [])]
    return [*first, *own, *published]
