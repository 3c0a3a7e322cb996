"""The speech tab: recordings in, from files or the microphone; cleaner ones out, to be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import gradio as gr

from engines.base import Engine
from studio.config import Settings
from studio.film_facts import clock
from studio.markup import render
from studio.panels.result import Reading, Row, Verdict, plain_reading
from studio.reader import FileReader, Look
from studio.tabs.generic import MethodTab

_HEADLINE = {
    "noise_removed": "Noise removed",
    "loudness_before": "Loudness before",
    "loudness_after": "Loudness after",
}
_NAMES = {
    "loudness_removed": "loudness of what was removed",
    "snr_before": "signal-to-noise ratio before",
    "snr_after": "signal-to-noise ratio after",
    "clipped_before": "clipped before",
    "limited": "peaks turned down",
    "seconds_of_sound": "length",
    "real_time_factor": "time taken, by length",
    "agreement": "agreement with Fast",
}
_LITTLE, _MUCH = 3.0, 25.0  # dB


class SpeechTab(MethodTab):
    """Speech of any rate, length and container in; the same without noise and room out."""

    noun = "recording"
    familiar = (".wav", ".flac", ".mp3", ".m4a", ".ogg", ".mp4", ".mov", ".mkv")
    place = "/home/me/interviews/2026-11-20"
    credit = "Voice: Allison Smith, Asterisk core sounds, CC BY-SA 3.0. The noise was added here."
    listen = True
    icon = "sound"
    empty = (
        "The result appears here",
        "Add or record a voice and press Run. You hear it before, after, and what was removed; "
        "nothing has to be set.",
    )

    def __init__(self, title: str, engines: Sequence[type[Engine]]) -> None:
        """See `MethodTab`."""
        super().__init__(title, engines)
        self._reader = FileReader(sound_facts)

    def look(self, path: Path) -> Look:
        """Rate, channels, depth and length of a sound or a film, or what it is instead."""
        return self._reader.look(path)

    def more_ways_in(self, settings: Settings) -> None:
        """A recorder, whose recordings go the way of dropped files."""
        gr.HTML(
            render("record.html", into=f"drop-{self.id}", megabytes=settings.max_upload_mb),
            apply_default_css=False,
            elem_classes="ns-ways",
        )

    def read(self, measurements: Mapping[str, tuple[float, str]]) -> Reading:
        """What was taken away and how loud it is now in large numbers, the rest in a table."""
        headline = [
            Row(title, round(value, 1), unit)
            for name, title in _HEADLINE.items()
            if name in measurements
            for value, unit in [measurements[name]]
        ]
        if not headline:
            return plain_reading(measurements)
        removed = measurements.get("noise_removed")
        rest = {
            _NAMES.get(name, name): value
            for name, value in measurements.items()
            if name not in _HEADLINE
        }
        return Reading(
            "What was removed",
            headline,
            removal_verdict(removed[0]) if removed else None,
            plain_reading(rest).rest,
        )


def removal_verdict(decibels: float) -> Verdict:
    """What it means that the pauses are quieter by so many dB, in a sentence."""
    if decibels < _LITTLE:
        return Verdict(
            "Hardly anything was taken away: the recording was clean, or its noise is too much "
            "like a voice.",
            "sure",
        )
    if decibels < _MUCH:
        return Verdict(
            "The noise between the words is much lower. Listen to Removed: no words should be "
            "in it.",
            "sure",
        )
    return Verdict(
        "Nearly everything but the voice was taken away. Listen to Removed for words that went "
        "with it; if there are any, set a limit or keep some ambience.",
        "sure",
    )


def sound_facts(path: Path) -> tuple[str, ...]:
    """Rate, channels, depth and length in words.

    Raises:
        UserError: it holds no sound that can be read; the sentence says what it is.
    """
    from engines.media.sound_read import read_facts

    found = read_facts(path)
    words = (clock(found.seconds), found.describe(), "with picture" if found.has_video else "")
    return tuple(word for word in words if word)
