"""What an action of the page leads to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Effect:
    """What the page does after an action.

    Attributes:
        tab: tab to open.
        session: session to go to.
        engine: engine whose form is filled with `params`.
        params: settings for that form.
        models: other weights can be chosen now.
        job: result to open on `tab`, after going to `session`.
        fresh: forms begin as their tabs do.
        undo: job that was deleted and can be brought back.
        said: what has been done, where the page does not show it by itself.
    """

    tab: str | None = None
    session: str | None = None
    engine: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    models: bool = False
    said: str = ""
    job: str = ""
    fresh: bool = False
    undo: str = ""
