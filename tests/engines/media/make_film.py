"""Small films made on the spot, with PyAV alone."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

Frames = NDArray[np.uint8]  # (T, h, w, 3) RGB


def moving(count: int, height: int = 48, width: int = 64, speed: int = 1, seed: int = 0) -> Frames:
    """A smooth pattern that goes to the right by `speed` pixels a frame."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, : width + speed * count]
    phase = random.uniform(0, 6)
    grey = 128 + 60 * np.sin(x / 5 + phase) + 50 * np.cos(y / 7 + phase)
    base = grey[:, :, None] + np.array([20.0, 0.0, -20.0])  # chroma has half the resolution
    wide = base.clip(0, 255).astype(np.uint8)
    begins = [speed * (count - 1 - number) for number in range(count)]
    return np.stack([wide[:, at : at + width] for at in begins])


def film(
    path: Path,
    frames: Frames,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    times: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 25),
    options: dict[str, str] | None = None,
    sound: str = "",
    turned: int = 0,
    colours: tuple[int, int, int, int] | None = None,
    shape: Fraction | None = None,
) -> Path:
    """Write a film.

    Args:
        path: its suffix says the container.
        frames: the pictures.
        codec: ffmpeg's encoder.
        pix_fmt: of the encoder.
        times: of the frames, in units of `time_base`; by default one after another.
        time_base: seconds of a unit.
        options: of the encoder.
        sound: encoder of a tone beside it, as long as the frames are.
        turned: degrees by which a player turns it.
        colours: matrix, primaries, transfer, range.
        shape: of a pixel.
    """
    count, height, width = frames.shape[:3]
    times = list(range(count)) if times is None else list(times)
    with av.open(path, "w") as made:
        stream = made.add_stream(codec, rate=25, options=options or {"crf": "10"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.time_base = time_base
        if turned:
            stream.set_display_rotation(turned)
        if colours is not None:
            stream.colorspace, stream.color_primaries = colours[:2]
            stream.color_trc, stream.color_range = colours[2:]
        if shape is not None:
            stream.codec_context.sample_aspect_ratio = shape
        made.metadata["title"] = "Holiday"
        waves = _sound(made, sound) if sound else None
        for picture, pts in zip(frames, times, strict=True):
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            if colours is not None:
                frame = frame.reformat(
                    format=pix_fmt, src_color_range=2, dst_colorspace=colours[0],
                    dst_color_range=colours[3],
                )  # fmt: skip
                frame.colorspace, frame.color_range = colours[0], colours[3]
            frame.pts, frame.time_base = pts, time_base
            made.mux(stream.encode(frame))
        made.mux(stream.encode(None))
        if waves is not None:
            seconds = float((times[-1] + 1) * time_base)
            _tone(made, waves, seconds)
    return path


def _sound(made: Any, codec: str) -> AudioStream:
    stream = made.add_stream(codec, rate=48_000, layout="mono")
    assert isinstance(stream, AudioStream)
    stream.metadata["language"] = "fra"
    return stream


def _tone(made: Any, stream: AudioStream, seconds: float) -> None:
    wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(round(48_000 * seconds)) / 48_000)
    frame = AudioFrame.from_ndarray(wave[None].astype(np.float32), "fltp", "mono")
    frame.sample_rate, frame.pts, frame.time_base = 48_000, 0, Fraction(1, 48_000)
    form = stream.codec_context.format
    brought = av.AudioResampler(format=form, layout="mono", rate=48_000,
                                frame_size=stream.codec_context.frame_size or None)  # fmt: skip
    for part in [*brought.resample(frame), *brought.resample(None)]:
        made.mux(stream.encode(part))
    made.mux(stream.encode(None))


def pictures(path: Path) -> list[NDArray[np.uint8]]:
    """All frames of a film as RGB, without our code."""
    with av.open(path) as opened:
        return [
            np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            for frame in opened.decode(video=0)
        ]


def times(path: Path) -> list[float]:
    """When each frame is shown, in seconds."""
    with av.open(path) as opened:
        return [float(frame.time) for frame in opened.decode(video=0)]


def sound_packets(path: Path) -> list[tuple[float, bytes]]:
    """(seconds, bytes) of each packet of sound."""
    with av.open(path) as opened:
        packets = [packet for packet in opened.demux(audio=0) if packet.size]
        return [(float(one.pts * one.time_base), bytes(one)) for one in packets]  # type: ignore[operator]
