"""Which camera took a file, as far as the file says it."""

from __future__ import annotations

from pathlib import Path

_EXIF_IN_PILLOW = (".jpg", ".jpeg", ".png", ".webp")
_OTHERS = (".wav", ".flac", ".mp3", ".ogg", ".m4a", ".zip", ".json", ".txt")


def camera_of(path: Path) -> str:
    """Make and model without the make said twice; "" where it is unknown. Never raises."""
    suffix = path.suffix.lower()
    if suffix in _OTHERS or not path.is_file():
        return ""
    try:
        make, model = _pillow(path) if suffix in _EXIF_IN_PILLOW else _folders(path)
    except Exception:  # whatever a damaged file does, its result is there already
        return ""
    make, model = (" ".join(str(text).replace("\0", " ").split()) for text in (make, model))
    said = any(word in model.lower().split() for word in make.lower().split())
    return (model if said else f"{make} {model}".strip())[:120]


def _folders(path: Path) -> tuple[str, str]:
    from engines.media.exif import read_exif

    found = read_exif(path)
    return found.make, found.model


def _pillow(path: Path) -> tuple[str, str]:
    from PIL import Image

    with Image.open(path) as image:
        exif = image.getexif()
    return exif.get(271, ""), exif.get(272, "")
