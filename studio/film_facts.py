"""What a film is, in a few words; nothing of the page is imported to find that out."""

from __future__ import annotations

import math
from pathlib import Path

from engines.media.sound_facts import VIDEO_SUFFIXES
from studio.picture_facts import picture_facts
from studio.reader import Look


def picture_or_film(path: Path) -> Look:
    """What a picture is, or a film.

    Raises:
        UserError: it is neither; the sentence says what it is.
    """
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return Look(film_facts(path))
    return picture_facts(path)


def film_facts(path: Path) -> tuple[str, ...]:
    """Length, size, rate and depth in words.

    Raises:
        UserError: it is no film that can be read; the sentence says what it is.
    """
    from engines.media.video_facts import read_video_facts

    found = read_video_facts(path)
    height, width = found.shown
    words = (
        clock(found.seconds),
        f"{width} x {height}",
        f"{float(found.rate):.4g} frames a second" if found.rate else "",
        f"{found.bits}-bit" if found.bits > 8 else "",
        "with sound" if found.has_sound else "",
    )
    return tuple(word for word in words if word)


def clock(seconds: float) -> str:
    """A length as players show it: 0:06, 58:12, 1:02:03; "" if it is not known."""
    if not math.isfinite(seconds) or seconds <= 0:
        return ""
    whole = max(1, round(seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
