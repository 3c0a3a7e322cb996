"""What Pillow reads: JPEG, WebP, BMP, GIF, AVIF, HEIC with its plugin, and 8 bits of the others."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from engines.base import UserError
from engines.media.develop import srgb_profile
from engines.media.picture_exif import block_of
from engines.media.picture_facts import PictureFacts, PictureFormat, Source, ends_early
from engines.media.picture_xmp import upright

_FORMATS: dict[PictureFormat, tuple[str, ...]] = {
    "jpeg": ("JPEG",),
    "webp": ("WEBP",),
    "bmp": ("BMP", "DIB"),
    "gif": ("GIF",),
    "avif": ("AVIF",),
    "heic": ("HEIF",),
}
_GREY = ("1", "L", "LA")
_IPTC = 0x0404  # among Photoshop's resources
_LOCK = Lock()


@contextmanager
def opened(file: Path | BinaryIO, formats: Sequence[str]) -> Iterator[Image.Image]:
    """A picture of one of these formats, without Pillow's warnings and its own limit of size.

    Both are switches of the whole process, so one picture is opened at a time.
    """
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(file, formats=list(formats))
        finally:
            Image.MAX_IMAGE_PIXELS = before
        with image:
            yield image


def open_other(path: Path, form: PictureFormat) -> Source:
    """Look at a picture of a format that only Pillow reads.

    Raises:
        UserError: no decoder is installed for it.
    """
    if form == "heic":
        _add_heic(path)
    elif form == "webp" and _riff_size(path) > path.stat().st_size:
        raise ends_early(path.name)
    formats = _FORMATS[form]
    with opened(path, formats) as image:
        info = dict(image.info)
        mode = image.mode
        clear = "transparency" in info
        frames = 1 if form == "jpeg" else int(getattr(image, "n_frames", 1))
        size = image.size
    exif, orientation = block_of(info.get("exif"))
    xmp = info.get("xmp")
    cmyk = mode == "CMYK"
    facts = PictureFacts(
        name=path.name,
        format=form,
        width=size[0],
        height=size[1],
        channels=1 if mode in _GREY else 3,
        has_alpha=clear or mode in ("LA", "RGBA", "PA"),
        icc=srgb_profile() if cmyk else info.get("icc_profile") or None,
        exif=exif,
        xmp=upright(xmp) if isinstance(xmp, bytes) and xmp else None,
        iptc=_iptc(info),
        dpi=_dpi(info),
        frames=frames,
    )
    notes: list[str] = []
    if cmyk:
        notes.append(cmyk_note(info.get("icc_profile")))
    if form == "avif" and _more_than_eight(path):
        notes.append("It has more than 8 bits a colour, of which 8 were read")
    return Source(facts, orientation, tuple(notes), lambda: load_eight(path, formats, facts))


def load_eight(
    file: Path | BinaryIO, formats: Sequence[str], facts: PictureFacts
) -> NDArray[np.uint8]:
    """Decode the first frame.

    Returns:
        (height, width, n) uint8: the channels that `facts` tells, then alpha if it tells one.
    """
    with opened(file, formats) as image:
        image.load()
        if image.mode == "CMYK":
            image = cmyk_to_rgb(image, image.info.get("icc_profile"))
        wanted = ("L" if facts.channels == 1 else "RGB") + ("A" if facts.has_alpha else "")
        found = image if image.mode == wanted else image.convert(wanted)
        data = np.asarray(found, dtype=np.uint8)
    return data.reshape(data.shape[0], data.shape[1], -1)


def cmyk_to_rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """CMYK in sRGB, through its profile if it has a good one."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            turned = ImageCms.profileToProfile(
                image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
        except (ImageCms.PyCMSError, OSError):
            turned = None
        if turned is not None:
            return turned
    return image.convert("RGB")


def cmyk_note(profile: bytes | None) -> str:
    """What to say of a picture in printing colours."""
    through = "through its profile" if profile else "as it has no profile, roughly"
    return f"CMYK was converted to sRGB, {through}"


def _add_heic(path: Path) -> None:
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        raise UserError(
            f"{path.name} is HEIC; save it as JPEG or PNG, or install the package pillow-heif"
        ) from error
    register_heif_opener()


def _iptc(info: dict[Any, Any]) -> bytes | None:
    resources = info.get("photoshop")
    found = resources.get(_IPTC) if isinstance(resources, dict) else None
    return found if isinstance(found, bytes) and found else None


def _dpi(info: dict[Any, Any]) -> tuple[float, float] | None:
    found = info.get("dpi")
    if not isinstance(found, tuple) or len(found) != 2:
        return None
    across, down = float(found[0]), float(found[1])
    return (across, down) if 1 <= across < 1e5 and 1 <= down < 1e5 else None


def _riff_size(path: Path) -> int:
    """Bytes that the file should have by its head."""
    with path.open("rb") as file:
        return 8 + int.from_bytes(file.read(8)[4:], "little")


def _more_than_eight(path: Path) -> bool:
    """Whether an AVIF's first AV1 configuration (av1C, AV1-ISOBMFF 2.3) says "high bit depth"."""
    with path.open("rb") as file:
        head = file.read(1 << 16)
    at = head.find(b"av1C")
    return 0 <= at < len(head) - 7 and bool(head[at + 6] & 0x40)
