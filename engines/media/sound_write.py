"""Writing sound in blocks: under a temporary name, with its tags and how it was made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self

import av
import numpy as np
import soundfile
from av.audio.frame import AudioFrame
from numpy.typing import NDArray

from engines.media.provenance import to_comment, without_ours
from engines.media.sound_chunks import Chunk, append_chunks, chunks_for_copy, info_chunk
from engines.media.sound_facts import TAG_NAMES, XIPH_ORDER, SoundFacts
from engines.media.sound_format import SoundFormat
from engines.media.sound_id3 import id3_tag
from engines.media.sound_quantise import Quantiser

RIFF_LIMIT = 0xFFFFFFFF - (16 << 20)  # bytes of samples from which on a WAV is written as RF64
_VORBIS_LEVEL = 0.4  # about quality 6, 190 kb/s in stereo
_MP3_LEVEL = 0.2  # LAME's V2, about 190 kb/s in stereo
_OPUS_RANGE = (6_000, 256_000)  # bits a second and channel at levels 1 and 0
_TEXT_CONTAINERS = ("FLAC", "OGG", "AIFF", "CAF")  # libsndfile writes texts into these


class SoundWriter:
    """A sound file that gets its final name only when it is whole; a context manager.

    Leaving the context by an exception removes what was written. Values beyond full scale are
    limited where the format has integers, and counted: look at `over` and `peak`.

    Args:
        path: the final name, inside the job's workspace; its suffix is `form.suffix`.
        form: see `engines.media.sound_format.output_format`.
        rate: samples a second.
        channels: of the blocks.
        samples: per channel, of the whole sound; from 4 GB on a WAV becomes RF64.
        like: the input, whose tags and chunks are kept.
        tags: take the place of the input's; an empty text removes one.
        provenance: engine, version, model, settings; never a path, a host's or a user's name.
        start: sample of the input at which this sound begins; the input's cue points are kept only
            if it has all of it.

    Attributes:
        peak: largest magnitude so far, 1 being full scale.
        over: samples beyond full scale so far, all channels counted.
        written: samples per channel so far.

    Raises:
        OSError: the disk is full or the folder cannot be written, here and in every method.
    """

    def __init__(
        self,
        path: Path,
        form: SoundFormat,
        rate: int,
        channels: int,
        samples: int,
        *,
        like: SoundFacts | None = None,
        tags: Mapping[str, str] | None = None,
        provenance: Mapping[str, Any] | None = None,
        start: int = 0,
    ) -> None:
        self.path = path
        self.form = form
        self.peak = 0.0
        self.over = 0
        self.written = 0
        self._channels = channels
        self._samples = samples
        self._partial = path.with_name(path.name + ".partial")
        self._done = False
        texts = _texts(like, tags, provenance)
        chunks: list[Chunk] = []
        if form.container == "WAV" and like is not None:
            whole = start == 0 and samples == like.samples and rate == like.rate
            history = f"A=PCM,F={rate},W={form.bits or 32},M={_mode(channels)},T=Noise Studio"
            chunks = chunks_for_copy(like.chunks, history, start=start, whole=whole)
        mask = like.channel_mask if like is not None and like.channels == channels else 0
        self._tail = (chunks, texts, mask)
        self._file: BinaryIO = self._partial.open("w+b", buffering=1 << 18)
        try:
            self._sink: _Sink = (
                _Aac(self._file, form, rate, channels, texts)
                if form.container == "M4A"
                else _Libsndfile(self._file, form, rate, channels, samples, texts)
            )
        except BaseException:
            self._file.close()
            self._partial.unlink(missing_ok=True)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    @property
    def clipped(self) -> int:
        """Samples that were, or on playing will be, limited to full scale."""
        return 0 if self.form.floating else self.over

    def write(self, block: NDArray[np.float32]) -> None:
        """Append (channels, n) float32 samples, full scale at 1, finite."""
        if not block.shape[1]:
            return
        loud = np.abs(block)
        self.peak = max(self.peak, float(loud.max()))
        self.over += int(np.count_nonzero(loud > 1.0))
        self.written += block.shape[1]
        self._sink.write(np.ascontiguousarray(block.T, dtype=np.float32))

    def close(self) -> None:
        """Finish the file, bring it to the disk and give it its name.

        Raises:
            ValueError: another number of samples was written than was announced.
        """
        if self._done:
            return
        if self.written != self._samples:
            self.abort()
            raise ValueError(f"{self.written} samples written, {self._samples} announced")
        try:
            self._sink.close()
            self._file.close()
            if self.form.container == "WAV":
                chunks, texts, mask = self._tail
                info = [info_chunk(texts)] if texts else []
                append_chunks(self._partial, [*chunks, *info], mask)
            with self._partial.open("r+b") as file:
                os.fsync(file.fileno())
            os.replace(self._partial, self.path)
        except BaseException:
            self.abort()
            raise
        self._done = True

    def abort(self) -> None:
        """Remove what was written; nothing is left under the final name."""
        if self._done:
            return
        self._done = True
        with suppress(Exception):  # a file that is thrown away need not be finished well
            self._sink.close()
        with suppress(OSError):
            self._file.close()
        self._partial.unlink(missing_ok=True)


class _Sink(Protocol):
    def write(self, block: NDArray[np.float32]) -> None: ...

    def close(self) -> None: ...


class _Libsndfile:
    """What libsndfile writes, through a Python file, which tells why a disk takes no more."""

    def __init__(
        self,
        file: BinaryIO,
        form: SoundFormat,
        rate: int,
        channels: int,
        samples: int,
        texts: Mapping[str, str],
    ) -> None:
        self._quantise = Quantiser(form.bits) if form.bits else None
        order = XIPH_ORDER.get(channels) if form.container == "OGG" else None
        self._order = np.argsort(order) if order is not None else None
        file.write(id3_tag(texts) if form.container == "MP3" else b"")
        self._io = _Shifted(file)
        container = form.container
        size = samples * channels * ((form.bits or 64) // 8)
        if container == "WAV":
            container = "RF64" if size > RIFF_LIMIT else "WAVEX" if channels > 2 else "WAV"
            if form.subtype in ("ULAW", "ALAW") and container == "WAVEX":
                container = "WAV"
        self._sound = soundfile.SoundFile(
            self._io,  # pyright: ignore[reportArgumentType] - it has what is used of a file
            "w",
            samplerate=rate,
            channels=channels,
            subtype=form.subtype,
            format=container,
            **_effort(form, channels),
        )
        if form.container in _TEXT_CONTAINERS:
            for name in TAG_NAMES:
                if texts.get(name):
                    with suppress(soundfile.SoundFileError):  # AIFF has not all of them
                        setattr(self._sound, name, texts[name])

    def write(self, block: NDArray[np.float32]) -> None:
        ordered = block if self._order is None else block[:, self._order]
        data = self._quantise(ordered) if self._quantise is not None else ordered
        try:
            self._sound.write(data)
        except (soundfile.SoundFileError, AssertionError) as error:
            raise self._io.error or OSError(f"the sound cannot be written: {error}") from error
        if self._io.error is not None:
            raise self._io.error

    def close(self) -> None:
        self._sound.close()
        if self._io.error is not None:
            raise self._io.error


class _Shifted:
    """A file that begins where it stands now, for libsndfile; keeps the error that stopped it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._base = file.tell()
        self.error: OSError | None = None

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._file.seek(offset + (0 if whence else self._base), whence) - self._base
        except OSError as error:
            self.error = self.error or error
            return 0

    def tell(self) -> int:
        return self._file.tell() - self._base

    def read(self, count: int = -1) -> bytes:
        return self._file.read(count)

    def readinto(self, buffer: Any) -> int:
        read = self._file.read(len(buffer))
        buffer[: len(read)] = read
        return len(read)

    def write(self, data: bytes) -> int:
        if self.error is None:
            try:
                return self._file.write(data)
            except OSError as error:
                self.error = error
        return 0


class _Aac:
    """AAC in an MP4 container, which libsndfile does not write, through PyAV."""

    def __init__(
        self, file: BinaryIO, form: SoundFormat, rate: int, channels: int, texts: Mapping[str, str]
    ) -> None:
        # The edit list, which tells where the sound ends, counts in samples then.
        options = {"movie_timescale": str(rate)}
        self._container = av.open(file, "w", format="ipod", container_options=options)
        for name, text in texts.items():
            self._container.metadata[{"tracknumber": "track"}.get(name, name)] = text
        self._layout = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1"}[channels]
        self._stream = self._container.add_stream("aac", rate=rate, layout=self._layout)
        self._stream.bit_rate = form.bit_rate
        self._rate = rate
        self._given = 0

    def write(self, block: NDArray[np.float32]) -> None:
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(block.T), "fltp", self._layout)
        frame.sample_rate = self._rate
        frame.pts = self._given
        frame.time_base = Fraction(1, self._rate)
        self._given += len(block)
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()


def _effort(form: SoundFormat, channels: int) -> dict[str, Any]:
    """Settings that give `form.bit_rate`, as libsndfile 1.2 maps levels of 0 to 1 to it."""
    if form.subtype == "VORBIS":
        return {"compression_level": _VORBIS_LEVEL}
    if form.subtype == "OPUS":
        low, high = _OPUS_RANGE
        level = (high - form.bit_rate / channels) / (high - low)
        return {"compression_level": min(max(level, 0.0), 1.0)}
    if form.subtype == "MPEG_LAYER_III":
        # LAME makes most constant and average bit rates 3 to 5 % quieter, but no variable one.
        return {"compression_level": _MP3_LEVEL, "bitrate_mode": "VARIABLE"}
    return {}


def _texts(
    like: SoundFacts | None, tags: Mapping[str, str] | None, provenance: Mapping[str, Any] | None
) -> dict[str, str]:
    texts = {**(like.tags if like is not None else {}), **(tags or {})}
    texts = {name: texts[name] for name in TAG_NAMES if texts.get(name)}
    comment = without_ours(texts.pop("comment", ""))
    if provenance is not None:
        texts["software"] = "Noise Studio"
        comment = f"{comment}\n{to_comment(provenance)}".strip()
    return texts | ({"comment": comment} if comment else {})


def _mode(channels: int) -> str:
    return {1: "mono", 2: "stereo"}.get(channels, "multi")
