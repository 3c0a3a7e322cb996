"""Putting another sound beside a picture: everything else of the file is copied as it is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from errno import EDQUOT, EFBIG, ENOSPC
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream
from numpy.typing import NDArray

from engines.base import UserError
from engines.media.decoded import whole
from engines.media.provenance import to_comment, without_ours
from engines.media.sound_facts import SoundFacts
from engines.media.sound_ffmpeg import FfmpegSource, open_media
from engines.media.sound_quantise import Quantiser
from engines.media.sound_read import SoundReader, open_sound
from engines.media.sound_resample import Resampler

_MUXERS = {
    ".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".3gp": "3gp", ".mkv": "matroska",
    ".webm": "webm", ".avi": "avi", ".ts": "mpegts", ".mts": "mpegts", ".m2ts": "mpegts",
}  # fmt: skip
# What each container takes, ffmpeg's codec -> its encoder; the first is used for all others.
_LOSSY = {"aac": "aac", "mp3": "libmp3lame", "opus": "libopus", "ac3": "ac3"}
_LOSSLESS = {"flac": "flac", "alac": "alac"}
_PCM = {"pcm_s16le": "pcm_s16le", "pcm_s24le": "pcm_s24le", "pcm_f32le": "pcm_f32le"}
_ENCODERS: Mapping[str, Mapping[str, str]] = {
    "mp4": {**_LOSSY, **_LOSSLESS},
    "mov": {"aac": "aac", "mp3": "libmp3lame", "alac": "alac", **_PCM},
    "3gp": {"aac": "aac"},
    "matroska": {**_LOSSY, "flac": "flac", **_PCM},
    "webm": {"opus": "libopus"},
    "avi": {"mp3": "libmp3lame", "ac3": "ac3", "pcm_s16le": "pcm_s16le"},
    "mpegts": {"aac": "aac", "mp3": "libmp3lame", "ac3": "ac3"},
}
_RATES = {
    "libopus": (48_000,),
    "libmp3lame": (32_000, 44_100, 48_000),
    "ac3": (32_000, 44_100, 48_000),
    "aac": (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000),
}
_CHANNELS = {"libmp3lame": 2, "ac3": 6, "aac": 8, "libopus": 8, "flac": 8, "alac": 8}
_LAYOUTS = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1", "7.1")
_BLOCK = 1 << 15  # samples
_AVI_DELAY = 1105  # samples by which LAME and a decoder are late; AVI cannot say so
_AHEAD = 0.5  # seconds that the sound is written ahead of the picture


def video_suffix(video: Path) -> str:
    """The suffix of what `replace_sound` makes of it: the same, or ".mkv" for rarer containers."""
    suffix = video.suffix.lower()
    return suffix if suffix in _MUXERS else ".mkv"


def replace_sound(
    video: Path,
    sound: Path,
    out: Path,
    *,
    provenance: Mapping[str, Any] | None = None,
    check: Callable[[], None] = lambda: None,
    progress: Callable[[float], None] = lambda done: None,
) -> tuple[str, ...]:
    """Write `video` again with `sound` in the place of its best sound track.

    Picture, subtitles, other sound tracks, chapters and tags are copied without decoding. The
    sound is encoded as the old one was, if the container and PyAV's encoders allow it, and begins
    when the old one began.

    Args:
        video: never modified.
        sound: any sound file; as long as the old sound.
        out: the file to write, inside the job's workspace; its suffix is `video_suffix(video)`.
        provenance: goes into the comment; see `engines.media.provenance`.
        check: called every few packets; may raise `Cancelled`, and nothing is left then.
        progress: told the share that is done, 0 to 1.

    Returns:
        Sentences for the person: what is not as in `video`.

    Raises:
        UserError: the picture or another track cannot be put into such a container.
        OSError: the disk is full.
    """
    partial = out.with_name(out.name + ".partial")
    source = FfmpegSource(video)
    facts = source.facts
    index = source.index
    source.close()
    try:
        with (
            open_sound(sound) as reader,
            open_media(video) as original,
            partial.open("w+b", buffering=1 << 18) as file,
        ):
            muxer = _MUXERS[video_suffix(video)]
            # Edit lists, which say when the sound begins and ends, count in samples then.
            timescale = {"movie_timescale": str(reader.facts.rate)}
            options = timescale if muxer in ("mp4", "mov", "3gp") else {}
            with av.open(file, "w", format=muxer, container_options=options) as made:
                job = _Remux(original, made, reader, facts, index, muxer)
                job.tell(provenance)
                job.run(check, progress)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, out)
    except (FFmpegError, ValueError) as error:
        full = full_disk(error)
        if full is not None:
            raise full from error
        raise UserError(
            f"The new sound could not be put beside the picture of {video.name}; use the sound "
            "file instead"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return tuple(job.notes)


def full_disk(error: BaseException | None) -> OSError | None:
    """What the system said, where that lies behind what PyAV says."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (ENOSPC, EDQUOT, EFBIG):
            return error
        error = error.__cause__ or error.__context__
    return None


class _Remux:
    """One video being written again."""

    def __init__(
        self,
        original: InputContainer,
        made: OutputContainer,
        reader: SoundReader,
        old: SoundFacts,
        index: int,
        muxer: str,
    ) -> None:
        self.notes: list[str] = []
        self._original, self._made = original, made
        self._copies: dict[int, Stream] = {}
        self._track: _Track | None = None
        self._seconds = max((original.duration or 0) * 1e-6, 1e-6)
        for stream in original.streams:
            if stream.index == index:
                self._track = _Track(made, stream, reader, old, muxer, self.notes)
            elif stream.type in ("video", "audio", "subtitle"):
                copy = made.add_stream_from_template(stream)
                _describe(stream, copy)
                self._copies[stream.index] = copy
            else:
                kind = "data" if stream.type in (None, "data") else stream.type
                self._note(f"A track of {kind} is left out of the new video")
        with suppress(AttributeError, ValueError):
            made.set_chapters(original.chapters())

    def tell(self, provenance: Mapping[str, Any] | None) -> None:
        """Copy the tags, and add how it was made."""
        for name, text in self._original.metadata.items():
            if name not in ("major_brand", "minor_version", "compatible_brands", "encoder"):
                self._made.metadata[name] = text
        if provenance is not None:
            comment = without_ours(self._original.metadata.get("comment", ""))
            self._made.metadata["comment"] = f"{comment}\n{to_comment(provenance)}".strip()

    def run(self, check: Callable[[], None], progress: Callable[[float], None]) -> None:
        """Copy and encode side by side, so that neither has to wait in memory."""
        assert self._track is not None
        packets = self._original.demux(
            [stream for stream in self._original.streams if stream.index in self._copies]
        )
        for number, packet in enumerate(self._whole(packets)):
            if number % 32 == 0:
                check()
            time = packet.dts if packet.dts is not None else packet.pts
            if time is not None and packet.time_base is not None:
                seconds = float(time * packet.time_base)
                while self._track.time < seconds + _AHEAD and self._track.go_on():
                    check()
                progress(min(max(seconds / self._seconds, 0.0), 1.0))
            packet.stream = self._copies[packet.stream.index]
            self._made.mux(packet)
        while self._track.go_on():
            check()
        progress(1.0)

    def _whole(self, packets: Iterator[Packet]) -> Iterator[Packet]:
        """The packets that hold something, all with a time; see `whole`."""
        text = "The video ends early or is damaged; it was copied up to there"
        for packet in whole(packets, lambda: self._note(text)):
            if packet.dts is None and packet.pts is None:
                packet.pts = packet.dts = 0  # a cover has no time
            yield packet

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


class _Track:
    """The new sound track: read, brought to the encoder's format, encoded and muxed."""

    def __init__(
        self,
        made: OutputContainer,
        old_stream: Stream,
        reader: SoundReader,
        old: SoundFacts,
        muxer: str,
        notes: list[str],
    ) -> None:
        rate, channels = reader.facts.rate, reader.facts.channels
        codec = "mp3" if old.codec.startswith("mp3") else old.codec
        encoder = _encoder(muxer, codec, old, channels)
        rates = _RATES.get(encoder, (rate,))
        self._rate = rate if rate in rates else rates[-1]
        self._layout = _LAYOUTS[channels - 1]
        stream = made.add_stream(encoder, rate=self._rate, layout=self._layout)
        assert isinstance(stream, AudioStream)
        if old.lossy and encoder in _LOSSY.values():
            stream.bit_rate = min(max(old.bit_rate, 96_000 * channels), 160_000 * channels)
        else:
            stream.bit_rate = 128_000 * channels
        _describe(old_stream, stream)
        if _ENCODERS[muxer].get(codec) != encoder:
            notes.append(
                f"The sound of the video was {codec.replace('_', ' ')}; the new one is "
                f"{encoder.removeprefix('lib')}"
            )
        self._made, self._stream, self._reader = made, stream, reader
        self._resampler = Resampler(rate, self._rate, channels)
        self._form = stream.codec_context.format.name
        bits = {"s16": 16, "s32": 24}.get(self._form.removesuffix("p"))
        self._quantise = Quantiser(bits) if bits else None
        self._start = round(old.start * self._rate)
        if muxer == "avi" and encoder == "libmp3lame":  # else it would move the picture
            self._start += _AVI_DELAY
            reader.read(round(_AVI_DELAY * rate / self._rate))
        self._given = 0
        self._ended = False

    @property
    def time(self) -> float:
        """Seconds on the video's time line up to which the sound is written."""
        return (self._start + self._given) / self._rate

    def go_on(self) -> bool:
        """Write the next block; False once the end has been written."""
        if self._ended:
            return False
        block = self._reader.read(_BLOCK)
        self._ended = block.shape[1] < _BLOCK
        wave = self._resampler.process(block, last=self._ended)
        if wave.shape[1]:
            self._made.mux(self._stream.encode(self._frame(wave)))
        if self._ended:
            self._made.mux(self._stream.encode(None))
        return True

    def _frame(self, wave: NDArray[np.float32]) -> AudioFrame:
        columns = np.ascontiguousarray(wave.T)
        data: NDArray[Any] = columns if self._quantise is None else self._quantise(columns)
        planar = self._form.endswith("p")
        shaped = data.T if planar else data.reshape(1, -1)
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(shaped), self._form, self._layout)
        frame.sample_rate = self._rate
        frame.pts = self._start + self._given
        frame.time_base = Fraction(1, self._rate)
        self._given += wave.shape[1]
        return frame


def _encoder(muxer: str, codec: str, old: SoundFacts, channels: int) -> str:
    """As the old sound was stored, or else what the container takes and holds the channels."""
    takes = _ENCODERS[muxer]
    wanted = [takes[codec]] if codec in takes else []
    if not old.lossy:
        wanted += [takes[name] for name in ("pcm_s24le", "flac", "alac") if name in takes]
    wanted += takes.values()
    fitting = [name for name in wanted if channels <= _CHANNELS.get(name, len(_LAYOUTS))]
    if not fitting:
        raise UserError(
            f"No sound of {channels} channels can be put into such a video; choose another "
            "container, such as MKV"
        )
    return fitting[0]


def _describe(old: Stream, new: Stream) -> None:
    """Language, title and role of a track."""
    for name, text in old.metadata.items():
        if name in ("language", "title", "handler_name", "rotate"):
            new.metadata[name] = text
    with suppress(AttributeError, TypeError):
        new.disposition = old.disposition  # pyright: ignore[reportAttributeAccessIssue]
