"""GeoTIFF: where on Earth a picture lies, and the same for a picture of another size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from engines.media.ifd import Entry

_SCALE, _TIEPOINTS, _MATRIX, _KEYS = 33550, 33922, 34264, 34735
_RPC = 50844  # rational polynomial of a satellite's camera, as GDAL writes it
_NODATA = 42113
_TAGS = (_SCALE, _TIEPOINTS, _MATRIX, _KEYS, 34736, 34737, 42112, _NODATA, _RPC)
_RASTER_TYPE, _IS_POINT = 1025, 2
_DOUBLE = 12


@dataclass(frozen=True)
class GeoFacts:
    """The entries of a GeoTIFF (OGC 19-008r4) that place it, as they stand in the file."""

    entries: tuple[Entry, ...]

    @classmethod
    def among(cls, entries: Mapping[int, Entry]) -> GeoFacts | None:
        """Those of a TIFF folder; None where nothing in it places the picture."""
        found = tuple(entries[code] for code in _TAGS if code in entries)
        return cls(found) if found else None

    @property
    def nodata(self) -> float | None:
        """The value of pixels that were not measured (GDAL's tag), or None."""
        entry = next((entry for entry in self.entries if entry[0] == _NODATA), None)
        if entry is None:
            return None
        try:
            value = float(bytes(entry[2]).split(b"\0")[0])
        except ValueError:
            return None
        return value if math.isfinite(value) else None

    @property
    def is_point(self) -> bool:
        """Whether raster coordinates count from the middle of the first pixel, not its corner."""
        keys = next((entry[2] for entry in self.entries if entry[0] == _KEYS), ())
        return any(
            keys[at] == _RASTER_TYPE and keys[at + 3] == _IS_POINT
            for at in range(4, len(keys) - 3, 4)
        )

    def scaled(self, scale: tuple[float, float]) -> GeoFacts:
        """The same place for a picture resized from corner to corner.

        Args:
            scale: new height by old height, new width by old width.
        """
        down, right = scale
        # From the middle of the first pixel, coordinate x moves to (x + 1/2) s - 1/2.
        offset = 0.5 if self.is_point else 0.0
        return GeoFacts(tuple(_scaled(entry, down, right, offset) for entry in self.entries))


def _scaled(entry: Entry, down: float, right: float, offset: float) -> Entry:
    code, kind, values = entry
    if kind != _DOUBLE:
        return entry
    new = list(values)
    if code == _SCALE and len(new) >= 2:
        new[0] /= right
        new[1] /= down
    elif code == _TIEPOINTS:
        for at in range(0, len(new) - 5, 6):
            new[at] = (new[at] + offset) * right - offset
            new[at + 1] = (new[at + 1] + offset) * down - offset
    elif code == _MATRIX and len(new) == 16:
        for row in range(0, 16, 4):
            # old = (new + offset) / s - offset, put into the row's a x + b y + d.
            new[row + 3] += new[row] * offset * (1 / right - 1)
            new[row + 3] += new[row + 1] * offset * (1 / down - 1)
            new[row] /= right
            new[row + 1] /= down
    elif code == _RPC and len(new) > 8:
        # LINE_OFF and SAMP_OFF count from the first pixel's middle, whatever the raster type.
        new[2], new[3] = (new[2] + 0.5) * down - 0.5, (new[3] + 0.5) * right - 0.5
        new[7], new[8] = new[7] * down, new[8] * right
    return (code, kind, tuple(new))
