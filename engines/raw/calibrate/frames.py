"""What each calibration frame is, told by its EXIF and its content; bad ones with the reason.

Frames are looked at one by one and only a few numbers of each are kept, so a folder of any size
fits. A zip is read member by member; the one in use lies in the workspace.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engines.base import UserError
from engines.media.raw_file import RAW_SUFFIXES, RawFacts, RawImage, read_bayer
from engines.raw.calibrate.darks import Desk

Kind = Literal["dark", "flat"]

_GRID = 16  # blocks a side in which evenness is judged
_DARK = 0.006  # share of the range; what is brighter is no dark frame
_LEAST, _MOST = 0.02, 0.9  # share of the range of a flat frame
_CLIPPED = 1e-3
_UNEVEN = 0.03  # of a flat frame's brightness, once vignetting is taken off
_LARGEST_MEMBER = 1 << 30
_MOST_MEMBERS = 2000


@dataclass(frozen=True)
class Source:
    """A frame's place: a file, or a member of a zip."""

    path: Path
    member: str = ""

    @property
    def name(self) -> str:
        """Name for people."""
        return PurePosixPath(self.member).name if self.member else self.path.name

    @contextmanager
    def opened(self, workspace: Path) -> Generator[Path]:
        """A path to read it at; one out of a zip is gone afterwards.

        Raises:
            UserError: it cannot be unpacked.
        """
        if not self.member:
            yield self.path
            return
        place = workspace / f".frame{PurePosixPath(self.member).suffix.lower()}"
        try:
            with (
                zipfile.ZipFile(self.path) as packed,
                packed.open(self.member) as inside,
                place.open("wb") as file,
            ):
                shutil.copyfileobj(inside, file, 1 << 20)
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
            place.unlink(missing_ok=True)
            raise UserError(f"{self.name} cannot be unpacked; zip the frames again") from error
        try:
            yield place
        finally:
            place.unlink(missing_ok=True)

    def read(self, workspace: Path) -> RawImage:
        """The mosaic; raises `UserError` with the file's own name."""
        with self.opened(workspace) as path:
            try:
                return read_bayer(path, "Calibration")
            except UserError as error:
                raise UserError(str(error).replace(path.name, self.name)) from error


@dataclass(frozen=True)
class Frame:
    """A frame that can be used, and what was seen of it.

    Attributes:
        camera: what has to agree between frames of one calibration.
        model: make and model in words.
        level: middle of the brightness above black, share of the range.
        noise: standard deviation between neighbours of one colour, DN.
        step: usual distance between levels that occur, DN; above 1 where a curve or digital gain
            left gaps.
    """

    source: Source
    kind: Kind
    camera: tuple[str, int, int, str, float]
    model: str
    iso: float
    exposure: float | None
    f_number: float | None
    black: tuple[float, ...]
    white: float
    bits: int
    cfa: str
    level: float
    noise: float
    step: int

    @property
    def name(self) -> str:
        """Name for people."""
        return self.source.name

    def mosaic(self, workspace: Path) -> NDArray[np.uint16]:
        """(H, W) levels, read anew."""
        return self.source.read(workspace).mosaic

    @property
    def span(self) -> float:
        """White minus black, DN."""
        return self.white - float(np.mean(self.black))

    @property
    def exposed(self) -> tuple[float, float]:
        """Shutter and aperture, for telling frames of one exposure; -1 where unknown."""
        return self.exposure or -1.0, self.f_number or -1.0


@dataclass(frozen=True)
class LeftOut:
    """A frame that cannot be used, and why."""

    name: str
    reason: str


def sources(inputs: Sequence[Path]) -> Iterator[Source]:
    """Files as they are, and the RAW files in zips.

    Raises:
        UserError: a zip cannot be read, or holds too much.
    """
    for path in inputs:
        if path.suffix.lower() != ".zip":
            yield Source(path)
            continue
        try:
            with zipfile.ZipFile(path) as packed:
                members = [m for m in packed.infolist() if _wanted(m)]
        except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
            raise UserError(f"{path.name} cannot be unpacked; zip the frames again") from error
        if not members:
            raise UserError(f"There is no RAW file in {path.name}; zip the frames themselves")
        if len(members) > _MOST_MEMBERS or any(m.file_size > _LARGEST_MEMBER for m in members):
            raise UserError(f"{path.name} holds too much for one calibration; choose fewer frames")
        for member in sorted(members, key=lambda one: one.filename):
            yield Source(path, member.filename)


def _wanted(member: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(member.filename)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in RAW_SUFFIXES and not hidden and not member.is_dir()


def survey(source: Source, job: Desk) -> Frame | LeftOut:
    """Look at one frame."""
    try:
        raw = source.read(job.workspace)
    except UserError as error:
        return LeftOut(source.name, str(error))
    found = _judge(raw)
    if isinstance(found, str):
        return LeftOut(source.name, found)
    kind, level, noise, step = found
    facts = raw.facts
    if facts.iso is None:
        return LeftOut(source.name, "it does not say its ISO")
    return Frame(
        source, kind, _camera(facts), facts.camera or "Unknown camera", facts.iso,
        facts.exposure_s, facts.f_number, facts.black, facts.white, facts.bits, facts.cfa,
        level, noise, step,
    )  # fmt: skip


def _camera(facts: RawFacts) -> tuple[str, int, int, str, float]:
    return facts.camera, facts.width, facts.height, facts.cfa, facts.white


def _judge(raw: RawImage) -> tuple[Kind, float, float, int] | str:
    """Kind, level, noise and step of a frame, or why it is neither dark nor flat."""
    facts, mosaic = raw.facts, raw.mosaic
    if min(mosaic.shape) < 4 * _GRID:
        return "it is too small to measure anything on"
    span = facts.white - float(np.mean(facts.black))
    grids, variances = zip(
        *(_plane(mosaic[s // 2 :: 2, s % 2 :: 2], facts.black[s]) for s in range(4)), strict=True
    )
    grid = np.stack(grids)  # (4, rows, columns) means above black
    noise = float(np.sqrt(np.median(np.stack(variances))))
    level = float(np.median(grid)) / span
    if level < _DARK:
        spread = float(np.median(np.ptp(np.quantile(grid, (0.05, 0.95), axis=(1, 2)), axis=0)))
        wrong = _bad_dark(mosaic, spread, noise, span)
        return wrong or ("dark", level, noise, _step(mosaic, facts.black[0], noise))
    wrong = _bad_flat(mosaic, grid, level, facts)
    if wrong:
        return wrong
    middle = float(np.median(grid[0])) + facts.black[0]
    return "flat", level, noise, _step(mosaic, middle, noise)


def _plane(values: NDArray[np.uint16], black: float) -> tuple[NDArray[np.float64], float]:
    """Block means above black, and the median variance of the blocks' diagonal detail."""
    height, width = values.shape[0] // _GRID, values.shape[1] // _GRID
    means = np.empty((_GRID, _GRID))
    variances = np.empty((_GRID, _GRID))
    for row in range(_GRID):
        strip = values[row * height : (row + 1) * height, : width * _GRID].astype(np.float32)
        blocks = strip.reshape(height, _GRID, width)
        means[row] = blocks.mean(axis=(0, 2), dtype=np.float64)
        detail = blocks[:-1, :, :-1] - blocks[1:, :, :-1] - blocks[:-1, :, 1:] + blocks[1:, :, 1:]
        variances[row] = np.square(detail).mean(axis=(0, 2), dtype=np.float64) / 4.0
    return means - black, float(np.median(variances))


def _bad_dark(mosaic: NDArray[np.uint16], spread: float, noise: float, span: float) -> str:
    counts = np.bincount(mosaic.reshape(-1), minlength=2)
    occupied = np.flatnonzero(counts)
    if occupied.size == 1:
        return "all its pixels have one value, so there is no noise to measure"
    if counts[occupied[0]] > counts[occupied[1]] and counts[occupied[0]] > 0.01 * mosaic.size:
        return "the camera cut off what lies below black, and with it half of the noise"
    if spread > noise + 2.0 * span / 16383.0:
        return "it shows light in places; was the lens cap off?"
    return ""


def _bad_flat(
    mosaic: NDArray[np.uint16], grid: NDArray[np.float64], level: float, facts: RawFacts
) -> str:
    if level < _LEAST:
        return "it is too bright for a dark frame and too dark for a flat one"
    clipped = float(np.count_nonzero(mosaic >= facts.clip)) / mosaic.size
    if level > _MOST or clipped > _CLIPPED or (facts.clip == facts.white and _piled(mosaic)):
        return "it is overexposed (clipped); give it less light"
    y, x = np.meshgrid(*(np.linspace(-1.0, 1.0, _GRID),) * 2, indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * y, x**2, y**2, (x**2 + y**2) ** 2], axis=-1)
    design = terms.reshape(-1, terms.shape[-1])
    for plane in grid.reshape(4, -1):
        smooth = design @ np.linalg.lstsq(design, plane, rcond=None)[0]
        if float(np.std(plane / np.maximum(smooth, 1e-6) - 1.0)) > _UNEVEN:
            return "it shows a picture rather than an evenly lit surface"
    return ""


def _piled(mosaic: NDArray[np.uint16]) -> bool:
    """Whether many pixels share the largest value."""
    top = int(mosaic.max())
    return float(np.count_nonzero(mosaic == top)) > _CLIPPED * mosaic.size


def _step(mosaic: NDArray[np.uint16], middle: float, noise: float) -> int:
    """Usual distance between occupied levels around `middle`; 1 where the noise cannot tell."""
    if noise < 2.0:
        return 1
    plane = mosaic[0::2, 0::2]
    low, high = int(middle - noise), int(middle + noise) + 1
    inside = plane[(plane >= max(low, 0)) & (plane <= high)]
    occupied = np.unique(inside)
    if occupied.size < 3 or inside.size < 50 * (high - low):
        return 1
    return int(np.median(np.diff(occupied)))
