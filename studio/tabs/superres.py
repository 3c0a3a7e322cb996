"""The super-resolution tab: pictures in, a region of them at once, and larger ones out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from markupsafe import Markup

from engines.base import Engine
from studio.inbox import Inbox
from studio.markup import part
from studio.panels.preview import PreviewPanel
from studio.panels.result import Reading, Row, Verdict, plain_reading
from studio.picture_facts import picture_facts
from studio.reader import FileReader, Look
from studio.scene import Panel
from studio.tabs.generic import MethodTab

_NAMES = {
    "consistency": "agreement with the input, made small again",
    "megapixels_per_second": "speed",
    "seconds": "time taken",
}
_HEADLINE = ("width", "height", "megapixels")
_CLOSE = 30.0  # dB; less means that the picture was changed where it could be seen in the input


class SuperresTab(MethodTab):
    """Photos, scans and satellite tiles of any depth in; larger ones out."""

    noun = "picture"
    familiar = (".jpg", ".png", ".tif", ".webp", ".heic", ".avif", ".bmp", ".gif")
    place = "/home/me/photos/2026-11-20"
    credit = "Photograph: Sander Klootwijk, CC BY-SA 4.0, cropped and reduced."
    first = (
        "task", "mode", "method", "weights", "source", "scale", "long_side", "blur", "blur_size",
        "mask", "paint", "jpeg_quality", "gain", "bits", "steps", "strength",
    )  # fmt: skip
    only_with: Mapping[str, tuple[str, Any]] = MappingProxyType(
        {
            name: ("task", task)
            for task, names in {
                "enlarge": ("scale", "long_side", "reduction"),
                "deblur": ("blur", "blur_size"),
                "inpaint": ("mask", "paint", "grow"),
                "jpeg": ("jpeg_quality", "jpeg_colour"),
                "hdr": ("gain",),
                "dequantise": ("bits",),
            }.items()
            for name in names
        }
    )
    sides = ("Lanczos", "Enlarged")
    live = True
    empty = (
        "The larger picture appears here",
        "Add a picture: you see a part of it enlarged at once, wherever you point. Then press Run; "
        "nothing has to be set.",
    )

    def __init__(self, title: str, engines: Sequence[type[Engine]]) -> None:
        """See `MethodTab`."""
        super().__init__(title, engines)
        self._reader = FileReader(picture_facts)

    def look(self, path: Path) -> Look:
        """Size, depth, colours and profile of a picture, or what it is instead."""
        return self._reader.look(path)

    def note(self, look: Look) -> Markup:
        """The size that a picture will have; the page follows the settings."""
        return part("becomes.html", tab=self.id, **look.more) if look.more else Markup("")

    def build_beside(self, inbox: Inbox) -> Sequence[Panel]:
        """Regions of the chosen pictures."""
        return [PreviewPanel(self.id, inbox, self.look)]

    def read(self, measurements: Mapping[str, tuple[float, str]]) -> Reading:
        """Size and agreement with the input in large numbers, the rest in a table."""
        if any(name not in measurements for name in _HEADLINE):
            return plain_reading(measurements)
        width, height, megapixels = (measurements[name][0] for name in _HEADLINE)
        headline = [
            Row("Width", width, "px"),
            Row("Height", height, "px"),
            Row("Megapixels", round(megapixels, 1 if megapixels >= 1 else 2), ""),
        ]
        close = measurements.get("consistency")
        rest = {_NAMES.get(k, k): value for k, value in measurements.items() if k not in _HEADLINE}
        return Reading(
            "Enlarged",
            headline,
            verdict(close[0]) if close is not None else None,
            plain_reading(rest).rest,
        )


def verdict(decibels: float) -> Verdict:
    """What it means that the result, made small again, agrees so well with the input."""
    if decibels >= _CLOSE:
        return Verdict(
            "Made small again, it is the input: what was added lies between its pixels.", "sure"
        )
    return Verdict(
        "Made small again, it differs from the input where that can be seen: noise was taken off, "
        "or something was invented. Compare at 100 %, or lower the strength.",
        "doubt",
    )
