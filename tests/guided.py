"""A search that learns: inputs that reach new code are kept, and what comes next begins with them.

Blind changes rarely get past the first thing that a reader checks. Here Python tells which steps
from line to line a reader takes (`sys.settrace`, in our own files alone); an input that takes a new
one joins the inputs that are changed further, so that each check that was passed by chance is a
place to go on from.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

Arc = tuple[CodeType, int, int]  # a step from one line to another
_EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
_LONGEST = 1 << 20  # bytes that an input may grow to
_HEAD = 512  # bytes at the beginning, where most of what is checked stands


class Steps:
    """What is done in the files below some folders, told step by step."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = tuple(str(root) for root in roots)
        self._ours: dict[CodeType, bool] = {}
        self.known: set[Arc] = set()

    def new(self, call: Callable[[], object]) -> int:
        """Do it; returns how many steps nothing before has taken. What it raises goes on."""
        before = len(self.known)
        with self._told():
            call()
        return len(self.known) - before

    @contextmanager
    def _told(self) -> Iterator[None]:
        previous = sys.gettrace()
        sys.settrace(self._enter)
        try:
            yield
        finally:
            sys.settrace(previous)

    def _enter(self, frame: FrameType, event: str, arg: Any) -> Any:
        code = frame.f_code
        ours = self._ours.get(code)
        if ours is None:
            ours = self._ours[code] = code.co_filename.startswith(self._roots)
        if not ours:
            return None
        known, last = self.known, 0

        def line(frame: FrameType, event: str, arg: Any) -> Any:
            nonlocal last
            known.add((code, last, frame.f_lineno))
            last = frame.f_lineno
            return line

        return line


@dataclass
class Found:
    """What a search came to.

    Attributes:
        tries: inputs that were read.
        steps: different steps that they took.
        kept: (reader, content) of those that took a new one, the whole ones first.
        wrong: (reader, content, error) of the first that ended otherwise than with a sentence.
    """

    tries: int = 0
    steps: int = 0
    kept: list[tuple[int, bytes]] = field(default_factory=list[tuple[int, bytes]])
    wrong: tuple[int, bytes, Exception] | None = None


def explore(
    wholes: Sequence[bytes],
    read: Callable[[int, bytes], object],
    roots: Sequence[Path],
    *,
    until: float,
    tries: int = sys.maxsize,
    seed: int = 0,
    guided: bool = True,
) -> Found:
    """Read changed inputs until the time is up, enough was tried or something is wrong.

    Args:
        wholes: an input for each reader, which it reads as it should be.
        read: takes the number of a reader and an input; any exception is wrong.
        roots: folders whose steps count.
        until: `time.monotonic()` at the end.
        tries: most inputs.
        seed: of the changes.
        guided: what reaches new code is kept; without it only `wholes` are changed.
    """
    draw, steps, found = random.Random(seed), Steps(roots), Found()

    def look(which: int, content: bytes) -> int:
        found.tries += 1
        try:
            return steps.new(lambda: read(which, content))
        except Exception as error:  # it is what is looked for
            found.wrong = which, content, error
            return 0

    for which, whole in enumerate(wholes):
        look(which, whole)
        found.kept.append((which, whole))
    first = len(found.kept)
    while found.wrong is None and found.tries < tries and time.monotonic() < until:
        # Half the time what has been found last, as it is furthest in.
        recent = len(found.kept) > first and draw.random() < 0.5
        low = max(first, len(found.kept) - 16) if recent else 0
        pair = (found.kept[draw.randrange(low, len(found.kept))] for _ in range(2))
        which, content = min(pair, key=lambda one: len(one[1]))  # a short one is read sooner
        changed = _changed(content, draw, found.kept)
        if look(which, changed) and guided:
            found.kept.append((which, changed))
    found.steps = len(steps.known)
    return found


def _changed(content: bytes, draw: random.Random, others: Sequence[tuple[int, bytes]]) -> bytes:
    made = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4, 8))):
        at = _place(len(made), draw)
        match draw.randrange(7):
            case 0 | 1:
                made[at : at + 1] = bytes([draw.randrange(256)])
            case 2:
                if made:
                    made[at] ^= 1 << draw.randrange(8)
            case 3:
                width = draw.choice((1, 2, 4, 8))
                value = draw.choice(_EDGES) & ((1 << 8 * width) - 1)
                made[at : at + width] = value.to_bytes(width, draw.choice(("little", "big")))
            case 4:
                del made[at : at + draw.choice((1, 2, 4, 16, 256))]
            case 5:
                other = draw.choice(others)[1]
                start = _place(len(other), draw)
                made[at:at] = other[start : start + draw.choice((4, 16, 256))]
            case _:
                if draw.random() < 0.2:
                    del made[at:]
    return bytes(made[:_LONGEST])


def _place(length: int, draw: random.Random) -> int:
    reach = min(length, _HEAD) if draw.random() < 0.7 else length
    return draw.randrange(reach) if reach else 0
