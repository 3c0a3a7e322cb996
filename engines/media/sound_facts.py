"""What is known of a sound file before it is decoded, and the file names that sound comes under."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SOUND_SUFFIXES: tuple[str, ...] = tuple(
    ".wav .wave .bwf .rf64 .w64 .flac .mp3 .mp2 .ogg .oga .opus .spx .m4a .m4b .aac .aif .aiff "
    ".aifc .caf .au .snd .voc .wma .weba .mka .amr .awb .3ga .g722 .gsm .ac3 .eac3 .dts .ape .wv "
    ".tta .tak .mpc .dsf .sph .nist".split()
)
VIDEO_SUFFIXES: tuple[str, ...] = tuple(
    ".mp4 .m4v .mov .mkv .webm .avi .wmv .mpg .mpeg .ts .mts .m2ts .3gp .3g2 .flv .ogv .mxf "
    ".vob".split()
)
TAG_NAMES: tuple[str, ...] = tuple(
    "title artist album date genre tracknumber comment copyright license software".split()
)

# Ogg Vorbis and Opus have their own order of channels (Vorbis I, 4.3.9), which libsndfile leaves:
# number of channels -> for every channel in WAV's order, its place in theirs.
XIPH_ORDER: Mapping[int, tuple[int, ...]] = {
    3: (0, 2, 1),
    5: (0, 2, 1, 3, 4),
    6: (0, 2, 1, 5, 3, 4),
    7: (0, 2, 1, 6, 5, 3, 4),
    8: (0, 2, 1, 7, 5, 6, 3, 4),
}

_LOSSY_SUBTYPES = frozenset(
    "VORBIS OPUS MPEG_LAYER_I MPEG_LAYER_II MPEG_LAYER_III ULAW ALAW IMA_ADPCM MS_ADPCM VOX_ADPCM "
    "GSM610 G721_32 G723_24 G723_40 NMS_ADPCM_16 NMS_ADPCM_24 NMS_ADPCM_32".split()
)
_LOSSLESS_CODECS = frozenset(
    "flac alac ape wavpack tta tak truehd mlp shorten wmalossless mp4als ralf".split()
)
_BITS = {
    "PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": 32, "DOUBLE": 64,
    "ALAC_16": 16, "ALAC_20": 20, "ALAC_24": 24, "ALAC_32": 32,
    "DWVW_12": 12, "DWVW_16": 16, "DWVW_24": 24, "DPCM_8": 8, "DPCM_16": 16,
}  # fmt: skip


@dataclass(frozen=True)
class SoundFacts:
    """A sound file as its header describes it.

    Attributes:
        name: the file's name without its folder.
        rate: samples per second and channel.
        channels: how many, at least 1.
        samples: per channel, as the header has it or as estimated from the duration; 0 where it
            tells nothing. A header may lie: what a `SoundReader` has decoded is what counts.
        reader: "libsndfile", or "ffmpeg" for what that does not read.
        container: libsndfile's major format ("WAV", "FLAC", "OGG", "MP3") or ffmpeg's ("mov").
        subtype: libsndfile's ("PCM_16", "VORBIS"), or "" where ffmpeg reads.
        codec: ffmpeg's name ("aac", "pcm_s16le"), or the subtype in lower case.
        bits: of a stored sample; 0 for lossy codecs.
        floating: the stored samples are floating-point numbers.
        lossy: the codec throws something away.
        bit_rate: of the sound in bits a second; 0 where it is unknown.
        layout: "mono", "stereo", "5.1", ..., or "6 channels" where no order is known.
        tags: title, artist, album, date, genre, tracknumber, comment, copyright, software, ...
        chunks: of a WAV, what else it carries and a copy should: ids and contents (bext, iXML,
            cue points, ...).
        channel_mask: of a WAV that has one (WAVEFORMATEXTENSIBLE), else 0.
        has_video: there is a moving picture beside the sound (a cover is none).
        start: seconds from the beginning of the file's time line to the first sample.
        notes: sentences for the person about what is odd in the file.
    """

    name: str
    rate: int
    channels: int
    samples: int
    reader: str
    container: str
    subtype: str = ""
    codec: str = ""
    bits: int = 0
    floating: bool = False
    lossy: bool = False
    bit_rate: int = 0
    layout: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    channel_mask: int = 0
    has_video: bool = False
    start: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """`samples` as a time."""
        return self.samples / self.rate

    def describe(self) -> str:
        """One line for a person, such as "48 kHz, stereo, 24-bit, WAV"."""
        rate = f"{self.rate / 1000:g} kHz"
        depth = f"{self.bits}-bit{' float' if self.floating else ''}" if self.bits else self.codec
        form = self.container.partition(",")[0]
        return ", ".join(part for part in (rate, self.layout, depth, form) if part)


def subtype_bits(subtype: str) -> tuple[int, bool, bool]:
    """Bits of a sample, whether it is floating-point, whether the codec is lossy."""
    return _BITS.get(subtype, 0), subtype in ("FLOAT", "DOUBLE"), subtype in _LOSSY_SUBTYPES


def codec_is_lossy(codec: str) -> bool:
    """Whether ffmpeg's codec of that name throws something away."""
    return not (codec.startswith(("pcm_", "dsd_")) or codec in _LOSSLESS_CODECS)


def layout_name(channels: int, mask: int = 0) -> str:
    """What a number of channels is usually called; a mask that says otherwise leaves the number."""
    usual = {1: ("mono", 0x4), 2: ("stereo", 0x3), 6: ("5.1", 0x3F), 8: ("7.1", 0x63F)}
    side = {6: 0x60F, 8: 0xFF}
    name, expected = usual.get(channels, ("", 0))
    if not name or (mask and mask not in (expected, side.get(channels))):
        return f"{channels} channels"
    return name
