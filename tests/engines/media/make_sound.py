"""Sounds and small videos made on the spot for the tests of sound files."""

from __future__ import annotations

import errno
import io
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

Wave = NDArray[np.float32]


class FullDisk(io.FileIO):
    """A file on a disk with 3000 bytes left."""

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > 3000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


def sweep(rate: int, channels: int = 1, seconds: float = 1.0, level: float = 0.3) -> Wave:
    """(channels, n) of rising tones, another in every channel; 37 samples more than `seconds`."""
    time = np.arange(round(rate * seconds) + 37) / rate
    tones = [np.sin(2 * np.pi * (220 + 90 * k + 150 * time) * time) for k in range(channels)]
    return (level * np.stack(tones)).astype(np.float32)


def write(path: Path, wave: Wave, rate: int, subtype: str, form: str | None = None) -> Path:
    """With libsndfile alone, none of our code."""
    soundfile.write(path, wave.T, rate, subtype=subtype, format=form)
    return path


def lag(found: NDArray[np.floating], expected: NDArray[np.floating]) -> int:
    """Samples by which one channel of `found` is late."""
    size = 2 * max(len(found), len(expected))
    spectrum = np.fft.rfft(found, size) * np.conj(np.fft.rfft(expected, size))
    at = int(np.argmax(np.fft.irfft(spectrum, size)))
    return at if at < size // 2 else at - size


def error_db(found: NDArray[np.floating], expected: NDArray[np.floating]) -> float:
    """Power of the difference against that of `expected`, in dB."""
    difference = np.mean(np.square(found.astype(np.float64) - expected))
    return float(10 * np.log10(difference / np.mean(np.square(expected)) + 1e-30))


def video(
    path: Path,
    wave: Wave,
    rate: int,
    codec: str,
    *,
    picture: str = "mpeg4",
    delay: float = 0.0,
) -> Path:
    """A video of 64 x 48 pixels as long as `wave`, whose sound begins `delay` seconds late."""
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(wave)]
    with av.open(path, "w") as made:
        images = made.add_stream(picture, rate=25)
        sounds = made.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(images, VideoStream)
        assert isinstance(sounds, AudioStream)
        images.width, images.height, images.pix_fmt = 64, 48, "yuv420p"
        sounds.metadata["language"] = "fra"
        made.metadata["title"] = "Holiday"
        for number in range(round(wave.shape[1] / rate * 25)):
            grey = np.full((48, 64, 3), number * 5 % 256, np.uint8)
            image = VideoFrame.from_ndarray(grey, format="rgb24")
            image.pts = number
            made.mux(images.encode(image))
        made.mux(images.encode(None))
        form = sounds.codec_context.format
        brought = av.AudioResampler(format=form, layout=layout, rate=rate)
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(wave), "fltp", layout)
        frame.sample_rate = rate
        frame.pts = round(delay * rate)
        frame.time_base = Fraction(1, rate)
        for part in brought.resample(frame):
            made.mux(sounds.encode(part))
        made.mux(sounds.encode(None))
    return path


def encoded(path: Path, wave: Wave, rate: int, codec: str) -> Path:
    """A sound file that ffmpeg's libraries write."""
    layout = {1: "mono", 2: "stereo"}[len(wave)]
    with av.open(path, "w") as made:
        sounds = made.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(sounds, AudioStream)
        sounds.bit_rate = 128_000
        brought = av.AudioResampler(
            format=sounds.codec_context.format, layout=layout, rate=sounds.codec_context.rate
        )
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(wave), "fltp", layout)
        frame.sample_rate = rate
        frame.pts = 0
        frame.time_base = Fraction(1, rate)
        for part in [*brought.resample(frame), *brought.resample(None)]:
            made.mux(sounds.encode(part))
        made.mux(sounds.encode(None))
    return path


def wav_header(
    channels: int, rate: int, bits: int = 16, tag: int = 1, size: int = 2000, data: bytes = b""
) -> bytes:
    """A RIFF header that says what it is told to, and `data` behind it."""
    width = channels * bits // 8
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * width % 2**32, width % 2**16, bits)
    riff = b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt " + struct.pack("<I", 16)
    return riff + form + b"data" + struct.pack("<I", size) + data
