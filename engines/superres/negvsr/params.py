"""Parameters of `superres.negvsr`."""

from __future__ import annotations

from engines import options
from engines.base import Params, option

OVERLAP = 4  # frames that two sequences of a scene share; each gives the half that it knows better


class NegvsrParams(Params):
    """Everything has an automatic default."""

    scale: float = options.scale(4.0)
    preview: bool = option(
        False,
        title="One second only",
        description="To see how it comes out, from Start on, before the whole film is run",
    )
    cleaning: float = option(
        1.0,
        title="Cleaning",
        description="How much noise and compression is taken off before enlarging; 0 is none",
        ge=0.0,
        le=1.0,
    )
    strength: float = options.lanczos_strength()
    quality: int = option(
        80,
        title="Quality",
        description="Of the film that is written; 80 is hard to tell from more",
        ge=1,
        le=100,
    )
    threshold: float | None = option(
        None,
        title="Clean again above",
        description="A sequence is cleaned up to three times, while that changes more than this in "
        "the mean; empty goes by the weights",
        unit="levels",
        ge=0.0,
        le=255.0,
        advanced=True,
    )
    start: float = options.start()
    length: float | None = options.length()
    sequence: int = option(
        30,
        title="Sequence",
        description="Frames that know of each other, at most; fewer take less memory and disk",
        unit="frames",
        ge=2 * OVERLAP,
        le=30,
        advanced=True,
    )
    tile: int = options.picture_tile(2048)
    weights: str = options.weights(
        "negvsr-small", "Ours, or the authors' once added under Models", "superres.negvsr"
    )

    @property
    def seconds(self) -> float | None:
        """How much of the film is read; None is all from the start on."""
        if self.preview:
            return min(self.length or 1.0, 1.0)
        return self.length
