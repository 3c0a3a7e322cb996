"""What a DNG says of itself beyond what LibRaw hands on, and what a copy of it must repeat."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.media.ifd import Entry, Folder, IfdReader, NoFoldersError

CFA, LINEAR_RAW = 32803, 34892  # PhotometricInterpretation
OPCODE_LISTS = (51008, 51009, 51022)  # on the file's samples, on the mosaic, on the picture

# What a source says of colour, lens and defaults, copied as it is; embedded profiles stay embedded.
_CAMERA_TAGS = (
    50708, 50709, 50721, 50722, 50723, 50724, 50725, 50726, 50727, 50730, 50731, 50732, 50734,
    50735, 50736, 50778, 50779, 50931, 50932, 50936, 50937, 50938, 50939, 50940, 50941, 50942,
    50964, 50965, 50981, 50982, 51107, 51108, 51109, 51110,
)  # fmt: skip
_VERSION, _DATA_CODED = 50706, (34892, 52546)  # lossy JPEG, JPEG XL


@dataclass(frozen=True)
class DngSource:
    """A DNG's first folder, the folder of its RAW picture, and how many such pictures there are."""

    first: Folder
    picture: Folder
    frames: int

    @property
    def photometric(self) -> int:
        """CFA or LINEAR_RAW where the file is in order."""
        return self.picture.number(262)

    @property
    def channels(self) -> int:
        """Samples of a pixel."""
        return self.picture.number(277, 1)

    @property
    def lossy(self) -> bool:
        """Whether the picture was compressed with loss (lossy JPEG, JPEG XL)."""
        return self.picture.number(259) in _DATA_CODED

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture with its borders."""
        return self.picture.number(257), self.picture.number(256)

    @property
    def active(self) -> tuple[int, int, int, int]:
        """Top, left, bottom and right of the visible area."""
        found = self.picture.numbers(50829)
        if len(found) != 4:
            return (0, 0, *self.size)
        top, left, bottom, right = (int(value) for value in found)
        return top, left, bottom, right

    def black(self, top: int, left: int) -> tuple[float, float, float, float] | None:
        """Black levels of a 2x2 cell whose first pixel lies at (top, left) of the active area.

        None where the file does not say, or repeats another cell; LibRaw's levels are good then.
        """
        repeat = self.picture.numbers(50713) or (1.0, 1.0)
        levels = self.picture.numbers(50714)
        if repeat == (1.0, 1.0) and len(levels) == 1:
            return levels[0], levels[0], levels[0], levels[0]
        if repeat != (2.0, 2.0) or len(levels) != 4:
            return None
        a, b, c, d = (levels[(y + top) % 2 * 2 + (x + left) % 2] for y in (0, 1) for x in (0, 1))
        return a, b, c, d

    @property
    def crop(self) -> tuple[int, int, int, int] | None:
        """Left, top, width and height of what a camera shows, within the active area."""
        origin, size = self.picture.numbers(50719), self.picture.numbers(50720)
        if len(origin) != 2 or len(size) != 2:
            return None
        return round(origin[0]), round(origin[1]), round(size[0]), round(size[1])

    @property
    def matrices(self) -> list[tuple[tuple[float, ...], int]]:
        """XYZ -> camera, nine numbers row by row, each with its illuminant; daylight first."""
        found = [
            (values, self.first.number(light))
            for matrix, light in ((50722, 50779), (50721, 50778))
            if len(values := self.first.numbers(matrix)) == 9 and any(values)
        ]
        return sorted(found, key=lambda one: abs(one[1] - 21))

    @property
    def noise_reduction(self) -> float | None:
        """NoiseReductionApplied, 0 to 1; None where not said."""
        entry = self.picture.entries.get(50935) or self.first.entries.get(50935)
        if entry is None or entry[1] != 5 or not entry[2][0][1]:
            return None
        return entry[2][0][0] / entry[2][0][1]

    @property
    def noise_profile(self) -> tuple[float, ...]:
        """NoiseProfile, pairs of S and O; () where not said."""
        return self.picture.numbers(51041) or self.first.numbers(51041)

    def camera_entries(self) -> list[Entry]:
        """To repeat in the first folder of a copy."""
        return _sound(self.first, _CAMERA_TAGS)

    def opcodes(
        self, top: int, left: int, height: int, width: int, demosaiced: bool
    ) -> list[Entry]:
        """Corrections (lens, shading) to repeat in a copy whose picture has these borders.

        Their coordinates hold only if nothing was cut off; those for the mosaic do not fit a
        demosaiced copy.
        """
        if self.active != (top, left, top + height, left + width):
            return []
        whole = self.size == (height, width)
        lists = OPCODE_LISTS[2:] if demosaiced else OPCODE_LISTS if whole else OPCODE_LISTS[1:]
        return _sound(self.picture, lists)


def read_dng_source(path: Path) -> DngSource | None:
    """The DNG at `path`, or None if it is another kind of file."""
    try:
        with path.open("rb") as file:
            reader = IfdReader(file)
            first = reader.folder(reader.start)
            if first is None or _VERSION not in first.entries:
                return None
            folders = list(reader.folders())
    except (NoFoldersError, struct.error):
        return None
    pictures = [f for f in folders if f.number(262) in (CFA, LINEAR_RAW) and f.number(254) == 0]
    picture = pictures[0] if pictures else first
    size = (picture.number(257), picture.number(256))
    frames = sum((f.number(257), f.number(256)) == size for f in pictures)
    return DngSource(first, picture, max(frames, 1))


def _sound(folder: Folder, wanted: Sequence[int]) -> list[Entry]:
    """Entries as they are, without ratios that are none (BaselineExposure is 0/0 in some files)."""
    found = [folder.entries[code] for code in wanted if code in folder.entries]
    return [
        (code, kind, values)
        for code, kind, values in found
        if kind not in (5, 10) or all(denominator for _, denominator in values)
    ]
