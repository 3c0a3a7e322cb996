"""Parameters of the speech engines; the page's controls and the options are made of them."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from engines import options
from engines.base import Params, option
from engines.media.sound_format import Depth, Form

Mode = Literal["fast", "natural", "best"]
Task = Literal["denoise", "dereverb", "both"]
Highs = Literal["follow", "keep", "drop"]
Channels = Literal["linked", "each", "mono"]
Sampler = Literal["predictor-corrector", "ode", "sde"]
Corrector = Literal["annealed-langevin", "langevin", "none"]


class SpeechParams(Params):
    """What every speech engine takes; everything has an automatic default."""

    mode: Mode = option(
        "fast",
        title="Mode",
        description="Fast removes, Natural rebuilds in a few steps, Best takes all the steps",
    )
    task: Task = option(
        "denoise",
        title="Take out",
        description="Noise, the sound of the room, or both",
    )
    strength: float | None = option(
        None,
        title="At most by",
        description="Noise is lowered by no more than this; empty takes out all that was found",
        unit="dB",
        ge=0.0,
        le=100.0,
    )
    keep: float = option(
        0.0,
        title="Keep breaths and ambience",
        description="Share of what lies between the words that stays",
        ge=0.0,
        le=1.0,
    )
    removed: bool = option(
        False,
        title="Also write what was removed",
        description="A second file; it and the result add up to the input",
    )
    loudness: float | None = option(
        None,
        title="Loudness",
        description="Level of the result, such as -16 for podcasts; empty leaves the voice as loud",
        unit="LUFS",
        ge=-40.0,
        le=-8.0,
    )
    format: Form = option(
        "same",
        title="Format",
        description="File that is written; same is the input's, where that can be written",
        advanced=True,
    )
    depth: Depth = options.sound_depth()
    highs: Highs = option(
        "follow",
        title="Above the network's band",
        description="Follow takes the gain of the band below, drop leaves silence there",
        advanced=True,
    )
    channels: Channels = option(
        "linked",
        title="Channels",
        description="Linked keeps the stereo picture, each is for one voice a channel",
        advanced=True,
    )
    start: float = options.start()
    length: float | None = options.length()
    steps: int | None = option(
        None,
        title="Steps",
        description="Steps of the sampler in Natural and Best; empty is the mode's own number",
        ge=1,
        le=200,
        advanced=True,
    )
    sampler: Sampler | None = option(
        None,
        title="Sampler",
        description="ODE is the more faithful, SDE the livelier, predictor-corrector the original",
        advanced=True,
    )
    corrector: Corrector | None = option(
        None,
        title="Corrector",
        description="Langevin step of the predictor-corrector sampler; doubles the time",
        advanced=True,
    )
    snr: float | None = option(
        None,
        title="Corrector's step",
        description="Length of a Langevin step; empty is the checkpoint's own",
        gt=0.0,
        le=2.0,
        advanced=True,
    )
    guard: bool = option(
        True,
        title="Invention guard",
        description="Nothing becomes louder than input or estimate allow, so no sound is made up",
        advanced=True,
    )
    seed: int = options.seed()

    weights: str = options.weights(
        "",
        "Networks of this engine, bundled or added under Models",
        "speech",
    )

    @model_validator(mode="after")
    def _corrector_has_its_sampler(self) -> SpeechParams:
        if self.sampler in ("ode", "sde") and self.corrector not in (None, "none"):
            raise ValueError("A corrector belongs to the predictor-corrector sampler; choose that")
        return self


class StormParams(SpeechParams):
    """`speech.storm`."""

    weights: str = options.weights(
        "storm-small",
        "The bundled small networks, or a checkpoint that you added under Models",
        "speech.storm",
    )


class SgmseParams(SpeechParams):
    """`speech.sgmse`."""

    weights: str = options.weights(
        "sgmse-small",
        "The bundled small network, or a checkpoint that you added under Models",
        "speech.sgmse",
    )
