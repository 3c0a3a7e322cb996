"""What a prior's network is built from, and what cannot be read off its tensors."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ScheduleSettings(BaseModel):
    """The noise that a prior was trained with.

    "linear" and "scaled_linear" go evenly from `start` to `end` in β or in its root; "cosine" is
    that of Nichol and Dhariwal (2021), capped at 0.999.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["linear", "scaled_linear", "cosine"] = "linear"
    start: float = Field(default=1e-4, gt=0.0, lt=1.0)
    end: float = Field(default=0.02, gt=0.0, lt=1.0)
    steps: int = Field(default=1000, ge=2, le=100_000)


class PriorSettings(BaseModel):
    """Constructor settings of `engines.superres.reddiff.unet.AdmUnet`.

    Attributes:
        channels: of the first level.
        mult: channels of each level over those.
        blocks: residual blocks of a level on the way down; one more on the way up.
        attention: whether a level's blocks have attention.
        out: 3 for the noise alone, 6 where a variance (of no use here) follows.
        film: the time scales and shifts; otherwise it is added.
        updown: residual blocks change the size; otherwise convolutions do.
        head_channels: of an attention head; 0 is one head.
        groups: of the norms.
        epsilon: of the norms.
        sine_first: order of the time's waves.
        wave_shift: taken off the number of waves in their exponents' divisor.
        pad_end: convolutions that halve see a zero row and column at the end, and none before.
        middle_norm: the attention in the middle has a norm.
        size: side of the pictures that it was trained on.
        predicts: what it was trained to give.
        schedule: see `ScheduleSettings`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: int = Field(ge=8, le=1024)
    mult: tuple[float, ...] = Field(min_length=1, max_length=8)
    blocks: int = Field(ge=1, le=8)
    attention: tuple[bool, ...]
    out: Literal[3, 6] = 3
    film: bool = True
    updown: bool = True
    head_channels: int = Field(default=64, ge=0, le=4096)
    groups: int = Field(default=32, ge=1, le=256)
    epsilon: float = Field(default=1e-5, gt=0.0, lt=1.0)
    sine_first: bool = False
    wave_shift: float = Field(default=0.0, ge=0.0, le=1.0)
    pad_end: bool = False
    middle_norm: bool = True
    size: int = Field(default=256, ge=16, le=1024)
    predicts: Literal["noise", "sample", "v"] = "noise"
    schedule: ScheduleSettings = ScheduleSettings()

    @property
    def multiple(self) -> int:
        """Sides of pictures are multiples of it."""
        return 2 ** (len(self.mult) - 1)

    def width(self, level: int) -> int:
        """Channels of a level."""
        return int(self.mult[level] * self.channels)

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if len(self.attention) != len(self.mult):
            raise ValueError("attention is told for each level")
        widths = [self.width(level) for level in range(len(self.mult))]
        if any(width % self.groups for width in widths):
            raise ValueError("channels are multiples of the groups")
        with_heads = [w for w, has in zip(widths, self.attention, strict=True) if has]
        if self.head_channels and any(w % self.head_channels for w in [*with_heads, widths[-1]]):
            raise ValueError("channels are multiples of an attention head's")
        if self.size % self.multiple:
            raise ValueError("the size is a multiple of what the levels reduce by")
        return self
