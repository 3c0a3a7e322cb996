"""Reads damaged copies of a RAW file: `python -m tests.engines.media.fuzz FILE SEED COUNT FOLDER`.

A process of its own, so that a fault inside LibRaw is seen as one. Prints a JSON object that counts
what came of it; anything but a picture or a refusal ends it with a traceback.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.base import UserError
from engines.media.develop import auto_stops, render_preview
from engines.media.raw_file import read_raw


def damaged(data: NDArray[np.uint8], rng: np.random.Generator) -> bytes:
    """A copy with some bytes changed, mostly where headers are, and sometimes cut short."""
    size = len(data)
    low, high = ((0, 256), (0, 2048), (0, size), (size - 4096, size))[rng.integers(4)]
    copy = data.copy()
    for _ in range(rng.integers(1, 20)):
        at = rng.integers(low, high)
        copy[at] = (0, 255, copy[at] ^ (1 << rng.integers(8)), rng.integers(256))[rng.integers(4)]
    return copy[: rng.integers(1, size) if rng.random() < 0.25 else size].tobytes()


def main(path: Path, seed: int, count: int, folder: Path) -> None:
    """Read `count` damaged copies of `path`, and draw those that are read."""
    warnings.simplefilter("error")
    data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    rng = np.random.default_rng(seed)
    outcomes: Counter[str] = Counter()
    copy = folder / path.name
    for _ in range(count):
        copy.write_bytes(damaged(data, rng))
        try:
            raw = read_raw(copy)
        except UserError as error:
            outcomes["refused" if copy.name in str(error) else str(error)] += 1
            continue
        assert raw.mosaic.shape == (raw.facts.height, raw.facts.width)
        stops = auto_stops(raw.mosaic, raw.facts)
        assert np.isfinite(stops)
        assert render_preview(raw.mosaic, raw.facts, stops).dtype == np.uint8
        outcomes["read"] += 1
    sys.stdout.write(json.dumps(outcomes))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
