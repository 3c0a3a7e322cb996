"""How a clip comes to look as films from the web do: the practical degradation, frame by frame.

RealBasicVSR's (CVPR 2022): all is drawn once for a clip, then moves by small steps from frame to
frame; after each JPEG the frames go through a video encoder.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import av
import numpy as np
from av.codec import Codec
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from engines.superres.degrade import practical
from engines.superres.degrade.kernels import KINDS, SINC_SHARE, Kernel, gaussian, plateau, sinc
from engines.superres.degrade.practical import (
    GREY_SHARE,
    MODES,
    Picture,
    Practical,
    Stage,
    filtered,
    gaussian_noise,
    jpeg,
    poisson_noise,
    resized,
    rounded,
)

# How far each number moves between two frames, at most.
_SIGMA, _ANGLE, _GENERAL, _PLATEAU, _CUTOFF = 0.02, np.pi / 10, 0.05, 0.1, 0.0628
_RESIZE = (0.015, 0.03)  # of the two stages
_NOISE, _POISSON, _QUALITY = 0.1, 0.005, 3.0
_SMALLEST_KERNEL = 7
_LAST_SHARE = 0.8  # of clips that ring at their end
_X264_SHARE = 2.0 / 3.0  # the others are MPEG-4
_SMALLEST = 16  # pixels of a side that encoders take

Clip = list[Picture]


class Drift:
    """A number within bounds that is drawn once and then moves."""

    def __init__(
        self, random: np.random.Generator, bounds: tuple[float, float], step: float
    ) -> None:
        """`step` is how far it moves at most between two uses."""
        self._random, self._bounds, self._step = random, bounds, step
        self._value = random.uniform(*bounds)

    def __call__(self) -> float:
        """The number of now; it then moves."""
        value = self._value
        moved = value + self._random.uniform(-self._step, self._step)
        self._value = min(max(moved, self._bounds[0]), self._bounds[1])
        return value


@dataclass(frozen=True)
class Footage:
    """One way to wear clips.

    Attributes:
        ways: of pictures, whose ranges these are.
        largest: side of a kernel, odd.
        bits: range of an encoder's bits a frame.
    """

    ways: Practical
    largest: int = 21
    bits: tuple[float, float] = (1e4, 1e5)

    def wear(self, clip: Sequence[Picture], random: np.random.Generator) -> Clip:
        """(H, W, 3) frames in 0..1 -> (H/scale, W/scale, 3), rounded to 8 bits.

        The sides must be multiples of the scale.
        """
        height, width = clip[0].shape[:2]
        small = (height // self.ways.scale, width // self.ways.scale)
        first, second = self.ways.stages
        worn = self._stage(list(clip), first, (height, width), _RESIZE[0], random)
        worn = self._encoded(worn, random)
        blurred = random.random() < self.ways.second_blur
        worn = self._stage(worn, second, small, _RESIZE[1], random, blur=blurred)

        def shrink(frames: Clip) -> Clip:
            mode = MODES[int(random.integers(3))]
            frames = [resized(frame, small, mode) for frame in frames]
            if random.random() >= _LAST_SHARE:
                return frames
            size = self._size(random)
            cutoff = Drift(random, (np.pi / 3, np.pi), _CUTOFF)
            return [filtered(frame, sinc(size, cutoff())) for frame in frames]

        last: list[Callable[[Clip], Clip]] = [lambda frames: self._encoded(frames, random), shrink]
        for one in last if random.random() < 0.5 else reversed(last):
            worn = one(worn)
        return [rounded(frame) for frame in worn]

    def _stage(
        self, clip: Clip, stage: Stage, sides: tuple[int, int], step: float,
        random: np.random.Generator, *, blur: bool = True,
    ) -> Clip:  # fmt: skip
        """Blur, resize, noise and JPEG."""
        if blur:
            kernel = self._kernels(stage, random)
            clip = [filtered(frame, kernel()) for frame in clip]
        mode = MODES[int(random.integers(3))]
        factor = _factor(stage, step, random)
        clip = [resized(frame, _even(sides, factor()), mode) for frame in clip]
        grey = random.random() < GREY_SHARE
        if random.random() < 0.5:
            low, high = stage.noise
            level = Drift(random, (low / 255.0, high / 255.0), _NOISE / 255.0)
            noise = gaussian_noise
        else:
            level = Drift(random, stage.poisson, _POISSON)
            noise = poisson_noise
        clip = [_with(frame, noise(frame, grey, random), level()) for frame in clip]
        quality = Drift(random, self.ways.quality, _QUALITY)
        return [jpeg(frame, round(quality())) for frame in clip]

    def _kernels(self, stage: Stage, random: np.random.Generator) -> Callable[[], Kernel]:
        """Gives a kernel for each frame; see `engines.superres.degrade.kernels.draw_kernel`."""
        size = self._size(random)
        if random.random() < SINC_SHARE:
            lowest = np.pi / 3 if size < 13 else np.pi / 5
            cutoff = Drift(random, (lowest, np.pi), _CUTOFF)
            return lambda: sinc(size, cutoff())
        kind = int(random.choice(6, p=KINDS))
        along, across = (Drift(random, stage.blur.sigma, _SIGMA) for _ in range(2))
        angle = Drift(random, (-np.pi, np.pi), _ANGLE)
        general = Drift(random, (0.5, 4.0), _GENERAL)
        flat = Drift(random, (1.0, 2.0), _PLATEAU)

        def draw() -> Kernel:
            sigma = [along(), across()]
            if kind % 2 == 0:
                sigma[1] = sigma[0]
            if kind < 2:
                return gaussian(size, sigma, angle())
            if kind < 4:
                return gaussian(size, sigma, angle(), general())
            return plateau(size, sigma, angle(), flat())

        return draw

    def _size(self, random: np.random.Generator) -> int:
        return _SMALLEST_KERNEL + 2 * int(
            random.integers((self.largest - _SMALLEST_KERNEL) // 2 + 1)
        )

    def _encoded(self, clip: Clip, random: np.random.Generator) -> Clip:
        return encoded(clip, random.random() < _X264_SHARE, random.uniform(*self.bits))


def _with(picture: Picture, noise: Picture, level: float) -> Picture:
    return np.asarray(picture + noise * np.float32(level), dtype=np.float32)


def full(scale: int) -> Footage:
    """The published ranges."""
    return Footage(practical.full(scale))


def half(scale: int) -> Footage:
    """About half of them: what a small network can follow without growing smooth."""
    return Footage(practical.half(scale), largest=13, bits=(2e4, 1.5e5))


def encoded(clip: Sequence[Picture], x264: bool, bits: float) -> Clip:
    """A clip through a video encoder and back.

    Args:
        clip: (H, W, 3) RGB in 0..1; all become as large as the first, in even numbers.
        x264: where it is there; else, and otherwise, MPEG-4 Part 2.
        bits: that a frame may take in the mean.
    """
    height, width = (max(side // 2 * 2, _SMALLEST) for side in clip[0].shape[:2])
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as made:
        # One frame a second, so that bits a second are bits a frame.
        x264 = x264 and _has_x264()
        # Without these x264 makes something else of the same frames now and then.
        options = {"x264-params": "mbtree=0:cpu-independent=1"} if x264 else {}
        stream = made.add_stream("libx264" if x264 else "mpeg4", rate=1, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.bit_rate = round(bits)
        stream.codec_context.thread_count = 1
        for number, picture in enumerate(clip):
            same = resized(picture, (height, width), MODES[1])
            levels = (same.clip(0.0, 1.0) * 255.0).round().astype(np.uint8)
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(levels), format="rgb24")
            frame.pts = number
            made.mux(stream.encode(frame))
        made.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer, "r", format="mp4") as opened:
        return [
            frame.to_ndarray(format="rgb24").astype(np.float32) / np.float32(255.0)
            for frame in opened.decode(video=0)
        ]


@cache
def _has_x264() -> bool:
    try:
        Codec("libx264", "w")
    except ValueError:
        return False
    return True


def _factor(stage: Stage, step: float, random: np.random.Generator) -> Callable[[], float]:
    """How large each frame becomes; those that keep their size keep it all along."""
    lowest, highest = stage.sizes
    drawn = random.random()
    if drawn < stage.up:
        return Drift(random, (1.0, highest), step)
    if drawn < stage.up + stage.down:
        return Drift(random, (lowest, 1.0), step)
    return lambda: 1.0


def _even(sides: tuple[int, int], factor: float) -> tuple[int, int]:
    height, width = (max(round(side * factor) // 2 * 2, _SMALLEST) for side in sides)
    return height, width
