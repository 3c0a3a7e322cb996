"""What a person is told of a separation beside the files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engines.base import Measurement
from engines.separation.activity import Found
from engines.separation.asked import Asked, in_words, quoted
from engines.separation.params import ClipSepParams
from engines.separation.query import KNOWN_FROM
from engines.sound.part import Part
from engines.sound.survey import Survey

_NEAREST = 5  # words that are named then
_MANY_CLIPPED = 0.001


@dataclass(frozen=True)
class Near:
    """The trained words nearest to a query, each with its cosine, the nearest first."""

    words: Sequence[tuple[str, float]] = ()

    @property
    def cosine(self) -> float | None:
        """Of the nearest; None where the trained words are not known."""
        return self.words[0][1] if self.words else None

    @property
    def unknown(self) -> bool:
        """The network learned nothing like it."""
        return self.cosine is not None and self.cosine < KNOWN_FROM


def notes_of(
    asked: Asked,
    sounds: Sequence[str],
    found: Sequence[Found],
    near: Sequence[Near],
    survey: Survey,
    part: Part,
    params: ClipSepParams,
) -> list[str]:
    """Sentences: what was not found or is not known first, then how the request was taken."""
    notes: list[str] = []
    if survey.silent:
        return ["There is nothing louder than -80 dBFS in this recording; it was left as it is"]
    lost = [sound for sound, one in zip(sounds, found, strict=True) if not one.there]
    known = [
        sound for sound, one in zip(sounds, near, strict=True) if sound in lost and not one.unknown
    ]
    if known:
        notes.append(
            f"Nothing like {in_words(known)} was found; what little is in the track is chance"
        )
    for sound, one in zip(sounds, near, strict=True):
        if one.unknown:
            words = ", ".join(word for word, _ in one.words[:_NEAREST])
            also = ", and nothing like it was found" if sound in lost else ""
            notes.append(
                f"This network did not learn {quoted(sound)}{also}; the nearest that it knows are "
                f"{words}"
            )
    notes += asked.notes
    if part.facts.has_video and not part.whole:
        notes.append("Only a part was asked for, so the sound comes without the picture")
    if survey.clipped > _MANY_CLIPPED:
        notes.append(
            f"{100 * survey.clipped:.1f} % of the recording is clipped; that distortion stays"
        )
    if part.facts.rate > 1.05 * 16_000:
        notes.append("Above 8 kHz each sound takes its share of 6.5 to 8 kHz")
    if params.strength < 1.0 and params.mode == asked.mode == "keep":
        notes.append("Below full strength the tracks also hold a part of what belongs to none")
    return notes


def measured(
    shown: Sequence[str], found: Sequence[Found], near: Sequence[Near]
) -> dict[str, Measurement]:
    """Numbers of each sound, named after it: `found_piano`, `presence_piano`, ..."""
    numbers: dict[str, Measurement] = {}
    for label, one, words in zip(shown, found, near, strict=True):
        numbers[f"found_{label}"] = Measurement(float(one.there))
        numbers[f"presence_{label}"] = Measurement(100.0 * one.presence, "%")
        numbers[f"share_{label}"] = Measurement(100.0 * one.share, "%")
        numbers[f"heard_{label}"] = Measurement(one.seconds, "s")
        if words.cosine is not None:
            numbers[f"likeness_{label}"] = Measurement(words.cosine)
    return numbers
