"""Parameters of `raw.calibrate`."""

from __future__ import annotations

from engines.base import Params, option


class CalibrateParams(Params):
    """Everything is told by the frames themselves."""

    name: str = option(
        "",
        title="Name",
        description="How the profile is called; empty is the camera's own name",
        max_length=100,
    )
