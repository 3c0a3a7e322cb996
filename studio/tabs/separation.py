"""The separation tab: recordings in, the sounds that are named out, each as a track of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from markupsafe import Markup

from engines.base import Engine, UserError
from engines.separation.engine import PICTURE_SUFFIXES
from studio.config import Settings
from studio.inbox import Chosen
from studio.jobs.views import JobView
from studio.markup import figures, part, render
from studio.panels.result import Reading, Row, Verdict, plain_reading
from studio.reader import FileReader, Look
from studio.scene import Scene
from studio.tabs.generic import MethodTab
from studio.tabs.speech import sound_facts

_FOUND, _PRESENCE, _SHARE, _HEARD, _LIKENESS = _OF_SOUNDS = (
    "found_", "presence_", "share_", "heard_", "likeness_",
)  # fmt: skip
_NAMES = {
    "seconds_of_sound": "length",
    "network_calls": "network calls",
    "real_time_factor": "time taken, by length",
}
_KNOWN = 0.45  # cosine; see `engines.separation.query`
_TIMES = 6  # spans that are named


@dataclass(frozen=True)
class Sound:
    """One line of the table: what was looked for, and what came of it, in words."""

    label: str
    found: str
    presence: str
    share: str
    heard: str
    times: str
    likeness: str


class SeparationTab(MethodTab):
    """Any recording in; one track a sound that was named, and what remains."""

    noun = "recording"
    familiar = (".wav", ".flac", ".mp3", ".m4a", ".ogg", ".mp4", ".mov", ".mkv")
    place = "/home/me/music"
    credit = (
        "Name piano and birdsong. Birds: SpaceJoe and Wuzzy, CC0; piano: Fluid R3 sound font, "
        "Frank Wen, MIT."
    )
    listen = True
    icon = "sound"
    first = ("query", "mode", "strength", "negative")
    empty = (
        "The sounds appear here",
        "Add a recording and name what to keep or to remove, such as piano, rain or a dog barking. "
        "Each sound becomes a track, and the tracks and the remainder add up to the recording.",
    )

    def __init__(self, title: str, engines: Sequence[type[Engine]]) -> None:
        """See `MethodTab`."""
        super().__init__(title, engines)
        self._reader = FileReader(sound_facts)

    def look(self, path: Path) -> Look:
        """Rate, channels, depth and length of a sound or a film; a picture is looked for."""
        if _is_picture(path):
            return Look(("picture of what to look for",))
        return self._reader.look(path)

    def more_ways_in(self, settings: Settings) -> None:
        """A recorder, whose recordings go the way of dropped files."""
        gr.HTML(
            render("record.html", into=f"drop-{self.id}", megabytes=settings.max_upload_mb),
            apply_default_css=False,
            elem_classes="ns-ways",
        )

    def arrange(
        self, chosen: Sequence[Chosen], params: dict[str, Any], scene: Scene
    ) -> tuple[Sequence[Chosen], dict[str, Any]]:
        """Pictures among the files are looked for in all the others.

        Raises:
            UserError: nothing is named, or a stranger's picture would have to be.
        """
        pictures = [str(file.path) for file in chosen if _is_picture(file.path)]
        if pictures and scene.studio.settings.shared:
            raise UserError(
                "Pictures can be looked for on your own machine alone; remove them and name the "
                "sounds in words"
            )
        if pictures:
            params = {**params, "picture": [*params.get("picture", ()), *pictures]}
        if "query" in params and not (params["query"] or params.get("picture")):
            raise UserError(
                "Name a sound first: type it under Sounds, such as piano, and press Enter"
            )
        return [file for file in chosen if not _is_picture(file.path)], params

    def read(self, measurements: Mapping[str, tuple[float, str]]) -> Reading:
        """How present each sound is in large numbers, and which were not found."""
        headline = [
            Row(name.removeprefix(_PRESENCE), round(value, 0 if value >= 10 else 1), unit)
            for name, (value, unit) in measurements.items()
            if name.startswith(_PRESENCE)
        ]
        if not headline:
            return plain_reading(measurements)
        rest = {
            _NAMES.get(name, name): value
            for name, value in measurements.items()
            if not name.startswith(_OF_SOUNDS)
        }
        lost = [row.name for row in headline if not _there(measurements, row.name)]
        return Reading("Presence", headline, verdict(lost, len(headline)), plain_reading(rest).rest)

    def more(self, job: JobView, scene: Scene) -> Markup:
        """A table of the sounds: found or not, how much, how long and when."""
        sounds = sounds_of(job)
        return part("separation.html", sounds=sounds) if sounds else Markup("")


def _there(measurements: Mapping[str, tuple[float, str]], label: str) -> bool:
    return measurements.get(f"{_FOUND}{label}", (0.0, ""))[0] > 0.0


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES


def verdict(lost: Sequence[str], of: int) -> Verdict:
    """What presence means, and what was not found."""
    meaning = "Presence tells how clearly a sound is heard where it is heard most."
    if not lost:
        return Verdict(meaning, "sure")
    if len(lost) == of:
        return Verdict(f"Nothing that you named was found. {meaning}", "doubt")
    return Verdict(f"Not found: {', '.join(lost)}. {meaning}", "doubt")


def sounds_of(job: JobView) -> list[Sound]:
    """The sounds of a finished job in order, as its measurements and tracks have them."""
    spans = {sound.label: picture.facts.get("spans", []) for sound, picture in job.tracks}
    found: list[Sound] = []
    for name, (presence, _) in job.measurements.items():
        if not name.startswith(_PRESENCE):
            continue
        label = name.removeprefix(_PRESENCE)
        share, heard = (
            job.measurements.get(f"{kind}{label}", (0.0, ""))[0] for kind in (_SHARE, _HEARD)
        )
        likeness = job.measurements.get(f"{_LIKENESS}{label}", (None, ""))[0]
        known = likeness is None or likeness >= _KNOWN
        found.append(
            Sound(
                label,
                ("yes" if known else "unsure") if _there(job.measurements, label) else "no",
                f"{figures(round(presence))} %",
                f"{figures(round(share, 1))} %",
                f"{figures(round(heard, 1))} s",
                when_heard(spans.get(label, [])),
                "" if likeness is None else f"{likeness:.2f}{'' if known else ' (not learned)'}",
            )
        )
    return found


def when_heard(spans: Sequence[Sequence[float]]) -> str:
    """The first spans in minutes and seconds, and how many more there are."""
    shown = [f"{_moment(start)}\N{EN DASH}{_moment(end)}" for start, end in spans[:_TIMES]]
    more = len(spans) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _moment(seconds: float) -> str:
    """0:06.5, 58:12.0."""
    minutes, tenths = divmod(round(10 * seconds), 600)
    return f"{minutes}:{tenths // 10:02}.{tenths % 10}"
