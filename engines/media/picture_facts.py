"""What a picture is besides its pixels: everything that must survive its way through an engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from engines.base import UserError
from engines.media.geotiff import GeoFacts

PictureFormat = Literal["png", "tiff", "jpeg", "webp", "bmp", "gif", "avif", "heic"]
Pixels = NDArray[Any]  # uint8 or uint16

_MOST_PIXELS = 1 << 28  # of a picture that is read, 268 megapixels; results may be larger
_MOST_BYTES = 2 << 30  # of its samples


@dataclass(frozen=True)
class PictureFacts:
    """Facts of an upright picture, as `read_picture` gives its pixels.

    Attributes:
        name: file name, without folders.
        format: of the contents, whatever the file is called.
        width: in pixels, after the orientation was applied.
        height: in pixels, likewise.
        bits: of a sample, 8 or 16.
        channels: 1 grey, 3 RGB, or the bands of a TIFF that has others.
        has_alpha: whether there is transparency beside the channels.
        icc: profile that the numbers belong to.
        exif: a TIFF structure (without the "Exif" in front), orientation 1, no thumbnail.
        xmp: packet, upright.
        iptc: IIM records.
        dpi: pixels an inch, horizontally and vertically.
        geo: where on Earth it lies.
        rgb: whether the first three channels are red, green and blue.
        frames: pictures in the file, of which the first is taken.
        texts: (keyword, text) of a PNG.
        colour_chunks: (name, data) of a PNG that tell its colours where it has no profile.
    """

    name: str
    format: PictureFormat
    width: int
    height: int
    bits: Literal[8, 16] = 8
    channels: int = 3
    has_alpha: bool = False
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    dpi: tuple[float, float] | None = None
    geo: GeoFacts | None = None
    rgb: bool = True
    frames: int = 1
    texts: tuple[tuple[str, str], ...] = ()
    colour_chunks: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def megapixels(self) -> float:
        """Millions of pixels."""
        return self.width * self.height / 1e6


@dataclass(frozen=True)
class Picture:
    """A picture in memory.

    Attributes:
        pixels: (height, width, channels) uint8 or uint16, full scale being white; colour is not
            multiplied by alpha.
        alpha: (height, width) of the same dtype, full scale being opaque; None without any.
        facts: see `PictureFacts`.
        notes: plain sentences about what reading changed.
    """

    pixels: Pixels
    alpha: Pixels | None
    facts: PictureFacts
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """A picture whose head was read.

    Attributes:
        facts: as stored, not turned yet.
        orientation: 1 to 8 as EXIF has it.
        notes: what reading the pixels will change.
        load: decodes (height, width, channels, then alpha if there is any), as stored.
    """

    facts: PictureFacts
    orientation: int
    notes: tuple[str, ...]
    load: Callable[[], Pixels]


def check_room(name: str, height: int, width: int, pixel: int) -> None:
    """Whether a picture may be decoded, which has it in memory whole.

    Args:
        name: of the file.
        height: in pixels.
        width: likewise.
        pixel: bytes of all samples of a pixel.

    Raises:
        UserError: it is larger than anything that is read.
    """
    if height * width > _MOST_PIXELS:
        raise UserError(
            f"{name} has {height * width / 1e6:.0f} megapixels, of which at most"
            f" {_MOST_PIXELS / 1e6:.0f} can be read; cut it into parts"
        )
    if height * width * pixel > _MOST_BYTES:
        raise UserError(
            f"{name} has {height * width * pixel / 2**30:.1f} GB of samples, of which at most"
            f" {_MOST_BYTES / 2**30:.0f} can be read; cut it into parts"
        )


def ends_early(name: str) -> UserError:
    """What to say of a file that is cut off."""
    return UserError(f"{name} ends early; copy or download it again")


def damaged(name: str) -> UserError:
    """What to say of a file whose contents make no picture."""
    return UserError(f"{name} is damaged and cannot be read; take another copy of it")
