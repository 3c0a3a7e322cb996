"""What a RAW file says of itself, whatever its sensor looks like."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engines.media.exif import ExifFacts

Matrix = tuple[tuple[float, ...], ...]
SensorKind = Literal["bayer", "xtrans", "mono", "linear", "quad", "four"]
KIND_NAMES: dict[SensorKind, str] = {
    "bayer": "Bayer mosaic",
    "xtrans": "X-Trans mosaic",
    "mono": "monochrome sensor",
    "linear": "already demosaiced picture",
    "quad": "quad-Bayer mosaic",
    "four": "four-colour mosaic",
}
BAYER = ("RGGB", "GRBG", "GBRG", "BGGR")


@dataclass(frozen=True)
class RawFacts:
    """What a RAW file says of itself.

    Attributes:
        make, model, lens: as the camera wrote them, "" where unknown.
        iso, exposure_s, f_number, focal_mm: None where unknown.
        datetime: "YYYY:MM:DD HH:MM:SS", "" where unknown.
        width, height: visible area as stored, not rotated.
        cfa: colours of the cell that repeats from the visible area's first pixel, row by row, such
            as "RGGB"; 36 letters of X-Trans, 16 of quad-Bayer; "" where there is no mosaic.
        colours: letters of the channels that `wb` and the matrices speak of; "RGB" but for sensors
            of four colours.
        channels: samples of a pixel; 3 of a demosaiced file, else 1.
        bits: bits that hold `white`.
        black: black levels, DN: of the cell's sites row by row, of the sites (0,0), (0,1), (1,0),
            (1,1) of a monochrome sensor, or of the channels of a demosaiced file.
        white: white level, DN; `clip`: where this sensor really clips (at most `white`).
        orientation: TIFF orientation (1 to 8) that shows the picture upright.
        wb: multipliers of `colours` as shot, green 1; ones of a monochrome sensor.
        colour_matrix: XYZ -> camera under `illuminant` (EXIF number, 0 where not said), a row a
            colour.
        cam_to_srgb: white-balanced camera colours -> linear sRGB, rows sum to 1.
        frames: pictures in the file; the first is read.
        noise_reduction: DNG's NoiseReductionApplied, None where not said.
        noise_profile: DNG's NoiseProfile, () where not said.
        pixel_aspect: width of a pixel over its height.
        crop: left, top, width, height of the picture that the camera shows, within the visible
            area; None where it is all of it.
        margins: rows above and columns left of the visible area in the file.
        exif: entries to carry over.
    """

    make: str
    model: str
    lens: str
    iso: float | None
    exposure_s: float | None
    f_number: float | None
    focal_mm: float | None
    datetime: str
    width: int
    height: int
    cfa: str
    bits: int
    black: tuple[float, ...]
    white: float
    clip: float
    flip: int
    orientation: int
    wb: tuple[float, ...]
    colour_matrix: Matrix
    illuminant: int
    cam_to_srgb: Matrix
    frames: int
    noise_reduction: float | None
    noise_profile: tuple[float, ...]
    pixel_aspect: float
    crop: tuple[int, int, int, int] | None
    margins: tuple[int, int]
    exif: ExifFacts
    colours: str = "RGB"
    channels: int = 1

    @property
    def kind(self) -> SensorKind:
        """What the samples are."""
        if self.channels > 1:
            return "linear"
        if not self.cfa:
            return "mono"
        if len(self.cfa) == 4:
            return "bayer" if self.cfa in BAYER else "four"
        return "xtrans" if len(self.cfa) == 36 else "quad"

    @property
    def black_cell(self) -> NDArray[np.float32]:
        """Black levels as they repeat over the picture: (side, side), or (1, 1, channels)."""
        found = np.asarray(self.black, dtype=np.float32)
        side = isqrt(len(self.black))
        return found.reshape((side, side) if self.channels == 1 else (1, 1, self.channels))

    @property
    def colour_cell(self) -> NDArray[np.int64]:
        """Index into `colours` of the cell's sites, (side, side); of a mosaic only."""
        found = [self.colours.index(letter) for letter in self.cfa]
        return np.asarray(found, dtype=np.int64).reshape(isqrt(len(self.cfa)), -1)

    @property
    def neutral(self) -> tuple[float, ...]:
        """Camera colours of a grey surface, green 1 (DNG's AsShotNeutral)."""
        return tuple(1.0 / multiplier for multiplier in self.wb)

    @property
    def camera(self) -> str:
        """Make and model without the make said twice."""
        known = self.model.lower().split()
        if any(word in known for word in self.make.lower().split()):
            return self.model
        return f"{self.make} {self.model}".strip()

    @property
    def unique_camera(self) -> str:
        """The camera as Adobe's profiles call it: "Nikon D850" for the camera's "NIKON D850"."""
        first, *rest = self.camera.split() or ["Unknown", "camera"]
        known = first.lower() in self.make.lower().split()
        return " ".join([first.capitalize() if known and first.isupper() else first, *rest])


@dataclass(frozen=True)
class RawImage:
    """The visible area unmodified, uint16, and its facts: (H, W), or (H, W, 3) demosaiced."""

    facts: RawFacts
    mosaic: NDArray[np.uint16]
