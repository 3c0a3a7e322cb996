"""Reading sound in blocks, whatever the container, with memory for one block alone.

libsndfile reads what it can (WAV, FLAC, Ogg Vorbis and Opus, MP3, AIFF, CAF, ...): it is
sample-exact, encoder delay included. Everything else goes through ffmpeg's libraries
(`engines.media.sound_ffmpeg`). A file that ends early gives what is there, and a note.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import soundfile
from av.error import FFmpegError
from numpy.typing import NDArray

from engines.base import UserError
from engines.media.opening import beginning
from engines.media.sound_chunks import read_chunks
from engines.media.sound_facts import XIPH_ORDER, SoundFacts, layout_name, subtype_bits
from engines.media.sound_ffmpeg import FfmpegSource

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"II*\0", "a TIFF or RAW picture"),
    (b"MM\0*", "a TIFF or RAW picture"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a zip archive"),
    (b"MThd", "a MIDI file, which holds notes and no sound"),
)
_MOST_CHANNELS = 64
_RATES = (100, 1_000_000)  # Hz
_WAVES = ("WAV", "WAVEX", "RF64")


class Source(Protocol):
    """What decodes: samples in order as (n, channels) float32."""

    facts: SoundFacts
    notes: list[str]

    def read(self, count: int) -> NDArray[np.float32]:
        """Up to `count` samples; fewer at the end alone."""
        ...

    def restart(self) -> None:
        """Go back to the first sample."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class SoundReader:
    """A sound file, read from beginning to end in blocks; a context manager.

    Attributes:
        facts: what the header tells.
        position: sample that the next block begins with.
        length: samples per channel once the end has been reached, else None; this is what counts.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._source = _open(path)
        self.facts: SoundFacts = self._source.facts
        self.position = 0
        self.length: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the person: what is odd, missing or damaged, as far as it was read."""
        return (*self.facts.notes, *self._source.notes)

    def read(self, count: int) -> NDArray[np.float32]:
        """The next `count` samples as (channels, n) float32, full scale at 1.

        Returns:
            n = count, but fewer (or none) at the end. Values beyond ±1 occur in floating-point
            files and after lossy codecs.

        Raises:
            UserError: a sample is no number (NaN) or infinite, or the disk cannot be read.
        """
        block = self._source.read(count)
        if not np.isfinite(block).all():
            at, channel = np.argwhere(~np.isfinite(block))[0]
            sample = self.position + int(at)
            raise UserError(
                f"{self._path.name} has a sample that is no number (NaN or infinite) at "
                f"{sample / self.facts.rate:.3f} s (sample {sample}, channel {channel + 1}); "
                "export it again from the program that made it"
            )
        self.position += len(block)
        if len(block) < count:
            self._ended()
        return np.ascontiguousarray(block.T)

    def blocks(self, size: int) -> Iterator[NDArray[np.float32]]:
        """Blocks of `size` samples as (channels, n) float32 from here to the end; see `read`."""
        while True:
            block = self.read(size)
            if block.shape[1]:
                yield block
            if block.shape[1] < size:
                return

    def seek(self, sample: int) -> None:
        """Go to that sample, exactly.

        Decoders of lossy sound do not seek exactly, so what lies between is decoded there.
        Beyond the end, the next block is empty.
        """
        if isinstance(self._source, _Libsndfile) and self._source.jump(sample):
            self.position = sample
            return
        if sample < self.position:
            self._source.restart()
            self.position = 0
        while self.position < sample:
            wanted = min(sample - self.position, 1 << 18)
            got = len(self._source.read(wanted))
            self.position += got
            if got < wanted:
                return

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._source.close()

    def _ended(self) -> None:
        if self.length is not None:
            return
        self.length = self.position
        lost = self.facts.samples - self.length
        if self.facts.reader == "ffmpeg":  # durations of containers are rounded or estimated
            lost = lost if lost > 0.5 * self.facts.rate else 0
        if lost > 0:
            self._source.notes.append(
                f"{self.facts.name} ends early: its header speaks of {self.facts.seconds:.2f} s, "
                f"{self.length / self.facts.rate:.2f} s can be read"
            )


def open_sound(path: Path) -> SoundReader:
    """Open a sound file, or the sound of a video.

    Raises:
        UserError: it is missing, empty, no sound, without a sound track, encrypted, or of a kind
            that neither libsndfile nor ffmpeg's libraries decode.
    """
    return SoundReader(path)


def read_facts(path: Path) -> SoundFacts:
    """What a sound file's header tells; no more than its first samples are decoded.

    Raises:
        UserError: as `open_sound`.
    """
    with open_sound(path) as reader:
        return reader.facts


class _Sequential(soundfile.SoundFile):
    """Reads on from where libsndfile stands.

    Soundfile seeks to that very place after every read, and decoders of MP3 and Vorbis begin anew
    then: every block would start with a click.
    """

    def seekable(self) -> bool:
        return False


class _Libsndfile:
    """What libsndfile reads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _Sequential(path)
        self._at = 0
        self._ended = False
        self.notes: list[str] = []
        try:
            if self._file.frames > 0:  # a header alone may open well
                self._file.read(1, dtype="float32")
                self.restart()
            self.facts = self._facts()
        except (soundfile.SoundFileError, OSError, UserError):
            self._file.close()
            raise

    def read(self, count: int) -> NDArray[np.float32]:
        """See `Source`."""
        if self._ended:
            return np.empty((0, self.facts.channels), np.float32)
        try:
            block = self._decode(count)
        except soundfile.SoundFileError:
            block = self._until_damage(count)
        self._at += len(block)
        return block

    def jump(self, sample: int) -> bool:
        """Seek where it is exact, which it is without a lossy codec; says whether it did."""
        if self.facts.lossy or not 0 <= sample <= self._file.frames:
            return False
        try:
            self._file.seek(sample)
        except soundfile.SoundFileError:
            return False
        self._at, self._ended = sample, False
        return True

    def restart(self) -> None:
        """See `Source`."""
        self._file.close()
        self._file = _Sequential(self._path)
        self._at, self._ended = 0, False

    def close(self) -> None:
        """See `Source`."""
        self._file.close()

    def _until_damage(self, count: int) -> NDArray[np.float32]:
        """What can still be read, in small steps, before the place where decoding fails."""
        parts: list[NDArray[np.float32]] = [np.empty((0, self.facts.channels), np.float32)]
        start = self._at
        self.restart()
        try:
            while start > 0:
                start -= len(self._decode(min(start, 4096))) or start
            while count > 0 and len(part := self._decode(min(count, 64))):
                parts.append(part)
                count -= len(part)
        except soundfile.SoundFileError:
            pass
        self._ended = True
        return np.concatenate(parts)

    def _decode(self, count: int) -> NDArray[np.float32]:
        block = self._file.read(count, dtype="float32", always_2d=True)
        order = XIPH_ORDER.get(self._file.channels) if self._file.format == "OGG" else None
        return np.asarray(block if order is None else block[:, order], dtype=np.float32)

    def _facts(self) -> SoundFacts:
        file, path = self._file, self._path
        tags = {name: text for name, text in file.copy_metadata().items() if text}
        chunks, mask, notes = (), 0, ()
        if file.format in _WAVES:
            carried = read_chunks(path)
            tags |= carried.tags
            chunks, mask = carried.kept, carried.channel_mask
            if carried.missing > 0:
                seconds = file.frames / file.samplerate
                notes = (
                    f"{path.name} ends early: its header speaks of "
                    f"{seconds / (1 - carried.missing):.2f} s, {seconds:.2f} s are there",
                )
        bits, floating, lossy = subtype_bits(file.subtype)
        frames = file.frames if file.frames < 1 << 62 else 0
        size = path.stat().st_size
        return SoundFacts(
            name=path.name,
            rate=file.samplerate,
            channels=file.channels,
            samples=frames,
            reader="libsndfile",
            container=file.format,
            subtype=file.subtype,
            codec=file.subtype.lower(),
            bits=bits,
            floating=floating,
            lossy=lossy,
            bit_rate=round(size * 8 * file.samplerate / frames) if frames else 0,
            layout=layout_name(file.channels, mask),
            tags=tags,
            chunks=chunks,
            channel_mask=mask,
            notes=notes,
        )


def _open(path: Path) -> Source:
    start = beginning(path, 4096, wanted="a sound file", again="copy it again")
    for magic, what in _MAGIC:
        if start.startswith(magic):
            raise UserError(f"{path.name} is {what}; choose a sound or video file")
    source: Source
    try:
        source = _Libsndfile(path)
        if source.facts.samples == 0 and path.stat().st_size > 4096:
            # A recorder that was switched off has left its header unfinished; ffmpeg reads on.
            source.close()
            source = _other(path, start)
    except soundfile.SoundFileError:
        source = _other(path, start)
    try:
        _refuse(path, source.facts)
    except UserError:
        source.close()
        raise
    return source


def _other(path: Path, start: bytes) -> Source:
    try:
        return FfmpegSource(path)
    except (FFmpegError, OSError, ValueError) as error:
        raise UserError(_no_sound(path, start)) from error


def _refuse(path: Path, facts: SoundFacts) -> None:
    if not 1 <= facts.channels <= _MOST_CHANNELS:
        raise UserError(
            f"{path.name} has {facts.channels} channels; at most {_MOST_CHANNELS} are taken, so "
            "split it first, or check whether it is damaged"
        )
    if not _RATES[0] <= facts.rate <= _RATES[1]:
        raise UserError(
            f"{path.name} says it has {facts.rate} samples a second, which no recorder makes; "
            "its header is damaged, so export it again"
        )
    if facts.reader == "libsndfile" and facts.samples == 0:
        raise UserError(f"{path.name} holds no sound, only a header; record or export it again")


def _no_sound(path: Path, start: bytes) -> str:
    """The sentence for what neither library reads."""
    if _is_text(start):
        return f"{path.name} is text, not sound, whatever its name says; choose a sound file"
    if start[:4] in (b"RIFF", b"RF64", b"fLaC", b"OggS", b"FORM", b"caff", b"ID3\x03", b"ID3\x04"):
        return (
            f"{path.name} is damaged, cut off near its beginning, or of a kind that is not read; "
            "copy it again, or convert it to WAV"
        )
    return (
        f"{path.name} is no sound or video file that can be read, or it is damaged; convert it to "
        "WAV or FLAC"
    )


def _is_text(start: bytes) -> bool:
    try:
        text = start.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(start) - 3:  # else a letter was cut in two
            return False
        text = start[: error.start].decode("utf-8")
    return all(letter.isprintable() or letter in "\r\n\t\f\ufeff" for letter in text)
