"""Engines for tests of the queue, the command line and the page: no network, no picture, quick.

They are registered by the `tiny_engine` fixture and importable in a spawned worker.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import time
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from engines import registry
from engines.base import (
    Job,
    Measurement,
    MediaKind,
    Output,
    Params,
    Result,
    Track,
    UserError,
    option,
)

INVERT = "demo.invert"
CRASH = "demo.crash"
SOUND = "demo.sound"
_STEP = 0.05  # seconds between two looks at the cancel flag


class InvertParams(Params):
    """One parameter of each type that forms and the command line know."""

    seconds: float = option(
        0.0, title="Seconds", description="How long to take", unit="s", ge=0.0, le=60.0
    )
    repeat: int = option(1, title="Repeat", description="How often to write it", ge=1, le=9)
    upper: bool = option(False, title="Upper case", description="Write it in capitals")
    end: Literal["none", "dot", "mark"] = option(
        "none", title="End", description="What to put at the end"
    )
    without: tuple[str, ...] = option(
        (), title="Without", description="Letters to leave out", advanced=True
    )
    limit: int | None = option(
        None, title="Limit", description="Longest text; empty is any", ge=1, le=1000, advanced=True
    )
    fail: Literal["no", "user", "surprise"] = option(
        "no", title="Fail", description="How to go wrong", advanced=True
    )


class InvertEngine:
    """Writes a text backwards as `<stem>.inverted.txt`."""

    id: ClassVar[str] = INVERT
    title: ClassVar[str] = "Invert"
    tab: ClassVar[str] = "Demo"
    summary: ClassVar[str] = "Writes a text backwards"
    accepts: ClassVar[tuple[MediaKind, ...]] = ("document",)
    suffixes: ClassVar[tuple[str, ...]] = (".txt",)
    version: ClassVar[str] = "1"
    Params: ClassVar[type[Params]] = InvertParams

    def run(self, inputs: Sequence[Path], params: Any, job: Job) -> Result:
        """See `engines.base.Engine.run`."""
        try:
            text = inputs[0].read_text(encoding="utf-8").rstrip("\n")[::-1]
        except UnicodeDecodeError as error:
            raise UserError(f"This is no text; choose a text file: {inputs[0].name}") from error
        _linger(params.seconds, job)
        if params.fail == "user":
            raise UserError("It went wrong as you asked; set fail to no")
        if params.fail == "surprise":
            raise RuntimeError("nobody foresaw this")
        for letter in params.without:
            text = text.replace(letter, "")
        text = (text.upper() if params.upper else text)[: params.limit] * params.repeat
        path = job.workspace / f"{inputs[0].stem}.inverted.txt"
        path.write_text(text + {"none": "", "dot": ".", "mark": "!"}[params.end], encoding="utf-8")
        return Result(
            outputs=[Output(path, "document", "inverted text", primary=True)],
            measurements={
                "characters": Measurement(len(text)),
                "wait": Measurement(params.seconds, "s"),
            },
            notes=["The text was read from its end"],
        )


class CrashParams(Params):
    """When to die."""

    seconds: float = option(0.2, title="Seconds", description="How long to live", unit="s", ge=0.0)


class CrashEngine:
    """Ends its own process in the middle, as a fault inside a library would."""

    id: ClassVar[str] = CRASH
    title: ClassVar[str] = "Crash"
    tab: ClassVar[str] = "Demo"
    summary: ClassVar[str] = "Ends the worker in the middle of a file"
    accepts: ClassVar[tuple[MediaKind, ...]] = ("document",)
    suffixes: ClassVar[tuple[str, ...]] = (".txt",)
    version: ClassVar[str] = "1"
    Params: ClassVar[type[Params]] = CrashParams

    def run(self, inputs: Sequence[Path], params: Any, job: Job) -> Result:
        """See `engines.base.Engine.run`; needs a worker process, which it kills."""
        assert multiprocessing.parent_process() is not None, "this would end the tests themselves"
        (job.workspace / "half.txt").write_text("half")
        _linger(params.seconds, job)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")


class SoundParams(Params):
    """How much to leave, and how long to take."""

    share: float = option(0.25, title="Share", description="What is left of it", ge=0.0, le=1.0)
    linger: float = option(
        0.0, title="Linger", description="How long to take", unit="s", ge=0.0, le=60.0
    )


class SoundEngine:
    """Turns a 16-bit WAV down; what that takes away is the third track."""

    id: ClassVar[str] = SOUND
    title: ClassVar[str] = "Softer"
    tab: ClassVar[str] = "Speech"
    summary: ClassVar[str] = "Turns a sound down"
    accepts: ClassVar[tuple[MediaKind, ...]] = ("audio",)
    suffixes: ClassVar[tuple[str, ...]] = (".wav",)
    version: ClassVar[str] = "1"
    Params: ClassVar[type[Params]] = SoundParams

    def run(self, inputs: Sequence[Path], params: Any, job: Job) -> Result:
        """See `engines.base.Engine.run`."""
        import numpy

        _linger(params.linger, job)
        with wave.open(str(inputs[0])) as sound:
            rate, channels = sound.getframerate(), sound.getnchannels()
            before = numpy.frombuffer(sound.readframes(sound.getnframes()), "<i2") / 32768
        after = before * params.share
        output = _write_wave(job.workspace / f"{inputs[0].stem}.softer.wav", after, rate, channels)
        tracks: list[Track] = []
        for label, samples in (("Before", before), ("After", after), ("Removed", before - after)):
            name = f"track-{label.lower()}"
            track = _write_wave(job.workspace / f"{name}.wav", samples, rate, channels)
            mono = samples.reshape(-1, channels).mean(axis=1)
            picture = _spectrogram(job.workspace / f"{name}.png", mono)
            power = float((samples**2).mean())
            loudness = 10 * math.log10(power) if power else -math.inf
            marks = [(f, 2 * f / rate) for f in (1000, 2000, 4000, 8000, 16000) if 2 * f < rate]
            tracks.append(Track(track, picture, label, loudness, marks))
        thumbnail = _spectrogram(job.workspace / "thumbnail.jpg", mono, (320, 200))
        return Result(
            outputs=[Output(output, "audio", "softer sound", primary=True)],
            measurements={
                "noise_removed": Measurement(12.0, "dB"),
                "loudness_before": Measurement(tracks[0].loudness, "LUFS"),
                "loudness_after": Measurement(tracks[1].loudness, "LUFS"),
                "rate": Measurement(rate, "Hz"),
            },
            tracks=tracks,
            thumbnail=thumbnail,
        )


def _write_wave(path: Path, samples: Any, rate: int, channels: int) -> Path:
    with wave.open(str(path), "wb") as sound:
        sound.setparams((channels, 2, rate, 0, "NONE", ""))
        sound.writeframes((samples * 32767).round().astype("<i2").tobytes())
    return path


def _spectrogram(path: Path, samples: Any, size: tuple[int, int] = (800, 256)) -> Path:
    import cv2
    import numpy

    frames = numpy.lib.stride_tricks.sliding_window_view(samples, 512)[
        :: max(1, len(samples) // 800)
    ]
    power = numpy.abs(numpy.fft.rfft(frames * numpy.hanning(512)))[:, ::-1].T
    shade = numpy.clip(255 + 40 * numpy.log10(power / 256 + 1e-9), 0, 255).astype("uint8")
    picture = cv2.applyColorMap(cv2.resize(shade, size), cv2.COLORMAP_MAGMA)
    cv2.imwrite(str(path), picture)
    return path


def register() -> None:
    """Make those that need nothing but Python known to the registry of this process."""
    registry.register(INVERT, "tests.engines_for_tests:InvertEngine")
    registry.register(CRASH, "tests.engines_for_tests:CrashEngine")


def register_sound() -> None:
    """Make demo.sound known as well."""
    registry.register(SOUND, "tests.engines_for_tests:SoundEngine")


def _linger(seconds: float, job: Job) -> None:
    """Pass time as work does: report progress, and stop when asked to."""
    steps = round(seconds / _STEP)
    for step in range(steps):
        job.check_cancelled()
        job.progress(step, steps, f"step {step + 1}/{steps}")
        time.sleep(_STEP)
    job.progress(1, 1, "writing")
