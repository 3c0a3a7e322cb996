"""The recording, or the part of it, that is processed: read as often as needed, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from engines.media.sound_facts import SoundFacts
from engines.media.sound_read import open_sound, read_facts
from engines.sound.chunks import Sound

_BLOCK = 1 << 16  # samples read at once
_LONGEST_STEM = 180  # bytes; a file system takes 255 with what is put behind


@dataclass
class Part:
    """Samples `start` to `start + limit` of a file.

    Attributes:
        path: the file; it is only read.
        facts: what its header says.
        start: first sample.
        limit: most samples; None for all there are.
        mono: the channels are averaged.
        notes: what the reader found odd, known once all was read.
    """

    path: Path
    facts: SoundFacts
    start: int
    limit: int | None
    mono: bool
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, path: Path, start: float, length: float | None, mono: bool = False) -> Part:
        """The part that begins at `start` seconds and has `length` of them, or all that remain.

        Raises:
            UserError: there is no sound that can be read.
        """
        facts = read_facts(path)
        limit = None if length is None else max(round(length * facts.rate), 1)
        return cls(path, facts, round(start * facts.rate), limit, mono)

    @property
    def stem(self) -> str:
        """The file's name without its suffix, short enough for what is put behind it."""
        stem = self.path.stem.encode("utf-8", "surrogateescape")[:_LONGEST_STEM]
        return stem.decode("utf-8", "ignore")

    @property
    def whole(self) -> bool:
        """Nothing is left out."""
        return self.start == 0 and self.limit is None

    @property
    def expected(self) -> int:
        """Samples as the header has it, at least 1; what is read counts."""
        there = max(self.facts.samples - self.start, 1)
        return there if self.limit is None else min(there, self.limit)

    def blocks(self) -> Iterator[Sound]:
        """(C, n) float32 blocks from the first sample to the last.

        Raises:
            UserError: a sample is no number, or the file can no longer be read.
        """
        left = self.limit
        with open_sound(self.path) as reader:
            reader.seek(self.start)
            for block in reader.blocks(_BLOCK):
                if left is not None:
                    block = block[:, :left]
                    left -= block.shape[1]
                yield block.mean(axis=0, keepdims=True) if self.mono else block
                if left == 0:
                    break
            self.notes[:] = reader.notes
