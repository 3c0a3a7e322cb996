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
    """A DNG's first folder, the folder of its RAW picture, and those of all pictures alike."""

    first: Folder
    picture: Folder
    pictures: tuple[Folder, ...]

    @property
    def frames(self) -> int:
        """How many such pictures there are."""
        return max(len(self.pictures), 1)

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

    def black(self, top: int, left: int, side: int = 2) -> tuple[float, ...] | None:
        """Black levels of a cell, row by row, whose first pixel lies at (top, left) of the active
        area.

        None where the file does not say, or repeats a cell that does not go into this one;
        LibRaw's levels are good then.
        """
        repeat = self.picture.numbers(50713) or (1.0, 1.0)
        levels = self.picture.numbers(50714)
        if len(repeat) != 2 or not all(1 <= n <= side and side % n == 0 for n in repeat):
            return None
        rows, columns = int(repeat[0]), int(repeat[1])
        if len(levels) != rows * columns:
            return None
        return tuple(
            levels[(y + top) % rows * columns + (x + left) % columns]
            for y in range(side)
            for x in range(side)
        )

    def channel_black(self) -> tuple[float, ...] | None:
        """Black levels of a demosaiced picture's channels; None where they are said otherwise."""
        repeat = self.picture.numbers(50713) or (1.0, 1.0)
        levels = self.picture.numbers(50714)
        if repeat != (1.0, 1.0) or len(levels) not in (1, 3) or self.channels != 3:
            return None
        return levels * 3 if len(levels) == 1 else levels

    @property
    def cell(self) -> tuple[int, int]:
        """Height and width of the colour filter's cell; (0, 0) where not said."""
        found = self.picture.numbers(33421)
        return (int(found[0]), int(found[1])) if len(found) == 2 else (0, 0)

    @property
    def filters(self) -> str:
        """Colours of the filter's cell from the active area's first pixel, row by row."""
        return "".join(_colour(value) for value in self.picture.numbers(33422))

    @property
    def colours(self) -> str:
        """Colours of the channels, in the order of the matrices."""
        return "".join(_colour(value) for value in self.picture.numbers(50710)) or "RGB"

    @property
    def staggered(self) -> bool:
        """Whether photosites lie on no rectangular grid."""
        return self.picture.number(50711, 1) != 1

    @property
    def crop(self) -> tuple[int, int, int, int] | None:
        """Left, top, width and height of what a camera shows, within the active area."""
        origin, size = self.picture.numbers(50719), self.picture.numbers(50720)
        if len(origin) != 2 or len(size) != 2:
            return None
        return round(origin[0]), round(origin[1]), round(size[0]), round(size[1])

    @property
    def matrices(self) -> list[tuple[tuple[float, ...], int]]:
        """XYZ -> camera, nine numbers row by row (twelve of four colours), each with its
        illuminant; daylight first.
        """
        found = [
            (values, self.first.number(light))
            for matrix, light in ((50722, 50779), (50721, 50778))
            if len(values := self.first.numbers(matrix)) in (9, 12) and any(values)
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
    alike = tuple(f for f in pictures if (f.number(257), f.number(256)) == size)
    return DngSource(first, picture, alike)


def _colour(value: float) -> str:
    """A letter of CFAPlaneColor's numbers; "?" for one that is not among them."""
    return "RGBCMYW"[int(value)] if 0 <= value < 7 else "?"


def _sound(folder: Folder, wanted: Sequence[int]) -> list[Entry]:
    """Entries as they are, without ratios that are none (BaselineExposure is 0/0 in some files)."""
    found = [folder.entries[code] for code in wanted if code in folder.entries]
    return [
        (code, kind, values)
        for code, kind, values in found
        if kind not in (5, 10) or all(denominator for _, denominator in values)
    ]
