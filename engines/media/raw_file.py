"""Camera RAW files: the mosaic exactly as the sensor gave it, and the facts about it.

LibRaw (rawpy) unpacks; nothing is subtracted, scaled, interpolated or rotated here. Whatever
LibRaw cannot read, or what is no Bayer mosaic, is refused with one sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rawpy
import tifffile
from numpy.typing import NDArray

from engines.base import UserError
from engines.media.exif import ExifFacts, read_exif

Matrix = tuple[tuple[float, float, float], ...]

RAW_SUFFIXES: tuple[str, ...] = tuple(
    ".3fr .arw .bay .cap .cr2 .cr3 .crw .dcr .dcs .dng .drf .eip .erf .fff .gpr .iiq .k25 .kdc "
    ".mdc .mef .mos .mrw .nef .nrw .orf .pef .ptx .pxn .r3d .raf .raw .rw2 .rwl .rwz .sr2 .srf "
    ".srw .x3f".split()
)

_ORIENTATION = {0: 1, 3: 3, 5: 8, 6: 6}  # LibRaw's flip -> TIFF's orientation
_XYZ_FROM_SRGB = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
     [0.0193339, 0.1191920, 0.9503041]]
)  # fmt: skip
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a zip archive"),
    (b"RIFF", "a RIFF file (sound, video or WebP)"),
)
_RAW_MAGIC = (b"II*\0", b"MM\0*", b"IIU\0", b"IIRO", b"IIRS", b"FUJIFILM", b"FOVb")


@dataclass(frozen=True)
class RawFacts:
    """What a RAW file says of itself.

    Attributes:
        make, model, lens: as the camera wrote them, "" where unknown.
        iso, exposure_s, f_number, focal_mm: None where unknown.
        datetime: "YYYY:MM:DD HH:MM:SS", "" where unknown.
        width, height: visible area as stored, not rotated.
        cfa: colours of the visible area's first two rows, such as "RGGB".
        bits: bits that hold `white`.
        black: black level of the sites (0,0), (0,1), (1,0), (1,1), DN.
        white: white level, DN; `clip`: where this sensor really clips (at most `white`).
        orientation: TIFF orientation (1, 3, 6, 8) that shows the picture upright.
        wb: multipliers of R, G, B as shot, green 1.
        colour_matrix: XYZ -> camera under `illuminant` (EXIF number), None where unknown.
        cam_to_srgb: white-balanced camera RGB -> linear sRGB, rows sum to 1.
        frames: pictures in the file; the first is read.
        noise_reduction: DNG's NoiseReductionApplied, None where not said.
        noise_profile: DNG's NoiseProfile, () where not said.
        pixel_aspect: width of a pixel over its height.
        crop: left, top, width, height of the picture that the camera shows, within the visible
            area; None where it is all of it.
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
    black: tuple[float, float, float, float]
    white: float
    clip: float
    flip: int
    orientation: int
    wb: tuple[float, float, float]
    colour_matrix: Matrix | None
    illuminant: int
    cam_to_srgb: Matrix
    frames: int
    noise_reduction: float | None
    noise_profile: tuple[float, ...]
    pixel_aspect: float
    crop: tuple[int, int, int, int] | None
    exif: ExifFacts

    @property
    def neutral(self) -> tuple[float, float, float]:
        """Camera RGB of a grey surface, green 1 (DNG's AsShotNeutral)."""
        return (1.0 / self.wb[0], 1.0, 1.0 / self.wb[2])

    @property
    def camera(self) -> str:
        """Make and model without the make said twice."""
        known = self.model.lower().split()
        if any(word in known for word in self.make.lower().split()):
            return self.model
        return f"{self.make} {self.model}".strip()


@dataclass(frozen=True)
class RawImage:
    """A mosaic, (H, W) uint16, the visible area unmodified, and its facts."""

    facts: RawFacts
    mosaic: NDArray[np.uint16]


def read_facts(path: Path) -> RawFacts:
    """Facts alone (`clip` is then `white`).

    Raises:
        UserError: as `read_raw`.
    """
    raw = rawpy.RawPy()
    try:
        _open(raw, path)
        return _facts(raw, path)
    finally:
        raw.close()


def read_raw(path: Path) -> RawImage:
    """Unpack a Bayer RAW file.

    Raises:
        UserError: it is missing, empty, cut short, no RAW, or no Bayer mosaic.
    """
    raw = rawpy.RawPy()
    try:
        _open(raw, path)
        facts = _facts(raw, path)
        mosaic = np.array(raw.raw_image_visible, dtype=np.uint16)
    finally:
        raw.close()
    if mosaic.shape != (facts.height, facts.width):
        raise UserError(f"{path.name} holds no plain mosaic; this kind of RAW is not supported yet")
    return RawImage(replace(facts, clip=_clip(mosaic, facts)), mosaic)


def _open(raw: rawpy.RawPy, path: Path) -> None:
    if path.is_dir():
        raise UserError(f"{path.name} is a folder; choose the files in it")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(16)
    except FileNotFoundError as error:
        raise UserError(f"There is no file {path.name} here; check the path") from error
    except PermissionError as error:
        raise UserError(f"{path.name} may not be read; change its permissions") from error
    if size == 0:
        raise UserError(f"{path.name} is empty; copy it again from the card")
    for magic, what in _MAGIC:
        if start.startswith(magic):
            raise UserError(f"{path.name} is {what}, not a camera RAW, whatever its name says")
    try:
        raw.open_file(str(path))
        raw.unpack()  # rawpy tells a file's colours only after it
    except (rawpy.LibRawError, ValueError, MemoryError) as error:
        raise UserError(_damaged(path, error)) from error


def _damaged(path: Path, error: Exception) -> str:
    """The sentence for what LibRaw could not read."""
    with path.open("rb") as file:
        start = file.read(16)
    if not (start.startswith(_RAW_MAGIC) or b"HEAPCCDR" in start or b"ftypcrx" in start):
        return f"{path.name} is not a camera RAW file; choose the file that the camera wrote"
    there, whole = path.stat().st_size, _expected_bytes(path)
    if whole > there:
        return (
            f"{path.name} ends early: {there / 1e6:.1f} of {whole / 1e6:.1f} MB are there; "
            "copy it again from the card"
        )
    if isinstance(error, rawpy.LibRawFileUnsupportedError) and b"HEAPCCDR" not in start:
        return f"{path.name} is of a kind that LibRaw does not read; convert it to DNG first"
    return f"{path.name} is damaged or cut short; copy it again from the card"


def _expected_bytes(path: Path) -> int:
    """Where the last strip, tile or preview of a TIFF-like file ends; 0 where nobody knows."""
    whole = 0
    try:
        with tifffile.TiffFile(path) as tiff:
            for page in _pages(tiff):
                ends = [o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=False)]
                whole = max(whole, *ends, 0)
    except Exception:
        # tifffile meets a damaged file here on purpose, and may fail in any way.
        return whole
    return whole


def _pages(tiff: tifffile.TiffFile) -> list[Any]:
    found: list[Any] = []
    for page in tiff.pages:
        found.append(page)
        found.extend(getattr(page, "pages", None) or [])
    return found


def _facts(raw: rawpy.RawPy, path: Path) -> RawFacts:
    sizes = raw.sizes
    if sizes.width < 1 or sizes.height < 1:
        raise UserError(f"{path.name} holds no picture; choose another file")
    dng = _dng_tags(path)
    _refuse_other_sensors(raw, path, dng)
    cfa = "".join("RGBG"[index] for index in _site_colours(raw))
    exif = read_exif(path)
    other, lens = raw.other, raw.lens
    told = other.iso_speed > 0  # without it LibRaw's other numbers are its own defaults
    exif = replace(
        exif,
        lens=exif.lens or lens.model.strip(),
        iso=exif.iso or _positive(other.iso_speed),
        exposure_s=exif.exposure_s or (_positive(other.shutter_speed) if told else None),
        f_number=exif.f_number or (_positive(other.aperture) if told else None),
        focal_mm=exif.focal_mm or _positive(other.focal_length),
        datetime=exif.datetime or _time(other),
    )
    white = float(raw.white_level)
    matrix, illuminant = _colour_matrix(raw, dng)
    return RawFacts(
        make=exif.make,
        model=exif.model,
        lens=exif.lens,
        iso=exif.iso,
        exposure_s=exif.exposure_s,
        f_number=exif.f_number,
        focal_mm=exif.focal_mm,
        datetime=exif.datetime,
        width=sizes.width,
        height=sizes.height,
        cfa=cfa,
        bits=max(int(white), 1).bit_length(),
        black=_black(raw, dng),
        white=white,
        clip=white,
        flip=sizes.flip,
        orientation=_ORIENTATION.get(sizes.flip, 1),
        wb=_white_balance(raw),
        colour_matrix=matrix,
        illuminant=illuminant,
        cam_to_srgb=_cam_to_srgb(matrix, np.asarray(raw.color_matrix)[:, :3]),
        frames=max(int(dng.get("frames", 1)), 1),
        noise_reduction=dng.get("noise_reduction"),
        noise_profile=tuple(dng.get("noise_profile", ())),
        pixel_aspect=float(sizes.pixel_aspect) or 1.0,
        crop=_crop(sizes),
        exif=exif,
    )


def _refuse_other_sensors(raw: rawpy.RawPy, path: Path, dng: dict[str, Any]) -> None:
    what = ""
    pattern = raw.raw_pattern
    if dng.get("photometric") == 34892 or (
        raw.raw_type == rawpy.RawType.Stack and raw.num_colors > 1
    ):
        what = "is already demosaiced (linear DNG or sRAW)"
    elif raw.num_colors == 1:
        what = "comes from a monochrome sensor"
    elif path.suffix.lower() == ".x3f":
        what = "comes from a Foveon sensor"
    elif pattern is None:
        what = "has no Bayer mosaic"
    elif pattern.shape == (6, 6):
        what = "comes from an X-Trans sensor"
    elif pattern.shape != (2, 2) or sorted(raw.color_desc.decode("ascii", "replace")) != sorted(
        "RGBG"
    ):
        what = (
            f"has another colour filter than Bayer's ({raw.color_desc.decode('ascii', 'replace')})"
        )
    elif dng.get("compression") == 34892:
        what = "is a lossy DNG"
    if what:
        raise UserError(f"{path.name} {what}, which is not supported yet; Bayer RAW files are")


def _dng_tags(path: Path) -> dict[str, Any]:
    """What a DNG says better than LibRaw hands on; {} for every other file."""
    try:
        with tifffile.TiffFile(path) as tiff:
            first = tiff.pages[0]
            if not isinstance(first, tifffile.TiffPage) or 50706 not in first.tags:
                return {}
            pages = _pages(tiff)
            mosaics = [page for page in pages if page.photometric in (32803, 34892)]
            picture = next((page for page in mosaics if not page.subfiletype & 1), first)
            found: dict[str, Any] = {
                "photometric": int(picture.photometric),
                "compression": int(picture.compression),
                "frames": sum(
                    1
                    for page in mosaics
                    if not page.subfiletype & 1 and page.shape == picture.shape
                ),
            }
            tags = {tag.code: tag.value for tag in first.tags.values()}
            tags |= {tag.code: tag.value for tag in picture.tags.values()}
    except Exception:
        # Not a TIFF at all, or one that only LibRaw understands.
        return {}
    repeat = tuple(_numbers(tags.get(50713), (1, 1)))
    if repeat in ((1, 1), (2, 2)) and 50714 in tags:
        black = _rationals(tags[50714], 1 if repeat == (1, 1) else 4)
        found["black"] = black * 4 if len(black) == 1 else black
    for matrix, light in ((50722, 50779), (50721, 50778)):
        if matrix in tags:
            found.setdefault("matrices", []).append(
                (_rationals(tags[matrix], 9), int(tags.get(light, 0)))
            )
    if 50935 in tags:
        found["noise_reduction"] = _rationals(tags[50935], 1)[0]
    if 51041 in tags:
        found["noise_profile"] = [float(v) for v in _numbers(tags[51041], ())]
    return found


def _numbers(value: Any, default: Sequence[float]) -> list[float]:
    if value is None:
        return list(default)
    return [float(v) for v in value] if isinstance(value, Sequence) else [float(value)]


def _rationals(value: Any, count: int) -> list[float]:
    """`count` numbers from a tag that holds them plain or as numerator and denominator in turn."""
    flat = _numbers(value, ())
    if len(flat) == 2 * count:
        return [n / d if d else 0.0 for n, d in zip(flat[::2], flat[1::2], strict=True)]
    return flat[:count]


def _black(raw: rawpy.RawPy, dng: dict[str, Any]) -> tuple[float, float, float, float]:
    """Black in site order; LibRaw's are by colour index, and lack a DNG's two-by-two table."""
    if len(dng.get("black", ())) == 4:
        a, b, c, d = dng["black"]
        return a, b, c, d
    levels = raw.black_level_per_channel
    a, b, c, d = (float(levels[index]) for index in _site_colours(raw))
    return a, b, c, d


def _site_colours(raw: rawpy.RawPy) -> list[int]:
    """LibRaw's colour indices (0 R, 1 G, 2 B, 3 the other G) of the visible area's first cell."""
    top, left = raw.sizes.top_margin, raw.sizes.left_margin
    return [raw.raw_color(top + y, left + x) for y in (0, 1) for x in (0, 1)]


def _clip(mosaic: NDArray[np.uint16], facts: RawFacts) -> float:
    """Where the sensor clips: white, or a lower spike at the very top of the histogram."""
    top = int(mosaic.max())
    if not facts.white * 0.5 < top < facts.white:
        return facts.white
    counts = np.bincount(mosaic[mosaic > 0.9 * top], minlength=top + 1)
    near = counts[int(0.97 * top) : top]
    spike = counts[top] > max(64, 20 * float(near.mean()) if near.size else 0)
    return float(top) if spike else facts.white


def _white_balance(raw: rawpy.RawPy) -> tuple[float, float, float]:
    for found in (raw.camera_whitebalance, raw.daylight_whitebalance):
        red, green, blue = (float(v) for v in found[:3])
        if red > 0 and green > 0 and blue > 0:
            return red / green, 1.0, blue / green
    return 1.0, 1.0, 1.0


def _colour_matrix(raw: rawpy.RawPy, dng: dict[str, Any]) -> tuple[Matrix | None, int]:
    """XYZ -> camera and its illuminant, daylight where there is a choice."""
    choices = [(m, light) for m, light in dng.get("matrices", []) if len(m) == 9 and any(m)]
    choices.sort(key=lambda choice: abs(choice[1] - 21))
    flat, light = choices[0] if choices else (np.asarray(raw.rgb_xyz_matrix)[:3].ravel(), 21)
    if not np.any(flat):
        return None, 0
    rows = np.asarray(flat, dtype=np.float64).reshape(3, 3)
    return tuple((float(r[0]), float(r[1]), float(r[2])) for r in rows), light


def _cam_to_srgb(matrix: Matrix | None, given: NDArray[Any]) -> Matrix:
    if matrix is not None:
        forward = np.asarray(matrix) @ _XYZ_FROM_SRGB
        forward /= forward.sum(axis=1, keepdims=True)
        found = np.linalg.inv(forward)
    elif np.any(given):
        found = given / given.sum(axis=1, keepdims=True)
    else:
        found = np.eye(3)
    return tuple((float(r[0]), float(r[1]), float(r[2])) for r in found)


def _crop(sizes: Any) -> tuple[int, int, int, int] | None:
    left, top = sizes.crop_left_margin - sizes.left_margin, sizes.crop_top_margin - sizes.top_margin
    inside = left >= 0 and top >= 0 and sizes.crop_width > 0 and sizes.crop_height > 0
    if (
        not inside
        or left + sizes.crop_width > sizes.width
        or top + sizes.crop_height > sizes.height
    ):
        return None
    return left, top, sizes.crop_width, sizes.crop_height


def _positive(value: float) -> float | None:
    return float(value) if value and np.isfinite(value) and value > 0 else None


def _time(other: Any) -> str:
    stamp = other.timestamp
    return stamp.strftime("%Y:%m:%d %H:%M:%S") if stamp is not None and stamp.year > 1990 else ""
