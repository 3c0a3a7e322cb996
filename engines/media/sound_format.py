"""Which container, subtype and bit rate a processed sound is written with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from engines.media.sound_facts import SoundFacts, subtype_bits

Form = Literal["same", "wav", "flac", "mp3", "ogg", "opus", "m4a"]
Depth = Literal["same", "16", "24", "float"]

_SUFFIXES = {
    "WAV": ".wav", "W64": ".w64", "AIFF": ".aiff", "CAF": ".caf", "AU": ".au", "FLAC": ".flac",
    "MP3": ".mp3", "M4A": ".m4a",
}  # fmt: skip
_PLAIN = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")
_KEPT = {
    "WAV": _PLAIN,
    "W64": _PLAIN,
    "AIFF": _PLAIN,
    "CAF": (*_PLAIN, "ALAC_16", "ALAC_20", "ALAC_24", "ALAC_32"),
    "AU": _PLAIN,
    "FLAC": ("PCM_S8", "PCM_16", "PCM_24"),
    "OGG": ("VORBIS", "OPUS"),
    "MP3": ("MPEG_LAYER_III",),
}
_DEPTHS = {"16": "PCM_16", "24": "PCM_24", "float": "FLOAT"}
_LIMIT = 0xFFFFFFFF - (16 << 20)  # bytes of samples where sizes have 32 bits
_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_AAC_RATES = (*_MP3_RATES, 64000, 88200, 96000)


@dataclass(frozen=True)
class SoundFormat:
    """How a sound is stored.

    Attributes:
        container: libsndfile's major format, or "M4A".
        subtype: libsndfile's ("PCM_24", "OPUS"), or "AAC".
        bit_rate: in bits a second, for Opus and AAC; 0 elsewhere (Vorbis and MP3: variable).
    """

    container: str
    subtype: str
    bit_rate: int = 0

    @property
    def suffix(self) -> str:
        """Of a file's name, with its dot."""
        if self.container == "OGG":
            return ".opus" if self.subtype == "OPUS" else ".ogg"
        return _SUFFIXES[self.container]

    @property
    def bits(self) -> int:
        """Of an integer sample; 0 for floating point and lossy codecs."""
        bits, floating, _ = subtype_bits(self.subtype)
        return 0 if floating else bits

    @property
    def floating(self) -> bool:
        """Values beyond full scale survive."""
        return subtype_bits(self.subtype)[1]


def output_format(
    facts: SoundFacts, form: Form = "same", depth: Depth = "same"
) -> tuple[SoundFormat, tuple[str, ...]]:
    """The format to write a processed `facts` with.

    Args:
        facts: of the input; rate, channels and length are what the output will have.
        form: "same" is the input's container and codec where they can be written.
        depth: of what is not lossy; "same" is the input's (24 bit after a lossy codec).

    Returns:
        The format, and a sentence for everything that is not as it was asked for or as the input
        has it.
    """
    notes: list[str] = []
    chosen = _same(facts, notes) if form == "same" else _named(facts, form)
    if depth != "same" and not _is_lossy(chosen):
        chosen = _with_depth(chosen, depth, notes)
    refusal = _refusal(chosen, facts)
    if refusal:
        better = _instead(chosen, facts)
        notes.append(f"{refusal}; the result is {_called(better)}")
        chosen = better
    return replace(chosen, bit_rate=_bit_rate(chosen, facts)), tuple(notes)


def _same(facts: SoundFacts, notes: list[str]) -> SoundFormat:
    container = {"WAVEX": "WAV", "RF64": "WAV"}.get(facts.container, facts.container)
    if facts.subtype in _KEPT.get(container, ()):
        return SoundFormat(container, facts.subtype)
    if facts.reader == "ffmpeg":
        codec = facts.codec
        if codec.startswith("aac"):
            return SoundFormat("M4A", "AAC")
        if codec in ("opus", "vorbis"):
            return SoundFormat("OGG", codec.upper())
        if codec.startswith("mp3"):
            return SoundFormat("MP3", "MPEG_LAYER_III")
        if codec == "flac":
            return SoundFormat("FLAC", _integer(facts, most=24))
        if codec.startswith("pcm_"):
            return SoundFormat("WAV", _exact(facts))
    chosen = SoundFormat("M4A", "AAC") if facts.lossy else SoundFormat("FLAC", _integer(facts, 24))
    if facts.reader == "libsndfile" and not facts.lossy:
        chosen = SoundFormat("WAV", _exact(facts))
    elif facts.container in ("WAV", "WAVEX", "W64", "AIFF", "CAF", "AU"):  # telephone codecs
        chosen = SoundFormat("WAV", "PCM_16")
    what = (facts.subtype or facts.codec).replace("_", " ")
    notes.append(
        f"{facts.container.partition(',')[0]} with {what} is read but not written; the result is "
        f"{_called(chosen)}"
    )
    return chosen


def _named(facts: SoundFacts, form: Form) -> SoundFormat:
    if form == "wav":
        return SoundFormat("WAV", _exact(facts))
    if form == "flac":
        return SoundFormat("FLAC", _integer(facts, most=24))
    subtypes = {"mp3": ("MP3", "MPEG_LAYER_III"), "ogg": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS")}
    return SoundFormat(*subtypes.get(form, ("M4A", "AAC")))


def _exact(facts: SoundFacts) -> str:
    """The PCM subtype that holds the input's samples."""
    if facts.floating:
        return "DOUBLE" if facts.bits == 64 else "FLOAT"
    return _integer(facts, most=32)


def _integer(facts: SoundFacts, most: int) -> str:
    bits = facts.bits if facts.bits and not facts.floating else 24
    return f"PCM_{min(max((bits + 7) // 8 * 8, 16), most)}"


def _with_depth(chosen: SoundFormat, depth: Depth, notes: list[str]) -> SoundFormat:
    if depth == "float" and chosen.container == "FLAC":
        notes.append("FLAC holds no floating-point numbers; the result has 24 bits")
        return replace(chosen, subtype="PCM_24")
    return replace(chosen, subtype=_DEPTHS[depth])


def _is_lossy(chosen: SoundFormat) -> bool:
    return chosen.container in ("MP3", "OGG", "M4A")


def _refusal(chosen: SoundFormat, facts: SoundFacts) -> str:
    """Why that format cannot hold such a sound; "" where it can."""
    rate, channels = facts.rate, facts.channels
    what = f"{rate / 1000:g} kHz with {channels} channel{'s' if channels > 1 else ''}"
    can: dict[str, Callable[[], bool]] = {
        "MPEG_LAYER_III": lambda: rate in _MP3_RATES and channels <= 2,
        "OPUS": lambda: rate in _OPUS_RATES and channels <= 8,
        "VORBIS": lambda: 8000 <= rate <= 192_000 and channels <= 8,
        "AAC": lambda: rate in _AAC_RATES and channels in (1, 2, 3, 4, 5, 6),
    }
    names = {"MPEG_LAYER_III": "MP3", "OPUS": "Opus", "VORBIS": "Ogg Vorbis", "AAC": "AAC"}
    if chosen.subtype in can and not can[chosen.subtype]():
        return f"{names[chosen.subtype]} does not take {what}"
    if chosen.container == "FLAC" and (channels > 8 or rate > 655_350):
        return f"FLAC does not take {what}"
    size = facts.samples * channels * max(subtype_bits(chosen.subtype)[0], 8) // 8
    if chosen.container in ("AIFF", "AU") and size > _LIMIT:
        return f"{chosen.container} ends at 4 GB"
    return ""


def _instead(chosen: SoundFormat, facts: SoundFacts) -> SoundFormat:
    if chosen.container in ("AIFF", "AU"):
        return SoundFormat("WAV", chosen.subtype)
    candidates = [SoundFormat("FLAC", _integer(facts, most=24)), SoundFormat("WAV", _exact(facts))]
    if chosen.subtype == "OPUS":
        candidates.insert(0, SoundFormat("OGG", "VORBIS"))
    return next(one for one in candidates if not _refusal(one, facts))


def _bit_rate(chosen: SoundFormat, facts: SoundFacts) -> int:
    """As many bits as a lossy input has, and never so few that a second coding is heard."""
    asked = facts.bit_rate if facts.lossy else 0
    least, most = {"OPUS": (64_000, 160_000), "AAC": (96_000, 160_000)}.get(chosen.subtype, (0, 0))
    return min(max(asked, least * facts.channels), most * facts.channels)


def _called(chosen: SoundFormat) -> str:
    if _is_lossy(chosen):
        return {"MP3": "an MP3", "M4A": "AAC in an M4A file"}.get(
            chosen.container, "Ogg Opus" if chosen.subtype == "OPUS" else "Ogg Vorbis"
        )
    if chosen.floating:
        return f"a {chosen.container} in floating point"
    return f"a {chosen.container} of {chosen.bits} bits"
